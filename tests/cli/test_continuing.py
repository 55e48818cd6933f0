"""The command that continues a run."""

import pytest

from agentbatch.cli.continuing import continue_command, past_canary_command
from agentbatch.jobs import JOB_RUN


@pytest.mark.parametrize(
    ("words", "overwrite", "continues"),
    [
        (["run", "c.yaml", "in.jsonl"], False, "run c.yaml in.jsonl"),
        (["run", "c.yaml", "my inputs.jsonl", "--overwrite"], True, "run c.yaml 'my inputs.jsonl'"),
        (["run", "c.yaml", "in.jsonl"], True, "run c.yaml in.jsonl --resume"),  # AGENTBATCH_OVERWRITE=1
    ],
)
def test_what_began_a_run_does_not_begin_it_again(words: list[str], overwrite: bool, continues: str) -> None:
    assert continue_command(words, overwrite=overwrite) == f"agentbatch {continues}"


def test_a_job_is_continued_by_the_same_submit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own command line stands in a folder that nobody has."""
    monkeypatch.setenv(JOB_RUN, "c-in-12345678")
    words = continue_command(["run", "c.yaml", ".inputs/in.jsonl"], overwrite=False)
    assert words.startswith("agentbatch submit")
    assert "c-in-12345678" in words
    assert ".inputs" not in words


@pytest.mark.parametrize("canary", [["--canary", "5"], ["--canary=5"], []])
def test_after_a_canary_that_was_against_it_there_is_no_other(canary: list[str]) -> None:
    words = ["run", "c.yaml", *canary, "in.jsonl", "--max-cost", "2"]
    wanted = "agentbatch run c.yaml in.jsonl --max-cost 2 --canary 0"
    assert past_canary_command(words, overwrite=False) == wanted

import json
import logging
from pathlib import Path

import pytest

from agentbatch.logs import LogChoice, run_log


def levels() -> tuple[int, int, int]:
    return logging.getLogger().level, logging.getLogger("agentbatch").level, len(logging.getLogger().handlers)


@pytest.mark.parametrize(
    ("choice", "person", "file"),
    [
        (LogChoice(), "WARNING", None),
        (LogChoice(verbose=True), "INFO", None),
        (LogChoice(Path("x")), "WARNING", "INFO"),
        (LogChoice(Path("x"), verbose=True), "INFO", "DEBUG"),
    ],
)
def test_who_gets_what(choice: LogChoice, person: str, file: str | None) -> None:
    assert logging.getLevelName(choice.person_level) == person
    assert logging.getLevelName(choice.lowest_level) == (file or person)


def test_while_a_run_goes_and_no_longer(tmp_path: Path) -> None:
    before = levels()
    ours, foreign = logging.getLogger("agentbatch.some.module"), logging.getLogger("foreign")
    with run_log(LogChoice(tmp_path / "l.log", verbose=True)):
        ours.debug("ours in detail")
        foreign.debug("whole requests")
        foreign.info("foreign")
    ours.error("after")
    lines = [json.loads(line)["message"] for line in (tmp_path / "l.log").read_text().splitlines()]
    assert lines == ["ours in detail", "foreign"]
    assert levels() == before


def test_without_a_file_only_the_levels_change() -> None:
    before = levels()
    with run_log(LogChoice()) as handler:
        assert handler is None
        assert not logging.getLogger("agentbatch").isEnabledFor(logging.INFO)
    with run_log(LogChoice(verbose=True)):
        assert logging.getLogger("agentbatch").isEnabledFor(logging.INFO)
    assert levels() == before

"""`agentbatch results` on files as runs leave them."""

import contextlib
import csv
import json
from pathlib import Path
from typing import Any

import pytest
from recorded_run import item_result
from typer.testing import CliRunner

from agentbatch.cli.app import app
from agentbatch.errors import InputError, OutputError, UsageError
from agentbatch.inputs import open_inputs
from agentbatch.results.files import ResultFiles
from agentbatch.results.header import new_header, write_header


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"n": n}) + "\n" for n in range(3)))
    (tmp_path / "a.jsonl").write_bytes(
        item_result("1", 0, "error") + item_result("2", 1, "error") + item_result("3", 2) + item_result("1", 0)
    )
    (tmp_path / "b.jsonl").write_bytes(item_result("1", 0, "error") + item_result("2", 1, output="=other"))
    return tmp_path


def results(folder: Path, *arguments: str) -> Any:
    with contextlib.chdir(folder):
        return CliRunner().invoke(app, ["results", *arguments])


def test_export(folder: Path) -> None:
    done = results(folder, "export", "b.jsonl", "--format", "csv", "--fields", "id, output ,error.type")
    assert done.stdout_bytes == b"id,output,error.type\r\n1,,server\r\n2,'=other,\r\n"
    assert results(folder, "export", "a.jsonl", "-o", "out.csv").exit_code == 0
    with (folder / "out.csv").open(newline="") as file:
        assert [row["id"] for row in csv.DictReader(file)] == ["2", "3", "1"]
    assert [json.loads(line)["id"] for line in results(folder, "export", "a.jsonl").stdout.splitlines()] == [
        "2",
        "3",
        "1",
    ]


def test_export_never_replaces_what_it_reads(folder: Path) -> None:
    before = (folder / "a.jsonl").read_bytes()
    done = results(folder, "export", "a.jsonl", "-o", "a.jsonl")
    assert isinstance(done.exception, UsageError)
    done = results(folder, "export", "a.jsonl", "-o", "no/out.csv")
    assert isinstance(done.exception, OutputError)
    assert "no/out.csv: cannot be written: No such file" in str(done.exception)
    assert results(folder, "export", "a.jsonl", "--format", "parquet").exit_code == 2
    done = results(folder, "export", "a.jsonl", "-o", "out.csv", "--fields", "nope")
    assert isinstance(done.exception, InputError)
    assert (folder / "a.jsonl").read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == ["a.jsonl", "b.jsonl", "in.jsonl"]


def test_an_output_is_never_the_inputs_of_the_run(folder: Path) -> None:
    before = (folder / "in.jsonl").read_bytes()
    header = new_header({}, open_inputs(folder / "in.jsonl").digest)
    write_header(ResultFiles(folder / "a.jsonl").header, header)
    for command in (["export", "a.jsonl"], ["failed", "a.jsonl", "--inputs", "in.jsonl"]):
        done = results(folder, *command, "-o", "in.jsonl")
        assert isinstance(done.exception, UsageError), done.output
    assert (folder / "in.jsonl").read_bytes() == before
    for _ in range(2):
        assert results(folder, "export", "a.jsonl", "-o", "out.jsonl").exit_code == 0


def test_stats(folder: Path) -> None:
    assert "items     2 ok, 1 error" in results(folder, "stats", "a.jsonl").stdout
    document = json.loads(results(folder, "stats", "a.jsonl", "--json").stdout)
    assert (document["statuses"], document["superseded"]) == ({"error": 1, "ok": 2}, 1)


def test_failed(folder: Path) -> None:
    assert results(folder, "failed", "a.jsonl").stdout == "2\n"
    assert results(folder, "failed", "a.jsonl", "--type", "auth").stdout == ""
    done = results(folder, "failed", "a.jsonl", "--inputs", "in.jsonl", "-o", "again.jsonl")
    assert (done.stdout, done.stderr) == ("", "")
    assert json.loads((folder / "again.jsonl").read_text()) == {"id": "2", "n": 1}
    done = results(folder, "failed", "a.jsonl", "--inputs", "in.jsonl", "-o", "in.jsonl")
    assert isinstance(done.exception, UsageError)


def test_merge(folder: Path) -> None:
    done = results(folder, "merge", "a.jsonl", "b.jsonl", "-o", "m.jsonl")
    assert done.exit_code == 0
    assert "m.jsonl: 3 items, 2 lines replaced by later ones\n" in done.stderr
    rows = {row["id"]: row["status"] for row in map(json.loads, (folder / "m.jsonl").read_text().splitlines())}
    assert rows == {"1": "error", "2": "ok", "3": "ok"}


def test_diff(folder: Path) -> None:
    done = results(folder, "diff", "a.jsonl", "b.jsonl")
    assert (done.exit_code, "failed in B, succeeded in A: 1" in done.stdout) == (0, True)
    assert results(folder, "diff", "a.jsonl", "b.jsonl", "--exit-code").exit_code == 1
    assert results(folder, "diff", "a.jsonl", "a.jsonl", "--exit-code").exit_code == 0
    document = json.loads(results(folder, "diff", "a.jsonl", "b.jsonl", "--json").stdout)
    assert {item["id"]: item["changes"] for item in document["items"]} == {
        "1": ["broken"],
        "2": ["mended"],
        "3": ["removed"],
    }
    assert document["summary"]["changes"] == {"broken": 1, "mended": 1, "removed": 1}
    same = json.loads(results(folder, "diff", "a.jsonl", "a.jsonl", "--json").stdout)
    assert (same["items"], same["summary"]["same"]) == ([], 3)


def test_a_cache_that_is_not_there_yet_is_no_trouble_of_the_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    done = CliRunner().invoke(app, ["cache", "stats"])
    assert isinstance(done.exception, InputError)
    assert str(done.exception).endswith("there is no cache yet: the first run of a config with `cache:` makes it")
    assert "0 answers deleted" in CliRunner().invoke(app, ["cache", "clear"]).stdout

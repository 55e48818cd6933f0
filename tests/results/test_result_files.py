from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from agentbatch.errors import OutputError, UsageError
from agentbatch.files.filesystems import filesystem_of, is_network
from agentbatch.results.files import ResultFiles, check_output, files_for


@pytest.mark.parametrize(
    ("inputs", "results"),
    [
        ("x.jsonl", "x.results.jsonl"),
        ("far/away/x.jsonl", "x.results.jsonl"),
        ("x.jsonl.gz", "x.results.jsonl"),
        ("x.csv", "x.results.jsonl"),
        ("x.v2.jsonl", "x.v2.results.jsonl"),
        ("x", "x.results.jsonl"),
        ("-", "stdin.results.jsonl"),
        ("/dev/fd/63", "stdin.results.jsonl"),
        ("/dev/stdin", "stdin.results.jsonl"),
    ],
)
def test_results_are_named_for_the_inputs_and_stand_here(inputs: str, results: str) -> None:
    assert files_for(inputs).results == Path(results)


def test_the_other_files_stand_beside_the_results() -> None:
    files = files_for("x.jsonl", "out/y.results.jsonl")
    assert files.results == Path("out/y.results.jsonl")
    assert files.traces == Path("out/y.results.traces.jsonl")
    assert files.header == Path("out/y.results.run.json")
    assert files.spool == Path("out/y.results.inputs.jsonl")
    assert files_for("x.jsonl", "plain").traces == Path("plain.traces.jsonl")


def test_discarding_deletes_what_is_there(tmp_path: Path) -> None:
    files = ResultFiles(tmp_path / "x.results.jsonl")
    files.discard()
    for path in (files.results, files.traces, files.header, files.spool):
        path.touch()
    (tmp_path / "x.jsonl").touch()
    files.discard()
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.jsonl"]


def test_discarding_what_cannot_be_deleted_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "x.results.jsonl").mkdir()
    with pytest.raises(OutputError, match="cannot be deleted"):
        ResultFiles(tmp_path / "x.results.jsonl").discard()


def check(path: Path, inputs: str = "-") -> str | None:
    return check_output(ResultFiles(path), inputs)


def test_a_good_place_passes_and_nothing_is_left_there(tmp_path: Path) -> None:
    assert check(tmp_path / "x.jsonl") is None
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "x.jsonl").write_bytes(b"kept\n")
    assert check(tmp_path / "x.jsonl") is None
    assert (tmp_path / "x.jsonl").read_bytes() == b"kept\n"


def test_a_missing_folder_is_met_with_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=f"mkdir -p {tmp_path}/no/such"):
        check(tmp_path / "no" / "such" / "x.jsonl")


def test_what_is_no_place_for_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is a folder"):
        check(tmp_path)
    with pytest.raises(OutputError, match="is no regular file"):
        check(Path("/dev/full"))
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OutputError, match="is no regular file"):
        check(tmp_path / "fifo")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        check(tmp_path / "file" / "x.jsonl")
    with pytest.raises(OutputError, match="cannot be written"):
        check(tmp_path / ("x" * 300))


def test_a_loop_of_links_is_refused_and_a_link_to_a_new_file_is_fine(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(OutputError, match="cannot be written"):
        check(tmp_path / "a")
    (tmp_path / "link").symlink_to(tmp_path / "new")
    assert check(tmp_path / "link") is None
    (tmp_path / "nowhere").symlink_to(tmp_path / "no" / "new")
    with pytest.raises(OutputError, match="its folder does not exist"):
        check(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "mend"),
    [
        ("x.jsonl.gz", "name {}/x.jsonl, and compress it"),
        ("x.ZST", "name {}/x, and compress it"),
        ("x.csv", "agentbatch results export {0}/x.jsonl -o {0}/x.csv"),
    ],
)
def test_plain_lines_are_not_called_something_else(tmp_path: Path, name: str, mend: str) -> None:
    with pytest.raises(UsageError, match=re.escape(mend.format(tmp_path))):
        check(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_the_inputs_are_never_the_output(tmp_path: Path) -> None:
    inputs = tmp_path / "x.jsonl"
    inputs.write_bytes(b"{}\n")
    (tmp_path / "link.jsonl").symlink_to(inputs)
    for output in (inputs, tmp_path / "link.jsonl"):
        with pytest.raises(UsageError, match="is the inputs file"):
            check(output, str(inputs))
    with pytest.raises(UsageError, match="is the inputs file"):
        spool = tmp_path / "y.results.inputs.jsonl"
        spool.touch()
        check(tmp_path / "y.results.jsonl", str(spool))


CHECK = """
import sys
from pathlib import Path
from agentbatch.results.files import ResultFiles, check_output
check_output(ResultFiles(Path(sys.argv[1])))
"""


def test_a_disk_that_takes_nothing_is_found_before_the_start(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", CHECK, str(tmp_path / "x.jsonl")],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert "OutputError" in run.stderr
    assert "x.jsonl: cannot be written: File too large" in run.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="cannot be written: Permission denied"):
        check(tmp_path / "x.jsonl")


def test_a_read_only_file_system_is_refused() -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        check(Path("/proc/x.jsonl"))


def test_the_file_system_of_a_folder_is_known() -> None:
    assert filesystem_of(Path("/proc")) == "proc"
    assert filesystem_of(Path("/no/such/folder")) is None
    assert not is_network(Path("/proc"))

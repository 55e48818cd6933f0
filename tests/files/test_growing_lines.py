from pathlib import Path

from agentbatch.files.growing_lines import GrowingLines


def test_each_line_once_and_only_whole_ones(tmp_path: Path) -> None:
    path = tmp_path / "f"
    lines = GrowingLines(path)
    assert list(lines.new()) == []
    path.write_bytes(b"one\ntwo\nthr")
    assert list(lines.new()) == [b"one\n", b"two\n"]
    assert list(lines.new()) == []
    with path.open("ab") as file:
        file.write(b"ee\n")
    assert list(lines.new()) == [b"three\n"]
    assert lines.restarts == 0


def test_reading_that_is_left_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"one\ntwo\n")
    lines = GrowingLines(path)
    assert next(lines.new()) == b"one\n"
    assert list(lines.new()) == [b"two\n"]


def test_a_file_made_anew_or_cut_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"one\ntwo\n")
    lines = GrowingLines(path)
    list(lines.new())
    (tmp_path / "new").write_bytes(b"three\nfour\nfive\n")
    (tmp_path / "new").replace(path)
    assert list(lines.new()) == [b"three\n", b"four\n", b"five\n"]
    path.write_bytes(b"six\n")
    assert list(lines.new()) == [b"six\n"]
    assert lines.restarts == 2

import json
from pathlib import Path

import pytest
from recorded_run import item_result

from agentbatch.errors import InputError
from agentbatch.results.failures import Chosen, failed_lines, id_line


def test_which_failed() -> None:
    lines = [
        json.loads(item_result(name, 0, status)) for name, status in (("a", "ok"), ("b", "error"), ("c", "skipped"))
    ]
    lines.append(json.loads(item_result("d", 3, "timeout", error=("timeout", "slow"))))
    assert [line["id"] for line in failed_lines(lines)] == ["b", "d"]
    assert [line["id"] for line in failed_lines(lines, ["timeout"])] == ["d"]


@pytest.mark.parametrize(
    ("item_id", "line"),
    [
        ("a", "a\n"),
        (7, "7\n"),
        ("a b", "a b\n"),
        ("a\nb", '"a\\nb"\n'),
        ('"a"', '"\\"a\\""\n'),
        ("\x1b", '"\\u001b"\n'),
        (" a", '" a"\n'),
    ],
)
def test_an_id_takes_one_line(item_id: str | int, line: str) -> None:
    assert id_line(item_id) == line


def chosen(path: Path, content: str, ids: dict[int, str | int]) -> tuple[list[object], Chosen]:
    path.write_text(content)
    picked = Chosen()
    return [json.loads(line) for line in picked.lines(path, ids)], picked


def test_inputs_keep_their_ids_in_another_file(tmp_path: Path) -> None:
    content = '{"id": "a", "n": 1}\n\n{"n": 2}\n{"n": 3}\n{"id": 9, "n": 4}\n'
    lines, picked = chosen(tmp_path / "in.jsonl", content, {1: "3", 3: 9})
    assert lines == [{"id": "3", "n": 2}, {"id": 9, "n": 4}]
    assert (picked.found, list(picked.notes())) == (2, [])


def test_csv_becomes_json(tmp_path: Path) -> None:
    lines, _ = chosen(tmp_path / "in.csv", "id,q\na,x\nb,y\n", {1: "b"})
    assert lines == [{"id": "b", "q": "y"}]


def test_what_can_t_be_run_as_it_is_is_told(tmp_path: Path) -> None:
    lines, picked = chosen(tmp_path / "in.jsonl", '"text"\nno json\n{"n": 1}\n', {0: "1", 1: "2"})
    assert lines == ["text"]
    assert [note.split(":")[0] for note in picked.notes()] == [
        "1 failed because their input is no item, and are left out",
        "no objects, so without an id",
    ]
    assert f"{tmp_path}/in.jsonl:2" in next(picked.notes())


def test_other_inputs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is not what these results were made from: item 0 has the id 'x', .* 'a'"):
        chosen(tmp_path / "in.jsonl", '{"id": "x"}\n', {0: "a"})

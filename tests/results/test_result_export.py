import csv
import io
import json
from pathlib import Path

import pytest
from recorded_run import item_result

from agentbatch.errors import InputError
from agentbatch.results.export import DEFAULT_FIELDS, Format, export, format_of
from agentbatch.results.lines import CountedLines


def exported(path: Path, form: Format, *fields: str) -> bytes:
    file = io.BytesIO()
    with CountedLines(path) as lines:
        export(lines, file, form, fields)
    return file.getvalue()


@pytest.fixture
def results(tmp_path: Path) -> Path:
    path = tmp_path / "r.jsonl"
    path.write_bytes(
        item_result("a", 0, "error")
        + item_result("b", 1, output={"score": 1, "why": "ok"}, cost=None)
        + item_result("a", 0, output='=HYPERLINK("http://x";"y")\nsecond, line')
    )
    return path


def test_csv_has_one_row_for_each_item_and_none_is_a_formula(results: Path) -> None:
    data = exported(results, "csv")
    rows = list(csv.DictReader(io.StringIO(data.decode(), newline="")))
    assert list(rows[0]) == list(DEFAULT_FIELDS)
    assert [row["id"] for row in rows] == ["b", "a"]
    assert rows[1]["output"] == '\'=HYPERLINK("http://x";"y")\nsecond, line'
    assert (rows[0]["output"], rows[0]["cost_usd"], rows[0]["error.type"]) == ('{"score":1,"why":"ok"}', "", "")
    assert data.count(b"\r\n") == 3


def test_hostile_ids_and_field_names(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(item_result("@id", output={"=cmd": "\t+1"}))
    rows = list(csv.reader(io.StringIO(exported(path, "csv", "id", "output.=cmd").decode(), newline="")))
    assert rows == [["id", "output.=cmd"], ["'@id", "'\t+1"]]


def test_json_lines_are_whole_or_have_the_fields_asked_for(results: Path) -> None:
    whole = exported(results, "jsonl").splitlines(keepends=True)
    assert whole == results.read_bytes().splitlines(keepends=True)[1:]
    picked = [
        json.loads(line)
        for line in exported(results, "jsonl", "id", "output.score", "agents.writer.status").splitlines()
    ]
    assert picked == [
        {"id": "b", "output.score": 1, "agents.writer.status": "ok"},
        {"id": "a", "output.score": None, "agents.writer.status": "ok"},
    ]


def test_a_field_that_no_result_has_is_a_mistake(results: Path) -> None:
    with pytest.raises(InputError, match=r"no result has the field outptu. The first one has, for instance: id, index"):
        exported(results, "csv", "id", "outptu")
    assert exported(results, "csv", "output.score")


def test_many_rows(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(b"".join(item_result(number, number) for number in range(12_000)))
    rows = list(csv.reader(io.StringIO(exported(path, "csv", "id", "index").decode(), newline="")))
    assert rows[1:] == [[str(number), str(number)] for number in range(12_000)]


def test_without_pyarrow_a_person_is_told_what_to_install(results: Path) -> None:
    try:
        import pyarrow  # noqa: F401  # pyright: ignore[reportMissingImports, reportUnusedImport]
    except ImportError:
        with pytest.raises(InputError, match=r"pip install 'agentbatch\[parquet\]'"):
            exported(results, "parquet")
    else:
        pytest.skip("pyarrow is installed")


def test_parquet(results: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(
        io.BytesIO(exported(results, "parquet", "id", "index", "output", "duration_s", "cost_usd"))
    )
    assert table.to_pydict() == {
        "id": ["b", "a"],
        "index": [1, 0],
        "output": ['{"score":1,"why":"ok"}', '=HYPERLINK("http://x";"y")\nsecond, line'],
        "duration_s": [1.0, 1.0],
        "cost_usd": [None, 0.002],
    }


@pytest.mark.parametrize(
    ("name", "form"),
    [("x.csv", "csv"), ("x.CSV", "csv"), ("x.parquet", "parquet"), ("x.jsonl", "jsonl"), ("x", "jsonl")],
)
def test_a_name_says_the_format(name: str, form: str) -> None:
    assert format_of(Path(name)) == form
    assert format_of(None) == "jsonl"


def test_a_name_that_asks_for_another_format_is_refused() -> None:
    with pytest.raises(InputError, match=r"x\.xlsx: '\.xlsx' names no format; end it in \.csv, \.jsonl or \.parquet"):
        format_of(Path("x.xlsx"))

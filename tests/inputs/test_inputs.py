from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentbatch.errors import InputError
from agentbatch.inputs import BadLine, Inputs, Selection, check_inputs, open_inputs
from agentbatch.inputs.utf8_check import Utf8Check
from agentbatch.items import Item

MiB = 1024 * 1024


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def read(path: Path, **options: Any) -> list[Item | BadLine]:
    inputs = open_inputs(path, **options)
    items = list(inputs.read())
    assert inputs.count == len(items)
    return items


def good(items: list[Item | BadLine]) -> list[tuple[str | int, Any, int]]:
    return [(item.id, item.fields, item.line) for item in items if isinstance(item, Item)]


def bad(items: list[Item | BadLine]) -> list[BadLine]:
    return [item for item in items if isinstance(item, BadLine)]


# JSONL


CLEAN = b'{"id":"a","n":1}\n{"n":2}\n"text"\n'


@pytest.mark.parametrize(
    "odd",
    [
        CLEAN,
        b"\xef\xbb\xbf" + CLEAN,
        CLEAN.replace(b"\n", b"\r\n"),
        CLEAN.rstrip(b"\n"),
        CLEAN + b"\n \t\r\n\n",
    ],
    ids=["clean", "bom", "crlf", "no final newline", "blank lines behind"],
)
def test_odd_but_tolerable_files_give_the_items_of_the_clean_one(tmp_path: Path, odd: bytes) -> None:
    items = read(write(tmp_path / "x.jsonl", odd))
    assert good(items) == [("a", {"id": "a", "n": 1}, 1), ("2", {"n": 2}, 2), ("3", "text", 3)]
    assert [item.index for item in items] == [0, 1, 2]


def test_blank_lines_are_skipped_and_ids_stay_line_numbers(tmp_path: Path) -> None:
    items = read(write(tmp_path / "x.jsonl", b"\n{}\n   \n\n{}\n"))
    assert [(item.id, item.index, item.line) for item in items] == [("2", 0, 2), ("5", 1, 5)]


def test_lines_end_at_line_feeds_only(tmp_path: Path) -> None:
    text = '{"t":"a\u2028b\u2029c\u0085d\x0be"}'.replace("\x0b", "\\u000b")
    items = read(write(tmp_path / "x.jsonl", text.encode() + b"\n{}\n"))
    assert len(items) == 2
    assert good(items)[0][1] == {"t": "a\u2028b\u2029c\u0085d\x0be"}


def test_an_empty_file_has_no_items(tmp_path: Path) -> None:
    assert read(write(tmp_path / "x.jsonl", b"")) == []
    assert read(write(tmp_path / "y.jsonl", b"\xef\xbb\xbf")) == []


def test_a_bad_line_is_told_with_its_place_and_keeps_its_turn(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", b'{"a":1}\n{"a":\n{"a":NaN}\n{"a":2}\n')
    items = read(path)
    assert [type(item) for item in items] == [Item, BadLine, BadLine, Item]
    second, third = bad(items)
    assert (second.index, second.line, second.id) == (1, 2, "2")
    assert second.message.startswith(f"{path}:2: not JSON: ")
    assert third.message.startswith(f"{path}:3: not JSON: NaN")


@pytest.mark.parametrize(
    ("content", "mend"),
    [
        (b'[\n{"a":1},\n{"a":2}\n]\n', "is one JSON array over several lines, .*: jq -c '.[]' "),
        (b'[\n  {\n"a":1}\n]\n', "is one JSON array over several lines, .*: jq -c '.[]' "),
        (b'\n[{"a":1},\n{"a":2}]\n', "is one JSON array over several lines, .*: jq -c '.[]' "),
        (b'{\n  "a": 1\n}\n{\n  "a": 2\n}\n', "is JSON over several lines, .*: jq -c . "),
        (gzip.compress(b'[\n{"a":1},\n{"a":2}\n]\n', mtime=0), "zcat .*x.jsonl | jq -c '.[]' > lines.jsonl"),
    ],
)
def test_values_over_several_lines_are_met_with_the_command_that_converts_them(
    tmp_path: Path, content: bytes, mend: str
) -> None:
    with pytest.raises(InputError, match=mend.replace("[", "\\[").replace("|", "\\|")):
        open_inputs(write(tmp_path / "x.jsonl", content))


def test_one_broken_line_at_the_beginning_is_a_bad_line(tmp_path: Path) -> None:
    assert [item.line for item in bad(read(write(tmp_path / "x.jsonl", b'{"a": 1, "b"\n{"a": 2}\n')))] == [1]
    assert not bad(read(write(tmp_path / "x.jsonl", b'[{"a": 1}, {"a": 2}]\n')))


@pytest.mark.parametrize(
    ("line", "hint"),
    [(b"tea\n", "jq -R . FILE"), (b"id;name\n", "--input-format csv"), (b"{'a': 1}\n", "double quotes")],
)
def test_what_else_a_first_line_may_be(tmp_path: Path, line: bytes, hint: str) -> None:
    assert hint in bad(read(write(tmp_path / "x.txt", line)))[0].message


LATIN = '{"a":"caf\u00e9"}\n{"a":"tea"}\n\n{"a":"cr\u00e8me"}'.encode("latin-1")


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_lines_that_are_no_utf8_are_counted_before_anything_is_read(tmp_path: Path, pack: Any) -> None:
    inputs = open_inputs(write(tmp_path / "x.jsonl", pack(LATIN)))
    note = inputs.text.note("x.jsonl")
    assert note is not None
    assert note.startswith("x.jsonl: 2 lines are not UTF-8, the first of them line 1: ")
    assert [fields for _, fields, _ in good(list(inputs.read()))] == [
        {"a": "caf\ufffd"},
        {"a": "tea"},
        {"a": "cr\ufffdme"},
    ]


@given(st.lists(st.sampled_from([b"", b"ok", "\u00e9\U0001f600".encode(), b"\xe9", b"\xf0\x9f"])), st.integers(1, 9))
def test_lines_are_counted_whatever_the_pieces(lines: list[bytes], size: int) -> None:
    content = b"\n".join(lines)
    text = Utf8Check()
    for at in range(0, len(content), size):
        text.take(content[at : at + size])
    text.end()
    wrong = [number for number, line in enumerate(lines, 1) if line in (b"\xe9", b"\xf0\x9f")]
    assert (text.lines, text.first) == (len(wrong), wrong[0] if wrong else 0)


def test_of_a_line_that_is_too_long_nothing_is_said() -> None:
    text = Utf8Check()
    for _ in range(17):
        text.take("\u20ac".encode() * 349_526)  # a mebibyte and two bytes: cut anywhere, it is no UTF-8
    text.take(b"\n\xe9\n")
    text.end()
    assert (text.lines, text.first) == (1, 2)


def test_of_a_stream_they_are_counted_as_it_is_read() -> None:
    inputs = open_inputs("-", stdin=io.BytesIO(LATIN))
    assert inputs.text.note("stdin") is None
    assert len(list(inputs.read())) == 3
    assert (inputs.text.lines, inputs.text.first) == (2, 1)


@pytest.mark.parametrize("value", [b"null", b"1.5", b"true", b"[]", b"{}", b'""'])
def test_an_id_that_is_no_name_is_a_bad_line(tmp_path: Path, value: bytes) -> None:
    (item,) = bad(read(write(tmp_path / "x.jsonl", b'{"id":' + value + b"}\n")))
    assert "`id` must be a string" in item.message
    assert item.id == "1"


def test_integer_ids_stay_integers_and_huge_ones_become_their_digits(tmp_path: Path) -> None:
    items = read(write(tmp_path / "x.jsonl", b'{"id":7}\n{"id":-1}\n{"id":' + b"9" * 40 + b"}\n"))
    assert [item.id for item in items] == [7, -1, "9" * 40]


def test_a_repeated_id_names_the_line_that_had_it_first(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", b'{"id":"a"}\n{}\n{"id":"a"}\n{"id":"a"}\n')
    items = bad(read(path))
    assert [(item.id, item.line) for item in items] == [("a#3", 3), ("a#4", 4)]
    assert items[0].message == f"{path}:3: the id 'a' was used in line 1 before"


def test_an_integer_and_a_string_that_read_alike_are_one_id(tmp_path: Path) -> None:
    assert [item.id for item in bad(read(write(tmp_path / "x.jsonl", b'{"id":1}\n{"id":"1"}\n')))] == ["1#2"]


def test_a_line_number_taken_by_an_id_before_is_a_repeated_id(tmp_path: Path) -> None:
    items = read(write(tmp_path / "x.jsonl", b'{"id":"2"}\n{}\n'))
    assert [item.id for item in items] == ["2", "2#2"]


def test_a_bad_line_never_takes_the_id_from_an_item(tmp_path: Path) -> None:
    items = read(write(tmp_path / "x.jsonl", b'{"id":"3#3"}\n{"id":"3"}\noops\noops\n{"id":"4"}\n'))
    assert [item.id for item in items] == ["3#3", "3", "3#3#3", "4", "4"]
    assert isinstance(items[4], Item)  # the bad line 4 did not take the name from it


def test_a_line_longer_than_the_cap_is_one_bad_line(tmp_path: Path) -> None:
    long = b'{"t":"' + b"x" * 3000 + b'"}'
    exact = b'"' + b"y" * 998 + b'"'
    path = write(tmp_path / "x.jsonl", long + b"\n" + exact + b"\n{}\n" + long)
    items = read(path, cap=1000)
    assert [type(item) for item in items] == [BadLine, Item, Item, BadLine]
    assert bad(items)[0].message == f"{path}:1: too large: more than 1,000 bytes in one line"


def test_a_blank_line_longer_than_the_cap_is_no_item(tmp_path: Path) -> None:
    assert len(read(write(tmp_path / "x.jsonl", b" " * 5000 + b"\n{}\n"), cap=1000)) == 1


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz"])
def test_a_line_of_100_mb_is_never_held(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with gzip.open(path, "wb", 1) if name.endswith("gz") else path.open("wb") as file:
        file.write(b'{"t":"')
        for _ in range(100):
            file.write(b"x" * MiB)
        file.write(b'"}\n{"id":"next"}\n')
    tracemalloc.start()
    try:
        items = read(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [item.id for item in items] == ["1", "next"]
    assert "too large" in bad(items)[0].message
    assert peak < 64 * MiB


def test_utf16_is_refused_with_the_command_that_converts_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="iconv"):
        open_inputs(write(tmp_path / "x.jsonl", '{"a":1}\n'.encode("utf-16")))


@given(content=st.binary(max_size=300))
def test_no_bytes_crash_the_reader_and_every_line_that_is_not_blank_is_counted(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = write(tmp_path_factory.mktemp("fuzz") / "x.jsonl", content)
    if content.startswith((b"\xff\xfe", b"\xfe\xff", b"\x1f\x8b\x08")):
        return
    items = read(path, cap=64)
    wanted = [line for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.strip()]
    assert len(items) == len(wanted)
    assert [item.index for item in items] == list(range(len(wanted)))
    assert_names_are_clear(items)


def assert_names_are_clear(items: list[Item | BadLine]) -> None:
    """Items have ids of their own, bad lines too, and none has that of an item before it."""
    names = [str(item.id) for item in items if isinstance(item, Item)]
    assert len(set(names)) == len(names)
    assert len({item.id for item in bad(items)}) == len(bad(items))
    for place, item in enumerate(items):
        if isinstance(item, BadLine):
            assert item.id not in {str(before.id) for before in items[:place]}


LINES = st.sampled_from(
    [b"{}", b'{"id":"a"}', b'{"id":2}', b'{"id":"2#2"}', b"oops", b"", b"  \r", b'"\xff"', b'{"id":"b"}\r', b"x" * 90]
)


@given(lines=st.lists(LINES, max_size=30), bom=st.booleans(), ended=st.booleans(), zipped=st.booleans())
def test_any_mix_of_lines_gives_unique_ids_and_the_right_count(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], bom: bool, ended: bool, zipped: bool
) -> None:
    content = b"\xef\xbb\xbf" * bom + b"\n".join(lines) + b"\n" * ended
    content = gzip.compress(content) if zipped else content
    items = read(write(tmp_path_factory.mktemp("mix") / "x.jsonl", content), cap=80)
    assert len(items) == sum(bool(line.strip()) for line in lines)
    assert_names_are_clear(items)
    assert [item.line for item in items] == [number for number, line in enumerate(lines, 1) if line.strip()]


# files that can't be used, or change


def test_a_missing_file_and_a_folder_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.jsonl: cannot be read: No such file"):
        open_inputs(tmp_path / "gone.jsonl")
    with pytest.raises(InputError, match="is a folder"):
        open_inputs(tmp_path)


def test_the_digest_is_of_the_raw_bytes(tmp_path: Path) -> None:
    one = open_inputs(write(tmp_path / "1.jsonl", CLEAN))
    assert one.digest == open_inputs(write(tmp_path / "2.jsonl", CLEAN)).digest
    assert one.digest != open_inputs(write(tmp_path / "3.jsonl", CLEAN + b"\n")).digest


def test_a_file_that_became_shorter_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", CLEAN)
    inputs = open_inputs(path)
    os.truncate(path, len(CLEAN) - 3)
    with pytest.raises(InputError, match=r"x\.jsonl: became shorter"):
        list(inputs.read())


def test_a_file_that_changed_in_place_is_refused_at_its_end(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", CLEAN)
    inputs = open_inputs(path)
    path.write_bytes(CLEAN.replace(b"text", b"TEXT"))
    with pytest.raises(InputError, match=r"x\.jsonl: changed while it was read"):
        list(inputs.read())


def test_of_a_file_that_grew_only_what_was_there_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", CLEAN)
    inputs = open_inputs(path)
    with path.open("ab") as file:
        file.write(b'{"id":"late"}\n')
    assert len(list(inputs.read())) == inputs.count == 3


def test_a_file_that_vanished_is_refused(tmp_path: Path) -> None:
    inputs = open_inputs(write(tmp_path / "x.jsonl", CLEAN))
    (tmp_path / "x.jsonl").unlink()
    with pytest.raises(InputError, match="cannot be read"):
        list(inputs.read())


def test_files_can_be_read_again_and_at_the_same_time(tmp_path: Path) -> None:
    inputs = open_inputs(write(tmp_path / "x.jsonl", CLEAN))
    assert list(inputs.read()) == list(inputs.read())
    assert all(one == other for one, other in zip(inputs.read(), inputs.read(), strict=True))


# gzip


def test_gzip_is_known_by_its_content(tmp_path: Path) -> None:
    for name in ("x.jsonl.gz", "renamed.jsonl"):
        assert len(good(read(write(tmp_path / name, gzip.compress(CLEAN))))) == 3


def test_gzip_files_one_behind_the_other_are_one_text(tmp_path: Path) -> None:
    assert len(read(write(tmp_path / "x.jsonl.gz", gzip.compress(CLEAN) + gzip.compress(b"{}\n{}\n")))) == 5


@given(cut=st.integers(0, 10_000), flip=st.booleans())
def test_damaged_gzip_is_refused_or_reads_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flip: bool
) -> None:
    content = b"".join(b'{"id":"%d","text":"%d"}\n' % (i, i * 7919) for i in range(200))
    data = bytearray(gzip.compress(content))
    place = cut % len(data)
    if flip:
        data[place] ^= 0x55
    else:
        del data[place:]
    path = write(tmp_path_factory.mktemp("gz") / "x.jsonl.gz", bytes(data))
    try:
        items = read(path)
    except InputError as error:
        assert "x.jsonl.gz: the gzip data are damaged" in str(error)
    else:
        assert flip and len(good(items)) == 200  # a byte of the header that means nothing to the text


# CSV


def test_csv_has_a_header_quotes_and_strings_only(tmp_path: Path) -> None:
    text = b'id,name, note\r\na,"Smith, ""Jo""",1\r\nb,"two\r\nlines",\r\n\r\nc,plain,3'
    items = read(write(tmp_path / "x.csv", b"\xef\xbb\xbf" + text))
    assert good(items) == [
        ("a", {"id": "a", "name": 'Smith, "Jo"', "note": "1"}, 2),
        ("b", {"id": "b", "name": "two\r\nlines", "note": ""}, 3),
        ("c", {"id": "c", "name": "plain", "note": "3"}, 6),
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.csv", 'id;price\na;"1;5"\nb;2,5\n'),
        ("x.csv", '\n"id";price\na;"1;5"\nb;2,5\n'),
        ("x.csv", "id\tprice\na\t1;5\nb\t2,5\n"),
        ("x.tsv", "id\tprice\r\na\t1;5\r\nb\t2,5\r\n"),
        ("x.csv", 'id,price\na,1;5\nb,"2,5"\n'),
    ],
)
def test_csv_columns_are_divided_as_the_header_shows(tmp_path: Path, name: str, content: str) -> None:
    items = read(write(tmp_path / name, content.encode()))
    assert [fields for _, fields, _ in good(items)] == [{"id": "a", "price": "1;5"}, {"id": "b", "price": "2,5"}]


def test_csv_without_ids_goes_by_line_numbers(tmp_path: Path) -> None:
    assert [item.id for item in read(write(tmp_path / "x.csv", b"q\nfoo\nbar\n"))] == ["2", "3"]


def test_ragged_and_badly_quoted_rows_are_bad_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", b'id,q\n1,a\n2\n3,b,c\n4,"x"y\n5,ok\n')
    items = read(path)
    assert [item.id for item in items if isinstance(item, Item)] == ["1", "5"]
    messages = [item.message for item in bad(items)]
    assert messages[0] == f"{path}:3: 1 field, but the header has 2"
    assert messages[1] == f"{path}:4: 3 fields, but the header has 2"
    assert "not CSV" in messages[2]


def test_a_csv_quote_that_is_never_closed_is_refused_since_rows_cannot_be_told_apart(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"x\.csv:3: a quote opens in this row and is never closed"):
        open_inputs(write(tmp_path / "x.csv", b'q,r\n1,2\n"3,4\n5,6\n'))
    with pytest.raises(InputError, match=r"x\.csv:2: a quote opens"):
        open_inputs(write(tmp_path / "x.csv", b'q,r\n"1,2\n' + b"3,4\n" * 1000), cap=100)


def test_a_csv_header_that_names_a_column_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="names a column twice: 'q'"):
        open_inputs(write(tmp_path / "x.csv", b"q,a,q\n1,2,3\n"))


def test_csv_replaces_what_is_no_text_and_takes_large_fields(tmp_path: Path) -> None:
    items = read(write(tmp_path / "x.csv", b"q,r\n\xff\x00,b\n" + b"x" * 300_000 + b",c\n"))
    first, second = good(items)
    assert first[1] == {"q": "\ufffd\ufffd", "r": "b"}
    assert len(second[1]["q"]) == 300_000


def test_a_csv_row_longer_than_the_cap_is_bad_and_the_next_one_good(tmp_path: Path) -> None:
    rows = b"q\n" + b"x" * 500 + b"\nfine\n"
    items = read(write(tmp_path / "x.csv", rows), cap=200)
    assert "too large" in bad(items)[0].message
    assert good(items) == [("3", {"q": "fine"}, 3)]


@given(content=st.binary(max_size=200))
def test_no_bytes_crash_the_csv_reader(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = write(tmp_path_factory.mktemp("csv") / "x.csv", content)
    try:
        items = read(path, cap=100)
    except InputError:
        return
    assert all(isinstance(item, BadLine) or all(type(v) is str for v in item.fields.values()) for item in items)


# streams


def stream(content: bytes) -> io.BufferedReader:
    return io.BufferedReader(io.BytesIO(content))  # pyright: ignore[reportArgumentType]


def test_stdin_is_read_like_a_file_of_unknown_length() -> None:
    inputs = open_inputs("-", stdin=stream(CLEAN + b"oops\n"))
    assert (inputs.name, inputs.digest, inputs.count, inputs.streamed) == ("stdin", None, None, True)
    items = list(inputs.read())
    assert len(good(items)) == 3
    assert bad(items)[0].message.startswith("stdin:4: not JSON")


def test_a_stream_can_be_read_once() -> None:
    inputs = open_inputs("-", stdin=stream(CLEAN))
    list(inputs.read())
    with pytest.raises(InputError, match="was read already"):
        list(inputs.read())


def test_a_pipe_hands_out_each_line_as_it_comes() -> None:
    reading, writing = os.pipe()
    with open(writing, "wb", buffering=0) as pipe:
        items = open_inputs("-", stdin=open(reading, "rb")).read()  # noqa: SIM115
        for number in range(1, 4):
            pipe.write(b"{}\n")
            item = next(items)  # would hang if it waited for more than this line
            assert item.id == str(number)
        pipe.write(b'"last, unended"')
    assert [item.id for item in items] == ["4"]


def test_a_fifo_is_a_stream(tmp_path: Path) -> None:
    fifo = tmp_path / "x.jsonl"
    os.mkfifo(fifo)
    writer = threading.Thread(target=lambda: fifo.write_bytes(CLEAN))
    writer.start()
    inputs = open_inputs(fifo)
    assert inputs.streamed
    assert len(list(inputs.read())) == 3
    writer.join()


def teed(spool: Path, content: bytes) -> list[Item | BadLine]:
    return list(open_inputs("-", tee=spool, stdin=stream(content)).read())


def test_a_stream_is_copied_and_the_same_one_goes_on(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    teed(spool, CLEAN)
    assert spool.read_bytes() == CLEAN
    assert len(teed(spool, CLEAN + b'{"id":"more"}\n')) == 4
    assert spool.read_bytes() == CLEAN + b'{"id":"more"}\n'


def test_a_line_is_copied_before_its_item_is_handed_out(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    items = open_inputs("-", tee=spool, stdin=stream(CLEAN)).read()
    for line in CLEAN.splitlines(keepends=True):
        before = spool.read_bytes() if spool.exists() else b""
        next(items)
        assert spool.read_bytes() == before + line
    items.close()  # type: ignore[attr-defined]


def test_a_stream_that_differs_is_refused_at_the_line(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    teed(spool, CLEAN)
    items = open_inputs("-", tee=spool, stdin=stream(CLEAN.replace(b"2}", b"3}"))).read()
    assert next(items).id == "a"
    with pytest.raises(InputError, match="stdin:2: differs"):
        next(items)
    assert spool.read_bytes() == CLEAN


def test_a_stream_that_ends_sooner_is_refused(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    teed(spool, CLEAN)
    with pytest.raises(InputError, match="stdin: ended at line 3, sooner"):
        teed(spool, b"".join(CLEAN.splitlines(keepends=True)[:2]))


@given(cut=st.integers(0, len(CLEAN)))
def test_a_copy_torn_anywhere_is_completed(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    spool = write(tmp_path_factory.mktemp("spool") / "spool", CLEAN[:cut])
    assert len(teed(spool, CLEAN)) == 3
    assert spool.read_bytes() == CLEAN


def test_a_long_line_is_copied_whole_though_never_held(tmp_path: Path) -> None:
    content = b'"' + b"x" * 5000 + b'"\n{}\n'
    items = list(open_inputs("-", tee=tmp_path / "spool", stdin=stream(content), cap=100).read())
    assert [type(item) for item in items] == [BadLine, Item]
    assert (tmp_path / "spool").read_bytes() == content


# parts


def numbered(tmp_path: Path, count: int) -> Inputs:
    return open_inputs(write(tmp_path / "n.jsonl", b"".join(b"%d\n" % i for i in range(count))))


def chosen(inputs: Inputs, **options: Any) -> list[int]:
    selection = Selection(**options)
    items = [item.index for item in selection.of(inputs)]
    assert len(items) == selection.count(inputs.count)
    return items


def test_offset_and_limit_cut_a_part(tmp_path: Path) -> None:
    inputs = numbered(tmp_path, 10)
    assert chosen(inputs) == list(range(10))
    assert chosen(inputs, offset=7) == [7, 8, 9]
    assert chosen(inputs, limit=2) == [0, 1]
    assert chosen(inputs, offset=8, limit=5) == [8, 9]
    assert chosen(inputs, offset=20) == []


def test_a_sample_is_the_same_for_the_same_seed_and_in_order(tmp_path: Path) -> None:
    inputs = numbered(tmp_path, 100)
    first = chosen(inputs, sample=10, seed=1)
    assert first == chosen(inputs, sample=10, seed=1) == sorted(set(first))
    assert first != chosen(inputs, sample=10, seed=2)
    assert chosen(inputs, sample=1000) == list(range(100))
    assert all(20 <= index < 50 for index in chosen(inputs, offset=20, limit=30, sample=5))


@pytest.mark.parametrize("offset", [0, 3, 200])
@pytest.mark.parametrize("limit", [None, 0, 7])
@pytest.mark.parametrize("sample", [None, 4])
def test_what_is_chosen_is_known_without_reading_it(
    tmp_path: Path, offset: int, limit: int | None, sample: int | None
) -> None:
    part: dict[str, Any] = {"offset": offset, "limit": limit, "sample": sample, "seed": 5}
    assert list(Selection(**part).indexes(100)) == chosen(numbered(tmp_path, 100), **part)


def test_of_a_stream_only_the_beginning_and_the_end_are_known() -> None:
    assert Selection(offset=3, limit=4).indexes(None) == range(3, 7)
    assert Selection(offset=3).indexes(None)[0] == 3
    assert Selection(sample=3).indexes(None) == ()


def test_a_sample_draws_each_item_equally_often(tmp_path: Path) -> None:
    inputs = numbered(tmp_path, 10)
    hits = [0] * 10
    for seed in range(600):
        for index in chosen(inputs, sample=3, seed=seed):
            hits[index] += 1
    # 600 draws of 3 in 10: 180 each, with a standard deviation of 11; the seeds are fixed, so this never flickers
    assert all(130 < hit < 230 for hit in hits)


def test_a_limit_reads_no_further_than_it_must() -> None:
    reading, writing = os.pipe()
    with open(writing, "wb", buffering=0) as pipe:
        pipe.write(b"{}\n{}\n{}\n")
        inputs = open_inputs("-", stdin=open(reading, "rb"))  # noqa: SIM115
        assert len(list(Selection(limit=2).of(inputs))) == 2  # would hang if it asked for a line more than is there
        assert len(list(Selection(offset=1).of(open_inputs("-", stdin=stream(CLEAN))))) == 2


def test_a_stream_has_no_sample() -> None:
    with pytest.raises(InputError, match="save them to a file first"):
        Selection(sample=3).of(open_inputs("-", stdin=stream(CLEAN)))


def test_a_check_collects_the_first_bad_lines_and_counts_all(tmp_path: Path) -> None:
    check = check_inputs(open_inputs(write(tmp_path / "x.jsonl", b"{}\n" + b"oops\n" * 30)))
    assert (check.items, check.bad_count, len(check.bad)) == (1, 30, 20)
    assert check.bad[0].line == 2


WAITING_READER = """
import threading
from agentbatch.inputs import open_inputs

items = open_inputs("-").read()
print(next(items).id, flush=True)
threading.Thread(target=lambda: next(items), daemon=True).start()
"""


def test_a_process_ends_cleanly_though_a_thread_of_it_waits_for_stdin() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING_READER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin is not None
    process.stdin.write(b"{}\n")
    process.stdin.flush()
    assert process.wait(timeout=30) == 0  # its stdin is still open
    assert process.communicate() == (b"1\n", b"")

"""The page as a file: what is in it, what can't be, how large it is."""

import hashlib
import re
from base64 import b64encode
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from run_files import failed, result, simple_trace, step, unpacked, write_results

from agentbatch.report import make_report

HOSTILE = (
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "<!--",
    "]]></style><svg onload=alert(1)>",
    "\x1b[31mred\x1b]0;title\x07",
    "\u202ereversed\u202c\u2066",
    "$blocks $script ${csp} %s {{ 7*7 }}",
    "x" * 300_000,
)


class Elements(HTMLParser):
    """Every element of a page with its attributes, and the text that is in no script or style."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.code: list[tuple[str, str]] = []
        self._open = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._open = tag
        if tag in ("script", "style"):
            self.code.append((tag if "type" not in dict(attrs) else "data", ""))

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open in ("script", "style"):
            kind, before = self.code[-1]
            self.code[-1] = (kind, before + data)
        else:
            self.text.append(data)


def page_of(folder: Path, *lines: dict[str, Any] | bytes, traces: Iterable[bytes] = (), name: str = "r") -> bytes:
    results = write_results(folder / f"{name}.results.jsonl", *lines)
    (folder / f"{name}.results.traces.jsonl").write_bytes(b"".join(traces))
    return b"".join(make_report(results))


def shape(page: bytes) -> list[str]:
    """The elements that are not data blocks."""
    return [tag for tag, facts in Elements(page.decode()).found if facts.get("type") != "application/gzip"]


def hostile_run(text: str) -> list[dict[str, Any]]:
    error = {"type": text, "message": text, "agent": text, "http_status": 500, "attempts": 1}
    bad = step(status="error", output=text, error=error)
    return [
        result(text, output=text, agents={text: step(output=text)}, trace_id=text),
        result(text + "2", status="error", error=error, agents={text: bad}, output={text: text}),
    ]


def test_nothing_that_others_wrote_becomes_an_element(tmp_path: Path) -> None:
    def page_with(text: str) -> bytes:
        return page_of(tmp_path, *hostile_run(text), traces=[simple_trace(1, model=text, provider=text)])

    honest = shape(page_with("honest"))
    for text in HOSTILE:
        page = page_with(text)
        assert shape(page) == honest
        assert b"alert(1)" not in page
        assert b"\x1b" not in page
        assert "\u202e".encode() not in page


def test_a_hostile_file_name_is_only_text(tmp_path: Path) -> None:
    name = "a'\"><script>alert(1)<!-- &lt; \x1b[1m\u202e"
    page = page_of(tmp_path, result(1), name=name.replace("/", ""))
    assert shape(page) == shape(page_of(tmp_path, result(1)))
    elements = Elements(page.decode())
    assert any("<script>alert(1)<!-- &lt; \\x1b[1m\\u202e" in text for text in elements.text)
    assert unpacked(page, "run-0")["name"].startswith(name)


def test_only_the_page_s_own_script_and_style_may_run(tmp_path: Path) -> None:
    page = page_of(tmp_path, result(1)).decode()
    elements = Elements(page)
    equivalents = {facts.get("http-equiv"): facts.get("content") for tag, facts in elements.found if tag == "meta"}
    policy = equivalents["Content-Security-Policy"]
    assert policy is not None
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["base-uri"] == rules["form-action"] == "'none'"
    for kind in ("script", "style"):
        (content,) = [code for tag, code in elements.code if tag == kind]
        digest = b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[f"{kind}-src"] == f"'sha256-{digest}'"
    assert page.index("Content-Security-Policy") < page.index("<style")


def test_the_page_asks_for_nothing(tmp_path: Path) -> None:
    elements = Elements(page_of(tmp_path, result(1)).decode())
    for tag, facts in elements.found:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base", "form", "source", "video", "audio")
        assert "src" not in facts
        assert all(not name.startswith("on") and name != "style" for name in facts)
        assert (facts.get("href") or "#").startswith("#")
    for kind, code in elements.code:
        if kind != "data":
            addresses = set(re.findall(r"https?://[^\s\"')]+", code))
            assert addresses <= {"http://www.w3.org/2000/svg"}
            assert "innerHTML" not in code
            assert "eval(" not in code
            assert "url(" not in code


def test_the_page_is_small_beside_its_data(tmp_path: Path) -> None:
    assert len(page_of(tmp_path, result(1))) < 400_000


def test_a_huge_output_is_cut_and_says_so(tmp_path: Path) -> None:
    page = page_of(tmp_path, result(1, output="é" * 3_000_000))
    assert len(page) < 400_000
    (texts,) = unpacked(page, "texts-0")
    text, length, _ = texts[2]
    assert (len(text), length) == (40_000, 3_000_000)


def test_the_head_says_it_without_a_script(tmp_path: Path) -> None:
    page = page_of(tmp_path, result(1), failed(2), result(3), traces=[simple_trace(1)]).decode()
    text = " ".join(Elements(page).text)
    assert "1 of 3 items failed, in 1.0 s." in text
    assert "$0.0300" in text
    assert '<h1 id="verdict" data-tone="bad">' in page


@pytest.mark.parametrize(
    ("lines", "verdict"),
    [
        ([], "There were no items."),
        ([result(1), result(2)], "All 2 items succeeded, in 1.0 s."),
        ([failed(1)], "The one item failed, in 1.0 s."),
        ([result(1), result(2, status="skipped")], "1 item succeeded and 1 was skipped, in 1.0 s."),
    ],
)
def test_the_verdict_is_that_of_the_terminal(tmp_path: Path, lines: list[dict[str, Any]], verdict: str) -> None:
    assert unpacked(page_of(tmp_path, *lines), "run-0")["run"]["verdict"] == verdict


def test_the_data_of_the_table(tmp_path: Path) -> None:
    lines = [result(1, queued_s=0.5), failed(2, "auth", "no key"), result(1, output="again", cost_usd=None)]
    page = page_of(tmp_path, *lines, traces=[simple_trace(2)])
    rows = unpacked(page, "rows-0")
    assert rows["id"] == ["1", "2", "1"]
    assert rows["status"] == [0, 1, 0]
    assert (rows["queued"], rows["work"], rows["cost"]) == ([5000, 0, 0], [10_000, 10_000, 10_000], [0.01, 0.01, None])
    assert rows["error"] == [0, 1, 0]
    assert rows["excerpt"] == ["the output of 1", "no key", "again"]
    assert unpacked(page, "places-0") == {"places": [0, 1, 0], "dead": [0]}
    assert unpacked(page, "timelines-0")[0][2][0][1] == "item"
    data = unpacked(page, "run-0")
    assert data["errorTypes"] == ["auth"]
    assert data["meanings"]["auth"] == "401 or 403: the key is refused."
    assert any("Superseded" in note for note in data["notes"])
    assert any("2 of 3 result lines have no trace" in note for note in data["notes"])


def test_without_traces_a_note_says_what_is_missing(tmp_path: Path) -> None:
    results = write_results(tmp_path / "r.jsonl", result(1))
    data = unpacked(b"".join(make_report(results)), "run-0")
    assert data["traces"] is None
    assert "no traces beside the results" in data["notes"][0]


def test_two_runs(tmp_path: Path) -> None:
    other = write_results(tmp_path / "old.jsonl", failed(1), result(2), result(3, output="old"))
    results = write_results(tmp_path / "new.jsonl", result(1), failed(2), result(3))
    data = unpacked(b"".join(make_report(results, other=other)), "run-0")
    assert (data["run"]["name"], data["other"]["name"]) == ("new.jsonl", "old.jsonl")
    found = data["comparison"]
    assert (found["broken"]["ids"], found["mended"]["ids"], found["changed"]["ids"]) == (["2"], ["1"], ["3"])


def test_two_runs_of_which_one_has_no_items(tmp_path: Path) -> None:
    empty = write_results(tmp_path / "empty.jsonl")
    results = write_results(tmp_path / "r.jsonl", result(1))
    for one, other in ((results, empty), (empty, results)):
        assert b"<h1" in b"".join(make_report(one, other=other))

"""The page in a real browser: clicked, typed into, resized."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from devtools import Page, browser, find_chromium
from run_files import BEGIN_NS, failed, result, simple_trace, span, step, trace, write_results

from agentbatch.messages import ChatResponse, Message
from agentbatch.report import make_report
from agentbatch.results import format_time

CHROMIUM = find_chromium()

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium"),
]


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    assert CHROMIUM is not None
    async with browser(CHROMIUM) as page:
        yield page
        assert page.complaints == []
        assert [address for address in page.requests if not address.startswith("file:")] == []


def made(folder: Path, lines: list[dict[str, object]], traces: list[bytes], other: Path | None = None) -> Path:
    results = write_results(folder / "r.results.jsonl", *lines)  # type: ignore[arg-type]
    (folder / "r.results.traces.jsonl").write_bytes(b"".join(traces))
    path = folder / "r.report.html"
    path.write_bytes(b"".join(make_report(results, other=other)))
    return path


def line(number: int, **fields: object) -> dict[str, object]:
    """Every tenth item fails; each takes a little longer than the one before."""
    begun: dict[str, object] = {"started_at": format_time(BEGIN_NS + number * 10**8), "duration_s": 1 + number / 100}
    begun["agents"] = {"writer": step(duration_s=1 + number / 100)}
    if number % 10 == 0:
        return failed(number, "server" if number % 20 else "auth", f"item {number} broke", **(begun | fields))
    return result(number, **(begun | fields))


def retried(number: int) -> bytes:
    """A trace with a refused attempt, a wait, an answer, and what was said."""
    start = number / 10
    refused = {"status": "error", "error_type": "rate_limited", "error_message": "slow down", "http_status": 429}
    said = {"messages": (Message("user", "Describe <b>it</b>"),), "answer": ChatResponse("A lamp.")}
    wait = (BEGIN_NS + round((start + 0.2) * 1e9), "retry", {"delay_s": 0.3})
    return trace(
        number,
        span("chat", "small", 3, 2, start, start + 0.2, attempt=1, provider="openai", **refused),
        span("chat", "small", 4, 2, start + 0.5, start + 1, attempt=2, provider="openai", queued_s=0.05, **said),
        span("agent", "writer", 2, 1, start, start + 1, path="writer", events=[wait]),
        span("item", "item", 1, None, start, start + 1, **{"item.id": str(number)}),
        content=True,
    )


@pytest.fixture
def report(tmp_path: Path) -> Path:
    return made(tmp_path, [line(number) for number in range(1, 301)], [retried(number) for number in range(1, 301)])


ROWS = "[...document.querySelectorAll('.row')]"
FIRST = "document.querySelector('.row .id').textContent"
OPEN = "document.querySelector('dialog').open"
TITLE = "document.querySelector('#item-title')?.textContent"


async def texts(page: Page, selector: str) -> list[str]:
    return await page.eval(f"[...document.querySelectorAll({selector!r})].map(e => e.textContent)")


async def test_the_charts_and_tables_are_there(page: Page, report: Path) -> None:
    await page.open(report)
    assert await page.eval("document.querySelector('#verdict').textContent") == "30 of 300 items failed, in 34 s."
    assert await texts(page, ".lane h3") == ["Done per second", "In flight", "Failed attempts"]
    assert await page.eval("document.querySelectorAll('.lane svg path, .lane svg rect').length") > 10
    assert (await texts(page, "#latency .name"))[1:] == ["writer", "smallopenai"]
    assert await texts(page, ".kind h3") == ["server", "auth"]
    assert (await texts(page, "#cost .name"))[1:] == ["writer", "smallopenai"]


async def test_a_chart_tells_a_moment(page: Page, report: Path) -> None:
    await page.open(report)
    await page.eval("document.querySelector('.lane svg').focus()")
    for _ in range(5):
        await page.press("ArrowRight")
    assert (await texts(page, ".lane .at"))[0].startswith("at ")
    assert len(set(await texts(page, ".lane .at"))) == 1, "all charts stand at the same moment"
    await page.eval("document.activeElement.blur()")
    assert set(await texts(page, ".lane .at")) == {""}


async def test_items_are_found_filtered_and_sorted(page: Page, report: Path) -> None:
    await page.open(report)
    await page.click("#items input[type=search]")
    await page.type("item 20 broke")
    await page.until(f"{ROWS}.length === 1")
    assert await page.eval(FIRST) == "20"
    await page.eval("document.querySelector('input[type=search]').select()")
    await page.type("nothing like it")
    await page.until("!document.querySelector('#items .empty').hidden")
    await page.click("#items .empty button")
    await page.until(f"{ROWS}.length > 10")
    await page.click(".chip[data-code='1']")
    assert await page.eval("document.querySelector('[role=status]').textContent") == "30 of 300 items"
    await page.click(".chip[data-code='1']")
    await page.click("[data-key=work] button")
    assert await page.eval(FIRST) == "300"
    assert await page.eval("document.querySelector('[data-key=work]').getAttribute('aria-sort')") == "descending"
    await page.click("[data-key=work] button")
    assert await page.eval(FIRST) == "1"
    await page.click(".kind:nth-child(2) p .link")
    assert await page.eval("document.querySelector('[role=status]').textContent") == "15 of 300 items"


async def test_the_keyboard_is_enough(page: Page, report: Path) -> None:
    await page.open(report)
    await page.press("/", "/")
    assert await page.eval("document.activeElement.type") == "search"
    for _ in range(20):
        await page.press("Tab")
        if await page.eval("document.activeElement.getAttribute('role') === 'grid'"):
            break
    assert await page.eval("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    await page.press("ArrowDown")
    await page.press("ArrowDown")
    await page.press("Enter")
    await page.until(OPEN)
    assert await page.eval(TITLE) == "3"
    await page.press("ArrowRight")
    await page.until(f"{TITLE} === '4'")
    await page.press("ArrowLeft")
    await page.until(f"{TITLE} === '3'")
    assert await page.eval("location.hash") == "#item=3"
    await page.press("Escape")
    await page.until(f"!{OPEN}")
    assert await page.eval("document.activeElement.getAttribute('role')") == "grid"
    await page.press("End")
    assert await page.eval("document.querySelector('[aria-selected=true] .id').textContent") == "300"
    await page.press("Home")
    assert await page.eval("document.querySelector('[aria-selected=true] .id').textContent") == "1"


async def test_an_item_shows_its_timeline_and_what_was_said(page: Page, report: Path) -> None:
    await page.open(report)
    await page.click(".row:nth-child(10)")
    await page.until(OPEN)
    assert await page.eval(TITLE) == "10"
    assert "item 10 broke" in await page.eval("document.querySelector('dialog .fault').textContent")
    names = await texts(page, ".span-row .who")
    assert names == ["item", "writer", "smallrate_limited", "smallattempt 2"]
    assert await page.eval("document.querySelectorAll('.track .wait, .track .queue').length") == 2
    assert "Describe <b>it</b>" in await texts(page, ".sheet > div > .turn pre"), "the prompt stands as the input"
    await page.click("div:nth-child(4) > .span-row")
    details = await page.eval("document.querySelector('.more:not([hidden])').textContent")
    assert "Describe <b>it</b>" in details
    assert "A lamp." in details
    await page.click("div:nth-child(3) > .span-row")
    assert "429" in await page.eval("document.querySelector('.more:not([hidden])').textContent")


async def test_a_link_to_an_item(page: Page, report: Path) -> None:
    await page.open(report)
    await page.eval("location.hash = '#item=42'; location.reload()")
    await page.until(f"document.querySelector('dialog')?.open && {TITLE} === '42'")


@pytest.mark.parametrize("dark", [False, True])
async def test_colours_follow_the_system_until_told_otherwise(page: Page, report: Path, dark: bool) -> None:
    async def is_dark() -> bool:
        await page.eval("new Promise(done => requestAnimationFrame(done))")
        red = await page.eval("Number(/\\d+/.exec(getComputedStyle(document.body).backgroundColor)[0])")
        return red < 128

    await page.open(report, dark=dark)
    assert await is_dark() is dark
    await page.click("#theme")
    assert await is_dark() is False
    await page.click("#theme")
    assert await is_dark() is True
    await page.click("#theme")
    assert await is_dark() is dark


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
async def test_nothing_sticks_out_at_any_width(page: Page, tmp_path: Path, width: int) -> None:
    long = "a-very-long-name-without-a-single-space-in-it" * 8
    lines = [line(number, output=long, agents={long: step()}, id=f"{long}{number}") for number in range(1, 40)]
    other = write_results(tmp_path / f"{long[:60]}.jsonl", *lines[5:])  # type: ignore[arg-type]
    await page.open(made(tmp_path, lines, [retried(number) for number in range(1, 40)], other), width)
    assert await page.eval("document.documentElement.scrollWidth") <= width
    await page.click(".row:nth-child(2)")
    await page.until(OPEN)
    assert await page.eval(
        "document.querySelector('.sheet').scrollWidth <= document.querySelector('.sheet').clientWidth"
    )


async def test_hostile_text_is_shown_and_does_nothing(page: Page, tmp_path: Path) -> None:
    attack = "<img src=x onerror='document.title=1'><script>document.title=1</script>\x1b[31m\u202etxt.exe"
    error = {"type": attack, "message": attack, "agent": attack, "http_status": 500, "attempts": 1}
    bad = step(status="error", error=error, output=attack)
    hostile: dict[str, object] = {"id": attack, "status": "error", "error": error, "agents": {attack: bad}}
    lines = [
        line(1, **hostile),
        line(2, output=attack),
        line(3, output={attack: attack}, agents={"a": step(output=attack)}),
    ]
    await page.open(made(tmp_path, lines, [simple_trace(number, model=attack) for number in (1, 2, 3)]))
    for row in (1, 2, 3):
        await page.click(f".row:nth-child({row})")
        await page.until(OPEN)
        await page.eval("document.querySelectorAll('.span-row, summary').forEach(e => e.click())")
        assert await page.eval("document.querySelector('dialog').textContent.includes('<script>document.title=1')")
        assert (
            await page.eval("document.querySelectorAll('main img, main script, dialog img, dialog script').length") == 0
        )
        await page.press("Escape")
        await page.until(f"!{OPEN}")
    assert "\\x1b" in await texts(page, ".row .esc")
    assert "\\u202e" in await texts(page, ".row .esc")
    assert await page.eval("document.documentElement.textContent.includes('\\u202e')") is False
    assert (await page.eval("document.title")).startswith("r.results.jsonl")


async def test_even_a_script_that_got_in_would_not_run(page: Page, report: Path) -> None:
    await page.open(report)
    await page.eval(
        "(() => { const own = document.createElement('script'); own.textContent = 'window.ran = 1';"
        " document.body.append(own);"
        " document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.ran = 2\">'); })()"
    )
    await page.eval("new Promise(done => setTimeout(done, 50))")
    assert await page.eval("window.ran") is None
    assert len(page.complaints) >= 2
    assert all("Content Security Policy" in complaint for complaint in page.complaints)
    page.complaints.clear()


async def test_two_runs_beside_each_other(page: Page, tmp_path: Path) -> None:
    other = write_results(tmp_path / "old.jsonl", *(line(number, cost_usd=0.02) for number in range(6, 40)))
    lines = [line(number) if number != 7 else failed(7) for number in range(1, 40)]
    await page.open(made(tmp_path, lines, [], other))
    assert await texts(page, ".flips h3") == ["now fail", "now succeed", "other outputs", "only here"]
    assert await texts(page, ".flips .many") == ["1", "0", "0", "5"]
    changes = await texts(page, "#comparison tbody tr")
    assert any(row.startswith("cost of an item") and "−50 %" in row for row in changes)
    await page.click(".flips .link")
    await page.until(OPEN)
    assert await page.eval(TITLE) == "7"


async def test_checks_and_shares_of_the_time_beside_each_other(page: Page, tmp_path: Path) -> None:
    for name, right, bounds in (("old", 6, {"rpm": 3, "cool_down": 1}), ("r.results", 8, {"rpm": 1, "provider": 3})):
        verdicts = [{"passed": number < right, "score": number / 10, "message": ""} for number in range(10)]
        lines = [line(number + 1, checks={"right": verdict}) for number, verdict in enumerate(verdicts)]
        write_results(tmp_path / f"{name}.jsonl", *lines)  # type: ignore[arg-type]
        times = [{"what": what, "who": "model m", "seconds": seconds} for what, seconds in bounds.items()]
        header = {"version": 1, "shape": {}, "inputs": None, "bound_by": times}
        (tmp_path / f"{name}.run.json").write_text(json.dumps(header))
    path = tmp_path / "r.html"
    path.write_bytes(b"".join(make_report(tmp_path / "r.results.jsonl", other=tmp_path / "old.jsonl")))
    await page.open(path)
    rows = await texts(page, "#comparison tbody tr")
    assert "right60.0 %80.0 %+20.0 points0.450 =" in rows
    assert "rpm of model m75.0 %25.0 %−50.0 points" in rows
    assert any(row.startswith("cool-down of model m25.0 %") for row in rows)
    assert any(row.startswith("answers of model m") and "75.0 %" in row for row in rows)


async def test_an_empty_run(page: Page, tmp_path: Path) -> None:
    await page.open(made(tmp_path, [], []))
    assert await texts(page, "section:not([hidden]) .empty b") == ["No items"]


async def test_a_hundred_thousand_items(page: Page, tmp_path: Path) -> None:
    results = tmp_path / "big.jsonl"
    with results.open("wb") as file:
        for start in range(0, 100_000, 10_000):
            part = write_results(tmp_path / "part.jsonl", *(line(n) for n in range(start + 1, start + 10_001)))  # type: ignore[arg-type]
            file.write(part.read_bytes())
    path = tmp_path / "big.html"
    path.write_bytes(b"".join(make_report(results)))
    await page.open(path)
    assert await page.eval(f"{ROWS}.length") < 60
    await page.eval("document.querySelector('.grid-frame').focus()")
    await page.press("End")
    assert await page.eval("document.querySelector('[aria-selected=true] .id').textContent") == "100000"
    assert await page.eval(f"{ROWS}.length") < 60
    await page.press("Enter")
    await page.until(f"{OPEN} && {TITLE} === '100000'")
    await page.press("Escape")
    await page.until("document.activeElement.getAttribute('role') === 'grid'")
    await page.press("/", "/")
    await page.type("77777")
    await page.until(f"{ROWS}.length === 1")
    assert await page.eval(FIRST) == "77777"


async def test_where_the_time_went_and_what_the_checks_came_to(page: Page, tmp_path: Path) -> None:
    passed, missed = {"passed": True, "score": 1.0, "message": ""}, {"passed": False, "score": 0.5, "message": "no"}
    lines = [line(number, checks={"right": passed if number % 4 else missed}) for number in range(1, 10)]
    begin = BEGIN_NS / 1e9
    marks = [
        {"at": begin + 0.3, "seconds": 0.4, "what": "cool-down of model m"},
        {"at": begin + 0.8, "seconds": 0, "what": "models.m.rpm 600 -> 300"},
        {"at": begin - 4000, "seconds": 0, "what": "of another time"},
    ]
    header = {"version": 1, "shape": {}, "inputs": None, "bound_by": [{"what": "rpm", "who": "model m", "seconds": 3}]}
    header |= {"thresholds": {"right": {"min": 0.9}}, "marks": marks}
    (tmp_path / "r.results.run.json").write_text(json.dumps(header))
    await page.open(made(tmp_path, lines, []))
    await page.until(f"{ROWS}.length === 9")
    assert "rpm of model m" in await page.eval("document.querySelector('#time').textContent")
    checks = await page.eval("document.querySelector('#checks').innerText")
    assert [word in checks for word in ("right", "77.8 %", "0.889", "missed: share of 90%")] == [True] * 4
    assert "Below its threshold: right." in await page.eval("document.querySelector('#verdict').textContent")
    assert await page.eval("document.querySelector('#verdict').dataset.tone") == "bad"
    assert "cool-down of model m 1 time, 0.40 s together" in (await texts(page, ".marks li"))[0]
    assert await page.eval("document.querySelectorAll('.lane:first-of-type svg .rest').length") == 1
    titles = await texts(page, ".lane:first-of-type svg title")
    assert titles[:2] == ["cool-down of model m", "models.m.rpm 600 -> 300"]
    await page.eval("document.querySelector('.lane svg').focus()")
    readouts: set[str] = set()
    for _ in range(30):
        await page.press("ArrowRight")
        readouts.add((await texts(page, ".lane .at"))[0].partition(" · ")[0])
    assert {"cool-down of model m", "models.m.rpm 600 -> 300"} <= readouts


async def test_who_fails_and_who_is_slow_stands_in_the_head(page: Page, tmp_path: Path) -> None:
    agents = {"writer": step(duration_s=1.0), "critic": step(status="error", duration_s=9.0)}
    await page.open(made(tmp_path, [line(number, agents=agents) for number in range(1, 6)], []))
    await page.until(f"{ROWS}.length === 5")
    head = await page.eval("document.querySelector('#worst').innerText")
    assert "critic failed 5 times" in " ".join(head.split())
    assert "is the slowest" in head

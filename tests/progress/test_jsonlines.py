import json
from pathlib import Path

from progress.scripted_run import ScriptedRun

from agentbatch.progress import open_progress
from agentbatch.progress.jsonlines import progress_json
from agentbatch.progress.tally import Tally
from agentbatch.progress.view import Pressure, Watch
from agentbatch.trace import Tracer


def test_an_object_says_how_the_run_stands() -> None:
    tally = Tally()
    run = ScriptedRun(Tracer([tally]), ("writer",), price=0.01)
    run.item(1, retries=1)
    run.item(2, ("server", "502"))
    said = json.loads(progress_json(Watch(tally, 4, lambda: Pressure(2, held_by="nothing")).look()))
    assert {key: said[key] for key in ("total", "done", "failed", "items", "in_flight", "calls", "retries")} == {
        "total": 4, "done": 2, "failed": 1, "items": {"ok": 1, "error": 1}, "in_flight": 2, "calls": 3, "retries": 1,
    }  # fmt: skip
    assert said["cost_usd"] == 0.01
    assert said["errors"] == {"server": 1}
    assert said["agents"]["writer"]["ok"] == 1
    assert said["last"] is False


def test_an_unknown_price_is_null() -> None:
    tally = Tally()
    ScriptedRun(Tracer([tally]), ("writer",), price=None).item(1)
    assert json.loads(progress_json(Watch(tally).look()))["cost_usd"] is None


def test_each_line_is_an_object_and_the_last_says_so(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with open(path, "w", encoding="utf-8") as stream:
        progress = open_progress("json", Tally(), 3, stream=stream, interval=0.01)
        progress.start()
        progress.say("stopping\nnow")
        progress.stop()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line for line in lines if "message" in line] == [{"message": "stopping"}, {"message": "now"}]
    assert [line["last"] for line in lines if "last" in line][-1] is True
    assert sum(line.get("last", False) for line in lines) == 1

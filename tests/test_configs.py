"""Every config in `configs/` runs as its head says, and shows what it is there to show."""

import asyncio
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_time import run_in_fake_time
from scripted import SpanList

from agentbatch.batch import run_to_end
from agentbatch.config import Config, load
from agentbatch.engines.local import LocalEngine
from agentbatch.inputs import Selection, open_inputs
from agentbatch.items import Item, ItemResult
from agentbatch.limits import Budget
from agentbatch.mock_server import MockServer, MockServerSettings
from agentbatch.process.control import Control
from agentbatch.results.files import ResultFiles
from agentbatch.run.options import RunOptions
from agentbatch.trace import Tracer

ROOT = Path(__file__).parent.parent
CONFIGS = {path.stem: path for path in sorted((ROOT / "configs").glob("*.yaml"))}
SAMPLES = sorted(path for path in (ROOT / "samples").glob("*.jsonl") if ".results" not in path.name)
KEY = "key-of-this-test"

Row = dict[str, Any]
Rows = dict[str | int, Row]


def models_of(name: str) -> dict[str, dict[str, Any]]:
    return yaml.safe_load(CONFIGS[name].read_text("utf-8")).get("models", {})


WITH_SERVERS = [name for name in CONFIGS if "mcp_servers" in yaml.safe_load(CONFIGS[name].read_text("utf-8"))]
ALONE = [name for name in CONFIGS if name not in WITH_SERVERS]
OFFLINE = [name for name in ALONE if all(model["provider"] == "mock" for model in models_of(name).values())]
REMOTE = [name for name in ALONE if name not in OFFLINE]


def command_of(name: str) -> list[str]:
    """The words after `agentbatch run` in the config's head."""
    line = re.search(r"^# +agentbatch run (.+)$", CONFIGS[name].read_text("utf-8"), re.MULTILINE)
    assert line, f"{name}.yaml does not say how to run it"
    return shlex.split(line[1])


def inputs_of(name: str) -> tuple[Path, int | None]:
    config, inputs, *options = command_of(name)
    assert ROOT / config == CONFIGS[name]
    assert options in ([], ["--limit", options[-1]] if options else [])
    return ROOT / inputs, int(options[1]) if options else None


def load_at_once(name: str, environ: dict[str, str] | None = None, more: Sequence[str] = ()) -> Config:
    """The config, its mocks made to answer without delay, its rates made no hindrance."""
    hurry = {"latency": 0, "rpm": 1_000_000}
    models = models_of(name).items()
    overrides = [
        f"models.{model}.{key}={value}" for model, settings in models for key, value in hurry.items() if key in settings
    ]
    return load(CONFIGS[name], [*overrides, *more], environ or {})


async def run(name: str, config: Config, folder: Path) -> Rows:
    """Run it as its head says. Every item must succeed, unless the config is about items that don't."""
    inputs, limit = inputs_of(name)
    files = ResultFiles(folder / "out.jsonl")
    summary = await run_to_end(config, RunOptions(str(inputs), files, files.traces, selection=Selection(limit=limit)))
    rows = {row["id"]: row for row in map(json.loads, files.results.read_text("utf-8").splitlines())}
    if name not in ("rehearsal", "guardrails", "images"):
        assert [row["error"] for row in rows.values() if row["status"] not in ("ok", "skipped")] == []
    assert (summary.exit_code, len(rows)) == (0, summary.total)
    assert len(files.traces.read_text("utf-8").splitlines()) == len(rows)
    return rows


def outputs(row: Row, *agents: str) -> list[Any]:
    return [row["agents"][agent]["output"] for agent in agents]


def check_quickstart(rows: Rows) -> None:
    for row in rows.values():
        for found in outputs(row, "summariser", "analyst", "sceptic"):
            assert found.strip() in row["output"]


def check_document_analysis(rows: Rows) -> None:
    assert {row["agents"]["checker"]["output"]["complete"] for row in rows.values()} == {True, False}
    figures = rows["sales-q3"]["agents"]["analyst"]["output"]["figures"]
    assert figures[:3] == ["4.82", "6.4", "4.53"]
    assert f"({len(figures)} figures" in rows["sales-q3"]["output"]


def check_self_consistency(rows: Rows) -> None:
    split = 0
    for row in rows.values():
        votes = outputs(row, *(f"judge[{n}]" for n in range(1, 6)))
        assert votes.count(row["output"]) == max(votes.count(vote) for vote in votes)
        split += len(set(votes)) > 1
    assert split > 5


def check_refine_loop(rows: Rows) -> None:
    for row in rows.values():
        scores = [step["output"]["score"] for path, step in row["agents"].items() if path.endswith("].critic")]
        assert scores == [0.5, 0.7, 0.9]
        assert row["output"] == row["agents"]["refine[3].writer"]["output"]


def check_router(rows: Rows) -> None:
    taken = {tuple(agent for agent in row["agents"] if agent not in ("triage", "classifier")) for row in rows.values()}
    assert taken == {("engineer",), ("accountant",), ("guide",), ("planner",)}
    assert "accountant" in rows["T-1001"]["agents"]


def check_condition(rows: Rows) -> None:
    samples = map(json.loads, (ROOT / "samples/product-reviews.jsonl").read_text("utf-8").splitlines())
    for sample in samples:
        row = rows[sample["id"]]
        ran = {agent for agent in ("apology", "thanks") if row["agents"][agent]["status"] == "ok"}
        assert ran == ({"apology"} if sample["stars"] <= 2 else {"thanks"})
        assert (row["agents"]["translator"]["status"] == "skipped") == (sample["lang"] == "en")


def check_judge(rows: Rows) -> None:
    chosen = {outputs(row, "short", "warm", "exact").index(row["output"]) for row in rows.values()}
    assert len(chosen) > 1


def check_map_pages(rows: Rows) -> None:
    for row in rows.values():
        for found in outputs(row, *(f"reader[{n}]" for n in range(1, 6))):
            assert found in row["output"]


def check_debate(rows: Rows) -> None:
    sides = [f"debate[{n}].{side}" for n in (1, 2, 3) for side in ("advocate", "opponent")]
    for row in rows.values():
        assert row["output"].endswith(f"having heard: {' '.join(outputs(row, *sides))}")


def check_graph(rows: Rows) -> None:
    row = rows["sales-q3"]
    assert row["output"] == {"check": "<check of <note from <summary> and <figures>>>", "chart": "<chart of <figures>>"}


def check_page_search(rows: Rows) -> None:
    assert "version 1.0.3" in rows["crashes"]["output"]
    assert rows["moon"]["output"] == "None of the pages says so."


def check_fallback(rows: Rows) -> None:
    escalated = [row for row in rows.values() if "careful" in row["agents"]]
    assert 0 < len(escalated) < len(rows)
    for row in rows.values():
        assert row["output"]["confidence"] >= 0.7
    assert min(row["cost_usd"] for row in escalated) > max(
        row["cost_usd"] for row in rows.values() if row not in escalated
    )


def check_tools(rows: Rows) -> None:
    assert {row["agents"]["support"]["tool_calls"] for row in rows.values()} == {1}
    assert any('"item":"yearly plan"' in row["output"] for row in rows.values())
    assert any("no order 'B-1'" in row["output"] for row in rows.values())


def check_rehearsal(rows: Rows) -> None:
    assert max(row["usage"]["requests"] for row in rows.values()) > 4  # something was tried again
    assert all(row["cost_usd"] > 0 for row in rows.values() if row["status"] == "ok")


def check_supervisor(rows: Rows) -> None:
    for row in rows.values():
        diagnosis, promise = outputs(row, "diagnose", "policy")
        assert row["output"] == f"{diagnosis} {promise}"
        assert row["usage"]["requests"] == 4


def check_coding_agents(rows: Rows) -> None:
    assert {item: row["output"] for item, row in rows.items()} == {
        "fibonacci": "passed",
        "palindrome": "passed",
        "words": "passed",
        "median": "failed",
    }
    assert {row["cost_usd"] for row in rows.values()} == {0.0125}
    assert rows["words"]["agents"]["coder"]["artifacts"] == ["words.py"]


def check_data_cleaning(rows: Rows) -> None:
    assert rows["c-02"]["output"] | {"industry": ""} == {
        "name": "Alan Turing",
        "email": "alan@bletchley.example",
        "domain": "bletchley.example",
        "phone": "+442079460018",
        "company": "Bletchley",
        "industry": "",
        "missing": [],
    }
    assert rows["c-03"]["agents"]["classify"]["status"] == "skipped"
    assert rows["c-03"]["output"]["missing"] == ["email", "phone"]


def check_guardrails(rows: Rows) -> None:
    assert "@" not in json.dumps([row["output"] for row in rows.values()])
    assert rows["c-01"]["output"].endswith("we write to [e-mail] .")
    assert (rows["c-03"]["error"]["type"], rows["c-03"]["error"]["message"]) == ("refused", "it promises a refund")


def check_images(rows: Rows) -> None:
    assert rows["red"]["output"].startswith("I see red.png (image/png, ")
    assert rows["blue"]["output"].endswith(" and read leaflet.pdf.")
    assert rows["missing"]["error"]["type"] == "input"


def check_checks(rows: Rows) -> None:
    assert all(set(row["checks"]) == {"right", "fair", "reader.one_word"} for row in rows.values())
    assert all(row["checks"]["right"]["passed"] for row in rows.values())
    assert {row["checks"]["fair"]["score"] for row in rows.values()} == {0.7, 0.8, 0.9}


CHECKS: dict[str, Callable[[Rows], None]] = {
    "quickstart": check_quickstart,
    "document-analysis": check_document_analysis,
    "self-consistency": check_self_consistency,
    "refine-loop": check_refine_loop,
    "router": check_router,
    "condition": check_condition,
    "judge": check_judge,
    "map-pages": check_map_pages,
    "debate": check_debate,
    "graph": check_graph,
    "page-search": check_page_search,
    "fallback": check_fallback,
    "rehearsal": check_rehearsal,
    "tools": check_tools,
    "supervisor": check_supervisor,
    "coding-agents": check_coding_agents,
    "data-cleaning": check_data_cleaning,
    "guardrails": check_guardrails,
    "images": check_images,
    "checks": check_checks,
}


def test_there_is_a_check_for_every_offline_config():
    assert sorted(CHECKS) == sorted(OFFLINE)
    assert {"openai", "anthropic", "azure", "ollama", "vllm"} <= set(REMOTE)


@pytest.mark.parametrize("name", OFFLINE)
async def test_an_offline_config_shows_its_flow(name: str, tmp_path: Path):
    CHECKS[name](await run(name, load_at_once(name), tmp_path))


@pytest.mark.parametrize("name", REMOTE)
async def test_a_providers_config_works_against_a_server_of_its_kind(name: str, tmp_path: Path):
    log = tmp_path / "requests.jsonl"
    async with MockServer(MockServerSettings(port=0, log=str(log), require_key=_key_wanted(name))) as server:
        environ = {
            "OPENAI_BASE_URL": server.base_url,
            "OPENAI_API_KEY": KEY,
            "ANTHROPIC_BASE_URL": server.url,
            "ANTHROPIC_API_KEY": KEY,
            "AZURE_OPENAI_ENDPOINT": server.url,
            "AZURE_OPENAI_API_KEY": KEY,
            "OLLAMA_BASE_URL": server.base_url,
            "VLLM_BASE_URL": server.base_url,
        }
        rows = await run(name, load_at_once(name, environ), tmp_path)
    assert any(row["status"] == "ok" for row in rows.values())
    paths = {json.loads(line)["path"] for line in log.read_text("utf-8").splitlines()}
    assert paths == {
        {
            "anthropic": "/v1/messages",
            "azure": "/openai/deployments/gpt-4o-mini/chat/completions",
        }.get(name, "/v1/chat/completions")
    }


def _key_wanted(name: str) -> str | None:
    return KEY if any("api_key" in model for model in models_of(name).values()) else None


def fake_server(*tools: str) -> str:
    words = [str(ROOT / "tests/tools/mcp_fake.py"), f"tools={','.join(tools)}"]
    return json.dumps({"command": sys.executable, "args": words})


async def test_the_researcher_has_its_servers_tools(tmp_path: Path):
    pytest.importorskip("mcp_types", reason="needs agentbatch[mcp]")
    servers = {
        "clock": fake_server("get_current_time", "convert_time"),
        "files": fake_server("read_text_file", "list_directory", "write_file"),
    }
    config = load_at_once("researcher", more=[f"mcp_servers.{name}={server}" for name, server in servers.items()])
    rows = await run("researcher", config, tmp_path)
    assert {row["output"] for row in rows.values()} == {"<get_current_time> <list_directory>"}
    assert WITH_SERVERS == ["researcher"]


@pytest.mark.slow
async def test_the_researcher_works_with_the_real_servers(tmp_path: Path):
    pytest.importorskip("mcp_types", reason="needs agentbatch[mcp]")
    for program in ("mcp-server-time", "mcp-server-filesystem"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program} in PATH")
    rows = await run("researcher", load_at_once("researcher"), tmp_path)
    assert all('"timezone": "UTC"' in row["output"] for row in rows.values())
    assert all("[FILE] page-questions.jsonl" in row["output"] for row in rows.values())


def test_five_searches_of_five_seconds_take_five_seconds():
    config = load(CONFIGS["page-search"], environ={})
    inputs, _ = inputs_of("page-search")
    waiting = [entry for entry in open_inputs(str(inputs)).read() if isinstance(entry, Item)]
    ended: list[ItemResult] = []
    spans = SpanList()

    async def all_questions() -> float:
        control, budget = Control(), Budget(None)
        began = asyncio.get_running_loop().time()
        async with LocalEngine(config, tracer=Tracer([spans]), control=control, budget=budget) as engine:
            await engine.run(lambda: waiting.pop() if waiting else None, lambda result: ended.append(result))
        return asyncio.get_running_loop().time() - began

    seconds = run_in_fake_time(all_questions())
    searches = [span for span in spans.ended if span.kind == "agent" and span.name.startswith("page")]
    assert (len(ended), len(searches)) == (6, 30)
    assert seconds == pytest.approx(5.0, abs=0.01)


def test_the_quickstart_runs_as_its_head_says(tmp_path: Path):
    config, inputs = (str(ROOT / word) for word in command_of("quickstart"))
    command = [sys.executable, "-m", "agentbatch", "run", config, inputs]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")
    assert "All 12 items succeeded" in done.stderr
    assert len((tmp_path / "documents.results.jsonl").read_text("utf-8").splitlines()) == 12


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_samples_are_json_lines_with_ids_of_their_own(path: Path):
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert len({row.get("id") or row["custom_id"] for row in rows}) == len(rows) > 0

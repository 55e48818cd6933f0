"""What a worker tells beside result lines: messages of failures, logs and spans, without keys that only it knows."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from engines.station_terms import assignment

from agentbatch.engines.ray.parcels import Batch, Chunk, unpacked
from agentbatch.engines.ray.relay import LogRelay, log_again
from agentbatch.engines.ray.station import Station
from agentbatch.errors import ConfigError
from agentbatch.items import Item
from agentbatch.logs import JsonLog
from agentbatch.progress.log import SpokenLog
from agentbatch.progress.tally import Tally
from agentbatch.text.redact import Redactor
from agentbatch.trace import Tracer, current_item

KEY = "sk-node-secret-123456"
MODULE = """\
import logging
import os

def refused():
    key = os.environ["NODE_ONLY_KEY"]
    logging.getLogger("mine").info("asking with %s", key)
    raise ValueError("refused: " + key)
"""


def station_with_key(folder: Path, monkeypatch: pytest.MonkeyPatch, module: str = MODULE) -> Station:
    """A worker on a node that has a key which the driver has not."""
    monkeypatch.setenv("NODE_ONLY_KEY", KEY)
    name = f"far_words_{len(module)}"
    (folder / f"{name}.py").write_text(module)
    config = {
        "version": 1,
        "engine": {"kind": "ray", "secrets": {"NODE_ONLY_KEY": "node_env"}},
        "agents": {"work": {"kind": "function", "function": f"{name}:refused"}},
        "workflow": ["work"],
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    names = ("NODE_ONLY_KEY",)
    told = replace(assignment(folder), of_node=names, to_environment=names, log_level=logging.INFO, follow=True)
    return Station(told, folder)


async def test_no_batch_has_a_key_that_only_the_node_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    station = station_with_key(tmp_path, monkeypatch)
    await station.ready()
    station.push(Chunk([Item("1", 0, {}, 1)]))
    batches: list[Batch] = []
    while not batches or not batches[-1].over:
        batches.append(unpacked(await station.drain(batches[-1].number if batches else 0, 0.2, 100)))
        if batches[-1].finished:
            station.stop(f"refused: {KEY}", at_once=False)
    (failure,) = [row[3] for batch in batches for row in batch.finished]
    assert failure is not None
    assert failure.message.startswith("ValueError: refused: [redacted]")
    assert ("asking with [redacted]", None) in [log[2:4] for batch in batches for log in batch.logs]
    assert any("refused: [redacted]" in str(row[1].error_message) for batch in batches for row in batch.spans)
    assert batches[-1].stopped == "refused: [redacted]"
    assert KEY not in str(batches)


async def test_a_worker_that_can_not_begin_says_why_without_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    module = "import os\nraise ValueError('no ' + os.environ['NODE_ONLY_KEY'])\n"
    with pytest.raises(ConfigError, match=r"no \[redacted\]"):
        await station_with_key(tmp_path, monkeypatch, module).ready()


def test_what_a_tally_tells_another_process_has_no_key():
    tally = Tally(("work",), Redactor([KEY]).text)
    tracer = Tracer([tally])
    call = tracer.start("m", "chat", tracer.start("work", "agent"))
    tracer.end(call, "error", "auth", f"refused: {KEY}")
    (refusal,) = tally.part().refusals.values()
    assert refusal.message == "refused: [redacted]"


def relay_and_logger(level: int = logging.WARNING) -> tuple[LogRelay, logging.Logger]:
    relay, logger = LogRelay(level, Redactor([KEY])), logging.Logger("some.library")
    logger.addHandler(relay)
    return relay, logger


def test_a_message_that_can_not_be_made_harms_nobody(capsys: pytest.CaptureFixture[str]):
    relay, logger = relay_and_logger()
    logger.warning("%d things", "three")
    assert not relay.waiting
    assert "'%d things'" in capsys.readouterr().err  # logging's own word on whose fault it is


def test_a_workers_log_arrives_with_its_traceback_item_and_trace(tmp_path: Path):
    relay, logger = relay_and_logger()
    span = Tracer().start("item", "item", attributes={"item.id": 17})
    token = current_item.set(span)
    try:
        raise ValueError(f"with {KEY}")
    except ValueError:
        logger.exception("step %s failed", "work")
    finally:
        current_item.reset(token)
    (row,) = relay.waiting
    assert KEY not in str(row)

    file, said = JsonLog(tmp_path / "l.log"), list[str]()
    person, here = SpokenLog(said.append), logging.getLogger("some.library")
    for handler in (file, person):
        here.addHandler(handler)
    log_again(row)
    for handler in (file, person):
        here.removeHandler(handler)
        handler.close()
    line = json.loads((tmp_path / "l.log").read_text("utf-8"))
    assert (line["logger"], line["level"], line["message"]) == ("some.library", "ERROR", "step work failed")
    assert (line["item"], line["trace_id"]) == (17, span.trace_id)
    assert line["exception"].endswith("ValueError: with [redacted]\n")
    (text,) = said
    assert text.startswith("step work failed\nTraceback")


def test_a_worker_hears_from_the_levels_that_the_driver_asks_for():
    relay, ours = LogRelay(logging.DEBUG, Redactor(())), logging.getLogger("agentbatch.some_module")
    with relay.listening():
        logging.getLogger("far.library").info("told")
        logging.getLogger("far.library").debug("whole requests")
        ours.debug("a step")
    ours.debug("nobody listens")
    assert [row[2] for row in relay.waiting] == ["told", "a step"]

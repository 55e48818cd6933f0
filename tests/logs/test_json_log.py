import json
import logging
from pathlib import Path

import pytest

from agentbatch.errors import OutputError
from agentbatch.logs import JsonLog
from agentbatch.text.redact import Redactor
from agentbatch.trace import Tracer, current_item


def logged(path: Path, handler: JsonLog) -> list[dict[str, object]]:
    handler.close()
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def logger_of(handler: JsonLog) -> logging.Logger:
    logger = logging.Logger("a.module")
    logger.addHandler(handler)
    return logger


def test_a_record_is_a_line(tmp_path: Path) -> None:
    path = tmp_path / "l.log"
    handler = JsonLog(path)
    logger_of(handler).warning("hello %s", "world\n\x1b[2J\ud800")
    (line,) = logged(path, handler)
    assert str(line.pop("time")).endswith("Z")
    assert line == {"level": "WARNING", "logger": "a.module", "message": "hello world\n\x1b[2J\ufffd"}
    assert path.read_bytes().count(b"\n") == 1
    assert b"\x1b" not in path.read_bytes()


def test_it_says_which_item_it_is_about(tmp_path: Path) -> None:
    path = tmp_path / "l.log"
    handler = JsonLog(path)
    span = Tracer().start("item", "item", attributes={"item.id": 17})
    token = current_item.set(span)
    logger_of(handler).info("in the item")
    current_item.reset(token)
    logger_of(handler).info("outside")
    inside, outside = logged(path, handler)
    assert (inside["item"], inside["trace_id"]) == (17, span.trace_id)
    assert "item" not in outside


def test_a_traceback_is_a_field_and_secrets_are_nowhere(tmp_path: Path) -> None:
    path = tmp_path / "l.log"
    secret = "sk-c4n4ry-0123456789"
    handler = JsonLog(path, Redactor([secret]).data)
    try:
        raise ValueError(f"with {secret}")
    except ValueError:
        logger_of(handler).exception("failed with %s", secret)
    (line,) = logged(path, handler)
    assert "ValueError: with [redacted]" in str(line["exception"])
    assert line["message"] == "failed with [redacted]"
    assert secret not in path.read_text()


def test_later_runs_append(tmp_path: Path) -> None:
    path = tmp_path / "l.log"
    for number in range(2):
        handler = JsonLog(path)
        logger_of(handler).info("%d", number)
        handler.close()
    assert [json.loads(line)["message"] for line in path.read_text().splitlines()] == ["0", "1"]


def test_a_record_that_can_t_be_formatted_hurts_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "l.log"
    handler = JsonLog(path)
    logger = logger_of(handler)
    logger.info("%d", "no number")
    logger.info("next")
    assert [line["message"] for line in logged(path, handler)] == ["next"]
    assert "Traceback" in capsys.readouterr().err


def test_a_full_disk_loses_records_and_says_so(tmp_path: Path) -> None:
    handler = JsonLog(Path("/dev/full"))
    logger_of(handler).info("lost")
    handler.close()
    assert handler.note == "1 log records are not in /dev/full: No space left on device"
    with pytest.raises(
        OutputError, match=r"no/l\.log: the log can't be written: No such file .*; name another --log-file"
    ):
        JsonLog(tmp_path / "no" / "l.log")

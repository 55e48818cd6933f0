import logging

from agentbatch.progress.log import SpokenLog
from agentbatch.text.redact import Redactor


def test_a_record_is_said_whole_and_without_secrets() -> None:
    said: list[str] = []
    log = logging.Logger("test")
    log.addHandler(SpokenLog(said.append, Redactor(["sk-canary-0123456789"]).text))
    try:
        raise ValueError("bad key sk-canary-0123456789")
    except ValueError:
        log.exception("step %s failed", "writer")
    (text,) = said
    assert text.startswith("step writer failed\nTraceback")
    assert text.endswith("ValueError: bad key [redacted]")

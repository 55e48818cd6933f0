"""What a run logs, and the file that holds it as JSON lines: `-v` and `--log-file`."""

from agentbatch.logs.json_log import JsonLog
from agentbatch.logs.run_log import LogChoice, run_log
from agentbatch.logs.span_log import SpanLog

__all__ = ["JsonLog", "LogChoice", "SpanLog", "run_log"]

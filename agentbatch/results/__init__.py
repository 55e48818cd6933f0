"""The results: lines out, durably, and what a file of them says afterwards."""

from agentbatch.results.encode import FLOW_KINDS, bad_line_result, checks_of, encode_result, format_time, is_truncated

__all__ = ["FLOW_KINDS", "bad_line_result", "checks_of", "encode_result", "format_time", "is_truncated"]

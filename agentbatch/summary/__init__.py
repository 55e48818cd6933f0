"""How a run ended: as data here, and as words in `text`."""

from agentbatch.summary.outcome import Audit, Summary, Verdict, summarize, summary_json

__all__ = ["Audit", "Summary", "Verdict", "summarize", "summary_json"]

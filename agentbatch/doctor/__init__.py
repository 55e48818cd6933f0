"""Looking after the files of a run: what is wrong with them, what that means, and mending what can be mended."""

from agentbatch.doctor.examination import Examination, examine, repair
from agentbatch.doctor.finding import Finding
from agentbatch.doctor.run_header import Origin

__all__ = ["Examination", "Finding", "Origin", "examine", "repair"]

"""Templates and conditions: Jinja2, sandboxed, strict, and bounded."""

from agentbatch.templates.template import NOT_RUN, Condition, Template, TemplateProblem, Value

__all__ = ["NOT_RUN", "Condition", "Template", "TemplateProblem", "Value"]

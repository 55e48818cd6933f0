"""Values with templates in them."""

from __future__ import annotations

import pytest

from agentbatch.errors import ConditionFault, TemplateFault
from agentbatch.templates import NOT_RUN
from agentbatch.templates.tree import TemplateTree


def test_texts_anywhere_are_templates_and_bare_ones_keep_their_type() -> None:
    tree = TemplateTree({"a": ["{{ n }}", "n is {{ n }}", 5, None, True], "b": {"c": "{{ n + 1 }}"}, "d": "plain"})
    assert tree.of({"n": 3}) == {"a": [3, "n is 3", 5, None, True], "b": {"c": 4}, "d": "plain"}


def test_a_step_that_has_not_run_is_null() -> None:
    assert TemplateTree({"a": "{{ writer.output }}"}).of({"writer": NOT_RUN}) == {"a": None}


def test_a_missing_name_is_an_error_that_says_where() -> None:
    with pytest.raises(ConditionFault, match=r"arguments\.a\[1\]"):
        TemplateTree({"a": [1, "{{ absent }}"]}, where="arguments").of({})
    with pytest.raises(TemplateFault, match=r"arguments\.b"):
        TemplateTree({"b": "x {{ absent }}"}, where="arguments").of({})

"""What functions say of themselves, in hints and docstrings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from agentbatch.tools.signature import function_spec, named_parameters, read_docstring


@dataclass
class Box:
    width: float


def weather(
    city: str,
    days: int = 3,
    *,
    unit: Literal["C", "F"] = "C",
    box: Box | None = None,
    tags: list[str] | None = None,
    other: Annotated[float, Field(ge=0)] = 1.0,
) -> str:
    """The weather of a city.

    More of it,
    over lines.

    Args:
        city: Where: a name.
            In any language.
        days (int): How many.
        unit: Of the temperature.

    Returns:
        city: not a parameter.
    """
    return city


def test_hints_and_docstring_make_a_schema() -> None:
    spec = function_spec(weather)
    assert spec.description == "The weather of a city.\n\nMore of it,\nover lines."
    assert spec.parameters["required"] == ["city"]
    properties = spec.parameters["properties"]
    assert properties["city"] == {"type": "string", "description": "Where: a name. In any language."}
    assert properties["days"] == {"type": "integer", "default": 3, "description": "How many."}
    assert properties["unit"]["enum"] == ["C", "F"]
    assert properties["tags"]["anyOf"][0] == {"type": "array", "items": {"type": "string"}}
    assert properties["other"]["minimum"] == 0
    assert set(spec.parameters["$defs"]) == {"Box"}


def test_what_the_config_presets_is_hidden() -> None:
    assert "days" not in function_spec(weather, hidden=["days"]).parameters["properties"]


def unhinted(query, _limit=2, *rest, **more):
    """Find.

    :param query: what to look for
    :param int _limit: at most
    :returns: things
    """


def test_a_function_without_hints_takes_anything() -> None:
    spec = function_spec(unhinted)
    assert spec.description == "Find."
    assert spec.parameters["properties"] == {
        "query": {"description": "what to look for"},
        "_limit": {"default": 2, "description": "at most"},
    }


def odd_names(copy: str, model_config: int, json: bool, self_: str = "") -> None: ...


def test_names_that_pydantic_does_not_like_are_names() -> None:
    assert list(function_spec(odd_names).parameters["properties"]) == ["copy", "model_config", "json", "self_"]


def unreadable(path: "NoSuchName") -> None: ...  # type: ignore[name-defined]  # noqa: F821, UP037


class Searcher:
    def __call__(self, query: str) -> str:
        """Search."""
        return query

    def method(self, query: str) -> str:
        """Search too."""
        return query


@pytest.mark.parametrize("function", [Searcher(), Searcher().method, partial(weather, city="Bonn")])
def test_whatever_can_be_called_has_a_schema(function: Callable[..., Any]) -> None:
    assert function_spec(function).parameters["type"] == "object"


def test_a_hint_that_only_a_type_checker_reads_is_no_hint() -> None:
    assert function_spec(unreadable).parameters["properties"] == {"path": {}}


def needs_position(first: str, /) -> None: ...


def strange(callback: Callable[[], None]) -> None: ...


def test_what_can_not_be_called_by_name_or_described_is_refused() -> None:
    with pytest.raises(ValueError, match="'first' is positional only"):
        named_parameters(needs_position)
    with pytest.raises(ValueError, match="give its `parameters`"):
        function_spec(strange)


def test_a_docstring_of_sections_alone_has_no_description() -> None:
    assert read_docstring("Args:\n    x: it\n\nRaises:\n    ValueError: never") == ("", {"x": "it"})
    assert read_docstring("") == ("", {})

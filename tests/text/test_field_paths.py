import pytest

from agentbatch.text.field_paths import MISSING, value_at

LINE = {
    "id": 1,
    "output": {"score": 0.5, "tags": ["a", {"b": None}], "": 3},
    "agents": {"refine": {"output": "whole"}, "refine[2].critic": {"output": "deep"}, "a": {"b": 1}, "a.b": 2},
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("id", 1),
        ("output.score", 0.5),
        ("output.tags.0", "a"),
        ("output.tags.1.b", None),
        ("agents.refine.output", "whole"),
        ("agents.refine[2].critic.output", "deep"),
        ("agents.a.b", 2),
    ],
)
def test_what_a_path_leads_to(path: str, value: object) -> None:
    assert value_at(LINE, path) == value


@pytest.mark.parametrize(
    "path", ["nope", "id.x", "output.tags.2", "output.tags.x", "output.tags.-1", "agents.refine.x", ""]
)
def test_what_is_not_there(path: str) -> None:
    assert value_at(LINE, path) is MISSING

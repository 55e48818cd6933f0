"""The JSON Schema for editors says what the loader says."""

import re
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from agentbatch.agents import KINDS as AGENTS
from agentbatch.cli.init import CONFIG
from agentbatch.config.schema import json_schema
from agentbatch.flows import KINDS as FLOWS
from agentbatch.models import PROVIDERS

BASE: dict[str, Any] = {
    "version": 1,
    "models": {"m": {"provider": "mock"}},
    "agents": {"a": {"model": "m", "prompt": "x"}},
}


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return json_schema()


def test_it_is_a_schema(schema: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(schema)
    references = set(re.findall(r"'\$ref': '#/\$defs/(\w+)'", str(schema)))
    assert references <= set(schema["$defs"])


def test_the_starter_fits_it(schema: dict[str, Any]) -> None:
    Draft202012Validator(schema).validate(yaml.safe_load(CONFIG))


@pytest.mark.parametrize(
    "more",
    [
        {"workflow": ["a", {"parallel": ["a", {"agent": "a", "copies": 2}], "aggregate": {"agent": "a"}}]},
        {"groups": {"g": {"loop": ["a"], "max_iterations": 2, "while": "x", "until": "y"}}},
        {"groups": {"g": {"route": "input.x", "cases": {"b": "a", "c": ["a", {"sequence": ["a"]}]}, "default": "a"}}},
        {"groups": {"g": {"when": "input.x", "then": "a", "else": {"graph": ["a"]}}}},
        {"limits": {"max_cost": "${BUDGET}", "max_failures": "5%", "item_timeout": "10m", "timeout": 5}},
        {"defaults": {"num_retries": 3}},
        {"agents": {"a": {"model": "m", "prompt": "x", "system": "y"}}},
    ],
)
def test_what_is_right_fits(schema: dict[str, Any], more: dict[str, Any]) -> None:
    Draft202012Validator(schema).validate({**BASE, **more})


@pytest.mark.parametrize(
    "more",
    [
        {"version": 2},
        {"modles": {}},
        {"agents": {"a": {"model": "m", "promt": "x"}}},
        {"agents": {"my-agent": {"model": "m", "prompt": "x"}}},
        {"models": {"m": {"provider": "nobody"}}},
        {"models": {"m": {"provider": "mock", "rpm": 0}}},
        {"groups": {"g": {"parallel": []}}},
        {"groups": {"g": {"paralel": ["a"]}}},
        {"limits": {"max_concurrency": "many"}},
    ],
)
def test_what_is_wrong_does_not(schema: dict[str, Any], more: dict[str, Any]) -> None:
    assert not Draft202012Validator(schema).is_valid({**BASE, **more})


def test_every_kind_is_in_it_and_every_key_is_explained(schema: dict[str, Any]) -> None:
    entries = [*AGENTS.values(), *FLOWS.values(), *((module, config) for module, config, _ in PROVIDERS.values())]
    for _, name in entries:
        section = schema["$defs"][name]
        assert section["description"]
        silent = [key for key, value in section["properties"].items() if not value.get("description")]
        assert silent in ([], ["provider"], ["kind"]), (name, silent)

"""Keys in a config: where they may come from, the providers' own variables, and what must be kept from sight."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from agentbatch.config.environment import Expanded, StandIns
from agentbatch.config.meanings import keys_of
from agentbatch.config.problems import KEY_NAME, Problem
from agentbatch.config.source import Origin
from agentbatch.config.yaml_tree import Path

if TYPE_CHECKING:
    from agentbatch.models.base import ModelConfig

KEY_VARIABLES = {
    "openai": "OPENAI_API_KEY",
    "openai-responses": "OPENAI_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
    "gemini": "GEMINI_API_KEY",
}
"""Where a provider's key is looked for when the config gives none, and only for the provider's own server."""

_KEYED_SECTIONS = ("models", "tools", "mcp_servers")
"""Where keys are given, beside the headers of agents; elsewhere a `token` is a word like others."""

_LOOKS_REAL = re.compile(r"(?i)(bearer\s+)?(sk|pk|rk|gsk|xai|hf|ghp|aiza|akia|eyj)[-_a-z0-9]|.{20,}", re.DOTALL)
"""A provider's prefix, or so long that nobody made it up. Keyless servers are given `EMPTY`, `none`, `test`."""


class KeyCheck:
    """Looks after the keys of one config while it is read."""

    def __init__(self, origin: Origin, environ: Mapping[str, str]) -> None:
        self._origin = origin
        self._environ = environ
        self._missing: dict[str, str] = {}

    def fill_in(self, data: dict[str, Any], path: Path, provider: str, kind: type[ModelConfig]) -> None:
        """Give a model of a provider's own server the key of the provider's own variable."""
        variable = KEY_VARIABLES.get(provider)
        if variable is None or data.get("api_key") is not None or not _is_own_server(data, kind):
            return
        if _have_their_own(data.get("endpoints")):
            return
        key = self._environ.get(variable)
        if not key:
            self._missing[str(path[1])] = variable
            if not isinstance(self._environ, StandIns):
                return
            key = "stands-in-for-a-key"
        data["api_key"] = key
        self._origin.variables[(*self._origin.written(path), "api_key")] = Expanded(key, {variable: key})

    def check(self, data: Mapping[str, Any], in_use: Collection[str]) -> Iterator[Problem]:
        """Keys that are missing where a model is in use, and keys that stand in the file."""
        for name, variable in self._missing.items():
            if name in in_use:
                hint = "set it, put it in .env, or write api_key: ${ANOTHER_VARIABLE}"
                message = f"the environment variable {variable} is not set"
                if isinstance(self._environ, StandIns):
                    self._environ.missing[variable] = message
                    continue
                yield self._origin.problem(("models", name), message, key=True, hint=hint)
        for path, value in _keys_in(data):
            if "{{" not in value and self._origin.from_environment(path) is None and _LOOKS_REAL.match(value):
                hint = f"put it in the environment, or in .env beside the config, and write {path[-1]}: ${{API_KEY}}"
                yield self._origin.problem(path, "a key does not belong in the config", hint=hint)

    def secrets(self, data: Mapping[str, Any]) -> tuple[str, ...]:
        """Every value that must not be shown."""
        found = dict[str, None]()
        for path, value in _keys_in(data):
            variable = self._origin.from_environment(path)
            text = value if variable is None else variable.text
            found.update(dict.fromkeys((text, text.rpartition(" ")[2])))  # of `Bearer xyz` the latter is the secret
        for path, expanded in self._origin.variables.items():
            for name, value in expanded.variables.items():
                if KEY_NAME.search(name) or "headers" in path:
                    found[value] = None
        return tuple(value for value in found if value)


def with_variables(
    section: dict[str, Any], path: Path, origin: Origin, environ: Mapping[str, str]
) -> tuple[dict[str, Any], list[Problem]]:
    """A section whose `env` lists names, with their values; those named like a secret's are kept from sight.

    Problems are the variables that are not set.
    """
    values: dict[str, str] = {}
    problems: list[Problem] = []
    for place, name in enumerate(cast("list[Any]", section["env"])):
        if not isinstance(name, str) or name not in environ:
            message = f"the environment variable {name} is not set"
            problems.append(origin.problem((*path, "env", place), message, hint="set it, or put it in .env"))
            continue
        values[name] = environ[name]
        origin.variables[(*origin.written(path), "env", name)] = Expanded(environ[name], {name: environ[name]})
    return {**section, "env": values}, problems


def _have_their_own(endpoints: Any) -> bool:
    """Whether each of a model's endpoints has a key, or is another server."""
    if not isinstance(endpoints, list) or not endpoints:
        return False
    each = [cast("dict[str, Any]", one) for one in cast("list[Any]", endpoints) if isinstance(one, dict)]
    return all(one.get("api_key") or one.get("base_url") for one in each)


def _is_own_server(data: Mapping[str, Any], kind: type[ModelConfig]) -> bool:
    field = keys_of(kind).get("base_url")
    url = data.get("base_url")
    return field is None or url is None or str(url).rstrip("/") == str(field.default).rstrip("/")


def _keys_in(data: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    yield from _key_texts({section: data[section] for section in _KEYED_SECTIONS if section in data}, ())
    agents = data.get("agents")
    for name, agent in cast("dict[str, Any]", agents).items() if isinstance(agents, dict) else ():
        headers = cast("dict[str, Any]", agent).get("headers") if isinstance(agent, dict) else None
        yield from _key_texts(headers, ("agents", name, "headers"))


def _key_texts(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    """Texts under a key that is named like a secret's, and where they are."""
    if isinstance(value, dict):
        for key, inner in cast("dict[str, Any]", value).items():
            if KEY_NAME.search(key) and len(path) > 1:
                if isinstance(inner, str | int):
                    yield (*path, key), str(inner)
            else:
                yield from _key_texts(inner, (*path, key))
    elif isinstance(value, list):
        for place, inner in enumerate(cast("list[Any]", value)):
            yield from _key_texts(inner, (*path, place))

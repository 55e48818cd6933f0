"""The knobs of `agentbatch mock`, from its file and its options; what is wrong is said as of a config."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from agentbatch.config.loading import read_text
from agentbatch.config.problems import Problem, report
from agentbatch.config.section import checked
from agentbatch.config.source import ReadConfig, read_config
from agentbatch.config.yaml_tree import parse_scalar
from agentbatch.errors import ConfigError
from agentbatch.mock_server import MockServerSettings

_SPREAD = ("rate_limited", "overloaded", "server")
"""The kinds that `--error-rate` is shared among: those that a client should try again."""


def read_knobs(path: Path | None, options: Mapping[str, Any]) -> MockServerSettings:
    """The settings of a server. `options` win over the file; those that were not given are None.

    Raises:
        ConfigError: the message holds every problem, with its place in the file or the option that was typed.
    """
    read = read_config(path or Path("knobs"), "" if path is None else read_text(path), os.environ, ())
    if read.data is None and not read.problems:
        read.data = {}
    data: Any = read.data
    if not isinstance(data, dict):
        raise ConfigError(report(read.problems or [_no_mapping(read)]))
    knobs = cast("dict[str, Any]", data)
    for name, value in _settings(options).items():
        given = name if name != "errors" or options["errors"] is not None else "error_rate"
        knobs[name] = value
        read.origin.overrides[(name,)] = f"--{given.replace('_', '-')} {options[given]}"
    settings, problems = checked(MockServerSettings, knobs, (), read.origin)
    if settings is None or read.problems:
        raise ConfigError(report([*read.problems, *problems]))
    return settings


def _no_mapping(read: ReadConfig) -> Problem:
    return read.origin.problem((), "expected a mapping of knobs, such as `latency: 200ms`")


def _settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """The knobs that options stand for."""
    given = {name: value for name, value in options.items() if value is not None}
    if "latency" in given and "=" in given["latency"]:
        given["latency"] = _pairs("--latency", given["latency"])
    rate, by_kind = given.pop("error_rate", None), given.pop("errors", "")
    if rate is not None and not 0 <= rate <= 1:
        raise ConfigError(f"--error-rate {rate:g}: expected a share of the requests, from 0 to 1")
    spread = {} if rate is None else dict.fromkeys(_SPREAD, rate / len(_SPREAD))
    rates = {**spread, **{kind: parse_scalar(text) for kind, text in _pairs("--errors", by_kind).items()}}
    return {**given, "errors": rates} if rates else given


def _pairs(option: str, text: str) -> dict[str, str]:
    parts = [part.partition("=") for part in text.split(",") if part.strip()]
    for name, sign, _ in parts:
        if not sign:
            raise ConfigError(f"{option}: {name.strip()!r}: expected NAME=VALUE, several of them separated by commas")
    return {name.strip(): value.strip() for name, _, value in parts}

"""Patterns of the config against text of a model: what `re.search` finds, in time that is always short."""

from __future__ import annotations

import re
import time

import pytest

from agentbatch.text.patterns import Pattern

SOURCES = [
    "a+",
    "^yes$",
    "^(yes|no)\\b",
    "(?i)straße",
    "a(?=b)",
    r"(.)\1",
    r"\d{2,3}\.\w+",
    "(?s)a.b",
    "(?m)^b$",
    "x|",
    "a{,2}b",
    r"\<b\>",
    "[^ -~]",
]
TEXTS = ["", "a", "yes", "yes\n", "no way", "STRASSE Straße", "[x", "ab", "oo", "12.5", "a\nb", "b", "<b>", "aab", "é"]


@pytest.mark.parametrize("source", SOURCES)
def test_a_pattern_finds_what_python_finds(source: str) -> None:
    for ignore_case in (False, True):
        pattern, python = Pattern(source, ignore_case=ignore_case), re.compile(source, re.IGNORECASE * ignore_case)
        for text in TEXTS:
            assert pattern.found_in(text) is (python.search(text) is not None), (source, text)


def test_a_pattern_that_goes_back_and_back_is_quick() -> None:
    began = time.perf_counter()
    assert not Pattern("^(a+)+$").found_in("a" * 40 + "!")
    assert time.perf_counter() - began < 30  # `re` would take longer than anybody lives

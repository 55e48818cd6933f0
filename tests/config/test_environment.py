# ruff: noqa: E501  # tables
"""`${VAR}` and `.env`."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentbatch.config.environment import expand, read_dotenv

ENVIRON = {"A": "1", "EMPTY": "", "KEY": "sk-secret-value", "NESTED": "${A}"}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("${A}", "1"),
        ("x${A}y${A}", "x1y1"),
        ("$$5 $A $", "$5 $A $"),
        ("$${A}", "${A}"),
        ("${B:-8}", "8"),
        ("${EMPTY:-8}", "8"),
        ("${EMPTY-8}", ""),
        ("${EMPTY}", ""),
        ("${B:-}", ""),
        ("${B:-${A}}", "1"),
        ("${B:-${C:-x}y}", "xy"),
        ("${A:+yes}${B:+no}", "yes"),
        ("${A:?why}${EMPTY?why}", "1"),
        ("${NESTED}", "${A}"),
        ("${{ input.price }} and {{ '${B}' }} {% if '$$' %}{# ${B} #}${A}", "${{ input.price }} and {{ '${B}' }} {% if '$$' %}{# ${B} #}1"),
        ("{{ unclosed ${A}", "{{ unclosed 1"),
    ],
)  # fmt: skip
def test_fills_in(text: str, filled: str) -> None:
    assert expand(text, ENVIRON).text == filled


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${B}", "the environment variable B is not set: set it, put it in .env, or write ${B:-default}"),
        ("${KYE}", "the environment variable KYE is not set, did you mean 'KEY'?"),
        ("${B:?set it, or put it in .env}", "the environment variable B is not set: set it, or put it in .env"),
        ("${EMPTY:?why}", "the environment variable EMPTY is empty: why"),
        ("${", "a '${' is not closed; write '$${' for these characters themselves"),
        ("${A", "a '${' is not closed; write '$${' for these characters themselves"),
        ("${}", "'${}' is no variable; write '$${' for these characters themselves"),
        ("${a b}", "'${a b}' is no variable: expected ${NAME}, ${NAME:-default} or ${NAME:?why}"),
        ("${A:-" * 40 + "}" * 40, "defaults are nested more than 16 deep"),
    ],
)
def test_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        expand(text, ENVIRON)
    assert str(caught.value) == message


def test_knows_which_variables_it_used() -> None:
    assert expand("${A} ${B:-${KEY}} ${C:-x} ${A:+y}", ENVIRON).variables == {"A": "1", "KEY": "sk-secret-value"}


@given(st.text(alphabet="${}:-?+AB{%# "))
def test_raises_nothing_but_value_error_and_never_shows_a_value(text: str) -> None:
    try:
        expand(text, {"A": "c4n4ry", "B": "c4n4ry"})
    except ValueError as error:
        assert "c4n4ry" not in str(error)


def test_dotenv(tmp_path: Path) -> None:
    assert read_dotenv(tmp_path / ".env") == {}
    (tmp_path / ".env").write_text("# comment\nA=1\nexport B=\"two words\"\nC='x$y'\nD\n")
    assert read_dotenv(tmp_path / ".env") == {"A": "1", "B": "two words", "C": "x$y"}


def test_a_dotenv_that_is_no_text_is_said(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"A=\xff\xfe")
    with pytest.raises(ValueError, match=r"\.env: can't be read"):
        read_dotenv(tmp_path / ".env")

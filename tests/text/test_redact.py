import base64
import json
from urllib.parse import quote, quote_plus

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentbatch.text.redact import REDACTED, Redactor, visible

KEY = "sk-canary/0123+456789=abc"
ODD_KEY = 'pa"ss\\wörd ✓ / key'


@pytest.mark.parametrize("key", [KEY, ODD_KEY])
@pytest.mark.parametrize(
    "spell",
    [
        str,
        lambda key: json.dumps({"k": key}),
        lambda key: json.dumps({"k": key}, ensure_ascii=False),
        lambda key: json.dumps({"arguments": json.dumps({"k": key}, ensure_ascii=False)}, ensure_ascii=False),
        lambda key: "https://example.com/?key=" + quote(key, safe=""),
        lambda key: "https://example.com/?key=" + quote(key, safe="").lower() if key == KEY else quote(key),
        quote_plus,
        lambda key: base64.b64encode(key.encode()).decode(),
        lambda key: base64.urlsafe_b64encode(key.encode()).decode().rstrip("="),
        lambda key: "Basic " + base64.b64encode(f"user:{key}".encode()).decode(),
        lambda key: "Basic " + base64.b64encode(f"me:{key}:more".encode()).decode(),
    ],
)
def test_every_spelling_of_a_secret_is_replaced(key: str, spell) -> None:
    text = spell(key)
    redactor = Redactor([key])
    clean = redactor.text(f"before {text} after")
    assert clean.startswith("before ")
    assert clean.endswith(" after")
    assert REDACTED in clean
    assert text not in clean
    assert redactor.data(text.encode()).decode() == redactor.text(text)


@given(st.text(min_size=8), st.text(), st.text())
def test_bytes_lose_what_text_loses_whatever_a_secret_is_made_of(secret: str, before: str, after: str) -> None:
    text, redactor = f"{before}{secret}{after}", Redactor([secret])
    assert redactor.data(text.encode()).decode() == redactor.text(text) != text


def test_redacted_json_is_still_json() -> None:
    line = orjson.dumps({"error": f"Incorrect API key provided: {ODD_KEY}", "n": 1})
    assert orjson.loads(Redactor([ODD_KEY]).data(line)) == {
        "error": f"Incorrect API key provided: {REDACTED}",
        "n": 1,
    }


@given(st.binary(max_size=9), st.binary(max_size=9))
def test_base64_gives_a_secret_away_at_no_alignment(before: bytes, after: bytes) -> None:
    encoded = base64.b64encode(before + KEY.encode() + after).decode()
    clean = Redactor([KEY]).text(encoded)
    left = clean.replace(REDACTED, "")
    assert REDACTED in clean
    assert len(left) <= len(base64.b64encode(before)) + len(base64.b64encode(after)) + 4


def test_placeholders_too_short_to_be_secrets_stay() -> None:
    redactor = Redactor(["EMPTY", "none", ""])
    assert redactor.text("none of these is EMPTY") == "none of these is EMPTY"


def test_the_longer_of_two_nested_secrets_goes_whole() -> None:
    assert Redactor(["secretsecret", "secretsecret-and-more"]).text("x secretsecret-and-more y") == f"x {REDACTED} y"


def test_nothing_matches_nothing_is_copied() -> None:
    data = b'{"id":"1"}' * 100
    assert Redactor([KEY]).data(data) is data


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text", "plain text"),
        ("日本語 café", "日本語 café"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x1b[31mred\x1b]0;title\x07", "\\x1b[31mred\\x1b]0;title\\x07"),
        ("c1 \x9b31m", "c1 \\x9b31m"),
        ("bidi \u202e\u2066", "bidi \\u202e\\u2066"),
        ("\U000e0041 tag", "\\U000e0041 tag"),
        ("half \ud800 pair", "half \\ud800 pair"),
        ("no\xa0break", "no break"),
        ("", ""),
    ],
)
def test_visible_escapes_what_has_no_shape(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text(), st.integers(0, 50))
def test_visible_is_printable_and_within_its_limit(text: str, limit: int) -> None:
    shown = visible(text, limit)
    assert shown.isprintable()
    assert len(shown) <= limit


def test_visible_says_that_it_cut() -> None:
    assert visible("word " * 100, 20) == "word word word wo..."
    assert visible("x" * 20, 20) == "x" * 20

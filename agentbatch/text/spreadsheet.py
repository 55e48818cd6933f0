"""Values as cells of a CSV file that a spreadsheet may open: text stays text, and is never run as a formula.

A cell that begins like a formula gets a `'` before it, which spreadsheets take for "this is text": OWASP,
CSV Injection, https://owasp.org/www-community/attacks/CSV_Injection.
"""

from __future__ import annotations

import math
from typing import Any, Final

import orjson

_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\u2212", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""The last ones are a minus sign and full-width forms, which some spreadsheets read as the plain ones."""
_IGNORED: Final = " \n\v\f\xa0\u3000\ufeff"
"""What may stand before a formula without making it text. A tab or a carriage return is a start of its own."""


def cell(value: Any) -> str:
    """The text of one cell: empty for null, JSON for lists and objects, numbers as they are."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return _number(value)
    return safe_text(value if isinstance(value, str) else orjson.dumps(value).decode())


def safe_text(text: str) -> str:
    """The text, with a `'` before it where a spreadsheet would take it for a formula. NUL, which ends cells, goes."""
    text = text.replace("\0", "\ufffd")
    return f"'{text}" if text.lstrip(_IGNORED).startswith(_FORMULA_STARTS) else text


def _number(value: float) -> str:
    """JSON has no infinities; whoever made one up gets no cell that a formula could refer to."""
    return repr(value) if math.isfinite(value) else ""

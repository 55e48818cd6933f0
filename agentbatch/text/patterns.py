"""Regular expressions of the config held against text that a model wrote.

`re` goes back and tries again, which can take for ever: `^(a+)+$` on forty letters and an exclamation mark, and nothing
else of the run goes on meanwhile, nor can it be interrupted. pydantic's engine (Rust's `regex`) takes time that grows
with the text and no faster. It knows neither looking around nor backreferences: those patterns are left to `re`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from pydantic_core import SchemaError, SchemaValidator, core_schema

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError
    from jsonschema.protocols import Validator

_OTHER_MEANINGS: Final = ("[[", "&&", "--", "~~", r"\<", r"\>")
"""What Rust's engine takes for sets inside sets and for edges of words; to Python it is plain text."""


class Pattern:
    """Searches, as `re.search` does."""

    def __init__(self, source: str, *, ignore_case: bool = False) -> None:
        """Compile `source`.

        Raises:
            re.error: it is no regular expression of Python's.
        """
        self.source = source
        self._patient = re.compile(source, re.IGNORECASE if ignore_case else 0)
        self._linear = _linear(f"(?i){source}" if ignore_case else source)

    def found_in(self, text: str) -> bool:
        """Whether it is."""
        if self._linear is None:
            return self._patient.search(text) is not None
        if self._linear.isinstance_python(text):
            return True
        # Python's `$` is also the place before a last newline
        return "$" in self.source and text.endswith("\n") and self._linear.isinstance_python(text[:-1])


def _linear(source: str) -> SchemaValidator | None:
    if any(words in source for words in _OTHER_MEANINGS):
        return None
    try:
        return SchemaValidator(core_schema.str_schema(pattern=source, regex_engine="rust-regex"))
    except SchemaError:
        return None


def schema_checker(schema: Mapping[str, Any], **options: Any) -> Validator:
    """Checks values against a JSON Schema (draft 2020-12), whose keyword `pattern` is looked for as `Pattern` does."""
    from jsonschema import Draft202012Validator, validators  # late: only runs with a schema need it

    kinds: Any = validators
    return kinds.extend(Draft202012Validator, {"pattern": _pattern_keyword})(dict(schema), **options)


def _pattern_keyword(_: Any, source: str, instance: Any, __: Any) -> Iterator[ValidationError]:
    from jsonschema.exceptions import ValidationError  # late, as above

    if isinstance(instance, str) and not _compiled(source).found_in(instance):
        yield ValidationError(f"{instance!r} does not match {source!r}")


@lru_cache(256)
def _compiled(source: str) -> Pattern:
    return Pattern(source)

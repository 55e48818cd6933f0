"""The functions of data-cleaning.yaml: ordinary Python, which knows nothing of agents."""

import re
import unicodedata
from typing import Any

_FREE_MAIL = {"gmail.com", "outlook.com", "web.de"}


def normalise(input: dict[str, Any]) -> dict[str, Any]:  # noqa: A002
    """One contact, with its name, e-mail address and phone number in one form each."""
    email = input.get("email", "").strip().lower()
    if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[a-z]{2,}", email):
        email = ""
    domain = email.partition("@")[2] or None
    company = " ".join(input.get("company", "").split()) or None
    if company is None and domain and domain not in _FREE_MAIL:
        company = domain.partition(".")[0].title()
    return {
        "name": _name(input.get("name", "")),
        "email": email or None,
        "domain": domain,
        "phone": _phone(input.get("phone", "")),
        "company": company,
    }


def finish(normalise: dict[str, Any], classify: dict[str, Any] | None, least_confidence: float) -> dict[str, Any]:
    """The record as it is kept: an industry only where the model was sure enough."""
    sure = classify is not None and classify["confidence"] >= least_confidence
    missing = [field for field in ("name", "email", "phone") if not normalise[field]]
    return {**normalise, "industry": classify["industry"] if sure and classify else None, "missing": missing}


def _name(text: str) -> str | None:
    words = unicodedata.normalize("NFC", text).split()
    if "," in text:  # "Curie, Marie"
        last, _, first = " ".join(words).partition(",")
        words = [*first.split(), *last.split()]
    return " ".join(word[:1].upper() + word[1:].lower() for word in words) or None


def _phone(text: str) -> str | None:
    digits = re.sub(r"[^\d+]", "", text)
    digits = "+" + digits[2:] if digits.startswith("00") else digits
    return digits if re.fullmatch(r"\+\d{8,15}", digits) else None

"""Small changes of a text that leave its meaning as it was. Pure: one text, one change."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping


def extra_spaces(text: str) -> str:
    """Two spaces for one, and one at each end."""
    return f" {re.sub(' +', '  ', text)} "


def strip_punctuation(text: str) -> str:
    """Without any character that Unicode calls punctuation."""
    kept = "".join(c for c in text if not unicodedata.category(c).startswith("P"))
    return " ".join(kept.split())


def typo(text: str) -> str:
    """Two letters in the middle of the longest word change places."""
    words = list(re.finditer(r"[^\W\d_]{4,}", text))
    if not words:
        return text
    longest = max(words, key=lambda found: len(found[0]))
    at = longest.start() + len(longest[0]) // 2
    return text[: at - 1] + text[at] + text[at - 1] + text[at + 1 :]


PERTURBATIONS: Mapping[str, Callable[[str], str]] = {
    "lowercase": str.lower,
    "uppercase": str.upper,
    "strip_punctuation": strip_punctuation,
    "typo": typo,
    "extra_spaces": extra_spaces,
    "greeting": lambda text: f"Hello, {text}",
    "thanks": lambda text: f"{text} Thank you!",
}

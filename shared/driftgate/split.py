"""Who is tested on, and who is learned from. Pure.

Persons, not rows, are dealt to the two sides, by a hash that never changes: what one version is
tested on, no version has ever learned from.
"""

from __future__ import annotations

import hashlib
import unicodedata


def draw(text: str) -> float:
    """A number in 0..1 that belongs to a text for ever."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def held_out(person: str, share: float) -> bool:
    """Whether a person is tested on and never learned from. A row about nobody stands for itself,
    by its id. A larger share holds out more persons, and all those that a smaller one does."""
    return draw(f"split:{person}") < share


def normalised(text: str) -> str:
    """A text as far as two people would call it the same."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())

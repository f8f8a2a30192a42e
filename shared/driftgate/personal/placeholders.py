"""What takes the place of personal data in a text. Pure.

Every phone number as [PHONE], or each by a placeholder of its own, [PHONE-3fa2], which is the same
for the same number wherever it stands: so texts that differ by personal data alone still differ,
and texts that share it still share it.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from driftgate.personal.patterns import BLOCKS, GAP, M
from driftgate.subjects import short_hash

KINDS = "|".join(kind.upper() for kind in BLOCKS)
PLAIN = re.compile(rf"\[({KINDS})\]")
KEYED = re.compile(rf"\[({KINDS})(?:-[0-9a-f]{{4}})?\]")
STANDING = re.compile(f"[{M}]")
UNKEYED = {kind: f"[{kind.upper()}]" for kind in BLOCKS}
SEPARATORS = re.compile(GAP)
NUMBERS = frozenset({"iban", "card", "phone"})


@dataclass(frozen=True, slots=True)
class Placeholders:
    """How findings are written.

    Attributes:
        key: None: by their kind alone. Else with 16 bits of their HMAC under this key: who lacks it
            can neither read a value nor find it by trying, and two values are taken for one in
            65,536 pairs.
    """

    key: bytes | None = None

    @property
    def pattern(self) -> re.Pattern[str]:
        return PLAIN if self.key is None else KEYED

    def of(self, kind: str, value: str) -> str:
        if self.key is None:
            return UNKEYED[kind]
        return f"[{kind.upper()}-{short_hash(self.key, f'{kind}:{as_one(kind, value)}')}]"


def as_one(kind: str, value: str) -> str:
    """The same for a value however it is written: in groups or not, in capitals or not."""
    if kind == "key":
        return value
    if kind in NUMBERS:
        value = SEPARATORS.sub("", value)
    return unicodedata.normalize("NFC", value).casefold()


class Standing:
    """The characters that stand for placeholders while a text is worked on, one each. Of a kind
    they are as many as its block has; what is found beyond that gets the placeholder without a key.
    """

    def __init__(self, placeholders: Placeholders) -> None:
        self._placeholders = placeholders
        self._characters = {UNKEYED[kind]: chr(block.start) for kind, block in BLOCKS.items()}
        self._written = {found: name for name, found in self._characters.items()}
        self._free = {kind: iter(block[1:]) for kind, block in BLOCKS.items()}

    def hide(self, text: str) -> str:
        """A text with characters for the placeholders that it came with."""
        if "[" not in text:
            return text
        return self._placeholders.pattern.sub(lambda at: self._for(at[1].lower(), at[0]), text)

    def put(self, kind: str, value: str) -> str:
        """The character for a finding."""
        return self._for(kind, self._placeholders.of(kind, value))

    def show(self, text: str) -> str:
        """A text with placeholders for their characters."""
        return STANDING.sub(lambda at: self._written.get(at[0], at[0]), text)

    def _for(self, kind: str, placeholder: str) -> str:
        found = self._characters.get(placeholder)
        if found is None:
            free = next(self._free[kind], None)
            if free is None:
                return self._characters[UNKEYED[kind]]
            found = self._characters[placeholder] = chr(free)
            self._written[found] = placeholder
        return found


WITHOUT_KEY = Standing(Placeholders())
"""Serves all texts: no placeholder comes to those it knows."""


def standing(placeholders: Placeholders) -> Standing:
    """For one text."""
    return WITHOUT_KEY if placeholders.key is None else Standing(placeholders)

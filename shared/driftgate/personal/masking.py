"""Personal data out of texts: what is found gives way to a placeholder of its kind. Pure.

`Masker.text` is the definition. `Masker.column` gives the same for a whole column: RE2 searches
leave out the rows, and in the others the kinds, of which nothing can be found.

Why masking twice is masking once: while a text is worked on, a finding is one character that no
pattern takes up and that every pattern's borders treat like a letter or digit. So what was refused
beside a finding is refused beside its placeholder, and a placeholder is part of no finding.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from itertools import compress
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc

from driftgate.model_repo import Mask
from driftgate.personal import check_digits, patterns
from driftgate.personal.json_values import in_values
from driftgate.personal.patterns import BLOCKS
from driftgate.personal.placeholders import Placeholders, standing

# The character that stands for a value that was found.
Put = Callable[[str], str]
CUE_LENGTH = 60
# RE2 looks for the first letters of names: with whole ones it falls from 6 million rows/s to 40,000
# at 300 names, when its automaton outgrows its memory.
START = 5


@dataclass(frozen=True, slots=True)
class Search:
    """How one kind is found.

    Attributes:
        kind: a key of `patterns.BLOCKS`.
        mark: puts a character in the place of each finding.
        possible: RE2 that matches every text in which there can be one.
    """

    kind: str
    mark: Callable[[str, Put], str]
    possible: str


@dataclass(frozen=True, slots=True)
class Masker:
    """Masks what a model repo's `data.mask` names. Each search sees what those before it left."""

    searches: tuple[Search, ...]
    placeholders: Placeholders

    @classmethod
    def of(cls, mask: Mask, key: bytes | None = None) -> Self:
        """With a key, each value has a placeholder of its own; see `Placeholders`."""
        found: dict[str, Search] = {kind: SEARCHES[kind] for kind in mask.kinds}
        if mask.names:
            found["name"] = search_of(mask.names)
        return cls(tuple(found[kind] for kind in BLOCKS if kind in found), Placeholders(key))

    @property
    def possible(self) -> str:
        """RE2 that matches every text that `text` changes, and few others."""
        searches = [search.possible for search in self.searches]
        escaped = [r"\\"] if self.placeholders.key is not None else []
        return "|".join(dict.fromkeys(searches + escaped))

    def text(self, value: str) -> str:
        """The text with each finding as [EMAIL], [PHONE], [CARD], [IBAN], [IP], [KEY] or [NAME];
        with a key as [EMAIL-91b0] …

        Takes time in proportion to the length; changes nothing in a text that was masked before.
        """
        return self._masked(value, self.searches)

    def _masked(self, value: str, searches: Iterable[Search]) -> str:
        """With the searches that can find anything in it. With a key, JSON stays JSON as far as its
        values hold what is found."""
        if self.placeholders.key is not None:
            all_of_it = partial(masked, searches=self.searches, placeholders=self.placeholders)
            found = in_values(value, all_of_it)
            if found != value:
                value, searches = found, self.searches
        return masked(value, searches, self.placeholders)

    def column(self, values: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
        """`text` of each of these strings; null stays null."""
        if not self.searches:
            return values
        suspect = pc.fill_null(pc.match_substring_regex(values, self.possible), False)
        if isinstance(suspect, pa.ChunkedArray):
            suspect = suspect.combine_chunks()
        rows = values.filter(suspect)
        if not len(rows):
            return values
        hits = [pc.match_substring_regex(rows, s.possible).to_pylist() for s in self.searches]
        texts = [
            self._masked(value, compress(self.searches, hit))
            for value, hit in zip(rows.to_pylist(), zip(*hits, strict=True), strict=True)
        ]
        return pc.replace_with_mask(values, suspect, pa.array(texts, values.type))


def masked(text: str, searches: Iterable[Search], placeholders: Placeholders) -> str:
    at_work = standing(placeholders)
    text = at_work.hide(text)
    for search in searches:
        text = search.mark(text, partial(at_work.put, search.kind))
    return at_work.show(text)


def each(
    pattern: re.Pattern[str],
    text: str,
    put: Put,
    is_one: Callable[[re.Match[str]], bool] = lambda _: True,
) -> str:
    """Marks every match that is one."""
    return pattern.sub(lambda found: put(found[0]) if is_one(found) else found[0], text)


def checked(pattern: re.Pattern[str], length: Callable[[str], int], text: str, put: Put) -> str:
    """Marks what passes a check: `length` tells how much of a match does, 0 if none.

    A match that is refused hides no finding that begins inside it.
    """
    parts: list[str] = []
    kept = at = 0
    while found := pattern.search(text, at):
        size = length(found[0])
        at = found.start() + (size or 1)
        if size:
            parts += text[kept : found.start()], put(text[found.start() : at])
            kept = at
    return "".join((*parts, text[kept:]))


# ---------------------------------------------------------------- e-mail addresses


def emails(text: str, put: Put) -> str:
    """As `EMAIL.sub`, which tries every character for the first: none can begin before the last
    space before an @."""
    parts: list[str] = []
    kept = 0
    while (at := text.find("@", kept)) >= 0:
        found = patterns.EMAIL.search(text, text.rfind(" ", kept, at) + 1 or kept)
        if not found:
            break
        parts += text[kept : found.start()], put(found[0])
        kept = found.end()
    return "".join((*parts, text[kept:]))


# ---------------------------------------------------------------- names


def search_of(names: list[str]) -> Search:
    """Each name as it is written, in small, capital and initial letters, with accents composed and
    not. Spelled out, because engines differ in what ignoring case is."""
    written = {
        unicodedata.normalize(form, cased)
        for name in names
        for cased in (name, name.lower(), name.upper(), name.title())
        for form in ("NFC", "NFD")
    }
    by_first: dict[str, list[str]] = {}
    for name in sorted(written, key=len, reverse=True):
        by_first.setdefault(name[0], []).append(re.escape(name[1:]))
    alternatives = [f"{re.escape(first)}(?:{'|'.join(rest)})" for first, rest in by_first.items()]
    starts = sorted({re.escape(name[:START]) for name in written})
    pattern = patterns.whole_words("|".join(alternatives))
    return Search("name", partial(each, pattern), f"(?:{'|'.join(starts)})")


# ---------------------------------------------------------------- IP addresses


def ips(text: str, put: Put) -> str:
    if text.count(":") > 1:
        text = checked(patterns.IPV6, ipv6, text, put)
    return each(patterns.IPV4, text, put, is_ipv4)


def is_ipv4(found: re.Match[str]) -> bool:
    return is_address(found[0]) and not before(found, patterns.VERSION)


def ipv6(run: str) -> int:
    """Length of the address, without a colon of the sentence at its end; or 0. What has no digit
    or no group of three (`a::b`, `3:2::6:4`) is no one's address."""
    for found in (run, run.removesuffix(":")):
        if re.search(r"[0-9]", found) and re.search(r"[^:]{3}", found) and is_address(found):
            return len(found)
    return 0


def is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


# ---------------------------------------------------------------- phone numbers


def phones(text: str, put: Put) -> str:
    text = each(patterns.PHONE, text, put, is_no_thing)
    return each(patterns.BARE, text, put, is_called)


def is_no_thing(found: re.Match[str]) -> bool:
    """Unless the word before what looks like a phone number says that it numbers an order, …"""
    return found[0].startswith("+") or not before(found, patterns.THING)


def is_called(found: re.Match[str]) -> bool:
    """Whether digits in no such form follow words such as `phone:` or `call me at`."""
    return before(found, patterns.CALL)


def before(found: re.Match[str], words: re.Pattern[str]) -> bool:
    """Whether these words stand right before it."""
    start = found.start()
    return bool(words.search(found.string, max(0, start - CUE_LENGTH), start))


# ---------------------------------------------------------------- keys


def keys(text: str, put: Put) -> str:
    """Without the words that announce them."""

    def marked(found: re.Match[str]) -> str:
        announced = found["before"] or ""
        return announced + put(found[0].removeprefix(announced))

    return patterns.KEY.sub(marked, text)


MARKERS: dict[str, Callable[[str, Put], str]] = {
    "key": keys,
    "email": emails,
    "iban": partial(checked, patterns.IBAN, check_digits.iban),
    "card": partial(checked, patterns.CARD, check_digits.card),
    "ip": ips,
    "phone": phones,
}
SEARCHES = {kind: Search(kind, mark, patterns.PREFILTERS[kind]) for kind, mark in MARKERS.items()}

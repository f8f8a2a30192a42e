"""Spellings of one label. Those that differ in case, blanks or Unicode form only are one label and
are joined; those that differ in accents or in what divides words may be two, and are only told.
Pure."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

# What cannot be seen: zero-width characters, byte-order marks, soft hyphens, and what joins or
# varies emoji. The latter stay in the label as it is written.
DIRECTIONS = "\u200e\u200f\u202a-\u202e\u2066-\u2069"  # of right-to-left writing
STRAY = re.compile(f"[\u200b\u2060\ufeff\u00ad{DIRECTIONS}]")
UNSEEN = re.compile(f"[\u200b\u200c\u200d\u2060\ufeff\ufe0e\ufe0f\u00ad{DIRECTIONS}]")
TURKISH = re.compile("[İı]")
DIVIDED = re.compile("[,;|/+#&]")
# What divides words, but for signs and decimal points: -1 is not 1, and 1.0 is not 10.
DIVIDERS = re.compile(r"(?<=[^\d\s_\-./])[\s_\-./]+|[\s_\-./]++(?!\d)")
QUOTES = "\"'`“”„«»‘’"
# More labels than this share of the rows are none: most of them occur once.
MOST_LABEL_SHARE = 0.5
NOTHING = {"nan", "null", "none", "n/a", "#n/a", "na", "-", "\\n", "#ref!", "#value!"}
MISSING = {*NOTHING, "?", "unknown", "undefined", "unsup"}
MOST_SINGLE = 3  # labels with one row that are shown


@dataclass(frozen=True, slots=True)
class Spellings:
    """One label for each spelling. joined: label → every spelling that became it, with its rows.
    proposed: what the user may want to join or remove, in words."""

    label_of: Mapping[str, str]
    joined: Mapping[str, Mapping[str, int]]
    proposed: tuple[str, ...]


def spellings(counts: Mapping[str, int]) -> Spellings:
    """Joins the spellings of labels, given the rows of each. The most frequent one stays."""
    turkish = any(TURKISH.search(label) for label in counts)
    groups = grouped(counts, lambda label: same(label, turkish))
    label_of: dict[str, str] = {}
    joined: dict[str, Mapping[str, int]] = {}
    for found in groups.values():
        label = blanks(max(found, key=lambda one: (counts[one], one)))
        label_of |= dict.fromkeys(found, label)
        if len(found) > 1:
            joined[label] = {one: counts[one] for one in sorted(found)}
    totals: Counter[str] = Counter()
    for spelling, label in label_of.items():
        totals[label] += counts[spelling]
    return Spellings(label_of, joined, tuple(proposals(totals)))


def proposals(totals: Mapping[str, int]) -> list[str]:
    """What looks like one label, or like none."""
    found = [
        f"labels {' and '.join(sorted(near))} are kept apart; make them one in the file if they "
        "are one"
        for near in grouped(totals, loosely).values()
        if len(near) > 1
    ]
    single = [label for label, rows in totals.items() if rows == 1]
    if single and len(single) < len(totals):
        found.insert(0, one_row(single))
    for label in totals:
        parts = [part.strip() for part in DIVIDED.split(label)]
        if len(parts) > 1 and all(part in totals for part in parts):
            found.append(
                f"label {label!r} ({totals[label]} rows) is kept as one; it looks like "
                f"{' and '.join(map(repr, parts))}, and a model answers with one label"
            )
        if label.lower() in MISSING:
            found.append(
                f"label {label!r} ({totals[label]} rows) is kept; empty the cells if it means none"
            )
    return found


def one_row(single: Sequence[str]) -> str:
    """Labels from which nothing can be learned, in words."""
    examples = ", ".join(map(repr, single[:MOST_SINGLE]))
    if len(single) == 1:
        return f"1 label has one row: {examples}; mend it in the file if it is none"
    return f"{len(single):,} labels have one row, such as {examples}; mend those that are none"


def grouped(labels: Mapping[str, int], key: Callable[[str], str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for label in labels:
        found[key(label)].append(label)
    return found


def blanks(label: str) -> str:
    """A label as it is written: composed, with single blanks and nothing unseen."""
    return " ".join(unicodedata.normalize("NFC", STRAY.sub("", label)).split())


def same(label: str, turkish: bool) -> str:
    """Equal for spellings of one label. `lower`, not `casefold`: ß and ss are two spellings."""
    form = " ".join(unicodedata.normalize("NFKC", UNSEEN.sub("", label)).split())
    if turkish:
        form = form.replace("İ", "i").replace("I", "ı")
    return unicodedata.normalize("NFC", form.lower())


def folded(values: Sequence[str]) -> list[str]:
    """Values of a column, equal where they are spellings of one label."""
    distinct = set(values)
    turkish = any(TURKISH.search(value) for value in distinct)
    form = {value: same(value, turkish) for value in distinct}
    return [form[value] for value in values]


def loosely(label: str) -> str:
    """Equal for labels that people may have meant as one."""
    bare = label.strip(QUOTES + " ")
    letters = unicodedata.normalize("NFKD", bare.replace("ı", "i").casefold())
    kept = "".join(c for c in letters if not unicodedata.combining(c))
    return DIVIDERS.sub("", kept) or label

"""How far an edited answer lies from the answer. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

from driftgate.json_text import canonical, fields_of, parsed, same, written

Change = Literal["added", "removed", "changed"]


class Edit(NamedTuple):
    """What an edit changed.

    Attributes:
        distance: from 0 (nothing) to 1 (everything).
        changed: of JSON, the fields that differ, by their paths, and what became of each.
    """

    distance: float
    changed: Mapping[str, Change]


def distance(answer: str, edited: str) -> float:
    """Levenshtein's over code points (insertions, deletions, substitutions, each 1), divided by the
    length of the longer text: 0 the same, 1 nothing in common. Of two empty texts 0."""
    from rapidfuzz.distance import Levenshtein

    return float(Levenshtein.normalized_distance(answer, edited))


def of_text(answer: str, edited: str) -> Edit:
    return Edit(distance(answer, edited), {})


def of_json(answer: str, edited: str) -> Edit:
    """Of two JSON texts, by their canonical JSON: neither white space nor the order of keys is an
    edit. An answer that is no JSON is compared as text."""
    try:
        before, after = parsed(answer), parsed(edited)
    except ValueError:
        return of_text(answer, edited)
    return Edit(distance(canonical(before), canonical(after)), changes(before, after))


def changes(before: Any, after: Any, names: Iterable[str] = ()) -> dict[str, Change]:
    """What became of each field that differs, of all or of those of these names, by its path."""
    names = tuple(names)
    old, new = fields_of(before, names), fields_of(after, names)
    found: dict[str, Change] = {}
    for path in dict.fromkeys([*old, *new]):
        if path not in new:
            found[written(path)] = "removed"
        elif path not in old:
            found[written(path)] = "added"
        elif not same(old[path], new[path]):
            found[written(path)] = "changed"
    return found

"""JSON as models write it: read strictly, written in one way, and compared field by field. Pure.

A *field* is a value that holds no further ones, by the path to it: `order.number`, `items[0].name`.
Whoever names fields leaves places in lists out: `items.name` is the name of every item, `order` is
all that stands in it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from typing import Any

MAX_DEPTH = 50
"""Objects and lists inside each other; deeper ones are for no reader, and exhaust the stack."""

EXACT_UP_TO = 2**53
"""Whole numbers up to here are the same as floats."""

Path = tuple[str | int, ...]


def parsed(text: str) -> Any:
    """The value of a whole text. 2 and 2.0 are one number.

    Raises:
        ValueError: it is not JSON (RFC 8259): one in a Markdown fence, say, or with NaN, with a key
            twice, with half of a surrogate pair, or deeper than `MAX_DEPTH`.
    """
    try:
        value = json.loads(
            text, parse_float=number, parse_constant=refused, object_pairs_hook=each_once
        )
    except RecursionError:
        raise ValueError(f"nested deeper than {MAX_DEPTH}") from None
    if deeper(value, MAX_DEPTH):
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    canonical(value).encode()  # which half of a surrogate pair cannot be
    return value


def number(digits: str) -> float | int:
    found = float(digits)
    if not math.isfinite(found):
        raise ValueError(f"{digits} is too large a number")
    return int(found) if found.is_integer() and abs(found) <= EXACT_UP_TO else found


def refused(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


def each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"key {twice!r} stands twice")
    return found


def deeper(value: Any, levels: int) -> bool:
    """Whether a value holds others over more than so many levels. By levels, not by recursion."""
    level = [value]
    for _ in range(levels):
        level = [item for each in level for item in children(each)]
        if not level:
            return False
    return True


def children(value: Any) -> Iterable[Any]:
    match value:
        case dict():
            return value.values()
        case list():
            return value
    return ()


def canonical(value: Any) -> str:
    """Keys sorted, no white space: the same text for the same value."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def fields_of(value: Any, names: Iterable[str] = ()) -> dict[Path, Any]:
    """The fields of a value, all or those of these names, with what stands there. An empty object
    or list is a field."""
    found = dict(leaves(value, ()))
    wanted = [tuple(name.split(".")) for name in names]
    if not wanted:
        return found
    return {path: leaf for path, leaf in found.items() if any(lies_in(path, w) for w in wanted)}


def leaves(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    match value:
        case dict() if value:
            for name, item in value.items():
                yield from leaves(item, (*path, name))
        case list() if value:
            for place, item in enumerate(value):
                yield from leaves(item, (*path, place))
        case _:
            yield path, value


def lies_in(path: Path, wanted: tuple[str, ...]) -> bool:
    names = tuple(part for part in path if isinstance(part, str))
    return names[: len(wanted)] == wanted


def written(path: Path) -> str:
    """A path as people read it; `$` is the whole value."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return "".join(parts).removeprefix(".") or "$"


def same(one: Any, other: Any) -> bool:
    """Whether two fields hold the same; true is not 1."""
    return canonical(one) == canonical(other)

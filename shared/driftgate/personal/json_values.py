"""Texts that are JSON, value by value. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from driftgate.json_text import parsed


def in_values(text: str, mask: Callable[[str], str]) -> str:
    """A JSON object or list with its names, texts and numbers masked, each as it is meant and not
    as it is escaped (in `"\\n+49 30 …"` the number does not follow an n); a number of which
    something is masked becomes a text. Any other text, and one in which nothing is found, itself.
    """
    if not text.lstrip().startswith(("{", "[")):
        return text
    try:
        value = parsed(text)
    except ValueError:
        return text
    found = walked(value, mask)
    return text if found == value else json.dumps(found, ensure_ascii=False)


def walked(value: Any, mask: Callable[[str], str]) -> Any:
    match value:
        case dict():
            return {mask(name): walked(item, mask) for name, item in value.items()}
        case list():
            return [walked(item, mask) for item in value]
        case str():
            return mask(value)
        case None | bool():
            return value
    written = str(value)
    found = mask(written)
    return value if found == written else found

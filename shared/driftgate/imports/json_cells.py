"""Values that exports write as JSON inside a text. Pure."""

from __future__ import annotations

import json
from typing import Any

BEGIN = ("{", "[", '"')


def loaded(value: Any) -> Any:
    """What a text holds, where that is a JSON object, list or string; else the value itself. An
    empty text is None."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if not text:
        return None
    if text.startswith(BEGIN):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return value
    return value


def as_text(value: Any) -> str:
    """A text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def unchanged(cell: Any, value: Any) -> str:
    """`value` as a text: as it stands in the cell where that holds it as JSON."""
    is_json = isinstance(cell, str) and isinstance(value, dict | list)
    return cell if is_json and loaded(cell) == value else as_text(value)

"""What annotation tools and other loops write, as plain records of a text and a label. Pure.

Shapes after the tools' own documentation: Prodigy (`answer`, `accept`), Label Studio (JSON and
JSON-MIN), doccano (`label` as a list), spaCy (`cats`), chat files (`messages`), SageMaker Ground
Truth (`NAME-metadata`).
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from typing import Any

from driftgate.labelled.names import plain
from driftgate.labelled.table import Record

REJECTED = "the annotation was rejected, skipped or cancelled"
NO_ANNOTATION = "nobody annotated it"
# Columns whose values say that an annotation does not hold.
VOID = {
    "answer": {"reject", "ignore"},
    "status": {"discarded", "rejected", "skipped"},
    "was_cancelled": {"true", "1"},
}
# `answer` and the like say so only where their values are all an annotation tool's.
TOOLS_WORDS = {
    "answer": {"accept", "reject", "ignore", ""},
    "status": {
        *("discarded", "rejected", "skipped", "submitted", "validated", "accepted", "completed"),
        *("draft", "pending", "default", ""),
    },
    "was_cancelled": {"true", "false", "0", "1", ""},
}


def unwrapped(record: Record) -> Record | None:
    """A record with its text and label at the top; None where nobody annotated it."""
    if isinstance(record.get("messages"), list):
        return chat(record)
    if isinstance(record.get("annotations"), list) and isinstance(record.get("data"), Mapping):
        return label_studio(record)
    if isinstance(record.get("cats"), Mapping):
        rest = {name: value for name, value in record.items() if name != "cats"}
        return {**rest, "label": [name for name, on in record["cats"].items() if float(on) >= 0.5]}
    if isinstance(record.get("accept"), list) and "options" in record:
        kept = ("text", "answer", "meta", "_annotator_id")
        return {**{k: record[k] for k in kept if k in record}, "label": record["accept"]}
    return ground_truth(record)


def chat(record: Record) -> Record | None:
    """The last turn of a user and the answer to it."""
    said = [(turn.get("role"), turn.get("content")) for turn in record["messages"]]
    users = [content for role, content in said if role == "user"]
    answers = [content for role, content in said if role == "assistant"]
    if not users or not answers:
        return None
    rest = {name: value for name, value in record.items() if name != "messages"}
    return {**rest, "text": users[-1], "label": answers[-1]}


def label_studio(record: Record) -> Record | None:
    """The newest annotation that was not cancelled."""
    valid = [one for one in record["annotations"] if not one.get("was_cancelled")]
    if not valid:
        return None
    chosen = [
        choice
        for result in valid[-1].get("result", [])
        for choice in (result.get("value") or {}).get("choices", [])
    ]
    return {**record["data"], "label": chosen}


def ground_truth(record: Record) -> Record:
    """SageMaker's manifest names the class beside a number."""
    for name, value in record.items():
        if name.endswith("-metadata") and isinstance(value, Mapping) and "class-name" in value:
            return {"text": record.get("source"), "label": value["class-name"]}
    return record


def void(names: Sequence[str], columns: Mapping[str, Sequence[Any]]) -> list[bool]:
    """Rows whose annotation does not hold, by the columns that say so."""
    size = len(next(iter(columns.values()), ()))
    found = [False] * size
    for name in names:
        words = VOID.get(plain(name))
        if words is None:
            continue
        said = [str(value if value is not None else "").strip().lower() for value in columns[name]]
        if set(said) <= TOOLS_WORDS[plain(name)]:
            found = [old or word in words for old, word in zip(found, said, strict=True)]
    return found


def one_label(value: Any) -> Any:
    """A label out of a list of one, also where the list was written as text. Other lists, and
    what is no list, are returned as they are."""
    if isinstance(value, str) and value[:1] in "[{" and value[-1:] in "]}":
        value = parsed(value)
    if isinstance(value, Mapping) and isinstance(value.get("choices"), list):
        value = value["choices"]
    if isinstance(value, (list, tuple)):
        distinct = list(dict.fromkeys(map(str, value)))
        return "" if not distinct else distinct[0] if len(distinct) == 1 else distinct
    return value


def parsed(text: str) -> Any:
    """A list or mapping as JSON or Python writes it; the text itself where it is neither."""
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return text

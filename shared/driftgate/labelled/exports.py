"""What annotation tools and other loops write, as plain records of a text and a label. Pure.

Shapes after the tools' own documentation: Prodigy (`answer`, `accept`), Label Studio (JSON and
JSON-MIN), doccano (`label` as a list), spaCy (`cats`), chat files (`messages`), SageMaker Ground
Truth (`NAME-metadata`).
"""

from __future__ import annotations

import ast
import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from driftgate.labelled.names import last, plain
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
ANNOTATORS = {"annotator", "annotator_id", "annotation_id", "annotated_by", "worker_id", "labeler"}


def unwrapped(record: Record) -> Record | None:
    """A record with its text and label at the top; None where nobody annotated it."""
    for name in ("messages", "conversations"):
        if mappings(record.get(name)):
            return chat(record, name)
    if mappings(record.get("annotations")) and isinstance(record.get("data"), Mapping):
        return label_studio(record)
    if cats := scores(record.get("cats")):
        rest = {name: value for name, value in record.items() if name != "cats"}
        return {**rest, "label": [name for name, score in cats.items() if score >= 0.5]}
    if isinstance(record.get("accept"), list) and "options" in record:
        kept = ("text", "answer", "meta", "_annotator_id")
        return {**{k: record[k] for k in kept if k in record}, "label": record["accept"]}
    return ground_truth(record)


def mappings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, Mapping) for one in value)


def scores(value: Any) -> Mapping[str, float]:
    """Classes with their scores; empty where it is something else."""
    if isinstance(value, Mapping) and all(isinstance(s, (int, float)) for s in value.values()):
        return value
    return {}


def chat(record: Record, name: str) -> Record | None:
    """The last turn of a user and the answer to it."""
    said = [(turn.get("role", turn.get("from")), content(turn)) for turn in record[name]]
    users = [text for role, text in said if role in ("user", "human")]
    answers = [text for role, text in said if role in ("assistant", "gpt")]
    if not users or not answers:
        return None
    rest = {key: value for key, value in record.items() if key != name}
    return {**rest, "text": users[-1], "label": answers[-1]}


def content(turn: Record) -> Any:
    """What a turn says; some give it in parts."""
    said = turn.get("content", turn.get("value"))
    if mappings(said):
        return "\n".join(str(part["text"]) for part in said if "text" in part)
    return said


def label_studio(record: Record) -> Record | None:
    """The newest annotation that was not cancelled."""
    valid = [one for one in record["annotations"] if not one.get("was_cancelled")]
    if not valid:
        return None
    chosen = [
        choice
        for result in valid[-1].get("result") or []
        if isinstance(result, Mapping) and isinstance(result.get("value"), Mapping)
        for choice in result["value"].get("choices") or []
    ]
    return {**record["data"], "label": chosen}


def ground_truth(record: Record) -> Record:
    """SageMaker's manifest names the class beside a number."""
    for name, value in record.items():
        if name.endswith("-metadata") and isinstance(value, Mapping) and "class-name" in value:
            return {"text": record.get("source"), "label": value["class-name"]}
    return record


def says_what_holds(name: str, names: Iterable[str]) -> bool:
    """Whether a column may say that annotations do not hold. A ticket has a `status` too, so that
    one has to stand beside its annotator, or inside of an answer."""
    if last(name) == "status":
        return ".responses." in name or any(plain(other) in ANNOTATORS for other in names)
    return last(name) in VOID


def void(names: Sequence[str], columns: Mapping[str, Sequence[Any]]) -> list[bool]:
    """Rows whose annotation does not hold, by the columns that say so."""
    size = len(next(iter(columns.values()), ()))
    found = [False] * size
    for name in names:
        words = VOID[last(name)]
        cells = map(one_label, columns[name])
        said = [str(cell if cell is not None else "").strip().lower() for cell in cells]
        if set(said) <= TOOLS_WORDS[last(name)]:
            found = [old or word in words for old, word in zip(found, said, strict=True)]
    return found


def one_label(value: Any) -> Any:
    """A label out of a list of one, also where the list was written as text. Other lists, and
    what is no list, are returned as they are."""
    if isinstance(value, str) and value[:1] in "[{" and value[-1:] in "]}":
        value = parsed(value)
    if isinstance(value, Mapping) and isinstance(value.get("choices"), list):
        value = value["choices"]
    if mappings(value):  # Argilla's answers, GitHub's labels
        held = [one for one in value if one.get("status") not in VOID["status"]]
        value = [one.get("value", one.get("name", one)) for one in held]
    if isinstance(value, (list, tuple)):
        distinct = list(dict.fromkeys(map(str, value)))
        return "" if not distinct else distinct[0] if len(distinct) == 1 else distinct
    return value


def parsed(text: str) -> Any:
    """A list or mapping as JSON or Python writes it; the text itself where it is neither."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of backslashes in what is no Python
        for read in (json.loads, ast.literal_eval):
            try:
                return read(text)
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                continue
    return text

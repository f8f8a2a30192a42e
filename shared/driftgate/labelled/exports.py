"""What annotation tools and other loops write, as plain records of a text and a label. Pure.

Shapes after the tools' own documentation: Prodigy (`answer`, `accept`), Label Studio (JSON and
JSON-MIN), doccano (`label` as a list), spaCy (`cats`), chat files (`messages`), SageMaker Ground
Truth (`NAME-metadata`).
"""

from __future__ import annotations

import ast
import json
import warnings
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

from driftgate.labelled.names import spellings
from driftgate.labelled.table import Record

REJECTED = "the annotation was rejected, skipped or cancelled"
NO_ANNOTATION = "nobody annotated it"
# Columns whose values say that an annotation does not hold.
VOID = {
    "answer": {"reject", "ignore"},
    "status": {"discarded", "rejected", "reject", "skipped", "invalid", "declined"},
    "was_cancelled": {"true", "1"},
}
# `answer` and the like say so only where nearly all of their values are an annotation tool's.
TOOLS_WORDS = {
    "answer": {"accept", "reject", "ignore", ""},
    "status": {
        *("discarded", "rejected", "skipped", "submitted", "validated", "accepted", "completed"),
        *("draft", "pending", "default", "", "reject", "invalid", "declined", "valid"),
        *("approved", "approve", "accept", "verified", "reviewed", "done"),
    },
    "was_cancelled": {"true", "false", "0", "1", ""},
}
TOOLS_SHARE, SOME_SHARE = 0.9, 0.5  # of the values that have to be a tool's words
MOST_SHOWN = 20  # characters of a value
ANNOTATORS = {
    *("annotator", "annotator_id", "annotation_id", "annotated_by", "annotator_name"),
    *("worker_id", "worker", "workerid", "labeler", "labeller"),
}
# Columns that say the same as one above.
CALLED = {"review_status": "status", "assignment_status": "status"}
NO_ANNOTATOR = "no column names an annotator"
OTHER_WORDS = "most values are no annotation tool's"
LABEL_KEYS = ("class", "name", "value", "label")  # of an object that is a label


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
    """The last turn of a user that is answered, and the answer to it."""
    answered = answered_turns(record[name])
    if not answered:
        return None
    rest = {key: value for key, value in record.items() if key != name}
    text, label = answered[-1]
    return {**rest, "text": text, "label": label}


def answered_turns(turns: Sequence[Record]) -> list[tuple[Any, Any]]:
    """What a user said last before each answer, with the answer."""
    found: list[tuple[Any, Any]] = []
    asked: Any = None
    for turn in turns:
        role = turn.get("role", turn.get("from"))
        if role in ("user", "human"):
            asked = content(turn)
        elif role in ("assistant", "gpt") and asked is not None:
            found.append((asked, content(turn)))
    return found


def content(turn: Record) -> Any:
    """What a turn says; some give it in parts."""
    said = turn.get("content", turn.get("value"))
    if mappings(said):
        return "\n".join(str(part["text"]) for part in said if "text" in part)
    return said


def label_studio(record: Record) -> Record | None:
    """The newest annotation that was not cancelled."""
    valid = valid_annotations(record)
    return {**record["data"], "label": choices(valid[-1])} if valid else None


def valid_annotations(record: Record) -> list[Record]:
    """Those that were not cancelled, the newest last."""
    valid = [one for one in record["annotations"] if not one.get("was_cancelled")]
    return sorted(valid, key=lambda one: str(one.get("updated_at") or one.get("created_at") or ""))


def choices(annotation: Record) -> list[Any]:
    return [
        choice
        for result in annotation.get("result") or []
        if isinstance(result, Mapping) and isinstance(result.get("value"), Mapping)
        for choice in result["value"].get("choices") or []
    ]


def loses(record: Record) -> str | None:
    """What of a record is not read, as a key of `LOSSES`; None where all is."""
    for name in ("messages", "conversations"):
        turns: Any = record.get(name)
        if mappings(turns):
            users = sum(turn.get("role", turn.get("from")) in ("user", "human") for turn in turns)
            return "turns" if users > 1 and answered_turns(turns) else None
    if mappings(record.get("annotations")) and isinstance(record.get("data"), Mapping):
        chosen = [set(map(str, choices(one))) for one in valid_annotations(record)]
        return "annotations" if any(one != chosen[0] for one in chosen) else None
    return None


def losses(counts: Mapping[str, int]) -> list[str]:
    """What records lost, in words."""
    told = []
    if count := counts.get("annotations", 0):
        have = "1 row has" if count == 1 else f"{count:,} rows have"
        told.append(f"{have} several annotations that disagree; the newest counts")
    if count := counts.get("turns", 0):
        have = "1 chat has" if count == 1 else f"{count:,} chats have"
        told.append(f"{have} several turns; only the last user turn that is answered is read")
    return told


def ground_truth(record: Record) -> Record:
    """SageMaker's manifest names the class beside a number."""
    for name, value in record.items():
        if name.endswith("-metadata") and isinstance(value, Mapping) and "class-name" in value:
            return {"text": record.get("source"), "label": value["class-name"]}
    return record


def kind(name: str) -> str | None:
    """Which of the columns of `VOID` one is, None where it is none."""
    found = (CALLED.get(one, one) for one in spellings(name))
    return next((one for one in found if one in VOID), None)


def has_annotator(name: str, names: Iterable[str]) -> bool:
    """Whether a column of `VOID` is about annotations. A ticket has a `status` too, so that one
    has to stand beside its annotator, or inside of an answer."""
    if kind(name) != "status" or ".responses." in name or "assignment_status" in spellings(name):
        return True
    return any(not ANNOTATORS.isdisjoint(spellings(other)) for other in names)


def void(names: Sequence[str], columns: Mapping[str, Sequence[Any]]) -> list[bool]:
    """Rows whose annotation does not hold, by the columns that say so."""
    size = len(next(iter(columns.values()), ()))
    found = [False] * size
    for name in names:
        words = VOID[kind(name) or ""]
        said = answers(columns[name])
        found = [old or word in words for old, word in zip(found, said, strict=True)]
    return found


def answers(cells: Sequence[Any]) -> list[str]:
    return [str(c if c is not None else "").strip().lower() for c in map(one_label, cells)]


def holds(name: str, cells: Sequence[Any], annotated: bool = True) -> tuple[bool, str]:
    """Whether a column says which annotations hold, by its values, and why, in words.

    >>> holds("answer", ["accept"] * 9 + ["reject", "maybe"])
    (True, "says which annotations hold; 1 row says otherwise, such as 'maybe', and is kept")
    >>> holds("answer", ["accept"] * 9 + ["maybe"] * 3)
    (False, "not used: holds 'maybe'")
    >>> holds("answer", ["it is in Paris", "it is in Rome"])
    (False, '')
    >>> holds("status", ["approved", "rejected"], annotated=False)
    (False, "not used: 1 row says 'rejected', but no column names an annotator")
    """
    called = kind(name) or ""
    said = [word for word in answers(cells) if word]
    if not annotated:
        return False, unused(said, VOID[called], NO_ANNOTATOR)
    others = [word for word in said if word not in TOOLS_WORDS[called]]
    if not others:
        return True, "says which annotations hold"
    shown = f"{others[0][:MOST_SHOWN]!r}"
    if len(others) <= (1 - TOOLS_SHARE) * len(said):
        are = "1 row says" if len(others) == 1 else f"{len(others):,} rows say"
        kept = "is kept" if len(others) == 1 else "are kept"
        return True, f"says which annotations hold; {are} otherwise, such as {shown}, and {kept}"
    known = len(others) <= (1 - SOME_SHARE) * len(said)
    return False, f"not used: holds {shown}" if known else unused(said, VOID[called], OTHER_WORDS)


def unused(said: Sequence[str], bad: Set[str], why: str) -> str:
    """That a column is not used although it says that some annotations do not hold."""
    found = [word for word in said if word in bad]
    if not found:
        return ""
    say = "1 row says" if len(found) == 1 else f"{len(found):,} rows say"
    return f"not used: {say} {found[0]!r}, but {why}"


def one_label(value: Any) -> Any:
    """A label out of a list of one, also where the list was written as text. Other lists, objects
    that have not one name, and what is no list are returned as they are."""
    if isinstance(value, str) and value[:1] in "[{" and value[-1:] in "]}":
        value = parsed(value)
    if isinstance(value, Mapping) and isinstance(value.get("choices"), list):
        value = value["choices"]
    if mappings(value):  # Argilla's answers, GitHub's labels
        held = [one for one in value if str(one.get("status")).lower() not in VOID["status"]]
        value = [named(one) for one in held]
    if isinstance(value, Mapping):
        return named(value) if value else ""
    if isinstance(value, (list, tuple)):
        if objects := [one for one in value if isinstance(one, Mapping)]:
            return objects[0]
        distinct = list(dict.fromkeys(map(str, value)))
        return "" if not distinct else distinct[0] if len(distinct) == 1 else distinct
    return value


def named(one: Record) -> Any:
    """The label that an object is, by the only name that it has; the object where it has none, or
    holds other objects."""
    values = [one[key] for key in LABEL_KEYS if one.get(key) is not None]
    flat = not any(isinstance(value, (Mapping, list)) for value in one.values())
    return values[0] if len(values) == 1 and flat else one


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

"""Pairs of an input and what should be answered, as JSON Lines in two shapes:

    {"input": "…", "output": "…", "time": "2026-01-31T09:00Z", "subject": "…", "slices": {…}}
    {"messages": [{"role": "system", …}, {"role": "user", …}, {"role": "assistant", …}]}

`output` may be a JSON object too, and so may `rejected`, an answer that it is preferred to. The
second is OpenAI's chat format, of one question with its
answer; keys beside `messages` are read as in the first. A line is read as it stands, or left out
for a cause.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from driftgate.errors import BadConfig, nearest, shown
from driftgate.labelled import dates
from driftgate.labelled.findings import Findings, by_size, where
from driftgate.labelled.rows import MAX_TEXT, Asked, Row
from driftgate.suites import text_of
from driftgate.tasks.text_generation import LONGEST

ROLES = ("system", "developer", "user", "assistant")
"""`developer` is what OpenAI calls `system` by now."""

REPEATED = "it repeats an earlier pair"
NO_DATE = "its time cannot be read"
TIME, SUBJECT, SLICES, ID, REJECTED = "time", "subject", "slices", "id", "rejected"


class LeftOut(Exception):
    """Why a line is no pair, in words."""


class Dated(NamedTuple):
    """A row with its date as it stands there, and where that is."""

    row: Row
    time: Any
    place: str


@dataclass(frozen=True, slots=True)
class Pairs:
    """rows: their labels are the outputs. systems: system prompts of chats, with their counts."""

    rows: list[Row]
    findings: Findings
    systems: Counter[str] = field(default_factory=Counter)


def read(path: Path, asked: Asked) -> Pairs:
    """The pairs of a file.

    Raises:
        BadConfig: it cannot be read, or more than `asked.left_out` of its lines are no pairs; names
            the first of them and the cause.
    """
    findings = Findings(path.name)
    found: dict[tuple[str, str], Dated] = {}
    systems: Counter[str] = Counter()
    for number, line in enumerate(text_of(path).split("\n"), 1):
        if not line.strip():
            continue
        findings.rows += 1
        place = f"{path.name}, line {number}"
        try:
            row, time, system = pair(line)
            if (row.text, row.label) in found:
                raise LeftOut(REPEATED)
        except LeftOut as cause:
            findings.leave_out(str(cause), place)
            continue
        found[row.text, row.label] = Dated(row, time, place)
        systems.update([system] if system else [])
    rows = list(dated(list(found.values()), findings, asked))
    findings.kept = len(rows)
    check(findings, asked)
    return Pairs(rows, findings, systems)


def pair(line: str) -> tuple[Row, Any, str]:
    """A row, its date as it stands there, and its system prompt.

    Raises:
        LeftOut
    """
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        raise LeftOut("it is not JSON") from None
    if not isinstance(record, dict):
        raise LeftOut('it is no object such as {"input": …, "output": …}')
    chat = record.get("messages")
    system, text, output = of_chat(chat) if chat is not None else ("", *of_columns(record))
    slices = record.get(SLICES) or {}
    if not isinstance(slices, dict):
        raise LeftOut("its `slices` are no names with values")
    subject, own, rejected = (record.get(name) for name in (SUBJECT, ID, REJECTED))
    row = Row(
        text=checked("input", text, MAX_TEXT),
        label=checked("output", output, LONGEST),
        subject=None if subject is None else str(subject),
        slices={str(name): str(value) for name, value in slices.items()},
        id=None if own is None else str(own),
        rejected=None if rejected is None else checked(REJECTED, written(rejected), LONGEST),
    )
    return row, record.get(TIME), system


def of_columns(record: Mapping[str, Any]) -> tuple[Any, Any]:
    for name in ("input", "output"):
        if record.get(name) is None:
            hint = nearest(name, list(record)) if record else "it has no keys"
            raise LeftOut(f"it has no {name}: {hint}")
    return record["input"], written(record["output"])


def written(value: Any) -> Any:
    """JSON as the text that a model writes."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value


def of_chat(messages: Any) -> tuple[str, str, str]:
    """The system prompt, the question and the answer."""
    if not isinstance(messages, list) or not all(isinstance(one, dict) for one in messages):
        raise LeftOut('its `messages` are no list of {"role": …, "content": …}')
    said: dict[str, list[str]] = {role: [] for role in ROLES}
    for one in messages:
        role = one.get("role")
        if role not in said:
            raise LeftOut(f"it has the role {shown(role)}: {nearest(str(role), list(ROLES))}")
        said[role].append(content(one.get("content")))
    order = [one["role"] for one in messages if one["role"] in ("user", "assistant")]
    if order != ["user", "assistant"]:
        raise LeftOut("it is no single question with its answer")
    return "\n".join([*said["system"], *said["developer"]]), said["user"][0], said["assistant"][0]


def content(value: Any) -> str:
    """A message's text, which may stand in parts."""
    parts = value if isinstance(value, list) else [{"type": "text", "text": value}]
    texts = [
        one.get("text") for one in parts if isinstance(one, dict) and one.get("type") == "text"
    ]
    if len(texts) < len(parts) or not all(isinstance(text, str) for text in texts):
        raise LeftOut("a message holds something else than text")
    return "".join(filter(None, texts))


def checked(name: str, value: Any, most: int) -> str:
    if not isinstance(value, str):
        raise LeftOut(f"its {name} is no text")
    if not value.strip():
        raise LeftOut(f"its {name} is empty")
    if len(value) > most:
        raise LeftOut(f"its {name} has more than {most:,} characters")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise LeftOut(f"its {name} holds half of a surrogate pair") from None
    return value


def dated(found: Sequence[Dated], findings: Findings, asked: Asked) -> Iterator[Row]:
    """Rows with their dates in ms, None where none stands there.

    Raises:
        BadConfig: see `dates.read`.
    """
    column = f"{findings.source}, {TIME!r}"
    given = dates.read([one.time for one in found], column, asked.dates)
    for one, time in zip(found, given.times, strict=True):
        if time is None and one.time is not None:
            findings.leave_out(NO_DATE, one.place)
        else:
            yield replace(one.row, time=time)


def check(findings: Findings, asked: Asked) -> None:
    """Raises: BadConfig where too much was left out."""
    lost = {cause: one for cause, one in findings.left_out.items() if cause != REPEATED}
    rows = sum(one.rows for one in lost.values())
    if not findings.rows or rows > asked.left_out * findings.rows:
        cause, most = next(iter(by_size(lost)), ("", None))
        why = f", mostly since {cause} ({where(most)})" if most else ""
        raise BadConfig(
            f"{findings.source}: {rows:,} of {findings.rows:,} lines are no pairs{why}; expected "
            'lines such as {"input": …, "output": …, "time": …}, or of OpenAI\'s chat format'
        )

"""Dead letters: which are meant, what became of them, and which may be sent again. Pure.

A record that was given up is named by where it lay, `TOPIC/PARTITION/OFFSET`. Several services, or
one that was interrupted, may have written dead letters about the same record: here they are one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple, Self

from driftgate.dead_letters import REASONS, UNKNOWN_REQUEST
from driftgate.errors import BadConfig, nearest
from driftgate.events import DAY_MS, DLQ, HOUR_MS, AuditEntry, Topics

SERVICE = "console"
REPLAY = "dlq.replay"
DROP = "dlq.drop"
# A record's state, by the newest decision about it.
STATES = {REPLAY: "replayed", DROP: "dropped"}
OPEN, REPLAYED, DROPPED = "open", "replayed", "dropped"

END_OF_TIME = 2**63 - 1
UNITS = {"s": 1000, "m": 60_000, "h": HOUR_MS, "d": DAY_MS, "w": 7 * DAY_MS}
# What is in memory at once, and what a crash may send twice: a page.
PAGE_RECORDS = 1000
PAGE_BYTES = 16_000_000
# What does not fit a dead letter is in the artifact store; its size is not known, and Kafka takes
# no larger one.
PARKED_BYTES = 10_000_000
# The end of a message, as ingest-logger writes it of what it stored so.
PARKED = re.compile(
    r"(?:; its value is artifact (?P<value>sha256:[0-9a-f]{64}))?"
    r"(?:; its key is artifact (?P<key>sha256:[0-9a-f]{64}))?$"
)


class Place(NamedTuple):
    """Where a record lay, which names it."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"

    @classmethod
    def parse(cls, text: str, topics: Topics) -> Self:
        """
        Raises:
            BadConfig: not TOPIC/PARTITION/OFFSET, or no such topic.
        """
        found = re.fullmatch(r"([^/]+)/(\d{1,9})/(\d{1,18})", text)
        if found is None:
            raise BadConfig(
                f"dead letter {text!r}: expected TOPIC/PARTITION/OFFSET, as `driftgate dlq list` "
                "shows it, such as inferences/0/17"
            )
        return cls(known_topic(found[1], topics), int(found[2]), int(found[3]))


@dataclass(frozen=True, slots=True)
class DeadRecord:
    """One record that was given up.

    Attributes:
        reason, message: of the first dead letter about it that the filter matches.
        reasons: of all dead letters about it.
        first_seen: ms.
        size: bytes of its key and value.
        state: open, replayed or dropped.
    """

    place: Place
    reason: str
    message: str
    reasons: frozenset[str]
    first_seen: int
    size: int
    state: str


@dataclass(frozen=True, slots=True)
class Filter:
    """Which dead letters are meant; all conditions hold. Empty fields match everything.

    Attributes:
        since, until: first seen within these times, ms.
        contains: a part of the message, in any case.
        model: the model that the record's event names, if the record can be decoded.
    """

    topic: str = ""
    reason: str = ""
    model: str = ""
    since: int = 0
    until: int = END_OF_TIME
    contains: str = ""
    places: tuple[Place, ...] = ()

    @classmethod
    def parse(
        cls,
        topics: Topics,
        now: int,
        places: Iterable[str] = (),
        topic: str = "",
        reason: str = "",
        model: str = "",
        since: str = "",
        until: str = "",
        contains: str = "",
    ) -> Self:
        """What an operator wrote, as a filter. `now` in ms.

        Raises:
            BadConfig: a value is not valid; the nearest valid one is named.
        """
        return cls(
            known_topic(topic, topics) if topic else "",
            known_reason(reason) if reason else "",
            model,
            moment("--since", since, now) if since else 0,
            moment("--until", until, now) if until else END_OF_TIME,
            contains,
            tuple(Place.parse(text, topics) for text in places),
        )

    @property
    def matches_all(self) -> bool:
        return self == Filter()


def known_topic(name: str, topics: Topics) -> str:
    valid = topics.names()
    if name not in valid:
        raise BadConfig(f"topic {name!r} is unknown: {nearest(name, valid)}")
    return name


def known_reason(name: str) -> str:
    if name not in REASONS:
        raise BadConfig(f"reason {name!r} is unknown: {nearest(name, sorted(REASONS))}")
    return name


def moment(option: str, text: str, now: int) -> int:
    """A time in ms: so long before `now` (`90s`, `30m`, `2h`, `3d`, `1w`), or an ISO date or time,
    of UTC where it names no zone.

    Raises:
        BadConfig
    """
    if ago := re.fullmatch(r"(\d{1,9})([smhdw])", text):
        return now - int(ago[1]) * UNITS[ago[2]]
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise BadConfig(
            f"{option} {text!r}: expected a span such as 30m, 2h or 3d, or an ISO time such as "
            "2026-01-05 or 2026-01-05T14:30"
        ) from None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)


# ---------------------------------------------------------------- what became of them


def states(entries: Iterable[AuditEntry]) -> dict[str, str]:
    """Replayed or dropped, by the record's name; from the decision log, oldest first."""
    found: dict[str, str] = {}
    for entry in decisions(entries):
        found |= dict.fromkeys(json.loads(entry.inputs)["letters"], STATES[entry.decision])
    return found


def decisions(entries: Iterable[AuditEntry]) -> Iterator[AuditEntry]:
    """Those entries of the decision log that are about dead letters."""
    return (e for e in entries if e.service == SERVICE and e.decision in STATES)


# ---------------------------------------------------------------- what may be done with them


def kept_from_replay(record: DeadRecord, topics: Topics, again: bool) -> str:
    """Why a record is not sent again; empty if it is. `again` sends what was replayed or dropped
    before."""
    topic = record.place.topic
    if UNKNOWN_REQUEST in record.reasons:
        return (
            "refused: this feedback is stored, a replay would double it; it is joined by itself "
            "when its inference arrives"
        )
    if topic.endswith(DLQ):
        return "refused: it is no dead letter, so there is no record to send again"
    if topics[topic].cleanup == "compact":
        return (
            f"refused: {topic} keeps the newest record of a key, and an old one would take back "
            "what came after; say it anew (a model: `driftgate apply`)"
        )
    return "" if again else kept_from_drop(record)


def kept_from_drop(record: DeadRecord) -> str:
    """Why a record is not dropped; empty if it is."""
    return "" if record.state == OPEN else f"skipped: {record.state} before"


def pages(records: Iterable[DeadRecord]) -> Iterator[list[DeadRecord]]:
    """The records in order, in groups of bounded number and size."""
    page: list[DeadRecord] = []
    size = 0
    for record in records:
        if page and (len(page) == PAGE_RECORDS or size + record.size > PAGE_BYTES):
            yield page
            page, size = [], 0
        page.append(record)
        size += record.size
    if page:
        yield page


def parked(message: str) -> dict[str, str]:
    """Artifacts that hold the key or the value of a record too large for its dead letter."""
    found = PARKED.search(message)
    return {name: uri for name, uri in found.groupdict().items() if uri} if found else {}


# ---------------------------------------------------------------- how they are shown


def dump(data: bytes, most: int = 256) -> str:
    """The first bytes in hex and as text, 16 a line."""
    lines = []
    for at in range(0, min(len(data), most), 16):
        part = data[at : min(at + 16, most)]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        lines.append(f"{at:04x}  {part.hex(' '):47}  {text}")
    if len(data) > most:
        lines.append(f"… {len(data) - most:,} more bytes")
    return "\n".join(lines)


def facts(filter: Filter) -> dict[str, Any]:
    """A filter for the decision log, without what it leaves open; the records stand beside it."""
    open_ = Filter()
    names = ("topic", "reason", "model", "since", "until", "contains")
    return {n: getattr(filter, n) for n in names if getattr(filter, n) != getattr(open_, n)}

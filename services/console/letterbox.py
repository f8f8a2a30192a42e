"""The dead letters of a system: found in the store, sent again over the bus, told in the audit log.

A letter's state is what topic `audit` says, not what the store has of it yet: a second replay
right after the first knows what the first did.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from driftgate.artifacts import Artifacts
from driftgate.audit import TOPIC, Audit
from driftgate.bus import Bus
from driftgate.codec import Codec
from driftgate.errors import BadInput, Corrupt
from driftgate.events import Emit, Event
from driftgate.runner import newest, publish, readable
from driftgate.store import Store
from services.console.letters import (
    OPEN,
    PARKED_BYTES,
    REPLAY,
    SERVICE,
    STATES,
    Filter,
    Letter,
    Place,
    decisions,
    facts,
    pages,
    parked,
    states,
)

QUERY_LETTERS = 10_000
# Of decisions that are about letters of no model that is declared.
NO_MODEL = "-"
BEFORE_ALL = Place("", 0, -1)

LAST_STORED = "SELECT toUnixTimestamp64Milli(max(stored_at)) AS at FROM dead_letters"
LETTERS = """
SELECT place,
    argMinIf(reason, written, meant) AS reason_meant,
    argMinIf(message, written, meant) AS message_meant,
    groupUniqArray(reason) AS reasons,
    min(seen) AS first,
    max(ifNull(length(key), 0) + ifNull(length(value), 0)) AS size
FROM
(
    SELECT *,
        (source_topic, source_partition, source_offset) AS place,
        (partition, offset) AS written,
        toUnixTimestamp64Milli(first_seen) AS seen,
        ({topic:String} = '' OR source_topic = {topic:String})
        AND ({reason:String} = '' OR reason = {reason:String})
        AND seen BETWEEN {since:Int64} AND {until:Int64}
        AND positionCaseInsensitiveUTF8(message, {contains:String}) > 0
        AND (empty({places:Array(Tuple(String, Int32, Int64))})
            OR place IN {places:Array(Tuple(String, Int32, Int64))}) AS meant
    FROM dead_letters
    WHERE place > {after:Tuple(String, Int32, Int64)}
        AND toUnixTimestamp64Milli(stored_at) <= {as_of:Int64}
)
GROUP BY place
HAVING max(meant)
ORDER BY place
LIMIT {limit:UInt32}
"""
# In hex: a text may have any bytes.
CONTENTS = """
SELECT (source_topic, source_partition, source_offset) AS place,
    any(hex(key)) AS key_hex, any(hex(value)) AS value_hex, groupUniqArray(message) AS messages
FROM dead_letters
WHERE place IN {places:Array(Tuple(String, Int32, Int64))}
GROUP BY place
"""
WRITTEN = """
SELECT topic, partition, offset, reason, message, service,
    toUnixTimestamp64Milli(first_seen) AS first
FROM dead_letters
WHERE (source_topic, source_partition, source_offset) = {place:Tuple(String, Int32, Int64)}
ORDER BY topic, partition, offset
LIMIT 1 BY topic, partition, offset
"""


@dataclass(frozen=True, slots=True)
class Opened:
    """A letter with what is in it. `event` if it can be decoded; `lost` says why its bytes cannot
    be had, and is empty if they can."""

    letter: Letter
    key: bytes | None
    value: bytes | None
    event: Event | None
    lost: str

    @property
    def model(self) -> str:
        """The model that the event names, or nothing."""
        return str(self.event.get("model", "")) if self.event else ""


@dataclass(frozen=True, slots=True)
class Asked:
    """One run of `replay` or `drop`: who wanted what. `time` in ms."""

    meant: Filter
    actor: str
    time: int
    run: str = field(default_factory=lambda: uuid4().hex)


@dataclass
class Letterbox:
    """All letters that the store holds when the box is opened. What a replay leads to is not
    among them."""

    store: Store
    bus: Bus
    codec: Codec
    artifacts: Artifacts
    as_of: int = field(init=False)
    states: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.as_of = int(self.store.query(LAST_STORED)[0]["at"])
        self.states = states(self.audit_entries())

    def audit_entries(self) -> Iterator[Event]:
        return (entry for _, entry in readable(self.bus, self.codec, [TOPIC]))

    # ------------------------------------------------------------ look

    def matching(self, meant: Filter) -> Iterator[Letter]:
        """Letters in order of their places.

        Raises:
            StoreRefused, StoreUnavailable
        """
        found = self.stored(meant)
        if not meant.model:
            return found
        opened = (letter for page in self.opened(found) for letter in page)
        return (one.letter for one in opened if one.model == meant.model)

    def stored(self, meant: Filter) -> Iterator[Letter]:
        """Without a look inside, hence of any model."""
        after, rows = BEFORE_ALL, None
        while rows is None or len(rows) == QUERY_LETTERS:
            rows = self.store.query(
                LETTERS,
                topic=meant.topic,
                reason=meant.reason,
                since=meant.since,
                until=meant.until,
                contains=meant.contains,
                places=[tuple(place) for place in meant.places],
                after=tuple(after),
                as_of=self.as_of,
                limit=QUERY_LETTERS,
            )
            for row in rows:
                after, message = Place(*row["place"]), row["message_meant"]
                yield Letter(
                    after,
                    row["reason_meant"],
                    message,
                    frozenset(row["reasons"]),
                    row["first"],
                    PARKED_BYTES if parked(message) else row["size"],
                    self.states.get(str(after), OPEN),
                )

    def opened(self, letters: Iterable[Letter]) -> Iterator[list[Opened]]:
        """The letters with their contents, a page at a time."""
        for page in pages(letters):
            rows = self.store.query(CONTENTS, places=[tuple(letter.place) for letter in page])
            contents = {Place(*row["place"]): row for row in rows}
            yield [self.open(letter, contents[letter.place]) for letter in page]

    def open(self, letter: Letter, row: dict[str, Any]) -> Opened:
        """What is in a letter; what did not fit is in the artifact that it names."""
        lost = ""
        found = {name: from_hex(row[f"{name}_hex"]) for name in ("key", "value")}
        for message in row["messages"]:
            for name, uri in parked(message).items():
                try:
                    found[name] = self.artifacts.get(uri)
                except Corrupt as error:
                    lost = str(error)
        try:
            event = self.codec.decode(letter.place.topic, found["value"])
        except BadInput:
            event = None
        return Opened(letter, found["key"], found["value"], event, lost)

    def written(self, place: Place) -> list[dict[str, Any]]:
        """Every letter about one record, as it is stored."""
        return self.store.query(WRITTEN, place=tuple(place))

    def history(self, place: Place) -> list[Event]:
        """What was decided about a letter."""
        name = f'"{place}"'  # as it stands in the entry's JSON
        return [entry for entry in decisions(self.audit_entries()) if name in entry["inputs"]]

    # ------------------------------------------------------------ decide

    def decide(
        self, decision: str, letters: Iterable[Letter], asked: Asked
    ) -> Iterator[list[Opened]]:
        """Sends the letters' records to where they came from, or drops the letters, a page at a
        time; yields each page when that is durable. What is lost is not sent.

        A replay sends, waits for the acknowledgement, and only then writes that it did: a crash
        between leaves letters open that were sent.

        Raises:
            BusUnavailable, StoreRefused, StoreUnavailable
        """
        audit = Audit.resume(SERVICE, self.bus, self.codec)
        declared = newest(self.bus, self.codec, "models")
        producer = self.bus.producer()
        try:
            for page in self.opened(letters):
                done = page
                if decision == REPLAY:
                    done = [one for one in page if not one.lost]
                    for one in done:
                        producer.send(one.letter.place.topic, one.key, one.value)
                    producer.flush()
                entries: list[Emit] = []
                for model, places in by_model(done, declared).items():
                    entries += entry(audit, decision, model, places, asked)
                publish(producer, self.codec, entries)
                yield page
        finally:
            producer.close()


def entry(
    audit: Audit, decision: str, model: str, places: Sequence[str], asked: Asked
) -> list[Emit]:
    """What the audit log is told about letters of one model."""
    return audit.entry(
        model,
        decision,
        inputs={
            "run": asked.run,
            "actor": asked.actor,
            "filters": facts(asked.meant),
            "letters": places,
        },
        result={"letters": len(places)},
        words=f"{asked.actor}: {len(places)} dead letters {STATES[decision]}",
        time=asked.time,
    )


def by_model(page: Iterable[Opened], declared: Collection[str]) -> dict[str, list[str]]:
    """Places of letters by the declared model that they are about."""
    found: dict[str, list[str]] = {}
    for one in page:
        model = one.model if one.model in declared else NO_MODEL
        found.setdefault(model, []).append(str(one.letter.place))
    return found


def from_hex(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)

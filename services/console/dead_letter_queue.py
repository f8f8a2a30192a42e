"""The dead letters of a system: found in the store, sent again over the bus, logged in the audit.

A record's state is what topic `audit` says, not what the store has of it yet: a second replay
right after the first knows what the first did.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from driftgate.artifacts import Artifacts
from driftgate.audit import Audit
from driftgate.bus import Bus
from driftgate.bus_tools import events, newest, publish
from driftgate.codec import Codec
from driftgate.errors import BadInput, Corrupt
from driftgate.events import AuditEntry, Model
from driftgate.runtime.service import AuditDraft
from driftgate.store import Store
from services.console.dead_letter_selection import (
    OPEN,
    PARKED_BYTES,
    REPLAY,
    SERVICE,
    STATES,
    DeadRecord,
    Filter,
    Place,
    decisions,
    facts,
    pages,
    parked,
    states,
)

QUERY_RECORDS = 10_000
# Of decisions that are about records of no model that is declared.
NO_MODEL = "-"
BEFORE_ALL = Place("", 0, -1)

LAST_STORED = "SELECT toUnixTimestamp64Milli(max(stored_at)) AS at FROM dead_letters"
RECORDS = """
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
    """A record that was given up, with what is in it.

    Attributes:
        fields: of its event, as the newest schema has them; None if it cannot be decoded.
        lost: why its bytes cannot be had; empty if they can.
    """

    record: DeadRecord
    key: bytes | None
    value: bytes | None
    fields: Mapping[str, Any] | None
    lost: str

    @property
    def model(self) -> str:
        """The model that the event names, or nothing."""
        return str(self.fields.get("model", "")) if self.fields else ""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of `replay` or `drop`: who wanted what. `time` in ms."""

    meant: Filter
    actor: str
    time: int
    id: str = field(default_factory=lambda: uuid4().hex)


@dataclass
class DeadLetterQueue:
    """All dead letters that the store holds when this is made. What a replay leads to is not among
    them."""

    store: Store
    bus: Bus
    codec: Codec
    artifacts: Artifacts
    as_of: int = field(init=False)
    states: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.as_of = int(self.store.query(LAST_STORED)[0]["at"])
        self.states = states(events(self.bus, self.codec, AuditEntry))

    # ------------------------------------------------------------ look

    def matching(self, meant: Filter) -> Iterator[DeadRecord]:
        """Records in order of their places.

        Raises:
            StoreRefused, StoreUnavailable
        """
        found = self.stored(meant)
        if not meant.model:
            return found
        opened = (one for page in self.opened(found) for one in page)
        return (one.record for one in opened if one.model == meant.model)

    def stored(self, meant: Filter) -> Iterator[DeadRecord]:
        """Without a look inside, hence of any model."""
        after, rows = BEFORE_ALL, None
        while rows is None or len(rows) == QUERY_RECORDS:
            rows = self.store.query(
                RECORDS,
                topic=meant.topic,
                reason=meant.reason,
                since=meant.since,
                until=meant.until,
                contains=meant.contains,
                places=[tuple(place) for place in meant.places],
                after=tuple(after),
                as_of=self.as_of,
                limit=QUERY_RECORDS,
            )
            for row in rows:
                after, message = Place(*row["place"]), row["message_meant"]
                yield DeadRecord(
                    after,
                    row["reason_meant"],
                    message,
                    frozenset(row["reasons"]),
                    row["first"],
                    PARKED_BYTES if parked(message) else row["size"],
                    self.states.get(str(after), OPEN),
                )

    def opened(self, records: Iterable[DeadRecord]) -> Iterator[list[Opened]]:
        """The records with their contents, a page at a time."""
        for page in pages(records):
            rows = self.store.query(CONTENTS, places=[tuple(record.place) for record in page])
            contents = {Place(*row["place"]): row for row in rows}
            yield [self.open(record, contents[record.place]) for record in page]

    def open(self, record: DeadRecord, row: Mapping[str, Any]) -> Opened:
        """What is in a record; what did not fit its dead letter is in the artifact named there."""
        lost = ""
        found = {name: from_hex(row[f"{name}_hex"]) for name in ("key", "value")}
        for message in row["messages"]:
            for name, uri in parked(message).items():
                try:
                    found[name] = self.artifacts.get(uri)
                except Corrupt as error:
                    lost = str(error)
        try:
            fields = self.codec.decode(record.place.topic, found["value"])
        except BadInput:
            fields = None
        return Opened(record, found["key"], found["value"], fields, lost)

    def written(self, place: Place) -> list[dict[str, Any]]:
        """Every dead letter about one record, as it is stored."""
        return self.store.query(WRITTEN, place=tuple(place))

    def history(self, place: Place) -> list[AuditEntry]:
        """What was decided about a record."""
        name = f'"{place}"'  # as it stands in the entry's JSON
        entries = events(self.bus, self.codec, AuditEntry)
        return [entry for entry in decisions(entries) if name in entry.inputs]

    # ------------------------------------------------------------ decide

    def decide(
        self, decision: str, records: Iterable[DeadRecord], run: Run
    ) -> Iterator[list[Opened]]:
        """Sends records to where they came from, or drops them, a page at a time; yields each page
        when that is durable. What is lost is not sent.

        A replay sends, waits for the acknowledgement, and only then logs that it did: a crash
        between leaves records open that were sent.

        Raises:
            BusUnavailable, StoreRefused, StoreUnavailable
        """
        audit = Audit.resume(SERVICE, self.bus, self.codec)
        declared = newest(self.bus, self.codec, Model)
        producer = self.bus.producer()
        try:
            for page in self.opened(records):
                done = page
                if decision == REPLAY:
                    done = [one for one in page if not one.lost]
                    for one in done:
                        producer.send(one.record.place.topic, one.key, one.value)
                    producer.flush()
                entries: list[AuditEntry] = []
                for model, places in by_model(done, declared).items():
                    entries += audit.chained(draft(decision, model, places, run))
                publish(producer, self.codec, entries)
                yield page
        finally:
            producer.close()


def draft(decision: str, model: str, places: Sequence[str], run: Run) -> AuditDraft:
    """What the audit log says about records of one model."""
    return AuditDraft(
        model=model,
        decision=decision,
        inputs={
            "run": run.id,
            "actor": run.actor,
            "filters": facts(run.meant),
            "letters": places,
        },
        result={"letters": len(places)},
        summary=f"{run.actor}: {len(places)} dead letters {STATES[decision]}",
        time=run.time,
    )


def by_model(page: Iterable[Opened], declared: Collection[str]) -> dict[str, list[str]]:
    """Places of records by the declared model that they are about."""
    found: dict[str, list[str]] = {}
    for one in page:
        model = one.model if one.model in declared else NO_MODEL
        found.setdefault(model, []).append(str(one.record.place))
    return found


def from_hex(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)

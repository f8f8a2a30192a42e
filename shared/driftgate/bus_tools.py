"""Events on the bus for what is no service: the console, the simulator, tests. A service reads and
sends through its runtime."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from driftgate.bus import Bus, Producer, Record
from driftgate.codec import Codec
from driftgate.errors import BadInput
from driftgate.events import AnyEvent

E = TypeVar("E", bound=AnyEvent)


def events(bus: Bus, codec: Codec, kind: type[E]) -> Iterator[E]:
    """Every event of a type up to the end of its topic as it is now.

    Raises:
        BusUnavailable
    """
    return (event for _, event in decoded(codec, bus.read_all([topic_of(kind)])))


def newest(bus: Bus, codec: Codec, kind: type[E]) -> dict[str, E]:
    """The state on a compacted topic: its newest event by key.

    Raises:
        BusUnavailable
    """
    found = decoded(codec, bus.read_all([topic_of(kind)]))
    return {record.key.decode(errors="replace"): event for record, event in found if record.key}


def decoded(codec: Codec, records: Iterable[Record]) -> Iterator[tuple[Record, Any]]:
    """Records with their events. Passes over deletions, and over what cannot be decoded:
    ingest-logger, which reads every topic, makes a dead letter of it."""
    for record in records:
        if record.value is None:
            continue
        try:
            yield record, codec.event(record.topic, record.value)
        except BadInput:
            continue


def publish(producer: Producer, codec: Codec, events: Sequence[AnyEvent]) -> None:
    """Sends events, and returns once all of them are acknowledged.

    Raises:
        BusUnavailable: some were not, in time.
    """
    for event in events:
        producer.send(*codec.record(event))
    producer.flush()


def topic_of(kind: type[Any]) -> str:
    """The topic of a type of event."""
    return str(kind.TOPIC)

"""The topics that carry events, as `schemas/topics.yaml` declares them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from driftgate.events.generated import AnyEvent, DeadLetter

DLQ = ".dlq"
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

# An event as its fields: exactly those of its Avro subject. What handles all events alike, whatever
# their version says, as ingestion and the tools do, takes them so.
Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Topic:
    """How one topic is kept.

    Attributes:
        key: fields whose values, joined by "/", are the key of a record.
        retention_days: -1 keeps for ever.
        stored: whether ingest-logger reads and stores it; what is internal to one service is not.
    """

    name: str
    subject: str
    key: tuple[str, ...]
    partitions: int
    cleanup: str
    retention_days: int
    stored: bool = True

    @property
    def settings(self) -> dict[str, str]:
        """Kafka's topic settings."""
        days = self.retention_days
        settings = {
            "cleanup.policy": self.cleanup,
            "retention.ms": str(-1 if days < 0 else days * DAY_MS),
        }
        if self.cleanup == "compact":  # which never touches the segment that is written to
            settings["segment.ms"] = str(DAY_MS)
        return settings


@dataclass(frozen=True, slots=True)
class Topics:
    """Every topic of `schemas/topics.yaml`, dead letters included."""

    by_name: Mapping[str, Topic]

    @classmethod
    def load(cls, schemas: Path) -> Topics:
        """Reads `topics.yaml` in the folder `schemas`."""
        # Here, since who only needs the classes need not wait for a YAML parser.
        from ruamel.yaml import YAML

        declared = YAML(typ="safe").load((schemas / "topics.yaml").read_text())
        found: dict[str, Topic] = {}
        for name, own in declared["topics"].items():
            kept = {**declared["defaults"], **own}
            key = kept["key"]
            found[name] = Topic(
                name,
                kept["subject"],
                (key,) if isinstance(key, str) else tuple(key),
                kept["partitions"],
                kept["cleanup"],
                kept["retention_days"],
                kept["stored"],
            )
            if kept["dead_letters"]:
                dead = declared["dead_letter"]
                found[name + DLQ] = Topic(
                    name + DLQ, dead["subject"], ("key",), 1, "delete", dead["retention_days"]
                )
        return cls(found)

    def __getitem__(self, name: str) -> Topic:
        return self.by_name[name]

    def names(self) -> list[str]:
        """Every topic's name, dead letters included."""
        return list(self.by_name)

    def stored(self) -> list[str]:
        """The names of those that ingest-logger reads and stores."""
        return [name for name, topic in self.by_name.items() if topic.stored]

    def key(self, topic: str, event: Fields | AnyEvent) -> bytes | None:
        """The record key of an event: the values of the topic's key fields."""
        values = [
            event[field] if isinstance(event, Mapping) else getattr(event, field)
            for field in self.by_name[topic].key
        ]
        if isinstance(values[0], bytes | None):  # a dead letter has the key of its record
            return values[0]
        return "/".join(map(str, values)).encode()


def topic_of(event: AnyEvent) -> str:
    """The topic that an event belongs on."""
    return event.topic + DLQ if isinstance(event, DeadLetter) else event.TOPIC

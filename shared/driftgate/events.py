"""Events and the topics that carry them.

An event is a plain mapping with exactly the fields of its Avro subject (`schemas/<subject>/`);
the codec refuses any other shape, so the schema is the type.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

Event = Mapping[str, Any]

DLQ = ".dlq"
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


@dataclass(frozen=True, slots=True)
class Topic:
    """How one topic is kept. `retention_days` -1 keeps for ever."""

    name: str
    subject: str
    key: str
    partitions: int
    cleanup: str
    retention_days: int

    @property
    def settings(self) -> dict[str, str]:
        """Kafka's topic settings."""
        days = self.retention_days
        return {
            "cleanup.policy": self.cleanup,
            "retention.ms": str(-1 if days < 0 else days * DAY_MS),
        }


@dataclass(frozen=True, slots=True)
class Emit:
    """An event on its way to a topic."""

    topic: str
    event: Event


@dataclass(frozen=True, slots=True)
class Topics:
    """Every topic of `schemas/topics.yaml`, dead letters included."""

    by_name: Mapping[str, Topic]

    @classmethod
    def load(cls, schemas: Path) -> Topics:
        """Reads `topics.yaml` in the folder `schemas`."""
        declared = YAML(typ="safe").load((schemas / "topics.yaml").read_text())
        found: dict[str, Topic] = {}
        for name, own in declared["topics"].items():
            kept = {**declared["defaults"], **own}
            found[name] = Topic(
                name,
                kept["subject"],
                kept["key"],
                kept["partitions"],
                kept["cleanup"],
                kept["retention_days"],
            )
            if kept["dead_letters"]:
                dead = declared["dead_letter"]
                found[name + DLQ] = Topic(
                    name + DLQ, dead["subject"], "key", 1, "delete", dead["retention_days"]
                )
        return cls(found)

    def __getitem__(self, name: str) -> Topic:
        return self.by_name[name]

    def names(self) -> list[str]:
        """Every topic's name, dead letters included."""
        return list(self.by_name)

    def key(self, topic: str, event: Event) -> bytes | None:
        """The record key of an event: the value of the topic's key field."""
        value = event[self.by_name[topic].key]
        return value if isinstance(value, bytes | None) else str(value).encode()

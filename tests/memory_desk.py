"""What the desks of trainer and evaluator share: events in and out of a bus in memory, and the
promoter as they see it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from driftgate.bus_memory import MemoryBus
from driftgate.codec import Codec
from driftgate.events import Emit
from driftgate.runner import publish
from driftgate.topology import PROMOTER, READS
from services.promoter.rollout import Release, State


class MemoryDesk:
    """A bus with every topic."""

    def __init__(self, codec: Codec) -> None:
        self.codec, self.bus = codec, MemoryBus()
        self.bus.ensure(codec.topics.by_name.values())

    def send(self, emits: Iterable[Emit]) -> None:
        publish(self.bus.producer(), self.codec, list(emits))

    def read(self, topic: str) -> list[dict[str, Any]]:
        return [self.codec.decode(topic, record.value) for record in self.bus.read_all([topic])]

    def released(self, model: str, version: int, release: Release | None = None) -> None:
        """The promoter has brought a version to full traffic, and has nothing left to do."""
        known = {version: release} if release else {}
        state = State(model, epoch=version, champion=version, versions=known)
        self.send([Emit("rollouts", state.event())])
        self.promoted()

    def promoted(self) -> None:
        """The promoter has done all that stands on its topics."""
        self.bus.groups[PROMOTER].update(self.bus.ends(READS[PROMOTER]))

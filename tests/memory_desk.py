"""Events in and out of a bus in memory."""

from __future__ import annotations

from collections.abc import Iterable

from driftgate.bus_memory import MemoryBus
from driftgate.codec import Codec
from driftgate.events import Emit
from driftgate.runner import publish


class MemoryDesk:
    """A bus with every topic."""

    def __init__(self, codec: Codec) -> None:
        self.codec, self.bus = codec, MemoryBus()
        self.bus.ensure(codec.topics.by_name.values())

    def send(self, emits: Iterable[Emit]) -> None:
        publish(self.bus.producer(), self.codec, list(emits))

"""Follows topic `routing` in the background, for an app that decides in process."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping

from driftgate.bus import Bus, Position, Record
from driftgate.codec import Codec
from driftgate.dead_letters import UNHANDLED
from driftgate.errors import BadInput
from driftgate.events import Routing
from driftgate.routing import NotReady, check, contradiction, pick

# Pause between two looks at the topic, s: so late an app learns of a rollback, and a little more.
LOOK_SECONDS = 0.5
# Longest wait of the first decisions for the first look at the topic, s.
FIRST_SECONDS = 10.0

log = logging.getLogger(__name__)


class RoutingReader:
    """The routing of each model with the highest epoch on the topic.

    It belongs to no consumer group, so each process of an app sees all of the topic and leaves
    nothing behind on the broker. While Kafka is away, what was read last holds; where the topic was
    made anew, also what was read before, until the new topic names its model.

    Attributes:
        skipped: records passed over, since they cannot be decoded or routed by, or have an epoch
            that is not above the known one.
    """

    def __init__(self, bus: Bus, codec: Codec) -> None:
        self.skipped = 0
        self._bus = bus
        self._codec = codec
        self._before: Mapping[str, Routing] = {}
        self._routings: Mapping[str, Routing] = {}
        self._in_force: Mapping[str, Routing] = {}
        self._next: dict[Position, int] = {}
        self._why = "topic routing was not read yet"
        self._looked = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="driftgate-routing", daemon=True)
        self._thread.start()

    def routing(self, model: str) -> Routing:
        """What is in force for a model. Waits for the first look at the topic, and never again.

        Raises:
            NotReady: no routing was found yet; with the reason.
            NotServed: there is none for this model; names the nearest.
        """
        self._looked.wait(FIRST_SECONDS)
        routings = self._in_force
        if not routings:
            raise NotReady(f"no routing is known yet, try again later: {self._why}")
        return pick(routings, model)

    def close(self) -> None:
        """Returns once the thread has ended."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self.look()
                self._why = "topic routing has no record"
            except Exception as error:  # noqa: BLE001 - a thread that ends would freeze the routing
                self._explain(f"{type(error).__name__}: {error}")
            self._looked.set()
            self._closing.wait(LOOK_SECONDS)

    def _explain(self, why: str) -> None:
        if why != self._why:  # an outage is told once, not twice a second
            log.warning("topic %s: %s; looking again", Routing.TOPIC, why)
        self._why = why

    def look(self) -> None:
        """Takes what is new on the topic.

        Raises:
            BusUnavailable, RegistryUnavailable: look again.
        """
        ends = self._bus.ends((Routing.TOPIC,))
        if ends == self._next:
            return
        if any(at > ends.get(position, 0) for position, at in self._next.items()):
            self._begin_anew()
        for record in self._bus.read_all((Routing.TOPIC,), dict(self._next)):
            self._take(record)
            self._next[record.position] = record.offset + 1
        # No record stands at the offsets that compaction left empty.
        self._next |= {p: max(end, self._next.get(p, 0)) for p, end in ends.items()}

    def _begin_anew(self) -> None:
        """The topic is shorter than before: it was made anew, and so are its epochs."""
        log.warning("topic %s was made anew", Routing.TOPIC)
        self._before, self._routings, self._next = self._in_force, {}, {}

    def _take(self, record: Record) -> None:
        if record.value is None:  # a deleted key takes no model out of service
            return
        try:
            routing = Routing.of(self._codec.read(record.topic, record.value))
            check(routing)
            self._routings = with_newer(self._routings, routing)
            self._in_force = {**self._before, **self._routings}
        except BadInput as error:
            self.skipped += 1
            log.warning("%s offset %d passed over: %s", record.position, record.offset, error)


def with_newer(known: Mapping[str, Routing], routing: Routing) -> Mapping[str, Routing]:
    """The routings with one more. The same decision twice changes nothing.

    Raises:
        BadInput: its epoch is not above the known one, and it is another decision.
    """
    before = known.get(routing.model)
    if before is None or routing.epoch > before.epoch:
        return {**known, routing.model: routing}
    if differs := contradiction(before, routing):
        wanted = f"an epoch above {before.epoch} of {routing.model} ({differs})"
        raise BadInput(UNHANDLED, "epoch", routing.epoch, wanted)
    return known

"""What time it is in a system, for an app: as `runtime.clock` tells it to services, but followed in
the background, and without what services are made of."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from driftgate.bus import Bus
from driftgate.bus_tools import decoded
from driftgate.codec import Codec
from driftgate.events import Tick
from driftgate.machine_clock import machine_ms

# Between two looks at topic clock, s. Between ticks the time goes on at the pace that they tell.
LOOK_SECONDS = 5.0
# The client's calls take up to half a minute while Kafka is away; nobody waits for one that ends.
CLOSE_SECONDS = 1.0
# Enough to find the newest, though two clocks may write at once.
TICKS_LOOKED_AT = 8

log = logging.getLogger(__name__)


class SystemClock:
    """The time by the newest tick; by the machine's clock where nobody has written one, or none
    could be read yet.

    Args:
        machine: the machine's clock, ms.
    """

    def __init__(self, bus: Bus, codec: Codec, machine: Callable[[], int] = machine_ms) -> None:
        self._bus = bus
        self._codec = codec
        self._machine = machine
        # Time and pace of the newest tick, and when it was written: one value, for other threads.
        self._last: tuple[int, float, int] | None = None
        self._closing = threading.Event()
        self._look_again()
        self._thread = threading.Thread(target=self._run, name="driftgate-clock", daemon=True)
        self._thread.start()

    def now(self) -> int:
        """Milliseconds since 1970-01-01 UTC."""
        if self._last is None:
            return self._machine()
        time, pace, written = self._last
        return time + int(pace * max(0, self._machine() - written))

    def look(self) -> None:
        """Takes the newest tick.

        Raises:
            BusUnavailable, RegistryUnavailable: look again.
        """
        ends = self._bus.ends([Tick.TOPIC])
        since = {position: max(end - TICKS_LOOKED_AT, 0) for position, end in ends.items()}
        for record, tick in decoded(self._codec, self._bus.read_all([Tick.TOPIC], since)):
            if self._last is None or tick.time > self._last[0]:
                self._last = (tick.time, tick.pace, record.timestamp)

    def close(self) -> None:
        """Returns once the thread has ended, or waits for a bus that does not answer."""
        self._closing.set()
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        while not self._closing.wait(LOOK_SECONDS):
            self._look_again()

    def _look_again(self) -> None:
        try:
            self.look()
        except Exception as error:  # noqa: BLE001 - a thread that ends would let the time grow old
            log.warning("topic %s: %s; looking again", Tick.TOPIC, error)

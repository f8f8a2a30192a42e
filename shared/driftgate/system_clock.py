"""What time it is in a system: by the ticks on topic `clock`, and between them.

A tick says what the time is, and how fast it runs until the next one (`pace`): 1 where the clock is
the machine's, N on a paced one, 0 in a simulated world, where time stands still between ticks.
Whoever asks does not know which. Decisions are made at the ticks' own times.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from driftgate.bus import Bus
from driftgate.bus_tools import decoded
from driftgate.codec import Codec
from driftgate.events import Tick
from driftgate.machine_clock import machine_ms

# Enough to find the newest, though two clocks may write at once.
TICKS_LOOKED_AT = 8
# Between two looks at topic clock, s. Between ticks the time goes on at the pace that they tell.
LOOK_SECONDS = 5.0
# The client's calls take up to half a minute while Kafka is away; nobody waits for one that ends.
CLOSE_SECONDS = 1.0

log = logging.getLogger(__name__)


@dataclass
class Clock:
    """Follows ticks. It never goes back. One thread advances it; any may ask.

    Attributes:
        machine: the machine's clock, ms.
    """

    machine: Callable[[], int] = machine_ms
    # Time and pace of the last tick, and when it was written: one value, for those who ask.
    _last: tuple[int, float, int] = (0, 0.0, 0)

    def advance(self, tick: Tick, written: int) -> None:
        """A tick that was written at `written` of a machine's clock, ms."""
        if tick.time > self._last[0]:
            self._last = (tick.time, tick.pace, written)

    def now(self) -> int:
        """Milliseconds since 1970-01-01 UTC; 0 before the first tick."""
        time, pace, written = self._last
        return time + int(pace * max(0, self.machine() - written)) if time else 0


def look(clock: Clock, bus: Bus, codec: Codec) -> None:
    """Advances a clock to the newest tick, where there is one, and shows none of those before.

    Raises:
        BusUnavailable, RegistryUnavailable
    """
    ends = bus.ends([Tick.TOPIC])
    since = {position: max(end - TICKS_LOOKED_AT, 0) for position, end in ends.items()}
    found = list(decoded(codec, bus.read_all([Tick.TOPIC], since)))
    if found:
        record, tick = max(found, key=lambda one: one[1].time)
        clock.advance(tick, record.timestamp)


def system_time(bus: Bus, codec: Codec, machine: Callable[[], int] = machine_ms) -> int:
    """What time it is in a system, ms since 1970-01-01 UTC, for who is no service: by the newest
    tick, or by the machine's clock where nobody has written one.

    Raises:
        BusUnavailable
    """
    clock = Clock(machine)
    look(clock, bus, codec)
    return clock.now() or machine()


class SystemClock:
    """The time for an app, followed in the background: by the newest tick; by the machine's clock
    where nobody has written one, or none could be read yet.

    Args:
        machine: the machine's clock, ms.
    """

    def __init__(self, bus: Bus, codec: Codec, machine: Callable[[], int] = machine_ms) -> None:
        self._bus = bus
        self._codec = codec
        self._clock = Clock(machine)
        self._closing = threading.Event()
        self._look_again()
        self._thread = threading.Thread(target=self._run, name="driftgate-clock", daemon=True)
        self._thread.start()

    def now(self) -> int:
        """Milliseconds since 1970-01-01 UTC."""
        return self._clock.now() or self._clock.machine()

    def close(self) -> None:
        """Returns once the thread has ended, or waits for a bus that does not answer."""
        self._closing.set()
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        while not self._closing.wait(LOOK_SECONDS):
            self._look_again()

    def _look_again(self) -> None:
        try:
            look(self._clock, self._bus, self._codec)
        except Exception as error:  # noqa: BLE001 - a thread that ends would let the time grow old
            log.warning("topic %s: %s; looking again", Tick.TOPIC, error)

"""Sends what each version did to `serving.counts`, beside all else: Kafka may be away, or have no
such topic, and no answer waits for it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from threading import Thread
from time import monotonic, sleep

from driftgate.bus import Producer
from driftgate.codec import Codec
from driftgate.errors import DriftgateError
from driftgate.health import Log
from driftgate.machine_clock import machine_ms
from driftgate.runtime import Clock
from services.router.serving_counts import ERRORS_SECONDS, Counter

# Counts that are older are not worth sending: newer ones say all, s.
GIVE_UP_SECONDS = 2.0


@dataclass
class CountsSender:
    """A thread that asks `counter` what is due.

    Attributes:
        connect: makes a producer that tries for `GIVE_UP_SECONDS`.
    """

    counter: Counter
    connect: Callable[[], Producer]
    codec: Codec
    clock: Clock
    log: Log
    _producer: Producer | None = None

    def start(self) -> None:
        """In a thread that no ending process waits for."""
        Thread(target=self.run, name="counts", daemon=True).start()

    def run(self) -> None:
        """Until the process ends."""
        while True:
            sleep(ERRORS_SECONDS)
            try:
                self.send()
            except DriftgateError as error:
                self.log.warning("counts not sent", error=str(error))
                self.begin_anew()
            except Exception as error:  # noqa: BLE001 - a thread that ends would hide all errors
                self.log.error("counts not sent", error=repr(error))
                self.begin_anew()

    def begin_anew(self) -> None:
        """A client that gave up may never send again. What it was given is told once more."""
        self.counter.untold()
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(DriftgateError):
                producer.close()

    def send(self) -> None:
        """What is due by now.

        Raises:
            BusUnavailable, BusRefused: it did not arrive.
        """
        events = list(self.counter.due(monotonic(), self.clock.now() or machine_ms()))
        if not events:
            return
        self._producer = self._producer or self.connect()
        for event in events:
            self._producer.send(*self.codec.record(event))
        self._producer.flush()

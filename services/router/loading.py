"""Puts a routing record into service beside the loop that follows them: a base that takes minutes
to come, or artifacts that are away, hold up no other model, and a newer record of the same model
passes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from threading import Event, Thread
from time import monotonic

from driftgate import metrics
from driftgate.errors import Retriable
from driftgate.events import Routing
from driftgate.health import Log
from driftgate.runtime.backoff import Backoff

# So long an outage holds a record up before the router says that it refuses it, s: a store that
# restarts is back before. It goes on trying.
OUTAGE_SECONDS = 60.0


@dataclass
class Load:
    """One record on its way into service. Outages are waited for until a newer record comes.

    Attributes:
        serve: puts it into service, or raises why not; calls what it is given once requests are
            answered by it, though more is to be loaded.
    """

    routing: Routing
    serve: Callable[[Routing, Callable[[], object]], object]
    log: Log
    _answers: Event = field(default_factory=Event)
    _done: Future[None] = field(default_factory=Future)
    _superseded: Event = field(default_factory=Event)
    _begun: float = field(default_factory=monotonic)
    _outage: Retriable | None = None

    def start(self) -> Load:
        """In a thread that no ending process waits for."""
        self._done.add_done_callback(lambda _: self._answers.set())
        Thread(target=self._run, name=f"load-{self.routing.model}", daemon=True).start()
        return self

    def wait(self, seconds: float) -> None:
        """Until it is done, but no longer than that."""
        wait((self._done,), seconds)

    def wait_for_answers(self, seconds: float) -> None:
        """Until requests are answered by it, or it is refused, but no longer than that."""
        self._answers.wait(seconds)

    def supersede(self) -> None:
        """A newer record came: this one is not tried again."""
        self._superseded.set()

    @property
    def running(self) -> bool:
        return not self._done.done()

    @property
    def error(self) -> BaseException | None:
        """Why it cannot be served; None also while that is not known."""
        return None if self.running else self._done.exception()

    @property
    def outage(self) -> Retriable | None:
        """What it waits for, once that takes too long for the record to count as loading."""
        late = self.running and monotonic() - self._begun >= OUTAGE_SECONDS
        return self._outage if late else None

    def _run(self) -> None:
        backoff = Backoff()
        while not self._superseded.is_set():
            try:
                self.serve(self.routing, self._answers.set)
            except Retriable as error:
                self._outage = error
                self._superseded.wait(self._again(error, backoff))
            except Exception as error:  # noqa: BLE001 - whatever it is, the record is refused for it
                self._done.set_exception(error)
                return
            else:
                self._done.set_result(None)
                return

    def _again(self, error: Retriable, backoff: Backoff) -> float:
        """Seconds until the next try."""
        model, epoch, pause = self.routing.model, self.routing.epoch, backoff.next("load")
        metrics.RETRIES.labels(type(error).__name__).inc()
        self.log.warning("waits", model=model, epoch=epoch, seconds=pause, error=str(error))
        return pause

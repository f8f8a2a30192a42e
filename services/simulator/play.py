"""Plays a world against a running system, as production apps would: the launch, then day by day.

At each day's border the world waits until the system is quiescent, so a run is repeatable, however
fast or slow the machine is. `paced` plays without waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from driftgate.artifacts import Artifacts
from driftgate.bus import Bus, Producer
from driftgate.bus_tools import newest, publish
from driftgate.codec import Codec
from driftgate.errors import BadConfig, Retriable, Terminal
from driftgate.events import AnyEvent, Command, Model, Routing, Tick
from driftgate.labelled.rows import Row
from driftgate.model_repo import ModelRepo
from driftgate.router_pb import router_pb2
from driftgate.runtime.ticker import Ticker
from driftgate.scaffold import launch
from driftgate.tasks import task_of
from services.simulator.feedback_model import (
    AnsweredRequest,
    FeedbackProfile,
    asker,
    feedback_on,
)
from services.simulator.kinds import Kind, kind_of
from services.simulator.ledger import Ledger
from services.simulator.profiles import Mix, on
from services.simulator.quiescence import Quiescence
from services.simulator.reviewers import reviews_on
from services.simulator.router_calls import RequestRefusedError, RouterCalls
from services.simulator.world import World

CONNECTIONS = 4
IN_FLIGHT = 32
# A service that was killed is back within this time, or the world gives up.
PATIENCE_SECONDS = 180.0
# A day with more refused requests than this ends the world; one alone never does.
MOST_REFUSED = 0.01


class PlayFailedError(Terminal):
    """A world ended before its last day; the message says why, with the system's own reasons."""


class PlayStoppedError(Retriable):
    """A world ended early since something was away or too slow: another time it may be played."""


class LaunchFailedError(PlayFailedError):
    """No version came out of the launch data."""


class TooManyRefusedError(PlayFailedError):
    """The router refused more of a day's requests than can be left out."""


@dataclass(frozen=True, slots=True)
class Drill:
    """A fault rehearsed on purpose, on the morning of a played day."""

    day: int
    fault: str


@dataclass(frozen=True, slots=True)
class Day:
    """What happened on one played day, for those who watch. known: answers whose label had had
    feedback before."""

    number: int
    answers: int
    right: int
    version: int
    known: int


@dataclass
class Player:
    """One world, one model, one system.

    Attributes:
        WAITS_FOR_LOG: a request is answered once Kafka has its log, so that a day's border comes
            after it.
        router: address of the router, host:port.
        users: how users say what they make of answers; reviewers look at the repo's sample.
        reading: how the file of the world was read, see `driftgate.labelled.findings`.
        watch: called with each day that is over.
    """

    WAITS_FOR_LOG: ClassVar[bool] = True

    world: World
    repo: ModelRepo
    repo_uri: str
    bus: Bus
    codec: Codec
    artifacts: Artifacts
    router: str
    quiescence: Quiescence
    users: Sequence[FeedbackProfile] = (FeedbackProfile(),)
    seed: int = 7
    drills: Sequence[Drill] = ()
    reading: Mapping[str, Any] | None = None
    watch: Callable[[Day], None] = lambda _: None
    kind: Kind = field(init=False)
    ledger: Ledger = field(init=False)
    _producer: Producer = field(init=False)
    _ticker: Ticker = field(init=False)

    def __post_init__(self) -> None:
        self.kind = kind_of(task_of(self.repo.config.task), self.world.labels)
        self.ledger = Ledger(self.kind.known(row.label for row in self.world.launch))

    @property
    def model(self) -> str:
        return self.repo.config.model

    @property
    def mix(self) -> Mix:
        """Who gives feedback: users as told, reviewers as the model repo declares."""
        return on(self.repo.config, Mix(tuple(self.users)))

    @property
    def never_named(self) -> set[str]:
        """Labels of the world that nobody named."""
        return self.ledger.known.never_named(self.world.labels)

    def play(self) -> None:
        """The whole world: launch, then every day.

        Raises:
            LaunchFailedError, TooManyRefusedError
            NotQuiescentError, BusUnavailable, RouterUnavailable
            BadConfig: the system's clock is past the world's start.
        """
        self._producer = self.bus.producer()
        self._ticker = Ticker(self.bus, self.codec, self.world.name, pace=0)
        try:
            self.launch()
            self.days()
        finally:
            self._ticker.close()
            self._producer.close()

    def launch(self) -> None:
        """Declares the model, hands over the launch data, and waits for the first version."""
        start = self.world.start
        ticks = newest(self.bus, self.codec, Tick).values()
        if any(tick.time > start for tick in ticks):
            raise BadConfig(
                "this system has already lived past the world's first day: play it on an empty "
                "one, such as `driftgate up --clock world --state NEW_FOLDER` starts"
            )
        declaration = Model(
            model=self.model,
            repo_hash=self.repo.hash,
            repo_uri=self.repo_uri,
            actor="simulate",
            time=start,
        )
        rows = seed_file(self.world, self.model, task_of(self.repo.config.task).field)
        seed_uri = launch.put(self.artifacts, rows, self.reading)
        self._ticker.write(start)
        self.send(declaration)
        self.retrain("launch", start, {"reason": "launch", "seed_uri": seed_uri})
        self.quiescence.of_all()
        if self.model not in newest(self.bus, self.codec, Routing):
            raise LaunchFailedError(
                f"the launch data of {len(self.world.launch):,} rows led to no version"
            )

    def days(self) -> None:
        """Every day, one after the other."""
        with self.connected(PATIENCE_SECONDS, IN_FLIGHT) as (router, threads):
            for number in range(len(self.world.days)):
                self.watch(self.day(number, router, threads))

    def day(self, number: int, router: RouterCalls, threads: Executor) -> Day:
        """One day: drills, requests in the order of time, feedback that is due, border."""
        for drill in self.drills:
            if drill.day == number:
                self.rehearse(drill)
                self.quiescence.of_all()
        self.ask(number, router, threads)
        end = self.world.end_of(number)
        due = self.ledger.due(end)
        self.send(*due)
        self.ledger.sent(due)
        self.quiescence.of_ingestion()
        self._ticker.write(end)
        self.quiescence.of_all()
        return self.summary(number)

    def ask(self, number: int, router: RouterCalls, threads: Executor) -> None:
        """Sends a day's requests, in order, a bounded number at a time.

        Raises:
            TooManyRefusedError: more of them were refused than can be left out.
            RouterUnavailable
        """
        rows = self.world.days[number]
        replies = threads.map(lambda n: self.reply(number, n, router), range(len(rows)))
        refused = []
        for reply in replies:
            if isinstance(reply, RequestRefusedError):
                refused.append(str(reply))
                self.ledger.refuse(str(reply))
            else:
                self.note(reply)
        if len(refused) > max(1, MOST_REFUSED * len(rows)):
            raise TooManyRefusedError(
                f"the router refused {len(refused)} of {len(rows)} requests of day "
                f"{number + 1}; the first: {refused[0]}"
            )

    def reply(
        self, day: int, place: int, router: RouterCalls
    ) -> AnsweredRequest | RequestRefusedError:
        """What becomes of the request at a place of a day.

        Raises:
            RouterUnavailable
        """
        row = self.world.days[day][place]
        name = request_id(self.model, day, place)
        subject = asker(row.subject or "", name, self.users, self.seed)
        request = router_pb2.PredictRequest(
            model=self.model,
            text=row.text,
            request_id=name,
            subject=subject,
            slices=row.slices,
            time_ms=row.time,
            wait_for_log=self.WAITS_FOR_LOG,
        )
        try:
            found = router.predict(request)
        except RequestRefusedError as error:
            return error
        return AnsweredRequest(
            name,
            day,
            row.time or 0,
            row.label,
            found.label,
            self.kind.right(found.label, row.label),
            found.version,
            subject,
        )

    def note(self, request: AnsweredRequest) -> None:
        """Notes an answer, and all that will be said of it."""
        said = [
            feedback
            for profile in self.users
            for feedback in feedback_on(request, self.model, self.kind, profile, self.seed)
        ]
        said += reviews_on(request, self.model, self.kind, self.repo.config.review, self.seed)
        self.ledger.answered(request, said)

    def summary(self, number: int) -> Day:
        """A day that is over."""
        asked = self.ledger.day(number)
        known = self.ledger.known
        return Day(
            number,
            len(asked),
            sum(request.right for request in asked),
            asked[-1].version if asked else 0,
            sum(known.at(request.truth, request.time) for request in asked),
        )

    def rehearse(self, drill: Drill) -> None:
        """Orders the training that a drill spoils."""
        begin = self.world.end_of(drill.day - 1)
        self.retrain(f"drill-{drill.day}", begin, {"drill": drill.fault})

    def retrain(self, name: str, time: int, args: Mapping[str, str]) -> None:
        """Orders a version."""
        command = Command(
            command_id=f"{self.model}-{name}",
            model=self.model,
            kind="retrain",
            args=dict(args),
            actor="simulate",
            reason=name,
            time=time,
        )
        self.send(command)

    def send(self, *events: AnyEvent) -> None:
        """
        Raises:
            BusUnavailable: it is not acknowledged in time.
        """
        publish(self._producer, self.codec, events)

    @contextmanager
    def connected(
        self, patience_seconds: float | None, in_flight: int
    ) -> Iterator[tuple[RouterCalls, Executor]]:
        """Connections to the router, and threads that use them. Whatever ends this ends what is
        under way."""
        router = RouterCalls(self.router, CONNECTIONS, patience_seconds, self.ledger.retry)
        threads = ThreadPoolExecutor(in_flight, "requests")
        try:
            yield router, threads
        finally:
            router.close()
            threads.shutdown(wait=False, cancel_futures=True)


def request_id(model: str, day: int, place: int) -> str:
    """Of the request at a place of a played day, both counted from 0."""
    return f"{model}-{day:03d}-{place:04d}"


def seed_file(world: World, model: str, target: str) -> bytes:
    """The launch data, one JSON object a line. target: what the task calls its targets."""
    return launch.lines(launch_rows(world, model), target)


def launch_rows(world: World, model: str) -> list[Row]:
    """The launch data under the ids by which they are found again."""
    return [
        replace(row, id=row.id or f"{model}-launch-{number:05d}")
        for number, row in enumerate(world.launch)
    ]

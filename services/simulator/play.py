"""Plays a world against a running system, day by day, as production apps would.

At each day's border the world waits until every service has caught up and open work is done, so a
run is repeatable, however fast or slow the machine is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import grpc
from tenacity import retry, retry_if_exception, stop_after_delay, wait_random_exponential

from driftgate.artifacts import Artifacts
from driftgate.bus import Bus
from driftgate.codec import Codec
from driftgate.errors import BadConfig, Retriable, RouterUnavailable, Terminal
from driftgate.events import Emit, Event
from driftgate.labelled.rows import Row
from driftgate.model_repo import ModelRepo
from driftgate.router_pb import router_pb2, router_pb2_grpc
from driftgate.runner import newest, publish
from driftgate.scaffold import launch
from services.simulator.people import Answered, Habits, feedback, sending_order
from services.simulator.scoring import Heard, Truth
from services.simulator.settle import Settler
from services.simulator.world import World

IN_FLIGHT = 32
CALL_SECONDS = 30
# A service that was killed is back within this time, or the world gives up.
RETRY_SECONDS = 180
# A day with more refused requests than this ends the world; one alone never does.
MOST_REFUSED = 0.01
AGAIN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


class PlayFailedError(Terminal):
    """A world ended before its last day; the message says why, with the system's own reasons."""


class PlayStoppedError(Retriable):
    """A world ended early since something was away or too slow: another time it may be played."""


class LaunchFailedError(PlayFailedError):
    """No version came out of the launch data."""


class AnswerRefusedError(PlayFailedError):
    """The router refused a request, or more of a day's requests than can be left out."""


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
    feedback: int
    version: int
    known: int


@dataclass
class Player:
    """One world, one model, one system.

    Attributes:
        reading: how the file of the world was read, see `driftgate.labelled.findings`.
        refused: what the router said of each request that it did not answer.
    """

    world: World
    repo: ModelRepo
    repo_uri: str
    bus: Bus
    codec: Codec
    artifacts: Artifacts
    router: str
    settler: Settler
    habits: Habits = field(default_factory=Habits)
    seed: int = 7
    drills: Sequence[Drill] = ()
    reading: Mapping[str, Any] | None = None
    watch: Callable[[Day], None] = lambda _: None
    truths: dict[str, Truth] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    _waiting: list[dict[str, Any]] = field(default_factory=list)

    @property
    def model(self) -> str:
        return self.repo.config.model

    def play(self) -> None:
        """The whole world: launch, then every day.

        Raises:
            LaunchFailedError, AnswerRefusedError
            NotSettledError, BusUnavailable, RouterUnavailable
            BadConfig: the system's clock is past the world's start.
        """
        self._producer = self.bus.producer()
        self._heard = Heard.at_launch(row.label for row in self.world.launch)
        try:
            self.launch()
            self.days()
        finally:
            self._producer.close()

    def days(self) -> None:
        """Every day. The event loop runs only while requests are under way: Ctrl-C would not end
        what waits inside of it."""
        with asyncio.Runner() as loop:
            channel = loop.run(connected(self.router))
            try:
                stub = router_pb2_grpc.RouterStub(channel)
                for number in range(len(self.world.days)):
                    self.watch(self.day(number, lambda day: loop.run(self.ask(day, stub))))
            finally:
                loop.run(channel.close())

    def launch(self) -> None:
        """Declares the model, hands over the launch data, and waits for the first version."""
        start = self.world.start
        ticks = newest(self.bus, self.codec, "clock").values()
        if any(tick["time"] > start for tick in ticks):
            raise BadConfig(
                "this system has already lived past the world's first day: play it on an empty "
                "one, such as `driftgate up --clock world --state NEW_FOLDER` starts"
            )
        declared = {
            "model": self.model,
            "repo_hash": self.repo.hash,
            "repo_uri": self.repo_uri,
            "actor": "simulate",
            "time": start,
        }
        seed_uri = launch.put(self.artifacts, seed_file(self.world, self.model), self.reading)
        self.send("clock", {"world": self.world.name, "time": start, "positions": {}})
        self.send("models", declared)
        self.command("retrain", "launch", start, {"reason": "launch", "seed_uri": seed_uri})
        self.settler.all()
        if self.model not in newest(self.bus, self.codec, "routing"):
            raise LaunchFailedError(
                f"the launch data of {len(self.world.launch):,} rows led to no version"
            )

    def day(self, number: int, ask: Callable[[int], tuple[list[Answered], int]]) -> Day:
        """One day: drills, requests in the order of time, feedback that is due, border."""
        for drill in self.drills:
            if drill.day == number:
                begin = self.world.end_of(number - 1)
                self.command("retrain", f"drill-{number}", begin, {"drill": drill.fault})
                self.settler.all()
        asked, version = ask(number)
        labels = self.repo.config.task.labels
        for one in asked:
            event = feedback(one, self.model, labels, self.habits, self.seed)
            if event:
                self._waiting.append(event)
                self._heard.add(one.truth, event)
        known = [self._heard.knows(one.truth, one.time) for one in asked]
        for one, is_known in zip(asked, known, strict=True):
            self.truths[one.request_id] = Truth(number // 7 + 1, one.truth, is_known)
        end = self.world.end_of(number)
        due = [event for event in self._waiting if event["time"] < end]
        self._waiting = [event for event in self._waiting if event["time"] >= end]
        self.send("feedback", *sending_order(due, self.seed + number))
        self.border(end)
        right = sum(a.answer == a.truth for a in asked)
        return Day(number, len(asked), right, len(due), version, sum(known))

    def border(self, end: int) -> None:
        """Ends the day: what was sent is stored, then time moves, then all it leads to is done."""
        self.settler.stored()
        ends = self.bus.ends(["inferences", "outcomes"])
        positions = {str(position): offset for position, offset in ends.items()}
        self.send("clock", {"world": self.world.name, "time": end, "positions": positions})
        self.settler.all()

    async def ask(self, number: int, stub: Any) -> tuple[list[Answered], int]:
        """Sends a day's requests, in order, a bounded number at a time.

        Raises:
            AnswerRefusedError: more of them were refused than can be left out.
            RouterUnavailable
        """
        gate = asyncio.Semaphore(IN_FLIGHT)

        async def one(place: int) -> tuple[Answered, int] | AnswerRefusedError:
            row = self.world.days[number][place]
            request_id = f"{self.model}-{number:03d}-{place:04d}"
            request = router_pb2.PredictRequest(
                model=self.model,
                text=row.text,
                request_id=request_id,
                subject=row.subject or "",
                slices=row.slices,
                time_ms=row.time,
            )
            async with gate:
                try:
                    reply = await answered(stub, request)
                except AnswerRefusedError as error:
                    return error
            return Answered(request_id, row.time or 0, row.label, reply.label), reply.version

        replies = await asyncio.gather(*(one(n) for n in range(len(self.world.days[number]))))
        done = [reply for reply in replies if isinstance(reply, tuple)]
        refused = [str(reply) for reply in replies if isinstance(reply, AnswerRefusedError)]
        self.refused += refused
        if len(refused) > max(1, MOST_REFUSED * len(replies)):
            raise AnswerRefusedError(
                f"the router refused {len(refused)} of {len(replies)} requests of day "
                f"{number + 1}; the first: {refused[0]}"
            )
        return [asked for asked, _ in done], (done[-1][1] if done else 0)

    def command(self, kind: str, name: str, time: int, args: Mapping[str, str]) -> None:
        self.send(
            "commands",
            {
                "command_id": f"{self.model}-{name}",
                "model": self.model,
                "kind": kind,
                "version": None,
                "args": dict(args),
                "actor": "simulate",
                "reason": name,
                "time": time,
            },
        )

    def send(self, topic: str, *events: Event) -> None:
        publish(self._producer, self.codec, [Emit(topic, event) for event in events])


async def connected(address: str) -> grpc.aio.Channel:
    """A channel that belongs to the event loop that runs."""
    return grpc.aio.insecure_channel(address)


@retry(
    retry=retry_if_exception(lambda e: isinstance(e, grpc.RpcError) and e.code() in AGAIN),
    wait=wait_random_exponential(multiplier=0.05, max=1),
    stop=stop_after_delay(RETRY_SECONDS),
    reraise=True,
)
async def predict(stub: Any, request: router_pb2.PredictRequest) -> router_pb2.PredictReply:
    """One answer; asked again under the same id when the router is away."""
    return await stub.Predict(request, timeout=CALL_SECONDS, wait_for_ready=True)


async def answered(stub: Any, request: router_pb2.PredictRequest) -> router_pb2.PredictReply:
    """One answer.

    Raises:
        AnswerRefusedError: the router says that the request cannot be answered.
        RouterUnavailable: it says nothing.
    """
    try:
        return await predict(stub, request)
    except grpc.RpcError as error:
        place, why = f"request {request.request_id}", error.details()
        if error.code() in AGAIN:
            raise RouterUnavailable(
                f"{place}: the router did not answer in {RETRY_SECONDS} s: {why}"
            ) from error
        raise AnswerRefusedError(f"{place}: {why}") from error


def seed_file(world: World, model: str) -> bytes:
    """The launch data, one JSON object a line."""
    return launch.lines(launch_rows(world, model))


def launch_rows(world: World, model: str) -> list[Row]:
    """The launch data under the ids that they are told by."""
    return [
        replace(row, id=row.id or f"{model}-launch-{number:05d}")
        for number, row in enumerate(world.launch)
    ]

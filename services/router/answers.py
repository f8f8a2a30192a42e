"""What becomes of a batch of requests: which versions are asked, and what is logged of what they
say. The version that is heard comes first; its shadows are asked afterwards, or with it where the
request waits for the log anyway. Pure, but for the engines' computing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from driftgate.engines import Prediction, Predictor
from driftgate.errors import Terminal
from driftgate.events import Inference, Role, Routing
from driftgate.features import features_of
from driftgate.routing import Arm, Choice, NotServed, choose, pick, sticky_key
from services.router.predictions import Unusable, check
from services.router.requests import Request
from services.router.snapshot import Served, Snapshot


class VersionFailed(Terminal):
    """A version could not compute an answer.

    Attributes:
        later: who is to try the same yet, so that what breaks all is not blamed on who was heard.
    """

    def __init__(
        self, routing: Routing, version: int, role: Role, error: Exception, key: str
    ) -> None:
        super().__init__(
            f"{routing.model}@{version} cannot answer: {type(error).__name__}: {error}"
        )
        self.routing = routing
        self.version = version
        self.role = role
        self.key = key
        self.later: Unheard | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """A request on its way.

    Attributes:
        arrived: when it came, s of a monotonic clock.
        waits_for_log: it is answered only once Kafka has its log and that of its shadows.
    """

    request: Request
    arrived: float
    waits_for_log: bool = False


@dataclass(frozen=True, slots=True)
class Routed:
    """An ask and who answers it."""

    ask: Ask
    served: Served
    choice: Choice

    @property
    def key(self) -> str:
        """What keeps its version."""
        request = self.ask.request
        return sticky_key(self.served.routing, request.request_id, request.subject)

    @property
    def first(self) -> tuple[Arm, ...]:
        """Who is asked before the reply."""
        together = self.choice.shadows if self.ask.waits_for_log else ()
        return (self.choice.live, *together)

    @property
    def later(self) -> tuple[Arm, ...]:
        """Who is asked after it."""
        return () if self.ask.waits_for_log else self.choice.shadows


@dataclass(frozen=True, slots=True)
class Unheard:
    """A request whose shadows are to answer yet.

    Attributes:
        waited: how long the request waited until the heard answer was begun, s. A shadow's latency
            is told as if it had been heard: with this wait, and not with its own.
    """

    routed: Routed
    waited: float


@dataclass(frozen=True, slots=True)
class Logged:
    """What some versions said to a request, as it is logged, and who of them could not."""

    routed: Routed
    events: tuple[Inference, ...]
    failed: tuple[VersionFailed, ...]


@dataclass(frozen=True, slots=True)
class Answered:
    """The live answer to a request, what must be durable before it is given, and who is to answer
    yet."""

    said: Prediction
    logged: Logged
    later: Unheard | None

    @property
    def choice(self) -> Choice:
        return self.logged.routed.choice


def route(snapshot: Snapshot, ask: Ask) -> Routed | NotServed:
    """Who answers, or why nobody does."""
    request = ask.request
    try:
        served = pick(snapshot, request.model)
        choice = choose(served.routing, request.request_id, request.subject, request.slices)
    except NotServed as error:
        return error
    return Routed(ask, served, choice)


def answer(
    snapshot: Snapshot, asks: Sequence[Ask], now: Callable[[], float]
) -> list[Answered | NotServed | VersionFailed]:
    """What becomes of each ask, in order. `now` is the clock of `Ask.arrived`."""
    begun = now()
    routes = [route(snapshot, ask) for ask in asks]
    said = iter(said_by([(one, one.first) for one in routes if isinstance(one, Routed)]))
    done = now()
    return [
        answered(one, next(said), begun, done) if isinstance(one, Routed) else one for one in routes
    ]


def answer_unheard(waiting: Sequence[Unheard], now: Callable[[], float]) -> list[Logged]:
    """What the shadows of each request say, in order."""
    begun = now()
    asked = [
        (one.routed, [arm for arm in one.routed.later if is_held(one, arm)]) for one in waiting
    ]
    said = said_by(asked)
    took = now() - begun
    return [
        logged(one.routed, arms, answers, one.waited + took)
        for one, (_, arms), answers in zip(waiting, asked, said, strict=True)
    ]


def is_held(unheard: Unheard, arm: Arm) -> bool:
    """Whether a version is in memory still: another epoch may be served meanwhile."""
    return arm.digest in unheard.routed.served.predictor(arm).resident()


Said = Sequence[Prediction | Exception]


def said_by(asked: Sequence[tuple[Routed, Sequence[Arm]]]) -> list[Said]:
    """What the given versions say to each request, in order. All versions of one base are asked at
    once, so that they share their common work."""
    texts: dict[Predictor, dict[str, list[str]]] = {}
    for one, arms in asked:
        for arm in arms:
            of_engine = texts.setdefault(one.served.predictor(arm), {})
            of_engine.setdefault(arm.digest, []).append(one.ask.request.text)
    said = {
        (engine, digest): iter(answers)
        for engine, of_engine in texts.items()
        for digest, answers in computed(engine, of_engine).items()
    }
    return [
        [next(said[one.served.predictor(arm), arm.digest]) for arm in arms] for one, arms in asked
    ]


def computed(engine: Predictor, asked: Mapping[str, Sequence[str]]) -> Mapping[str, Said]:
    """Each version's answers to its texts, or the error in place of one. After an error every
    version is asked alone, and then every text, so that only those fail that are at fault."""
    try:
        return {
            digest: [checked(one) for one in said]
            for digest, said in engine.predict_many(asked).items()
        }
    except Exception as error:  # noqa: BLE001 - whatever it was, it must stay where it arose
        if sum(map(len, asked.values())) == 1:
            return {digest: [error] for digest in asked}
    if len(asked) > 1:
        return {digest: computed(engine, {digest: asked[digest]})[digest] for digest in asked}
    ((digest, texts),) = asked.items()
    return {digest: [computed(engine, {digest: [text]})[digest][0] for text in texts]}


def checked(said: Prediction) -> Prediction | Exception:
    """An answer, or why it is none: it fails its own request and no other of the batch."""
    try:
        check(said)
    except Unusable as error:
        return error
    return said


def answered(routed: Routed, said: Said, begun: float, done: float) -> Answered | VersionFailed:
    """The reply and the log of one request. `said` is in the order of `routed.first`."""
    arrived = routed.ask.arrived
    log = logged(routed, routed.first, said, done - arrived)
    live, later = said[0], Unheard(routed, begun - arrived) if routed.later else None
    if isinstance(live, Exception):
        failure = log.failed[0]
        failure.later = later
        return failure
    return Answered(live, log, later)


def logged(routed: Routed, arms: Sequence[Arm], said: Said, seconds: float) -> Logged:
    """The log of what some versions said to a request, and how long it took them."""
    events: list[Inference] = []
    failed: list[VersionFailed] = []
    for arm, one in zip(arms, said, strict=True):
        role: Role = "live" if arm is routed.choice.live else "shadow"
        if isinstance(one, Exception):
            failed.append(VersionFailed(routed.served.routing, arm.version, role, one, routed.key))
        else:
            events.append(inference(routed, arm, role, one, seconds * 1000))
    return Logged(routed, tuple(events), tuple(failed))


def inference(routed: Routed, arm: Arm, role: Role, said: Prediction, latency: float) -> Inference:
    """The event of one version's answer. `latency` in ms."""
    request = routed.ask.request
    return Inference(
        request_id=request.request_id,
        model=request.model,
        version=arm.version,
        digest=arm.digest,
        base=arm.base,
        base_digest=arm.base_digest,
        task=arm.task,
        role=role,
        input=request.text if routed.served.repo.data.keep_text else None,
        input_hash=hashlib.sha256(request.text.encode()).hexdigest(),
        features=features_of(request.text, said.features),
        slices=dict(request.slices),
        output=said.output,
        confidence=said.confidence,
        latency_ms=latency,
        tokens=said.tokens,
        cost=0.0,
        subject=request.subject or None,
        epoch=routed.choice.epoch,
        propensity=arm.propensity,
        time=request.time,
    )

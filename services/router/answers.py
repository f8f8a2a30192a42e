"""Answers a batch: which versions are asked, and what is logged of what they say. Pure, but for
the engines' computing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from driftgate.engines import Engine, Prediction
from driftgate.errors import Terminal
from driftgate.events import Inference, Role
from driftgate.features import features_of
from driftgate.routing import Arm, Choice, NotServed, choose, pick
from services.router.requests import Request
from services.router.snapshot import Served, Snapshot


class VersionFailed(Terminal):
    """A version could not compute an answer."""

    def __init__(self, model: str, version: int, role: Role, error: Exception) -> None:
        super().__init__(f"{model}@{version} cannot answer: {type(error).__name__}: {error}")
        self.model = model
        self.version = version
        self.role = role


@dataclass(frozen=True, slots=True)
class Ask:
    """A request on its way. arrived: when it came, s of a monotonic clock."""

    request: Request
    arrived: float


@dataclass(frozen=True, slots=True)
class Routed:
    """An ask and who answers it: first the version that is heard, then its shadows."""

    ask: Ask
    served: Served
    choice: Choice

    @property
    def arms(self) -> tuple[Arm, ...]:
        return (self.choice.live, *self.choice.shadows)


@dataclass(frozen=True, slots=True)
class Answered:
    """The live answer to a request, the events that must be durable before it is given, and the
    shadows that gave none."""

    said: Prediction
    live: Arm
    epoch: int
    events: tuple[Inference, ...]
    failed: tuple[VersionFailed, ...]


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
    """What becomes of each ask, in order. All versions of one base are asked at once, so that
    they share their common work. `now` is the clock of `Ask.arrived`."""
    routes = [route(snapshot, ask) for ask in asks]
    asked: dict[Engine, dict[str, list[str]]] = {}
    for one in routes:
        if isinstance(one, Routed):
            for arm in one.arms:
                texts = asked.setdefault(one.served.engine(arm), {})
                texts.setdefault(arm.digest, []).append(one.ask.request.text)
    said = {
        (engine, digest): iter(answers)
        for engine, texts in asked.items()
        for digest, answers in computed(engine, texts).items()
    }
    done = now()
    return [
        answered(one, [next(said[one.served.engine(arm), arm.digest]) for arm in one.arms], done)
        if isinstance(one, Routed)
        else one
        for one in routes
    ]


def computed(
    engine: Engine, asked: Mapping[str, Sequence[str]]
) -> Mapping[str, Sequence[Prediction | Exception]]:
    """Each version's answers to its texts, or the error in place of one. After an error every
    version is asked alone, and then every text, so that only those fail that are at fault."""
    try:
        return engine.predict_many(asked)
    except Exception as error:  # noqa: BLE001 - whatever it was, it must stay where it arose
        if sum(map(len, asked.values())) == 1:
            return {digest: [error] for digest in asked}
    if len(asked) > 1:
        return {digest: computed(engine, {digest: asked[digest]})[digest] for digest in asked}
    ((digest, texts),) = asked.items()
    return {digest: [computed(engine, {digest: [text]})[digest][0] for text in texts]}


def answered(
    routed: Routed, said: Sequence[Prediction | Exception], done: float
) -> Answered | VersionFailed:
    """The reply and the log of one request. `said` is in the order of `routed.arms`."""
    latency = (done - routed.ask.arrived) * 1000
    events: list[Inference] = []
    failed: list[VersionFailed] = []
    role: Role = "live"
    for arm, one in zip(routed.arms, said, strict=True):
        if isinstance(one, Exception):
            failed.append(VersionFailed(routed.ask.request.model, arm.version, role, one))
        else:
            events.append(inference(routed, arm, role, one, latency))
        role = "shadow"
    live = said[0]
    if isinstance(live, Exception):
        return failed[0]
    return Answered(live, routed.choice.live, routed.choice.epoch, tuple(events), tuple(failed))


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
        input=request.text if routed.served.data.keep_text else None,
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

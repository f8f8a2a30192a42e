"""Answers a batch: which versions are asked, and what is logged of what they say. Pure, but for
the engines' computing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from driftgate.events import Event, Routing
from driftgate.features import features_of
from driftgate.routing import Arm, Choice, NotServed, choose, pick
from services.router.requests import Request
from services.router.snapshot import Answer, Engine, Served, Snapshot

LIVE = "live"
SHADOW = "shadow"


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
    """The live answer to a request, and the events that must be durable before it is given."""

    said: Answer
    live: Arm
    epoch: int
    events: tuple[Event, ...]


def route(snapshot: Snapshot, ask: Ask) -> Routed | NotServed:
    """Who answers, or why nobody does."""
    request = ask.request
    try:
        served = pick(snapshot, request.model)
        routing = Routing.of(served.routing)
        choice = choose(routing, request.request_id, request.subject, request.slices)
    except NotServed as error:
        return error
    return Routed(ask, served, choice)


def answer(
    snapshot: Snapshot, asks: Sequence[Ask], now: Callable[[], float]
) -> list[Answered | NotServed]:
    """What becomes of each ask, in order. All versions of one base are asked at once, so that
    they share their common work. `now` is the clock of `Ask.arrived`."""
    routes = [route(snapshot, ask) for ask in asks]
    asked: dict[Engine, dict[str, list[str]]] = {}
    for one in routes:
        if isinstance(one, Routed):
            texts = asked.setdefault(one.served.engine, {})
            for arm in one.arms:
                texts.setdefault(arm.digest, []).append(one.ask.request.text)
    said = {
        (engine, digest): iter(answers)
        for engine, texts in asked.items()
        for digest, answers in engine.predict_many(texts).items()
    }
    done = now()
    return [
        answered(one, [next(said[one.served.engine, arm.digest]) for arm in one.arms], done)
        if isinstance(one, Routed)
        else one
        for one in routes
    ]


def answered(routed: Routed, said: Sequence[Answer], done: float) -> Answered:
    """The reply and the log of one request. `said` is in the order of `routed.arms`."""
    roles = [LIVE] + [SHADOW] * len(routed.choice.shadows)
    latency = (done - routed.ask.arrived) * 1000
    events = tuple(
        inference(routed, arm, role, one, latency)
        for arm, role, one in zip(routed.arms, roles, said, strict=True)
    )
    return Answered(said[0], routed.choice.live, routed.choice.epoch, events)


def inference(routed: Routed, arm: Arm, role: str, said: Answer, latency: float) -> Event:
    """The `inferences` event of one version's answer. `latency` in ms."""
    request = routed.ask.request
    return {
        "request_id": request.request_id,
        "model": request.model,
        "version": arm.version,
        "digest": arm.digest,
        "role": role,
        "input": request.text if routed.served.data.keep_text else None,
        "input_hash": hashlib.sha256(request.text.encode()).hexdigest(),
        "features": features_of(request.text, said.similarity),
        "slices": dict(request.slices),
        "output": said.label,
        "confidence": said.confidence,
        "latency_ms": latency,
        "tokens": said.tokens,
        "cost": 0.0,
        "subject": request.subject or None,
        "epoch": routed.choice.epoch,
        "propensity": arm.propensity,
        "time": request.time,
    }

"""Which version answers a request, and which answer beside it unheard. Pure: the router and apps
that serve by their own engine decide by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from driftgate import events
from driftgate.buckets import BUCKETS, bucket, owner
from driftgate.dead_letters import BAD_NUMBER, UNHANDLED
from driftgate.errors import BadInput, Retriable, Terminal, nearest, shown
from driftgate.events import Routing

SUBJECT = "subject"
STICKY = (SUBJECT, "request_id")

T = TypeVar("T")


class NotReady(Retriable):
    """No routing is known yet."""


class NotServed(Terminal):
    """No such model is served, or not to this request."""


@dataclass(frozen=True, slots=True)
class Arm:
    """A version that answers. propensity: its chance of giving the live answer, 0 to 1."""

    version: int
    digest: str
    adapter_uri: str
    propensity: float


@dataclass(frozen=True, slots=True)
class Choice:
    """What routing says about one request."""

    live: Arm
    shadows: tuple[Arm, ...]
    epoch: int


def check(routing: Routing) -> None:
    """Holds a routing record to what `choose` relies on.

    Raises:
        BadInput: names the field, its value and what was expected.
    """
    weights = [arm.weight for arm in routing.arms]
    if sum(weights) != BUCKETS or min(weights) < 0:
        wanted = f"weights of at least 0 that add up to {BUCKETS}"
        raise BadInput(BAD_NUMBER, "arms", weights, wanted)
    if routing.sticky_by not in STICKY:
        raise BadInput(UNHANDLED, "sticky_by", routing.sticky_by, f"one of {STICKY}")


def choose(routing: Routing, request_id: str, subject: str, slices: Mapping[str, str]) -> Choice:
    """The choice of a routing record: the same key gets the same version.

    Raises:
        NotServed: the request lacks a slice that the routing's scope demands.
    """
    for name, value in routing.scope.items():
        if slices.get(name) != value:
            raise NotServed(
                f"slices[{name!r}]: got {shown(slices.get(name))}, expected {value!r}: "
                f"{routing.model} answers only inside its scope"
            )
    key = (subject or request_id) if routing.sticky_by == SUBJECT else request_id
    at = owner((arm.weight for arm in routing.arms), bucket(routing.salt, key))
    live = routing.arms[at]
    weights = {arm.version: arm.weight for arm in routing.arms}
    shadows = (arm for arm in routing.shadows if arm.version != live.version)
    return Choice(
        arm_of(live, weights), tuple(arm_of(arm, weights) for arm in shadows), routing.epoch
    )


def arm_of(arm: events.Arm, weights: Mapping[int, int]) -> Arm:
    """An arm or shadow of the record; `weights` are the live ones by version."""
    propensity = weights.get(arm.version, 0) / BUCKETS
    return Arm(arm.version, arm.digest, arm.adapter_uri, propensity)


def pick(models: Mapping[str, T], model: str) -> T:
    """The entry of a model.

    Raises:
        NotServed: there is none; the nearest name is told.
    """
    if model not in models:
        raise NotServed(f"model {model!r} is not served: {nearest(model, list(models))}")
    return models[model]

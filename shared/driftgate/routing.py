"""Which version answers a request, and which answer beside it as shadows. Pure: the router and apps
that serve by their own engine decide by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from driftgate import events
from driftgate.buckets import BUCKETS, bucket, owner
from driftgate.dead_letters import BAD_NUMBER, UNHANDLED
from driftgate.errors import BadInput, Retriable, Terminal, nearest, shown
from driftgate.events import Champion, Routing
from driftgate.generator.prompt import Prompt

SUBJECT = "subject"
STICKY = (SUBJECT, "request_id")

T = TypeVar("T")


class NotReady(Retriable):
    """No routing is known yet."""


class NotServed(Terminal):
    """No such model is served, or not to this request."""


@dataclass(frozen=True, slots=True)
class Arm:
    """A version that answers.

    Attributes:
        digest: SHA-256 of its adapter, hex.
        adapter_uri: where its adapter lies, see `driftgate.artifacts`.
        base: its base as model.yaml names it.
        base_digest: SHA-256 of that base, hex.
        task: what it answers with.
        propensity: its chance of giving the live answer, 0 to 1.
        prompt: what an input becomes before it sees it, for a version that writes; None: the record
            does not say.
    """

    version: int
    digest: str
    adapter_uri: str
    base: str
    base_digest: str
    task: str
    propensity: float
    prompt: Prompt | None


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
    if not 0 <= routing.shadow_share <= 1:
        raise BadInput(BAD_NUMBER, "shadow_share", routing.shadow_share, "a number from 0 to 1")
    versions = sorted({arm.version for arm in residents_of(routing)})
    if routing.champion is not None and routing.champion not in versions:
        raise BadInput(UNHANDLED, "champion", routing.champion, f"one of versions {versions}")
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
    key = sticky_key(routing, request_id, subject)
    at = owner((arm.weight for arm in routing.arms), bucket(routing.salt, key))
    live = routing.arms[at]
    beside = routing.shadows if is_shadowed(routing, request_id) else ()
    shadows = (arm for arm in beside if arm.version != live.version)
    return Choice(
        arm_of(live, routing), tuple(arm_of(arm, routing) for arm in shadows), routing.epoch
    )


def is_shadowed(routing: Routing, request_id: str) -> bool:
    """Whether the shadows answer a request: drawn by its id alone, whoever is heard on it. The salt
    is other than that of the arms, so that the draw falls alike on all of them; a larger share
    draws all that a smaller one does."""
    at = bucket(f"shadow/{routing.salt}/", request_id)
    return at < round(routing.shadow_share * BUCKETS)


def sticky_key(routing: Routing, request_id: str, subject: str) -> str:
    """What keeps its version."""
    return (subject or request_id) if routing.sticky_by == SUBJECT else request_id


def arm_of(arm: events.Arm, routing: Routing) -> Arm:
    """An arm or shadow of a record, with the record's base where it names none of its own."""
    weight = next((live.weight for live in routing.arms if live.version == arm.version), 0)
    return Arm(
        arm.version,
        arm.digest,
        arm.adapter_uri,
        arm.base or routing.base,
        arm.base_digest or routing.base_digest,
        arm.task,
        weight / BUCKETS,
        Prompt(arm.prompt.system, arm.prompt.template) if arm.prompt is not None else None,
    )


def arms_of(routing: Routing) -> tuple[Arm, ...]:
    """Who may be asked: all arms and shadows of a record."""
    return tuple(arm_of(arm, routing) for arm in (*routing.arms, *routing.shadows))


def standby_of(routing: Routing) -> tuple[Arm, ...]:
    """Who may be asked again by a later record."""
    return tuple(arm_of(arm, routing) for arm in routing.standby)


def residents_of(routing: Routing) -> tuple[Arm, ...]:
    """Who is kept in memory: all arms and shadows of a record, and who stands by."""
    return (*arms_of(routing), *standby_of(routing))


def champion_of(routing: Routing) -> Arm | None:
    """The version that a record names as its champion. Records of before name none: there it is
    the last arm, since a challenger's range of traffic comes first."""
    if routing.champion is None:
        return arm_of(routing.arms[-1], routing) if routing.arms else None
    return next((arm for arm in residents_of(routing) if arm.version == routing.champion), None)


def pinned_champion(routing: Routing) -> Champion | None:
    """The champion of a record as requests and candidates pin it."""
    arm = champion_of(routing)
    if arm is None:
        return None
    return Champion(
        version=arm.version,
        digest=arm.digest,
        adapter_uri=arm.adapter_uri,
        base=arm.base,
        base_digest=arm.base_digest,
        task=arm.task,
    )


def contradiction(one: Routing, other: Routing) -> str:
    """What two records of one epoch say differently of who answers; empty where they agree.

    When a record was written, where a rollback leads, and fields that a newer schema adds decide
    nothing, so they may differ.
    """
    ours, theirs = decided(one), decided(other)
    differ = {name: (told, theirs[name]) for name, told in ours.items() if told != theirs[name]}
    return "; ".join(f"{name} {a}, and then {b}" for name, (a, b) in differ.items())


def decided(routing: Routing) -> dict[str, object]:
    """What of a record decides who answers."""
    weights = (*(arm.weight for arm in routing.arms), *(0 for _ in routing.shadows))
    arms = [
        f"{arm.version} ({arm.digest[:12]} on {arm.base} {arm.base_digest[:12]}, weight {weight})"
        + (f", prompt {arm.prompt.digest[:12]}" if arm.prompt is not None else "")
        for arm, weight in zip(arms_of(routing), weights, strict=True)
    ]
    live = len(routing.arms)
    return {
        "epoch": routing.epoch,
        "arms": arms[:live],
        "shadows": arms[live:],
        "salt": routing.salt,
        "sticky_by": routing.sticky_by,
        "scope": dict(routing.scope),
        "repo_hash": routing.repo_hash,
    }


def pick(models: Mapping[str, T], model: str) -> T:
    """The entry of a model.

    Raises:
        NotServed: there is none; the nearest name is told.
    """
    if model not in models:
        raise NotServed(f"model {model!r} is not served: {nearest(model, list(models))}")
    return models[model]

"""How far a model's rollout is: what the topics say of it, and when its stage would end. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from driftgate.buckets import BUCKETS
from driftgate.events import DAY_MS, AnyEvent, AuditEntry, Candidate, Routing, RoutingAck, Verdict
from driftgate.events import Rollout as Record
from driftgate.model_repo import Rollout as Rules
from driftgate.model_repo import Stage
from driftgate.topology import PROMOTER

TOPICS = tuple(kind.TOPIC for kind in (Record, Routing, RoutingAck, AuditEntry, Candidate, Verdict))
IDLE, LOADING = "idle", "loading"
# A rollout begins with one of these.
BEGINS = ("start", "supersede")
# Routers renew their leases once a minute; one that was not heard for so long is named.
SILENT_MS = 180_000


@dataclass(frozen=True, slots=True)
class Evidence:
    """An e-value on its way to the threshold at which it decides."""

    value: float
    at: float

    @property
    def share(self) -> float:
        """How much of the way is done, 0 to 1. Evidence multiplies, so its logarithm grows."""
        return min(1.0, max(0.0, log(self.value) / math.log(self.at)))


@dataclass(frozen=True, slots=True)
class Question:
    """One comparison of a look. The fields are those of the judge's (`numbers.looks` of an entry).

    difference: how many more bad outcomes an answer the new version has.
    """

    name: str
    slice: str
    counted: str
    known: int
    difference: float
    new: int
    old: int
    harm: Evidence
    on_harm: Literal["roll_back", "warn"]
    not_worse: Evidence | None

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Question:
        """As an entry tells it: numbers that are not finite are words there."""
        ours = {name: told[name] for name in ("name", "slice", "counted", "known", "new", "old")}
        proof = told["not_worse"]
        return cls(
            **ours,
            difference=float(told["difference"]),
            harm=Evidence(float(told["harm"]), float(told["harm_at"])),
            on_harm=told["on_harm"],
            not_worse=None
            if proof is None
            else Evidence(float(proof), float(told["not_worse_at"])),
        )

    @property
    def title(self) -> str:
        return self.name if self.slice == "all" else f"{self.name} ({self.slice})"


@dataclass(frozen=True, slots=True)
class Look:
    """What the promoter made of a stage at a time, ms.

    Attributes:
        stage, since: the stage that it looked at, and when that began, ms.
        days: how long it had lasted, without pauses.
        samples: how many were known; sampled: of what.
        pairs_since: from when on pairs were counted, ms; 0: from the beginning of the stage.
        reason: what was missing, as a word; empty where the rollout went on or ended.
    """

    decision: str
    version: int | None
    stage: str
    since: int
    words: str
    time: int
    reason: str = ""
    days: float = 0.0
    samples: int = 0
    sampled: str = ""
    questions: tuple[Question, ...] = ()
    pairs_since: int = 0

    def counted_since(self, questions: Iterable[Question]) -> int:
        """Since when what some questions know was gathered, ms."""
        of_pairs = {one.counted for one in questions} == {"pairs"}
        return self.pairs_since if of_pairs and self.pairs_since else self.since

    @property
    def deciding(self) -> list[Question]:
        """The questions that may show that the new version is not worse."""
        return [one for one in self.questions if one.not_worse is not None]

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Look:
        """As the promoter shows its newest one on /looks."""
        numbers = told["numbers"]
        return cls(
            **{name: told[name] for name in ("decision", "version", "stage", "since", "words")},
            time=told["time"],
            reason=numbers.get("reason", ""),
            days=float(numbers.get("days", 0.0)),
            samples=numbers.get("samples", 0),
            sampled=numbers.get("sampled", ""),
            questions=tuple(map(Question.of, numbers.get("looks", ()))),
            pairs_since=numbers.get("pairs_since", 0),
        )

    @classmethod
    def audited(cls, entry: AuditEntry) -> Look:
        """As an entry of the audit tells it. Those of an older judge have no questions."""
        state = json.loads(entry.inputs).get("state", {})
        numbers = json.loads(entry.result).get("numbers", {})
        told = {name: getattr(entry, name) for name in ("decision", "version", "words", "time")}
        place = {"stage": state.get("stage", IDLE), "since": state.get("since", entry.time)}
        return cls.of(told | place | {"numbers": numbers})


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a model's rollout.

    Attributes:
        entries: of the promoter about the last rollout, oldest first.
        acks: the newest of each router.
        digests: of adapters, by version.
    """

    model: str
    record: Record | None = None
    routing: Routing | None = None
    acks: Mapping[str, RoutingAck] = field(default_factory=dict)
    entries: tuple[AuditEntry, ...] = ()
    digests: Mapping[int, str] = field(default_factory=dict)

    def after(self, event: AnyEvent) -> Known:
        """What is known after one more event of `TOPICS`, each topic in its order."""
        match event:
            case Record(model=self.model):
                return replace(self, record=event)
            case Routing(model=self.model):
                return replace(self, routing=event)
            case RoutingAck(model=self.model):
                return replace(self, acks={**self.acks, event.router: event})
            case AuditEntry(model=self.model, service=service) if service == PROMOTER:
                before = () if event.decision in BEGINS else self.entries
                return replace(self, entries=(*before, event))
            case Candidate(model=self.model) | Verdict(model=self.model):
                known = {**self.digests, event.version: event.adapter_digest}
                return replace(self, digests=known)
        return self

    @property
    def rules(self) -> Rules | None:
        """The newest rules that the rollout was decided by; None where an older judge did. Another
        version that was judged meanwhile may be under rules of its own."""
        for entry in reversed(self.entries):
            given = json.loads(entry.inputs)
            told = given.get("rules") or {}
            of_other = given.get("topic") == Verdict.TOPIC and entry.decision not in BEGINS
            if "rollout" in told and not of_other:
                return Rules.model_validate(told["rollout"])
        return None

    @property
    def looks(self) -> list[Look]:
        """What was decided about the last rollout, oldest first."""
        return [Look.audited(entry) for entry in self.entries]

    def look(self, shown: Look | None = None) -> Look | None:
        """The newest look at the stage that is on, of the audit and the one that is shown."""
        if self.record is None or self.record.stage == IDLE:
            return None
        here = self.record.stage, self.record.since
        found = [look for look in (*self.looks, shown) if look and (look.stage, look.since) == here]
        held = [look for look in found if look.reason]
        return max(held, key=lambda look: look.time, default=None)


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that a stage has to reach.

    Attributes:
        day: of the stage, on which it does so at the present rate; 0 if it has; None: never.
    """

    what: str
    day: float | None


@dataclass(frozen=True, slots=True)
class End:
    """When a stage would end at the present rate.

    Attributes:
        time: when, ms; None: not at this rate.
        given_up: when it is given up, ms.
    """

    parts: tuple[Part, ...]
    time: int | None
    given_up: int

    @property
    def last(self) -> Part:
        """What takes longest."""
        return max(self.parts, key=lambda part: math.inf if part.day is None else part.day)


def end(look: Look, rules: Rules) -> End:
    """When the stage of a look would end, if all grows on as it did since the stage began: soak and
    samples linearly, and the logarithm of the evidence."""
    stages = [stage.name for stage in rules.stages]
    place = stages.index(look.stage)
    stage, watch = rules.stages[place], place == len(stages) - 1
    parts = [Part("watch" if watch else "soak", rules.watch_days if watch else stage.soak)]
    since = look.counted_since(look.deciding)
    parts.append(Part(look.sampled, projected(look.samples, stage.min_samples, look, since)))
    if place == len(stages) - 2:
        parts.append(proof(look))
    longest = rules.max_days + (rules.watch_days if watch else 0)
    days = [part.day for part in parts if part.day is not None]
    begun = look.time - round(look.days * DAY_MS)  # as much later as the stage was paused
    reached = len(days) == len(parts) and max(days) <= longest
    return End(
        parts=tuple(parts),
        time=max(look.time, begun + round(max(days) * DAY_MS)) if reached else None,
        given_up=begun + round(longest * DAY_MS),
    )


def proof(look: Look) -> Part:
    """The word that shows first that the new version is not worse."""
    parts = [
        Part(
            f"evidence of {one.title}",
            projected(log(e.value), math.log(e.at), look, look.counted_since([one])),
        )
        for one in look.questions
        if (e := one.not_worse) is not None
    ]
    first = min(parts, key=lambda part: math.inf if part.day is None else part.day, default=None)
    return first or Part("evidence", None)


def projected(reached: float, wanted: float, look: Look, since: int) -> float | None:
    """The day of the stage on which `wanted` is reached, if it grows on as it did since a time, ms,
    in pauses too; None: never."""
    if reached >= wanted:
        return 0.0
    grew_ms = look.time - since
    if reached <= 0 or grew_ms <= 0:
        return None
    return look.days + grew_ms / DAY_MS * (wanted - reached) / reached


def log(e_value: float) -> float:
    """Of what may be 0, infinite, or no number at all, which is no evidence."""
    return math.log(e_value) if e_value > 0 else -math.inf


# ---------------------------------------------------------------- who answers


@dataclass(frozen=True, slots=True)
class Router:
    """What a router makes of the newest routing.

    Attributes:
        says: serves, refuses, or behind.
        silent_ms: since when nothing was heard of it; 0 while its lease is renewed.
    """

    name: str
    says: Literal["serves", "refuses", "behind"]
    why: str
    silent_ms: int


def routers(known: Known, now: int) -> list[Router]:
    epoch = known.routing.epoch if known.routing else 0
    return [router(ack, epoch, now) for _, ack in sorted(known.acks.items())]


def router(ack: RoutingAck, epoch: int, now: int) -> Router:
    silent = now - ack.time if now - ack.time > SILENT_MS else 0
    if ack.epoch < epoch:
        return Router(ack.router, "behind", f"epoch {ack.epoch} of {epoch}", silent)
    if ack.status == "serving":
        lacks = f"without {ack.reason}" if ack.reason else ""
        return Router(ack.router, "serves", lacks, silent)
    tries = ", and goes on trying" if ack.retrying else ""
    return Router(ack.router, "refuses", f"{ack.reason or 'no reason told'}{tries}", silent)


def heard(routing: Routing | None) -> dict[int, float]:
    """Percent of live traffic by version."""
    return {arm.version: 100 * arm.weight / BUCKETS for arm in routing.arms} if routing else {}


def waiting(record: Record) -> int | None:
    """The version that passed and waits for its turn."""
    return int(json.loads(record.waiting)["version"]) if record.waiting else None


def quarantined(known: Known, now: int) -> list[tuple[str, int | None, int | None]]:
    """Adapters in quarantine: digest, version where it is known, and until when, ms."""
    record = known.record
    if record is None:
        return []
    versions = {digest: version for version, digest in sorted(known.digests.items())}
    ends = record.quarantine_ends
    return [
        (digest, versions.get(digest), ends.get(digest))
        for digest in record.quarantined
        if now < ends.get(digest, now + 1)
    ]


def next_stage(record: Record, rules: Rules) -> Stage | None:
    """The stage that comes after the one that is on."""
    names = [LOADING, *(stage.name for stage in rules.stages)]
    place = names.index(record.stage) if record.stage in names else len(names)
    return rules.stages[place] if place < len(rules.stages) else None


def approvals(record: Record, rules: Rules) -> Sequence[str]:
    """Stages that are still to be approved for the version that is tried."""
    if record.challenger is None:
        return []
    names = [stage.name for stage in rules.stages]
    reached = names.index(record.stage) if record.stage in names else -1
    later = rules.stages[reached + 1 :]
    return [one.name for one in later if one.approval and one.name not in record.approved]

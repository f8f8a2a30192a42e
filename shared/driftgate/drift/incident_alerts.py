"""An incident for people: what likely caused it, what to do next, and the event of each step. Pure.

The likely cause is a rule of thumb over which streams alarmed, the first of `causes` that holds. It
says where to look first; nothing is decided by it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from driftgate.drift.alarms import Alarm
from driftgate.drift.incidents import Transition, listed
from driftgate.drift.silence import ANSWERS, FEEDBACK, REVIEWS, Part, Silence
from driftgate.events import HOUR_MS, DriftAlert
from driftgate.limits import date
from driftgate.model_repo import Monitor
from driftgate.slices import ALL

# A change that may lie so close to a version's first answers began with them.
AT_ONCE_MS = HOUR_MS
# Names of streams on the topic: a record holds a megabyte.
STREAMS_TOLD = 200
SHARES = {"share"}
FORM = {"broken", "refusal"}
JUDGING, CLUSTERS = {"disagreement"}, {"new_cluster"}
"""By what a monitor's `value` says: the mix of answers, whether answers have their form, how people
judge, and groups of inputs."""


@dataclass(frozen=True, slots=True)
class Cause:
    """A class of causes. In `words` and `advice`, {model} and {version} stand for those of the
    incident."""

    words: str
    advice: str


SERVING = Cause(
    "serving",
    "no training mends it: `driftgate status` says which part is unwell, and "
    "`driftgate traffic {model} --by version` whether one version alone is slow",
)
RELEASE = Cause(
    "the release: version {version} has been like this from its first answers",
    "`driftgate rollout {model}` shows how its rollout stands; "
    "`driftgate rollback {model} {version}` takes it back",
)
BROKEN = Cause(
    "the model or its prompt broke",
    "`driftgate audit {model}` says who changed model repo or prompt; "
    "`driftgate rollback {model} {version}` takes the version back",
)
UNCLEAR = Cause(
    "reviewers judge the same answers differently more often than before: their instructions leave "
    "something open",
    "`driftgate review stats {model}` says who disagrees, by version of the instructions; write "
    "down what they leave open and count `review.instructions` up",
)
NEW_INPUT = Cause(
    "new kinds of input",
    "`driftgate clusters {model}` says what they are about, how much of the traffic, and shows "
    "some; label such answers, `driftgate review work {model}`: a training needs them",
)
CONCEPT = Cause(
    "the meaning of answers changed (concept drift), or feedback changed",
    "`driftgate feedback {model}` says whether people give feedback as before, "
    "`driftgate review stats {model}` what reviewers say",
)
OTHER_INPUT = Cause(
    "the input changed; it is not known to harm answers",
    "`driftgate clusters {model}` says whether a group of inputs is new; "
    "`driftgate review work {model} --picked confidence` has the least sure answers looked at",
)
MIX = Cause(
    "the mix of traffic changed",
    "nothing, if the examples are what people ask; `driftgate traffic {model} --by slice` shows "
    "who asks more",
)
OTHER_OUTPUT = Cause(
    "answers changed; they are not known to be worse",
    "`driftgate review work {model} --picked confidence` has the least sure answers looked at",
)
CAUSES = (SERVING, UNCLEAR, RELEASE, BROKEN, NEW_INPUT, CONCEPT, OTHER_INPUT, MIX, OTHER_OUTPUT)


@dataclass(frozen=True, slots=True)
class Known:
    """What else is known of a model.

    Attributes:
        monitors: by name.
        first_answers: of each version, ms.
    """

    model: str
    monitors: Mapping[str, Monitor] = field(default_factory=dict)
    first_answers: Mapping[int, int] = field(default_factory=dict)

    def value(self, monitor: str) -> str:
        """What of its signal a monitor watches. One that was declared no longer goes by its
        name."""
        found = self.monitors.get(monitor)
        return found.value if found else monitor


def cause_of(transition: Transition, known: Known) -> Cause:
    """The likely one."""
    incident = transition.incident
    members = incident.members.values()
    signals = {member.signal for member in members}
    values = {known.value(member.monitor) for member in members}
    first = known.first_answers.get(incident.version)
    at_once = first is not None and incident.earliest <= first + AT_ONCE_MS
    found = (
        (SERVING, incident.is_operation),
        (UNCLEAR, values <= JUDGING),
        (RELEASE, at_once and not transition.elsewhere),
        (BROKEN, bool(values & FORM)),
        (NEW_INPUT, bool(values & CLUSTERS) or signals >= {"quality", "input"}),
        (CONCEPT, "quality" in signals),
        (OTHER_INPUT, "input" in signals),
        (MIX, values <= SHARES),
        (OTHER_OUTPUT, True),
    )
    return next(cause for cause, holds in found if holds)


def alert(transition: Transition, known: Known, action: str = "") -> DriftAlert:
    """The event of a step; `action` says what the loop does about it."""
    incident, shown = transition.incident, transition.incident.shown
    cause = cause_of(transition, known)
    monitor = known.monitors.get(shown.monitor)
    return DriftAlert(
        alert_id=transition.alert_id,
        incident_id=incident.incident_id,
        transition=transition.kind,
        model=known.model,
        version=incident.version,
        monitor=shown.monitor,
        signal=shown.signal,
        slice=shown.slice,
        detector=monitor.detector if monitor else "e-detector",
        statistic=shown.level,
        threshold=1.0,
        events=shown.n,
        window_start=incident.since,
        window_end=incident.evident,
        since_earliest=incident.earliest,
        since_latest=incident.latest,
        severity=incident.severity,
        evidence=dict(numbers(shown), streams=float(len(incident.members))),
        streams=tuple(incident.members)[:STREAMS_TOLD],
        examples=shown.examples,
        cause=cause.words.format(version=incident.version) + where(transition),
        action=action,
        advice=cause.advice.format(model=known.model, version=incident.version),
        summary=summary(transition),
        time=transition.at,
    )


UNWATCHED, SILENCE = "unwatched", "silence"
"""In place of monitor and detector in the alerts of what is sent no more."""


def silence_alert(model: str, silence: Silence) -> DriftAlert:
    """The event of a part that is silent, or is no more. Its incident has the part and the date in
    its id, so that it is the same one whoever tells it."""
    incident_id = f"{model}:{UNWATCHED}:{silence.part.name}:{silence.since}"
    return DriftAlert(
        alert_id=f"{incident_id}:{silence.kind}:{silence.at}",
        incident_id=incident_id,
        transition=silence.kind,
        model=model,
        version=silence.version,
        monitor=silence.part.monitor or UNWATCHED,
        signal="operation",
        slice=silence.part.slice or ALL,
        detector=SILENCE,
        statistic=1.0,
        threshold=1.0,
        events=0,
        window_start=silence.since,
        window_end=silence.at,
        severity="warning",
        evidence={"expected": silence.expected},
        cause="an app does not send it" if silence.kind != "close" else "",
        action="nothing: it is only told",
        advice="" if silence.kind == "close" else silence_advice(model, silence.part),
        summary=silence.summary,
        time=silence.at,
    )


def silence_advice(model: str, part: Part) -> str:
    """What people may do about it."""
    if part == ANSWERS:
        return "`driftgate status` says which part is unwell; else the app asks no more"
    if part == FEEDBACK:
        return f"`driftgate feedback {model}` says who still gives feedback"
    if part == REVIEWS:
        return f"`driftgate review work {model}` takes up the sample again"
    shown = "--by slice" if part.slice else "--by version"
    return (
        f"`driftgate traffic {model} {shown}` shows what comes; what the app will not send again "
        "may leave model.yaml"
    )


def numbers(shown: Alarm) -> Iterator[tuple[str, float]]:
    """Behind the stream that is shown."""
    yield "reference", shown.reference
    yield "tolerated_mean", shown.mean
    if shown.n:
        yield "recent_mean", shown.bad / shown.n
    yield "n", float(shown.n)
    yield "bad", shown.bad
    yield "expected", shown.expected


def where(transition: Transition) -> str:
    """The part of the traffic that alone is affected, in words."""
    slices = {member.slice for member in transition.incident.members.values()}
    return "" if ALL in slices or len(slices) > 1 else f"; one part of the traffic: {slices.pop()}"


def summary(transition: Transition) -> str:
    """For people: what the step is, the numbers in words, and since when."""
    incident = transition.incident
    step = {"open": "", "update": "more is known", "close": "over", "reopen": "again"}
    why = f" ({transition.why})" if transition.why else ""
    head = f"{step[transition.kind]}{why}: " if transition.kind != "open" else ""
    others = [name for name in incident.members if name != incident.shown.stream]
    beside = f"; with {listed(others)}" if others and transition.kind == "open" else ""
    return f"{head}{incident.shown.summary}, since {date(incident.since)}{beside}"

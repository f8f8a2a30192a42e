"""When a model asks for a new version: after incidents, when there is enough to learn that is new,
when its score falls, when a cadence is due, or by command. Pure.

What is wanted first in this order is asked for, unless something holds it up:

    drift, accuracy         critical incidents about the champion that are open, batched
    new_label, new_source   enough pairs of what the champion has not learned
    score                   less on new held-out cases than the champion's best
    new_pairs               enough pairs since the last request
    cadence                 so many days after the last request, or at a time of a cron expression

    cooldown    begins with each request but a launch; a cadence heeds none
    under way   one open request a model: its version is being trained, judged or tried
    season      drift that began in a declared season, or in a learned one, is waited out
    budget      of the calendar month, in requests and hours of training
    quiet       hours in which only operators ask

Evidence that is older than the last request is answered by it, since its data reach further. An
incident of a version that is champion no longer counts no more, since what replaced it may have
cured it. After a candidate that failed, evidence that is newer leads to a new request once the
cooldown is over.

A request's id follows from what led to it: the incidents and the request before, the time at which
a cadence was due, or the command. What was asked for is read from topic `retrain.requests` itself,
so that a decision which a crash cut off after it was sent is not taken again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from driftgate.codec import digest
from driftgate.dead_letters import UNHANDLED
from driftgate.drift import timetable
from driftgate.drift.backlog import AHEAD_MS
from driftgate.drift.incidents import REMINDER_MS, Incident, shown_as
from driftgate.drift.learned_seasons import (
    LearnedSeason,
    PassedIncident,
    learned_seasons,
    newest_passed,
    season_of,
)
from driftgate.drift.plan import bar_name
from driftgate.drift.quality import Basis
from driftgate.drift.supply import New
from driftgate.drift.timetable import in_words
from driftgate.errors import BadInput
from driftgate.events import (
    DAY_MS,
    Candidate,
    Champion,
    Command,
    DriftAlert,
    RetrainReason,
    RetrainRequest,
    Routing,
    Verdict,
)
from driftgate.model_repo import ModelYaml, Rollout, Season, Triggers
from driftgate.routing import pinned_champion
from driftgate.shares import wilson
from driftgate.slices import ALL
from driftgate.suites import ACCURACY
from driftgate.topology import DRIFT

# Requests that incidents led to.
OF_INCIDENTS: tuple[RetrainReason, RetrainReason] = ("drift", "accuracy")
# Requests that start no cooldown: a version may be bad from its first answer.
NOT_COOLING = ("launch", "erasure")
# What an operator may ask for.
COMMANDED: Mapping[str, RetrainReason] = {"launch": "launch", "operator": "operator"}
# So long a request may wait for its verdict. A training and its examination take hours at most, so
# one without a verdict by then was refused or given up, and nobody waits for it any longer.
TRAINING_DAYS = 3
HOUR_S = 3600.0

# ---------------------------------------------------------------- what is known


@dataclass(frozen=True, slots=True)
class OpenIncident:
    """A critical incident that is open.

    Attributes:
        since: best date of the change, ms.
        opened: when it was first evident, ms.
        evident: when the newest evidence for it was, ms.
        slices: in which it shows.
        below_bar: whether it says that accuracy lies below the gate's bar.
        about: what it shows, by the same name in each version: see `Incident.about`.
        summary: for people.
    """

    incident_id: str
    version: int
    summary: str
    since: int
    opened: int
    evident: int
    slices: tuple[str, ...] = ()
    below_bar: bool = False
    about: str = ""


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A request whose end is waited for, at the longest until `until`, ms. version: what it led to,
    and whose rollout is waited for; None while it is trained and judged."""

    retrain_id: str
    version: int | None
    until: int

    @property
    def summary(self) -> str:
        if self.version is None:
            return f"{self.retrain_id} is being trained"
        return f"{self.retrain_id} led to version {self.version}, which is being tried"


@dataclass(frozen=True, slots=True)
class Score:
    """What the harness last measured of a version on held-out cases.

    Attributes:
        verdict_id: of the verdict that tells it.
        accuracy, cases: on the newest cases; best: on any.
        time: when the data of those cases end, ms.
    """

    verdict_id: str
    version: int
    accuracy: float
    cases: int
    best: float
    time: int

    def fell(self, drop: float) -> bool:
        """Whether it lies so much, relative, below the best, and not by the luck of the cases: its
        95 % interval does."""
        return wilson(self.accuracy * self.cases, self.cases)[1] < self.bar(drop)

    def bar(self, drop: float) -> float:
        return self.best * (1 - drop)

    @property
    def summary(self) -> str:
        return (
            f"version {self.version} got {self.accuracy * 100:.1f} % of {self.cases} new held-out "
            f"cases right, {self.best * 100:.1f} % at its best"
        )


@dataclass(frozen=True, slots=True)
class Spent:
    """Of the budget, in the calendar month that it is."""

    runs: int = 0
    hours: float = 0.0


@dataclass(frozen=True, slots=True)
class RetrainState:
    """What one model waits for, and what it has asked for.

    Attributes:
        incidents: that no request has answered yet.
        asked: the time of the last request of each reason, drills apart.
        under_way: the request whose end is waited for.
        new: what there is to learn since the last request.
        score: of the champion.
        in_season: versions that learned from the last of each declared season, by its name.
        learned: seasons that nobody declared, as far as they are not over.
    """

    incidents: tuple[OpenIncident, ...] = ()
    asked: Mapping[str, int] = field(default_factory=dict)
    under_way: UnderWay | None = None
    new: New = field(default_factory=New)
    score: Score | None = None
    spent: Spent = field(default_factory=Spent)
    in_season: Mapping[str, int] = field(default_factory=dict)
    learned: tuple[LearnedSeason, ...] = ()

    @property
    def last(self) -> int:
        """When was asked last, ms; 0: never."""
        return max(self.asked.values(), default=0)


# ---------------------------------------------------------------- what is wanted


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask for a new version now.

    Attributes:
        incidents: because of which.
        slices: what it is about.
        after: time of the last request, ms: what came since is why.
        due: when a cadence was due, ms.
        summary: why, for people.
    """

    reason: RetrainReason
    incidents: tuple[OpenIncident, ...] = ()
    slices: tuple[str, ...] = ()
    after: int = 0
    due: int = 0
    summary: str = ""

    @property
    def cause(self) -> str:
        """What makes it this very request, whenever it is made."""
        ids = [incident.incident_id for incident in self.incidents]
        return digest([*ids, self.after])[:16] if ids else str(self.due or self.after)


def unanswered(
    incidents: Iterable[OpenIncident], watched: int | None, last: int
) -> tuple[OpenIncident, ...]:
    """Those about the version that is watched that have evidence from after the last request."""
    return tuple(one for one in incidents if one.version == watched and one.evident > last)


def wanted(state: RetrainState, triggers: Triggers, now: int) -> Iterator[Ask]:
    """What there is to ask for at a time, whatever holds it up; the most urgent first."""
    if triggers.drift.enabled and state.incidents and now >= batch_end(state, triggers):
        below = any(incident.below_bar for incident in state.incidents)
        slices = {name for incident in state.incidents for name in incident.slices} - {ALL}
        told = ", ".join(incident.summary for incident in state.incidents)
        yield Ask(
            "accuracy" if below else "drift",
            state.incidents,
            tuple(sorted(slices)),
            state.last,
            summary=told + only_told(state, triggers),
        )
    if not state.asked:
        return  # before the launch
    labels = enough(state.new.labels, triggers.new_label)
    if labels:
        told = f"the champion never answers {counted(labels)}"
        yield Ask("new_label", after=state.last, summary=told)
    sources = enough(state.new.sources, triggers.new_source)
    if sources:
        told = f"new since the champion was trained: {counted(sources)}"
        yield Ask("new_source", slices=tuple(sources), after=state.last, summary=told)
    drop, score = triggers.score_drop, state.score
    if drop and score and score.time >= state.last and score.fell(drop):
        yield Ask("score", after=state.last, summary=score.summary)
    if triggers.new_pairs and state.new.pairs >= triggers.new_pairs:
        yield Ask("new_pairs", after=state.last, summary=f"{state.new.pairs} new pairs")
    due = timetable.cadence_due(triggers, state.last)
    if due is not None and now >= due:
        yield Ask("cadence", after=state.last, due=due, summary="the cadence is due")


def batch_end(state: RetrainState, triggers: Triggers) -> int:
    """Until when incidents are gathered, ms."""
    first = min(incident.opened for incident in state.incidents)
    return first + round(triggers.drift.batch_days * DAY_MS)


def enough(found: Mapping[str, int], wanted: int | None) -> dict[str, int]:
    """What has as many pairs as are waited for."""
    return {name: pairs for name, pairs in found.items() if wanted and pairs >= wanted}


def counted(found: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({pairs} pairs)" for name, pairs in found.items())


# ---------------------------------------------------------------- what holds it up


@dataclass(frozen=True, slots=True)
class Hold:
    """Why something waits, at the longest until `until`, ms. name: of what holds it up, and what
    makes it this very wait."""

    kind: Literal["cooldown", "under_way", "season", "budget", "quiet"]
    name: str
    until: int
    summary: str


@dataclass(frozen=True, slots=True)
class Suppressed:
    """Something is wanted, and nothing is asked for yet."""

    ask: Ask
    hold: Hold

    @property
    def until(self) -> int:
        return self.hold.until

    @property
    def summary(self) -> str:
        return f"waits: {self.hold.summary}: {self.ask.summary}"

    @property
    def cause(self) -> Mapping[str, Any]:
        """What makes it this very suppression, however long it lasts."""
        return {
            "reason": self.ask.reason,
            "for": self.ask.cause,
            "waits_for": f"{self.hold.kind}:{self.hold.name}",
        }


def decide(state: RetrainState, triggers: Triggers, now: int) -> Ask | Suppressed | None:
    """Whether to ask at the tick `now`, ms: for the most urgent of what nothing holds up. Where
    all is held up, that is said of the most urgent, by what lasts longest."""
    suppressed = None
    for ask in wanted(state, triggers, now):
        hold = max(holds(ask, state, triggers, now), key=lambda one: one.until, default=None)
        if hold is None:
            return ask
        suppressed = suppressed or Suppressed(ask, hold)
    return suppressed


def holds(ask: Ask, state: RetrainState, triggers: Triggers, now: int) -> Iterator[Hold]:
    """All that holds up a request at a time."""
    found = (
        None if ask.reason == "cadence" else cooldown(state, triggers),
        under_way_still(state),
        season(ask, state, triggers, now) if ask.incidents else None,
        over_budget(state, triggers, now),
        quiet(triggers, now),
    )
    return (hold for hold in found if hold is not None and now < hold.until)


def cooldown(state: RetrainState, triggers: Triggers) -> Hold | None:
    last = max((t for why, t in state.asked.items() if why not in NOT_COOLING), default=None)
    if last is None:
        return None
    until = last + round(triggers.drift.cooldown_days * DAY_MS)
    return Hold("cooldown", str(until), until, f"cooldown until {in_words(until)}")


def under_way_still(state: RetrainState) -> Hold | None:
    if (found := state.under_way) is None:
        return None
    return Hold("under_way", f"{found.retrain_id}:{found.version}", found.until, found.summary)


def season(ask: Ask, state: RetrainState, triggers: Triggers, now: int) -> Hold | None:
    """The season in which all of the incidents began, where it is still on and waits. What is
    declared of these days counts before what was learned of them."""
    declared = [
        (one, days[1])
        for one in triggers.seasons
        if (days := timetable.season_at(now, one)) is not None
        and all(days[0] <= incident.since for incident in ask.incidents)
    ]
    for one, end in declared:
        if one.prefer == "wait":
            version = state.in_season.get(one.name)
            learned = f"; version {version} learned from the last one" if version else ""
            told = f"season {one.name} until {in_words(end)}{learned}"
            return Hold("season", f"{one.name}:{end}", end, told)
    found = learned_season(ask.incidents, state.learned)
    if declared or found is None or triggers.learned_seasons == "train":
        return None
    return Hold("season", f"{found.last.about}:{found.end}", found.end, found.summary)


def learned_season(
    incidents: Iterable[OpenIncident], seasons: Iterable[LearnedSeason]
) -> LearnedSeason | None:
    """Where each of the incidents began in a learned season: the one that is over first."""
    found = [season_of(incident.about, incident.since, seasons) for incident in incidents]
    known = [season for season in found if season is not None]
    if len(known) < len(found):
        return None
    return min(known, key=lambda season: season.end, default=None)


def only_told(state: RetrainState, triggers: Triggers) -> str:
    """That the incidents are of a learned season, where that holds nothing up; in words."""
    found = learned_season(state.incidents, state.learned)
    return f"; {found.summary}" if found and triggers.learned_seasons == "train" else ""


def over_budget(state: RetrainState, triggers: Triggers, now: int) -> Hold | None:
    budget, spent = triggers.budget, state.spent
    runs_are_left = budget.runs is None or spent.runs < budget.runs
    hours_are_left = budget.hours is None or spent.hours < budget.hours
    if runs_are_left and hours_are_left:
        return None
    _, until = timetable.month(now)
    told = f"the month's budget is spent ({spent_in_words(state, triggers)})"
    return Hold("budget", str(until), until, f"{told} until {in_words(until)}")


def spent_in_words(state: RetrainState, triggers: Triggers) -> str:
    """As far as there is a budget."""
    budget, spent = triggers.budget, state.spent
    told = []
    if budget.runs:
        told.append(f"{spent.runs} of {budget.runs} requests")
    if budget.hours:
        told.append(f"{spent.hours:.1f} of {budget.hours:g} hours of training")
    return ", ".join(told)


def quiet(triggers: Triggers, now: int) -> Hold | None:
    if (until := timetable.quiet_until(now, triggers.quiet)) is None:
        return None
    return Hold("quiet", str(until), until, f"quiet hours until {in_words(until)}")


# ---------------------------------------------------------------- from what the topics say


@dataclass(frozen=True, slots=True)
class RetrainHistory:
    """What the topics say of a model, besides its incidents and pairs.

    Attributes:
        requests: in earnest, up to now.
        judged: requests that have a verdict, with the version that passed, if one did.
    """

    requests: Collection[RetrainRequest]
    judged: Mapping[str, int | None]
    verdicts: Collection[Verdict]
    candidates: Collection[Candidate]
    under: RoutingContext

    @property
    def last(self) -> int:
        """When was asked last, ms; 0: never."""
        return max((request.time for request in self.requests), default=0)

    def verdict_on(self, version: int | None) -> Verdict | None:
        return next((one for one in self.verdicts if one.version == version), None)

    def state(
        self,
        config: ModelYaml,
        watched: int | None,
        incidents: Iterable[OpenIncident],
        new: New,
        passed: Iterable[PassedIncident],
        now: int,
    ) -> RetrainState:
        """What the model waits for while the version `watched` is, at a time, ms."""
        return RetrainState(
            incidents=unanswered(incidents, watched, self.last),
            asked=asked(self.requests),
            under_way=under_way(self.requests, self.judged, self.under, config.rollout, now),
            new=new,
            score=score_of(watched, self.verdicts),
            spent=spent(self.requests, self.candidates, now),
            in_season=versions_in_season(config.triggers.seasons, self.verdicts, now),
            learned=learned_seasons(passed, self.verdicts, now),
        )


@dataclass(frozen=True, slots=True)
class RoutingContext:
    """What a training is asked under: the routing in force, as far as it says who is champion and
    which versions are on trial. newest: the highest version that was ever routed; since: when the
    champion became it, ms, 0 where that is not known."""

    epoch: int = 0
    champion: Champion | None = None
    challengers: tuple[int, ...] = ()
    newest: int = 0
    since: int = 0


NOT_ROUTED = RoutingContext()


def routing_context(routing: Routing, before: RoutingContext = NOT_ROUTED) -> RoutingContext:
    """What a request is asked under while this routing is in force, and what it was before."""
    champion, newest = pinned_champion(routing), before.newest
    if champion is None:
        return RoutingContext(routing.epoch, newest=newest)
    stayed = before.champion is not None and before.champion.version == champion.version
    since = before.since if stayed else routing.time
    # The predecessor that is kept at hand, and a frozen baseline, are older than the champion.
    answering = {arm.version for arm in (*routing.arms, *routing.shadows)}
    challengers = sorted(version for version in answering if version > champion.version)
    highest = max(newest, *answering)
    return RoutingContext(routing.epoch, champion, tuple(challengers), highest, since)


def in_earnest(requests: Iterable[RetrainRequest], model: str, now: int) -> list[RetrainRequest]:
    """What a model has asked for up to `now`, drills apart."""
    return [
        request
        for request in requests
        if request.model == model and request.drill is None and request.time <= now
    ]


def asked(requests: Iterable[RetrainRequest]) -> dict[str, int]:
    """When was asked last, by reason."""
    found: dict[str, int] = {}
    for request in requests:
        found[request.reason] = max(request.time, found.get(request.reason, 0))
    return found


def under_way(
    requests: Iterable[RetrainRequest],
    judged: Mapping[str, int | None],
    context: RoutingContext,
    rollout: Rollout,
    now: int,
) -> UnderWay | None:
    """The request whose end takes longest; None while none is under way. `judged` holds the
    requests that have a verdict, with the version that passed, if one did."""
    open_requests = (
        found
        for request in requests
        if (found := stage_of(request, judged, context, rollout)) is not None and now < found.until
    )
    return max(open_requests, key=lambda found: (found.until, found.retrain_id), default=None)


def stage_of(
    request: RetrainRequest,
    judged: Mapping[str, int | None],
    context: RoutingContext,
    rollout: Rollout,
) -> UnderWay | None:
    """Where a request is; None once it has ended, whatever came of it."""
    passed = judged.get(request.retrain_id)
    latest_verdict = request.time + TRAINING_DAYS * DAY_MS
    if passed in context.challengers:
        longest_trial = round(len(rollout.stages) * rollout.max_days * DAY_MS)
        return UnderWay(request.retrain_id, passed, latest_verdict + longest_trial)
    is_trained = request.retrain_id not in judged
    # The promoter takes up a verdict a moment later. Where nothing is routed it takes up none.
    is_next = passed is not None and context.champion is not None and passed > context.newest
    if timely(request, context) and (is_trained or is_next):
        return UnderWay(request.retrain_id, passed, latest_verdict)
    return None


def timely(request: RetrainRequest, context: RoutingContext) -> bool:
    """Whether a request may still lead to a release. The trainer refuses one that another champion
    overtook, and the promoter a version that was compared with another champion."""
    return request.champion is None or request.champion.version == (
        context.champion.version if context.champion else None
    )


def spent(requests: Iterable[RetrainRequest], candidates: Iterable[Candidate], now: int) -> Spent:
    """Of this month: the model's requests in earnest, and how long their trainings took, as far as
    they led to a version."""
    begin, _ = timetable.month(now)
    ids = {request.retrain_id for request in requests if begin <= request.time <= now}
    seconds = {one.retrain_id: one.train_seconds for one in candidates if one.retrain_id in ids}
    return Spent(len(ids), sum(seconds.values()) / HOUR_S)


def score_of(version: int | None, verdicts: Iterable[Verdict]) -> Score | None:
    """How a version did each time that the harness examined it: when it was judged itself, and
    since then beside each candidate that was compared with it. None: it never did."""
    looks = []
    for verdict in sorted(verdicts, key=lambda one: (one.time, one.version)):
        for axis in verdict.axes:
            if (axis.layer, axis.name, axis.slice) != ("task", ACCURACY, ALL) or not axis.cases:
                continue
            if verdict.version == version:
                looks.append((verdict, axis.value, axis.cases))
            elif verdict.champion == version and axis.champion is not None:
                looks.append((verdict, axis.champion, axis.cases))
    if not looks or version is None:
        return None
    newest, accuracy, cases = looks[-1]
    best = max(value for _, value, _ in looks)
    return Score(newest.verdict_id, version, accuracy, cases, best, newest.time)


def versions_in_season(
    seasons: Iterable[Season], verdicts: Collection[Verdict], now: int
) -> dict[str, int]:
    """The newest version that passed whose data end in the last of each season, by its name."""
    newest = {
        one.name: newest_passed(verdicts, *timetable.season_before(now, one)) for one in seasons
    }
    return {name: version for name, version in newest.items() if version is not None}


def unreleased(version: int, context: RoutingContext, passed: Collection[int]) -> bool:
    """Whether a live answer is from a version that was never released: it is not on trial now, and
    no routing named it before, or it never passed the gate. False where nothing is routed, as with
    an app that serves by itself.

    Args:
        passed: versions whose verdict was a pass.
    """
    if context.champion is None or version in (context.champion.version, *context.challengers):
        return False
    return version > context.newest or version not in passed


def critical(incidents: Iterable[Incident], config: ModelYaml) -> tuple[OpenIncident, ...]:
    """Those of the open incidents that a training may mend, with the words of what they show."""
    return tuple(
        OpenIncident(
            one.incident_id,
            one.version,
            one.shown.summary,
            one.since,
            one.opened,
            one.evident,
            one.slices,
            is_below_bar(one.members, config),
            one.about,
        )
        for one in incidents
        if one.severity == "critical" and not one.is_operation
    )


def action(state: RetrainState, triggers: Triggers, now: int) -> str:
    """What the loop does about a critical incident that is told at `now`, ms, in words."""
    if not triggers.drift.enabled:
        return "nothing: triggers.drift is off"
    if not state.incidents:
        return "nothing: it is not about the version that is watched"
    due = max(now, batch_end(state, triggers))
    ask = next(wanted(state, triggers, due))
    hold = max(holds(ask, state, triggers, due), key=lambda one: one.until, default=None)
    told = f"waits: {hold.summary}" if hold else f"a new version is asked for at {in_words(due)}"
    return told + only_told(state, triggers)


def is_below_bar(streams: Iterable[str], config: ModelYaml) -> bool:
    """Whether one of the streams of an incident is measured against the gate's bar. By their whole
    names: a label, too, may be called like what those end with."""
    quality = [monitor for monitor in config.monitors if monitor.signal == "quality"]
    below = {bar_name(monitor, basis) for monitor in quality for basis in get_args(Basis)}
    return not below.isdisjoint(streams)


def open_incidents(
    alerts: Iterable[DriftAlert], config: ModelYaml, now: int
) -> tuple[OpenIncident, ...]:
    """The critical incidents that are open at `now`, ms, after these steps of incidents, in their
    order, but for those that no training mends. An alert of an older release, which has no
    incident, opens one of its own."""
    found: dict[str, OpenIncident] = {}
    for alert in alerts:
        name = alert.incident_id or alert.alert_id
        before = found.pop(name, None)
        counts = alert.severity == "critical" and alert.signal != "operation"
        if counts and alert.transition != "close":
            found[name] = incident_of(alert, before, config, now)
    return tuple(found.values())


def incident_of(
    alert: DriftAlert, before: OpenIncident | None, config: ModelYaml, now: int
) -> OpenIncident:
    """An incident after a step of it."""
    known = min(alert.window_end, alert.time)
    # Further alarms make no step until a reminder is due, so that until then it is taken to go on.
    goes_on = alert.incident_id and known < now < alert.time + REMINDER_MS
    return OpenIncident(
        incident_id=alert.incident_id or alert.alert_id,
        version=alert.version,
        summary=alert.summary or f"{alert.monitor} ({alert.slice})",
        since=alert.window_start,
        opened=before.opened if before else known,
        evident=now if goes_on else known,
        slices=tuple(sorted({alert.slice, *(before.slices if before else ())})),
        below_bar=is_below_bar(alert.streams, config),
        about=shown_as(alert.signal, alert.slice),
    )


# ---------------------------------------------------------------- the request


def request(model: str, ask: Ask, context: RoutingContext, now: int) -> RetrainRequest:
    """What the service asks for of its own accord. `since` is when the first of the changes began,
    as the evidence dates it."""
    return RetrainRequest(
        retrain_id=f"{model}:{ask.reason}:{ask.cause}",
        model=model,
        reason=ask.reason,
        since=min((incident.since for incident in ask.incidents), default=None),
        focus_slices=ask.slices,
        alerts=tuple(incident.incident_id for incident in ask.incidents),
        actor=DRIFT,
        words=ask.summary,
        epoch=context.epoch,
        champion=context.champion,
        time=now,
    )


def commanded(command: Command, context: RoutingContext, now: int) -> RetrainRequest:
    """What an operator's command asks for, now at the latest, though the clock of who sends it be
    ahead: the time of a request says where the data end and the cooldown begins.

    Raises:
        BadInput: its reason is not one that may be commanded.
    """
    given = command.args.get("reason", "operator")
    reason = COMMANDED.get(given)
    if reason is None:
        wanted = f"one of {', '.join(COMMANDED)}"
        if given == "erasure":
            wanted += ", since nobody is erased by a training: that cannot be asked for yet"
        raise BadInput(UNHANDLED, "args.reason", given, wanted)
    return RetrainRequest(
        retrain_id=f"{command.model}:{reason}:{command.command_id}",
        model=command.model,
        reason=reason,
        seed_uri=command.args.get("seed_uri"),
        drill=command.args.get("drill"),
        actor=command.actor,
        words=command.reason or f"{command.actor} asked for it",
        epoch=context.epoch,
        champion=context.champion,
        time=min(command.time, now + AHEAD_MS),
    )

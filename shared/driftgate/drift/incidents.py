"""Incidents: what alarms come to, told in steps. Pure.

A stream that goes on being bad alarms again and again, and one change of the world makes many
streams alarm. Of all that, people are told an incident and its steps:

    open     a stream alarms that no incident holds and that joins none. It is held from then on:
             its further alarms are fresh evidence.
    update   a stream joined, the severity is another one, or a stream is twice as bad as when it
             was told last. After each step the next update waits until the incident is four times
             as old, at least ten minutes and at most a day; only the first rise of the severity
             does not wait. That makes at most five updates in any 24 hours, the later the rarer.
             What waits is part of the next step. Where there is but newer evidence of the
             same, the next update waits `REMINDER_MS`.
    close    all streams have been calm for `CALM_MS`; or nobody watches them any more; or the
             version matters no longer; or there was no new evidence for `SILENT_MS`.
    reopen   a stream of an incident that closed at most `REOPENS_MS` ago alarms.

A stream joins an open incident of the same version and kind (operation, or all the rest), unless
its change is clearly another one: by all of its interval it began more than `APART_MS` after the
incident's newest evidence, or more than `APART_MS` before the incident's earliest date. A stream
that nobody watches any more, as when its monitor is taken out of model.yaml, leaves its incident.

Time is that of the evidence. What is due before the next alarm is told first, at the time at which
it was due, and alarms of one time are taken together. So however alarms and conditions are cut into
steps, as long as each comes in the first step whose `now` it does not exceed, the transitions are
the same, with the same ids. The exception is a version that is replaced: its incidents end at the
step that learns of it. What comes late counts at the time of the step before; what comes twice
counts once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from driftgate.drift.alarms import About, Alarm, Condition, Severity
from driftgate.events import DAY_MS, HOUR_MS
from driftgate.events import Transition as Kind
from driftgate.slices import ALL

CALM_MS = DAY_MS
REOPENS_MS = 7 * DAY_MS
SILENT_MS = 30 * DAY_MS
# Topic `drift.alerts` keeps a month, and who reads it must not take what goes on for answered.
REMINDER_MS = 7 * DAY_MS
APART_MS = 7 * DAY_MS
LEAST_WAIT_MS, LONGEST_WAIT_MS = HOUR_MS // 6, DAY_MS
NAMED = 3  # streams that words name, of those that a step is about
# So many are open at most: then streams join whatever their dates.
MOST = 100
# Why an incident closes whose streams are all as they were.
RECOVERED = "calm for a day"
# Why one closes of which no stream is watched.
UNWATCHED = "nobody watches it any more"
# Which streams say most of what happened, the most telling first.
TELLING: Sequence[About] = ("quality", "input", "output", "operation")


@dataclass(frozen=True, slots=True)
class Member:
    """A stream of an incident.

    Attributes:
        evident: when its newest alarm was known, ms.
        excess: how far the mean of its numbers lies above the reference, by that alarm.
        told: `excess` as it was told last; None before the stream was told of.
        calm: since when it has been calm, ms; None while it is not.
    """

    stream: str
    monitor: str
    signal: About
    slice: str
    severity: Severity
    evident: int
    excess: float
    told: float | None = None
    calm: int | None = None

    @property
    def has_grown(self) -> bool:
        return self.told is not None and 0 < self.excess >= 2 * self.told


@dataclass(frozen=True, slots=True)
class Incident:
    """One change of one version, as far as it is known.

    Attributes:
        opened: ms.
        evident: when its newest evidence was known, ms.
        since, earliest, latest: date of the change, and its interval, by the alarm that dates it
            best, ms; see `better_date`.
        shown: the newest alarm of the stream that says most.
        members: its streams, by name.
        severity_told: the severity as it was told last.
        told: when its last step was, ms.
        closed: ms; None while it is open.
        unwatched: since when nobody watches any of its streams, ms; None while somebody does.
        risen: whether a rise of its severity was told since it opened, or opened again.
    """

    incident_id: str
    version: int
    opened: int
    evident: int
    since: int
    earliest: int
    latest: int
    shown: Alarm
    members: Mapping[str, Member]
    severity_told: Severity
    told: int
    closed: int | None = None
    unwatched: int | None = None
    risen: bool = False

    @property
    def is_operation(self) -> bool:
        return self.shown.signal == "operation"

    @property
    def about(self) -> str:
        """What it shows, by the same name in each version."""
        return shown_as(self.shown.signal, self.shown.slice)

    @property
    def severity(self) -> Severity:
        severities = {member.severity for member in self.members.values()}
        return "critical" if "critical" in severities else "warning"

    @property
    def slices(self) -> tuple[str, ...]:
        """The parts of the traffic in which it was seen; empty if only in all of it."""
        return tuple(sorted({member.slice for member in self.members.values()} - {ALL}))

    @property
    def rose(self) -> bool:
        """Whether it is more severe than was told."""
        return self.severity == "critical" != self.severity_told

    @property
    def fell(self) -> bool:
        """Whether it is less severe than was told."""
        return self.severity == "warning" != self.severity_told

    @property
    def changes(self) -> str:
        """What is not as it was told last, in words; empty if nothing."""
        joined = [name for name, member in self.members.items() if member.told is None]
        grown = [name for name, member in self.members.items() if member.has_grown]
        said = ["it is critical now"] if self.rose else []
        said += ["it is only a warning now"] if self.fell else []
        said += [f"{listed(joined)} joined"] if joined else []
        said += [f"{listed(grown)} at least doubled"] if grown else []
        return ", ".join(said)

    @property
    def news(self) -> str:
        """What an update has to tell, in words; empty if nothing."""
        return self.changes or ("there is newer evidence" if self.evident > self.told else "")

    @property
    def updates_from(self) -> int:
        """From when on an update may be told, ms."""
        if self.rose and not self.risen:
            return self.told
        if not self.changes:
            return self.told + REMINDER_MS
        wait = 3 * (self.told - self.opened)
        return self.told + min(max(wait, LEAST_WAIT_MS), LONGEST_WAIT_MS)

    @property
    def ends(self) -> tuple[int, str]:
        """When it closes unless more is heard, ms, and why."""
        silent = (max(self.evident + SILENT_MS, self.told), "no new evidence for 30 days")
        if self.unwatched is not None:
            return min(silent, (self.unwatched, UNWATCHED))
        calm = [member.calm for member in self.members.values() if member.calm is not None]
        if len(calm) < len(self.members):
            return silent
        return min(silent, (max(calm) + CALM_MS, RECOVERED))


@dataclass(frozen=True, slots=True)
class Incidents:
    """The incidents of one model: those that are open, and those that may open again.

    Attributes:
        time: of the last step, ms.
    """

    model: str
    known: tuple[Incident, ...] = ()
    time: int = 0

    @property
    def open(self) -> tuple[Incident, ...]:
        return tuple(incident for incident in self.known if incident.closed is None)


@dataclass(frozen=True, slots=True)
class Transition:
    """A step of an incident.

    Attributes:
        at: ms.
        incident: as it is after the step.
        why: what made the step, in words; empty where it opens.
        elsewhere: other versions that have such an incident now, or had one within `REOPENS_MS`.
    """

    kind: Kind
    at: int
    incident: Incident
    why: str = ""
    elsewhere: tuple[int, ...] = ()

    @property
    def alert_id(self) -> str:
        return f"{self.incident.incident_id}:{self.kind}:{self.at}"


def step(
    incidents: Incidents,
    alarms: Iterable[Alarm],
    conditions: Iterable[Condition],
    watched: Collection[int],
    now: int,
) -> tuple[Incidents, list[Transition]]:
    """Takes in what was heard up to `now`, ms, in any order.

    `watched` are the versions that matter: champion and challengers. Alarms of others are not told,
    and their open incidents close.
    """
    heard: dict[int, tuple[list[Alarm], list[Condition]]] = defaultdict(lambda: ([], []))
    for alarm in alarms:
        if alarm.version in watched:
            heard[max(alarm.known, incidents.time)][0].append(alarm)
    for condition in conditions:
        heard[max(condition.at, incidents.time)][1].append(condition)
    book = Book(incidents.model, {incident.incident_id: incident for incident in incidents.known})
    for at in sorted(heard):
        book.tell_due(at - 1)
        book.hear(*heard[at], at)
    book.tell_due(now)
    book.end_replaced(watched, now)
    time = max([incidents.time, now, *heard])
    return Incidents(incidents.model, tuple(book.recent(time)), time), book.told


@dataclass
class Book:
    """The incidents of a model while a step is taken, by id, and what the step tells."""

    model: str
    known: dict[str, Incident]
    told: list[Transition] = field(default_factory=list)

    @property
    def open(self) -> list[Incident]:
        return [incident for incident in self.known.values() if incident.closed is None]

    def hear(self, alarms: Iterable[Alarm], conditions: Iterable[Condition], at: int) -> None:
        """Takes in what was heard at one time."""
        steps = self.take_in(sorted(alarms, key=precedence), at)
        self.note({(c.version, c.stream): c for c in sorted(conditions, key=when)}, at)
        for incident_id, (kind, why) in steps.items():
            self.tell(kind, self.known[incident_id], at, why)
        for incident in self.open:
            if incident.news and incident.updates_from <= at:
                self.tell("update", incident, at, incident.news)

    def take_in(self, alarms: Iterable[Alarm], at: int) -> dict[str, tuple[Kind, str]]:
        """Takes in the alarms of one time. Which incidents open or open again by that, and why."""
        steps: dict[str, tuple[Kind, str]] = {}
        # Of incidents that changed: a catastrophe makes thousands of streams alarm at once.
        changed: dict[str, dict[str, Member]] = {}
        for alarm in alarms:
            found = self.place(alarm, at)
            if found is None:
                incident = opened(self.model, alarm, at)
                steps[incident.incident_id] = "open", ""
            elif (member := found.members.get(alarm.stream)) and member.evident >= alarm.known:
                continue  # heard already
            else:
                if found.incident_id not in changed:
                    changed[found.incident_id] = dict(found.members)
                members = changed[found.incident_id]
                told = member.told if member else None
                members[alarm.stream] = replace(member_of(alarm), told=told)
                incident = replace(with_evidence(found, alarm), members=members)
                if found.closed is not None:
                    ago = (at - found.closed) / DAY_MS
                    steps[incident.incident_id] = "reopen", f"{ago:.1f} days after it closed"
            self.known[incident.incident_id] = incident
        return steps

    def place(self, alarm: Alarm, at: int) -> Incident | None:
        """The incident that an alarm belongs to, if there is one: that which holds its stream, open
        or about to open again; else the newest that it joins."""
        for incident in self.recent(at):
            if incident.version == alarm.version and alarm.stream in incident.members:
                return incident
        joined = [
            incident
            for incident in self.open
            if incident.version == alarm.version
            and incident.is_operation == (alarm.signal == "operation")
            and (len(self.open) >= MOST or not is_apart(incident, alarm))
        ]
        return max(
            joined, key=lambda incident: (incident.opened, incident.incident_id), default=None
        )

    def recent(self, at: int) -> list[Incident]:
        """Those that are open, or may open again."""
        return [i for i in self.known.values() if i.closed is None or at <= i.closed + REOPENS_MS]

    def note(self, conditions: Mapping[tuple[int, str], Condition], at: int) -> None:
        """How streams are, by version and stream; those of what may open again too."""
        for incident in self.recent(at):
            found = {
                name: condition
                for name in incident.members
                if (condition := conditions.get((incident.version, name))) is not None
            }
            if found:
                self.known[incident.incident_id] = noted(incident, found, at)

    def tell_due(self, until: int) -> None:
        """Tells what is due up to `until`, in its order."""
        while due := min((one for one in self.due() if one[0] <= until), default=None):
            at, incident_id, kind, why = due
            self.tell(kind, self.known[incident_id], at, why)

    def due(self) -> Iterator[tuple[int, str, Kind, str]]:
        """When each open incident is told next unless more is heard, how and why."""
        for incident in self.open:
            if news := incident.news:
                yield incident.updates_from, incident.incident_id, "update", news
            at, why = incident.ends
            yield at, incident.incident_id, "close", why

    def end_replaced(self, watched: Collection[int], now: int) -> None:
        """Closes the incidents of versions that matter no longer."""
        for incident in self.open:
            if incident.version not in watched:
                self.tell("close", incident, now, f"version {incident.version} is replaced")

    def tell(self, kind: Kind, incident: Incident, at: int, why: str) -> None:
        """Takes a step, which tells all that is known."""
        told = replace(
            incident,
            members={name: as_told(member) for name, member in incident.members.items()},
            severity_told=incident.severity,
            told=at,
            closed=at if kind == "close" else None,
            risen=kind != "reopen" and (incident.risen or incident.rose),
        )
        others = {
            other.version
            for other in self.recent(at)
            if other.version != told.version and other.is_operation == told.is_operation
        }
        self.known[told.incident_id] = told
        self.told.append(Transition(kind, at, told, why, tuple(sorted(others))))


def shown_as(signal: str, slice_name: str) -> str:
    """
    >>> shown_as("quality", "language=es")
    'quality (language=es)'
    """
    return f"{signal} ({slice_name})"


def precedence(alarm: Alarm) -> tuple[int, int, bool, str, int]:
    """Which of the alarms of one time come first; the first one names the incident."""
    about = TELLING.index(alarm.signal)
    return alarm.version, about, alarm.slice != ALL, alarm.stream, alarm.known


def when(condition: Condition) -> tuple[int, bool]:
    """The order of conditions. Of two at one time, the one that is not calm counts."""
    return condition.at, not condition.calm


def weight(alarm: Alarm) -> tuple[bool, int]:
    """How much an alarm says of what happened."""
    return alarm.severity == "critical", -TELLING.index(alarm.signal)


def is_apart(incident: Incident, alarm: Alarm) -> bool:
    """Whether the change behind an alarm is clearly another one than that of an incident."""
    began_later = alarm.earliest > incident.evident + APART_MS
    began_before = alarm.latest < incident.earliest - APART_MS
    return began_later or began_before


def opened(model: str, alarm: Alarm, at: int) -> Incident:
    return Incident(
        incident_id=f"{model}@{alarm.version}:{alarm.stream}:{alarm.known}",
        version=alarm.version,
        opened=at,
        evident=alarm.known,
        since=alarm.since,
        earliest=alarm.earliest,
        latest=alarm.latest,
        shown=alarm,
        members={alarm.stream: member_of(alarm)},
        severity_told=alarm.severity,
        told=at,
    )


def with_evidence(incident: Incident, alarm: Alarm) -> Incident:
    """The incident, dated anew. One that was closed is open again, and shows what opened it."""
    is_closed = incident.closed is not None
    shown = incident.shown
    stays = shown.stream != alarm.stream and shown.stream in incident.members
    says_more = not stays or weight(alarm) > weight(shown)
    date = better_date(incident, alarm)
    return replace(
        incident,
        evident=max(incident.evident, alarm.known),
        since=date.since,
        earliest=date.earliest,
        latest=date.latest,
        shown=alarm if is_closed or says_more else shown,
        closed=None,
        unwatched=None,
    )


def better_date(incident: Incident, alarm: Alarm) -> Incident | Alarm:
    """Which of the two dates the change: the narrower interval where they overlap, and otherwise
    the earlier one. A stream that is seldom heard knows its own date to some days only."""
    if alarm.latest < incident.earliest:
        return alarm
    if incident.latest < alarm.earliest:
        return incident
    narrower = alarm.latest - alarm.earliest < incident.latest - incident.earliest
    return alarm if narrower else incident


def noted(incident: Incident, conditions: Mapping[str, Condition], at: int) -> Incident:
    """The incident when some of its streams are calm, calm no more, or watched no more."""
    members = {
        name: as_it_is(member, conditions[name], at) if name in conditions else member
        for name, member in incident.members.items()
    }
    watched = {
        name: member
        for name, member in members.items()
        if name not in conditions or conditions[name].watched
    }
    if watched:
        return replace(incident, members=watched)
    return replace(incident, members=members, unwatched=at)  # closes with what it was about


def as_it_is(member: Member, condition: Condition, at: int) -> Member:
    if condition.calm == (member.calm is not None):
        return member
    return replace(member, calm=at if condition.calm else None)


def member_of(alarm: Alarm) -> Member:
    return Member(
        stream=alarm.stream,
        monitor=alarm.monitor,
        signal=alarm.signal,
        slice=alarm.slice,
        severity=alarm.severity,
        evident=alarm.known,
        excess=alarm.bad / alarm.n - alarm.reference if alarm.n else 0.0,
    )


def as_told(member: Member) -> Member:
    """A stream that was just told of."""
    return replace(member, told=member.excess)


def listed(names: Sequence[str]) -> str:
    """A few names, and how many more there are."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")

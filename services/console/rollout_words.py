"""What `driftgate rollout` says: a rollout as lines for people, and as JSON. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from driftgate.events import DAY_MS, HOUR_MS
from driftgate.model_repo import Rollout as Rules
from services.console.operators import when
from services.console.rollout_status import (
    IDLE,
    LOADING,
    End,
    Evidence,
    Known,
    Look,
    Question,
    approvals,
    end,
    heard,
    next_stage,
    quarantined,
    routers,
    waiting,
)

BAR = 8
# Of what is said of a name.
INDENT = 16
# Reasons for a hold that no evidence removes.
NO_EVIDENCE = ("approval", "blackout", "refused")
HEAD = ("question", "counted", "known", "new against old", "harm", "not worse")


def lines(
    known: Known, look: Look | None, now: int, options: str = "", width: int | None = None
) -> Iterator[str]:
    """All that is known, at a time, ms.

    Args:
        look: the newest at the stage that is on.
        options: what a printed command needs to reach the same system.
        width: of the terminal, characters; None: lines may have any length.
    """
    record = known.record
    if record is None:
        yield f"{known.model}: no version was released yet"
        return
    yield f"{known.model}: {standing(known)}"
    told: list[tuple[str, str]] = [("stage", stage_in_words(known, now)), ("why", record.words)]
    told += serving(known, now)
    told += kept_back(known, now)
    if look is None and record.stage != IDLE:
        status = f"`driftgate status{options}`"
        told.append(("missing", f"no look yet: promoter looks at each tick, {status} shows it"))
    if look is not None and record.stage == LOADING:
        told.append(("missing", f"{look.reason}: {look.words}"))
    yield from aligned(told, width)
    if look is None or record.stage == LOADING:
        return
    yield ""
    yield from wrapped(evidence_in_words(known, look, now), width)
    yield from table(look, width)
    yield ""
    yield from aligned(outlook(known, look, now, options), width)


def standing(known: Known) -> str:
    """Who is champion, and who is tried."""
    record = known.record
    assert record is not None
    if record.champion is None:
        return "no version is champion"
    if record.challenger is not None:
        return f"version {record.challenger} is tried against version {record.champion}"
    if record.stage == IDLE:
        return f"version {record.champion} is champion, none is tried"
    return f"version {record.champion} is champion, watched against version {record.previous}"


def stage_in_words(known: Known, now: int) -> str:
    record, rules = known.record, known.rules
    assert record is not None
    names = [stage.name for stage in rules.stages] if rules else []
    place = f", {names.index(record.stage) + 1} of {len(names)}" if record.stage in names else ""
    paused = ", paused by an operator" if record.paused else ""
    since = f"since {when(record.since)} UTC, {span(now - record.since)}"
    return f"{record.stage}{place}, {since}{paused}"


def serving(known: Known, now: int) -> Iterator[tuple[str, str]]:
    """Who answers whom, and which routers hold it."""
    routing = known.routing
    if routing is None:
        return
    yield "heard", ", ".join(f"version {v}: {p:g} %" for v, p in heard(routing).items())
    if routing.shadows:
        of = "all" if routing.shadow_share == 1 else f"{100 * routing.shadow_share:g} % of"
        shadows = ", ".join(f"version {arm.version}" for arm in routing.shadows)
        yield "unheard", f"{shadows}, on {of} requests"
    if routing.standby:
        kept = ", ".join(f"version {arm.version}" for arm in routing.standby)
        yield "standby", f"{kept}, in memory to go back to"
    for one in routers(known, now):
        silent = f"; not heard for {span(one.silent_ms)}" if one.silent_ms else ""
        says = "is behind" if one.says == "behind" else one.says
        why = f"{', ' if one.says == 'serves' else ': '}{one.why}" if one.why else ""
        yield "router", f"{one.name} {says}{why}{silent}"


def kept_back(known: Known, now: int) -> Iterator[tuple[str, str]]:
    """What does not begin, or not again."""
    record = known.record
    assert record is not None
    if version := waiting(record):
        yield "waiting", f"version {version} passed, and has its turn later"
    if record.back_off_until > now:
        times = "once" if record.rollbacks == 1 else f"{record.rollbacks} times in a row"
        until = f"until {when(record.back_off_until)} UTC"
        yield "back-off", f"a version was taken back {times}: no rollout begins {until}"
    for digest, version, until_ms in quarantined(known, now):
        named = f"adapter {digest[:12]}" + (f" (version {version})" if version else "")
        ends = f"until {when(until_ms)} UTC" if until_ms else "until it is released"
        yield "quarantine", f"{named}, {ends}"


def evidence_in_words(known: Known, look: Look, now: int) -> str:
    """How much is known, and when that was looked at."""
    stages = {stage.name: stage for stage in known.rules.stages} if known.rules else {}
    told = ""
    if stage := stages.get(look.stage):
        told = f"{look.samples:,} {look.sampled}, {stage.min_samples:,} wanted; "
    return (
        f"evidence of this stage: {told}looked at {when(look.time)} UTC, "
        f"{span(now - look.time)} ago"
    )


def table(look: Look, width: int | None = None) -> Iterator[str]:
    """A line a question, in columns; two lines a question where that is wider than `width`."""
    if not look.questions:
        yield "  nothing was compared yet"
        return
    rows = [HEAD, *(row(question) for question in look.questions)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if width is None or sum(widths) + 2 * len(widths) <= width:
        for cells in rows:
            padded = (cell.ljust(size) for cell, size in zip(cells, widths, strict=True))
            yield ("  " + "  ".join(padded)).rstrip()
        return
    for title, counted, known, difference, harm, not_worse in rows[1:]:
        yield from wrapped(f"  {title}: {counted}, {known} known, {difference}", width)
        yield f"    harm {harm.ljust(widths[4])}" + (not_worse and f"   not worse {not_worse}")


def row(question: Question) -> tuple[str, ...]:
    warns = ", warns" if question.on_harm == "warn" else ""
    return (
        question.title,
        f"{question.counted}{warns}",
        f"{question.known:,}",
        difference(question),
        bar(question.harm),
        bar(question.not_worse) if question.not_worse else "",
    )


def difference(question: Question) -> str:
    """Bad outcomes in a hundred answers, and whose they were; nothing of what nobody knows."""
    if not question.known:
        bad = question.new or question.old
        return f"not settled yet ({question.new}:{question.old})" if bad else "nothing known"
    points = 100 * question.difference
    more = "more" if points > 0 else "fewer"
    told = f"{abs(points):.1f} points {more}" if round(points, 1) else "no difference"
    return f"{told} ({question.new}:{question.old})"


def bar(evidence: Evidence) -> str:
    """How far evidence is on its way, and its numbers."""
    done = int(BAR * evidence.share)
    return f"{'█' * done}{'░' * (BAR - done)} {number(evidence.value)} of {number(evidence.at)}"


def number(e_value: float) -> str:
    return f"{e_value:,.0f}" if 100 <= e_value < 1e9 else f"{e_value:.3g}"


def outlook(known: Known, look: Look, now: int, options: str) -> Iterator[tuple[str, str]]:
    """What is missing, what comes then, and when."""
    record, rules = known.record, known.rules
    assert record is not None
    for question in look.questions:
        if question.on_harm == "warn" and question.harm.value >= question.harm.at:
            told = f"{question.new} bad of the new version against {question.old}"
            yield "warning", f"worse in {question.title}: {told}"
    if look.reason:
        yield "missing", f"{look.reason}: {look.words}"
    if rules is None or record.stage not in {stage.name for stage in rules.stages}:
        return
    coming = next_stage(record, rules)
    if coming is None:
        yield "then", "it stays champion, and is watched no more"
    else:
        waits = coming.name in approvals(record, rules)
        command = f"`driftgate approve {known.model}{options}`"
        approval = f", when it is approved: {command}" if waits else ", approved"
        yield "then", f"stage {coming.name}, {coming.percent:g} %{approval * coming.approval}"
    yield "at this rate", end_in_words(end(look, rules), now, look.reason)


def end_in_words(found: End, now: int, reason: str) -> str:
    """When the stage would end. `reason`: what was missing at the look."""
    if reason == "paused":
        return "it stays until `driftgate resume`"
    last = found.last
    if found.time is None:
        given_up = f"given up on {when(found.given_up)} UTC"
        if last.day is None:
            return f"not at this rate: no growth in {last.what}; {given_up}"
        return f"not at this rate: {last.what} only on day {last.day:.3g}; {given_up}"
    if found.time <= now:
        return "as soon as that is there" if reason in NO_EVIDENCE else "at one of the next looks"
    return f"in {span(found.time - now)}, on {when(found.time)} UTC: {last.what}"


def span(ms: int) -> str:
    """A time for people, in its largest unit."""
    for unit, length in (("days", DAY_MS), ("hours", HOUR_MS), ("min", 60_000)):
        if ms >= length:
            return f"{ms / length:.3g} {unit}"
    return f"{max(0, ms) // 1000} s"


def aligned(told: Iterable[tuple[str, str]], width: int | None) -> Iterator[str]:
    for name, what in told:
        yield from wrapped(f"  {name:<12}  {what}", width, INDENT)


def wrapped(line: str, width: int | None, indent: int = 4) -> Iterator[str]:
    """A line as several of at most `width`, where it is longer; the others are indented. One with
    a command stays whole, to be copied."""
    if width is None or len(line) <= width or "`driftgate" in line:
        yield line
        return
    later = " " * indent
    yield from textwrap.wrap(line, width, subsequent_indent=later, break_on_hyphens=False)


def replay(known: Known, width: int | None = None) -> Iterator[str]:
    """Every decision about the last rollout, oldest first, with what was looked at."""
    if not known.entries:
        yield f"{known.model}: no version was released yet"
    for look in known.looks:
        version = "" if look.version is None else f" v{look.version}"
        told = f"{when(look.time)}  {look.stage}{version}  {look.decision}: {look.words}"
        yield from wrapped(told, width)
        if look.questions:
            yield from table(look, width)


# ---------------------------------------------------------------- JSON


def as_dict(known: Known, look: Look | None, now: int) -> dict[str, Any]:
    """The same for programs. Times in ms, evidence as e-values."""
    record, routing, rules = known.record, known.routing, known.rules
    if record is None:
        return {"model": known.model, "stage": None, "champion": None, "time": now}
    kept = ("epoch", "champion", "challenger", "stage", "since", "previous", "paused", "words")
    return {
        "model": known.model,
        **{name: getattr(record, name) for name in kept},
        "time": now,
        "heard": {str(version): percent for version, percent in heard(routing).items()},
        "unheard": [arm.version for arm in routing.shadows] if routing else [],
        "shadow_share": routing.shadow_share if routing else None,
        "standby": [arm.version for arm in routing.standby] if routing else [],
        "routers": [asdict(router) for router in routers(known, now)],
        "waiting": waiting(record),
        "approved": list(record.approved),
        "awaits_approval": list(approvals(record, rules)) if rules else [],
        "back_off_until": record.back_off_until if record.back_off_until > now else None,
        "quarantined": [
            {"digest": digest, "version": version, "until": until}
            for digest, version, until in quarantined(known, now)
        ],
        "look": look_as_dict(look) if look else None,
        "end": end_as_dict(look, rules),
    }


def look_as_dict(look: Look) -> dict[str, Any]:
    told = asdict(look)
    for question, one in zip(told["questions"], look.questions, strict=True):
        question["harm"]["share"] = one.harm.share
        if one.not_worse:
            question["not_worse"]["share"] = one.not_worse.share
    return told


def end_as_dict(look: Look | None, rules: Rules | None) -> dict[str, Any] | None:
    """None where a stage has no end that could be told."""
    if look is None or rules is None or look.stage not in {stage.name for stage in rules.stages}:
        return None
    return asdict(end(look, rules))

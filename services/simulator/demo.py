"""`make demo`: a system of its own, a world, the whole loop, a page. Unattended."""

from __future__ import annotations

import runpy
import shlex
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from deploy.local import stack
from driftgate import model_repo
from driftgate.errors import BadConfig
from driftgate.labelled.reading import read
from driftgate.labelled.rows import Asked
from driftgate.model_repo import Mask
from driftgate.scaffold.baseline import guesses
from driftgate.scaffold.proposal import Proposal, Wanted, identified, masked, propose, slug
from driftgate.scaffold.writing import write
from driftgate.slices import ALL
from services.simulator.dated import shuffled_dates
from services.simulator.lengths import PER_DAY, WEEKS, Calendar
from services.simulator.play import Drill
from services.simulator.profiles import SHIPPED, Mix, declare, differences, on
from services.simulator.report import Cause
from services.simulator.schedule import build
from services.simulator.session import Played, play
from services.simulator.world import World

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "support-triage"
# A file of this name marks a demo's folder, which the next demo may empty.
MARKER = "demo"
# The fault is rehearsed when the first refreshes have passed and there is a champion to compare.
DRILL_WEEK = 9
SHUFFLED, SHUFFLED_ROOM = "shuffle-labels:", 0.05
# Rows of one training: a demo should end within minutes.
MAX_ROWS = 2400
# Of a file's answers so many are expected to be right, where that decides how many get feedback.
USUALLY_RIGHT = 0.8
INTERRUPTED = "interrupted: the demo's system is being stopped, which takes some seconds"
# What to do after a demo.
NEXT = (
    "make up  # an empty system, on this machine's clock",
    "README.md, 'Connect your own app'",
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to play: a world, the model repo for it, and what is known about it.

    Attributes:
        reading: how the user's file was read.
        fault: what is rehearsed; None: nothing.
    """

    world: World
    repo: Path
    causes: tuple[Cause, ...] = ()
    reading: Mapping[str, Any] | None = None
    fault: str | None = None


def example_plan(
    scratch: Path, calendar: Calendar, shuffle: bool = False, mix: Mix = SHIPPED
) -> Plan:
    """The shipped world; its model repo declares the feedback that is played."""
    module: dict[str, Any] = runpy.run_path(str(EXAMPLE / "world.py"))
    path = scratch / "support-triage.csv"
    module["write_world"](path, seed=calendar.seed, per_day=calendar.per_day or PER_DAY)
    causes = tuple(Cause(c.name, c.from_week, c.until_week, c.says) for c in module["CAUSES"])
    rows = read(path).rows()
    if shuffle:
        rows, causes = shuffled_dates(rows, calendar.seed), ()
    world = build("support-triage", rows, calendar)
    (protected, *_) = model_repo.read(EXAMPLE).config.gate.protected
    # Causes name weeks, which are others in a world of another length.
    named = causes if world.weeks == WEEKS else ()
    repo = scratch / "model-repo"
    shutil.copytree(EXAMPLE / "evals", repo / "evals", dirs_exist_ok=True)
    shutil.copy(EXAMPLE / model_repo.MODEL_YAML, repo)
    declare(repo, mix)
    return Plan(world, repo, named, fault=None if shuffle else SHUFFLED + protected)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A user's file as a world, and what to declare for it; nothing is written yet."""

    world: World
    proposal: Proposal
    reading: Mapping[str, Any]


def prepare(
    data: Path,
    calendar: Calendar,
    mix: Mix,
    asked: Asked,
    console: Console,
    shuffle: bool = False,
) -> Prepared:
    """Any labelled text; the declaration depends on its launch rows alone.

    Raises:
        BadConfig: the file cannot be read, or is too small.
    """
    labelled = read(data, asked)
    say(labelled.findings.lines(), console)
    rows = labelled.rows()
    if shuffle:
        rows = shuffled_dates(rows, calendar.seed)
    world = build(data.stem, rows, calendar)
    say(["what the base makes of the launch rows …"], console)
    requests_per_day = sum(map(len, world.days)) / len(world.days)
    wanted = Wanted(
        model=slug(data.stem),
        labels=tuple(world.labels),
        rows=len(world.launch),
        purpose=f"Sorts the texts of {data.name}.",
        frozen_baseline=True,
        labelled_per_day=requests_per_day * mix.mean_share(USUALLY_RIGHT),
        max_rows=MAX_ROWS,
    )
    launch = identified(masked(world.launch, Mask()), world.start)
    found = guesses(launch, calendar.seed)
    proposal = propose(launch, found, wanted, calendar.seed)
    say((f"  {note}" for note in proposal.notes), console)
    return Prepared(world, proposal, labelled.findings.card())


def data_plan(found: Prepared, scratch: Path, fault: str | None, mix: Mix = SHIPPED) -> Plan:
    """Writes the model repo of a user's file; it declares the feedback that is played."""
    repo = scratch / "model-repo"
    write(repo, found.proposal.declaration, found.proposal.suite)
    declare(repo, mix)
    launch = tuple(sorted(found.proposal.launch, key=lambda row: (row.time or 0, row.text)))
    world = replace(found.world, launch=launch)
    return Plan(world, repo, reading=found.reading, fault=fault)


def detectable(proposal: Proposal, console: Console) -> bool:
    """Whether the gate would detect shuffled labels: a version that learned from them
    answers with the most frequent label at best."""
    labels = Counter(row.label for row in proposal.launch)
    guessed = labels.most_common(1)[0][1] / labels.total()
    if proposal.declaration.gate > guessed + SHUFFLED_ROOM:
        return True
    say(["  no fault is rehearsed: the gate lies hardly above the most frequent label"], console)
    return False


def say(lines: Iterable[str], console: Console) -> None:
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def drills(fault: str | None, weeks: int) -> list[Drill]:
    """The fault to rehearse, half-way through the world at the latest."""
    week = min(DRILL_WEEK, max(1, weeks // 2))
    return [Drill((week - 1) * 7, fault)] if fault else []


def run(
    data: Path | None,
    state: Path,
    report: Path,
    calendar: Calendar,
    mix: Mix,
    console: Console,
    shuffle: bool = False,
    asked: Asked | None = None,
    pace: float | None = None,
) -> Played:
    """Plays a world in a system of its own; see `run_plan`.

    Raises:
        BadConfig: the data cannot be read or make no world; nothing was started.
    """
    if data is None:
        empty(state)
        plan = example_plan(state, calendar, shuffle, mix)
    else:
        found = prepare(data, calendar, mix, asked or Asked(), console, shuffle)
        rehearsed = not shuffle and detectable(found.proposal, console)
        empty(state)
        plan = data_plan(found, state, SHUFFLED + ALL if rehearsed else None, mix)
    return run_plan(plan, state, report, mix, console, calendar.seed, pace)


def run_plan(
    plan: Plan,
    state: Path,
    report: Path,
    mix: Mix,
    console: Console,
    seed: int,
    pace: float | None = None,
) -> Played:
    """Starts a system of its own on free ports, plays (`pace`: see `session.play`), and takes it
    down again.

    Raises:
        PlayFailedError: the world ended early; the state folder is kept.
        DriftgateError: the system did not start.
    """
    announce(plan.world, mix, console)
    config = stack.StackConfig.on_free_ports(state, "world")
    try:
        stack.up(config, lambda step: console.print(step, style="dim", highlight=False))
        return play(
            plan.repo,
            plan.world,
            config.service_settings,
            report,
            users=mix.users,
            seed=seed,
            pace=pace,
            drills=drills(plan.fault, plan.world.weeks),
            causes=plan.causes,
            reading=plan.reading,
            health=config.healthz,
            console=console,
            look_further=look_further(model_repo.read(plan.repo).config.model, state),
        )
    except KeyboardInterrupt:
        say([INTERRUPTED], console)
        raise
    finally:
        stack.down(state)


def play_file(
    config: stack.StackConfig,
    repo: Path,
    data: Path,
    report: Path,
    calendar: Calendar,
    mix: Mix,
    console: Console,
    asked: Asked,
    options: str,
    pace: float | None = None,
) -> Played:
    """Plays a file against a model repo on a stack that is up; `options` are what a printed command
    needs to reach it; `pace`: see `session.play`. mix: whatever the model repo declares.

    Raises:
        BadConfig: the mix has reviewers, and the model repo no sample for them.
        Further ones: see `play`.
    """
    rules = model_repo.read(repo).config
    mix = on(rules, mix)
    labelled = read(data, asked)
    say(labelled.findings.lines(), console)
    world = build(data.stem, labelled.rows(), calendar)
    announce(world, mix, console)
    say(differences(mix, rules.feedback), console)
    return play(
        repo,
        world,
        config.service_settings,
        report,
        users=mix.users,
        seed=calendar.seed,
        pace=pace,
        reading=labelled.findings.card(),
        health=config.healthz,
        console=console,
        look_further=f"`driftgate audit {rules.model}{options}`",
    )


def announce(world: World, mix: Mix, console: Console) -> None:
    """Prints how a world was fitted to its rows and who gives feedback, before anything starts."""
    asked = sum(map(len, world.days))
    first = (
        f"{world.name}: {len(world.launch):,} rows at launch, then {asked:,} requests in "
        f"{world.weeks} weeks, {len(world.labels)} labels"
    )
    notes = (*world.notes, f"feedback is played as {mix.words}")
    say([first, *(f"  {note}" for note in notes)], console)


def empty(state: Path) -> None:
    """Takes down what a demo left in its folder, and removes it.

    Raises:
        BadConfig: the folder holds something else.
    """
    if state.exists() and any(state.iterdir()) and not (state / MARKER).exists():
        raise BadConfig(f"{state} is not a demo's folder and not empty: choose another by --state")
    stack.down(state)
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir(parents=True)
    (state / MARKER).touch()


def look_further(model: str, state: Path) -> str:
    """What shows why a demo ended early: its system is down, and its folder is kept."""
    where = f"--state {shlex.quote(str(state))}"
    return f"`driftgate up --clock world {where}`, then `driftgate audit {model} {where}`"


def show(played: Played, report: Path, next_steps: Sequence[str], console: Console) -> None:
    """What came of it: a table, and below it what can be copied, in lines that are not cut."""
    console.print(summary(played))
    say([played.told.words], console)
    if played.lacking:
        say(
            [
                "not learned or decided for want of evidence:",
                *(f"  {what}" for what in played.lacking),
            ],
            console,
        )
    if played.refused:
        first = f"the first: {played.refused[0]}"
        say([f"requests refused: {len(played.refused)}; {first}"], console)
    say(played.notes, console)
    say([f"page: {report.resolve()}", *(f"next: {step}" for step in next_steps)], console)


def summary(played: Played) -> Table:
    """What came of it, in numbers."""
    result = played.result
    table = Table(title="driftgate demo", title_justify="left", show_header=False)
    weeks = result.weeks

    def percent(value: float | None) -> str:
        return "-" if value is None else f"{value:.1%}"

    table.add_row("feedback", played.feedback or "-")
    table.add_row("answers with feedback of users", f"{played.told.share:.1%}")
    table.add_row("loop held", "yes" if played.held else "NO")

    def ends(values: Sequence[float | None]) -> str:
        return " → ".join(map(percent, (*values[:1], *values[-1:]))) or "-"

    table.add_row("loop, first and last week", ends([week.loop for week in weeks]))
    table.add_row("one-off, first and last week", ends([week.frozen_baseline for week in weeks]))
    table.add_row("gate line", percent(result.gate))
    known = [week.known for week in weeks]
    table.add_row("label has had feedback, lowest week", percent(min(known, default=None)))
    refreshed = f"week {result.refreshed}" if result.refreshed else "there was none"
    table.add_row("first refresh at full traffic", refreshed)
    since = " after it" if result.refreshed else ""
    table.add_row(f"weeks{since} below gate × that share", listed(result.below))
    table.add_row(f"weeks{since} below the gate line itself", listed(result.below_line))
    table.add_row("above the one-off, last four weeks", percent(result.advantage))
    drift = [r for r in played.facts.requests if r["reason"] == "drift"]
    table.add_row("drift-fired refreshes", f"{len(drift)}, false alarms {len(played.false_alarms)}")
    passed = sum(v["result"] == "pass" for v in played.facts.verdicts)
    table.add_row("versions trained / passed", f"{len(played.facts.candidates)} / {passed}")
    spoilt = any(candidate["drill"] for candidate in played.facts.candidates)
    stopped = "yes" if played.drills_stopped else "NO"
    table.add_row("not learned or decided for want of evidence", str(len(played.lacking)))
    table.add_row("spoilt candidate stopped", stopped if spoilt else "none was tried")
    counts = played.facts.counts
    table.add_row("answers stored / doubled", f"{counts['answers']} / {counts['doubled']}")
    table.add_row("dead letters", str(counts["dead_letters"]))
    return table


def listed(weeks: Sequence[int]) -> str:
    return ", ".join(map(str, weeks)) or "none"

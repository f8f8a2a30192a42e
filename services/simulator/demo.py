"""`make demo`: a system of its own, a world, the whole loop, a page. Unattended."""

from __future__ import annotations

import runpy
import shlex
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from deploy.local import stack
from driftgate import model_repo
from driftgate.errors import BadConfig, nearest
from driftgate.labelled import pairs as pair_files
from driftgate.labelled.findings import Findings
from driftgate.labelled.reading import read
from driftgate.labelled.rows import Asked, Row
from driftgate.model_repo import Mask, ModelYaml
from driftgate.scaffold import generation, writing
from driftgate.scaffold.baseline import guesses
from driftgate.scaffold.proposal import Wanted, identified, masked, propose, slug
from driftgate.slices import ALL
from driftgate.tasks import task_of
from services.simulator.dated import shuffled_dates
from services.simulator.kinds import is_written
from services.simulator.lengths import WEEKS, Calendar
from services.simulator.lineage import Followed
from services.simulator.pairs import world_of
from services.simulator.play import Drill
from services.simulator.profiles import SHIPPED, Mix, declare, differences, on
from services.simulator.report import Cause
from services.simulator.schedule import build
from services.simulator.scoring import Gain, Result
from services.simulator.session import Played, play
from services.simulator.world import World

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
EXAMPLE = EXAMPLES / "support-triage"
# A file of this name marks a demo's folder, which the next demo may empty.
MARKER = "demo"
# The fault is rehearsed when the first refreshes have passed and there is a champion to compare.
DRILL_WEEK = 9
SHUFFLED, SHUFFLED_ROOM = "shuffle-labels:", 0.05
# Rows of one training: a demo should end within minutes.
MAX_ROWS = 4800
# A pair takes some thirty times the time of a labelled text.
MAX_PAIRS = 500
# Of an example's folder, what is no part of its model repo.
NOT_DECLARED = ("world.py", "wording", "README.md", "__pycache__")
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


def example(name: str) -> Path:
    """The folder of a shipped world.

    Raises:
        BadConfig: there is none of that name.
    """
    valid = sorted(path.parent.name for path in EXAMPLES.glob("*/world.py"))
    if name not in valid:
        raise BadConfig(f"--example {name}: {nearest(name, valid)}")
    return EXAMPLES / name


def answers_texts(example: Path) -> bool:
    """Whether the model of a shipped world writes."""
    return is_written(task_of(model_repo.declared(example).config.task))


def example_plan(
    scratch: Path,
    calendar: Calendar,
    shuffle: bool = False,
    mix: Mix = SHIPPED,
    example: Path = EXAMPLE,
) -> Plan:
    """A shipped world; its model repo declares the feedback that is played."""
    module: dict[str, Any] = runpy.run_path(str(example / "world.py"))
    config = model_repo.declared(example).config
    path = scratch / f"{example.name}{module['SUFFIX']}"
    calendar = replace(calendar, per_day=calendar.per_day or module["PER_DAY"])
    module["write_world"](path, seed=calendar.seed, per_day=calendar.per_day)
    causes = tuple(Cause(c.name, c.from_week, c.until_week, c.says) for c in module["CAUSES"])
    rows, _ = rows_in(path, config, Asked())
    if shuffle:
        rows, causes = shuffled_dates(rows, calendar.seed), ()
    world = world_on(calendar, example.name, rows, config)
    (protected, *_) = config.gate.protected
    # Causes name weeks, which are others in a world of another length.
    named = causes if world.weeks == WEEKS else ()
    repo = scratch / "model-repo"
    shutil.copytree(example, repo, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*NOT_DECLARED))
    declare(repo, mix)
    return Plan(world, repo, named, fault=None if shuffle else SHUFFLED + protected)


def rows_in(path: Path, config: ModelYaml, asked: Asked) -> tuple[list[Row], Findings]:
    """The rows of a file as the model's kind of task has them: labelled text, or pairs."""
    if is_written(task_of(config.task)):
        pairs = pair_files.read(path, asked)
        return pairs.rows, pairs.findings
    labelled = read(path, asked)
    return labelled.rows(), labelled.findings


def world_on(calendar: Calendar, name: str, rows: Sequence[Row], config: ModelYaml) -> World:
    written = is_written(task_of(config.task))
    return (world_of if written else build)(name, rows, calendar)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A user's file as a world, and what to declare for it; nothing is written yet.

    Attributes:
        launch: the rows to launch with.
        gate: what a version has to get right, 0 to 1.
        write: writes the model repo into a folder.
    """

    world: World
    launch: tuple[Row, ...]
    gate: float
    write: Callable[[Path], object]
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
    wanted = Wanted(
        model=slug(data.stem),
        labels=tuple(world.labels),
        rows=len(world.launch),
        purpose=f"Sorts the texts of {data.name}.",
        frozen_baseline=True,
        labelled_per_day=world.per_day * mix.mean_share(USUALLY_RIGHT),
        max_rows=MAX_ROWS,
    )
    launch = identified(masked(world.launch, Mask()), world.start)
    found = guesses(launch, calendar.seed)
    made = propose(launch, found, wanted, calendar.seed)
    say((f"  {note}" for note in made.notes), console)

    def write(repo: Path) -> None:
        writing.write(repo, made.declaration, made.suite)

    return Prepared(world, made.launch, made.declaration.gate, write, labelled.findings.card())


def prepare_pairs(
    data: Path, calendar: Calendar, asked: Asked, console: Console, shuffle: bool = False
) -> Prepared:
    """Any pairs of inputs and outputs; the declaration depends on the launch pairs alone.

    Raises:
        BadConfig: the file cannot be read, or is too small.
    """
    pairs = pair_files.read(data, asked)
    say(pairs.findings.lines(), console)
    # As they are stored: an answer is compared with what could be learned.
    rows, _ = generation.of_one_form(generation.masked(pairs.rows, Mask()))
    if shuffle:
        rows = shuffled_dates(rows, calendar.seed)
    world = world_of(data.stem, rows, calendar)
    launch = replace(pairs, rows=list(world.launch))
    wanted = generation.Wanted(
        model=slug(data.stem),
        purpose=f"Answers as in {data.name}.",
        frozen_baseline=True,
        answers_per_day=world.per_day,
        max_rows=MAX_PAIRS,
    )
    made = generation.propose(launch, wanted, world.start, calendar.seed)
    say((f"  {note}" for note in made.notes), console)

    def write(repo: Path) -> None:
        generation.write(repo, made)

    return Prepared(world, made.launch, made.gate, write, pairs.findings.card())


def data_plan(found: Prepared, scratch: Path, fault: str | None, mix: Mix = SHIPPED) -> Plan:
    """Writes the model repo of a user's file; it declares the feedback that is played."""
    repo = scratch / "model-repo"
    repo.mkdir(parents=True, exist_ok=True)
    found.write(repo)
    declare(repo, mix)
    launch = tuple(sorted(found.launch, key=lambda row: (row.time or 0, row.text)))
    world = replace(found.world, launch=launch)
    return Plan(world, repo, reading=found.reading, fault=fault)


def detectable(launch: Sequence[Row], gate: float, console: Console) -> bool:
    """Whether the gate would detect shuffled targets: a version that learned from them
    answers with the most frequent one at best."""
    targets = Counter(row.label for row in launch)
    guessed = targets.most_common(1)[0][1] / targets.total()
    if gate > guessed + SHUFFLED_ROOM:
        return True
    say(["  no fault is rehearsed: the gate lies hardly above the most frequent answer"], console)
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
    example: Path = EXAMPLE,
    written: bool = False,
) -> Played:
    """Plays a world in a system of its own; see `run_plan`.

    Args:
        data: a user's file; None: a shipped world, `example`.
        written: the file holds pairs.

    Raises:
        BadConfig: the data cannot be read or make no world; nothing was started.
    """
    plan = planned(data, state, calendar, mix, console, shuffle, asked, example, written)
    return run_plan(plan, state, report, mix, console, calendar.seed, pace)


def planned(
    data: Path | None,
    state: Path,
    calendar: Calendar,
    mix: Mix,
    console: Console,
    shuffle: bool = False,
    asked: Asked | None = None,
    example: Path = EXAMPLE,
    written: bool = False,
) -> Plan:
    """What `run` plays, in a folder that is emptied for it.

    Raises:
        BadConfig: as `run`; the folder is as it was.
    """
    if data is None:
        empty(state)
        return example_plan(state, calendar, shuffle, mix, example)
    asked = asked or Asked()
    if written:
        found = prepare_pairs(data, calendar, asked, console, shuffle)
    else:
        found = prepare(data, calendar, mix, asked, console, shuffle)
    rehearsed = not shuffle and detectable(found.launch, found.gate, console)
    empty(state)
    return data_plan(found, state, SHUFFLED + ALL if rehearsed else None, mix)


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
    rows, findings = rows_in(data, rules, asked)
    say(findings.lines(), console)
    world = world_on(calendar, data.stem, rows, rules)
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
        reading=findings.card(),
        health=config.healthz,
        console=console,
        look_further=f"`driftgate audit {rules.model}{options}`",
    )


def announce(world: World, mix: Mix, console: Console) -> None:
    """Prints how a world was fitted to its rows and who gives feedback, before anything starts."""
    asked = sum(map(len, world.days))
    first = (
        f"{world.name}: {len(world.launch):,} rows at launch, then {asked:,} requests in "
        f"{world.weeks} weeks"
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
    if played.followed:
        say([edit_followed(played.followed)], console)
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


def edit_followed(edit: Followed) -> str:
    """From feedback to the release that learned it, in words."""
    changed = f" of {', '.join(edit.changed)}" if edit.changed else ""
    shares = ", ".join(f"{step} {share:.0%}" for step, share in edit.shares.items())
    return (
        f"one edit followed: request {edit.request_id}, answered by v{edit.answered_by}; its "
        f"edit{changed} is a row of dataset {edit.dataset[:12]} (card {edit.card}), which "
        f"v{edit.version} learned, at full traffic {edit.days:.1f} days after the edit "
        f"({shares})"
    )


def summary(played: Played) -> Table:
    """What came of it, in numbers."""
    result, (measure, grade) = played.result, played.measures
    table = Table(title="driftgate demo", title_justify="left", show_header=False)
    weeks = result.weeks

    def percent(value: float | None) -> str:
        return "-" if value is None else f"{value:.1%}"

    table.add_row("feedback", played.feedback or "-")
    table.add_row("answers with feedback of users", f"{played.told.share:.1%}")
    table.add_row("loop held", "yes" if played.held else "NO")

    def ends(values: Sequence[float | None]) -> str:
        return " → ".join(map(percent, (*values[:1], *values[-1:]))) or "-"

    table.add_row(
        f"{measure} of the loop, first and last week", ends([week.loop for week in weeks])
    )
    table.add_row(f"{measure} of the one-off", ends([week.frozen_baseline for week in weeks]))
    table.add_row("gate line", percent(result.gate))
    if grade is None:
        known = [week.known for week in weeks]
        table.add_row("label has had feedback, lowest week", percent(min(known, default=None)))
    else:
        table.add_row(f"{grade} of the loop", ends([week.loop_grade for week in weeks]))
        table.add_row(f"{grade} of the one-off", ends([week.frozen_grade for week in weeks]))
        formed = [week.well_formed for week in weeks]
        table.add_row("well formed, lowest week", percent(min(formed, default=None)))
    refreshed = f"week {result.refreshed}" if result.refreshed else "there was none"
    table.add_row("first refresh at full traffic", refreshed)
    since = " after it" if result.refreshed else ""
    table.add_row(f"weeks{since} below gate × that share", listed(result.below))
    table.add_row(f"weeks{since} below the gate line itself", listed(result.below_line))
    table.add_row("above the one-off, last four weeks", advantage(result, played.gain))
    drift = len(played.facts.drift_requests)
    table.add_row("drift-fired refreshes", f"{drift}, false alarms {len(played.false_alarms)}")
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


def advantage(result: Result, gain: Gain | None) -> str:
    if result.advantage is None:
        return "-"
    interval = f" (95 %: {gain.low:+.1%} to {gain.high:+.1%})" if gain else ""
    return f"{result.advantage:.1%}{interval}"


def listed(weeks: Sequence[int]) -> str:
    return ", ".join(map(str, weeks)) or "none"

"""The whole loop on a small world: drift → retrain → verdict → rollout → rolled back by command,
and the same decisions when every service is killed once."""

from __future__ import annotations

import random
import runpy
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from rich.console import Console

from deploy.local import stack as local
from deploy.local.stack import StackConfig
from driftgate.audit import broken_links
from driftgate.bus_kafka import KafkaBus
from driftgate.bus_tools import events, newest
from driftgate.codec import Codec
from driftgate.events import DAY_MS, AuditEntry, Rollout, Routing
from driftgate.labelled.reading import read
from driftgate.labelled.rows import Row
from driftgate.model_repo import MODEL_YAML
from driftgate.store import Store
from services.console.operators import new_command
from services.console.orders import send
from services.simulator.demo import EXAMPLE
from services.simulator.lengths import Calendar
from services.simulator.play import Drill
from services.simulator.profiles import BY_NAME, Mix, declare
from services.simulator.schedule import build
from services.simulator.session import Played, play
from services.simulator.world import WEEK_MS, World

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(2400)]

MODEL = "support-triage"
DAYS = 24
# One calm week, then the shop of half a year later: a change that cannot be missed.
CALM_WEEKS, LEAP_TO_WEEK = 1, 20
# So short a world shows something only where people say much.
PEOPLE = Mix((replace(BY_NAME["labels"], share=0.7, share_right=0.7),))
DRILL = Drill(2, "shuffle-labels:language=es")


def leaping_world(folder: Path) -> World:
    """The example's launch and first week, then at once its weeks from `LEAP_TO_WEEK` on."""
    path = folder / "world.csv"
    runpy.run_path(str(EXAMPLE / "world.py"))["write_world"](path, seed=7)
    rows = read(path).rows()
    whole = build(MODEL, rows, Calendar(weeks=24, per_day=60))
    leap = (LEAP_TO_WEEK - 1 - CALM_WEEKS) * WEEK_MS

    def moved(row: Row) -> Row:
        return row.at((row.time or 0) - leap)

    calm = whole.days[: CALM_WEEKS * 7]
    after = whole.days[(LEAP_TO_WEEK - 1) * 7 :][: DAYS - CALM_WEEKS * 7]
    days = (*calm, *(tuple(map(moved, day)) for day in after))
    return replace(whole, days=days)


@dataclass
class Run:
    """A played world whose system is still up."""

    config: StackConfig
    played: Played

    def decisions(self) -> list[tuple[str, str, int, int]]:
        return sorted(
            (entry["service"], entry["decision"], entry["version"] or 0, entry["ms"])
            for entry in self.played.facts.audit
        )


def asking_for_drift_alone(declaration: str) -> str:
    """Without the triggers that would ask before drift is noticed."""
    lines = declaration.splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith(("  new_pairs:", "  new_label:"))]
    assert len(kept) == len(lines) - 2
    return "".join(kept)


def played_on(folder: Path, watch: Callable[[StackConfig, int], None]) -> Run:
    config = StackConfig.on_free_ports(folder / "state", "world")
    local.up(config, progress=lambda _: None)

    world, repo = leaping_world(folder), folder / "model-repo"
    shutil.copytree(EXAMPLE / "evals", repo / "evals")
    (repo / MODEL_YAML).write_text(asking_for_drift_alone((EXAMPLE / MODEL_YAML).read_text()))
    declare(repo, PEOPLE)
    played = play(
        repo,
        world,
        config.service_settings,
        folder / "report.html",
        users=PEOPLE.users,
        seed=7,
        drills=[DRILL],
        console=Console(quiet=True),
        on_day=lambda day: watch(config, day.number),
    )
    return Run(config, played)


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A run in peace."""
    folder = tmp_path_factory.mktemp("quiet")
    try:
        yield played_on(folder, lambda *_: None)
    finally:
        local.down(folder / "state")


def test_drift_is_noticed_and_a_better_version_comes_to_full_traffic(quiet: Run) -> None:
    facts = quiet.played.facts
    drift = facts.drift_requests
    assert drift, "no drift-fired retrain"
    answered = {c["retrain_id"]: c["version"] for c in facts.candidates}
    version = answered[drift[0]["retrain_id"]]
    verdict = facts.verdict(version)
    assert verdict is not None
    assert verdict["result"] == "pass"
    stages = [r["stage"] for r in facts.rollouts if r["challenger"] == version]
    assert [s for s in stages if s in {"shadow", "canary-5", "half"}] == [
        "shadow",
        "canary-5",
        "half",
    ]
    assert any(r["champion"] == version for r in facts.rollouts)
    last = quiet.played.result.weeks[-1]
    assert last.loop is not None
    assert last.frozen_baseline is not None
    assert last.loop > last.frozen_baseline


def test_the_spoilt_candidate_is_stopped_by_the_harness(quiet: Run) -> None:
    assert quiet.played.drills_stopped
    spoilt = next(c for c in quiet.played.facts.candidates if c["drill"])
    verdict = quiet.played.facts.verdict(spoilt["version"])
    assert verdict is not None
    failed = {(a["layer"], a["slice"]) for a in verdict["axes"] if not a["passed"]}
    assert ("task", "language=es") in failed


def test_every_answer_is_stored_once_and_traces_back_to_its_data(quiet: Run) -> None:
    store = Store.connect(quiet.config.store, "driftgate")
    (found,) = store.query(
        "SELECT count() AS rows, uniqExact(topic, partition, offset) AS positions,"
        " uniqExactIf(request_id, role = 'live') AS asked FROM inferences"
    )
    assert found["rows"] == found["positions"]
    assert found["asked"] == sum(week.answers for week in quiet.played.result.weeks)
    untraced = store.query(
        "SELECT digest FROM inferences WHERE digest NOT IN (SELECT adapter_digest FROM candidates)"
    )
    assert untraced == []
    assert quiet.played.facts.counts["dead_letters"] == 0


def test_the_audit_chain_is_unbroken(quiet: Run) -> None:
    codec = Codec.load(quiet.config.service_settings.schemas)
    entries = list(events(KafkaBus(quiet.config.kafka), codec, AuditEntry))
    assert entries
    assert broken_links(entries) == []


@pytest.mark.long
def test_the_same_decisions_and_counts_when_every_service_is_killed(
    quiet: Run, tmp_path: Path
) -> None:
    """Each service once, at a random moment of a random day: amid requests, or while the world
    waits."""
    rng = random.Random(11)
    days = dict(zip(rng.sample(range(1, DAYS - 3), 6), local.SERVICES, strict=True))
    killed: list[str] = []

    def kill(config: StackConfig, day: int) -> None:
        def now() -> None:
            local.kill(config.state_dir, days[day], signal.SIGKILL)
            killed.append(days[day])

        if day in days:
            threading.Timer(rng.uniform(0, 1.2), now).start()

    try:
        broken = played_on(tmp_path, kill)
        assert sorted(killed) == sorted(local.SERVICES)
        assert broken.decisions() == quiet.decisions()
        kept = ("answers", "feedback", "dead_letters", "doubled", "audit")
        counts = [{k: r.played.facts.counts[k] for k in kept} for r in (broken, quiet)]
        assert counts[0] == counts[1]
        digests = [
            sorted(c["adapter_digest"] for c in r.played.facts.candidates) for r in (broken, quiet)
        ]
        assert digests[0] == digests[1]
    finally:
        local.down(tmp_path / "state")


def test_an_operator_takes_the_champion_back(quiet: Run) -> None:
    """Last: it changes the system that the other tests look at."""
    settings = quiet.config.service_settings
    bus, codec = KafkaBus(settings.kafka), Codec.load(settings.schemas)
    before = newest(bus, codec, Rollout)[MODEL]
    at, champion = before.time + DAY_MS, before.champion  # by name: another one may be tried
    send(settings, new_command(MODEL, "rollback", {}, "test", "complaints", at, champion))
    deadline = time.monotonic() + 180
    while newest(bus, codec, Rollout)[MODEL].champion == before.champion:
        assert time.monotonic() < deadline, "the rollback was not obeyed"
    assert newest(bus, codec, Routing)[MODEL].arms[0].version == before.previous

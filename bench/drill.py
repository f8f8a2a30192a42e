"""The whole system in trouble: the shipped world on a paced clock, three routers of which one has
another base in its folder, a second promoter and a second drift-detector; every service is
SIGKILLed at random, the store and Kafka are away for a minute each. What was decided, stored and
served is held against what must be (`bench/parts/decisions.py`)."""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from safetensors.numpy import load_file, save_file

from bench.figure import Figure
from bench.parts import decisions, rollbacks
from bench.parts.trouble import Replica, Trouble
from deploy.local import stack
from deploy.local.plan import StackConfig, free_ports
from driftgate.bases import MINILM, resolve
from driftgate.bus_kafka import KafkaBus
from driftgate.bus_tools import events
from driftgate.codec import Codec
from driftgate.config import PREFIX
from driftgate.events import (
    AuditEntry,
    Candidate,
    DriftAlert,
    RetrainRequest,
    Rollout,
    Routing,
    RoutingAck,
    Verdict,
)
from driftgate.store import Store
from services.simulator import demo, session
from services.simulator.lengths import Calendar
from services.simulator.profiles import SHIPPED
from services.simulator.session import Played

BASE = "drill/minilm"
REVISION = "1"
CONTROL = (
    DriftAlert,
    RetrainRequest,
    Candidate,
    Verdict,
    Rollout,
    Routing,
    RoutingAck,
    AuditEntry,
)


def run(args: list[str]) -> list[Figure]:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=20, help="that the 24 weeks take")
    parser.add_argument("--kills", type=int, default=3, help="of each service")
    parser.add_argument("--away", type=float, default=60, help="seconds of each outage")
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args(args)
    console = Console()
    state = Path(".driftgate/drill").resolve()
    demo.empty(state)
    plan = demo.example_plan(state, Calendar(seed=given.seed))
    repo = with_base(plan.repo, state / "repo")
    right, wrong = hub(state / "hub", 0.0), hub(state / "other-hub", 0.05)
    config = StackConfig.on_free_ports(state, "world")
    os.environ["HF_HOME"] = str(right)  # of all that is started, Ray's workers among them
    addresses = [config.router, *(f"127.0.0.1:{port}" for port in free_ports(2))]
    no_http = {f"{PREFIX}HTTP_DOOR": ""}
    replicas = [
        Replica(config, "router", 1, no_http | {f"{PREFIX}ROUTER": addresses[1]}),
        Replica(
            config,
            "router",
            2,
            no_http | {f"{PREFIX}ROUTER": addresses[2], "HF_HOME": str(wrong)},
        ),
        Replica(config, "promoter", 1),
        Replica(config, "drift_detector", 1),
    ]
    trouble = Trouble(
        config=config,
        replicas=replicas,
        seconds=given.minutes * 60 * 0.85,
        kills=given.kills,
        outages=("clickhouse", "kafka"),
        away=given.away,
        tell=lambda words: console.print(words, style="yellow", highlight=False),
        seed=given.seed,
    )
    try:
        stack.up(config, console.print)
        settings = config.service_settings.model_copy(update={"router": ",".join(addresses)})
        with running(replicas):
            played = session.play(
                repo,
                plan.world,
                settings,
                Path(".driftgate/drill-report.html"),
                users=SHIPPED.users,
                seed=given.seed,
                pace=len(plan.world.days) * 86_400 / (given.minutes * 60),
                drills=demo.drills(plan.fault, plan.world.weeks),
                causes=plan.causes,
                health=config.healthz,
                console=console,
                on_day=lambda day: trouble.start(),
            )
            trouble.stop()
            return judged(config, played, trouble)
    finally:
        stack.down(state)


def judged(config: StackConfig, played: Played, trouble: Trouble) -> list[Figure]:
    settings = config.service_settings
    codec, bus = Codec.load(settings.schemas), KafkaBus(settings.kafka)
    store = Store.connect(settings.store, settings.database)
    said = [event for kind in CONTROL for event in events(bus, codec, kind)]
    faults = decisions.faults(said)
    lost = lost_or_doubled(bus, store)
    entries = decisions.of(said, AuditEntry)
    answers, truths = played.facts.answers, played.truths
    back = [
        entry.words
        for entry in decisions.taken_back(entries)
        if rollbacks.wrong(entry.inputs, answers, truths)
    ]
    able, named = served(said)
    result, released = played.result, releases(said)
    made = ", ".join(f"{what} ×{count}" for what, count in sorted(trouble.made.items()))
    both = {"router-0", "router-1"} <= set(able)
    return [
        Figure("trouble", made, "all that was planned", not trouble.missing),
        *(Figure("trouble that missed", missed) for missed in trouble.missing),
        Figure("answers", f"{sum(week.answers for week in result.weeks):,}"),
        Figure("wrong rollbacks", listed(back), "0", not back),
        Figure("doubled, contradicting or forked decisions", listed(faults), "0", not faults),
        Figure("rows lost or doubled", listed(lost), "0", not lost),
        Figure("releases after the first", str(released), "≥ 1", released > 0),
        Figure("serve the newest epoch", ", ".join(able), "router-0, router-1", both),
        Figure("refuse it, by name", ", ".join(named), "router-2", named == ["router-2"]),
        Figure("loop above the frozen baseline, last four weeks", f"{result.advantage or 0:+.1%}"),
        Figure("weeks below the gate line itself", str(len(result.below_line))),
        Figure("how it went", "; ".join(played.notes)),
    ]


def listed(faults: Sequence[str]) -> str:
    return "0" if not faults else f"{len(faults)}: {'; '.join(faults[:5])}"


def lost_or_doubled(bus: KafkaBus, store: Store) -> list[str]:
    """Records of the topics against rows of the tables."""
    found = []
    for topic in ("inferences", "feedback"):
        sent = sum(bus.ends([topic]).values())
        (row,) = store.query(
            f"SELECT count() AS n, uniqExact(topic, partition, offset) AS places FROM {topic}"
        )
        if (int(row["n"]), int(row["places"])) != (sent, sent):
            found.append(f"{topic}: {sent} sent, {row['n']} rows of {row['places']} places")
    (row,) = store.query("SELECT count() AS n, uniqExact(outcome_id) AS ids FROM outcomes")
    (given,) = store.query("SELECT uniqExact(feedback_id) AS n FROM feedback")
    if not int(row["n"]) == int(row["ids"]) == int(given["n"]):
        found.append(f"outcomes: {row['n']} rows of {row['ids']} ids for {given['n']} feedbacks")
    return found


def served(said: Sequence[Any]) -> tuple[list[str], list[str]]:
    """Routers that serve the newest epoch, and those that refuse it."""
    epoch = max(routing.epoch for routing in decisions.of(said, Routing))
    newest = {
        ack.router: ack.status for ack in decisions.of(said, RoutingAck) if ack.epoch == epoch
    }
    return (
        sorted(router for router, status in newest.items() if status == "serving"),
        sorted(router for router, status in newest.items() if status == "refused"),
    )


def releases(said: Sequence[Any]) -> int:
    """Versions that came to full traffic after the first."""
    champions = [state.champion for state in decisions.of(said, Rollout) if state.champion]
    return len(dict.fromkeys(champions)) - 1


@contextmanager
def running(replicas: Sequence[Replica]) -> Iterator[None]:
    for replica in replicas:
        replica.start()
    try:
        yield
    finally:
        for replica in replicas:
            replica.stop()


def with_base(repo: Path, into: Path) -> Path:
    """The model repo on a base from the hub, of which each machine has a copy of its own."""
    shutil.copytree(repo, into)
    declared = into / "model.yaml"
    text = declared.read_text()
    assert "all-MiniLM-L6-v2" in text
    declared.write_text(text.replace("all-MiniLM-L6-v2", f"{BASE}@{REVISION}"))
    return into


def hub(home: Path, changed: float) -> Path:
    """A hub cache that holds the base; its weights are `changed` by so much."""
    files = resolve(MINILM).path
    repo = home / "hub" / f"models--{BASE.replace('/', '--')}"
    snapshot = repo / "snapshots" / REVISION
    shutil.copytree(files, snapshot)
    (repo / "refs").mkdir()
    (repo / "refs" / REVISION).write_text(REVISION)
    if changed:
        weights = snapshot / "model.safetensors"
        tensors = load_file(weights)
        save_file({name: tensor + changed for name, tensor in tensors.items()}, weights)
    return home

"""What `driftgate triggers explain` finds in the topics and the store, and how it says it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from drift_world import MODEL, YAML, day, outcome, routing, verdict
from ingesting import inference
from memory_harness import MemoryHarness
from typer.testing import CliRunner, Result

from driftgate.bus import Position
from driftgate.codec import Codec
from driftgate.config import Settings
from driftgate.drift.learned_seasons import PassedIncident
from driftgate.drift.observations import of_outcome
from driftgate.drift.supply import Learned, New, Supply, supplied
from driftgate.events import DriftAlert, Outcome, RetrainRequest
from driftgate.model_repo import ModelYaml, parse
from driftgate.store import Store, migrate
from driftgate.topology import DRIFT
from services.console import cli, new_pairs, triggers_cli

SCHEMAS = Path(__file__).parents[2] / "schemas"
CONFIG: ModelYaml = parse(
    YAML.replace(
        "triggers:\n",
        "triggers:\n  new_pairs: 100\n  new_label: 10\n  new_source: 5\n  cadence_days: 56\n"
        "  budget: {runs: 4}\n",
    )
)
KNOWN = Learned(frozenset({"delivery", "refund"}), day(20))
NOW = day(30.5)
ENGLISH, FRENCH = {"language": "en"}, {"language": "fr", "customer": "7"}


def said(number: int, at: float, slices: dict[str, str] = ENGLISH, **what: Any) -> Outcome:
    correct = None if what.get("kind") == "retraction" else False
    return outcome(number, day(at), correct, slices=slices, **what)


SAID = [
    said(0, 2, label="billing"),
    *(said(number, 21, label="billing") for number in range(1, 5)),
    said(4, 22, label="billing", outcome_id="again"),
    said(5, 22, FRENCH, edited="refund"),
    said(6, 22, FRENCH, label="refund"),
    said(7, 22, rating=0.0, kind="rating"),
    said(8, 22, label="delivery"),
    said(8, 23, kind="retraction", outcome_id="back"),
    said(9, 19, label="refund"),
    said(4, 22, label="delivery", outcome_id="bob's", reviewer="bob"),
    said(4, 23, kind="retraction", outcome_id="his", retracts="bob's", reviewer="bob"),
]
ASKED = RetrainRequest(
    retrain_id="post:drift:1", model=MODEL, reason="drift", words="errors rose", time=day(20)
)


PASSED = PassedIncident("post@2:errors:all:1", "quality (all)", day(20 - 365), day(60 - 365), 2)


def audited(known: tuple[PassedIncident, ...]) -> dict[str, Any]:
    """As the drift-detector tells what passed."""
    result = json.dumps({"incidents": [asdict(one) for one in known]})
    names = ("audit_id", "inputs", "words", "previous_hash", "hash")
    entry = {"model": MODEL, "service": DRIFT, "decision": "passed", "result": result}
    return {**dict.fromkeys(names, ""), **entry, "version": 2, "time": day(28)}


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    offsets = count()
    found = Store.in_process()
    found.command("CREATE DATABASE triggers_unit")
    found.command("USE triggers_unit")
    migrate(found, SCHEMAS / "store")

    def append(table: str, rows: list[dict[str, Any]]) -> None:
        place = {"topic": table, "partition": 0}
        found.append(table, [{**place, "offset": next(offsets), **row} for row in rows])

    append("outcomes", [one.as_dict() for one in SAID])
    for known in ((), (PASSED,)):
        append("audit", [audited(known)])
    answers = [inference(f"a{n}", version=1 + (n > 2), time=day(29)) for n in range(9)]
    append("inferences", [answer | {"model": MODEL} for answer in answers])
    yield found
    found.command("DROP DATABASE triggers_unit")
    found.close()


def test_the_store_counts_as_the_detector_does(store: Store) -> None:
    found = new_pairs.read(store, MODEL, CONFIG, KNOWN, day(20), NOW)
    assert found == New(6, {"billing": 4}, {"language=fr": 2})
    seen = [of_outcome(one, (Position("outcomes", 0), n)) for n, one in enumerate(SAID)]
    live = supplied(Supply(), [one for one in seen if one], CONFIG, KNOWN, day(20))
    assert live.new(KNOWN) == found
    assert new_pairs.read(store, "other", CONFIG, KNOWN, day(20), NOW) == New()


def test_the_version_that_answers_most_is_watched_where_nothing_is_routed(store: Store) -> None:
    assert new_pairs.live_version(store, MODEL, day(28)) == 2
    assert new_pairs.live_version(store, MODEL, day(30)) is None


@pytest.fixture
def explained(store: Store, codec: Codec, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs the command on that store, and on topics that hold these events."""

    def run(*arguments: str, events: Any = (), config: ModelYaml = CONFIG) -> Result:
        harness = MemoryHarness(codec)
        harness.send(*events)
        monkeypatch.setattr(triggers_cli, "KafkaBus", lambda *_: harness.bus)
        monkeypatch.setattr(triggers_cli, "settings", lambda *_: Settings())
        monkeypatch.setattr(triggers_cli, "model_yaml", lambda *_: config)
        monkeypatch.setattr(triggers_cli, "now", lambda *_: NOW)
        monkeypatch.setattr(store, "close", lambda: None)
        monkeypatch.setattr(Store, "connect", lambda *_: store)
        return CliRunner().invoke(cli.app, ["triggers", "explain", MODEL, *arguments])

    return run


def judged() -> list[Any]:
    """Version 3 passed and is champion; it never answers billing."""
    told = verdict(3, day(20), retrain_id=ASKED.retrain_id)
    reference = {**told.reference, "share:billing|all": 0.0}
    return [ASKED, replace(told, reference=reference), routing(3, day(21))]


def test_what_is_missing_is_told_and_what_comes_next(explained: Callable[..., Result]) -> None:
    result = explained(events=judged())
    assert result.exit_code == 0, result.output
    assert result.output.splitlines() == [
        "post at 2026-01-31 12:00 UTC: version 3 is watched; last request: drift, "
        "2026-01-21 00:00 UTC",
        "  drift       on   a critical incident that no request has answered",
        "  accuracy    on   a critical incident below the gate's bar that no request has answered",
        "  new_label   on   4 of 10 of billing",
        "  new_source  on   2 of 5 of language=fr",
        "  score       off",
        "  new_pairs   on   6 of 100",
        "  cadence     on   due 2026-03-18 00:00",
        "  operator    on   `driftgate retrain`, which waits for nothing",
        "  budget           1 of 4 requests in this month",
        "  season           from 2026-01-07 00:00: learned season until 2026-03-17 00:00: quality "
        "(all) passed by itself, 2025-01-21 00:00 to 2025-03-02 00:00; version 2 came through "
        "the last one",
        "  waits            cooldown until 2026-02-04 00:00",
        "  next             new_label, about 2026-02-16 06:00, at the present rate",
    ]


def alert_of(at: float) -> DriftAlert:
    return DriftAlert(
        alert_id="i:open",
        incident_id="i",
        model=MODEL,
        version=3,
        monitor="errors",
        signal="quality",
        slice="all",
        detector="e-detector",
        statistic=1.0,
        threshold=1.0,
        events=50,
        window_start=day(at - 3),
        window_end=day(at),
        severity="critical",
        summary="errors rose from 9 % to 17 %",
        time=day(at),
    )


def test_an_open_incident_is_next_once_the_cooldown_is_over(
    explained: Callable[..., Result],
) -> None:
    alert = alert_of(28)
    close = replace(alert, alert_id="i:close", transition="close", time=day(29))
    result = explained("--json", events=[*judged(), alert])
    told = json.loads(result.output)
    assert (told["model"], told["version"], told["last"]["reason"]) == (MODEL, 3, "drift")
    assert told["next"]["name"] == "drift"
    assert told["next"]["time"] == day(34)
    assert told["triggers"][0]["waits_for"] == "1 open: errors rose from 9 % to 17 %"
    assert told["holds"][0]["kind"] == "cooldown"
    over = json.loads(explained("--json", events=[*judged(), alert, close]).output)
    assert over["next"]["name"] == "new_label"


def test_a_learned_season_holds_an_open_incident_up(explained: Callable[..., Result]) -> None:
    triggers = CONFIG.triggers.model_copy(update={"learned_seasons": "wait"})
    waits = CONFIG.model_copy(update={"triggers": triggers})
    result = explained("--json", events=[*judged(), alert_of(28)], config=waits)
    told = json.loads(result.output)
    assert [one["last"]["incident_id"] for one in told["seasons"]] == [PASSED.incident_id]
    assert [one["kind"] for one in told["holds"]] == ["cooldown", "season"]
    assert told["next"]["name"] != "drift"


def test_before_the_launch_nothing_is_on_its_way(explained: Callable[..., Result]) -> None:
    printed = explained().output
    assert "version 2 is watched; last request: none" in printed
    assert "  new_pairs   on   the launch\n" in printed
    assert "nothing that can be told: no trigger is on its way" in printed

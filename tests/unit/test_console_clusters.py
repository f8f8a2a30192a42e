"""`driftgate clusters` on the store's engine: what is new since an incident, by masked texts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from ingesting import NOON, inference
from typer.testing import CliRunner, Result

from driftgate.config import Settings
from driftgate.drift.new_groups import Embeddings
from driftgate.events import DAY_MS
from driftgate.store import Store, migrate
from services.console import clusters_cli

SCHEMAS = Path(__file__).parents[2] / "schemas"
OFFSETS = count()
USUAL = ("where is my parcel today", "please refund the money")
NEW = "how do I redeem my loyalty points [EMAIL]"
CHANGE = NOON + DAY_MS
INCIDENT = "triage@1:clusters:all:refund:1"


def embedded(texts: list[str]) -> Embeddings:
    """Each topic has a direction, and each text lies somewhere near it."""
    topics = ("parcel", "refund", "points")
    centres = np.eye(32)[[next(n for n, t in enumerate(topics) if t in text) for text in texts]]
    vectors = centres + np.random.default_rng(0).normal(0, 0.1, centres.shape)
    found: Embeddings = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype("float32")
    return found


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    """Model `triage` is asked for a day what it knows, and the next day also something else, of
    which an incident was told; `hashed` keeps no texts."""
    found = Store.in_process()
    found.command("CREATE DATABASE clusters_unit")
    found.command("USE clusters_unit")
    migrate(found, SCHEMAS / "store")

    def append(table: str, events: list[dict[str, Any]]) -> None:
        place = {"topic": table, "partition": 0}
        found.append(table, [{**place, "offset": next(OFFSETS), **event} for event in events])

    usual = [
        inference(f"u{n}", input=USUAL[n % 2], time=NOON + n * 2 * DAY_MS // 600)
        for n in range(600)
    ]
    new = [
        inference(f"n{n}", input=NEW, output="refund", time=CHANGE + n * 60_000) for n in range(50)
    ]
    shadow = [inference(f"s{n}", input=NEW, role="shadow", time=CHANGE) for n in range(300)]
    hashed = [inference(f"h{n}", model="hashed", input=None, time=NOON + n) for n in range(20)]
    append("inferences", [*usual, *new, *shadow, *hashed])
    append("inferences", new[:20])  # sent again
    append("drift_alerts", [alert("open", CHANGE, CHANGE - 60_000)])
    yield found
    found.command("DROP DATABASE clusters_unit")
    found.close()


def alert(transition: str, since: int, earliest: int) -> dict[str, Any]:
    return {
        "alert_id": f"{INCIDENT}:{transition}",
        "incident_id": INCIDENT,
        "transition": transition,
        "model": "triage",
        "version": 1,
        "monitor": "clusters",
        "signal": "input",
        "slice": "all",
        "detector": "e-detector",
        "statistic": 1.0,
        "threshold": 1.0,
        "events": 100,
        "window_start": since,
        "window_end": since + DAY_MS,
        "since_earliest": earliest,
        "severity": "critical",
        "evidence": {},
        "summary": "",
        "time": since + DAY_MS,
    }


@pytest.fixture
def asked(store: Store, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs the command on that store."""
    monkeypatch.setattr(clusters_cli, "settings", lambda *_: Settings())
    monkeypatch.setattr(clusters_cli, "embedded", embedded)
    monkeypatch.setattr(store, "close", lambda: None)
    monkeypatch.setattr(Store, "connect", lambda *_: store)
    app = typer.Typer()
    app.command()(clusters_cli.new_clusters)
    return lambda *args: CliRunner().invoke(app, args, env={"COLUMNS": "200"})


def said(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.output


def test_what_is_new_since_the_newest_incident_is_named_and_shown(
    asked: Callable[..., Result],
) -> None:
    shown = said(asked("triage"))
    assert f"350 inputs since 2026-01-06 00:00 UTC, when {INCIDENT} began" in shown
    assert "1. 14.3% (11.0% to 18.3%): " in shown
    assert "loyalty" in shown
    assert "how do I redeem my loyalty points [EMAIL]  → refund" in shown
    assert "above 10% of the traffic: 1 of 1" in shown


def test_programs_get_ids_texts_and_the_interval(asked: Callable[..., Result]) -> None:
    for options in ((), ("--incident", INCIDENT), ("--since", "2026-01-06")):
        told = json.loads(said(asked("triage", "--json", *options)))
        (cluster,) = told["clusters"]
        assert cluster["answers"] == 50
        assert cluster["above"]
        assert cluster["low"] < cluster["share"] < cluster["high"]
        assert len(cluster["examples"]) == 5
        assert {one["text"] for one in cluster["examples"]} == {NEW}
        assert all(one["request_id"].startswith("n") for one in cluster["examples"])
        assert told["incident"] == (None if "--since" in options else INCIDENT)


def test_where_nothing_is_new_it_says_so(asked: Callable[..., Result]) -> None:
    shown = said(asked("triage", "--since", "2026-01-06T12:00"))
    assert shown.endswith("no new group is above 10% of the traffic\n")
    assert "1." not in shown.splitlines()[1]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("hashed", "--since", "2026-01-05T00:00"), "expected `data.keep_text: true`"),
        (
            ("triage", "--incident", "x"),
            f"--incident x: expected one of triage; the newest are: {INCIDENT}",
        ),
        (("triage", "--incident", "x", "--since", "2d"), "expected one of them"),
        (("triage", "--since", "30d"), "a --since that has answers before it"),
        (("triag",), "model 'triag' has no answers stored: did you mean 'triage'?"),
    ],
)
def test_what_cannot_be_looked_at_says_why(
    asked: Callable[..., Result], words: tuple[str, ...], says: str
) -> None:
    result = asked(*words)
    assert result.exit_code == 2, result.output
    assert says in " ".join(result.output.split())


def test_the_base_that_comes_along_embeds_what_is_alike_near_each_other() -> None:
    texts = ["where is my parcel", "my parcel has not arrived", "how do I redeem loyalty points"]
    alike = (found := clusters_cli.embedded(texts)) @ found.T
    assert np.diag(alike) == pytest.approx(1, abs=1e-4)
    assert alike[0, 1] > 0.5 > alike[0, 2]

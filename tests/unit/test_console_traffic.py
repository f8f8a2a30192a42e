"""What an operator is told about a model's traffic, from the roll-ups alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import typer
from ingesting import NOON, feedback, inference, outcome
from typer.testing import CliRunner, Result

from driftgate.config import Settings
from driftgate.errors import BadConfig
from driftgate.events import DAY_MS, HOUR_MS
from driftgate.store import Store, migrate
from services.console import traffic_cli, traffic_page
from services.console.traffic import ALL, EACH, KEYS, ROWS, By, Row, Span, rows, span_of

SCHEMAS = Path(__file__).parents[2] / "schemas"
START_S = NOON // 1000
WEEK = 7 * DAY_MS
OFFSETS = count()

English, Spanish = {"language": "en"}, {"language": "es"}


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    """Version 1 answered a hundred times within an hour, slower and slower; of ten answers it is
    known that eight were right. Version 2 answered twenty times the next day, and an hour before
    that as a shadow. Of an older week there is one answer."""
    found = Store.in_process()
    found.command("CREATE DATABASE traffic_unit")
    found.command("USE traffic_unit")
    migrate(found, SCHEMAS / "store")

    def append(table: str, events: list[dict[str, Any]]) -> None:
        place = {"topic": table, "partition": 0}
        found.append(table, [{**place, "offset": next(OFFSETS), **event} for event in events])

    first = [
        # Most are fast and of one minute, so that no mean of minutes gives the percentiles.
        inference(f"a{n}", latency_ms=float(n), time=NOON + max(0, n - 70) * 60_000)
        for n in range(1, 101)
    ]
    second = [
        inference(
            f"b{n}", version=2, slices=Spanish, time=NOON + DAY_MS, confidence=None if n else 0.5
        )
        for n in range(20)
    ]
    shadow = [inference("c", version=2, role="shadow", time=NOON + DAY_MS - HOUR_MS)]
    old = [inference("d", time=NOON - WEEK)]
    append("inferences", [*first, *second, *shadow, *old])
    said = [
        feedback(answer["request_id"], label="delivery" if n < 8 else "refund")
        for n, answer in enumerate(first[:10])
    ]
    unsure = [feedback("a99", label=None)]
    judged = [outcome(given, answer) for given, answer in zip(said, first, strict=False)]
    append("outcomes", [*judged, *judged[:3], outcome(unsure[0], first[98])])
    yield found
    found.command("DROP DATABASE traffic_unit")
    found.close()


@pytest.fixture
def asked(store: Store, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs the command on that store."""
    monkeypatch.setattr(traffic_cli, "settings", lambda *_: Settings())
    monkeypatch.setattr(store, "close", lambda: None)
    monkeypatch.setattr(Store, "connect", lambda *_: store)
    app = typer.Typer()
    app.command()(traffic_cli.traffic)
    return lambda *args: CliRunner().invoke(app, args)


def found(store: Store, by: By = By.VERSION, slice_: str = ALL, since: str = "7d") -> list[Row]:
    return list(rows(store, "triage", slice_, by, span_of(store, "triage", ALL, since)))


def test_versions_with_what_is_known_about_them(store: Store) -> None:
    first, second = found(store)
    assert (first.key, first.answers, first.confidence) == ("1", 100, 0.75)
    assert (first.known, first.right, first.accuracy) == (10, 8, 0.8)
    assert first.interval == pytest.approx((0.490, 0.943), abs=0.001)
    assert (second.key, second.answers, second.confidence) == ("2", 20, 0.5)
    assert (second.known, second.accuracy) == (0, None)


def test_percentiles_are_those_of_all_answers(store: Store) -> None:
    assert found(store)[0].latency_ms == pytest.approx((50, 95, 99), abs=1.5)


def test_time_counts_back_from_the_newest_answer(store: Store) -> None:
    def answers(since: str) -> dict[str, int]:
        return {row.key: row.answers for row in found(store, since=since)}

    assert answers("1h") == {"2": 20}
    assert answers("7d") == {"1": 100, "2": 20}
    assert answers("30d") == {"1": 101, "2": 20}
    assert answers("2026-01-05T00:01") == {"1": 30, "2": 20}


def test_slices_and_days(store: Store) -> None:
    by_slice = [(row.key, row.answers, row.known) for row in found(store, By.SLICE, EACH)]
    assert by_slice == [("all", 120, 10), ("language=en", 100, 10), ("language=es", 20, 0)]
    by_day = [(row.key, row.answers, row.known) for row in found(store, By.DAY)]
    assert by_day == [("2026-01-05", 100, 10), ("2026-01-06", 20, 0)]
    (spanish,) = found(store, slice_="language=es")
    assert (spanish.key, spanish.answers) == ("2", 20)


@pytest.mark.parametrize("by", list(By))
def test_only_roll_ups_are_read(store: Store, by: By) -> None:
    times = {"since": START_S, "until": START_S + 60, "step": 60}
    values = {"model": "triage", "slice": ALL, **times}
    plan = str(store.query(f"EXPLAIN {ROWS.substitute(key=KEYS[by])}", **values))
    assert re.findall(r"ReadFromMergeTree \((\S+)\)", plan) == ["per_minute", "per_minute"]


def test_the_command_prints_a_table_that_fits(asked: Callable[..., Result]) -> None:
    result = asked("triage")
    assert result.exit_code == 0, result.output
    assert "2025-12-30 00:01 to 2026-01-06 00:01 UTC" in result.output
    (line,) = (line for line in result.output.splitlines() if "80.0%" in line)
    assert "49.0–94.3" in line
    assert "83.3%" in line, "the share of all answers"
    assert "│language=es│" in asked("triage", "--by", "slice").output
    assert "│2026-01-05│" in asked("triage", "--by", "day").output


def test_what_is_not_there_is_told_with_what_is(store: Store, asked: Callable[..., Result]) -> None:
    wrong = asked("triaje")
    assert wrong.exit_code == 2
    assert "'triaje' has no answers stored; known are ['triage']" in wrong.output
    assert "did you mean 'language=es'?" in asked("triage", "--slice", "language=ex").output
    assert "not both" in asked("triage", "--slice", "language=es", "--by", "slice").output
    with pytest.raises(BadConfig, match="up to 2026-01-06T00:00"):
        span_of(store, "triage", ALL, "2027-01-01")


def test_a_page_has_a_line_for_each_version_and_slice(
    store: Store, asked: Callable[..., Result], tmp_path: Path
) -> None:
    path = tmp_path / "new" / "traffic.html"
    result = asked("triage", "--page", str(path))
    assert result.exit_code == 0, result.output
    text = path.read_text(encoding="utf-8")
    assert "version 2" in text
    assert not re.search(r"<(script|link)[^>]+(src|href)=", text), "it needs nothing from elsewhere"
    span = span_of(store, "triage", ALL, "2026-01-05")
    by_version = rows(store, "triage", ALL, By.VERSION, span, 6 * 3600)
    chart = traffic_page.figure("triage", by_version, [])
    answers = {line.name: sum(line.y) for line in chart.data if line.yaxis == "y3"}
    assert answers == {"version 1": 100, "version 2": 20}
    (accuracy,) = (line for line in chart.data if line.yaxis == "y" and line.name == "version 1")
    assert accuracy.y == (0.8,)
    assert accuracy.error_y.array[0] == pytest.approx(0.143, abs=0.001)


@pytest.mark.parametrize(
    ("days", "step_hours"), [(1 / 24, 1 / 6), (1, 1), (7, 6), (30, 24), (168, 168), (4000, 168)]
)
def test_a_line_has_as_many_points_as_can_be_read(days: float, step_hours: float) -> None:
    assert traffic_page.step_of(Span(0, round(days * 86_400))) == step_hours * 3600

"""People review a random sample of answers: the commands, on Apache Kafka and ClickHouse."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import typer
from ingesting import LABELS, Harness, declaration, feedback, inference, model_yaml, start_here
from typer.testing import CliRunner, Result

from deploy.local.plan import StackConfig
from driftgate import buckets
from driftgate.artifacts import Artifacts
from driftgate.buckets import bucket
from driftgate.bus_kafka import KafkaBus
from driftgate.codec import Codec
from driftgate.config import Settings
from driftgate.drift.monitoring import Evidence, fold
from driftgate.events import DAY_MS
from driftgate.model_repo import Monitor, parse
from driftgate.review import drawn, salt
from driftgate.store import Store, migrate
from services.console import feedback_cli, review_cli
from services.console.stored_events import observations

pytestmark = pytest.mark.stack
NOW = time.time_ns() // 1_000_000
HOUR_MS = 3_600_000
SAMPLE = """
feedback: {{profile: [complaints, review]}}
review: {{share: 0.5, twice: {twice}, days: 14, instructions: "3"}}
"""
REQUESTS = 40

Run = Callable[..., Result]


@pytest.fixture
def model() -> str:
    return f"r-{uuid4().hex[:8]}"


@pytest.fixture
def database(model: str) -> str:
    return f"review_{model[2:]}"


@pytest.fixture
def world(settings: Settings, kafka: KafkaBus, codec: Codec, database: str) -> Iterator[Harness]:
    """Ingestion into a database of its own."""
    store = Store.connect(settings.store, database)
    migrate(store, settings.schemas / "store")
    start_here(store, kafka, codec)
    harness = Harness(kafka, store, codec, Artifacts(settings.artifacts), settings)
    yield harness
    harness.close()
    store.command(f"DROP DATABASE {database}")
    store.close()


@pytest.fixture
def run(stack: StackConfig, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command, against that database. Nobody waits for the store: a test steps ingestion. The
    time is the machine's, whatever ticks other tests wrote."""
    monkeypatch.setattr(review_cli, "STORED_SECONDS", 0.0)
    for module in (review_cli, feedback_cli):
        monkeypatch.setattr(module, "now", lambda _: time.time_ns() // 1_000_000)

    def invoked(*words: str, typed: str = "") -> Result:
        environment = {
            **stack.environment,
            "DRIFTGATE_DATABASE": database,
            "COLUMNS": "200",
            "USER": "ada",
        }
        nowhere = ["--state", str(tmp_path / "no-stack")]
        return CliRunner().invoke(review_cli.app, [*words, *nowhere], env=environment, input=typed)

    return invoked


def said(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.output


def refused(result: Result, status: int = 2) -> str:
    assert result.exit_code == status, result.output
    return result.output


def answered(world: Harness, folder: Path, model: str, twice: float = 0.0) -> set[str]:
    """Declares a model that draws half of its requests, of which `REQUESTS` were answered by a live
    version and a shadow; returns the sample."""
    text = model_yaml(model) + SAMPLE.format(twice=twice)
    world.send("models", declaration(folder / "repo", world.artifacts, text))
    ids = [f"{model}/{n}" for n in range(REQUESTS)]
    usual = {"model": model, "time": NOW - HOUR_MS}
    events = [
        inference(one, output="refund", input=f"mail a@b.io about {one}", **usual) for one in ids
    ]
    events += [
        inference(one, version=2, role="shadow", output="billing" if n % 2 else "refund", **usual)
        for n, one in enumerate(ids)
    ]
    world.send("inferences", *events)
    world.settle()
    return {one for one in ids if drawn(model, one, 0.5)}


def offered(run: Run, model: str, reviewer: str = "ada", *more: str) -> dict[str, Any] | None:
    found = json.loads(said(run("next", model, "--reviewer", reviewer, "--json", *more)))
    assert found is None or isinstance(found, dict)
    return found


@contextmanager
def ingesting(world: Harness) -> Iterator[None]:
    """Ingestion works on while a command waits for it."""
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            world.step()

    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield
    finally:
        stop.set()
        worker.join()


def test_the_server_draws_whom_python_draws(world: Harness) -> None:
    ids = [
        "",
        "ñandú",
        "quo'te",
        "back\\slash",
        "nul\0inside",
        "tab\tline\nfeed",
        "日本語 🙂",
        "{id:String}",
    ]
    ids += [uuid4().hex for _ in range(1000)]
    sql = buckets.SQL.format(salt="{salt:String}", key="id")
    for mine in (salt("support-triage"), "ñ'\\"):
        rows = world.store.query(
            f"SELECT arrayJoin({{ids:Array(String)}}) AS id, {sql} AS bucket", ids=ids, salt=mine
        )
        assert [row["bucket"] for row in rows] == [bucket(mine, one) for one in ids]


def test_a_sample_is_labelled_by_two_who_work_at_once(
    world: Harness, run: Run, model: str, tmp_path: Path
) -> None:
    sample = answered(world, tmp_path, model, twice=1.0)
    asked: dict[str, list[str]] = {"ada": [], "bob": []}
    while True:
        ours = {name: offered(run, model, name) for name in asked}  # both before either says a word
        if not any(ours.values()):
            break
        for name, question in ours.items():
            if question is not None:
                assert question["text"].startswith("mail [EMAIL] about")
                asked[name].append(question["request_id"])
                told = "billing" if name == "bob" and len(asked[name]) <= 2 else "refund"
                said(run("label", model, question["request_id"], told, "--reviewer", name))
        world.settle()
    assert set(asked["ada"]) == set(asked["bob"]) == sample
    assert len(asked["ada"]) == len(asked["bob"]) == len(sample), "nobody is asked twice"
    assert offered(run, model, "eve") is None

    stored = world.rows("feedback", "reviewer, label, propensity, picked, instructions, kind")
    assert len(stored) == 2 * len(sample)
    assert {(row["propensity"], row["picked"], row["kind"]) for row in stored} == {
        (0.5, None, "review")
    }
    assert len(world.rows("outcomes")) == len(stored), "each is joined as any feedback"
    stats = json.loads(said(run("stats", model, "--json")))
    weeks = stats["weeks"]
    assert sum(week["drawn"] for week in weeks) == len(sample)
    assert sum(week["labelled"] for week in weeks) == len(sample)
    assert sum(week["open"] + week["second"] + week["missed"] for week in weeks) == 0
    assert stats["agreement"]["requests"] == len(sample)
    assert stats["agreement"]["same"] == len(sample) - 2
    assert stats["accuracy"]["1"]["labelled"] == len(sample)
    assert "ada and bob" in said(run("stats", model))
    assert disagreement(world, model) == (len(sample), 2), "as the drift-detector counts it"


def disagreement(world: Harness, model: str) -> tuple[float, float]:
    """What a monitor of it gets of the outcomes that ingestion joined: requests that two have
    labelled, and those of which they say different things."""
    text = model_yaml(model) + SAMPLE.format(twice=1.0)
    monitor = Monitor(name="reviewers", signal="quality", value="disagreement", severity="warning")
    config = parse(text).model_copy(update={"monitors": [monitor]})
    evidence, end = Evidence(), NOW + DAY_MS
    fold(evidence, observations(world.store, model, NOW - DAY_MS, end), end, config, {})
    return evidence.streams[1].seen("reviewers:all")


def test_a_word_may_be_replaced_passed_over_and_picked(
    world: Harness, run: Run, model: str, tmp_path: Path
) -> None:
    sample = answered(world, tmp_path, model)
    first, second, *_ = sorted(sample)
    other = next(f"{model}/{n}" for n in range(REQUESTS) if f"{model}/{n}" not in sample)
    said(run("label", model, first, "billing", "--reason", "as instructions say"))
    world.settle()
    assert "in place of billing by ada" in said(run("label", model, first, "refund"))
    assert "why it cannot be judged" in refused(run("skip", model, second, "--reason", " "))
    said(run("skip", model, second, "--reason", "unreadable"))
    said(run("skip", model, second, "--reason", "unreadable", "--reviewer", "bob"))
    assert "--picked REASON" in refused(run("label", model, other, "refund"))
    said(run("label", model, other, "billing", "--picked", "disagreement"))
    world.settle()
    assert world.dead() == []
    stats = json.loads(said(run("stats", model, "--json")))
    (week,) = [week for week in stats["weeks"] if week["labelled"]]
    assert (week["labelled"], week["skipped"]) == (1, 1)
    assert stats["picked"] == 1
    assert stats["accuracy"]["1"] | {"low": 0, "high": 0} == {
        "labelled": 1,
        "accuracy": 1.0,
        "low": 0,
        "high": 0,
    }, "the replaced word, the skip and the picked one count for nothing"

    apart = offered(run, model, "ada", "--picked", "disagreement")
    assert apart is not None
    assert apart["request_id"] not in {*sample, other}
    assert sorted(apart["answers"]) == ["billing", "refund"]


def test_work_goes_on_by_number(world: Harness, run: Run, model: str, tmp_path: Path) -> None:
    sample = answered(world, tmp_path, model)
    output = said(run("work", model, typed="1\n9\n1\nq\n"))
    assert "'9': expected a number from 1 to 3, s or q" in output
    assert "2 reviewed" in output
    assert "0 reviewed" in said(run("work", model, "--reviewer", "bob", typed="")), "no more input"
    world.settle()
    done = {row["request_id"] for row in world.rows("feedback", "request_id")}
    assert len(done) == 2
    assert done < sample


def test_a_label_is_stored_when_the_command_ends(
    world: Harness, run: Run, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So `next` after `label` offers another request."""
    (first, *_) = sorted(answered(world, tmp_path, model))
    assert "the store has not yet" in said(run("label", model, first, "refund"))
    world.settle()
    monkeypatch.setattr(review_cli, "STORED_SECONDS", 60.0)
    with ingesting(world):
        assert "the store has not" not in said(run("label", model, first, "billing"))
    assert [row["label"] for row in world.rows("feedback", "label")] == ["refund", "billing"]


def test_what_cannot_be_reviewed_says_what_to_do(
    world: Harness, run: Run, model: str, tmp_path: Path, stack: StackConfig
) -> None:
    assert "not declared" in refused(run("next", model))
    without = model_yaml(model, LABELS)
    world.send("models", declaration(tmp_path / "plain", world.artifacts, without))
    assert "`review.share` is 0" in refused(run("next", model))
    sampled = model_yaml(model) + SAMPLE.format(twice=0)
    world.send("models", declaration(tmp_path / "empty", world.artifacts, sampled))
    assert "nothing to review" in said(run("next", model))
    assert "no request was drawn" in said(run("stats", model))
    hashed = model_yaml(model, keep_text=False) + SAMPLE.format(twice=0)
    world.send("models", declaration(tmp_path / "hashed", world.artifacts, hashed))
    ids = [f"{model}/{n}" for n in range(REQUESTS)]
    usual = {"model": model, "time": NOW - HOUR_MS}
    world.send("inferences", *(inference(one, **usual) for one in ids))
    world.settle()
    assert offered(run, model) is None
    one = next(one for one in ids if drawn(model, one, 0.5))
    assert "data.keep_text" in refused(run("label", model, one, "refund"))
    shown = said(run("stats", model))
    assert "nobody can be asked" in shown
    stats = json.loads(said(run("stats", model, "--json")))
    drawn_ = sum(drawn(model, one, 0.5) for one in ids)
    assert sum(week["without_text"] for week in stats["weeks"]) == drawn_
    away = {"DRIFTGATE_STORE": "http://127.0.0.1:9", "DRIFTGATE_KAFKA": stack.kafka}
    words = ["next", model, "--state", str(tmp_path / "no-stack")]
    assert "ClickHouse" in refused(CliRunner().invoke(review_cli.app, words, env=away), 3)


def test_who_gives_feedback_is_told_beside_what_is_declared(
    world: Harness, model: str, run: Run, tmp_path: Path, stack: StackConfig, database: str
) -> None:
    """Ratings come in where only labels were declared."""
    text = model_yaml(model) + "\nfeedback: {profile: [labels], settled_hours: 1}\n"
    world.send("models", declaration(tmp_path / "repo", world.artifacts, text))
    ids = [f"{model}/{n}" for n in range(200)]
    usual = {"model": model, "time": NOW - 2 * HOUR_MS}
    world.send("inferences", *(inference(one, **usual) for one in ids))
    rating = {"kind": "rating", "label": None, "rating": 1.0, "time": NOW - 2 * HOUR_MS}
    world.send("feedback", *(feedback(one, model=model, **rating) for one in ids[:80]))
    world.settle()
    app = typer.Typer()
    app.command()(feedback_cli.feedback)
    environment = {**stack.environment, "DRIFTGATE_DATABASE": database}
    words = [model, "--state", str(tmp_path / "no-stack")]
    shown = said(CliRunner().invoke(app, words, env=environment))
    assert "rating on 40.0%" in shown
    assert "instead: add thumbs to the profile" in shown
    found = json.loads(said(CliRunner().invoke(app, [*words, "--json"], env=environment)))
    assert found["profile"] == ["labels"]
    assert found["until"] - found["since"] == 28 * 24 * HOUR_MS, "all of them old enough"
    for since in ("30m", "2100-01-01"):
        asked = CliRunner().invoke(app, [*words, "--since", since], env=environment)
        assert "feedback.settled_hours is 1" in refused(asked)
    assert {one["about"]: one["verdict"] for one in found["findings"]}["kinds"] == "against"

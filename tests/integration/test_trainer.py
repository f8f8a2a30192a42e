"""The trainer on a real Ray, the real engine and real messages; only the bus is the fake."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from drift_world import routing
from trainer_harness import (
    MODEL,
    MODEL_YAML,
    Harness,
    QuickWorkers,
    champion,
    launch_time,
    messages,
    moment,
    outcome,
)

from deploy.local.stack import StackConfig
from driftgate.audit import broken_links
from driftgate.bases import resolve
from driftgate.classifier.serving import Classifier
from driftgate.events import DAY_MS, HOUR_MS, AuditEntry, Candidate, Model, Tick
from driftgate.health import Health
from driftgate.split import held_out
from services.trainer.ray_workers import RayWorkers

LATER = launch_time() + 42 * DAY_MS

Launch = tuple[Harness, Candidate]


@pytest.fixture(scope="module")
def workers(stack: StackConfig) -> Iterator[RayWorkers]:
    workers = RayWorkers(stack.ray)
    workers.start()
    yield workers
    workers.stop()


@pytest.fixture(scope="module")
def launch(tmp_path_factory: pytest.TempPathFactory, workers: RayWorkers) -> Launch:
    """A harness with a first version, really trained."""
    harness = Harness(tmp_path_factory.mktemp("launch"), workers)
    return harness, harness.ask(seed_uri=harness.seed())


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    """A harness that only pretends to train."""
    return Harness(tmp_path, QuickWorkers())


def rows_of(harness: Harness, candidate: Candidate, name: str, into: Path) -> list[dict[str, Any]]:
    """The rows of a candidate's dataset."""
    folder = harness.artifacts.get_folder(candidate.dataset_uri, into)
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def known(row: dict[str, Any], hours: int) -> dict[str, datetime]:
    """Feedback so many hours after its request."""
    return dict.fromkeys(("feedback_time", "time"), moment(row["time"] + hours * HOUR_MS))


# Really trained


def test_a_request_becomes_a_version_that_answers(launch: Launch, tmp_path: Path) -> None:
    harness, candidate = launch
    folder = harness.artifacts.get_folder(candidate.adapter_uri, tmp_path)
    classifier = Classifier(resolve(candidate.base))
    classifier.load("v1", folder)
    test = rows_of(harness, candidate, "test.jsonl", tmp_path)
    answers = classifier.predict("v1", [row["text"] for row in test])
    right = sum(said.output == row["label"] for said, row in zip(answers, test, strict=True))
    assert candidate.version == 1
    assert candidate.parent is None
    assert right / len(test) > 0.6


def test_every_part_of_a_version_is_found_by_hash(launch: Launch, tmp_path: Path) -> None:
    harness, candidate = launch
    record = harness.artifacts.ref(f"models/{MODEL}/versions/1")
    run = harness.artifacts.get_json(record["lineage"]["run"])
    card = harness.artifacts.get(candidate.model_card_uri).decode()
    assert run["outputs"]["adapter"] == candidate.adapter_uri
    assert run["inputs"]["dataset"] == candidate.dataset_uri == record["lineage"]["dataset"]
    assert {"torch", "peft", "ray"} <= set(run["packages"])
    assert "library_name: peft" in card
    assert candidate.adapter_uri in card
    train = rows_of(harness, candidate, "train.jsonl", tmp_path)
    assert len(train) == candidate.train_rows
    assert {row["id"] for row in train} < {message["id"] for message in messages()}
    folder = harness.artifacts.get_folder(candidate.dataset_uri, tmp_path)
    for file in json.loads((folder / "croissant.json").read_text())["distribution"]:
        assert hashlib.sha256((folder / file["name"]).read_bytes()).hexdigest() == file["sha256"]


def test_a_killed_worker_changes_no_byte(
    launch: Launch, workers: RayWorkers, tmp_path: Path
) -> None:
    _, unbroken = launch
    harness = Harness(tmp_path, workers)
    training = threading.Thread(target=lambda: harness.ask(seed_uri=harness.seed()))
    training.start()
    os.kill(worker_at_work(harness.health, training), signal.SIGKILL)
    training.join()
    (candidate,) = harness.read("candidates")
    assert candidate.adapter_digest == unbroken.adapter_digest


def worker_at_work(health: Health, training: threading.Thread) -> int:
    """The worker's process, once it has an epoch behind it."""
    while training.is_alive():
        if (health.detail.get("progress") or 0) > 0.3:
            return int(health.detail["worker"])
        training.join(0.05)
    raise AssertionError("the training ended before the worker could be killed")


def test_a_linear_head_is_trained_and_answers_beside_an_adapter(
    launch: Launch, workers: RayWorkers, tmp_path: Path
) -> None:
    """By one word in model.yaml, on the same rows; trained again it has the same bytes."""
    other, adapted = launch
    text = MODEL_YAML.replace("method: {", "method: {recipe: head, ")
    harness, again = (Harness(tmp_path / name, workers, text) for name in ("one", "again"))
    candidate = harness.ask(seed_uri=harness.seed())
    assert again.ask(seed_uri=again.seed()).adapter_digest == candidate.adapter_digest
    assert (candidate.method, candidate.base_digest) == ("head", adapted.base_digest)
    assert candidate.dataset_id == adapted.dataset_id
    run = harness.artifacts.get_json(candidate.run_uri)
    card = harness.artifacts.get(candidate.model_card_uri).decode()
    assert run["method"] == {"recipe": "head", "seed": 7}
    assert "linear head on the frozen base, L2 penalty" in card
    assert "peft" not in card and "rank" not in card
    classifier = Classifier(resolve(candidate.base))
    for name, at, one in (("head", harness, candidate), ("lora", other, adapted)):
        classifier.load(name, at.artifacts.get_folder(one.adapter_uri, tmp_path / name))
    test = rows_of(harness, candidate, "test.jsonl", tmp_path)
    asked = [row["text"] for row in test]
    for answers in classifier.predict_many({"head": asked, "lora": asked}).values():
        right = sum(said.output == row["label"] for said, row in zip(answers, test, strict=True))
        assert right / len(test) > 0.6


# What it is trained on


def test_a_request_that_comes_again_is_told_the_same(harness: Harness) -> None:
    first = harness.ask(seed_uri=harness.seed())
    harness.send(harness.request(seed_uri=harness.seed()))
    assert harness.answers() == {"candidates": [first]}  # its audit entry stands already
    assert len(harness.artifacts.refs(f"models/{MODEL}/versions/")) == 1
    assert len(harness.workers.jobs) == 1


def test_it_is_told_the_same_though_the_model_repo_cannot_be_read_any_more(
    harness: Harness,
) -> None:
    first = harness.ask(seed_uri=harness.seed())
    gone = Model(model=MODEL, repo_hash="", repo_uri="sha256:" + "0" * 64, actor="ana", time=1)
    harness.send(gone, harness.request(seed_uri=harness.seed()))
    assert harness.answers() == {"candidates": [first]}


def test_a_refresh_learns_from_the_labelled_live_answers(harness: Harness, tmp_path: Path) -> None:
    harness.ask(seed_uri=harness.seed())
    harness.live(until=LATER)
    pinned: dict[str, Any] = {"epoch": 3, "champion": champion(1)}
    candidate = harness.ask("support:drift:1", reason="drift", time=LATER, **pinned)
    train = rows_of(harness, candidate, "train.jsonl", tmp_path)
    entries = harness.read("audit")
    assert (candidate.version, candidate.parent) == (2, 1)
    assert (candidate.epoch, candidate.champion) == (3, champion(1))
    assert {row["source"] for row in train} == {"seed", "logs"}
    assert not broken_links(entries)
    assert [entry.decision for entry in entries] == ["train", "train"]
    assert f"{MODEL}@2 was trained for drift" in entries[1].words


def test_feedback_that_is_not_as_declared_is_told_with_the_version(
    harness: Harness, tmp_path: Path
) -> None:
    harness.live(until=LATER)  # everybody names a label
    for name, warns in (("labels", False), ("thumbs", True)):
        harness.declare(tmp_path / name, f"feedback: {{profile: [{name}]}}\n")
        harness.ask(f"support:drift:{name}", reason="drift", time=LATER, seed_uri=harness.seed())
        entry = harness.read("audit")[-1]
        assert ("feedback is not as declared: kinds" in entry.words) == warns
        assert bool(json.loads(entry.result)["feedback_warnings"]) == warns


def warned(harness: Harness, *times: int) -> list[AuditEntry]:
    """What a trainer tells of feedback after a start and these ticks."""
    harness.send(*(Tick(world="test", time=time) for time in times))
    return [one for one in harness.answers().get("audit", ()) if one.decision == "feedback"]


def test_feedback_that_is_not_as_declared_is_told_once_without_a_training(
    harness: Harness, tmp_path: Path
) -> None:
    harness.declare(tmp_path / "thumbs", "feedback: {profile: [thumbs]}\n")
    assert warned(harness, launch_time()) == [], "nobody has answered yet"
    harness.live(until=LATER)  # everybody names a label
    harness.send(replace(routing(champion=2, time=LATER), model=MODEL))
    (entry,) = warned(harness, LATER, LATER + HOUR_MS)
    assert entry.version == 2
    assert "feedback is not as declared: kinds: of" in entry.words
    assert "add complaints to the profile" in entry.words
    assert warned(harness, LATER + 2 * HOUR_MS, LATER + DAY_MS, LATER + 2 * DAY_MS) == []
    harness.declare(tmp_path / "edits", "feedback: {profile: [edits]}\n")
    (anew,) = warned(harness, LATER + 3 * DAY_MS)
    assert "kinds" in anew.words, "another declaration is another question"
    harness.declare(tmp_path / "labels", "feedback: {profile: [labels]}\n")
    assert warned(harness, LATER + 4 * DAY_MS) == []


def test_the_declaration_is_checked_at_the_first_tick_of_a_day(
    harness: Harness, tmp_path: Path
) -> None:
    """Whenever the trainer starts, by what was said up to the midnight before."""
    harness.declare(tmp_path / "thumbs", "feedback: {profile: [thumbs]}\n")
    noon = LATER + DAY_MS // 2
    assert warned(harness, LATER, noon) == []
    harness.live(until=LATER)
    assert warned(harness, noon + HOUR_MS) == [], "after a start too"
    (entry,) = warned(harness, LATER + DAY_MS + HOUR_MS)
    given = json.loads(entry.inputs)
    assert given["until"] == LATER + DAY_MS - 72 * HOUR_MS
    assert given["since"] == given["until"] - 28 * DAY_MS


def test_a_model_repo_that_cannot_be_read_keeps_no_other_from_being_checked(
    harness: Harness, tmp_path: Path
) -> None:
    harness.declare(tmp_path / "thumbs", "feedback: {profile: [thumbs]}\n")
    gone = Model(model="a-gone", repo_hash="", repo_uri="sha256:" + "0" * 64, actor="ana", time=1)
    harness.send(gone)
    harness.live(until=LATER)
    assert [entry.model for entry in warned(harness, LATER)] == [MODEL]


def test_the_order_in_which_answers_were_stored_changes_nothing(
    harness: Harness, tmp_path: Path
) -> None:
    harness.live(until=LATER)
    asked: dict[str, Any] = {"reason": "drift", "time": LATER}
    first = harness.ask("support:drift:1", **asked)
    other = Harness(tmp_path / "other", QuickWorkers())
    other.live(until=LATER, shuffled=1)
    assert other.ask("support:drift:1", **asked).dataset_uri == first.dataset_uri


def test_the_last_label_by_feedback_time_counts_and_later_ones_do_not_exist_yet(
    harness: Harness, tmp_path: Path
) -> None:
    harness.live(until=LATER)
    row = next(
        row
        for row in messages()
        if LATER - 20 * DAY_MS < row["time"] < LATER - 10 * DAY_MS
        and not held_out(row["subject"], 0.25)
    )
    said = [(1, "billing"), (3, "refund"), (2, "warranty"), (24 * 40, "delivery")]
    harness.store.append(
        "outcomes",
        [
            outcome(row, 5000 + hours, outcome_id=str(hours), label=label, **known(row, hours))
            for hours, label in said
        ],
    )
    candidate = harness.ask("support:drift:2", reason="drift", time=LATER)
    train = rows_of(harness, candidate, "train.jsonl", tmp_path)
    assert [learned["label"] for learned in train if learned["id"] == row["id"]] == ["refund"]


def test_what_was_excluded_once_is_never_learned_from(harness: Harness, tmp_path: Path) -> None:
    gone = [row["id"] for row in messages()[:40]]
    uri = harness.seed()
    harness.ask("support:erase", reason="launch", seed_uri=uri, exclusions=gone)
    later = harness.ask("support:later", reason="launch", seed_uri=uri)
    for name in ("train.jsonl", "test.jsonl"):
        assert not {row["id"] for row in rows_of(harness, later, name, tmp_path)} & set(gone)


def test_too_few_labels_train_nothing_and_the_audit_says_so(harness: Harness) -> None:
    harness.send(harness.request(reason="drift"))
    (entry,) = harness.answers()["audit"]
    assert entry.decision == "refuse"
    assert "0 labelled rows" in entry.words
    assert harness.artifacts.refs(f"models/{MODEL}/versions/") == {}


def test_a_request_that_another_champion_overtook_trains_nothing(harness: Harness) -> None:
    harness.send(replace(routing(champion=2, time=launch_time()), model=MODEL))
    harness.send(harness.request("support:late", seed_uri=harness.seed(), champion=champion(1)))
    (entry,) = harness.answers()["audit"]
    assert entry.decision == "refuse"
    assert "version 1 was champion; version 2 is now" in entry.words
    assert json.loads(entry.inputs)["retrain_id"] == "support:late"
    assert harness.artifacts.refs(f"models/{MODEL}/versions/") == {}
    harness.send(harness.request(seed_uri=harness.seed(), champion=champion(2)))
    assert len(harness.answers()["candidates"]) == 1


def test_a_request_of_the_first_schema_is_compared_with_the_champion_now(harness: Harness) -> None:
    """It was in flight at the upgrade, and names no champion."""
    harness.send(replace(routing(champion=2, time=launch_time(), epoch=5), model=MODEL))
    harness.send_v1(harness.request("support:drift:old", reason="drift", seed_uri=harness.seed()))
    (candidate,) = harness.answers()["candidates"]
    assert candidate.champion is not None
    assert (candidate.epoch, candidate.parent, candidate.champion.version) == (5, 2, 2)
    assert candidate.champion.digest == "2" * 64


def learned_from(harness: Harness, candidate: Candidate) -> str:
    """The seed of a version."""
    found = harness.artifacts.ref(f"models/{MODEL}/versions/{candidate.version}")
    return str(found["lineage"]["seed"])


def test_later_trainings_learn_from_the_seed_of_their_champion(harness: Harness) -> None:
    """A launch that failed the gate, or in the training, pins nothing."""
    rows = [row for row in messages() if row["time"] < launch_time()]
    noisy = harness.seed([{**row, "label": rows[-at]["label"]} for at, row in enumerate(rows)])
    clean = harness.seed(rows)
    harness.ask("support:launch:1", seed_uri=noisy)
    again = harness.ask("support:again")
    assert learned_from(harness, again) == noisy  # the newest one, while there is no champion
    released = harness.ask("support:launch:2", seed_uri=clean)
    harness.ask("support:launch:3", seed_uri=noisy)
    drifted = harness.ask("support:drift", champion=champion(released.version))
    assert learned_from(harness, drifted) == clean


def test_the_seed_that_an_older_system_kept_is_found(harness: Harness) -> None:
    uri = harness.seed()
    harness.artifacts.set_ref(f"models/{MODEL}/seed", uri)
    assert learned_from(harness, harness.ask("support:first")) == uri


@pytest.mark.parametrize("retrain_id", ["support:operator:" + "ä" * 200, "x" * 300, "a\0b"])
def test_an_id_of_any_length_and_letters_is_answered(harness: Harness, retrain_id: str) -> None:
    gone = [row["id"] for row in messages()[:3]]
    candidate = harness.ask(retrain_id, seed_uri=harness.seed(), exclusions=gone)
    assert candidate.retrain_id == retrain_id


def test_exclusions_that_an_older_system_kept_hold(harness: Harness, tmp_path: Path) -> None:
    gone = [row["id"] for row in messages()[:40]]
    kept = {"time": launch_time(), "ids": gone}
    harness.artifacts.set_ref(f"models/{MODEL}/exclusions/support:erase", kept)
    candidate = harness.ask(seed_uri=harness.seed())
    assert not {row["id"] for row in rows_of(harness, candidate, "train.jsonl", tmp_path)} & {*gone}


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"model": "a\0b"}, "a model that was declared"),
        ({"model": "nobody"}, "a model that was declared"),
        ({"seed_uri": "sha256:" + "0" * 64}, "seed_uri"),
        ({"drill": "nonsense"}, "drill"),
        ({"reason": "erasure"}, "persons cannot be erased yet"),
    ],
)
def test_a_request_that_cannot_be_met_says_why(
    harness: Harness, changed: dict[str, Any], says: str
) -> None:
    asked: dict[str, Any] = {"seed_uri": harness.seed()} | changed
    harness.send(harness.request(**asked))
    said = harness.answers()
    assert says in said["retrain.requests.dlq"][0].message
    assert "candidates" not in said


def test_a_broken_seed_line_is_named(harness: Harness) -> None:
    uri = harness.artifacts.put(
        b'{"id": "a", "text": "hello", "label": "x", "time": 1}\n{"id": 2}\n'
    )
    harness.send(harness.request(seed_uri=uri))
    assert "seed line 2" in harness.answers()["retrain.requests.dlq"][0].message

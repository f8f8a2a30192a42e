"""What the trainer does when something around it breaks."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
from trainer_harness import MODEL, Harness, QuickWorkers

from driftgate.bus import Producer
from driftgate.errors import BadConfig, Retriable, StoreUnavailable
from services.trainer import ray_workers
from services.trainer.worker import Done, Job, Step, Worker

DIES_HALFWAY = """
import json, os, signal, sys, threading, time
from services.trainer.worker import Job, Worker

worker = Worker()
threading.Thread(target=worker.train, args=(Job(**json.load(sys.stdin)),)).start()
while worker.step().share < 0.5:
    time.sleep(0.01)
os.kill(os.getpid(), signal.SIGKILL)
"""


class Here:
    """Trains in this process."""

    def train(self, job: Job, report: Callable[[Step], None]) -> Done:
        return Worker().train(job)


class Dying:
    """Trains in a process that is killed when half is done."""

    def train(self, job: Job, report: Callable[[Step], None]) -> Done:
        said = json.dumps(asdict(job)).encode()
        ended = subprocess.run([sys.executable, "-c", DIES_HALFWAY], input=said, check=False)
        assert ended.returncode == -signal.SIGKILL
        raise Retriable("the worker is gone")


class Broken(QuickWorkers):
    """Raises what it is given."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def train(self, job: Job, report: Callable[[Step], None]) -> Done:
        raise self.error


def test_a_trainer_killed_while_it_trains_goes_on_and_makes_the_same_version(
    tmp_path: Path,
) -> None:
    harness = Harness(tmp_path / "killed", Dying())
    harness.send(harness.request(seed_uri=harness.seed()))
    assert harness.answers() == {}
    harness.workers = Here()
    (candidate,) = harness.answers()["candidates"]
    run = harness.artifacts.get_json(candidate.run_uri)
    unbroken = Harness(tmp_path / "unbroken", Here())
    whole = unbroken.ask(seed_uri=unbroken.seed())
    assert run["metrics"]["resumed_epochs"] >= 1
    assert candidate.version == 1
    assert candidate.adapter_digest == whole.adapter_digest
    assert not list((harness.settings.state_dir / "training").iterdir())


def killed() -> Producer:
    raise KeyboardInterrupt


def test_a_crash_before_the_candidate_was_sent_loses_nothing(tmp_path: Path) -> None:
    harness = Harness(tmp_path, QuickWorkers())
    harness.send(harness.request(seed_uri=harness.seed()))
    sending, harness.bus.producer = harness.bus.producer, killed
    with pytest.raises(KeyboardInterrupt):
        harness.answers()
    harness.bus.producer = sending
    assert list(harness.answers()) == ["audit", "candidates"]
    assert len(harness.workers.jobs) == 1


def test_nobody_at_rays_address_is_worth_another_try(monkeypatch: pytest.MonkeyPatch) -> None:
    # Another test of this process may have joined a Ray that is up.
    monkeypatch.setattr(ray_workers.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray_workers.ray, "shutdown", lambda: None)
    with pytest.raises(Retriable, match=r"127\.0\.0\.1:1 does not answer"):
        ray_workers.RayWorkers("127.0.0.1:1").start()


@pytest.mark.parametrize("error", [Retriable("Ray is gone"), StoreUnavailable("no store")])
def test_a_training_that_failed_leaves_no_version(tmp_path: Path, error: Exception) -> None:
    harness = Harness(tmp_path, Broken(error))
    harness.send(harness.request(seed_uri=harness.seed()))
    assert harness.answers() == {}
    harness.workers = QuickWorkers()
    (candidate,) = harness.answers()["candidates"]
    assert candidate.version == 1
    assert harness.health.detail["activity"] is None


def test_a_poison_request_is_a_dead_letter_and_the_next_one_is_answered(tmp_path: Path) -> None:
    harness = Harness(tmp_path, QuickWorkers())
    harness.send(
        harness.request("poison", model="nobody"),
        harness.request("good", seed_uri=harness.seed()),
    )
    said = harness.answers()
    (dead,), (candidate,) = said["retrain.requests.dlq"], said["candidates"]
    assert dead.reason == "unknown_model"
    assert candidate.retrain_id == "good"
    committed = harness.bus.committed("trainer")
    assert sum(at for position, at in committed.items() if "retrain" in position.topic) == 2


def test_a_base_that_cannot_be_used_is_a_dead_letter_with_an_entry_in_the_audit(
    tmp_path: Path,
) -> None:
    harness = Harness(tmp_path, Broken(BadConfig("base: 'x' is no folder")))
    harness.send(harness.request(seed_uri=harness.seed()))
    said = harness.answers()
    assert "base: 'x' is no folder" in said["retrain.requests.dlq"][0].message
    assert [entry.decision for entry in said["audit"]] == ["dead-letter"]
    assert harness.artifacts.refs(f"models/{MODEL}/versions/") == {}

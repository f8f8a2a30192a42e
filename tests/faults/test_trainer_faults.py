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
from trainer_desk import MODEL, Desk, Emit, QuickWorkers, launch_time

from driftgate.clock import WorldClock
from driftgate.errors import BadConfig, Retriable, StoreUnavailable
from driftgate.health import log_for
from driftgate.rollouts import PromoterBehind
from driftgate.runner import Runner
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
    desk = Desk(tmp_path / "killed", Dying())
    with pytest.raises(Retriable):
        desk.ask(seed_uri=desk.seed())
    desk.workers = Here()
    candidate = desk.ask(seed_uri=desk.seed())
    run = desk.artifacts.get_json(candidate["run_uri"])
    unbroken = Desk(tmp_path / "unbroken", Here())
    whole = unbroken.ask(seed_uri=unbroken.seed())
    assert run["metrics"]["resumed_epochs"] >= 1
    assert candidate["version"] == 1
    assert candidate["adapter_digest"] == whole["adapter_digest"]
    assert not list((desk.settings.state_dir / "training").iterdir())


def test_a_crash_before_the_candidate_was_sent_loses_nothing(tmp_path: Path) -> None:
    desk = Desk(tmp_path, QuickWorkers())
    request = desk.request(seed_uri=desk.seed())
    unsent = desk.trainer().handle("retrain.requests", request)
    again = desk.trainer().handle("retrain.requests", request)
    assert again == unsent
    assert [emit.topic for emit in again] == ["candidates", "audit"]
    assert len(desk.workers.jobs) == 1


def test_nobody_at_rays_address_is_worth_another_try(monkeypatch: pytest.MonkeyPatch) -> None:
    # Another test of this process may have joined a Ray that is up.
    monkeypatch.setattr(ray_workers.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray_workers.ray, "shutdown", lambda: None)
    with pytest.raises(Retriable, match=r"127\.0\.0\.1:1 does not answer"):
        ray_workers.RayWorkers("127.0.0.1:1").start()


@pytest.mark.parametrize("error", [Retriable("Ray is gone"), StoreUnavailable("no store")])
def test_a_training_that_failed_leaves_no_version(tmp_path: Path, error: Exception) -> None:
    desk = Desk(tmp_path, Broken(error))
    request = desk.request(seed_uri=desk.seed())
    with pytest.raises(type(error)):
        desk.trainer().handle("retrain.requests", request)
    desk.workers = QuickWorkers()
    candidate, _ = desk.trainer().handle("retrain.requests", request)
    assert candidate.event["version"] == 1
    assert desk.health.detail["activity"] is None


def test_a_promoter_that_is_behind_is_waited_for(tmp_path: Path) -> None:
    desk = Desk(tmp_path, QuickWorkers())
    tick = {"world": MODEL, "time": launch_time(), "positions": {}}
    desk.send([Emit("clock", tick), Emit("retrain.requests", desk.request(seed_uri=desk.seed()))])
    request = desk.read("retrain.requests")[0]
    with pytest.raises(PromoterBehind):
        desk.trainer().handle("retrain.requests", request)
    desk.released(MODEL, 7)
    candidate, _ = desk.trainer().handle("retrain.requests", request)
    assert candidate.event["parent"] == 7
    assert len(desk.workers.jobs) == 1


def test_a_poison_request_is_a_dead_letter_and_the_next_one_is_answered(tmp_path: Path) -> None:
    desk = Desk(tmp_path, QuickWorkers())
    desk.send(
        [
            Emit("retrain.requests", desk.request("poison", model="nobody")),
            Emit("retrain.requests", desk.request("good", seed_uri=desk.seed())),
        ]
    )
    run_once(desk)
    (letter,) = desk.read("retrain.requests.dlq")
    (candidate,) = desk.read("candidates")
    assert letter["reason"] == "unknown_model"
    assert candidate["retrain_id"] == "good"
    committed = desk.bus.committed("trainer")
    assert sum(at for position, at in committed.items() if "retrain" in position.topic) == 2


def test_a_base_that_cannot_be_used_is_a_dead_letter(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Broken(BadConfig("base: 'x' is no folder")))
    desk.send([Emit("retrain.requests", desk.request(seed_uri=desk.seed()))])
    run_once(desk)
    (letter,) = desk.read("retrain.requests.dlq")
    assert "base: 'x' is no folder" in letter["message"]
    assert desk.artifacts.refs(f"models/{MODEL}/versions/") == {}


def run_once(desk: Desk) -> None:
    """One step of the loop around the trainer."""
    runner = Runner(
        service="trainer",
        settings=desk.settings,
        bus=desk.bus,
        codec=desk.codec,
        clock=WorldClock(launch_time()),
        handle=desk.trainer().handle,
        topics=["retrain.requests"],
        log=log_for("trainer"),
        health=desk.health,
    )
    consumer = desk.bus.consumer(["retrain.requests"], "trainer", "0")
    runner.step(consumer, desk.bus.producer())

"""What the trainer does when something around it breaks."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from drift_world import routing
from tiny_bases import tiny
from trainer_harness import MODEL, MODEL_YAML, Harness, QuickWorkers, champion, launch_time

from deploy.local.stack import StackConfig
from driftgate.bus import Producer
from driftgate.errors import BadConfig, Retriable, StoreUnavailable
from driftgate.events import Candidate
from services.trainer import ray_workers
from services.trainer.failures import DiskFailed, Interrupted, TrainingFailed
from services.trainer.memory import HELD_BYTES
from services.trainer.ray_workers import RayWorkers
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
    short = MODEL_YAML.replace("epochs: 12", "epochs: 4")
    harness = Harness(tmp_path / "killed", Dying(), short)
    harness.send(harness.request(seed_uri=harness.seed()))
    assert harness.answers() == {}
    harness.workers = Here()
    (candidate,) = harness.answers()["candidates"]
    run = harness.artifacts.get_json(candidate.run_uri)
    unbroken = Harness(tmp_path / "unbroken", Here(), short)
    whole = unbroken.ask(seed_uri=unbroken.seed())
    assert run["metrics"]["resumed_epochs"] >= 1
    assert candidate.version == 1
    assert candidate.adapter_digest == whole.adapter_digest
    assert not list((harness.settings.state_dir / "training").iterdir())


def killed(give_up_seconds: float = 0.0) -> Producer:
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


@pytest.mark.parametrize("kind", [BadConfig, TrainingFailed])
def test_a_training_that_cannot_succeed_is_a_dead_letter_and_the_next_is_made(
    tmp_path: Path, kind: type[Exception]
) -> None:
    harness = Harness(tmp_path, Broken(kind("base: 'x' is no folder")))
    harness.send(harness.request("bad", seed_uri=harness.seed()))
    said = harness.answers()
    assert "base: 'x' is no folder" in said["retrain.requests.dlq"][0].message
    assert [entry.decision for entry in said["audit"]] == ["dead-letter"]
    assert harness.artifacts.refs(f"models/{MODEL}/versions/") == {}
    harness.workers = QuickWorkers()
    assert harness.ask("good", seed_uri=harness.seed()).version == 1


def checkpoints(harness: Harness) -> list[Path]:
    return list((harness.settings.state_dir / "training").glob("*"))


class HalfWay(Broken):
    """Leaves a checkpoint behind when it fails."""

    def train(self, job: Job, report: Callable[[Step], None]) -> Done:
        Path(job.checkpoint).mkdir(parents=True)
        (Path(job.checkpoint) / "epoch.safetensors").write_bytes(b"state")
        return super().train(job, report)


@pytest.mark.parametrize("error", [TrainingFailed("diverged"), KeyError("not foreseen")])
def test_a_training_that_is_given_up_leaves_no_checkpoint(tmp_path: Path, error: Exception) -> None:
    harness = Harness(tmp_path, HalfWay(error))
    harness.send(harness.request(seed_uri=harness.seed()))
    assert harness.answers()["retrain.requests.dlq"]
    assert not checkpoints(harness)


def test_a_training_that_waits_keeps_its_checkpoint_until_it_is_refused(tmp_path: Path) -> None:
    harness = Harness(tmp_path, HalfWay(Retriable("Ray is gone")))
    harness.send(harness.request(seed_uri=harness.seed(), champion=champion(1)))
    harness.answers()
    assert len(checkpoints(harness)) == 1
    harness.send(replace(routing(champion=2, time=launch_time()), model=MODEL))
    assert harness.answers()["audit"][0].decision == "refuse"
    assert not checkpoints(harness)


class Overtaken(QuickWorkers):
    """While it trains for the first time, another trainer takes the number for a request."""

    harness: Harness

    def __init__(self, other: str) -> None:
        super().__init__()
        self.other = other

    def train(self, job: Job, report: Callable[[Step], None]) -> Done:
        done = super().train(job, report)
        if len(self.jobs) == 1:
            self.harness.artifacts.set_ref(f"models/{MODEL}/versions/1", theirs(self.other))
        return done


def theirs(retrain_id: str) -> dict[str, Any]:
    """Version 1 as another trainer stored it."""
    uris = ("adapter_uri", "dataset_uri", "model_card_uri", "run_uri")
    texts = ("adapter_digest", "base", "base_digest", "method", "dataset_id", "repo_hash")
    candidate = Candidate(
        retrain_id=retrain_id,
        model=MODEL,
        version=1,
        reason="launch",
        time=launch_time(),
        **dict.fromkeys((*uris, *texts), "theirs"),
    )
    decision = {"inputs": {}, "result": {}, "words": "trained"}
    return {"candidate": candidate.as_dict(), "lineage": {"seed": None}, "decision": decision}


@pytest.mark.parametrize(
    ("other", "told"), [("another request", (2, 2)), ("support:launch", (1, 1))]
)
def test_a_number_that_another_trainer_gave_is_not_given_twice(
    tmp_path: Path, other: str, told: tuple[int, int]
) -> None:
    workers = Overtaken(other)
    harness = workers.harness = Harness(tmp_path, workers)
    candidate = harness.ask(seed_uri=harness.seed())
    versions = harness.artifacts.refs(f"models/{MODEL}/versions/")
    assert (candidate.version, len(versions)) == told
    assert candidate.retrain_id == "support:launch"


# The worker on a real Ray


class Killing:
    """Kills the worker at its first sign of life each time, as the system does when memory is
    short."""

    def __init__(self) -> None:
        self.killed: list[int] = []

    def __call__(self, step: Step) -> None:
        if step.pid and step.pid not in self.killed:
            os.kill(step.pid, signal.SIGKILL)
            self.killed.append(step.pid)


@pytest.fixture(scope="module")
def workers(stack: StackConfig) -> Iterator[RayWorkers]:
    workers = RayWorkers(stack.ray)
    workers.start()
    yield workers
    workers.stop()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MiB, full while `ballast` lies on it."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("nobody here may mount a disk")
    (folder / "ballast").write_bytes(bytes(1 << 20))
    yield folder
    subprocess.run(["umount", folder], check=True)


def job(checkpoint: Path, **changed: Any) -> Job:
    texts = [(f"{word} number {n}", word) for word in ("card", "money") for n in range(20)]
    method = {"layers": 1, "epochs": 2, "r": 4}
    given: dict[str, Any] = {"recipe": "classifier", "base": "all-MiniLM-L6-v2", "task": {}}
    given |= {"seed": 7, "threads": 1, "examples": tuple(texts), "method": method}
    given |= {"checkpoint": str(checkpoint), "base_sha256": None}
    return Job(**given | changed)


def quiet(step: Step) -> None:
    """Nobody looks."""


def test_a_job_that_kills_its_worker_each_time_is_given_up_and_the_next_is_trained(
    workers: RayWorkers, tmp_path: Path
) -> None:
    killing = Killing()
    with pytest.raises(TrainingFailed, match=r"died 3 times at .*probably out of memory"):
        workers.train(job(tmp_path / "poison"), killing)
    assert len(set(killing.killed)) == 3
    assert workers.train(job(tmp_path / "good"), quiet).steps == 4


class Stopping:
    """Stops the worker at its first sign of life, so that it is silent and not dead."""

    stopped: int | None = None

    def __call__(self, step: Step) -> None:
        if self.stopped is None:
            self.stopped = step.pid
            os.kill(step.pid, signal.SIGSTOP)


@pytest.fixture
def stopping() -> Iterator[Stopping]:
    """Leaves no stopped process behind."""
    stopping = Stopping()
    yield stopping
    if stopping.stopped is not None and psutil.pid_exists(stopping.stopped):
        os.kill(stopping.stopped, signal.SIGKILL)


def test_a_silent_worker_is_replaced_and_changes_no_byte(
    workers: RayWorkers, stopping: Stopping, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unbroken = workers.train(job(tmp_path / "whole"), quiet)
    monkeypatch.setattr(ray_workers, "LOST_SECONDS", 5.0)
    monkeypatch.setattr(ray_workers, "LOOK_SECONDS", 0.05)
    assert workers.train(job(tmp_path / "stopped"), stopping).files == unbroken.files
    assert stopping.stopped is not None
    assert worker_process(workers).pid != stopping.stopped


def test_a_worker_that_is_silent_at_each_try_is_given_up(
    workers: RayWorkers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_workers, "LOST_SECONDS", -10.0)  # longer ago than it was asked
    monkeypatch.setattr(ray_workers, "LOOK_SECONDS", 0.0)
    with pytest.raises(TrainingFailed, match=r"died 3 times at 0% .*silent for"):
        workers.train(job(tmp_path), quiet)


def test_a_worker_that_is_silent_as_ray_is_away_is_waited_for(
    workers: RayWorkers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise ConnectionRefusedError("nobody listens")

    workers.start()
    with monkeypatch.context() as patch:
        patch.setattr(ray_workers, "LOST_SECONDS", -10.0)
        patch.setattr(ray_workers, "LOOK_SECONDS", 0.0)
        patch.setattr(workers, "reach", refused)
        with pytest.raises(Retriable, match="nobody listens") as raised:
            workers.train(job(tmp_path), quiet)
        assert not isinstance(raised.value, Interrupted)


def test_how_a_training_ended_is_said_whatever_becomes_of_the_worker(
    workers: RayWorkers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise TrainingFailed("cannot say what it holds")

    with monkeypatch.context() as patch:
        tried = workers.tried
        patch.setattr(workers, "tried", lambda *given: (tried(*given), broken())[0])

        def broken() -> None:
            patch.setattr(ray_workers.ray, "get", fails)

        assert workers.train(job(tmp_path), quiet).steps == 4


def test_a_worker_that_dies_between_trainings_costs_no_training(
    workers: RayWorkers, tmp_path: Path
) -> None:
    seen: list[Step] = []
    first = workers.train(job(tmp_path / "one"), seen.append)
    worker_process(workers).kill()
    assert workers.train(job(tmp_path / "two"), quiet).files == first.files


@pytest.mark.parametrize(
    ("changed", "kind", "says"),
    [
        ({"examples": (("a", "x"), ("b", "x"))}, TrainingFailed, "at least two labels"),
        ({"method": {"learning_rate": 1e20}}, TrainingFailed, "diverged"),
        ({"method": {"no_such": 1}}, TrainingFailed, "not foreseen .*no_such"),
        ({"base": "./nowhere"}, BadConfig, "is no folder"),
        ({"base_sha256": "0" * 64}, BadConfig, r"but 0000\w+ is wanted .*base\.sha256"),
    ],
)
def test_what_fails_on_every_try_says_so_at_once(
    workers: RayWorkers, tmp_path: Path, changed: dict[str, Any], kind: type[Exception], says: str
) -> None:
    with pytest.raises(kind, match=says):
        workers.train(job(tmp_path, **changed), quiet)


def long_texts(count: int) -> list[str]:
    """Some 150 tokens each, of ever other lengths."""
    draw = random.Random(1)
    words = ("card", "pin", "refund", "charge", "payment", "login", "phone", "transfer")
    return [" ".join(draw.choices(words, k=draw.randint(90, 210))) for _ in range(count)]


def test_memory_goes_back_after_each_training(workers: RayWorkers, tmp_path: Path) -> None:
    """0.9 GB more after the first such training were held once."""
    examples = tuple((text, f"l{number % 4}") for number, text in enumerate(long_texts(96)))
    process = worker_process(workers)
    warm = workers.train(job(tmp_path / "warm"), quiet) and process.memory_info().rss
    for number in range(2):
        told = job(tmp_path / str(number), examples=examples, method={"epochs": 1}, seed=number)
        workers.train(told, quiet)
        assert worker_process(workers).memory_info().rss < warm + HELD_BYTES


def test_a_worker_that_holds_on_to_memory_is_replaced(
    workers: RayWorkers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_workers.memory, "HELD_BYTES", 0)
    before = worker_process(workers)
    workers.train(job(tmp_path), quiet)
    before.wait(timeout=60)
    assert worker_process(workers).is_running()


def worker_process(workers: RayWorkers) -> psutil.Process:
    workers.start()
    return psutil.Process(ray_workers.ray.get(workers._worker.step.remote()).pid)


def test_a_base_that_lora_does_not_fit_ends_in_words(workers: RayWorkers, tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match=r"gpt2\) hold no torch\.nn\.Linear"):
        workers.train(job(tmp_path / "kept", base=str(tiny(tmp_path / "base", "gpt2"))), quiet)


def test_a_disk_that_stays_full_ends_in_words(
    workers: RayWorkers, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DiskFailed, "pause", 0.0)
    with pytest.raises(TrainingFailed, match=r"interrupted 3 times .*disk is full .*free"):
        workers.train(job(small_disk), quiet)
    assert [file.name for file in small_disk.iterdir()] == ["ballast"]


def test_a_disk_that_is_freed_in_time_changes_no_byte(
    workers: RayWorkers, small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def free(seconds: float) -> None:
        (small_disk / "ballast").unlink()

    monkeypatch.setattr(ray_workers.time, "sleep", free)
    interrupted = workers.train(job(small_disk), quiet)
    assert interrupted.files == workers.train(job(tmp_path), quiet).files


def test_an_adapter_that_finds_no_room_names_the_disk(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    with pytest.raises(DiskFailed, match="disk is full"):
        Worker().train(job(tmp_path))


RUNS_SHORT = """
import json, resource, sys
import psutil
from services.trainer.failures import TrainingFailed
from services.trainer.worker import Job, Worker

worker = Worker()
small, large = [Job(**said) for said in json.load(sys.stdin)]
worker.train(small)  # all that is loaded once is there
resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + (64 << 20),) * 2)
try:
    worker.train(large)
except TrainingFailed as error:
    print(error)
"""


def test_memory_that_runs_out_ends_in_words(tmp_path: Path) -> None:
    texts = [("card and money " * 80, label) for label in ("card", "money")] * 40
    large = job(tmp_path, examples=tuple(texts), method={"batch_size": 80, "epochs": 1})
    told = subprocess.run(
        [sys.executable, "-c", RUNS_SHORT],
        input=json.dumps([asdict(job(tmp_path)), asdict(large)]).encode(),
        capture_output=True,
        check=True,
    )
    assert b"memory ran out in the training: lower method.batch_size" in told.stdout

"""The Ray side of the trainer: one actor. When it dies another takes up its training, a bounded
number of times. Ray's own Train controller costs 15 to 29 s a run on a small machine, an actor
nothing."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import (
    OutOfMemoryError,
    RayActorError,
    RayError,
    RayTaskError,
    WorkerCrashedError,
)

import driftgate
import services
from driftgate.errors import DriftgateError, Retriable
from services.trainer import memory
from services.trainer.failures import Interrupted, Setbacks, TrainingFailed, WorkerDied
from services.trainer.worker import Done, Job, Step, Worker

LOCAL = "local"
LOOK_SECONDS = 1.0
"""Between two looks at a training."""

CONNECT_SECONDS = 5.0

LOST_SECONDS = 45.0
"""A busy worker answers within 30 s. One that hangs never does, nor one whose Ray was killed and
started anew at the same address; Ray tells of neither."""

START_SECONDS = 60.0
"""A worker that is not up by then will not come up."""

DIED = (RayActorError, OutOfMemoryError, WorkerCrashedError)
"""Killed by the system, by Ray's own watch over memory, or by a fault of its own."""

Report = Callable[[Step], None]


@dataclass
class RayWorkers:
    """`address` is a Ray cluster's, or `local` to start one inside this process."""

    address: str
    threads: int = 1
    _worker: Any = field(default=None, init=False)

    def start(self) -> None:
        """Joins Ray and brings the worker up, 6 to 12 s. Does nothing when it is up.

        Raises:
            Retriable: Ray does not answer.
        """
        if self._worker is not None:
            return
        with answering(self):
            if not ray.is_initialized():
                self.reach()
                self.join()
            gpus = min(1, int(ray.cluster_resources().get("GPU", 0)))
            worker = (
                ray.remote(Worker)
                .options(
                    num_cpus=1,
                    num_gpus=gpus,
                    max_concurrency=3,  # `step` beside `train` beside `warm`
                    runtime_env={"env_vars": self.environment()},
                )
                .remote()
            )
            ray.get(worker.step.remote(), timeout=START_SECONDS)
            worker.warm.remote()
            self._worker = worker

    def reach(self) -> None:
        """Passes where somebody listens at Ray's address; Ray itself tries it for minutes.

        Raises:
            OSError
        """
        if self.address != LOCAL:
            host, _, port = self.address.rpartition(":")
            socket.create_connection((host, int(port)), CONNECT_SECONDS).close()

    def join(self) -> None:
        """Connects to Ray, or starts one."""
        quiet = {"log_to_driver": False, "logging_level": "ERROR"}
        if self.address == LOCAL:
            ray.init(include_dashboard=False, **quiet)
        else:
            ray.init(address=self.address, **quiet)

    def environment(self) -> dict[str, str]:
        """Variables of the worker: it imports the very code that runs here."""
        roots = [Path(str(module.__file__)).parents[1] for module in (services, driftgate)]
        return {
            "PYTHONPATH": os.pathsep.join(map(str, roots)),
            "OMP_NUM_THREADS": str(self.threads),
            "TOKENIZERS_PARALLELISM": "false",
            **memory.ENVIRONMENT,
        }

    def train(self, job: Job, report: Report) -> Done:
        """See `Worker.train`; `report` is told every second, while the worker answers. A training
        that is interrupted goes on from its checkpoint, on a new worker if its own died.

        Raises:
            BadConfig: the base cannot be used.
            TrainingFailed: it fails each time, or was interrupted too often at one place.
            Retriable: Ray is away.
        """
        try:
            return self.tried(job, report)
        finally:
            self.renew()

    def tried(self, job: Job, report: Report) -> Done:
        """As many attempts as it takes, or as are allowed."""
        setbacks = Setbacks()
        while True:
            self.start()
            last = Last(report)
            try:
                return self.attempt(job, last)
            except Interrupted as error:
                setbacks = setbacks.after(last.step.share)
                final = setbacks.final(error, last.step.doing)
                if final is not None:
                    raise final from error
                time.sleep(error.pause)

    def attempt(self, job: Job, report: Report) -> Done:
        """One try of a training.

        Raises:
            BadConfig, TrainingFailed, Interrupted, Retriable
        """
        with answering(self):
            training = self._worker.train.remote(job)
            look, asked = self._worker.step.remote(), time.monotonic()
            while not ray.wait([training], timeout=LOOK_SECONDS)[0]:
                if ray.wait([look], timeout=0)[0]:
                    report(ray.get(look))
                    look, asked = self._worker.step.remote(), time.monotonic()
                elif time.monotonic() > asked + LOST_SECONDS:
                    self.reach()
                    # Ray is there: if it is not the one that has our worker, the next start fails.
                    self.discard()
                    raise WorkerDied(f"silent for {LOST_SECONDS:g} s")
            return ray.get(training)

    def renew(self) -> None:
        """Replaces a worker that holds on to memory."""
        if self._worker is None:
            return
        # How the training ended is said already, whatever becomes of the worker now.
        with suppress(DriftgateError), answering(self):
            if ray.get(self._worker.held.remote(), timeout=LOST_SECONDS) > memory.HELD_BYTES:
                self.discard()
                self.start()

    def discard(self) -> None:
        """Ends the worker; the next start makes another."""
        worker, self._worker = self._worker, None
        if worker is not None:
            with suppress(RayError):
                ray.kill(worker)

    def stop(self) -> None:
        """Leaves Ray; the worker ends with it."""
        self._worker = None
        ray.shutdown()


class Last:
    """Passes reports on and remembers the last."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.step = Step(0.0, "starting", 0)

    def __call__(self, step: Step) -> None:
        self.step = step
        self.report(step)


@contextmanager
def answering(workers: RayWorkers) -> Iterator[None]:
    """Ray's errors as ours. After one that says nothing about the task, Ray is joined anew."""
    try:
        yield
    except RayTaskError as error:
        if isinstance(error.cause, DriftgateError):
            raise error.cause from None
        raise TrainingFailed(f"the worker failed: {error.cause}") from error
    except DIED as error:
        workers.discard()
        raise WorkerDied(str(error).partition("\n")[0]) from error
    except (RayError, OSError, RuntimeError) as error:
        workers.stop()
        raise Retriable(
            f"Ray at {workers.address} does not answer: {error}; is it up (`driftgate status`)?"
        ) from error

"""Trouble for a running stack: replicas beside its own services, kills at random, outages."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from deploy.local.plan import StackConfig, service
from deploy.local.stack import supervisor_of
from driftgate.config import PREFIX

AGAIN_SECONDS = 1.0
# A service that was killed a moment ago is killed once it runs again.
HIT_SECONDS = 60.0


@dataclass
class Replica:
    """One more process of a service, started again whenever it ends, as a supervisor does.

    Attributes:
        number: its name; the stack's own process is replica 0.
        changed: variables in which it differs.
    """

    config: StackConfig
    name: str
    number: int
    changed: Mapping[str, str] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._supervise, name=f"{self.name}-{self.number}")
        self._thread.start()

    def pid(self) -> int | None:
        """None while it is not running."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def stop(self) -> None:
        self._over.set()
        if self._process is not None:
            self._process.terminate()
        if self._thread is not None:
            self._thread.join()

    def _supervise(self) -> None:
        program = service(self.config, self.name)
        folder = self.config.state_dir / "services" / f"{self.name}-{self.number}"
        environment = {
            **os.environ,
            **program.environment,
            f"{PREFIX}REPLICA": str(self.number),
            f"{PREFIX}HTTP_PORT": "0",
            f"{PREFIX}STATE_DIR": str(folder),
            **self.changed,
        }
        with (self.config.log / f"{self.name}-{self.number}.log").open("ab") as log:
            while not self._over.is_set():
                self._process = subprocess.Popen(
                    program.command, env=environment, cwd=self.config.work, stdout=log, stderr=log
                )
                while self._process.poll() is None and not self._over.wait(0.2):
                    pass
                if self._over.is_set():
                    self._process.terminate()
                    self._process.wait()
                self._over.wait(AGAIN_SECONDS)


@dataclass
class Trouble:
    """Kills and outages, spread at random over a time.

    Attributes:
        seconds: how long it lasts.
        kills: of each service.
        outages: parts of the infrastructure that are away, one after the other, for `away` s each.
        made: what was done, by name.
        missing: what was to be done and was not.
    """

    config: StackConfig
    replicas: Sequence[Replica]
    seconds: float
    kills: int
    outages: Sequence[str]
    away: float
    tell: Callable[[str], None]
    seed: int = 7
    made: Counter[str] = field(default_factory=Counter)
    missing: list[str] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begins; once."""
        if self._thread is None:
            self._thread = threading.Thread(target=self.run, name="trouble", daemon=True)
            self._thread.start()

    def run(self) -> None:
        """Until all is done, or `stop` was called."""
        begun = time.monotonic()
        for at, what, work in self.plan():
            self._over.wait(max(0.0, begun + at - time.monotonic()))
            try:
                done, why = not self._over.is_set() and work(), ""
            except Exception as error:  # noqa: BLE001 - the other faults are still to be made
                done, why = False, f" ({type(error).__name__}: {error})"
            if done:
                self.tell(f"{time.monotonic() - begun:.0f} s: {what}")
                self.made[what] += 1
            else:
                self.missing.append(what + why)

    def stop(self) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def plan(self) -> list[tuple[float, str, Callable[[], bool]]]:
        """When, what and how, in the order of time."""
        chance = random.Random(self.seed)
        running: dict[str, Callable[[], int | None]] = {
            name: partial(self.pid, name) for name in (*self.config.started, "ray")
        }
        for replica in self.replicas:
            running[f"{replica.name}-{replica.number}"] = replica.pid
        found: list[tuple[float, str, Callable[[], bool]]] = [
            (chance.uniform(0, self.seconds), f"SIGKILL {name}", partial(self.kill, pid))
            for name, pid in running.items()
            for _ in range(self.kills)
        ]
        for number, part in enumerate(self.outages, start=1):
            at = self.seconds * number / (len(self.outages) + 1)
            title = f"{part} away {self.away:g} s"
            found.append((at, title, partial(self.outage, part)))
        return sorted(found, key=lambda entry: entry[0])

    def pid(self, name: str) -> int | None:
        """Of one of the stack's own processes; None while it does not run."""
        processes = supervisor_of(self.config).processes()
        return next((one.pid or None for one in processes if one.name == name), None)

    def kill(self, pid: Callable[[], int | None]) -> bool:
        """Whether a process was hit, once there was one."""
        end = time.monotonic() + HIT_SECONDS
        while time.monotonic() < end and not self._over.wait(0.2):
            if (found := pid()) is not None:
                with suppress(ProcessLookupError):
                    os.kill(found, signal.SIGKILL)
                    return True
        return False

    def outage(self, part: str) -> bool:
        supervisor = supervisor_of(self.config)
        if (found := self.pid(part)) is not None:
            os.kill(found, signal.SIGKILL)
        supervisor.end(part)
        self._over.wait(self.away)
        supervisor.run(part)
        return True

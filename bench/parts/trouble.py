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
from dataclasses import dataclass, field

from deploy.local.plan import StackConfig, service
from deploy.local.stack import supervisor_of
from driftgate.config import PREFIX

AGAIN_SECONDS = 1.0


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

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)

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
            if self._over.wait(max(0.0, begun + at - time.monotonic())):
                return
            self.tell(f"{time.monotonic() - begun:.0f} s: {what}")
            work()
            self.made[what] += 1

    def stop(self) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def plan(self) -> list[tuple[float, str, Callable[[], None]]]:
        """When, what and how, in the order of time."""
        chance = random.Random(self.seed)
        found: list[tuple[float, str, Callable[[], None]]] = []
        for name in self.config.started:
            for _ in range(self.kills):
                at = chance.uniform(0, self.seconds)
                found.append((at, f"SIGKILL {name}", lambda name=name: self.kill(name)))
        for replica in self.replicas:
            title = f"SIGKILL {replica.name}-{replica.number}"
            for _ in range(self.kills):
                found.append((chance.uniform(0, self.seconds), title, replica.kill))
        for number, part in enumerate(self.outages, start=1):
            at = self.seconds * number / (len(self.outages) + 1)
            title = f"{part} away {self.away:g} s"
            found.append((at, title, lambda part=part: self.outage(part)))
        return sorted(found, key=lambda entry: entry[0])

    def kill(self, name: str) -> None:
        """One that is being started again already is killed as well as it can be."""
        for process in supervisor_of(self.config).processes():
            if process.name == name and process.pid:
                os.kill(process.pid, signal.SIGKILL)

    def outage(self, part: str) -> None:
        supervisor = supervisor_of(self.config)
        self.kill(part)
        supervisor.end(part)
        self._over.wait(self.away)
        supervisor.run(part)

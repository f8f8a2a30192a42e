"""The local stack: Kafka, ClickHouse's engine, Ray and the services, up and down as one."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal as signals
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import psutil

from deploy.local import health, kafka
from deploy.local.plan import (
    AWAITED,
    INFRASTRUCTURE,
    ON_RAY,
    SERVICES,
    StackConfig,
    free_ports,
    is_free,
    port_of,
    programs,
    wanted_ports,
)
from deploy.local.supervision import Process, Supervisor
from driftgate.config import PREFIX
from driftgate.errors import BadConfig, Retriable, nearest
from driftgate.files import write_atomically

__all__ = [
    "INFRASTRUCTURE",
    "SERVICES",
    "PartStatus",
    "PortTaken",
    "StackConfig",
    "StartFailed",
    "down",
    "is_free",
    "kill",
    "members",
    "running",
    "status",
    "up",
]

START_DEADLINE_S = 180.0
STOP_DEADLINE_S = 60.0
POLL_S = 0.1
# Starts that failed before a program is called broken; the supervisor goes on trying.
FAILED_STARTS = 3


class PortTaken(BadConfig):
    """Another process listens where a part of the stack wants to."""

    def __init__(self, port: int, part: str, holder: str, free: int) -> None:
        variable = f"{PREFIX}{part.upper()}_PORT"
        super().__init__(
            f"port {port}, wanted by {part}, is taken by {holder}: "
            f"free it, or choose another with {variable}={free}"
        )
        self.port = port
        self.part = part
        self.variable = variable


class StartFailed(Retriable):
    """A part of the stack did not come up; the message ends with what it wrote."""


@dataclass(frozen=True, slots=True)
class PartStatus:
    """How one part of the stack does. `detail` says what is wrong when it is not healthy."""

    name: str
    state: str
    pid: int | None
    uptime_s: float
    restarts: int
    port: int
    healthy: bool
    detail: str


# ---------------------------------------------------------------- up, down, status


def up(config: StackConfig, progress: Callable[[str], None] = print) -> None:
    """Start what does not run yet and return when all of it is ready.

    Raises:
        PortTaken: another process listens on one of the ports.
        BadConfig: this state folder's stack is up with another configuration.
        StartFailed: a part did not get ready; nothing is taken down, so its log can be read.
    """
    # It holds data of persons, and the key to them.
    config.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with only_one(config.state_dir / "up.lock"):
        supervisor = supervisor_of(config)
        if supervisor.pid() is None:
            end_members(config)
            check_ports(config)
            fetch(progress)
            record = json.dumps(asdict(config), default=str)
            write_atomically(record_of(config.state_dir), record.encode())
            supervisor.start(programs(config), config.work, not_ours())
            wait(supervisor, "supervisor", lambda: "" if supervisor.pid() else "no socket yet")
        elif (other := running(config.state_dir)) != config:
            raise BadConfig(
                f"{config.state_dir} is up with other settings ({difference(other, config)}): "
                "take it down first"
            )
        start(config, supervisor, progress)


def start(config: StackConfig, supervisor: Supervisor, progress: Callable[[str], None]) -> None:
    """Bring a supervised stack to readiness, step by step; each step is a no-op when done.

    Ray takes longest to start, so whatever can do without it goes first.
    """
    idle = {p.name for p in supervisor.processes() if not p.pid}

    def ready(names: Iterable[str]) -> None:
        for name in names:
            seconds = wait(supervisor, name, partial(trouble, config, name, AWAITED.get(name, "")))
            progress(f"{name} is ready on port {port_of(config, name)} ({seconds:.1f} s)")

    def run(names: Iterable[str]) -> None:
        for name in names:
            if name in idle:
                supervisor.run(name)

    run(INFRASTRUCTURE)
    ready(["kafka", "clickhouse"])
    if idle.intersection(config.started):
        progress("creating topics and tables")
        bootstrap(config)
    run(name for name in config.started if name not in ON_RAY)
    ready(["ray"])
    run(config.started)
    ready(config.started)


def down(state_dir: Path, progress: Callable[[str], None] = lambda _: None) -> None:
    """Stop every process of the stack; its state stays. Nothing happens when nothing runs."""
    config = recorded(state_dir.resolve())
    if config is None:
        return
    supervisor = supervisor_of(config)
    if supervisor.pid() is not None:
        for names in filter(None, (config.started, INFRASTRUCTURE)):
            progress(f"stopping {', '.join(names)}")
            stop(supervisor, names)
        supervisor.shut_down()
        psutil.wait_procs(members(config), timeout=STOP_DEADLINE_S)
    end_members(config)
    record_of(config.state_dir).unlink(missing_ok=True)
    shutil.rmtree(config.run, ignore_errors=True)
    progress("down")


def stop(supervisor: Supervisor, names: Iterable[str]) -> None:
    """End programs side by side and wait for the last; the supervisor kills who takes too long."""
    for name in names:
        supervisor.end(name)
    deadline = time.monotonic() + STOP_DEADLINE_S
    while any(p.pid and p.name in names for p in supervisor.processes()):
        if time.monotonic() > deadline:
            return
        time.sleep(POLL_S)


def status(of: StackConfig | Path) -> list[PartStatus]:
    """Every part of the stack, its process and its health. Empty when the stack is down."""
    config = of if isinstance(of, StackConfig) else recorded(of.resolve())
    if config is None:
        return []
    supervisor = supervisor_of(config)
    if supervisor.pid() is None:
        return []
    return [part_status(config, supervisor, process) for process in supervisor.processes()]


def part_status(config: StackConfig, supervisor: Supervisor, process: Process) -> PartStatus:
    wrong = trouble(config, process.name) if process.pid else process.detail
    return PartStatus(
        name=process.name,
        state=process.state,
        pid=process.pid or None,
        uptime_s=process.uptime_s,
        restarts=supervisor.restarts(process.name),
        port=port_of(config, process.name),
        healthy=not wrong,
        detail=wrong or process.detail,
    )


def running(state_dir: Path) -> StackConfig | None:
    """The configuration of the stack that is up in this folder."""
    config = recorded(state_dir.resolve())
    return config if config and supervisor_of(config).pid() is not None else None


def kill(state_dir: Path, name: str, signal: int = signals.SIGKILL) -> None:
    """Send a signal to one part's process, as a fault; the supervisor starts it again.

    Raises:
        BadConfig: no stack is up in this folder, or it has no such part.
    """
    config = running(state_dir)
    if config is None:
        raise BadConfig(f"no stack is up in {state_dir}")
    parts = [program.name for program in programs(config)]
    if name not in parts:
        raise BadConfig(f"no part is called {name!r}: {nearest(name, parts)}")
    supervisor_of(config).signal(name, signal)


# ---------------------------------------------------------------- steps


def fetch(progress: Callable[[str], None]) -> None:
    progress("Kafka's jars: fetching what is missing, checking the sums")
    kafka.fetch()


def bootstrap(config: StackConfig) -> None:
    """Topics and tables. Raises StartFailed with the program's output if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "services.console.bootstrap"],
        env=not_ours() | config.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise StartFailed(
            f"services.console.bootstrap exited with {done.returncode}:\n{done.stdout}{done.stderr}"
        )


def not_ours() -> dict[str, str]:
    """This process's environment without `DRIFTGATE_*`: those the stack sets itself."""
    return {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}


def trouble(config: StackConfig, name: str, path: str = "/healthz") -> str:
    """What keeps a part from being healthy, '' for nothing."""
    port = port_of(config, name)
    if name == "kafka":
        return health.kafka(port)
    if name == "clickhouse":
        return health.http(port, "/ping")
    if name == "ray":
        return health.ray(port, config.run / "ray")
    return health.http(port, path)


def wait(supervisor: Supervisor, name: str, wrong: Callable[[], str]) -> float:
    """Seconds until nothing is wrong with a part any more."""
    begin, restarts = time.monotonic(), supervisor.restarts(name)
    while why := wrong():
        waited, failed = time.monotonic() - begin, supervisor.restarts(name) - restarts
        if waited > START_DEADLINE_S or failed >= FAILED_STARTS:
            raise StartFailed(
                f"{name} is not ready after {waited:.0f} s ({why}); "
                f"the end of {supervisor.log_of(name)}:\n{supervisor.tail(name)}"
            )
        time.sleep(POLL_S)
    return time.monotonic() - begin


def check_ports(config: StackConfig) -> None:
    """Raises PortTaken for the first port on which somebody else listens."""
    for part, port in wanted_ports(config).items():
        if not is_free(port):
            raise PortTaken(port, part, holder_of(port), free_ports(1)[0])


def holder_of(port: int) -> str:
    """Name and pid of the process that listens on a port, as far as we may see."""
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return "another process"


# ---------------------------------------------------------------- records and processes


def supervisor_of(config: StackConfig) -> Supervisor:
    return Supervisor(config.run, config.log)


def record_of(state_dir: Path) -> Path:
    return state_dir / "stack.json"


def recorded(state_dir: Path) -> StackConfig | None:
    """The configuration that `up` wrote down and `down` has not removed.

    Raises:
        BadConfig: the record is damaged, or of another version of driftgate.
    """
    path = record_of(state_dir)
    try:
        found = json.loads(path.read_text())
        found |= {"state_dir": Path(found["state_dir"]), "services": tuple(found["services"])}
        return StackConfig(**found)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise BadConfig(
            f"{path}: expected the record of a stack of this version of driftgate ({error}): "
            "end what still runs of that stack, then remove the file"
        ) from error


def difference(a: StackConfig | None, b: StackConfig) -> str:
    """Names of the fields in which two configurations differ."""
    theirs = asdict(a) if a else {}
    return ", ".join(name for name, value in asdict(b).items() if theirs.get(name) != value)


def members(config: StackConfig) -> list[psutil.Process]:
    """Every process of the stack, orphans included: all have its working folder."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and Path(process.cwd()) == config.work:
                found.append(process)
    return found


def end_members(config: StackConfig) -> None:
    """Kill what is left of a stack whose supervisor is gone."""
    left = members(config)
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=STOP_DEADLINE_S)


@contextlib.contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Let one process at a time pass."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

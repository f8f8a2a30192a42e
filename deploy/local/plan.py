"""Which processes make a local stack, how each is configured, and on which ports it listens."""

from __future__ import annotations

import fcntl
import hashlib
import os
import random
import secrets
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from pathlib import Path
from tempfile import gettempdir
from typing import Literal, Self

from deploy.local import ray
from deploy.local.supervision import Program
from driftgate.config import PREFIX, Settings, load
from driftgate.errors import BadConfig, nearest
from driftgate.files import write_atomically

SERVICES = ("ingest_logger", "drift_detector", "trainer", "evaluator", "promoter", "router")
# Says what time it is, unless a simulated world does.
CLOCK = "clock"
INFRASTRUCTURE = ("kafka", "clickhouse", "ray")
ON_RAY = ("trainer",)
# The router is ready once it has a version to serve, and a new stack has none.
AWAITED = dict.fromkeys((*SERVICES, CLOCK), "/readyz") | {"router": "/healthz"}
PORTS = {
    "kafka": 9092,
    "kafka_controller": 9093,
    "clickhouse": 8123,
    "router": 50051,
    "http_door": 8088,
    "ray": 6379,
    "ray_client": 10001,
} | {f"{name}_http": 9401 + i for i, name in enumerate((*SERVICES, CLOCK))}
PORT_VARIABLES = {f"{PREFIX}{name.upper()}_PORT": name for name in PORTS}
OWNED_BY_STACK = ("kafka", "store", "ray", "router", "http_door", "http_port", "state_dir")

# Below the range from which Linux and macOS take the ports of outgoing connections.
FREE_PORTS = range(20_000, 32_000)
_CLAIMED: set[int] = set()

# Ray puts 62 characters behind its folder, and a unix socket's path ends at 107.
LONGEST_RUN_FOLDER = 40

WORLD_KEY = "no secret: a simulated world has no real persons"

# Large bodies come and go: giving their memory back to the system each time costs half of the time.
KEEPS_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**28), "MALLOC_TRIM_THRESHOLD_": str(2**28)}

SERVICE_STOP_S = 15
# A Ray that is still starting ignores SIGTERM, and has nothing to lose.
RAY_STOP_S = 5


@dataclass(frozen=True, slots=True)
class StackConfig:
    """All that distinguishes one local stack from another.

    `ports` has the names of `PORTS`; `settings` are `DRIFTGATE_*` variables for the services;
    without `services` only the infrastructure runs. `clock` is `live` where the service of that
    name keeps time, `world` where a simulated world does.
    """

    state_dir: Path
    ports: dict[str, int] = field(default_factory=lambda: dict(PORTS))
    clock: Literal["live", "world"] = "live"
    settings: dict[str, str] = field(default_factory=dict)
    services: tuple[str, ...] = SERVICES
    cpus: int = field(default_factory=lambda: os.cpu_count() or 1)
    hub_offline: bool = True

    @classmethod
    def default(cls, state_dir: Path, environment: Mapping[str, str]) -> Self:
        """The usual ports, unless `DRIFTGATE_KAFKA_PORT` and its like say otherwise.

        Raises:
            BadConfig: a variable is unknown or holds no port.
        """
        ports, settings = dict(PORTS), {}
        of_services = [PREFIX + name.upper() for name in Settings.model_fields]
        clock: Literal["live", "world"] = "live"
        for variable, value in environment.items():
            if variable in PORT_VARIABLES:
                ports[PORT_VARIABLES[variable]] = port_number(variable, value)
            elif variable == f"{PREFIX}CLOCK" and value in ("live", "world"):
                clock = value  # type: ignore[assignment]
            elif variable in of_services:
                if variable.removeprefix(PREFIX).lower() not in OWNED_BY_STACK:
                    settings[variable] = value
            elif variable.startswith(PREFIX):
                known = [*PORT_VARIABLES, *of_services]
                raise BadConfig(
                    f"environment variable {variable} is unknown: {nearest(variable, known)}"
                )
        offline = environment.get("HF_HUB_OFFLINE", "1") != "0"
        return cls(state_dir.resolve(), ports, clock, settings, hub_offline=offline)

    @classmethod
    def on_free_ports(cls, state_dir: Path, clock: Literal["live", "world"] = "live") -> Self:
        """A stack beside any other."""
        return cls(
            state_dir.resolve(), dict(zip(PORTS, free_ports(len(PORTS)), strict=True)), clock
        )

    def __post_init__(self) -> None:
        # The record of a stack that an older version started may lack a part.
        object.__setattr__(self, "ports", PORTS | self.ports)

    @property
    def started(self) -> tuple[str, ...]:
        """Services that are started: those asked for, and clock where no world keeps time."""
        return (CLOCK, *self.services) if self.services and self.clock == "live" else self.services

    @property
    def kafka(self) -> str:
        return f"127.0.0.1:{self.ports['kafka']}"

    @property
    def store(self) -> str:
        return f"http://127.0.0.1:{self.ports['clickhouse']}"

    @property
    def router(self) -> str:
        return f"127.0.0.1:{self.ports['router']}"

    @property
    def ray(self) -> str:
        return f"127.0.0.1:{self.ports['ray']}"

    @property
    def healthz(self) -> dict[str, str]:
        """Where each service says how it does and what it is doing, by the service's name."""
        return {
            name.replace("_", "-"): f"http://127.0.0.1:{self.ports[f'{name}_http']}/healthz"
            for name in self.started
        }

    @property
    def log(self) -> Path:
        return self.state_dir / "log"

    @property
    def work(self) -> Path:
        """Working folder of every process of the stack: by it they are found again."""
        return self.state_dir / "work"

    @property
    def run(self) -> Path:
        """Folder of sockets; elsewhere when the state's own path is too long for one."""
        inside = self.state_dir / "run"
        if len(str(inside)) <= LONGEST_RUN_FOLDER:
            return inside
        name = hashlib.sha256(str(self.state_dir).encode()).hexdigest()[:8]
        return Path("/tmp") / f"driftgate-{os.getuid()}-{name}"  # noqa: S108

    @property
    def subject_key(self) -> str:
        """What persons' ids are hashed with: this stack's own secret; the same for all simulated
        worlds, so that their runs can be compared."""
        if self.clock == "world":
            return WORLD_KEY
        path = self.state_dir / "subject.key"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_atomically(path, secrets.token_hex(32).encode(), mode=0o600)
        return path.read_text()

    @property
    def environment(self) -> dict[str, str]:
        """`DRIFTGATE_*` of any process that talks to this stack: bootstrap, console, tests."""
        ours = {
            "KAFKA": self.kafka,
            "STORE": self.store,
            "ROUTER": self.router,
            "HTTP_DOOR": f"127.0.0.1:{self.ports['http_door']}",
            "RAY": self.ray,
            "SUBJECT_KEY": self.subject_key,
            "ARTIFACTS": f"file://{self.state_dir / 'artifacts'}",
            "STATE_DIR": str(self.state_dir / "services"),
        }
        return {PREFIX + name: value for name, value in ours.items()} | self.settings

    @property
    def service_settings(self) -> Settings:
        """How a process of this machine reaches the stack."""
        return load(dict(self.environment))


def programs(config: StackConfig) -> list[Program]:
    """The stack's processes in the order of their start."""
    return [*infrastructure(config), *(service(config, name) for name in config.started)]


def infrastructure(config: StackConfig) -> list[Program]:
    state, ports = config.state_dir, config.ports

    def part(name: str, stop_s: int, *arguments: object) -> Program:
        line = (sys.executable, "-m", f"deploy.local.{name}", *map(str, arguments))
        return Program(name, line, KEEPS_MEMORY, stop_s)

    return [
        part(
            "kafka",
            30,
            state / "kafka",
            *("--port", ports["kafka"], "--controller-port", ports["kafka_controller"]),
        ),
        part("clickhouse", 30, state / "clickhouse", "--port", ports["clickhouse"]),
        part(
            "ray",
            RAY_STOP_S,
            config.run / "ray",
            *("--port", ports["ray"], "--client-port", ports["ray_client"]),
            *("--cpus", config.cpus),
        ),
    ]


def service(config: StackConfig, name: str) -> Program:
    own = {
        f"{PREFIX}HTTP_PORT": str(config.ports[f"{name}_http"]),
        f"{PREFIX}STATE_DIR": str(config.state_dir / "services" / name),
    }
    return Program(
        name,
        (sys.executable, "-m", f"services.{name}.main"),
        # Idle threads that spin cost more than they gain where seven services share few cores.
        ray.ENVIRONMENT
        | {
            "OMP_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "passive",
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_OFFLINE": str(int(config.hub_offline)),
            "PYTHONUNBUFFERED": "1",
        }
        | config.environment
        | own,
        stop_s=SERVICE_STOP_S,
    )


def wanted_ports(config: StackConfig) -> dict[str, int]:
    """The ports that this stack will listen on, by part."""
    silent = {f"{name}_http" for name in (*SERVICES, CLOCK) if name not in config.started}
    if "router" not in config.services:
        silent |= {"router", "http_door"}
    return {name: port for name, port in config.ports.items() if name not in silent}


def port_of(config: StackConfig, name: str) -> int:
    return config.ports[name if name in INFRASTRUCTURE else f"{name}_http"]


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, and none that the system gives out by itself. They are this
    process's until it ends: no other call, here or in another process of the user, gets them."""
    candidates = random.sample(FREE_PORTS, len(FREE_PORTS))
    claimed = list(islice((port for port in candidates if is_free(port) and claim(port)), count))
    _CLAIMED.update(claimed)
    return claimed


def claim(port: int) -> bool:
    """Lock the byte with the port's number, which no other process can lock while this one runs."""
    try:
        fcntl.lockf(_claims(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return port not in _CLAIMED  # a lock does not keep out its own process


@cache
def _claims() -> int:
    """The file of claims. It stays open: closing it once would give up every lock."""
    path = Path(gettempdir()) / f"driftgate-{os.getuid()}-ports"
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        # A port that was closed a moment ago is free, although the kernel still remembers it.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def port_number(variable: str, text: str) -> int:
    if text.isdigit() and 0 < int(text) < 2**16:
        return int(text)
    raise BadConfig(f"{variable}: got {text!r}, expected a port between 1 and 65535")

"""supervisord as the keeper of the stack's processes: its configuration, start, questions, stop."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Mapping
from configparser import RawConfigParser
from dataclasses import dataclass
from http.client import HTTPException
from io import StringIO
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault, ServerProxy

from supervisor.xmlrpc import Faults, SupervisorTransport

from driftgate.errors import Retriable

LOG_BYTES = 10 * 2**20
LOG_BACKUPS = 2


@dataclass(frozen=True, slots=True)
class Program:
    """One process to keep alive. After `stop_s` seconds of stopping it is killed."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    stop_s: int


@dataclass(frozen=True, slots=True)
class Process:
    """What supervisord knows of a program. `state` is its own word: RUNNING, BACKOFF, …"""

    name: str
    state: str
    pid: int
    uptime_s: float
    detail: str


class Supervisor:
    """The supervisord of one stack, spoken to over its unix socket."""

    def __init__(self, run: Path, log: Path) -> None:
        self._run = run
        self._log = log

    @property
    def socket(self) -> Path:
        return self._run / "supervisor.sock"

    @property
    def ini(self) -> Path:
        return self._run / "supervisord.ini"

    @property
    def journal(self) -> Path:
        return self._log / "supervisord.log"

    def log_of(self, name: str) -> Path:
        return self._log / f"{name}.log"

    def start(
        self, programs: Iterable[Program], directory: Path, environment: Mapping[str, str]
    ) -> None:
        """Write the configuration and let supervisord run as a daemon, the programs inside it.

        Raises:
            Retriable: supervisord did not start; its output is in the message.
        """
        for folder in (self._run, self._log, directory):
            folder.mkdir(parents=True, exist_ok=True)
        self._run.chmod(0o700)
        self.journal.unlink(missing_ok=True)
        self.ini.write_text(ini(programs, self._run, self._log, directory))
        line = [sys.executable, "-m", "supervisor.supervisord", "-c", str(self.ini)]
        done = subprocess.run(
            line, capture_output=True, text=True, check=False, cwd=directory, env=environment
        )
        if done.returncode:
            raise Retriable(f"supervisord did not start: {done.stdout}{done.stderr}")

    def pid(self) -> int | None:
        """supervisord's process id, None when it does not answer or is ending."""
        try:
            return int(self._ask("getPID"))
        except (OSError, HTTPException):
            return None
        except Fault as fault:
            if fault.faultCode == Faults.SHUTDOWN_STATE:
                return None
            raise

    def processes(self) -> list[Process]:
        return [
            Process(
                name=info["name"],
                state=info["statename"],
                pid=info["pid"],
                uptime_s=info["now"] - info["start"] if info["pid"] else 0.0,
                detail=info["spawnerr"] or info["description"],
            )
            for info in self._ask("getAllProcessInfo")
        ]

    def run(self, name: str) -> None:
        """Start a program; nothing happens if it runs."""
        self._unless(Faults.ALREADY_STARTED, "startProcess", name, False)

    def end(self, name: str) -> None:
        """Ask a program to stop; nothing happens if it does not run."""
        self._unless(Faults.NOT_RUNNING, "stopProcess", name, False)

    def signal(self, name: str, number: int) -> None:
        self._ask("signalProcess", name, str(number))

    def shut_down(self) -> None:
        self._ask("shutdown")

    def restarts(self, name: str) -> int:
        """How often the program was started again since supervisord runs."""
        journal = self.journal.read_text() if self.journal.exists() else ""
        return max(0, journal.count(f"spawned: '{name}' with pid") - 1)

    def tail(self, name: str, lines: int = 20) -> str:
        """The last lines that a program wrote."""
        log = self.log_of(name)
        text = log.read_text(errors="replace") if log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def _unless(self, harmless: int, method: str, *arguments: Any) -> None:
        try:
            self._ask(method, *arguments)
        except Fault as fault:
            if fault.faultCode != harmless:
                raise

    def _ask(self, method: str, *arguments: Any) -> Any:
        transport = SupervisorTransport(None, None, f"unix://{self.socket}")
        with ServerProxy("http://127.0.0.1", transport=transport) as proxy:
            return getattr(proxy.supervisor, method)(*arguments)


def ini(programs: Iterable[Program], run: Path, log: Path, directory: Path) -> str:
    """The text of supervisord's configuration. Pure."""
    parts: dict[str, dict[str, Any]] = {
        "supervisord": {
            "logfile": log / "supervisord.log",
            "logfile_maxbytes": LOG_BYTES,
            "logfile_backups": LOG_BACKUPS,
            "pidfile": run / "supervisord.pid",
            "childlogdir": log,
            "directory": directory,
            "umask": "077",
        },
        "unix_http_server": {"file": run / "supervisor.sock", "chmod": "0700"},
        "rpcinterface:supervisor": {
            "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
        },
    }
    parts |= {f"program:{program.name}": section(program, log) for program in programs}
    parser, text = RawConfigParser(), StringIO()
    parser.read_dict(
        {
            name: {key: plain(value) for key, value in values.items()}
            for name, values in parts.items()
        }
    )
    parser.write(text)
    return text.getvalue()


def section(program: Program, log: Path) -> dict[str, Any]:
    """One program's part of the configuration."""
    return {
        "command": " ".join(quoted(word) for word in program.command),
        "environment": ",".join(
            f"{name}={quoted(value)}" for name, value in sorted(program.environment.items())
        ),
        "autostart": "false",
        "autorestart": "true",
        # A service that cannot start yet is tried again, one second later each time.
        "startsecs": 1,
        "startretries": 1000,
        "stopwaitsecs": program.stop_s,
        "stopasgroup": "true",
        "killasgroup": "true",
        "redirect_stderr": "true",
        "stdout_logfile": log / f"{program.name}.log",
        "stdout_logfile_maxbytes": LOG_BYTES,
        "stdout_logfile_backups": LOG_BACKUPS,
    }


def plain(value: object) -> str:
    """A value as supervisord's ini wants it: `%` opens an expansion there."""
    return str(value).replace("%", "%%")


def quoted(word: str) -> str:
    """A word as both of supervisord's lexers (command and environment) read it."""
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'

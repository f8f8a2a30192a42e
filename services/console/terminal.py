"""What every command of an operator needs: where the system is, what time it is there, who asks,
and how errors are reported.

Imports little, since `driftgate --help` waits for all of it: clients of Kafka, the store and the
local stack are imported by the functions that use them.
"""

from __future__ import annotations

import functools
import logging
import os
import shlex
import socket
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer
from rich.console import Console

from driftgate.errors import (
    BusUnavailable,
    DriftgateError,
    Retriable,
    RouterUnavailable,
    StoreUnavailable,
)

if TYPE_CHECKING:
    from driftgate.config import Settings

console = Console()
complaints = Console(stderr=True)

State = Annotated[
    Path, typer.Option(help="folder of the local stack", envvar="DRIFTGATE_STATE_DIR")
]
HERE = Path(".driftgate")
TRACE = "driftgate-command.log"
# What a wheel always has; another module that is missing belongs to the extra.
OURS = frozenset({"driftgate", "services", "deploy"})

KAFKA, STORE, ROUTER = "kafka", "store", "router"
UNREACHABLE = {
    KAFKA: ("Kafka", BusUnavailable),
    STORE: ("ClickHouse", StoreUnavailable),
    ROUTER: ("the router", RouterUnavailable),
}
CONNECT_SECONDS = 2.0


class Status(IntEnum):
    """Exit statuses; docs/command-line.md explains them."""

    DONE = 0
    NO = 1
    UNUSABLE = 2
    AWAY = 3
    BUG = 70
    INTERRUPTED = 130


def reports_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Makes an error one line on standard error and an exit status, never a trace."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            with quiet():
                command(*args, **kwargs)
        except (typer.Exit, typer.Abort, typer.BadParameter, BrokenPipeError):
            raise  # typer's own ways to end
        except KeyboardInterrupt as error:
            raise fail("interrupted", Status.INTERRUPTED) from error
        except Exception as error:
            state = kwargs.get("state", HERE)
            line, status = explain(error, reaching(state))
            if status is Status.BUG:
                log = write_trace(state)
                line += f"; this is a fault of driftgate, please report it with {log}"
            raise fail(line, status) from error

    return wrapped


def explain(error: Exception, options: str = "") -> tuple[str, Status]:
    """An error in words, and the exit status that it leads to. Pure. `options`: see `reaching`."""
    words, start = str(error), start_it(options)
    match error:
        case BusUnavailable() | StoreUnavailable() if start not in words:
            return f"{words}: {start}", Status.AWAY
        case Retriable():
            return words, Status.AWAY
        case DriftgateError():
            return words, Status.UNUSABLE
        case OSError(filename=str() | Path() as path):
            return f"{path}: {error.strerror}: expected a path that can be used", Status.UNUSABLE
        case ModuleNotFoundError(name=str() as name) if name.partition(".")[0] not in OURS:
            wanted = "expected the extra that this command needs: pip install 'driftgate[services]'"
            return f"{name} is not installed: {wanted}", Status.UNUSABLE
    return f"{type(error).__name__}: {words or 'no message'}", Status.BUG


def start_it(options: str) -> str:
    return f"`driftgate status{options}` says what runs here, `driftgate up{options}` starts it"


def reaching(state: Path) -> str:
    """What a printed command needs to reach the same system: ` --state X`, or nothing."""
    usual = Path(os.environ.get("DRIFTGATE_STATE_DIR", HERE))
    return "" if state == usual else f" --state {shlex.quote(str(state))}"


def fail(line: str, status: Status) -> typer.Exit:
    """Says why on standard error; returns what ends the command."""
    complain(f"driftgate: {line}")
    return typer.Exit(int(status))


def write_trace(state: Path) -> Path:
    """Keeps the trace of the error that is being handled; returns the file."""
    for folder in (state / "log", Path(tempfile.gettempdir())):
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / TRACE).open("a", encoding="utf-8") as file:
                file.write(traceback.format_exc() + "\n")
            return folder / TRACE
    return Path(os.devnull)


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps logs, warnings and progress bars of client libraries off the screen: what they have to
    say comes as an error, or is none. Services are processes of their own and keep their logs."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def say(line: str) -> None:
    """One line as it is: no markup, no colours, not cut at the terminal's width."""
    console.print(line, highlight=False, soft_wrap=True, markup=False)


def complain(line: str) -> None:
    complaints.print(line, style="red", highlight=False, soft_wrap=True, markup=False)


# ---------------------------------------------------------------- the system


def settings(state: Path, *parts: str) -> Settings:
    """How to reach the system: the local stack of `state` when it is up, else DRIFTGATE_*.

    Raises:
        BadConfig: a variable cannot be used.
        BusUnavailable, StoreUnavailable, RouterUnavailable: one of `parts` does not listen. A
            client would try for longer than an operator waits.
    """
    from deploy.local import stack
    from deploy.local.plan import PORT_VARIABLES
    from driftgate.config import load

    config = stack.running(state)
    if config is None:  # the ports of a stack that is not up say nothing about another system
        found = load({k: v for k, v in os.environ.items() if k not in PORT_VARIABLES})
    else:
        found = config.service_settings
    for part in parts:
        reach(part, getattr(found, part), reaching(state))
    return found


def reach(part: str, where: str, options: str = "") -> None:
    """
    Raises:
        BusUnavailable, StoreUnavailable, RouterUnavailable: none of the addresses accepts a
            connection.
    """
    if any(listens(address) for address in where.split(",")):
        return
    name, error = UNREACHABLE[part]
    variable = f"DRIFTGATE_{part.upper()}"
    raise error(
        f"{name} does not answer at {where}: {start_it(options)}; if it runs elsewhere, "
        f"set {variable}"
    )


def listens(address: str) -> bool:
    """Whether host:port, or the host and port of a URL, accepts a connection."""
    parts = urlsplit(address if "://" in address else f"//{address}")
    try:
        socket.create_connection((parts.hostname, parts.port), CONNECT_SECONDS).close()
    except (OSError, ValueError):
        return False
    return True


def now(found: Settings) -> int:
    """The system's time, ms.

    Raises:
        BusUnavailable
    """
    from driftgate.bus_kafka import KafkaBus
    from driftgate.codec import Codec
    from driftgate.system_clock import system_time

    with closing(KafkaBus(found.kafka)) as bus:
        return system_time(bus, Codec.load(found.schemas, found.registry))


def actor() -> str:
    return os.environ.get("USER", "operator")

"""What every command of an operator needs: where the system is, what time it is there, and who
asks."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from deploy.local import stack
from driftgate.bus_kafka import KafkaBus
from driftgate.clock import LiveClock
from driftgate.codec import Codec
from driftgate.config import Settings, load
from driftgate.errors import DriftgateError
from driftgate.runner import newest

console = Console()

State = Annotated[
    Path, typer.Option(help="folder of the local stack", envvar="DRIFTGATE_STATE_DIR")
]
HERE = Path(".driftgate")


def told(command: Callable[..., None]) -> Callable[..., None]:
    """Known errors are one clear line and exit status 1, not a trace."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except DriftgateError as error:
            line = f"driftgate: {error}"
            console.print(line, style="red", highlight=False, soft_wrap=True, markup=False)
            raise typer.Exit(1) from error

    return wrapped


def settings(state: Path) -> Settings:
    """How to reach the system: the local stack of `state` when it is up, else DRIFTGATE_*."""
    config = stack.running(state)
    return load() if config is None else config.service_settings


def now(found: Settings) -> int:
    """The system's time, ms: of the world that is played, or of this machine."""
    if found.clock == "live":
        return LiveClock().now()
    codec = Codec.load(found.schemas, found.registry)
    ticks = newest(KafkaBus(found.kafka), codec, "clock").values()
    return max((int(tick["time"]) for tick in ticks), default=0)


def actor() -> str:
    return os.environ.get("USER", "operator")

"""What operators order, sent to the services."""

from __future__ import annotations

from contextlib import closing

from driftgate.bus import Bus
from driftgate.bus_kafka import KafkaBus
from driftgate.bus_tools import newest, publish
from driftgate.codec import Codec
from driftgate.config import Settings
from driftgate.errors import BadConfig, nearest
from driftgate.events import AnyEvent, CommandKind, Model
from services.console.operators import new_command
from services.console.terminal import actor, now


def order(
    found: Settings,
    model: str,
    kind: CommandKind,
    reason: str,
    args: dict[str, str] | None = None,
    version: int | None = None,
) -> str:
    """Sends a command about a declared model, or one of its versions; returns the command's id.

    Raises:
        BadConfig: no such model is declared, or no service can do it.
        BusUnavailable
    """
    command = new_command(model, kind, args or {}, actor(), reason, now(found), version)
    with closing(KafkaBus(found.kafka)) as bus:
        declared(bus, Codec.load(found.schemas, found.registry), model)
    send(found, command)
    return command.command_id


def declared(bus: Bus, codec: Codec, model: str) -> Model:
    """The newest declaration of a model.

    Raises:
        BadConfig: no such model is declared.
        BusUnavailable
    """
    models = newest(bus, codec, Model)
    if model not in models:
        hint = nearest(model, list(models)) if models else "none is, see `driftgate apply`"
        raise BadConfig(f"model {model!r} is not declared: {hint}")
    return models[model]


def send(found: Settings, event: AnyEvent) -> None:
    """Sends one event, and returns once Kafka has it.

    Raises:
        BusUnavailable
    """
    codec = Codec.load(found.schemas, found.registry)
    with closing(KafkaBus(found.kafka)) as bus, closing(bus.producer()) as producer:
        publish(producer, codec, [event])

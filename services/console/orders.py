"""What operators order, sent to the services."""

from __future__ import annotations

from contextlib import closing

from driftgate.bus import Bus
from driftgate.bus_kafka import KafkaBus
from driftgate.codec import Codec
from driftgate.config import Settings
from driftgate.errors import BadConfig, nearest
from driftgate.events import Emit, Event
from driftgate.runner import newest, publish
from services.console.operators import command_event
from services.console.terminal import actor, now


def order(
    found: Settings, model: str, kind: str, reason: str, args: dict[str, str] | None = None
) -> str:
    """Sends a command about a declared model; returns the command's id.

    Raises:
        BadConfig: no such model is declared.
        BusUnavailable
    """
    with closing(KafkaBus(found.kafka)) as bus:
        declared(bus, Codec.load(found.schemas, found.registry), model)
    event = command_event(model, kind, args or {}, actor(), reason, now(found))
    send(found, Emit("commands", event))
    return str(event["command_id"])


def declared(bus: Bus, codec: Codec, model: str) -> Event:
    """The newest declaration of a model.

    Raises:
        BadConfig: no such model is declared.
        BusUnavailable
    """
    models = newest(bus, codec, "models")
    if model not in models:
        hint = nearest(model, list(models)) if models else "none is, see `driftgate apply`"
        raise BadConfig(f"model {model!r} is not declared: {hint}")
    return models[model]


def send(found: Settings, emit: Emit) -> None:
    """Sends one event, and returns once Kafka has it.

    Raises:
        BusUnavailable
    """
    codec = Codec.load(found.schemas, found.registry)
    with closing(KafkaBus(found.kafka)) as bus, closing(bus.producer()) as producer:
        publish(producer, codec, [emit])

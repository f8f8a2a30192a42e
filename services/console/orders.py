"""What operators order, sent to the services."""

from __future__ import annotations

from contextlib import closing

from driftgate.bus import Bus
from driftgate.bus_kafka import KafkaBus
from driftgate.bus_tools import events, newest, publish
from driftgate.codec import Codec
from driftgate.config import Settings
from driftgate.errors import BadConfig, nearest
from driftgate.events import AnyEvent, Candidate, Command, CommandKind, Model, Verdict
from services.console.operators import new_command, refuse_another
from services.console.terminal import actor, now


def order(
    found: Settings,
    model: str,
    kind: CommandKind,
    reason: str,
    args: dict[str, str] | None = None,
    version: int | None = None,
    command_id: str | None = None,
) -> str:
    """Sends a command about a declared model, or one of its versions; returns the command's id.
    One that was sent under its id before is not sent again.

    Raises:
        BadConfig: no such model is declared, no service can do it, or the id is another command's.
        BusUnavailable
    """
    command = new_command(model, kind, args or {}, actor(), reason, now(found), version, command_id)
    with closing(KafkaBus(found.kafka)) as bus:
        codec = Codec.load(found.schemas, found.registry)
        declared(bus, codec, model)
        before = sent_before(bus, codec, command_id)
    if before is None:
        send(found, command)
    else:
        refuse_another(before, command)
    return command.command_id


def sent_before(bus: Bus, codec: Codec, command_id: str | None) -> Command | None:
    """The command that was sent under an id, as long as its topic keeps it.

    Raises:
        BusUnavailable
    """
    if command_id is None:
        return None
    sent = (one for one in events(bus, codec, Command) if one.command_id == command_id)
    return next(sent, None)


def adapters(bus: Bus, codec: Codec, model: str) -> dict[int, str]:
    """Digests of a model's adapters by version: of those that were trained, and those that were
    judged, however long ago.

    Raises:
        BusUnavailable
    """
    told: list[Candidate | Verdict] = [*events(bus, codec, Candidate), *events(bus, codec, Verdict)]
    return {one.version: one.adapter_digest for one in told if one.model == model}


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

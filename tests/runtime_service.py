"""A service that says what it handled, for the contract of the runtime's loops. Run as a process it
is one replica of it, on Kafka."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from driftgate.bus import Bus, Position
from driftgate.bus_kafka import KafkaBus
from driftgate.codec import Codec
from driftgate.errors import BadInput, StoreUnavailable
from driftgate.events import Command, Inference, Model, RoutingAck, Tick
from driftgate.health import Health, log_for
from driftgate.runtime import Handler, Runtime, Service, View, Views, stop_on_signals
from driftgate.runtime.service import no_effects

BEGIN = {"command_id": "c", "kind": "pause", "actor": "", "time": 1}


@dataclass
class FileMemory:
    """Counts what was handled, and keeps the count with the positions."""

    path: Path
    count: int = 0

    def restore(self) -> Mapping[Position, int]:
        if not self.path.exists():
            self.count = 0
            return {}
        kept = json.loads(self.path.read_text())
        self.count = kept["count"]
        return {Position(topic, partition): at for topic, partition, at in kept["positions"]}

    def keep(self, positions: Mapping[Position, int]) -> None:
        kept = {"count": self.count, "positions": [[*p, at] for p, at in positions.items()]}
        self.path.write_text(json.dumps(kept))


@dataclass
class FileHealth(Health):
    """Says in a file what it does."""

    file: Path = Path()

    def heartbeat(self, **detail: Any) -> None:
        super().heartbeat(**detail)
        if detail.keys() & {"activity", "waiting"}:
            self.file.write_text(json.dumps(self.detail))


@dataclass(frozen=True)
class Telling:
    """One replica's handlers. Only what bears the service's name is its own, so that services of
    other tests may share the topics. Of a command it tells its kind, of all else the name; and the
    time, and how much it remembers.

    Attributes:
        folder: shared with the test. While it holds a file `away`, models wait; while it holds
            `away-1`, model 1 does.
        options: `memory`, `every-replica`; `begin`, it tells that it begins.
    """

    name: str
    replica: str
    folder: Path
    options: tuple[str, ...] = ()

    def service(self) -> Service:
        memory = FileMemory(self.folder / "memory.json") if "memory" in self.options else None

        def tell(event: Any, views: Views, now: int) -> Iterable[RoutingAck]:
            what = getattr(event, "model", getattr(event, "world", ""))
            if not what.startswith(self.name):
                return
            if memory is not None:
                memory.count += 1
            told = (type(event).__name__, what.removeprefix(self.name), str(now))
            yield RoutingAck(
                router=f"{self.name}/{self.replica}",
                model=what,
                epoch=memory.count if memory else 0,
                status="serving",
                digests=(),
                reason="@".join((":".join(told[:2]), told[2])),
                time=now,
            )

        def wait(event: Model, views: Views, now: int) -> Model:
            if not event.model.startswith(self.name):
                return event
            if event.repo_uri == "bad":
                raise BadInput("unhandled", "repo_uri", "bad", "a good one")
            own = f"away-{event.model.removeprefix(self.name)}"
            if any((self.folder / file).exists() for file in ("away", own)):
                raise StoreUnavailable("the store is away")
            return event

        def begin(views: Views) -> Iterable[RoutingAck]:
            return tell(Command.of(BEGIN | {"model": self.name}), views, 0)

        return Service(
            name=self.name,
            begin=begin if "begin" in self.options else no_effects,
            handlers={
                Command: Handler(tell),
                Inference: Handler(tell),
                Model: Handler(tell, wait),
                Tick: Handler(tell),
            },
            views=(View(Model),) if "every-replica" in self.options else (),
            memory=memory,
            every_replica="every-replica" in self.options,
        )

    def runtime(self, kind: type[Runtime], bus: Bus, codec: Codec, **more: Any) -> Runtime:
        health = FileHealth(self.name, file=self.folder / f"{self.replica}.health")
        return kind(self.service(), bus, codec, self.replica, log_for(self.name), health, **more)


def main(
    kind: str, kafka: str, schemas: str, folder: str, name: str, replica: str, *options: str
) -> None:
    telling = Telling(name, replica, Path(folder), options)
    runtime: type[Runtime] = Runtime
    if kind == "faust":
        from driftgate.runtime.faust_loop import FaustRuntime as runtime  # noqa: N813
    bus, codec = KafkaBus(kafka), Codec.load(Path(schemas))
    telling.runtime(runtime, bus, codec, stopping=stop_on_signals()).run()


if __name__ == "__main__":
    main(*sys.argv[1:])

"""`driftgate promote`, `approve`, `pause`, `resume`, `abort`, `rollback`, `quarantine`, `release`:
what operators tell the promoter. Each waits for its answer; exit 1: nothing was changed."""

from __future__ import annotations

from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from driftgate.bus_kafka import KafkaBus
from driftgate.bus_tools import newest
from driftgate.codec import Codec
from driftgate.errors import BadConfig
from driftgate.events import CommandKind, Rollout
from services.console.model_cli import ASKED, CommandId, Reason, awaited
from services.console.operators import digest_of, meant, unnamed
from services.console.order_status import OrderStatus
from services.console.orders import adapters, declared, order, sent_before
from services.console.reading_cli import adds
from services.console.terminal import (
    HERE,
    KAFKA,
    State,
    Status,
    fail,
    reaching,
    reports_errors,
    say,
    settings,
)

Version = Annotated[int | None, typer.Argument(min=1, metavar="[VERSION]", help="which one")]
Named = Annotated[int | None, typer.Option("--version", min=1, help="the same, by name")]
# The promoter answers in a second; one that starts takes a few.
ANSWER_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Said:
    """What all of the commands are told."""

    reason: str
    command_id: str | None
    state: Path


def said(reason: Reason = ASKED, command_id: CommandId = None, state: State = HERE) -> Said:
    return Said(reason, command_id, state)


def which(version: Version = None, named: Named = None) -> int | None:
    """The version that is named, in one way or the other.

    Raises:
        BadConfig: two are.
    """
    if version and named and version != named:
        raise BadConfig(f"version {version} and --version {named}: expected one of them")
    return version or named


steers = adds(said, "told")
of_version = adds(which, "version")


@reports_errors
@steers
@of_version
def promote(model: str, version: int | None, told: Said) -> None:
    """Sends the challenger to full traffic at once, without waiting for evidence.

    It has to be named. Exit 1: it was not, such as while a router does not hold it yet.
    """
    Order("promote", model, told, version).give()


@reports_errors
@steers
@of_version
def approve(
    model: str,
    version: int | None,
    told: Said,
    stage: Annotated[str | None, typer.Option(help="the next one that waits, if not said")] = None,
) -> None:
    """Lets a stage of the rollout begin that waits for approval."""
    args = {} if stage is None else {"stage": stage}
    Order("approve", model, told, version).give(args)


@reports_errors
@steers
def pause(model: str, told: Said) -> None:
    """Holds the rollout where it is."""
    Order("pause", model, told).give()


@reports_errors
@steers
def resume(model: str, told: Said) -> None:
    """Lets the rollout go on."""
    Order("resume", model, told).give()


@reports_errors
@steers
@of_version
def abort(model: str, version: int | None, told: Said) -> None:
    """Ends the rollout: the challenger leaves, and may be tried again."""
    Order("abort", model, told, version).give()


@reports_errors
@steers
@of_version
def rollback(model: str, version: int | None, told: Said) -> None:
    """Takes a version back and quarantines it.

    The one that is tried or watched, or the champion, which has to be named. Exit 1: it was not.
    """
    Order("rollback", model, told, version).give()


@reports_errors
@steers
@of_version
def quarantine(model: str, version: int | None, told: Said) -> None:
    """Keeps a version from being tried.

    One that answers is taken back. Exit 1: it was in quarantine.
    """
    if version is None:
        raise BadConfig("quarantine: expected a VERSION")
    wanted = Order("quarantine", model, told, version)
    args = {}
    with suppress(BadConfig):  # the promoter knows the adapters of versions that serve
        args["digest"] = wanted.adapter()
    wanted.give(args)


@reports_errors
@steers
@of_version
def release(
    model: str,
    version: int | None,
    told: Said,
    digest: Annotated[str | None, typer.Option(help="of its adapter, where it is known")] = None,
) -> None:
    """Takes a version out of quarantine.

    It may be tried once it passes the gate again. Exit 1: it was in none.
    """
    if digest is None and version is None:
        raise BadConfig("release: expected a VERSION, or its adapter by --digest")
    wanted = Order("release", model, told, version)
    wanted.give({"digest": digest or wanted.adapter()})


@dataclass(frozen=True, slots=True)
class Order:
    """What an operator wants of the promoter."""

    kind: CommandKind
    model: str
    told: Said
    version: int | None = None

    def give(self, args: dict[str, str] | None = None) -> None:
        """Orders it, and tells what the promoter made of it.

        Raises:
            typer.Exit: with status 1, no version could be meant, or nothing was changed.
            BadConfig, NotInTime, BusUnavailable
        """
        found = settings(self.told.state, KAFKA)
        version = self.version
        if version is None and self.kind not in {"pause", "resume", "release"}:
            version = self.meant()
        command_id = order(
            found, self.model, self.kind, self.told.reason, args, version, self.told.command_id
        )
        about = self.model if version is None else f"{self.model}@{version}"
        say(f"{self.kind} of {about} is ordered")
        status = OrderStatus(self.model, command_id, options=reaching(self.told.state))
        status = awaited(found, status, ANSWER_SECONDS, {})
        if not status.passed:
            raise fail(f"nothing was changed: {status.summary}", Status.NO)

    def meant(self) -> int:
        """The version that is meant where none is named.

        Raises:
            typer.Exit: with status 1, none can be.
            BadConfig: no such model is declared.
            BusUnavailable
        """
        found = settings(self.told.state, KAFKA)
        codec = Codec.load(found.schemas, found.registry)
        with closing(KafkaBus(found.kafka)) as bus:
            declared(bus, codec, self.model)
            before = sent_before(bus, codec, self.told.command_id)
            record = newest(bus, codec, Rollout).get(self.model)
        if before is not None and before.version is not None:
            return before.version  # what the first order led to does not change what it meant
        version = meant(self.kind, record)
        if version is None:
            command = f"driftgate {self.kind} {self.model}{reaching(self.told.state)} --version"
            raise fail(unnamed(self.kind, record, command), Status.NO)
        return version

    def adapter(self) -> str:
        """Digest of the version's adapter.

        Raises:
            BadConfig: no such model is declared, or nothing is known of the version.
            BusUnavailable
        """
        found = settings(self.told.state, KAFKA)
        codec = Codec.load(found.schemas, found.registry)
        assert self.version is not None
        with closing(KafkaBus(found.kafka)) as bus:
            declared(bus, codec, self.model)
            return digest_of(adapters(bus, codec, self.model), self.model, self.version)

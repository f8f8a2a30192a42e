"""The router: gRPC and HTTP for apps, desired state from `routing`. Wiring only."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

from driftgate import config, health
from driftgate.artifacts import Artifacts
from driftgate.bus_confluent import ConfluentSender
from driftgate.bus_kafka import KafkaBus
from driftgate.codec import Codec
from driftgate.config import Settings
from driftgate.engines import Engine, Engines
from driftgate.errors import BadConfig
from driftgate.health import Log
from driftgate.runtime import Runtime
from driftgate.topology import ROUTER
from services.router import counts_sender, delivery
from services.router.answer_log import AnswerLog
from services.router.counts_sender import CountsSender
from services.router.delivery import Delivery
from services.router.follower import Follower
from services.router.front import Front
from services.router.http_access import TOKENS, access, address_of
from services.router.last_good import LastGood
from services.router.lifecycle import GRACE_SECONDS, live
from services.router.openai_door import Door, Listening, listen
from services.router.predictor import Predictor
from services.router.record import Record
from services.router.serving_counts import Counter
from services.router.spool import Spool
from services.router.versions import Versions
from services.router.writing import Writing

# So long another thread, as the consumer's, may keep the interpreter from the loop that answers, s.
# With Python's own 5 ms the p99 of `Route` at one caller was 3.6 ms, with this 1.6 ms.
SWITCH_SECONDS = 0.0005


def main() -> None:
    settings = config.load()
    run(settings, Engines(settings.threads, settings.upstream, settings.upstream_token).of)


def run(settings: Settings, engine_of: Callable[[str, str, str], Engine]) -> None:
    """Until SIGTERM or SIGINT. `engine_of` makes the engine of a base."""
    sys.setswitchinterval(SWITCH_SECONDS)
    log, state = health.log_for(ROUTER), health.Health(ROUTER)
    health.serve(state, settings.http_port)
    name = f"{ROUTER}-{settings.replica}"
    home = settings.state_dir / name
    bus = KafkaBus(settings.kafka)
    codec = Codec.load(settings.schemas, settings.registry, home / "schemas.json")
    versions = Versions(
        artifacts=Artifacts(settings.artifacts),
        cache=home / "cache",
        last_good=LastGood(home / "routing.json", log),
        engine_of=engine_of,
        compute=ThreadPoolExecutor(1, "compute"),
    )
    follower = Follower(name, versions, log, state)
    runtime = Runtime(
        service=follower.service(),
        bus=bus,
        codec=codec,
        replica=settings.replica,
        log=log,
        health=state,
    )
    spool = Spool(home / "spool", settings.spool_mb, log)
    sender = Delivery(
        spool,
        lambda: ConfluentSender(settings.kafka, delivery.GIVE_UP_SECONDS),
        log,
        show=lambda aside: state.heartbeat(set_aside=aside),
    )
    counter = Counter(name, uuid4().hex)
    counts = CountsSender(
        counter,
        lambda: ConfluentSender(settings.kafka, counts_sender.GIVE_UP_SECONDS),
        codec,
        runtime.clock,
        log,
    )
    answer_log = AnswerLog(spool, sender, codec, settings.when_full)
    record = Record(answer_log, counter, log)
    predictor, writing = Predictor(versions, record), Writing(versions, record)
    front = Front(versions, predictor, writing, runtime.clock)
    door = door_of(settings, front, record, log)
    counts.start()
    asyncio.run(live(follower, runtime, front, sender, settings.router, door, log))


def door_of(
    settings: Settings, front: Front, record: Record, log: Log
) -> Callable[[], Listening] | None:
    """What begins to listen for HTTP; None: nobody is to.

    Raises:
        BadConfig: who may use it is not said as it has to be.
    """
    if not settings.http_door:
        return None
    address = address_of(settings.http_door)
    allowed = access(address, tokens_of(settings), settings.http_door_origins)
    door = Door(front, record, allowed, log, settings.http_door_system)
    return lambda: listen(door.app(), address, GRACE_SECONDS)


def tokens_of(settings: Settings) -> str:
    """
    Raises:
        BadConfig: the file that they stand in cannot be read.
    """
    told = settings.http_door_tokens.get_secret_value()
    path = told.removeprefix("@")
    if path == told:
        return told
    try:
        return Path(path).read_text()
    except (OSError, ValueError) as error:
        raise BadConfig(f"{TOKENS}: {path!r} cannot be read: {error}") from error


if __name__ == "__main__":
    main()

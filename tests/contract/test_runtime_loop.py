"""What every loop promises a service: over the bus in memory, over Kafka by kafka-python, and over
Kafka by faust."""

from __future__ import annotations

import itertools
import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import pytest
from drift_harness import eventually, kafka_on, transact
from runtime_service import Telling

from deploy.local.plan import free_ports
from driftgate.bus import Bus, Consumer, Position, Producer
from driftgate.bus_kafka import KafkaBus
from driftgate.bus_memory import MemoryBus
from driftgate.codec import Codec
from driftgate.errors import BusUnavailable
from driftgate.events import AnyEvent, Command, Inference, Model, RoutingAck
from driftgate.machine_clock import machine_ms
from driftgate.runtime import Runtime
from driftgate.runtime.ticker import Ticker

SCHEMAS = Path(__file__).parents[2] / "schemas"
# A stop is cut short after four seconds; the rest is the interpreter's, on a busy machine.
STOP_SECONDS = 20
# A call to a broker that is away is not interrupted: each gives up after ten seconds.
OUTAGE_STOP_SECONDS = 60
# Longer than a session of the group.
AWAY_SECONDS = 12
REAL = [pytest.param(kind, marks=pytest.mark.stack) for kind in ("kafka-python", "faust")]
# Ticks of all tests lie on one topic, and time does not go back.
TIMES = itertools.count(machine_ms(), 1000)


class Replica(Protocol):
    def kill(self) -> None:
        """At once, with nothing tidied up."""

    def terminate(self, within: float = STOP_SECONDS) -> None:
        """As a supervisor stops it. Returns when it has ended."""


class Killed(BaseException):
    pass


@dataclass
class MortalBus:
    """A bus in memory as one process sees it, until it is killed."""

    inner: MemoryBus
    dead: bool = False

    def __getattr__(self, name: str) -> Any:
        if self.dead:
            raise Killed
        return getattr(self.inner, name)

    def producer(self, *args: Any) -> Any:
        return MortalClient(self, self.inner.producer(*args))

    def consumer(self, *args: Any, **named: Any) -> Any:
        return MortalClient(self, self.inner.consumer(*args, **named))


@dataclass
class MortalClient:
    bus: MortalBus
    inner: Producer | Consumer

    def __getattr__(self, name: str) -> Any:
        if self.bus.dead and name != "close":  # Kafka misses who is dead, too
            raise Killed
        if name == "poll":
            time.sleep(0.001)  # others want to work
        return getattr(self.inner, name)


@dataclass
class ThreadReplica:
    telling: Telling
    bus: MortalBus
    codec: Codec
    stopping: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        bus: Any = self.bus
        with suppress(Killed):
            self.telling.runtime(Runtime, bus, self.codec, stopping=self.stopping).run()

    def kill(self) -> None:
        self.bus.dead = True
        self.thread.join()

    def terminate(self, within: float = STOP_SECONDS) -> None:
        self.stopping.set()
        self.thread.join(within)
        assert not self.thread.is_alive()


@dataclass
class ProcessReplica:
    child: subprocess.Popen[bytes]

    def kill(self) -> None:
        self.child.kill()
        self.child.wait()

    def terminate(self, within: float = STOP_SECONDS) -> None:
        self.child.send_signal(signal.SIGTERM)
        assert self.child.wait(within) == 0


@dataclass
class System:
    """A bus, a service on it that says what it handles, and what a test does with them."""

    kind: str
    bus: Bus
    folder: Path
    schemas: Path = SCHEMAS
    name: str = field(default_factory=lambda: f"svc-{uuid4().hex[:8]}")
    replicas: list[Replica] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.codec = Codec.load(self.schemas)
        self.producer = self.bus.producer()
        self.ticker = Ticker(self.bus, self.codec, self.name, 0.0)
        self.started_in = self.folder / "started-in"
        self.started_in.mkdir()

    def start(self, replica: str = "0", *options: str) -> Any:
        if isinstance(self.bus, MemoryBus):
            telling = Telling(self.name, replica, self.folder, options)
            started: Replica = ThreadReplica(telling, MortalBus(self.bus), Codec.load(self.schemas))
        else:
            assert isinstance(self.bus, KafkaBus)
            module = Path(__file__).parents[1] / "runtime_service.py"
            servers = ",".join(self.bus.servers)
            line = [sys.executable, module, self.kind, servers, self.schemas, self.folder]
            with (self.folder / f"{replica}.log").open("ab") as log:
                started = ProcessReplica(
                    subprocess.Popen(
                        [*map(str, line), self.name, replica, *options],
                        cwd=self.started_in,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                    )
                )
        self.replicas.append(started)
        return started

    def close(self) -> None:
        for replica in self.replicas:
            replica.kill()

    def write(self, *events: AnyEvent) -> None:
        for event in events:
            self.producer.send(*self.codec.record(event))
        self.producer.flush()

    def tick(self) -> int:
        now = next(TIMES)
        self.ticker.write(now)
        return now

    def command(self, number: int | str) -> Command:
        return Command(command_id="c", model=f"{self.name}{number}", kind="pause", actor="", time=1)

    def model(self, number: int | str, repo_uri: str = "") -> Model:
        return Model(
            model=f"{self.name}{number}", repo_hash="", repo_uri=repo_uri, actor="", time=1
        )

    def acks(self) -> list[RoutingAck]:
        found = (
            self.codec.event("routing.acks", r.value) for r in self.bus.read_all(["routing.acks"])
        )
        return [a for a in found if isinstance(a, RoutingAck) and a.router.startswith(self.name)]

    def told(self, replica: str = "") -> list[str]:
        """What was handled, in order, without the time."""
        wanted = f"{self.name}/{replica}"
        found = [ack for ack in self.acks() if ack.router.startswith(wanted)]
        return [str(ack.reason).partition("@")[0] for ack in found]

    def eventually_told(self, *what: str, replica: str = "") -> None:
        eventually(lambda: set(what) <= set(self.told(replica)), f"{what} handled")

    def eventually_standing_by(self, replica: str) -> None:
        eventually(
            lambda: self.health(replica).get("activity") == "standing by", f"{replica} stands by"
        )

    def health(self, replica: str) -> dict[str, Any]:
        """What a replica says of itself."""
        try:
            said: dict[str, Any] = json.loads((self.folder / f"{replica}.health").read_text())
        except (FileNotFoundError, ValueError):  # it says nothing, or speaks
            return {}
        return said

    def committed(self) -> dict[Position, int]:
        return dict(self.bus.committed(self.name))

    def offset(self, what: str) -> int:
        """Where an own command lies."""
        for record in self.bus.read_all(["commands"]):
            if record.key == f"{self.name}{what}".encode():
                return record.offset
        raise LookupError(what)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, codec: Codec) -> Iterator[KafkaBus]:
    with kafka_on(free_ports(2), tmp_path_factory.mktemp("kafka")) as bus:
        bus.ensure(codec.topics.by_name.values())
        yield bus


def system_of(kind: str, request: pytest.FixtureRequest, folder: Path) -> System:
    bus: Bus = MemoryBus() if kind == "memory" else request.getfixturevalue("broker")
    if isinstance(bus, MemoryBus):
        bus.ensure(Codec.load(SCHEMAS).topics.by_name.values())
    return System(kind, bus, folder)


@pytest.fixture(params=["memory", *REAL])
def system(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[System]:
    with closing(system_of(request.param, request, tmp_path)) as system:
        yield system


@pytest.fixture(params=["memory", pytest.param("kafka-python", marks=pytest.mark.stack)])
def sharing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[System]:
    """Where every replica works, which is not for faust."""
    with closing(system_of(request.param, request, tmp_path)) as system:
        yield system


def test_records_are_handled_in_the_order_of_ticks(system: System) -> None:
    ticks = []
    for number in range(3):
        system.write(system.model(number), system.command(number))
        ticks.append(system.tick())
    system.start()
    eventually(lambda: len(system.acks()) == 9, "everything")
    found = [str(ack.reason) for ack in system.acks()]
    assert [told for told in found if "Tick" in told] == [f"Tick:@{at}" for at in ticks]
    for number, at in enumerate(ticks):
        before = {told.partition("@")[0] for told in found[: found.index(f"Tick:@{at}")]}
        assert {f"Model:{number}", f"Command:{number}"} <= before
        assert not {f"Model:{number + 1}", f"Command:{number + 1}"} & before
        if number:
            assert f"Model:{number}@{ticks[number - 1]}" in found


def test_a_tick_that_comes_while_running_passes_time(system: System) -> None:
    system.start()
    for number in range(3):
        system.write(system.command(number))
        system.eventually_told(f"Command:{number}")
        now = system.tick()
        eventually(lambda now=now: f"Tick:@{now}" in {a.reason for a in system.acks()}, "time")


@pytest.mark.parametrize("kind", REAL)
def test_a_tick_waits_for_no_record_at_the_end_of_a_transaction(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Of each of an app's transactions Kafka keeps a mark, to which a tick's positions count."""
    with closing(system_of(kind, request, tmp_path)) as system:
        assert isinstance(system.bus, KafkaBus)
        system.start()
        for number in range(2):
            transact(system.bus, system.codec.record(system.command(number)))
            system.eventually_told(f"Command:{number}")
            now = system.tick()
            eventually(lambda now=now: f"Tick:@{now}" in {a.reason for a in system.acks()}, "time")
        ends = system.bus.ends([Command.TOPIC])
        eventually(lambda: ends.items() <= system.committed().items(), "committed")


def test_it_leaves_nothing_where_it_was_started(system: System) -> None:
    """A container's file system may be read-only."""
    system.start()
    system.write(system.command(1))
    system.eventually_told("Command:1")
    assert not list(system.started_in.iterdir())


def test_what_is_committed_was_sent_whenever_it_is_killed(system: System) -> None:
    count = 400
    system.write(*(system.command(number) for number in range(count)))
    offsets = {number: system.offset(str(number)) for number in (0, count - 1)}
    here = Position("commands", 0)
    for _ in range(3):
        replica, before = system.start(), len(system.told())
        eventually(lambda before=before: before >= count or len(system.told()) > before, "progress")
        replica.kill()
        committed = system.committed().get(here, 0)
        assert set(system.told()) >= {
            f"Command:{n}" for n in range(count) if offsets[0] + n < committed
        }
    system.start()
    eventually(lambda: len(set(system.told())) == count, "everything")
    eventually(lambda: system.committed().get(here, 0) > offsets[count - 1], "committed")


def test_a_bad_record_is_passed(system: System) -> None:
    system.producer.send("models", f"{system.name}x".encode(), b"rubbish")
    system.producer.send("models", f"{system.name}x".encode(), None)
    system.write(system.model(1, "bad"), system.model(2))
    system.start()
    system.eventually_told("Model:2")
    assert system.told() == ["Model:2"]
    dead = [r for r in system.bus.read_all(["models.dlq"]) if r.key == f"{system.name}1".encode()]
    (letter,) = [system.codec.event("models.dlq", record.value) for record in dead]
    assert "repo_uri: got 'bad', expected a good one" in letter.message  # type: ignore[union-attr]


def test_a_schema_that_appears_while_running_is_read(system: System, tmp_path: Path) -> None:
    """As `driftgate schema add` makes it appear."""
    system.schemas = tmp_path / "schemas"
    shutil.copytree(SCHEMAS, system.schemas)
    system.start()
    system.write(system.command(1))
    system.eventually_told("Command:1")
    writer = Codec.load(system.schemas)
    newest = max((system.schemas / "inference").glob("v*.avsc"))
    schema = json.loads(newest.read_text())
    schema["fields"].append({"name": "tone", "type": "string", "default": "", "doc": "How."})
    writer.registry.add("inference", json.dumps(schema))
    event = Inference(
        request_id="r", model=f"{system.name}2", version=1, input_hash="", output="a", time=1
    )
    value = writer.encode("inferences", event.as_dict() | {"tone": "kind"})
    system.producer.send("inferences", b"r", value)
    system.producer.flush()
    system.eventually_told("Inference:2")


def test_what_must_wait_stops_no_other_partition(system: System) -> None:
    (system.folder / "away").touch()
    system.start()
    system.write(system.model(1), system.model(2))
    system.write(system.command(1))
    system.eventually_told("Command:1")
    system.tick()
    system.write(system.command(2))
    system.eventually_told("Tick:", "Command:2")
    assert not {"Model:1", "Model:2"} & set(system.told())
    (system.folder / "away").unlink()
    system.eventually_told("Model:1", "Model:2")
    ends = system.bus.ends(["models"])[Position("models", 0)]
    eventually(lambda: system.committed().get(Position("models", 0)) == ends, "committed")


def test_a_model_that_must_wait_stops_no_other_model(system: System) -> None:
    (system.folder / "away-1").touch()
    first = system.start()
    system.write(system.model(1), system.model(2), system.model(1), system.model(3))
    system.tick()
    system.eventually_told("Model:2", "Model:3", "Tick:")
    first.kill()
    system.start()  # it comes again, with what passed it
    system.write(system.model(4))
    system.eventually_told("Model:4")
    assert "Model:1" not in system.told()
    (system.folder / "away-1").unlink()
    eventually(lambda: system.told().count("Model:1") == 2, "both")
    ends = system.bus.ends(["models"])[Position("models", 0)]
    eventually(lambda: system.committed().get(Position("models", 0)) == ends, "committed")


def test_a_second_replica_stands_by_and_takes_over(system: System) -> None:
    first = system.start("0")
    system.write(system.command(1))
    system.eventually_told("Command:1", replica="0")
    system.start("1")
    system.eventually_standing_by("1")
    system.write(system.command(2))
    system.eventually_told("Command:2", replica="0")
    first.kill()
    system.write(system.command(3))
    system.eventually_told("Command:3", replica="1")
    assert "Command:1" not in system.told(replica="1")


@pytest.mark.parametrize("kind", REAL)
def test_a_replica_that_was_replaced_while_it_stood_still_says_nothing_more(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with closing(system_of(kind, request, tmp_path)) as system:
        first = system.start("0")
        system.write(system.command(1))
        system.eventually_told("Command:1", replica="0")
        system.start("1")
        system.eventually_standing_by("1")
        first.child.send_signal(signal.SIGSTOP)
        system.write(*(system.command(number) for number in range(2, 100)))
        system.eventually_told("Command:99", replica="1")
        ends = system.bus.ends([Command.TOPIC])  # what was not committed yet would come again
        eventually(lambda: ends.items() <= system.committed().items(), "committed")
        told = system.told(replica="0")
        first.child.send_signal(signal.SIGCONT)
        for number in itertools.count(100):  # it comes back, and takes over as the first by name
            system.write(system.command(number))
            system.eventually_told(f"Command:{number}")
            if len(system.told(replica="0")) > len(told):
                break
            if first.child.poll() is not None:  # what ends by an error is started again
                first = system.start("0")
        assert not set(system.told(replica="0")[len(told) :]) & set(told)
        assert not {f"Command:{n}" for n in range(2, 100)} & set(system.told(replica="0"))


def test_the_replica_that_is_first_by_name_works_when_it_comes_back(system: System) -> None:
    system.start("1")
    system.write(system.command(1))
    system.eventually_told("Command:1", replica="1")
    system.start("0")
    for number in itertools.count(2):
        system.write(system.command(number))
        system.eventually_told(f"Command:{number}")
        if system.told(replica="0"):
            break
    system.write(system.command("last"))
    system.eventually_told("Command:last", replica="0")
    assert "Command:last" not in system.told(replica="1")


def test_it_goes_on_from_its_memory_whatever_the_group_committed(system: System) -> None:
    memory = system.folder / "memory.json"
    here = Position("commands", 0)
    first = system.start("0", "memory")
    system.write(*(system.command(number) for number in range(3)))
    system.eventually_told("Command:2")
    offset = system.offset("2")
    eventually(lambda: system.committed().get(here, 0) > offset, "committed")
    first.terminate()
    kept = json.loads(memory.read_text())
    assert kept["count"] == 3

    def again(count: int, next_offset: int) -> None:
        positions = [p for p in kept["positions"] if p[:2] != [*here]]
        told = {"count": count, "positions": [*positions, [*here, next_offset]]}
        memory.write_text(json.dumps(told))

    again(count=2, next_offset=offset)  # behind: the last one comes again
    second = system.start("0", "memory")
    eventually(lambda: system.told().count("Command:2") == 2, "again")
    system.write(system.command(3))
    system.eventually_told("Command:3")
    assert system.told().count("Command:1") == 1
    assert [ack.epoch for ack in system.acks()] == [1, 2, 3, 3, 4]
    second.terminate()

    system.write(system.command("skipped"), system.command(5))
    again(count=7, next_offset=system.offset("5"))  # ahead, as after a kill before the commit
    third = system.start("0", "memory")
    system.eventually_told("Command:5")
    assert "Command:skipped" not in system.told()
    assert system.acks()[-1].epoch == 8
    third.terminate()

    memory.unlink()  # nothing: all is read again
    system.start("0", "memory")
    system.eventually_told("Command:skipped")
    assert [ack.epoch for ack in system.acks()][6:] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("moment", ["at work", "standing by", "waiting"])
def test_it_ends_within_seconds_when_it_is_told_to(system: System, moment: str) -> None:
    replica = system.start("0")
    system.write(system.command(1))
    system.eventually_told("Command:1")
    if moment == "standing by":
        replica = system.start("1")
        system.eventually_standing_by("1")
    elif moment == "waiting":
        (system.folder / "away").touch()
        system.write(system.model(1), system.command(3))
        system.eventually_told("Command:3")
    else:
        system.write(*(system.command(number) for number in range(2, 500)))
    replica.terminate()


def test_what_it_begins_with_is_sent_and_moves_no_position(system: System) -> None:
    clock = Position("clock", 0)
    for begun in (1, 2):
        replica = system.start("0", "begin")
        eventually(lambda begun=begun: system.told().count("Command:") == begun, "it begins")
        system.write(system.command(begun))
        now = system.tick()
        eventually(lambda now=now: f"Tick:@{now}" in {a.reason for a in system.acks()}, "time")
        ends = system.bus.ends(["clock"])
        eventually(lambda ends=ends: system.committed().get(clock) == ends[clock], "committed")
        replica.terminate()
    assert system.told().count("Command:1") == 1


def test_what_is_handled_at_its_end_is_not_handled_again(system: System) -> None:
    first = system.start()
    system.write(*(system.command(number) for number in range(5)))
    system.eventually_told("Command:4")
    offset = system.offset("4")
    eventually(lambda: system.committed().get(Position("commands", 0), 0) > offset, "committed")
    first.terminate()
    system.start()
    system.write(system.command(5))
    system.eventually_told("Command:5")
    assert [system.told().count(f"Command:{number}") for number in range(6)] == [1] * 6


def test_every_replica_reads_everything_from_the_newest_of_each_key_on(sharing: System) -> None:
    system = sharing
    system.write(system.model("a", "1"), system.model("b", "1"), system.model("a", "2"))
    times = [system.tick() for _ in range(3)]
    for replica in ("0", "1"):
        system.start(replica, "every-replica")
        system.eventually_told("Model:a", "Model:b", "Tick:", replica=replica)
    system.write(system.command(1), system.model("b", "2"))
    for replica in ("0", "1"):
        eventually(lambda replica=replica: system.told(replica).count("Model:b") == 2, "the news")
        system.eventually_told("Command:1", replica=replica)
        assert system.told(replica).count("Model:a") == 1
        assert system.told(replica).count("Tick:") == 1
    assert {str(a.reason) for a in system.acks() if "Tick" in str(a.reason)} == {
        f"Tick:@{times[-1]}"
    }


@pytest.mark.slow
@pytest.mark.parametrize("kind", REAL)
def test_a_broker_that_is_away_for_a_while_costs_nothing(
    kind: str, tmp_path: Path, codec: Codec
) -> None:
    ports = free_ports(2)
    with ExitStack() as stack:
        with kafka_on(ports, tmp_path) as bus:
            bus.ensure(codec.topics.by_name.values())
            system = stack.enter_context(closing(System(kind, bus, tmp_path)))
            replica = system.start()
            system.write(*(system.command(number) for number in range(20)))
            system.eventually_told("Command:19")
        away_until(time.monotonic() + AWAY_SECONDS)
        system.bus = bus = stack.enter_context(kafka_on(ports, tmp_path))
        system.producer = bus.producer()
        if replica.child.poll() is not None:  # what ends by an error is started again
            system.start()
        system.write(*(system.command(number) for number in range(20, 40)))
        system.eventually_told(*(f"Command:{number}" for number in range(40)))


@pytest.mark.slow
@pytest.mark.stack
def test_what_was_given_up_is_not_sent_later(tmp_path: Path, codec: Codec) -> None:
    ports = free_ports(2)
    with kafka_on(ports, tmp_path) as bus:
        bus.ensure(codec.topics.by_name.values())
        producer = bus.producer(2)
        producer.send("commands", b"a", b"before")
        producer.flush()
    producer.send("commands", b"a", b"given up")
    with pytest.raises(BusUnavailable):
        producer.flush()
    producer.send("commands", b"a", b"behind it")
    started = time.monotonic()
    producer.close()
    assert time.monotonic() - started < 1
    with kafka_on(ports, tmp_path) as bus:
        away_until(time.monotonic() + 5)
        assert [record.value for record in bus.read_all(["commands"])] == [b"before"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", REAL)
def test_it_ends_within_seconds_while_there_is_no_broker(
    kind: str, tmp_path: Path, codec: Codec
) -> None:
    with ExitStack() as stack:
        with kafka_on(free_ports(2), tmp_path) as bus:
            bus.ensure(codec.topics.by_name.values())
            system = stack.enter_context(closing(System(kind, bus, tmp_path)))
            replica = system.start()
            system.write(system.command(1))
            system.eventually_told("Command:1")
        replica.terminate(OUTAGE_STOP_SECONDS)
        later = system.start("later")
        eventually(lambda: system.health("later").get("waiting"), "it waits for Kafka")
        later.terminate(OUTAGE_STOP_SECONDS)


def away_until(moment: float) -> None:
    """Nothing says how long an outage was but the clock."""
    while time.monotonic() < moment:
        time.sleep(0.5)

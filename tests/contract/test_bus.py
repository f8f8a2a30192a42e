"""What every bus promises: the fake and Apache Kafka alike."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from uuid import uuid4

import pytest

from driftgate import bus_confluent, bus_kafka
from driftgate.batches import Batch
from driftgate.bus import MAX_RECORD_BYTES, Bus, Consumer, Position, Record
from driftgate.bus_confluent import ConfluentBus
from driftgate.bus_kafka import KafkaBus
from driftgate.bus_memory import MemoryBus
from driftgate.errors import BusRefused, BusUnavailable, StoreUnavailable
from driftgate.events import Topic

DEADLINE_S = 180
POLL_S = 0.2  # as services do


@dataclass
class Listener:
    """Remembers what it is told; starts every partition where `starts` says."""

    starts: dict[Position, int] = field(default_factory=dict)
    mine: set[Position] = field(default_factory=set)
    failures: int = 0
    calls: int = 0

    def assigned(self, positions: Iterable[Position]) -> Mapping[Position, int]:
        self.calls += 1
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("the store is away")
        self.mine |= set(positions)
        return {p: at for p, at in self.starts.items() if p in set(positions)}

    def revoked(self, positions: Iterable[Position]) -> None:
        self.calls += 1
        assert self.mine >= set(positions), "only what it was told of can go"
        self.mine -= set(positions)


def new_topic(bus: Bus, partitions: int = 1, cleanup: str = "delete") -> str:
    name = f"contract-{uuid4().hex[:8]}"
    bus.ensure([Topic(name, "s", "k", partitions, cleanup, 1)])
    return name


def send(bus: Bus, topic: str, *values: str, key: bytes | None = b"k") -> None:
    producer = bus.producer()
    for value in values:
        producer.send(topic, key, value.encode())
    producer.flush()
    producer.close()


def group() -> str:
    return f"group-{uuid4().hex[:8]}"


def until(done: Callable[[], bool], *consumers: Consumer) -> list[Record]:
    """Polls all at once until a condition holds, as members do that are processes of their own;
    what they read."""
    found: list[Record] = []
    deadline = time.monotonic() + DEADLINE_S
    with ThreadPoolExecutor(len(consumers) or 1) as members:
        while not done():
            assert time.monotonic() < deadline, f"not in {DEADLINE_S} s; read {found}"
            for read in members.map(lambda consumer: consumer.poll(POLL_S), consumers):
                found += read
    return found


def collect(consumer: Consumer, count: int, poll_s: float = 0.05) -> list[Record]:
    """The next records, so many."""
    found: list[Record] = []
    deadline = time.monotonic() + DEADLINE_S
    while len(found) < count:
        assert time.monotonic() < deadline, f"only {found}"
        found += consumer.poll(poll_s)
    return found


def read(consumer: Consumer, count: int, poll_s: float = 0.05) -> list[str]:
    return values(collect(consumer, count, poll_s))


def values(records: Sequence[Record]) -> list[str]:
    return [(record.value or b"").decode() for record in records]


def test_what_is_too_large_is_refused_for_good_and_the_rest_is_taken(
    bus: Bus,
) -> None:
    topic = new_topic(bus)
    producer = bus.producer()
    producer.send(topic, b"a", b"1")
    with pytest.raises(BusRefused):
        producer.send(topic, b"a", b"x" * 11_000_000)
        producer.flush()
    producer.send(topic, b"a", b"2")
    producer.flush()
    producer.close()
    assert [record.value for record in bus.read_all([topic])] == [b"1", b"2"]


@pytest.mark.stack
def test_what_the_broker_alone_refuses_costs_no_other_record(kafka: KafkaBus) -> None:
    """Its own limit is often lower than ours. Its refusal ends the client's producer for good."""
    topic = new_topic(kafka)
    kafka.admin.alter_configs([bus_kafka.as_resource(topic, {"max.message.bytes": "10000"})])
    producer = kafka.producer()

    def is_in_force() -> bool:
        producer.send(topic, b"a", os.urandom(20_000))
        try:
            producer.flush()
        except BusRefused:
            return True
        return False

    until(is_in_force)
    before = sum(kafka.ends([topic]).values())
    for value in (b"1", os.urandom(20_000), b"2"):
        producer.send(topic, b"a", value)
    with pytest.raises(BusRefused):
        producer.flush()
    producer.send(topic, b"a", b"3")
    producer.flush()
    producer.close()
    since = {Position(topic, 0): before}
    assert {record.value for record in kafka.read_all([topic], since)} == {b"1", b"2", b"3"}


def test_a_partition_keeps_the_order_of_sending(bus: Bus) -> None:
    topic = new_topic(bus, partitions=3)
    producer = bus.producer()
    for number in range(300):
        producer.send(topic, str(number % 7).encode(), str(number).encode())
    producer.flush()
    consumer = bus.consumer([topic], group(), "m")
    found = collect(consumer, 300)
    for partition in range(3):
        here = [record for record in found if record.partition == partition]
        assert [record.offset for record in here] == list(range(len(here)))
        numbers = [int(value) for value in values(here)]
        assert numbers == sorted(numbers)
    places: dict[bytes | None, set[int]] = {}
    for record in found:
        places.setdefault(record.key, set()).add(record.partition)
    assert all(len(partitions) == 1 for partitions in places.values())
    consumer.close()
    producer.close()


def test_what_is_flushed_is_there(bus: Bus) -> None:
    topic = new_topic(bus)
    assert bus.ends([topic]) == {Position(topic, 0): 0}
    send(bus, topic, "a", "b")
    assert bus.ends([topic]) == {Position(topic, 0): 2}
    (first, second) = bus.read_all([topic])
    assert (first.key, first.value, first.offset) == (b"k", b"a", 0)
    assert (second.value, second.position) == (b"b", Position(topic, 0))


def test_keys_and_values_may_be_missing(bus: Bus) -> None:
    topic = new_topic(bus)
    producer = bus.producer()
    producer.send(topic, None, b"no key")
    producer.send(topic, b"no value", None)
    producer.flush()
    consumer = bus.consumer([topic], group(), "m")
    for found in (list(bus.read_all([topic])), collect(consumer, 2)):
        assert [(r.key, r.value) for r in found] == [(None, b"no key"), (b"no value", None)]
    consumer.close()


def test_batches_hold_what_records_hold(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus_confluent, "CHUNK", 7)
    topic = new_topic(bus, partitions=3)
    before = time.time() * 1000
    producer = bus.producer()
    for number in range(60):
        producer.send(topic, str(number).encode() if number % 5 else None, b"%d" % number)
    producer.flush()
    consumer = bus.consumer([topic], group(), "m")
    batches: list[Batch] = []
    deadline = time.monotonic() + DEADLINE_S
    while sum(map(len, batches)) < 60:
        assert time.monotonic() < deadline
        found = consumer.poll_batches(0.05, 25)
        assert sum(map(len, found)) <= 25
        assert len({batch.position for batch in found}) == len(found), "one a partition"
        assert all(found), "no empty one"
        batches += found
    records = [record for batch in batches for record in batch.records()]
    assert sorted(records, key=place) == sorted(bus.read_all([topic]), key=place)
    assert all(before - 60_000 < r.timestamp < time.time() * 1000 + 60_000 for r in records)
    consumer.close()


def place(record: Record) -> tuple[int, int]:
    return record.partition, record.offset


def test_a_record_of_the_largest_size_is_read(bus: Bus) -> None:
    topic = new_topic(bus)
    large = MAX_RECORD_BYTES - 1000
    send(bus, topic, "before", "x" * large, "after")
    consumer = bus.consumer([topic], group(), "m")
    assert [len(record.value or b"") for record in collect(consumer, 3)] == [6, large, 5]
    consumer.close()


def test_a_group_goes_on_where_it_committed(bus: Bus) -> None:
    topic, name = new_topic(bus), group()
    send(bus, topic, "a", "b", "c")
    first = bus.consumer([topic], name, "m")
    assert read(first, 3) == ["a", "b", "c"]
    assert dict(bus.committed(name)) == {}
    first.commit({Position(topic, 0): 2})
    first.commit({})
    first.close()
    assert bus.committed(name)[Position(topic, 0)] == 2
    second = bus.consumer([topic], name, "m")
    assert read(second, 1) == ["c"]
    second.close()


def test_groups_do_not_disturb_each_other(bus: Bus) -> None:
    topic = new_topic(bus)
    send(bus, topic, "a")
    for _ in range(2):
        consumer = bus.consumer([topic], group(), "m")
        assert read(consumer, 1) == ["a"]
        consumer.commit({Position(topic, 0): 1})
        consumer.close()


def test_the_successor_of_a_member_that_was_killed_reads_on(bus: Bus) -> None:
    """Under the same name, without a rebalance and without waiting for the dead."""
    topic, name = new_topic(bus), group()
    send(bus, topic, "a", "b")
    killed = bus.consumer([topic], name, "m")
    assert read(killed, 2) == ["a", "b"]
    killed.commit({Position(topic, 0): 1})
    successor = bus.consumer([topic], name, "m")
    assert read(successor, 1) == ["b"]
    with pytest.raises(BusUnavailable):  # who lost its name to another is told, however late
        until(lambda: False, killed)
    successor.close()


def test_a_restart_moves_no_partition(bus: Bus) -> None:
    topic, name = new_topic(bus, partitions=4), group()
    one, two, again = Listener(), Listener(), Listener()
    first = bus.consumer([topic], name, "one", one)
    second = bus.consumer([topic], name, "two", two)
    until(lambda: len(one.mine) == len(two.mine) == 2, first, second)
    calls = one.calls
    successor = bus.consumer([topic], name, "two", again)
    until(lambda: again.mine == two.mine, first, successor)
    assert one.calls == calls
    successor.close()
    first.close()


def test_a_listener_says_where_to_start(bus: Bus) -> None:
    topic, name = new_topic(bus, partitions=2), group()
    producer = bus.producer()
    for number in range(40):
        producer.send(topic, str(number).encode(), str(number).encode())
    producer.flush()
    ends = bus.ends([topic])
    listener = Listener({Position(topic, 0): ends[Position(topic, 0)] - 1})
    consumer = bus.consumer([topic], name, "m", listener)
    found = collect(consumer, ends[Position(topic, 1)] + 1)
    assert [r.offset for r in found if r.partition == 0] == [ends[Position(topic, 0)] - 1]
    assert [r.offset for r in found if r.partition == 1] == list(range(ends[Position(topic, 1)]))
    consumer.close()


def test_a_listener_that_fails_is_asked_again_and_nothing_is_skipped(bus: Bus) -> None:
    topic = new_topic(bus)
    send(bus, topic, "a", "b", "c")
    listener = Listener({Position(topic, 0): 1}, failures=1)
    consumer = bus.consumer([topic], group(), "m", listener)
    deadline = time.monotonic() + DEADLINE_S
    with pytest.raises(StoreUnavailable):
        while time.monotonic() < deadline:
            consumer.poll(0.05)
    assert read(consumer, 2) == ["b", "c"]
    consumer.close()


def test_members_share_the_partitions_and_hand_them_over(bus: Bus) -> None:
    topic, name = new_topic(bus, partitions=4), group()
    both = {Position(topic, number) for number in range(4)}
    one, two = Listener(), Listener()
    first = bus.consumer([topic], name, "one", one)
    until(lambda: one.mine == both, first)
    first.pause(both)
    second = bus.consumer([topic], name, "two", two)
    until(lambda: len(one.mine) == len(two.mine) == 2, first, second)
    assert one.mine | two.mine == both
    first.resume(one.mine)
    producer = bus.producer()
    for number in range(40):
        producer.send(topic, str(number).encode(), str(number).encode())
    producer.flush()
    found: list[Record] = []
    until(lambda: len(found) >= 40, Watched(first, found), Watched(second, found))
    assert sorted(int(value) for value in values(found)) == list(range(40))
    handed_over = {record.value for record in found if record.position in two.mine}
    second.close()
    read_again = until(lambda: one.mine == both, first)
    # Nobody committed: it is read again. The pause ended when the partition went.
    wanted = Watched(first, read_again)
    until(lambda: handed_over <= {record.value for record in read_again}, wanted)
    first.close()


def test_in_an_exclusive_group_the_first_by_name_holds_all_and_the_others_stand_by(
    bus: Bus,
) -> None:
    topic, other, name = new_topic(bus, partitions=3), new_topic(bus), group()
    everything = {Position(topic, number) for number in range(3)} | {Position(other, 0)}
    a, b, late = Listener(), Listener(), Listener()
    second = bus.consumer([topic, other], name, "m-1", b, exclusive=True)
    until(lambda: b.mine == everything, second)
    first = bus.consumer([topic, other], name, "m-0", a, exclusive=True)
    until(lambda: a.mine == everything and not b.mine, first, second)
    third = bus.consumer([topic, other], name, "m-2", late, exclusive=True)
    send(bus, topic, "a")
    found: list[Record] = []
    until(lambda: bool(found), Watched(first, found), second, third)
    assert not b.mine | late.mine
    first.close()
    until(lambda: b.mine == everything, second, third)
    assert not late.mine
    second.close()
    third.close()


def test_a_member_knows_where_it_reads_on(bus: Bus) -> None:
    topic, empty, name = new_topic(bus), new_topic(bus), group()
    send(bus, topic, *"abcde")
    consumer = bus.consumer([topic, empty], name, "m")
    found: list[Record] = []
    until(lambda: bool(found), Watched(consumer, found, limit=2))
    wanted = {Position(topic, 0): len(found), Position(empty, 0): 0}
    assert dict(consumer.positions()) == wanted
    consumer.commit({Position(topic, 0): len(found)})
    consumer.close()
    successor = bus.consumer([topic, empty], name, "m")
    until(lambda: bool(successor.positions()), Watched(successor, [], limit=1))
    assert successor.positions()[Position(empty, 0)] == 0
    assert successor.positions()[Position(topic, 0)] in (len(found), len(found) + 1)
    successor.close()


@dataclass
class Watched:
    """A consumer that notes what it reads."""

    consumer: Consumer
    found: list[Record]
    limit: int = 5000

    def poll(self, timeout: float) -> Sequence[Record]:
        self.found += self.consumer.poll(timeout, self.limit)
        return []


def test_a_paused_partition_waits(bus: Bus) -> None:
    topic, other = new_topic(bus), new_topic(bus)
    send(bus, topic, "a")
    consumer = bus.consumer([topic, other], group(), "m")
    assert read(consumer, 1) == ["a"]
    consumer.pause([Position(topic, 0)])
    send(bus, topic, "b")
    send(bus, other, "c")
    assert read(consumer, 1) == ["c"]
    consumer.resume([Position(topic, 0)])
    assert read(consumer, 1) == ["b"]
    consumer.close()


def test_what_was_fetched_before_a_pause_is_read_after_it(bus: Bus) -> None:
    topic = new_topic(bus)
    send(bus, topic, *map(str, range(100)))
    consumer = bus.consumer([topic], group(), "m")
    found: list[Record] = []
    for count in (1, 2, 3):
        until(partial(reached, found, count), Watched(consumer, found, limit=1))
        consumer.pause([Position(topic, 0)])
        consumer.pause([Position(topic, 0)])
        assert [*consumer.poll(0.05), *consumer.poll(0.05)] == []
        consumer.resume([Position(topic, 0)])
    found += collect(consumer, 100 - len(found))
    assert [record.offset for record in found] == list(range(100))
    consumer.close()


def reached(found: Sequence[Record], count: int) -> bool:
    return len(found) >= count


def test_a_consumer_reads_on_from_where_it_is_sent(bus: Bus) -> None:
    topic = new_topic(bus)
    send(bus, topic, *"abcdefghij")
    here = Position(topic, 0)
    consumer = bus.consumer([topic], group(), "m")
    found: list[Record] = []
    until(lambda: bool(found), Watched(consumer, found, limit=3))
    consumer.seek({here: 7})
    assert read(consumer, 3) == list("hij")
    consumer.seek({here: 2})
    assert read(consumer, 8) == list("cdefghij")
    consumer.pause([here])
    consumer.seek({here: 5})
    assert [*consumer.poll(0.05), *consumer.poll(0.05)] == []
    consumer.resume([here])
    assert read(consumer, 5) == list("fghij")
    consumer.close()


def test_a_poll_gives_no_more_than_asked_for(bus: Bus) -> None:
    topic = new_topic(bus)
    send(bus, topic, *"abcdefghij")
    consumer = bus.consumer([topic], group(), "m")
    found: list[str] = []
    deadline = time.monotonic() + DEADLINE_S
    while len(found) < 10 and time.monotonic() < deadline:
        batch = consumer.poll(0.05, limit=3)
        assert len(batch) <= 3
        found += values(batch)
    assert found == list("abcdefghij")
    consumer.close()


def test_reading_all_ends_at_the_end_as_it_was(bus: Bus) -> None:
    topic, empty = new_topic(bus, cleanup="compact"), new_topic(bus)
    send(bus, topic, "a", "b")
    reading = bus.read_all([topic, empty])
    first = next(iter(reading))
    send(bus, topic, "c")
    assert [first, *reading] == list(bus.read_all([topic]))[:2]
    assert list(bus.read_all([empty])) == []
    ends = {Position(topic, 0): 2, Position(empty, 0): 0}
    assert values(list(bus.read_all([topic, empty], ends))) == ["c"]
    assert list(bus.read_all([topic], {Position(topic, 0): 3})) == []


def test_a_topic_that_is_made_later_is_found_however_short_the_polls(bus: Bus) -> None:
    topic, later = new_topic(bus), f"contract-{uuid4().hex[:8]}"
    send(bus, topic, "a")
    consumer = bus.consumer([topic, later], group(), "m")
    assert read(consumer, 1, poll_s=0.002) == ["a"]
    consumer.commit({Position(topic, 0): 1})
    bus.ensure([Topic(later, "s", "k", 2, "delete", 1)])
    send(bus, later, "b")
    assert read(consumer, 1, poll_s=0.002) == ["b"]
    consumer.close()


def test_topics_are_made_once(bus: Bus) -> None:
    topic = new_topic(bus)
    send(bus, topic, "a")
    bus.ensure([Topic(topic, "s", "k", 1, "delete", 1)])
    assert len(list(bus.read_all([topic]))) == 1


@pytest.mark.stack
def test_a_topic_that_exists_gets_the_settings_that_are_declared(kafka: KafkaBus) -> None:
    """As where an older version had made it. What lies on it stays."""
    name = new_topic(kafka, cleanup="delete")
    send(kafka, name, "a")
    wanted = {"cleanup.policy": "compact", "retention.ms": "-1", "segment.ms": "86400000"}
    asked = [bus_kafka.as_resource(name, dict.fromkeys(wanted))]

    def settings() -> dict[str, str]:
        found = kafka.admin.describe_configs(asked, config_filter="all")["topic"][name]
        return {setting: of["value"] for setting, of in found.items()}

    before = {"cleanup.policy": "delete", "retention.ms": "86400000"}
    assert settings().items() >= before.items()
    for _ in range(2):
        kafka.ensure([Topic(name, "s", "k", 1, "compact", -1)])
        assert settings() == wanted
    assert values(list(kafka.read_all([name]))) == ["a"]


def test_a_bus_that_is_away_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for driver in (bus_kafka, bus_confluent):
        monkeypatch.setattr(driver, "CONNECT_MS", 300)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound, and not listening
        server = f"127.0.0.1:{nobody.getsockname()[1]}"
        away: list[Bus] = [KafkaBus(server), ConfluentBus(server), MemoryBus(down=True)]
        for bus in away:
            for call in (
                lambda bus=bus: list(bus.read_all(["t"])),
                lambda bus=bus: bus.ends(["t"]),
                lambda bus=bus: bus.committed("g"),
                lambda bus=bus: bus.producer().send("t", b"k", b"v"),
                lambda bus=bus: bus.consumer(["t"], "g", "m").poll(0.1),
            ):
                with pytest.raises(BusUnavailable):
                    call()

"""The bus on Apache Kafka, by kafka-python."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from threading import Lock, RLock
from typing import TYPE_CHECKING, Any, NamedTuple

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
from kafka.consumer.subscription_state import ConsumerRebalanceListener
from kafka.coordinator.assignors.abstract import (
    AbstractPartitionAssignor,
    ConsumerProtocolAssignment,
    ConsumerProtocolSubscription,
)
from kafka.errors import (
    FencedInstanceIdError,
    InvalidRecordError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    TopicAlreadyExistsError,
)
from kafka.structs import OffsetAndMetadata

from driftgate.bus import GIVE_UP_SECONDS, MAX_RECORD_BYTES, Consumer, Position, Rebalance, Record
from driftgate.errors import BusRefused, BusUnavailable
from driftgate.events import Topic

if TYPE_CHECKING:
    from driftgate.batches import Batch

FLUSH_SECONDS = 30.0
# The broker answers a waiting fetch as soon as there is a record: 250 ms see it as soon as 20 ms
# do (p50 2 ms, p99 13 to 49 ms), for a fifth of the CPU while nothing comes.
FETCH_WAIT_MS = 250
# A member that was killed is missed after this time; its successor has the same name
# (static membership) and needs no rebalance.
SESSION_MS = 10_000
COMMIT_MS = 10_000
REQUEST_MS = 30_000
# What was given up is dropped by the client's thread within this time.
DROP_SECONDS = 5.0
# A topic or partition that is made later is found within this time.
METADATA_MS = 3000
# A broker that does not answer in this time is away.
CONNECT_MS = 10_000
# A broker that was away is asked again so soon; half a minute, as is usual, would be lost.
RECONNECT_MS = 1000
# The most that one answer of a broker holds; a single larger batch of records still comes.
FETCH_BYTES = 16 * 1024 * 1024
# What is wrong with a record. All else that Kafka refuses, as who may not write, is mended by the
# operator, and concerns every record: that is waited for.
REFUSED = (MessageSizeTooLargeError, RecordListTooLargeError, InvalidRecordError)
READING = {
    "enable_auto_commit": False,
    "fetch_max_wait_ms": FETCH_WAIT_MS,
    "fetch_max_bytes": FETCH_BYTES,
    "max_partition_fetch_bytes": MAX_RECORD_BYTES,
}


@contextmanager
def guarded(doing: str) -> Iterator[None]:
    """The client's errors become ours."""
    try:
        yield
    except REFUSED as error:
        raise BusRefused(f"{doing}: {error}") from error
    except KafkaError as error:
        raise BusUnavailable(f"{doing}: {error or type(error).__name__}") from error


class KafkaBus:
    """`servers` as host:port, comma-separated. Safe to share between threads."""

    def __init__(self, servers: str) -> None:
        self.servers = servers.split(",")
        self._lock = RLock()  # one thread at a time may use a client of kafka-python
        self._admin: KafkaAdminClient | None = None
        self._reader: KafkaConsumer | None = None

    def ensure(self, topics: Iterable[Topic]) -> None:
        wanted = list(topics)
        with self._lock, guarded(f"creating topics on {self.servers}"):
            existing = set(self.admin.list_topics())
            new = [as_new(topic) for topic in wanted if topic.name not in existing]
            try:
                self.admin.create_topics(new) if new else None
            except TopicAlreadyExistsError:  # another process was first with one of them
                self.ensure(wanted)
            else:
                self._configure([topic for topic in wanted if topic.name in existing])

    def _configure(self, topics: Sequence[Topic]) -> None:
        """Alters the settings of topics that exist, where they differ."""
        asked = [as_resource(topic.name, dict.fromkeys(topic.settings)) for topic in topics]
        found = self.admin.describe_configs(asked, config_filter="all") if asked else {}
        now = {
            name: {setting: of["value"] for setting, of in settings.items()}
            for name, settings in found.get("topic", {}).items()
        }
        changed = [as_resource(t.name, t.settings) for t in topics if now[t.name] != t.settings]
        results = self.admin.alter_configs(changed).get("topic", {}) if changed else {}
        refused = {name: why for name, why in results.items() if why != "OK"}
        if refused:
            raise BusUnavailable(f"settings of topics are not altered: {refused}")

    def producer(self, give_up_seconds: float = GIVE_UP_SECONDS) -> KafkaSender:
        return KafkaSender(self.servers, give_up_seconds)

    def consumer(
        self,
        topics: Sequence[str],
        group: str,
        member: str,
        rebalance: Rebalance | None = None,
        max_work_seconds: float = 300,
        exclusive: bool = False,
    ) -> Consumer:
        return KafkaMember(
            self.servers, topics, group, member, rebalance, max_work_seconds, exclusive
        )

    def read_all(
        self, topics: Sequence[str], since: Mapping[Position, int] | None = None
    ) -> Iterator[Record]:
        ends = self.ends(topics)
        with guarded(f"reading {topics} from {self.servers}"):
            reader = connected(KafkaConsumer, self.servers, **READING)
            try:
                first = reader.beginning_offsets([TopicPartition(*p) for p in ends])
                starts = {p: max(at, (since or {}).get(Position(*p), 0)) for p, at in first.items()}
                open_ = {TopicPartition(*p): end for p, end in ends.items()}
                open_ = {p: end for p, end in open_.items() if starts[p] < end}
                reader.assign(list(open_))
                for partition in open_:
                    reader.seek(partition, starts[partition])
                while open_:
                    for found in reader.poll(timeout_ms=200).values():
                        for record in found:
                            if record.offset < ends[Position(record.topic, record.partition)]:
                                yield as_record(record)
                    # A compacted topic may end with offsets that no record has: the position tells.
                    open_ = {p: end for p, end in open_.items() if reader.position(p) < end}
            finally:
                reader.close()

    def ends(self, topics: Iterable[str]) -> Mapping[Position, int]:
        with self._lock, guarded(f"asking {self.servers} for end offsets"):
            if self._reader is None:
                self._reader = connected(KafkaConsumer, self.servers)
            parts = [
                TopicPartition(topic, partition)
                for topic in topics
                for partition in self._reader.partitions_for_topic(topic) or ()
            ]
            found = self._reader.end_offsets(parts) if parts else {}
        return {Position(p.topic, p.partition): offset for p, offset in found.items()}

    def committed(self, group: str) -> Mapping[Position, int]:
        with self._lock, guarded(f"asking {self.servers} for offsets of {group}"):
            found = self.admin.list_group_offsets(group)[group]
        return {Position(p.topic, p.partition): at.offset for p, at in found.items()}

    def close(self) -> None:
        for client in (self._admin, self._reader):
            if client is not None:
                client.close()

    @property
    def admin(self) -> KafkaAdminClient:
        if self._admin is None:
            self._admin = connected(KafkaAdminClient, self.servers)
        return self._admin


class Sent(NamedTuple):
    """A record on its way."""

    topic: str
    key: bytes | None
    value: bytes | None
    future: Any


class KafkaSender:
    """An idempotent producer: a retry inside the client never doubles a record."""

    def __init__(self, servers: Sequence[str], give_up_seconds: float = GIVE_UP_SECONDS) -> None:
        self._servers, self._give_up_ms = servers, int(give_up_seconds * 1000)
        self._producer = self._connected()
        self._lock = Lock()
        self._pending: deque[Sent] = deque()
        self._failed: Exception | None = None  # the first failure since the last flush
        self._given_up = False

    def _connected(self) -> Any:
        with guarded(f"connecting to Kafka at {self._servers}"):
            return connected(
                KafkaProducer,
                self._servers,
                acks="all",
                enable_idempotence=True,
                linger_ms=1,
                delivery_timeout_ms=self._give_up_ms,
                request_timeout_ms=min(REQUEST_MS, self._give_up_ms // 2),
                max_block_ms=self._give_up_ms // 3,  # as long as it looks for the partition
                max_request_size=MAX_RECORD_BYTES,
                compression_type="lz4",
            )

    def send(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        with guarded(f"sending to {topic}"):
            sent = self._sent(topic, key, value)
        with self._lock:
            self._pending.append(sent)
            refused = self._forget_done()
        if refused:
            with guarded(f"sending to {topic} what was refused beside another record"):
                try:
                    self._send_apart(refused)
                except REFUSED as error:
                    self._failed = self._failed or error

    def _sent(self, topic: str, key: bytes | None, value: bytes | None) -> Sent:
        try:
            return Sent(topic, key, value, self._producer.send(topic, key=key, value=value))
        except KafkaError as error:
            self._given_up |= not isinstance(error, REFUSED)
            raise

    def _forget_done(self) -> list[Sent]:
        """So that memory stays bounded where nobody flushes: the client's own buffer bounds what
        is not done. Returns what was refused."""
        refused = []
        while self._pending and self._pending[0].future.is_done:
            done = self._pending.popleft()
            if isinstance(done.future.exception, REFUSED):
                refused.append(done)
            elif done.future.failed():
                self._failed = self._failed or done.future.exception
        return refused

    def flush(self) -> None:
        with self._lock:
            pending, failed = list(self._pending), self._failed
            self._pending.clear()
            self._failed = None
        with guarded(f"waiting {FLUSH_SECONDS:g} s for Kafka's acknowledgement"):
            deadline = time.monotonic() + FLUSH_SECONDS
            self._given_up = True  # until all are acknowledged
            if failed is not None and not isinstance(failed, REFUSED):
                raise failed
            refused = [sent for sent in pending if is_refused(sent, deadline)]
            self._given_up = False
            if refused:
                self._send_apart(refused)
            if failed is not None:
                raise failed

    def _send_apart(self, refused: Sequence[Sent]) -> None:
        """After the broker refused a record, the client takes every other one for refused as well,
        for good: a new client sends them one by one, and tells which it is."""
        error: KafkaError | None = None
        self._renew()
        for sent in refused:
            try:
                again = self._sent(sent.topic, sent.key, sent.value)
                again.future.get(timeout=FLUSH_SECONDS)
            except REFUSED as why:
                error = why
                self._renew()
        if error is not None:
            raise error

    def _renew(self) -> None:
        before, self._producer = self._producer, self._connected()
        before._sender.force_close()
        with suppress(KafkaTimeoutError):
            before.close(timeout=DROP_SECONDS)

    def close(self) -> None:
        if self._given_up:  # the client's own close would wait for it, and send it
            self._producer._sender.force_close()
        with suppress(KafkaTimeoutError):
            self._producer.close(timeout=DROP_SECONDS if self._given_up else None)


def is_refused(sent: Sent, deadline: float) -> bool:
    """Whether the broker will never take a record, once it is known.

    Raises:
        KafkaError: it is not known by the deadline, or failed for another reason.
    """
    try:
        sent.future.get(timeout=max(0.0, deadline - time.monotonic()))
    except REFUSED:
        return True
    return False


class KafkaMember(ConsumerRebalanceListener):
    """A static member of a consumer group."""

    def __init__(
        self,
        servers: Sequence[str],
        topics: Sequence[str],
        group: str,
        member: str,
        rebalance: Rebalance | None,
        max_work_seconds: float,
        exclusive: bool = False,
    ) -> None:
        self._name = member
        self._rebalance = rebalance
        self._mine: set[TopicPartition] = set()
        self._new: set[TopicPartition] = set()  # ours, and not told of yet
        with guarded(f"connecting to Kafka at {servers}"):
            self._consumer = connected(
                KafkaConsumer,
                servers,
                group_id=group,
                group_instance_id=member,
                auto_offset_reset="earliest",
                session_timeout_ms=SESSION_MS,
                heartbeat_interval_ms=SESSION_MS // 4,
                max_poll_interval_ms=int(max_work_seconds * 1000),
                metadata_max_age_ms=METADATA_MS,
                **({"partition_assignment_strategy": (OneOwner,)} if exclusive else {}),
                **READING,
            )
            self._consumer.subscribe(list(topics), listener=self)
            # Joining without knowing the topics' partitions would mean to join twice.
            for topic in topics:
                self._consumer.partitions_for_topic(topic)

    def poll(self, timeout: float, limit: int = 5000) -> Sequence[Record]:
        return [as_record(r) for records in self._polled(timeout, limit).values() for r in records]

    def poll_batches(self, timeout: float, limit: int = 5000) -> Sequence[Batch]:
        found = self._polled(timeout, limit)
        return [batch_of(partition, records) for partition, records in found.items()]

    def _polled(self, timeout: float, limit: int) -> Mapping[TopicPartition, Sequence[Any]]:
        with guarded("polling"):
            self._mend()
            found = self._consumer.poll(timeout_ms=int(timeout * 1000), max_records=limit)
        if self._new:
            self._start(found)
            return {}
        return found

    def positions(self) -> Mapping[Position, int]:
        with guarded("asking for positions"):
            return {Position(p.topic, p.partition): self._position(p) for p in self._mine}

    def _position(self, partition: TopicPartition) -> int:
        return int(self._consumer.position(partition))

    def _mend(self) -> None:
        """What kafka-python 3.0 leaves out. It forgets a join that a changed topic led to when a
        poll ends before the join does, and then waits for ever. And when another member took this
        one's name it only stops the heartbeats, and reads on."""
        coordinator = self._consumer._coordinator
        if coordinator.rejoining:
            coordinator.request_rejoin()
        with coordinator._lock:
            if coordinator.stable() and not (
                coordinator.rejoining or coordinator._heartbeat_enabled
            ):
                raise FencedInstanceIdError(f"another member took the name {self._name}")

    def _start(self, found: Mapping[TopicPartition, Sequence[Any]]) -> None:
        """Asks where new partitions start, outside of the client's loop: there an answer that
        takes long would hold up the heartbeats, and an error would be taken for Kafka's. What was
        fetched meanwhile is read again; if asking fails, the next poll asks again."""
        for partition, records in found.items():
            self._consumer.seek(partition, records[0].offset)
        self._consumer.resume(*self._new)
        if self._rebalance:
            starts = self._rebalance.assigned([Position(*p) for p in sorted(self._new)])
            for position, offset in starts.items():
                self._consumer.seek(TopicPartition(*position), offset)
        self._mine |= self._new
        self._new.clear()

    def commit(self, next_offsets: Mapping[Position, int]) -> None:
        offsets = {
            TopicPartition(*position): OffsetAndMetadata(offset, "", -1)
            for position, offset in next_offsets.items()
        }
        with guarded("committing"):
            self._consumer.commit(offsets, timeout_ms=COMMIT_MS)

    def pause(self, positions: Iterable[Position]) -> None:
        self._consumer.pause(*[TopicPartition(*p) for p in positions])

    def resume(self, positions: Iterable[Position]) -> None:
        self._consumer.resume(*[TopicPartition(*p) for p in positions])

    def seek(self, next_offsets: Mapping[Position, int]) -> None:
        for position, offset in next_offsets.items():
            self._consumer.seek(TopicPartition(*position), offset)

    def close(self) -> None:
        self._consumer.close()

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._new |= set(assigned)

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        known = self._mine & set(revoked)
        self._mine -= known
        self._new -= set(revoked)
        if self._rebalance and known:
            self._rebalance.revoked([Position(*p) for p in sorted(known)])


class OneOwner(AbstractPartitionAssignor):
    """Gives every partition to one member: of those with a name the first by name, so that the
    owner changes only when it goes, and when one with an earlier name comes."""

    name = "one-owner"
    version = 0

    @classmethod
    def assign(cls, cluster: Any, members: Sequence[Any]) -> dict[str, ConsumerProtocolAssignment]:
        def rank(member: Any) -> tuple[bool, str, str]:
            name = member.group_instance_id
            return name is None, name or "", member.member_id

        owner = min(members, key=rank).member_id
        topics = sorted({topic for member in members for topic in member.metadata.topics})
        known = [(topic, sorted(cluster.partitions_for_topic(topic) or ())) for topic in topics]
        mine = [(topic, partitions) for topic, partitions in known if partitions]
        return {
            member.member_id: ConsumerProtocolAssignment(
                cls.version, mine if member.member_id == owner else [], b""
            )
            for member in members
        }

    @classmethod
    def metadata(cls, topics: Iterable[str]) -> ConsumerProtocolSubscription:
        return ConsumerProtocolSubscription(cls.version, list(topics), b"")

    @classmethod
    def on_assignment(cls, assignment: Any, generation: int) -> None: ...


def connected(client: Any, servers: Sequence[str], **settings: Any) -> Any:
    """A client of kafka-python that has seen a broker."""
    return client(
        bootstrap_servers=servers,
        bootstrap_timeout_ms=CONNECT_MS,
        reconnect_backoff_max_ms=RECONNECT_MS,
        **settings,
    )


def as_new(topic: Topic) -> NewTopic:
    return NewTopic(
        name=topic.name,
        num_partitions=topic.partitions,
        replication_factor=-1,
        topic_configs=topic.settings,
    )


def as_resource(topic: str, settings: Mapping[str, str | None]) -> ConfigResource:
    return ConfigResource(ConfigResourceType.TOPIC, topic, dict(settings))


def as_record(found: Any) -> Record:
    """Our record from kafka-python's."""
    return Record(
        found.topic, found.partition, found.offset, found.key, found.value, found.timestamp
    )


def batch_of(partition: TopicPartition, found: Sequence[Any]) -> Batch:
    """A batch from kafka-python's records of one partition."""
    from driftgate.batches import Batch

    return Batch.of(
        Position(partition.topic, partition.partition),
        [record.offset for record in found],
        [record.key for record in found],
        [record.value for record in found],
        [record.timestamp for record in found],
    )

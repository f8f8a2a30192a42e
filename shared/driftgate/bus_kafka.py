"""The bus on Apache Kafka, by kafka-python."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.consumer.subscription_state import ConsumerRebalanceListener
from kafka.errors import KafkaError, TopicAlreadyExistsError
from kafka.structs import OffsetAndMetadata

from driftgate.bus import Position, Rebalance, Record
from driftgate.errors import BusUnavailable
from driftgate.events import Topic

FLUSH_SECONDS = 30.0
# A record of the largest accepted size (1 MB) plus what a dead letter wraps around a larger one.
MAX_RECORD_BYTES = 10_000_000
# Waiting at most 20 ms for a fetch trades one request per idle 20 ms for quick reaction.
FETCH_WAIT_MS = 20
# A member that was killed is missed after this time; its successor has the same name
# (static membership) and needs no rebalance.
SESSION_MS = 10_000


class KafkaBus:
    """`servers` as host:port, comma-separated. Safe to share between threads."""

    def __init__(self, servers: str) -> None:
        self.servers = servers.split(",")
        self._admin: KafkaAdminClient | None = None
        self._reader: KafkaConsumer | None = None

    def ensure(self, topics: Iterable[Topic]) -> None:
        wanted = list(topics)
        existing = set(self.admin.list_topics())
        new = [
            NewTopic(
                name=topic.name,
                num_partitions=topic.partitions,
                replication_factor=-1,
                topic_configs=topic.settings,
            )
            for topic in wanted
            if topic.name not in existing
        ]
        if not new:
            return
        try:
            self.admin.create_topics(new)
        except TopicAlreadyExistsError:
            self.ensure(wanted)
        except KafkaError as error:
            raise BusUnavailable(f"creating topics on {self.servers}: {error}") from error

    def producer(self) -> KafkaSender:
        return KafkaSender(self.servers)

    def consumer(
        self,
        topics: Sequence[str],
        group: str,
        member: str,
        rebalance: Rebalance | None = None,
        max_work_seconds: float = 300,
    ) -> KafkaMember:
        return KafkaMember(self.servers, topics, group, member, rebalance, max_work_seconds)

    def read_all(self, topics: Sequence[str]) -> Iterator[Record]:
        ends = self.ends(topics)
        reader = KafkaConsumer(
            bootstrap_servers=self.servers,
            enable_auto_commit=False,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            max_partition_fetch_bytes=MAX_RECORD_BYTES,
        )
        try:
            starts = reader.beginning_offsets([TopicPartition(*p) for p in ends])
            open_ = {TopicPartition(*p): end for p, end in ends.items()}
            open_ = {p: end for p, end in open_.items() if starts[p] < end}
            reader.assign(list(open_))
            reader.seek_to_beginning(*open_) if open_ else None
            while open_:
                for found in reader.poll(timeout_ms=200).values():
                    for record in found:
                        if record.offset < ends[Position(record.topic, record.partition)]:
                            yield as_record(record)
                # A compacted topic may end with offsets that no record has: the position tells.
                open_ = {p: end for p, end in open_.items() if reader.position(p) < end}
        except KafkaError as error:
            raise BusUnavailable(f"reading {topics} from {self.servers}: {error}") from error
        finally:
            reader.close()

    def ends(self, topics: Iterable[str]) -> Mapping[Position, int]:
        try:
            if self._reader is None:
                self._reader = KafkaConsumer(bootstrap_servers=self.servers)
            parts = [
                TopicPartition(topic, partition)
                for topic in topics
                for partition in self._reader.partitions_for_topic(topic) or ()
            ]
            found = self._reader.end_offsets(parts) if parts else {}
        except KafkaError as error:
            raise BusUnavailable(f"asking {self.servers} for end offsets: {error}") from error
        return {Position(p.topic, p.partition): offset for p, offset in found.items()}

    def committed(self, group: str) -> Mapping[Position, int]:
        try:
            found = self.admin.list_group_offsets(group)[group]
        except KafkaError as error:
            raise BusUnavailable(
                f"asking {self.servers} for offsets of {group}: {error}"
            ) from error
        return {Position(p.topic, p.partition): at.offset for p, at in found.items()}

    def close(self) -> None:
        for client in (self._admin, self._reader):
            if client is not None:
                client.close()

    @property
    def admin(self) -> KafkaAdminClient:
        if self._admin is None:
            try:
                self._admin = KafkaAdminClient(bootstrap_servers=self.servers)
            except KafkaError as error:
                raise BusUnavailable(f"connecting to Kafka at {self.servers}: {error}") from error
        return self._admin


class KafkaSender:
    """An idempotent producer: a retry inside the client never doubles a record."""

    def __init__(self, servers: Sequence[str]) -> None:
        try:
            self._producer = KafkaProducer(
                bootstrap_servers=servers,
                acks="all",
                enable_idempotence=True,
                linger_ms=1,
                max_request_size=MAX_RECORD_BYTES,
                compression_type="lz4",
            )
        except KafkaError as error:
            raise BusUnavailable(f"connecting to Kafka at {servers}: {error}") from error
        self._pending: list[Any] = []

    def send(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        try:
            self._pending.append(self._producer.send(topic, key=key, value=value))
        except KafkaError as error:
            raise BusUnavailable(f"sending to {topic}: {error}") from error

    def flush(self) -> None:
        pending, self._pending = self._pending, []
        try:
            deadline = time.monotonic() + FLUSH_SECONDS
            for future in pending:
                future.get(timeout=max(0.0, deadline - time.monotonic()))
        except KafkaError as error:
            raise BusUnavailable(f"Kafka did not acknowledge in {FLUSH_SECONDS:g} s") from error

    def close(self) -> None:
        self._producer.close()


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
    ) -> None:
        self._rebalance = rebalance
        try:
            self._consumer = KafkaConsumer(
                bootstrap_servers=servers,
                group_id=group,
                group_instance_id=member,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                fetch_max_wait_ms=FETCH_WAIT_MS,
                max_partition_fetch_bytes=MAX_RECORD_BYTES,
                session_timeout_ms=SESSION_MS,
                heartbeat_interval_ms=SESSION_MS // 4,
                max_poll_interval_ms=int(max_work_seconds * 1000),
            )
            self._consumer.subscribe(list(topics), listener=self)
        except KafkaError as error:
            raise BusUnavailable(f"connecting to Kafka at {servers}: {error}") from error

    def poll(self, timeout: float, limit: int = 5000) -> Sequence[Record]:
        try:
            found = self._consumer.poll(timeout_ms=int(timeout * 1000), max_records=limit)
        except KafkaError as error:
            raise BusUnavailable(f"polling: {error}") from error
        return [as_record(record) for records in found.values() for record in records]

    def commit(self, next_offsets: Mapping[Position, int]) -> None:
        offsets = {
            TopicPartition(*position): OffsetAndMetadata(offset, "", -1)
            for position, offset in next_offsets.items()
        }
        try:
            self._consumer.commit(offsets)
        except KafkaError as error:
            raise BusUnavailable(f"committing: {error}") from error

    def pause(self, positions: Iterable[Position]) -> None:
        self._consumer.pause(*[TopicPartition(*p) for p in positions])

    def resume(self, positions: Iterable[Position]) -> None:
        self._consumer.resume(*[TopicPartition(*p) for p in positions])

    def close(self) -> None:
        self._consumer.close()

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        positions = [Position(p.topic, p.partition) for p in assigned]
        if self._rebalance and positions:
            for position, offset in self._rebalance.assigned(positions).items():
                self._consumer.seek(TopicPartition(*position), offset)

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        positions = [Position(p.topic, p.partition) for p in revoked]
        if self._rebalance and positions:
            self._rebalance.revoked(positions)


def as_record(found: Any) -> Record:
    """Our record from kafka-python's."""
    return Record(
        found.topic, found.partition, found.offset, found.key, found.value, found.timestamp
    )

"""The bus on Apache Kafka by confluent-kafka: for who reads in bulk, and for who sends beside work
that must not wait: the client's own threads do it, and leave the interpreter alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from threading import Thread
from typing import Any

from confluent_kafka import OFFSET_STORED, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka import Consumer as Client
from confluent_kafka import Producer as SendingClient

from driftgate.batches import Batch, joined
from driftgate.bus import GIVE_UP_SECONDS, MAX_RECORD_BYTES, Consumer, Position, Rebalance, Record
from driftgate.bus_kafka import (
    COMMIT_MS,
    CONNECT_MS,
    FETCH_BYTES,
    FETCH_WAIT_MS,
    FLUSH_SECONDS,
    METADATA_MS,
    SESSION_MS,
    KafkaBus,
)
from driftgate.config import Settings
from driftgate.errors import BusGaveUp, BusRefused, BusUnavailable

# What the client fetches ahead: it asks for no more while so much is waiting, so that at most one
# answer of every broker comes on top: 48 + 16 = 64 MB with one broker. (A reader that lags far
# behind was seen to hold 100 MB for it, with records of 300 bytes and the client's own keeping.)
AHEAD_KB = 48 * 1024
# How soon it asks again after so much was waiting. By itself it takes a second, in which a fast
# reader has long read everything.
AHEAD_AGAIN_MS = 10
# So many of the client's messages, of 1 kB and more each, are there at once; and so much is read
# at once, since the client reads ahead meanwhile.
CHUNK = 5_000
POLL_BYTES = 64 * 1024 * 1024
# A broker that came back is found within this time. The client tries those it knows: to begin anew
# with the bootstrap servers, which it would do otherwise, logs 20 lines a second in an outage.
RECONNECT_MS = 1000
# The client tells of these, and gets over them by itself: a topic that is not made yet, and a
# member that worked for so long that the group went on without it.
PASSING = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._MAX_POLL_EXCEEDED}
# What is wrong with a record.
REFUSED = {
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.RECORD_LIST_TOO_LARGE,
    KafkaError.INVALID_MSG,
    KafkaError.INVALID_RECORD,
}


def bus_of(settings: Settings) -> KafkaBus:
    """The bus, read by the client that the settings name."""
    driver = ConfluentBus if settings.kafka_driver == "confluent" else KafkaBus
    return driver(settings.kafka)


@contextmanager
def guarded(doing: str) -> Iterator[None]:
    """The client's errors become ours."""
    try:
        yield
    except (KafkaException, TimeoutError) as error:
        raise BusUnavailable(f"{doing}: {str(error) or 'no answer in time'}") from error


class ConfluentBus(KafkaBus):
    """Consumers are confluent-kafka's; all else stays kafka-python's."""

    def consumer(
        self,
        topics: Sequence[str],
        group: str,
        member: str,
        rebalance: Rebalance | None = None,
        max_work_seconds: float = 300,
        exclusive: bool = False,
    ) -> Consumer:
        if exclusive:  # who owns all is decided in Python, which this client cannot be told
            return super().consumer(topics, group, member, rebalance, max_work_seconds, exclusive)
        return ConfluentMember(self.servers, topics, group, member, rebalance, max_work_seconds)


class ConfluentSender:
    """An idempotent producer: a retry inside the client never doubles a record, also one after an
    outage, for as long as the client does not give up. `flush` after a `BusUnavailable` waits on;
    after a `BusGaveUp` nothing more is sent by this producer."""

    def __init__(self, servers: str, give_up_seconds: float = GIVE_UP_SECONDS) -> None:
        self._failed: list[tuple[KafkaError, Message]] = []
        self._client = SendingClient(
            {
                "bootstrap.servers": servers,
                "enable.idempotence": True,
                "linger.ms": 1,
                "message.timeout.ms": int(give_up_seconds * 1000),
                "message.max.bytes": MAX_RECORD_BYTES,
                "compression.type": "lz4",
                "partitioner": "murmur2_random",  # that of Kafka's other clients
                "reconnect.backoff.max.ms": RECONNECT_MS,
                "log_level": 2,  # it goes on by itself after what it warns of
            }
        )

    def send(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        try:
            self._client.produce(topic, value, key, on_delivery=self._delivered)
        except BufferError as error:
            raise BusUnavailable(f"sending to {topic}: {error}") from error
        except KafkaException as error:
            raise as_ours(error.args[0], f"sending to {topic}") from error
        self._client.poll(0)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failed.append((error, message))

    def flush(self) -> None:
        if left := self._client.flush(FLUSH_SECONDS):
            raise BusUnavailable(f"{left} records are not acknowledged in {FLUSH_SECONDS:g} s")
        if refused := self._refusals():
            self._send_apart([message for _, message in refused])

    def _refusals(self) -> list[tuple[KafkaError, Message]]:
        """The records that the broker has refused.

        Raises:
            BusGaveUp: one failed for another reason.
        """
        failed, self._failed = self._failed, []
        for error, message in failed:
            if error.code() not in REFUSED:
                raise BusGaveUp(f"sending to {message.topic()}: {error}")
        return failed

    def _send_apart(self, refused: Sequence[Message]) -> None:
        """A record that the broker refuses takes those of its batch along: one by one, only it is
        refused."""
        again = []
        for message in refused:
            try:
                self.send(str(message.topic()), message.key(), message.value())
            except BusUnavailable as error:  # those that follow are not sent any more
                raise BusGaveUp(str(error)) from error
            if self._client.flush(FLUSH_SECONDS):
                raise BusGaveUp(f"sending to {message.topic()}: no answer in time")
            again += self._refusals()
        if again:
            why, message = again[0]
            records = [(str(one.topic()), one.key(), one.value()) for _, one in again]
            raise BusRefused(f"sending to {message.topic()}: {why}", records)

    def close(self) -> None:
        if self._failed or self._client.flush(0):
            self._client.purge()
        self._client.flush(0)


def as_ours(error: KafkaError, doing: str) -> BusUnavailable | BusRefused:
    """A failure of the client as an error of ours."""
    if error.code() in REFUSED:
        return BusRefused(f"{doing}: {error}")
    return (BusGaveUp if error.fatal() else BusUnavailable)(f"{doing}: {error}")


class ConfluentMember:
    """A static member of a consumer group.

    The client calls back from inside `consume`, where an error would lose what was read and an
    answer that takes long would hold up all else. So the callbacks only note what they are told;
    partitions stay unread until `_settle` has asked where they start.
    """

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
        self._mine: set[Position] = set()
        self._new: list[Position] = []  # ours, and not told of yet
        self._gone: set[Position] = set()  # ours no longer, and not told of yet
        self._error: KafkaError | None = None  # to be raised by the next poll
        self._consumer = Client(
            {
                "bootstrap.servers": ",".join(servers),
                "group.id": group,
                "group.instance.id": member,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "session.timeout.ms": SESSION_MS,
                "heartbeat.interval.ms": SESSION_MS // 4,
                "max.poll.interval.ms": int(max_work_seconds * 1000),
                "topic.metadata.refresh.interval.ms": METADATA_MS,
                "metadata.recovery.strategy": "none",
                "reconnect.backoff.max.ms": RECONNECT_MS,
                "fetch.wait.max.ms": FETCH_WAIT_MS,
                "fetch.max.bytes": FETCH_BYTES,
                "fetch.message.max.bytes": MAX_RECORD_BYTES,
                "queued.max.messages.kbytes": AHEAD_KB,
                "fetch.queue.backoff.ms": AHEAD_AGAIN_MS,
                "check.crcs": True,
            }
        )
        with guarded(f"connecting to Kafka at {servers}"):
            self._consumer.list_topics(timeout=CONNECT_MS / 1000)
            self._consumer.subscribe(
                list(topics), on_assign=self._on_assign, on_revoke=self._on_revoke
            )

    def poll(self, timeout: float, limit: int = 5000) -> Sequence[Record]:
        return [r for batch in self.poll_batches(timeout, limit) for r in batch.records()]

    def poll_batches(self, timeout: float, limit: int = 5000) -> Sequence[Batch]:
        self._raise_error()
        with guarded("polling"):
            # One call would wait for the timeout to end or the limit to be reached.
            found = self._consumer.consume(1, timeout)
        batches, size = [], 0
        while found:
            new = batches_of(self._without_errors(found))
            batches += new
            size += sum(batch.values.nbytes for batch in new)
            limit -= len(found)
            found = self._more(min(limit, CHUNK)) if size < POLL_BYTES else []
        if self._gone or self._new:
            # A rebalance takes all partitions away; what was read of them before is read again.
            self._settle()
            return []
        return joined(batches)

    def _more(self, limit: int) -> list[Message]:
        """What is there. An error is raised by the next poll: this one has records to return."""
        try:
            return self._consumer.consume(limit, 0) if limit else []
        except KafkaException as error:
            self._error = error.args[0]
            return []

    def _raise_error(self) -> None:
        """The error noted by the last poll, which had records to return. A fatal one stays."""
        error = self._error
        if error:
            self._error = error if error.fatal() else None
            raise BusUnavailable(f"polling: {error}")

    def _without_errors(self, found: list[Message]) -> list[Message]:
        errors = [error for message in found if (error := message.error())]
        if not errors:
            return found
        for error in errors:
            if error.code() not in PASSING and not (self._error and self._error.fatal()):
                self._error = error
        return [message for message in found if not message.error()]

    def _settle(self) -> None:
        """Tells of partitions that came and went. If it fails, the next poll tells again."""
        if self._rebalance and self._gone:
            self._rebalance.revoked(sorted(self._gone))
        self._gone.clear()
        if not self._new:
            return
        starts = self._rebalance.assigned(self._new) if self._rebalance else {}
        with guarded("taking partitions"):
            self.resume(self._new)  # the client remembers a pause for a partition that comes back
            self._consumer.assign(
                [TopicPartition(*p, starts.get(p, OFFSET_STORED)) for p in self._new]
            )
        self._mine, self._new = set(self._new), []

    def commit(self, next_offsets: Mapping[Position, int]) -> None:
        offsets = [TopicPartition(*position, at) for position, at in next_offsets.items()]
        if not offsets:  # the client takes it for an error
            return
        done: Future[list[TopicPartition]] = Future()

        def ask() -> None:
            try:
                done.set_result(self._consumer.commit(offsets=offsets, asynchronous=False))
            except (KafkaException, RuntimeError) as error:
                done.set_exception(error)

        # The client's own call has no deadline, and may never return (its issue 1801).
        Thread(target=ask, name="commit", daemon=True).start()
        with guarded("committing"):
            for answer in done.result(COMMIT_MS / 1000):
                if answer.error:
                    raise KafkaException(answer.error)

    def positions(self) -> Mapping[Position, int]:
        mine = [TopicPartition(*position) for position in self._mine]
        with guarded("asking for positions"):
            known = {Position(p.topic, p.partition): p for p in self._consumer.position(mine)}
            return {at: self._position(found) for at, found in known.items()}

    def _position(self, found: TopicPartition) -> int:
        """Where nothing was read yet: what the group committed, or the beginning."""
        if found.offset < 0:
            (found,) = self._consumer.committed([found], timeout=COMMIT_MS / 1000)
        if found.offset < 0:
            return int(self._consumer.get_watermark_offsets(found, timeout=COMMIT_MS / 1000)[0])
        return int(found.offset)

    def pause(self, positions: Iterable[Position]) -> None:
        self._consumer.pause([TopicPartition(*p) for p in positions])

    def resume(self, positions: Iterable[Position]) -> None:
        self._consumer.resume([TopicPartition(*p) for p in positions])

    def seek(self, next_offsets: Mapping[Position, int]) -> None:
        with guarded("seeking"):
            for position, offset in next_offsets.items():
                self._consumer.seek(TopicPartition(*position, offset))

    def close(self) -> None:
        self._consumer.close()

    def _on_assign(self, consumer: Client, assigned: list[TopicPartition]) -> None:
        consumer.assign([])
        self._new = sorted(Position(p.topic, p.partition) for p in assigned)

    def _on_revoke(self, _: Client, revoked: list[TopicPartition]) -> None:
        self._gone |= self._mine
        self._mine.clear()
        self._new.clear()


def batches_of(messages: Iterable[Message]) -> list[Batch]:
    """Batches from confluent-kafka's messages."""
    parts: dict[tuple[Any, Any], list[Any]] = defaultdict(list)
    for message in messages:
        parts[message.topic(), message.partition()].append(message)
    return [
        Batch.of(
            Position(*position),
            (message.offset() for message in part),
            (message.key() for message in part),
            (message.value() for message in part),
            (message.timestamp()[1] for message in part),
        )
        for position, part in parts.items()
    ]

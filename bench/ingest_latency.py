"""How soon an event can be queried, and how soon a feedback's outcome is on its topic. Answers come
at a steady rate; a prober asks the store how far each partition goes, so a latency is from before
the event is handed to Kafka's client until a query finds it, probe included. Then feedback comes at
a steady rate, about answers chosen at random among 10^7 that are stored. Memory is ingestion's,
resident, over the whole time."""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Iterator, Sequence

import numpy as np
from kafka import KafkaConsumer, TopicPartition

from bench.figure import Figure
from bench.parts.bed import Bed, infrastructure, memory_of
from bench.parts.memory import MIB, Memory
from driftgate.store import Store

ELSEWHERE = 9  # a partition that Kafka does not have, for answers that were stored long ago
PARTITIONS = (0, 1)
SAMPLED = 100
FLAT = 1.1
PREPARED = """
INSERT INTO inferences (topic, partition, offset, request_id, model, version, role, input_hash,
    features, slices, output, confidence, latency_ms, propensity, time)
SELECT 'inferences', {elsewhere}, number, {request_id}, '{model}', 1, 'live', 'aa',
    map('words', 5), map('language', 'en'), 'refund', 0.5, 3, 1, now() - number % 1000000
FROM numbers({start}, {count})
"""
OLD_ID = "toString(reinterpretAsUUID(unhex(hex(MD5(concat('{model} ', toString(number)))))))"


def run(args: list[str]) -> list[Figure]:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=int, default=10_000, help="answers a second")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--feedback", type=int, default=1000, help="a second")
    parser.add_argument("--feedback-minutes", type=float, default=2)
    parser.add_argument("--stored", type=int, default=10_000_000)
    parser.add_argument("--driver", default="kafka-python")
    given = parser.parse_args(args)
    with infrastructure("latency") as stack:
        bed = Bed(stack, stack.state_dir / "bed")
        with bed.ingesting(DRIFTGATE_KAFKA_DRIVER=given.driver) as process:
            bed.wait_for_assignment("0", 0)
            memory = Memory(lambda: memory_of(process))
            with memory:
                events = steady(bed, given.rate, given.minutes * 60)
            print("storing answers of long ago")
            ids = prepare(bed, given.stored)
            joined = feedback(bed, ids, given.feedback, given.feedback_minutes * 60)
        bed.close()
    p50, p99 = np.percentile(events, [50, 99])
    j50, j99 = np.percentile(joined, [50, 99])
    stored = given.stored + len(events) * SAMPLED
    held = tenths(memory.seen)
    flat = held[-1] <= FLAT * held[1] and memory.most <= 600 * MIB
    return [
        Figure(
            "answers",
            f"{len(events) * SAMPLED:,} at {given.rate:,}/s for {given.minutes:g} minutes",
        ),
        Figure("event → queryable, p50", f"{p50:.2f} s", "≤ 0.8 s", p50 <= 0.8),
        Figure("event → queryable, p99", f"{p99:.2f} s", "≤ 2 s", p99 <= 2),
        Figure(
            "memory, median of each tenth of the time; most",
            f"{' '.join(f'{size / MIB:.0f}' for size in held)}; {memory.most / MIB:.0f} MiB",
            "flat, ≤ 600 MiB",
            flat,
        ),
        Figure(
            "feedback",
            f"{len(joined):,} at {given.feedback:,}/s, {stored:,} answers stored",
        ),
        Figure("feedback → outcome on the topic, p50", f"{j50:.2f} s"),
        Figure("feedback → outcome on the topic, p99", f"{j99:.2f} s", "≤ 3 s", j99 <= 3),
    ]


def tenths(seen: Sequence[int]) -> list[float]:
    """The median of each tenth."""
    return [float(np.median(part)) for part in np.array_split(seen, 10)]


def paced(count: int, rate: int) -> Iterator[int]:
    """The numbers up to `count`, each when it is due at so many a second."""
    begin = time.monotonic()
    for n in range(count):
        wait = begin + n / rate - time.monotonic()
        if wait > 0.001:
            time.sleep(wait)
        yield n


def steady(bed: Bed, rate: int, seconds: float) -> np.ndarray:
    """Seconds of each hundredth answer until it was found in the store."""
    count = int(rate * seconds)
    sent = np.zeros(count)
    prober = Prober(bed)
    with prober:
        sender = bed.sender()
        for n in paced(count, rate):
            sent[n] = time.monotonic()
            sender.send("inferences", bed.traffic.inference(n) | {"epoch": n})
        sender.flush()
        bed.wait("not all was stored", lambda: bed.rows() >= count)
        prober.wait_for_ends(bed)
    rows = bed.store.query(
        f"SELECT epoch AS n, partition, offset FROM inferences WHERE epoch % {SAMPLED} = 0"
    )
    return np.array(
        [prober.seen_at(row["partition"], row["offset"]) - sent[row["n"]] for row in rows]
    )


class Prober:
    """Asks, over and over, how far each partition can be queried."""

    QUERY = """
        SELECT partition, offset AS last FROM inferences
        WHERE topic = 'inferences' AND partition = {partition:Int32}
        ORDER BY topic DESC, partition DESC, offset DESC LIMIT 1
    """

    def __init__(self, bed: Bed) -> None:
        self._store = Store.connect(bed.stack.store, bed.database)
        self._over = threading.Event()
        self._times: dict[int, list[float]] = {}
        self._offsets: dict[int, list[int]] = {}

    def __enter__(self) -> Prober:
        self._thread = threading.Thread(target=self._probe)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._store.close()

    def _probe(self) -> None:
        while not self._over.wait(0.05):
            for partition in PARTITIONS:
                rows = self._store.query(self.QUERY, partition=partition)
                now = time.monotonic()
                self._found(rows, now)

    def _found(self, rows: list[dict[str, int]], now: float) -> None:
        for row in rows:
            offsets = self._offsets.setdefault(row["partition"], [])
            if not offsets or row["last"] > offsets[-1]:
                offsets.append(row["last"])
                self._times.setdefault(row["partition"], []).append(now)

    def wait_for_ends(self, bed: Bed) -> None:
        """Until it found the last record of each partition."""
        ends = {p.partition: end for p, end in bed.bus.ends(["inferences"]).items() if end}
        bed.wait(
            "the prober did not see the ends",
            lambda: all(self._offsets.get(p, [0])[-1] >= end - 1 for p, end in ends.items()),
        )

    def seen_at(self, partition: int, offset: int) -> float:
        """When a record was first found."""
        index = int(np.searchsorted(self._offsets[partition], offset))
        return self._times[partition][index]


def prepare(bed: Bed, count: int) -> list[str]:
    """Stores many answers as if long ago, so merged; the ids of some, in no order."""
    block = 500_000
    for start in range(0, count, block):
        bed.store.command(
            PREPARED.format(
                elsewhere=ELSEWHERE,
                request_id=OLD_ID.format(model=bed.model),
                model=bed.model,
                start=start,
                count=min(block, count - start),
            )
        )
    merging = "SELECT count() AS n FROM system.merges"
    bed.wait("still merging", lambda: not bed.store.query(merging)[0]["n"])
    chosen = np.random.default_rng(5).choice(count, min(count, 400_000), replace=False)
    rows: dict[int, str] = {}
    for part in np.array_split(chosen, 40):
        numbers = ", ".join(map(str, part))
        found = bed.store.query(
            f"SELECT offset, request_id FROM inferences WHERE partition = {ELSEWHERE} "
            f"AND topic = 'inferences' AND offset IN ({numbers})"
        )
        rows |= {row["offset"]: row["request_id"] for row in found}
    return [rows[int(n)] for n in chosen]


def feedback(bed: Bed, ids: list[str], rate: int, seconds: float) -> np.ndarray:
    """Seconds of each feedback until its outcome was read from the topic."""
    count = int(rate * seconds)
    sent: dict[str, float] = {}
    found: dict[str, float] = {}
    consumer = KafkaConsumer(bootstrap_servers=bed.stack.kafka, fetch_max_wait_ms=50)
    parts = [TopicPartition("outcomes", n) for n in consumer.partitions_for_topic("outcomes")]
    consumer.assign(parts)
    consumer.seek_to_end(*parts)
    for part in parts:
        consumer.position(part)

    def read() -> None:
        deadline = time.monotonic() + seconds + 120
        while len(found) < count and time.monotonic() < deadline:
            for records in consumer.poll(timeout_ms=100).values():
                now = time.monotonic()
                for record in records:
                    event = bed.codec.decode("outcomes", record.value)
                    found.setdefault(event["outcome_id"], now)

    reader = threading.Thread(target=read)
    reader.start()
    sender = bed.sender()
    for n in paced(count, rate):
        event = bed.traffic.feedback(n) | {"request_id": ids[n], "feedback_id": f"late-{n}"}
        sent[event["feedback_id"]] = time.monotonic()
        sender.send("feedback", event)
    sender.flush()
    reader.join()
    consumer.close()
    assert len(found) >= count, f"{count - len(found)} outcomes did not come"
    return np.array([found[name] - at for name, at in sent.items()])

"""Kafka to queryable: inferences are drained, validated, masked and stored over HTTP, by the whole
path of ingest-logger with either client of Kafka. Beside it, in the same run, the plain loop of
kafka-python, fastavro and clickhouse-connect, which stores the same records unchecked, and what
either client does when it only consumes. Every tenth text holds personal data."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from confluent_kafka import Consumer as ConfluentConsumer
from confluent_kafka import TopicPartition as ConfluentPartition
from kafka import KafkaConsumer, TopicPartition
from rich.progress import track

from bench.figure import Figure
from bench.parts.bed import Bed, infrastructure, memory_of
from bench.parts.memory import MIB, Memory
from driftgate.bus import Position
from driftgate.bus_confluent import AHEAD_AGAIN_MS

TIMES = 5
FAST = 200_000
SHARE = 0.8
COST = 0.3


def run(args: list[str]) -> list[Figure]:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=2_000_000)
    count = parser.parse_args(args).events
    with infrastructure("ingest") as stack:
        bed = Bed(stack, stack.state_dir / "bed")
        starts = {p: at for p, at in bed.starts.items() if p.topic == "inferences"}
        sender = bed.sender()
        for n in track(range(count), "sending", disable=not sys.stdout.isatty()):
            sender.send("inferences", bed.traffic.inference(n))
        sender.flush()
        print("sent; the plain loop")
        plain = plain_rate(bed, starts, count)
        print("consuming only")
        bare_slow, bare_fast = kafka_python_rate(bed, starts, count), confluent_rate(bed, count)
        print("driftgate")
        slow, slow_memory = ingest_rate(bed, count, "kafka-python")
        fast, fast_memory = ingest_rate(bed, count, "confluent")
        bed.declare(kinds="")
        open_, _ = ingest_rate(bed, count, "confluent", "unmasked")
        bed.close()
    best = max(slow, fast)
    return [
        Figure("events", f"{count:,}"),
        Figure("plain loop, unchecked", rate(plain)),
        Figure("kafka-python, consuming only", rate(bare_slow)),
        Figure("confluent-kafka, consuming only", rate(bare_fast)),
        Figure(
            "driftgate, kafka-python",
            f"{rate(slow)}, {slow / bare_slow:.0%} of consuming only",
            f"≥ {SHARE:.0%}",
            slow >= SHARE * bare_slow,
        ),
        Figure("driftgate, confluent-kafka", rate(fast), f"≥ {rate(FAST)}", fast >= FAST),
        Figure(
            "most memory of ingestion, kafka-python / confluent-kafka",
            f"{slow_memory / MIB:.0f} / {fast_memory / MIB:.0f} MiB",
        ),
        Figure("driftgate, confluent-kafka, without masking", rate(open_)),
        Figure(
            "masking costs", f"{1 - fast / open_:.0%}", f"≤ {COST:.0%}", fast >= (1 - COST) * open_
        ),
        Figure(
            "driftgate / plain loop", f"{best / plain:.1f}×", f"≥ {TIMES}×", best >= TIMES * plain
        ),
    ]


def rate(events: float) -> str:
    return f"{events:,.0f} events/s"


def plain_rate(bed: Bed, starts: dict[Position, int], count: int) -> float:
    port = bed.stack.ports["clickhouse"]
    line = [sys.executable, "-m", "bench.parts.plain_loop", bed.stack.kafka, "127.0.0.1"]
    line += [str(port), bed.database, str(count), *(str(starts[p]) for p in sorted(starts))]
    done = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True)
    seconds, stored = done.stdout.split()
    bed.store.command("TRUNCATE TABLE inferences")
    return int(stored) / float(seconds)


def kafka_python_rate(bed: Bed, starts: dict[Position, int], count: int) -> float:
    consumer = KafkaConsumer(bootstrap_servers=bed.stack.kafka, enable_auto_commit=False)
    consumer.assign([TopicPartition(*p) for p in starts])
    for position, start in starts.items():
        consumer.seek(TopicPartition(*position), start)
    read, begin = 0, time.monotonic()
    while read < count:
        read += sum(map(len, consumer.poll(timeout_ms=200, max_records=50_000).values()))
    seconds = time.monotonic() - begin
    consumer.close()
    return read / seconds


def confluent_rate(bed: Bed, count: int) -> float:
    consumer = ConfluentConsumer(
        {
            "bootstrap.servers": bed.stack.kafka,
            "group.id": "bench",
            "enable.auto.commit": False,
            "fetch.queue.backoff.ms": AHEAD_AGAIN_MS,
        }
    )
    starts = [p for p in bed.starts if p.topic == "inferences"]
    consumer.assign([ConfluentPartition(*p, bed.starts[p]) for p in starts])
    read, begin = 0, time.monotonic()
    while read < count:
        read += len(consumer.consume(50_000, 0.2))
    seconds = time.monotonic() - begin
    consumer.close()
    return read / seconds


def ingest_rate(bed: Bed, count: int, driver: str, name: str = "") -> tuple[float, int]:
    """Events a second from the partitions' assignment until the last can be queried, and the most
    memory of the process, bytes."""
    name = name or driver
    again = Bed(bed.stack, bed.folder / name, f"{bed.model}{name[0]}", bed.starts)
    with (
        again.ingesting(DRIFTGATE_KAFKA_DRIVER=driver) as process,
        Memory(lambda: memory_of(process), 0.25) as memory,
    ):
        again.wait_for_assignment("0")
        begin = time.monotonic()
        again.wait("not drained", lambda: again.rows() >= count, 900)
        seconds = time.monotonic() - begin
    assert again.rows() == count
    again.close()
    return count / seconds, memory.most

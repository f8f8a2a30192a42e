"""The peer: what one would write in an afternoon. kafka-python, fastavro, rows, clickhouse-connect.
Prints seconds and rows once `COUNT` records are stored."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import clickhouse_connect
import fastavro
from kafka import KafkaConsumer, TopicPartition

from driftgate.codec import Codec

BATCH = 10_000


def main(kafka: str, host: str, port: str, database: str, count: str, *starts: str) -> None:
    codec = Codec.load(Path(__file__).resolve().parents[2] / "schemas")
    schema = codec.schemas.newest["inference"].schema
    names = [field["name"] for field in codec.schemas.newest["inference"].raw["fields"]]
    client = clickhouse_connect.get_client(host=host, port=int(port), database=database)
    consumer = KafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False)
    parts = [TopicPartition("inferences", n) for n in range(len(starts))]
    consumer.assign(parts)
    for part, start in zip(parts, starts, strict=True):
        consumer.seek(part, int(start))
    wanted, stored = int(count), 0
    begin = time.monotonic()
    while stored < wanted:
        rows = []
        while len(rows) < BATCH and stored + len(rows) < wanted:
            for records in consumer.poll(timeout_ms=200, max_records=BATCH).values():
                for record in records:
                    event = fastavro.schemaless_reader(BytesIO(record.value[5:]), schema, None)
                    event["time"] = datetime.fromtimestamp(event["time"] / 1000, UTC)
                    place = (record.topic, record.partition, record.offset)
                    rows.append([*place, *(event[name] for name in names)])
        client.insert("inferences", rows, ["topic", "partition", "offset", *names])
        stored += len(rows)
    print(time.monotonic() - begin, stored)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Reads COUNT inferences and does nothing with them: by kafka-python or faust, with the runtime
around it or without. Prints events a second from the first to the last."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faust
from kafka import KafkaConsumer

from driftgate.bus_kafka import READING, KafkaBus
from driftgate.codec import Codec
from driftgate.events import Inference
from driftgate.health import Health, log_for
from driftgate.runtime import Effect, Handler, Runtime, Service, Views
from driftgate.runtime.faust_loop import FaustRuntime

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"
BATCH = 5000  # as the runtime's loop takes


@dataclass
class Counter:
    """Ends the process when all are seen."""

    count: int
    seen: int = 0
    begin: float = 0.0

    def add(self) -> None:
        if not self.seen:
            self.begin = time.monotonic()
        self.seen += 1
        if self.seen == self.count:
            print(self.count / (time.monotonic() - self.begin), flush=True)
            os._exit(0)


def plain_kafka_python(kafka: str, group: str, counter: Counter) -> None:
    codec = Codec.load(SCHEMAS)
    consumer = KafkaConsumer(
        Inference.TOPIC,
        bootstrap_servers=kafka,
        group_id=group,
        auto_offset_reset="earliest",
        **READING,
    )
    while True:
        for records in consumer.poll(timeout_ms=200, max_records=BATCH).values():
            for record in records:
                codec.event(record.topic, record.value)
                counter.add()
        consumer.commit()


def plain_faust(kafka: str, group: str, counter: Counter) -> None:
    codec = Codec.load(SCHEMAS)

    async def serve() -> None:
        app = faust.App(
            group,
            broker=f"kafka://{kafka}",
            consumer_auto_offset_reset="earliest",
            topic_allow_declare=False,
            topic_disable_leader=True,
            web_enabled=False,
        )
        channel = app.topic(Inference.TOPIC, key_serializer="raw", value_serializer="raw")

        async def consume(stream: Any) -> None:
            async for event in stream.events():  # acknowledged by faust after each turn
                codec.event(event.message.topic, event.value)
                counter.add()

        app.agent(channel)(consume)
        await app.start()
        await asyncio.Event().wait()

    asyncio.run(serve())


def with_runtime(kind: type[Runtime], kafka: str, group: str, counter: Counter) -> None:
    def nothing(event: Inference, views: Views, now: int) -> Iterable[Effect]:
        counter.add()
        return ()

    service = Service(name=group, handlers={Inference: Handler(nothing)})
    bus, codec = KafkaBus(kafka), Codec.load(SCHEMAS)
    kind(service, bus, codec, "0", log_for(group), Health(group)).run()


def main(kind: str, kafka: str, group: str, count: str) -> None:
    counter = Counter(int(count))
    match kind:
        case "kafka-python":
            plain_kafka_python(kafka, group, counter)
        case "faust":
            plain_faust(kafka, group, counter)
        case "runtime, kafka-python":
            with_runtime(Runtime, kafka, group, counter)
        case "runtime, faust":
            with_runtime(FaustRuntime, kafka, group, counter)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Roll-ups under faults: an engine that is killed amid inserts keeps them and its rows in step."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from threading import Timer
from typing import Any

from engine_process import HOST, served
from ingesting import NOON, inference, whole

from deploy.local.plan import free_ports
from driftgate.codec import Codec
from driftgate.errors import StoreUnavailable
from driftgate.store import Store, migrate
from services.ingest_logger.rows import Table
from services.ingest_logger.schema_evolution import add_columns

SCHEMAS = Path(__file__).parents[2] / "schemas"
KILLS, BATCH = 4, 200
# The engine writes parts and merges them all the while; a kill may meet any of it.
LONGEST_S = 0.8

ROWS = """
SELECT toStartOfMinute(time) AS minute, version, count() AS answers, sum(confidence) AS confidence
FROM inferences GROUP BY minute, version ORDER BY minute, version
SETTINGS optimize_use_projections = 0
"""
ROLL_UPS = """
SELECT minute, version, sum(answers) AS answers, sum(confidence_sum) AS confidence
FROM answers_per_minute WHERE slice = 'all' GROUP BY minute, version ORDER BY minute, version
"""
# Batch n has the offsets n * BATCH to (n + 1) * BATCH - 1.
BATCHES = f"""
SELECT intDiv(offset, {BATCH}) AS batch, count() AS rows FROM inferences GROUP BY batch
SETTINGS optimize_use_projections = 0
"""


@contextmanager
def engine(folder: Path, port: int) -> Iterator[tuple[subprocess.Popen[bytes], Store]]:
    with served(folder, port) as process:
        yield process, Store.connect(f"http://{HOST}:{port}")


def row(offset: int, codec: Codec) -> dict[str, Any]:
    """Answers of five minutes and three versions; confidences add up exactly."""
    event = inference(
        f"r{offset}",
        version=offset % 3,
        confidence=0.5,
        slices={"language": "en" if offset % 2 else "es"},
        time=NOON + offset % 5 * 60_000,
    )
    place = {"topic": "inferences", "partition": 0, "offset": offset}
    return place | whole(codec, "inferences", event)


def agree(store: Store, acknowledged: set[int]) -> None:
    """Every insert is there whole or, if nobody was told that it is, not at all."""
    stored = {row["batch"]: row["rows"] for row in store.query(BATCHES)}
    assert set(stored.values()) <= {BATCH}
    assert acknowledged <= set(stored)
    assert store.query(ROLL_UPS) == store.query(ROWS)


def test_a_killed_engine_keeps_roll_ups_and_rows_in_step(tmp_path: Path, codec: Codec) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance, (port,), table = random.Random(seed), free_ports(1), Table.of("inferences", codec)
    numbers, acknowledged = count(), set[int]()

    def insert(store: Store) -> None:
        number = next(numbers)
        rows = [row(offset, codec) for offset in range(number * BATCH, (number + 1) * BATCH)]
        store.append_columns("inferences", table.arrow(rows), f"batch-{number}")
        acknowledged.add(number)

    for kill in range(KILLS):
        with engine(tmp_path / "engine", port) as (process, store):
            if kill == 0:
                migrate(store, SCHEMAS / "store")
                add_columns(store, table, codec)
            agree(store, acknowledged)
            insert(store)
            Timer(chance.uniform(0, LONGEST_S), process.kill).start()
            with suppress(StoreUnavailable):
                while True:
                    insert(store)
    with engine(tmp_path / "engine", port) as (_, store):
        agree(store, acknowledged)
        reads = [f"EXPLAIN {sql}" for sql in (ROLL_UPS, ROWS)]
        plans = ["ReadFromMergeTree (per_minute)" in str(store.query(sql)) for sql in reads]
        assert plans == [True, False]
        store.command("OPTIMIZE TABLE inferences FINAL")
        agree(store, acknowledged)

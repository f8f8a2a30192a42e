"""Dead letters: of records that cannot be handled, and of feedback whose answer never came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from driftgate import dead_letters, metrics
from driftgate.artifacts import Artifacts
from driftgate.bus import Record
from driftgate.codec import Codec
from driftgate.dead_letters import UNKNOWN_REQUEST
from driftgate.errors import BadInput
from driftgate.events import DAY_MS, DeadLetter
from driftgate.limits import date
from driftgate.model_repo import ModelYaml
from driftgate.store import Store
from driftgate.topology import INGEST
from services.ingest_logger import queries
from services.ingest_logger.rows import Row, column

# A broker takes 10 MB; a dead letter with a larger key or value names an artifact instead.
PARKED_VALUE_BYTES = 8_000_000
PARKED_KEY_BYTES = 1_000_000


def dead_letter(record: Record, error: BadInput, now: int, artifacts: Artifacts) -> DeadLetter:
    """A record's dead letter. What does not fit is parked as an artifact and named."""
    metrics.DEAD.labels(record.topic, error.reason).inc()
    letter = dead_letters.dead_letter(record, error, INGEST, now)
    if len(letter.value or b"") > PARKED_VALUE_BYTES:
        said = parked("value", letter.value, artifacts)
        letter = replace(letter, value=None, message=letter.message + said)
    if len(letter.key or b"") > PARKED_KEY_BYTES:
        said = parked("key", letter.key, artifacts)
        letter = replace(letter, key=None, message=letter.message + said)
    return letter


def parked(name: str, data: bytes | None, artifacts: Artifacts) -> str:
    return f"; its {name} is artifact {artifacts.put(data or b'')}"


def orphans(
    store: Store, models: Mapping[str, ModelYaml], codec: Codec, now: int
) -> list[DeadLetter]:
    """Dead letters of feedback that is older than its model's `orphan_days` and met no answer.

    Raises:
        StoreUnavailable, StoreRefused
    """
    found = []
    for model, config in models.items():
        days = config.data.orphan_days
        for row in queries.orphans(store, model, now - days * DAY_MS):
            found.append(orphan(row, days, codec, now))
    return found


def orphan(row: Row, days: int, codec: Codec, now: int) -> DeadLetter:
    """The dead letter of one stored feedback, whose event is made again from its row."""
    topic = row["topic"]
    metrics.DEAD.labels(topic, UNKNOWN_REQUEST).inc()
    fields = codec.schemas.newest[codec.topics[topic].subject].raw["fields"]
    event = {at.field: row[at.name] for at in (column(field, {}) for field in fields)}
    key, value = codec.topics.key(topic, event), codec.encode(topic, event)
    record = Record(topic, row["partition"], row["offset"], key, value)
    wanted = f"the id of a live inference that arrives within {days} days of {date(row['time'])}"
    error = BadInput(UNKNOWN_REQUEST, "request_id", row["request_id"], wanted)
    return dead_letters.dead_letter(record, error, INGEST, now)

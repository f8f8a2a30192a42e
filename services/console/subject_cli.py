"""`driftgate subject`: what is stored about a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Annotated, Any

import typer
from rich.table import Table

from driftgate.bus_kafka import KafkaBus
from driftgate.bus_tools import newest
from driftgate.codec import Codec
from driftgate.config import Settings
from driftgate.errors import BadConfig, nearest
from driftgate.events import Model
from driftgate.store import Store
from driftgate.subjects import subject_hash
from services.console.terminal import HERE, KAFKA, STORE, State, console, reports_errors, settings

# Feedback names no version: it is about the live answer that counts, as in view `answers`.
ROWS = """
WITH mine AS
(
    SELECT request_id, version, role, partition, offset, time FROM inferences FINAL
    WHERE model = {model:String} AND subject = {hash:String}
)
SELECT 'inferences' AS kind, version, count() AS rows, min(time) AS first, max(time) AS last
FROM mine GROUP BY version
UNION ALL
SELECT 'feedback', answer.version, count(), min(f.time), max(f.time)
FROM feedback AS f FINAL
INNER JOIN
(
    SELECT request_id, argMin(version, (partition, offset)) AS version FROM mine
    WHERE role = 'live' GROUP BY request_id
) AS answer USING (request_id)
WHERE f.model = {model:String}
GROUP BY answer.version
UNION ALL
SELECT 'outcomes', version, count(), min(time), max(time)
FROM outcomes FINAL
WHERE model = {model:String} AND request_id IN (SELECT request_id FROM mine)
GROUP BY version
"""
KINDS = ("inferences", "feedback", "outcomes")


@reports_errors
def subject(
    model: str,
    person: Annotated[str, typer.Argument(metavar="ID", help="the person's id, as apps send it")],
    state: State = HERE,
) -> None:
    """How many rows of a model are about a person, and the hash that finds them."""
    found = settings(state, STORE, KAFKA)
    hashed = subject_hash(key_of(found), person)
    with closing(Store.connect(found.store, found.database)) as store:
        rows = rows_of(store, model, hashed)
    if not rows:
        refuse_unknown(model, found)
    console.print(f"subject {hashed}", highlight=False)
    if not rows:
        console.print(f"no row of {model} is theirs under this key", highlight=False)
        return
    table = Table("rows of", "version", "rows", "first", "last")
    for row in rows:
        times = (row[name].strftime("%Y-%m-%d %H:%M:%S") for name in ("first", "last"))
        table.add_row(row["kind"], str(row["version"]), f"{row['rows']:,}", *times)
    console.print(table)


def key_of(found: Settings) -> bytes:
    """
    Raises:
        BadConfig: no key is set.
    """
    key = found.subject_key.get_secret_value()
    if not key:
        raise BadConfig(
            "DRIFTGATE_SUBJECT_KEY is empty: set it to the secret that ingest-logger runs with; "
            "without it nobody can tell whose a row is"
        )
    return key.encode()


def rows_of(store: Store, model: str, hashed: str) -> Sequence[Mapping[str, Any]]:
    """Rows of a model that are about a subject: kind, version, rows, first and last time.

    Raises:
        StoreRefused, StoreUnavailable
    """
    rows = store.query(ROWS, model=model, hash=hashed)
    return sorted(rows, key=lambda row: (KINDS.index(row["kind"]), row["version"]))


def refuse_unknown(model: str, found: Settings) -> None:
    """That nothing is stored about a person may be said of a declared model only.

    Raises:
        BadConfig
    """
    with closing(KafkaBus(found.kafka)) as bus:
        declared = newest(bus, Codec.load(found.schemas, found.registry), Model)
    if model not in declared:
        hint = nearest(model, list(declared)) if declared else "none is declared"
        raise BadConfig(f"model {model!r} is not declared: {hint}")

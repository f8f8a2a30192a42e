"""How long rows are kept: `data.keep_days` of each model.yaml, as TTLs of the tables. Counts, of
which the newest says all, are kept for a week."""

from __future__ import annotations

from collections.abc import Mapping

from driftgate.events import Feedback, Inference, Outcome, ServingCounts
from driftgate.model_repo import ModelYaml
from driftgate.sql import quoted
from driftgate.store import Store
from services.ingest_logger.rows import DEAD_LETTERS, table_name

KEPT_BY_MODEL = [table_name(kind.TOPIC) for kind in (Inference, Feedback, Outcome)]
DEAD_LETTER_DAYS = 90
COUNTS, COUNTS_DAYS = table_name(ServingCounts.TOPIC), 7

# As ClickHouse itself writes a table's TTLs, so that what is in force can be compared.
IN_FORCE = "SELECT name, engine_full FROM system.tables WHERE database = currentDatabase()"


def ttls(models: Mapping[str, ModelYaml]) -> dict[str, str]:
    """By table, what is removed when. Rows of a model that is not named are kept."""
    by_model = ", ".join(
        f"toDateTime(time) + toIntervalDay({config.data.keep_days}) WHERE model = {quoted(model)}"
        for model, config in sorted(models.items())
    )
    dead = f"toDateTime(first_seen) + toIntervalDay({DEAD_LETTER_DAYS})"
    counts = f"toDateTime(time) + toIntervalDay({COUNTS_DAYS})"
    named = dict.fromkeys(KEPT_BY_MODEL, by_model) if models else {}
    return named | {DEAD_LETTERS: dead, COUNTS: counts}


def ttl_statements(models: Mapping[str, ModelYaml]) -> list[str]:
    """What makes the store keep rows as long as the models say. Pure."""
    return [statement(table, ttl) for table, ttl in ttls(models).items()]


def statement(table: str, ttl: str) -> str:
    return f"ALTER TABLE {table} MODIFY TTL {ttl}"


def set_ttls(store: Store, models: Mapping[str, ModelYaml]) -> list[str]:
    """Sets the TTLs that are not in force yet; returns the statements that were needed.

    ClickHouse compares a TTL with its own clock: to be set only where the events' time is that of
    the machine's clock. Rows go when their parts are next merged.

    Raises:
        StoreRefused, StoreUnavailable
    """
    in_force = {row["name"]: row["engine_full"] for row in store.query(IN_FORCE)}
    needed = [
        statement(table, ttl)
        for table, ttl in ttls(models).items()
        if f" TTL {ttl} SETTINGS " not in in_force[table]
    ]
    for one in needed:
        store.command(one)
    return needed

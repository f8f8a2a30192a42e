"""Columns for the fields that a newer version of a subject adds."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from driftgate.codec import Codec, canonical
from driftgate.sql import quoted
from driftgate.store import Store
from services.ingest_logger.rows import Table, is_flat, without_null

PLAIN = {
    "boolean": "Bool",
    "int": "Int32",
    "long": "Int64",
    "float": "Float64",
    "double": "Float64",
    "string": "String",
    "bytes": "String",
    "enum": "LowCardinality(String)",
}
TIME = "DateTime64(3, 'UTC')"


def add_columns(store: Store, table: Table, codec: Codec) -> list[str]:
    """Gives every field of the table's subject its column, and returns the names of new ones.
    Rows stored before have the field's default. Each is recorded in table `migrations` as
    `column-TABLE-FIELD`.

    Raises:
        StoreRefused, StoreUnavailable
    """
    fields = codec.schemas.newest[codec.topics[table.topic].subject].raw["fields"]
    columns = store.query(
        "SELECT name FROM system.columns WHERE database = currentDatabase() AND table = {t:String}",
        t=table.name,
    )
    new = new_columns(fields, {row["name"] for row in columns})
    for name, declared in new.items():
        statement = f"ALTER TABLE `{table.name}` ADD COLUMN IF NOT EXISTS `{name}` {declared}"
        record(store, f"column-{table.name}-{name}", statement)
        store.command(statement)
    return list(new)


def record(store: Store, name: str, statement: str) -> None:
    """To be called before the statement runs: a crash in between repeats both, and records once."""
    if not store.query("SELECT name FROM migrations WHERE name = {n:String}", n=name):
        digest = hashlib.sha256(statement.encode()).hexdigest()
        store.append("migrations", [{"name": name, "sha256": digest}])


def new_columns(fields: Iterable[Mapping[str, Any]], known: Collection[str]) -> dict[str, str]:
    """ClickHouse type and default of each Avro field that is no column yet, by name. Pure."""
    return {
        field["name"]: f"{column_type(field['type'])}{default(field)}"
        for field in fields
        if field["name"] not in known
    }


def column_type(schema: Any) -> str:
    """The ClickHouse type of an Avro type: JSON text for what has none of its own."""
    value = without_null(schema)
    if not is_flat(value):
        return "String"
    match value:
        case {"type": "map", "values": inner}:
            return f"Map(String, {PLAIN[inner]})"
        case {"type": "array", "items": inner}:
            return f"Array({PLAIN[inner]})"
        case {"logicalType": "timestamp-millis"}:
            plain = TIME
        case {"type": kind} | kind:
            plain = PLAIN[kind]
    if not isinstance(schema, list):
        return plain
    return "LowCardinality(Nullable(String))" if "Low" in plain else f"Nullable({plain})"


def default(field: Mapping[str, Any]) -> str:
    """The DEFAULT clause of a field's default; none for null, which is ClickHouse's own."""
    at, value = without_null(field["type"]), field.get("default")
    if not is_flat(at):
        return f" DEFAULT {literal(canonical(value))}"
    if value is None:
        return ""
    if isinstance(at, dict) and at.get("logicalType") == "timestamp-millis":
        return f" DEFAULT fromUnixTimestamp64Milli({value}, 'UTC')"
    return f" DEFAULT {literal(value)}"


def literal(value: Any) -> str:
    """A default in ClickHouse's SQL."""
    match value:
        case None:
            return "NULL"
        case str():
            return quoted(value)
        case dict():
            pairs = [literal(part) for item in value.items() for part in item]
            return f"map({', '.join(pairs)})"
        case list():
            return f"[{', '.join(literal(item) for item in value)}]"
    return repr(value).lower()

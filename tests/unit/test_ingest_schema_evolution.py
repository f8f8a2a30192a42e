"""Fields of newer versions become columns."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from driftgate.codec import Codec
from driftgate.store import Store, migrate
from services.ingest_logger.rows import Table
from services.ingest_logger.schema_evolution import add_columns, new_columns

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"
TIME = {"type": "long", "logicalType": "timestamp-millis"}
AT = 1_767_571_200_123


@pytest.fixture
def store() -> Iterator[Store]:
    made = Store.in_process()
    database = f"schema_evolution_{uuid4().hex[:8]}"
    made.command(f"CREATE DATABASE {database}")
    made.command(f"USE {database}")
    migrate(made, SCHEMAS / "store")
    yield made
    made.command(f"DROP DATABASE {database}")
    made.close()


def record(name: str) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": []}


# Avro type, default, ClickHouse type, what rows stored before have.
KINDS: dict[str, tuple[Any, Any, str, Any]] = {
    "text": ("string", "it's a \\", "String", "it's a \\"),
    "number": ("int", -3, "Int32", -3),
    "large": ("long", 2**40, "Int64", 2**40),
    "when": (TIME, AT, "DateTime64(3, 'UTC')", datetime(2026, 1, 5, microsecond=123000)),
    "ratio": ("double", 1.5, "Float64", 1.5),
    "small": ("float", 0.0, "Float64", 0.0),
    "on": ("boolean", True, "Bool", True),
    "kind": ({"type": "enum", "name": "K", "symbols": ["x"]}, "x", "LowCardinality(String)", "x"),
    "data": (["null", "bytes"], None, "Nullable(String)", None),
    "shares": ({"type": "map", "values": "double"}, {"a": 0.5}, "Map(String, Float64)", {"a": 0.5}),
    "none": ({"type": "map", "values": "string"}, {}, "Map(String, String)", {}),
    "list": ({"type": "array", "items": "int"}, [1, 2], "Array(Int32)", [1, 2]),
    "deep": ({"type": "array", "items": record("R")}, [], "String", "[]"),
    "maybe": (["null", "string"], None, "Nullable(String)", None),
    "mostly": (["string", "null"], "", "Nullable(String)", ""),
    "once": (["null", TIME], None, "Nullable(DateTime64(3, 'UTC'))", None),
    "choice": (
        ["null", {"type": "enum", "name": "C", "symbols": ["y"]}],
        None,
        "LowCardinality(Nullable(String))",
        None,
    ),
    "pairs": (["null", {"type": "map", "values": "long"}], None, "Map(String, Int64)", {}),
}


def fields() -> list[dict[str, Any]]:
    return [
        {"name": name, "type": kind, "default": default, "doc": "New."}
        for name, (kind, default, _, _) in KINDS.items()
    ]


def test_each_type_has_its_column_and_default() -> None:
    found = new_columns(fields(), {"text"})
    assert list(found) == [name for name in KINDS if name != "text"]
    assert {name: told.split(" DEFAULT ")[0] for name, told in found.items()} == {
        name: kind for name, (_, _, kind, _) in KINDS.items() if name != "text"
    }


def test_a_new_versions_fields_land_as_columns_once(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "schemas"
    shutil.copytree(SCHEMAS, folder)
    codec = Codec.load(folder)
    place = {"topic": "clock", "partition": 0}
    tick = {"world": "w", "time": AT, "positions": {}}
    store.append("clock", [place | {"offset": 0} | tick])
    assert add_columns(store, Table.of("clock", codec), codec) == ["pace"]
    assert add_columns(store, Table.of("clock", codec), codec) == []

    raw = dict(codec.schemas.newest["tick"].raw)
    raw["fields"] = [*fields(), *raw["fields"]]  # their order does not matter
    codec.registry.add("tick", json.dumps(raw))
    table = Table.of("clock", codec)
    assert add_columns(store, table, codec) == list(KINDS)
    assert add_columns(store, table, codec) == []

    told = store.query("SELECT name FROM migrations WHERE startsWith(name, 'column-')")
    assert {row["name"] for row in told} == {f"column-clock-{name}" for name in ["pace", *KINDS]}
    assert len(told) == 1 + len(KINDS)
    # A row of before reads like a record that has none of them, which can still be written.
    event = codec.decode("clock", codec.encode("clock", tick))
    names = ", ".join(f"`{name}`" for name in KINDS)
    (row,) = store.query(f"SELECT {names} FROM clock")
    assert row == {name: stored for name, (_, _, _, stored) in KINDS.items()}
    assert {name: event[name] for name in KINDS} == {
        name: default for name, (_, default, _, _) in KINDS.items()
    }


def test_a_crash_between_telling_and_altering_leaves_no_trace(store: Store) -> None:
    codec = Codec.load(SCHEMAS)
    table = Table.of("clock", codec)
    add_columns(store, table, codec)
    store.command("ALTER TABLE clock DROP COLUMN world")
    store.append("migrations", [{"name": "column-clock-world", "sha256": ""}])
    assert add_columns(store, table, codec) == ["world"]
    told = store.query("SELECT name FROM migrations WHERE name = 'column-clock-world'")
    assert len(told) == 1

"""What the store promises: in this process and over HTTP alike."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from driftgate.errors import BadConfig, StoreRefused, StoreUnavailable
from driftgate.store import Store, migrate

SCHEMAS = Path(__file__).parents[2] / "schemas"
TABLE = """
CREATE TABLE t (n Int32, s Nullable(String), m Map(String, Float64), l Array(String),
    time DateTime64(3, 'UTC')) ENGINE = MergeTree ORDER BY n
SETTINGS non_replicated_deduplication_window = 100
"""


def row(n: int, **changes: object) -> dict[str, object]:
    return {"n": n, "s": None, "m": {}, "l": [], "time": 0} | changes


def count(store: Store) -> int:
    return int(store.query("SELECT count() AS n FROM t")[0]["n"])


def test_rows_come_back_as_they_went(store: Store) -> None:
    store.command(TABLE)
    text = "naïve 'quoted' \\ \n\t 日本語 😀"
    store.append("t", [row(1, s=text, m={"a": 0.5}, l=["x", "'"], time=1_767_571_200_123), row(2)])
    first, second = store.query("SELECT *, toUnixTimestamp64Milli(time) AS ms FROM t ORDER BY n")
    assert (first["s"], first["m"], first["l"]) == (text, {"a": 0.5}, ["x", "'"])
    assert first["ms"] == 1_767_571_200_123
    assert (second["s"], second["m"], second["l"]) == (None, {}, [])


def test_bytes_are_kept(store: Store) -> None:
    store.command(TABLE)
    store.append("t", [row(1, s=b"\xff\x00\x80")])
    assert store.query("SELECT hex(s) AS h FROM t") == [{"h": "FF0080"}]


def test_an_insert_is_one_part_however_large(store: Store) -> None:
    store.command(TABLE)
    store.command("SYSTEM STOP MERGES t")
    store.append("t", [row(n) for n in range(20_000)])
    parts = "SELECT count() AS n FROM system.parts WHERE table = 't' AND active"
    where = f"{parts} AND database = currentDatabase()"
    assert store.query(where) == [{"n": 1}]
    assert count(store) == 20_000


def columns(start: int, count: int) -> pa.Table:
    return pa.table(
        {
            "n": pa.array(range(start, start + count), pa.int32()),
            "s": pa.array(["'", None] * (count // 2)),
            "m": pa.array([[("a", 0.5)]] * count, pa.map_(pa.string(), pa.float64())),
            "l": pa.array([["x"]] * count, pa.list_(pa.string())),
            "time": pa.array([1_767_571_200_123] * count, pa.timestamp("ms", "UTC")),
        }
    )


def test_columns_are_inserted_at_once_and_once_under_a_token(store: Store) -> None:
    store.command(TABLE)
    store.command("SYSTEM STOP MERGES t")
    pieces = [columns(start, 10_000) for start in range(0, 100_000, 10_000)]
    for _ in range(2):
        store.append_columns("t", pa.concat_tables(pieces), "one")
    store.append_columns("t", columns(100_000, 10), "two")
    parts = "SELECT count() AS n FROM system.parts WHERE table = 't' AND active"
    assert store.query(f"{parts} AND database = currentDatabase()") == [{"n": 2}]
    assert count(store) == 100_010
    (first,) = store.query("SELECT *, toUnixTimestamp64Milli(time) AS ms FROM t WHERE n = 0")
    assert (first["s"], first["m"], first["l"]) == ("'", {"a": 0.5}, ["x"])
    assert first["ms"] == 1_767_571_200_123


def test_columns_are_inserted_only_where_the_condition_holds(store: Store) -> None:
    store.command(TABLE)
    store.append_columns("t", columns(0, 10), "some", "n >= 4", "whose insert this is")
    assert count(store) == 6
    with pytest.raises(StoreRefused, match="not mine") as refused:
        store.append_columns("t", columns(0, 10), "none", "throwIf(n = 9, 'not mine') = 0")
    assert refused.value.code == 395
    assert count(store) == 6


def test_a_refused_row_refuses_the_whole_insert(store: Store) -> None:
    store.command(TABLE)
    with pytest.raises(StoreRefused):
        store.append("t", [row(1), row(2**40)])
    store.command("ALTER TABLE t ADD CONSTRAINT small CHECK n < 10")
    with pytest.raises(StoreRefused) as refused:
        store.append("t", [row(1), row(11)])
    assert refused.value.code == 469
    assert count(store) == 0


def test_nothing_is_inserted_for_no_rows(store: Store) -> None:
    store.append("no_such_table", [])


def test_an_insert_tried_again_under_its_token_is_made_once(store: Store) -> None:
    store.command(TABLE)
    for token in ("a", "a", "b"):
        store.append("t", [row(1)], token)
    assert count(store) == 2


def test_the_same_rows_twice_without_a_token_are_two_inserts(store: Store) -> None:
    store.command(TABLE)
    for _ in range(2):
        store.append("t", [row(1)])
    assert count(store) == 2


def test_parameters_are_bound_by_the_server(store: Store) -> None:
    text = "'; DROP TABLE t; --"
    sql = "SELECT {text:String} AS text, {n:Int64} + 1 AS n, {many:Array(String)} AS many"
    (found,) = store.query(sql, text=text, n=41, many=["a", "'"])
    assert found == {"text": text, "n": 42, "many": ["a", "'"]}


def test_lists_of_parameters_may_be_long(store: Store) -> None:
    many = [f"request-{n:032d}" for n in range(5000)]
    assert store.query("SELECT length({many:Array(String)}) AS n", many=many) == [{"n": 5000}]


def test_what_is_refused_says_clickhouses_code(store: Store) -> None:
    for sql, code in [
        ("SELECT * FROM no_such_table", 60),
        ("SELEKT 1", 62),
        ("SELECT no_such_column FROM system.one", 47),
        ("SELECT throwIf(1)", 395),
    ]:
        with pytest.raises(StoreRefused) as refused:
            store.query(sql)
        assert refused.value.code == code, str(refused.value)


def test_what_may_succeed_later_is_retriable(store: Store) -> None:
    with pytest.raises(StoreUnavailable):
        store.query("SELECT sleep(1) FROM numbers(3) SETTINGS max_execution_time = 0.2")


def test_a_store_that_is_away_is_retriable() -> None:
    with pytest.raises(StoreUnavailable):
        Store.connect("http://127.0.0.1:9")


def test_migrations_are_applied_once_and_may_not_change(store: Store, tmp_path: Path) -> None:
    (tmp_path / "0001_a.sql").write_text("CREATE TABLE a (n Int32) ENGINE = Memory;\n")
    assert migrate(store, tmp_path) == ["0001_a.sql"]
    (tmp_path / "0002_b.sql").write_text(
        "-- two statements\nCREATE TABLE b (n Int32)\nENGINE = Memory;\n\n"
        "INSERT INTO b VALUES (1);\n"
    )
    assert migrate(store, tmp_path) == ["0002_b.sql"]
    assert migrate(store, tmp_path) == []
    assert store.query("SELECT n FROM b") == [{"n": 1}]
    (tmp_path / "0001_a.sql").write_text("CREATE TABLE a (n Int64) ENGINE = Memory;\n")
    with pytest.raises(BadConfig, match=r"0001_a\.sql was changed"):
        migrate(store, tmp_path)


def test_the_projects_own_migrations_hold_twice(store: Store) -> None:
    assert migrate(store, SCHEMAS / "store")[0] == "0001_tables.sql"
    assert migrate(store, SCHEMAS / "store") == []
    assert store.query("SELECT count() AS n FROM inference_log") == [{"n": 0}]

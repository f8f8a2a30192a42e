"""Which schemas may follow which, and what is said of those that may not."""

from __future__ import annotations

from typing import Any

import pytest

from driftgate.compatibility import incompatibilities, undocumented

TIME = {"type": "long", "logicalType": "timestamp-millis"}


def record(*fields: dict[str, Any], name: str = "T") -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": list(fields)}


def of(kind: Any, name: str = "a", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, **more}


def enum(*symbols: str, **more: Any) -> dict[str, Any]:
    return {"type": "enum", "name": "E", "symbols": list(symbols), **more}


def items(*fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": record(*fields, name="Item")}


FIRST = of("string", "first")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ([FIRST], [FIRST, of("int", default=1)]),
        ([FIRST], [of(["null", "int"], default=None), FIRST]),
        ([of("string")], [of("string", default="", doc="Now with a default and a doc.")]),
        ([of(enum("x"))], [of(enum("x", "y"))]),
        ([of(items(FIRST))], [of(items(FIRST, of("double", default=0.0)))]),
        ([of(["null", "string"])], [of(["string", "null"])]),
        ([of(TIME)], [of(TIME), of(["null", "bytes"], "b", default=None)]),
    ],
)
def test_what_may_follow(old: list[Any], new: list[Any]) -> None:
    assert incompatibilities(record(*new), [record(*old)]) == []


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ([], [of("int")], "field a: is new and has no default"),
        ([of("string", default="")], [], "field a: is gone"),
        ([of("string")], [of("string", "b", aliases=["a"], default="")], "field a: is gone"),
        ([of("string")], [of("int")], "field a: was string, is int"),
        ([of("int")], [of("long")], "field a: was int, is long"),
        ([of("string")], [of(["null", "string"])], "field a: was string, is null or string"),
        ([of("long")], [of(TIME)], "field a: was long, is timestamp-millis"),
        ([of("string", default="")], [of("string")], "field a: had a default and has none"),
        (
            [of({"type": "map", "values": "int"})],
            [of({"type": "map", "values": "double"})],
            "field a: was map of int, is map of double",
        ),
        ([of(enum("x", "y"))], [of(enum("x"))], "field a: missing enum symbols ({'y'})"),
        (
            [of(items(FIRST))],
            [of(items(FIRST, of("int")))],
            "field a: reader field missing default value (a)",
        ),
        ([], [of("int", "offset", default=0)], "field offset: is the name of a column"),
        ([], [of("int", "a`b", default=0)], "field a`b: is no name in Avro"),
        ([], [of(["int", "string"], default=0)], "field a: has no single type"),
        ([], [of("null", default=None)], "field a: has no single type"),
        ([], [of({"type": "int", "logicalType": "date"}, default=0)], "logical type date"),
        ([], [of({"type": "fixed", "name": "F", "size": 2}, default="ab")], "is of type fixed"),
        ([], [of({"type": "array", "items": "bytes"}, default=[])], "has bytes inside"),
        ([], [of("bytes", default="")], "has a default of bytes"),
        ([], [of({"type": "map", "values": "null"}, default={})], "list of nothing"),
    ],
)
def test_what_may_not_follow_says_why(old: list[Any], new: list[Any], reason: str) -> None:
    (told,) = incompatibilities(record(FIRST, *new), [record(FIRST, *old)])
    assert reason in told


def test_all_older_versions_count_and_each_reason_is_told_once() -> None:
    versions = [record(of("string")), record(FIRST), record(FIRST)]
    found = incompatibilities(record(FIRST, of("int", default=0)), versions)
    assert [reason.split(";")[0] for reason in found] == [
        "field first: is new and has no default, so what older versions wrote cannot be read",
        "field a: was string, is int",
    ]


def test_another_record_is_not_a_version() -> None:
    (told,) = incompatibilities(record(FIRST, name="U"), [record(FIRST)])
    assert told.startswith("name: was T, is U")


def test_a_record_that_contains_itself_is_looked_at_once() -> None:
    node = record(of(["null", "T"], default=None, doc="Next."), of("int", "b", default=0))
    assert incompatibilities(node, [node]) == []
    assert undocumented(node) == ["b"]

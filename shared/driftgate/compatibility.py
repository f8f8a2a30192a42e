"""Whether a schema may become the next version of its subject. Pure.

The rule is Avro's BACKWARD_TRANSITIVE, what the newest version reads everything that older ones
wrote, and two more that keep running services and tables right: a field keeps the type of its
column, and a field is never removed, since code reads it and its column stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.schema import Field, Schema, make_avsc_object

TIME = "timestamp-millis"
# Columns that every table has besides its subject's fields.
TAKEN = frozenset({"topic", "partition", "offset", "stored_at"})


def incompatibilities(reader: Any, writers: Iterable[Any]) -> list[str]:
    """Why `reader` may not follow `writers`, the older versions; empty when it may. Each reason
    names the field. Schemas are records as their JSON says, and were parsed before."""
    new = make_avsc_object(reader)
    reasons = [
        f"field {field.name}: {why}" for field in new.fields for why in unstorable(field.type)
    ]
    for writer in writers:
        reasons += changes(new, make_avsc_object(writer))
    return list(dict.fromkeys(reasons))


def changes(new: Schema, old: Schema) -> Iterator[str]:
    """What changed between two versions that may not."""
    if new.fullname != old.fullname:
        yield f"name: was {old.fullname}, is {new.fullname}; a subject's record keeps its name"
    for field in new.fields:
        before = old.fields_dict.get(field.name)
        for why in added(field) if before is None else changed(field, before):
            yield f"field {field.name}: {why}"
    for field in old.fields:
        if field.name not in new.fields_dict:
            yield (
                f"field {field.name}: is gone, but services read it and its column stays; keep it, "
                "with a default, and say in its doc that it is no longer filled"
            )


def added(field: Field) -> Iterator[str]:
    if not field.has_default:
        yield "is new and has no default, so what older versions wrote cannot be read; give it one"
    elif isinstance(field.default, str) and any(part.type == "bytes" for part in parts(field.type)):
        yield "has a default of bytes, which fastavro reads as text; use null, or bytes or null"
    if field.name in TAKEN:
        yield "is the name of a column that says where a record lay; choose another"
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", field.name):
        yield "is no name in Avro; use letters, digits and underscores"


def changed(field: Field, before: Field) -> Iterator[str]:
    was, now = shape(before.type), shape(field.type)
    if was != now:
        yield f"was {was}, is {now}; a column keeps its type: add a field under another name"
        return
    found = ReaderWriterCompatibilityChecker().get_compatibility(field.type, before.type)
    if found.compatibility is not SchemaCompatibilityType.compatible:
        kinds = sorted({kind.value.replace("_", " ") for kind in found.incompatibilities})
        yield f"{', '.join(kinds)} ({'; '.join(sorted(found.messages))})"
    if before.has_default and not field.has_default:
        yield "had a default and has none"


def shape(schema: Schema) -> str:
    """What a column's type hangs on, in words: records, which are kept as JSON, may grow inside."""
    match schema.type:
        case "union":
            return " or ".join(sorted(shape(branch) for branch in schema.schemas))
        case "map":
            return f"map of {shape(schema.values)}"
        case "array":
            return f"array of {shape(schema.items)}"
    return str(schema.props.get("logicalType", schema.type))


def unstorable(schema: Schema) -> Iterator[str]:
    """Why no column can hold a field of this type."""
    branches = schema.schemas if schema.type == "union" else [schema]
    values = [branch for branch in branches if branch.type != "null"]
    if len(values) != 1:
        yield "has no single type; expected one type, or null and one type"
    inside = parts(schema)
    for logical in sorted({str(part.props.get("logicalType", TIME)) for part in inside} - {TIME}):
        yield f"has the logical type {logical}; expected {TIME} or none"
    if any(part.type == "fixed" for part in inside):
        yield "is of type fixed; use bytes"
    if any(part.type in {"map", "array"} and inner(part)[0].type == "null" for part in inside):
        yield "is a map or list of nothing"
    if any(part.type == "bytes" and part not in branches for part in inside):
        yield "has bytes inside; only a field itself may be bytes"


def undocumented(schema: Any) -> list[str]:
    """The fields, nested ones included, that do not say what they are."""
    return [
        field.name
        for part in parts(make_avsc_object(schema))
        if part.type == "record"
        for field in part.fields
        if not field.doc
    ]


def parts(schema: Schema, seen: list[Schema] | None = None) -> list[Schema]:
    """A schema and all inside it, each once: a record may contain itself."""
    seen = [] if seen is None else seen
    if any(schema is other for other in seen):
        return seen
    seen.append(schema)
    for part in inner(schema):
        parts(part, seen)
    return seen


def inner(schema: Schema) -> list[Schema]:
    """The schemas that a schema is made of."""
    match schema.type:
        case "union":
            return list(schema.schemas)
        case "map":
            return [schema.values]
        case "array":
            return [schema.items]
        case "record":
            return [field.type for field in schema.fields]
    return []

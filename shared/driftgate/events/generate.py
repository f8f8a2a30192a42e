"""Writes `generated.py`: a class for each Avro record of `schemas/`, in its newest version.

`make events` runs it after a schema was added; a test says when that was forgotten.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from driftgate.config import Settings
from driftgate.errors import BadConfig
from driftgate.events.topics import DLQ, Topics
from driftgate.schemas import LockFile, without

Schema = Mapping[str, Any]

SCHEMAS: Path = Settings.model_fields["schemas"].default
GENERATED = Path(__file__).with_name("generated.py")
WIDTH = 100
HEAD = '''\
"""A class for each Avro record in schemas/. Made by `make events`: do not edit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal

from driftgate.events.record import AvroRecord
'''
PLAIN = {
    "boolean": "bool",
    "int": "int",
    "long": "int",
    "float": "float",
    "double": "float",
    "string": "str",
    "bytes": "bytes",
}


def source(schemas: Path) -> str:
    """The text of `generated.py` for a folder of topics and schemas.

    Raises:
        BadConfig: two subjects mean different types by one name, or the default of a field is a
            record, or a list or map that is not empty.
    """
    topics = Topics.load(schemas)
    newest = LockFile(schemas).schemas.newest
    names = sorted(topics.names(), key=lambda name: name.endswith(DLQ))
    class_of = {name: newest[topics[name].subject].raw["name"] for name in names}
    topic_of = {made: name for name, made in class_of.items() if not name.endswith(DLQ)}
    found: dict[str, Schema] = {}
    for subject in dict.fromkeys(topics[name].subject for name in names):
        for schema in named(newest[subject].raw):
            same = found.setdefault(schema["name"], schema)
            if without(same, {"doc"}) != without(schema, {"doc"}):
                raise BadConfig(f"{subject}: {schema['name']} is another type in another subject")
    parts = [
        HEAD,
        *(
            enum_source(schema)
            if schema["type"] == "enum"
            else class_source(schema, topic_of.get(schema["name"]))
            for schema in found.values()
        ),
        f"AnyEvent = {' | '.join(dict.fromkeys(class_of.values()))}",
        "EVENTS: Final[Mapping[str, type[AnyEvent]]] = {",
        *(
            f"{made}.TOPIC: {made}," if made in topic_of else f'"{name}": {made},'
            for name, made in class_of.items()
        ),
        "}",
        f"__all__ = {['EVENTS', *sorted([*found, 'AnyEvent'])]}",
    ]
    return formatted("\n".join(parts))


def named(schema: Any) -> Iterator[Schema]:
    """The records and enums that a schema defines, each after those inside it."""
    match schema:
        case list():
            for branch in schema:
                yield from named(branch)
        case {"type": "record", "fields": fields}:
            for field in fields:
                yield from named(field["type"])
            yield schema
        case {"type": "enum"}:
            yield schema
        case {"items": inner} | {"values": inner}:
            yield from named(inner)


def enum_source(schema: Schema) -> str:
    comment = textwrap.fill(schema["doc"], WIDTH - 2)
    return f"{textwrap.indent(comment, '# ')}\n{schema['name']} = Literal{list(schema['symbols'])}"


def class_source(schema: Schema, topic: str | None) -> str:
    about = textwrap.fill(schema["doc"], WIDTH, initial_indent='    """', subsequent_indent="    ")
    lines = [
        "@dataclass(frozen=True, slots=True, kw_only=True)",
        f"class {schema['name']}(AvroRecord):",
        about,
        "",
        "    Attributes:",
        *(attribute(field) for field in schema["fields"]),
        '    """',
        "",
    ]
    if topic:
        lines += [f'    TOPIC: ClassVar[str] = "{topic}"', ""]
    lines += [
        f"    {field['name']}: {python_type(field['type'])}{default(field)}"
        for field in schema["fields"]
    ]
    return "\n".join(lines)


def attribute(field: Schema) -> str:
    text = f"{field['name']}: {field['doc']}"
    return textwrap.fill(
        text, WIDTH, initial_indent=" " * 8, subsequent_indent=" " * 12, break_on_hyphens=False
    )


def python_type(schema: Any) -> str:
    match schema:
        case list():
            kept = [python_type(branch) for branch in schema if branch != "null"]
            return " | ".join([*kept, "None"] if "null" in schema else kept)
        case {"type": "array", "items": inner}:
            return f"tuple[{python_type(inner)}, ...]"
        case {"type": "map", "values": inner}:
            return f"Mapping[str, {python_type(inner)}]"
        case {"name": name}:
            return str(name)
        case {"type": inner}:
            return python_type(inner)
    return PLAIN.get(schema, str(schema).rpartition(".")[2])


def default(field: Schema) -> str:
    if "default" not in field:
        return ""
    value = field["default"]
    if value == []:
        return " = ()"
    if value == {} and python_type(field["type"]).startswith("Mapping"):
        return " = field(default_factory=dict)"
    if isinstance(value, list | dict):
        raise BadConfig(
            f"field {field['name']}: got default {value}, expected a plain or empty one"
        )
    return f" = {value!r}"


def formatted(text: str) -> str:
    ruff = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(GENERATED), "-"]
    return subprocess.run(ruff, input=text, stdout=subprocess.PIPE, text=True, check=True).stdout


if __name__ == "__main__":
    GENERATED.write_text(source(SCHEMAS))

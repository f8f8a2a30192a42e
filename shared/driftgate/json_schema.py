"""JSON Schemas that a user declares: whether they are any, and what conforms to them. Pure.

`jsonschema` is imported when a schema is first looked at: most models have none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from driftgate.errors import shown
from driftgate.json_text import children


def check(text: str) -> None:
    """
    Raises:
        ValueError: the text is no JSON Schema, or one that refers to what is not in it: nothing is
            ever fetched.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import validator_for

    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is no JSON: {error}") from None
    if not isinstance(schema, dict):
        raise ValueError(f"is {shown(schema)}, expected a JSON Schema: an object")
    draft = validator_for(schema, default=None if "$schema" in schema else Draft202012Validator)
    if draft is None:
        wanted = "a draft of json-schema.org, such as https://json-schema.org/draft/2020-12/schema"
        raise ValueError(f"has `$schema` {shown(schema['$schema'])}, expected {wanted}")
    try:
        draft.check_schema(schema)
    except SchemaError as error:
        raise ValueError(f"is no JSON Schema: {told(error)}") from None
    check_references(schema)


def check_references(schema: Any) -> None:
    """
    Raises:
        ValueError: one leads out of the schema, nowhere, or for ever to itself.
    """
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012, EMPTY_REGISTRY, specification_with

    kind = specification_with(schema.get("$schema", ""), default=DRAFT202012)
    known = EMPTY_REGISTRY.with_resource("", kind.create_resource(schema))
    for first in references(schema):
        seen: list[str] = []
        found: Any = {"$ref": first}
        while isinstance(found, dict) and isinstance(found.get("$ref"), str):
            ref = found["$ref"]
            if ref in seen:
                raise ValueError(f"has a `$ref` {ref!r} that leads back to itself")
            seen.append(ref)
            try:
                found = known.resolver().lookup(ref).contents
            except Unresolvable:
                raise ValueError(
                    f"has a `$ref` {ref!r}, expected a place in the same file, such as #/$defs/NAME"
                ) from None


def references(schema: Any) -> Iterator[str]:
    """What a schema refers to, however deep."""
    if isinstance(schema, dict) and isinstance(schema.get("$ref"), str):
        yield schema["$ref"]
    for part in children(schema):
        yield from references(part)


def problem(value: Any, schema: str) -> str | None:
    """Why a value does not conform to a schema that was checked, in words; None: it does."""
    from jsonschema.exceptions import best_match

    try:
        found = best_match(validator(schema).iter_errors(value))
    except RecursionError:
        return "nested without end"
    return None if found is None else told(found)


@lru_cache(maxsize=64)
def validator(schema: str) -> Any:
    """Made once for each schema: of every answer it is asked."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import validator_for
    from referencing.jsonschema import EMPTY_REGISTRY

    read = json.loads(schema)
    return validator_for(read, default=Draft202012Validator)(read, registry=EMPTY_REGISTRY)


def told(error: Any) -> str:
    """One complaint of `jsonschema`, with its place."""
    place = "/".join(map(str, error.absolute_path))
    message = error.message if len(error.message) <= 200 else f"{error.message[:200]}…"
    return f"at {place}: {message}" if place else message


def names_beside(schema: str, name: str) -> list[str] | None:
    """The fields that a schema knows where it does not know the field of this name, which is
    written as `json_text.fields_of` takes it; None: it knows it, or may."""
    part, known = json.loads(schema), ""
    for word in name.split("."):
        while isinstance(part, dict) and isinstance(part.get("items"), dict):
            part = part["items"]
        declared = part.get("properties") if isinstance(part, dict) else None
        if not isinstance(declared, dict):  # it says nothing of what stands here, or by `$ref`
            return None
        if word not in declared:
            return [known + each for each in declared]
        part, known = declared[word], f"{known}{word}."
    return None

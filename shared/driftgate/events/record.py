"""What every generated class of an Avro record can do."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Any, NamedTuple, Self, Union, get_args, get_origin, get_type_hints

Build = Callable[[Any], Any]


class AvroRecord:
    """Base of the frozen dataclasses in `generated.py`."""

    __slots__ = ()

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Self:
        """The record with these fields, as fastavro or JSON gives them. Unknown fields, those of
        a newer schema, are ignored; absent ones have their default; types are not checked.

        Raises:
            TypeError: a field that has no default is absent.
        """
        plan = plan_of(cls)
        if fields.keys() != plan.hints.keys():
            fields = {name: value for name, value in fields.items() if name in plan.hints}
        if plan.builders:
            built = {
                name: build(fields[name]) for name, build in plan.builders.items() if name in fields
            }
            fields = {**fields, **built}
        return cls(**fields)

    def as_dict(self) -> dict[str, Any]:
        """The fields as fastavro and JSON take them: dicts and lists, inside too."""
        plan = plan_of(type(self))
        fields = {name: getattr(self, name) for name in plan.hints}
        for name in plan.containers:
            fields[name] = plain(fields[name])
        return fields


class Plan(NamedTuple):
    """How instances of a class are made from plain fields and back.

    Attributes:
        hints: the type of each field.
        containers: fields that hold records, lists or maps.
        builders: by field, what makes its value of the plain one; absent where that is the same.
    """

    hints: Mapping[str, Any]
    containers: tuple[str, ...]
    builders: Mapping[str, Build]


def new_plan(cls: type[Any]) -> Plan:
    resolved = get_type_hints(cls)
    hints = {field.name: resolved[field.name] for field in dataclasses.fields(cls)}
    builders = {name: builder(hint) for name, hint in hints.items()}
    return Plan(
        hints,
        tuple(name for name, hint in hints.items() if is_container(without_none(hint))),
        {name: build for name, build in builders.items() if build},
    )


# mypy takes no class for hashable: https://github.com/python/mypy/issues/11470
plan_of: Callable[[type[Any]], Plan] = cache(new_plan)  # type: ignore[assignment]


def builder(hint: Any) -> Build | None:
    """What makes a value of the type `hint` of its plain form; None: that is the same."""
    kept = without_none(hint)
    build = required(kept)
    if build is None or kept is hint:
        return build
    return lambda value: None if value is None else build(value)


def required(hint: Any) -> Build | None:
    """As `builder`, of a type that has no None."""
    if is_record(hint):
        made: Build = hint.of
        return made
    if get_origin(hint) is tuple:
        item = builder(get_args(hint)[0])
        return (lambda values: tuple(map(item, values))) if item else tuple
    if get_origin(hint) is Mapping and (inner := builder(get_args(hint)[1])):
        return lambda values: {key: inner(value) for key, value in values.items()}
    return None


def without_none(hint: Any) -> Any:
    """`X` of `X | None`."""
    if get_origin(hint) not in {Union, UnionType}:
        return hint
    return next(part for part in get_args(hint) if part is not NoneType)


def is_container(hint: Any) -> bool:
    return is_record(hint) or get_origin(hint) in {tuple, Mapping}


def is_record(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, AvroRecord)


def plain(value: Any) -> Any:
    """A value as dicts and lists."""
    match value:
        case AvroRecord():
            return value.as_dict()
        case tuple():
            return [plain(item) for item in value]
        case Mapping():
            return {key: plain(item) for key, item in value.items()}
    return value

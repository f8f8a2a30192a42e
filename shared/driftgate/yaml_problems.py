"""What is wrong in a YAML file that a user wrote, in lines such as

    model.yaml:12: `method.kind` is 'lorra': did you mean 'lora'?

A file is read into a pydantic model; each of the model's complaints becomes one line that names the
place, what stands there and what is valid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from driftgate.errors import BadConfig, nearest, shown

Model = TypeVar("Model", bound=BaseModel)


def read(
    text: str, where: str, model: type[Model], context: Mapping[str, Any] | None = None
) -> Model:
    """The typed content of a YAML document; an empty one has no keys. context: for validators.

    Raises:
        BadConfig: it is not YAML, or not what the model allows; one line for each problem.
    """
    raw = mapping(text, where, model)
    try:
        return model.model_validate(plain(raw), context=dict(context or {}))
    except ValidationError as error:
        problems = [problem(where, raw, dict(found), model) for found in error.errors()]
        raise BadConfig("\n".join(problems)) from None


def mapping(text: str, where: str, model: type[BaseModel]) -> Any:
    """A document with the places of its parts.

    Raises:
        BadConfig: see `read`.
    """
    try:
        raw = YAML().load(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise BadConfig(f"{where}:{line}: {error.problem or 'is not YAML'}") from None
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        first = next(iter(model.model_fields))
        raise BadConfig(f"{where}:1: got {shown(plain(raw))}, expected keys such as `{first}:`")
    return raw


def plain(value: Any) -> Any:
    """ruamel's containers as dicts and lists."""
    match value:
        case dict():
            return {key: plain(item) for key, item in value.items()}
        case list():
            return [plain(item) for item in value]
    return value


def problem(where: str, raw: Any, error: Mapping[str, Any], model: type[BaseModel]) -> str:
    """One line: place, what stands there, what is valid. error: as pydantic lists it."""
    path = [part for part in error["loc"] if part != "[key]"]
    place = f"{where}:{line_of(raw, path)}"
    name = ".".join(str(part) for part in path) or Path(where).name
    match error["type"]:
        case "extra_forbidden":
            return f"{place}: key `{name}` is unknown: {nearest(str(path[-1]), keys(path, model))}"
        case "missing":
            return f"{place}: key `{name}` is missing"
        case "literal_error":
            expected = error["ctx"]["expected"].replace(" or ", ", ").split(", ")
            hint = nearest(str(error["input"]), [word.strip("'") for word in expected])
            return f"{place}: `{name}` is {shown(error['input'])}: {hint}"
    message = error["msg"].removeprefix("Value error, ")
    return f"{place}: `{name}` is {shown(plain(error['input']))}: {message}"


def line(where: str, raw: Any, path: Sequence[Any], value: Any, expected: str) -> str:
    """One line, of a value that the whole of the file does not go with."""
    name = ".".join(map(str, path))
    return f"{where}:{line_of(raw, path)}: `{name}` is {shown(value)}, expected {expected}"


def line_of(raw: Any, path: Sequence[Any]) -> int:
    """Line of a key path in a ruamel document, or of the nearest parent that stands there."""
    line, node = 1, raw  # `lc` holds where each key and item stands
    for part in path:
        try:
            line = (node.lc.key if hasattr(node, "keys") else node.lc.item)(part)[0] + 1
            node = node[part]
        except (KeyError, IndexError, TypeError, AttributeError):
            break
    return int(line)


def keys(path: Sequence[Any], model: type[BaseModel]) -> list[str]:
    """The valid keys beside the last of a path."""
    part = model
    for name in path[:-1]:
        if name in part.model_fields:
            part = inner_model(part.model_fields[name].annotation) or part
    return list(part.model_fields)


def inner_model(annotation: Any) -> type[BaseModel] | None:
    """The model class in an annotation such as `list[Monitor]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = inner_model(inner)
        if found is not None:
            return found
    return None

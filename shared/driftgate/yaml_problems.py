"""What is wrong in a YAML file that a user wrote, in lines such as

    model.yaml:12: `method.kind` is 'lorra': did you mean 'lora'?

A file is read into a pydantic model; each of the model's complaints becomes one line that names the
place, what stands there and what is valid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import AliasChoices, BaseModel, ValidationError
from pydantic.fields import FieldInfo
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from driftgate.errors import BadConfig, nearest, shown

Model = TypeVar("Model", bound=BaseModel)


def read(
    text: str,
    where: str,
    model: type[Model],
    context: Mapping[str, Any] | None = None,
    under: Mapping[str, Any] | None = None,
) -> Model:
    """The typed content of a YAML document; an empty one has no keys. context: for validators;
    under: keys and values that hold where the document has none.

    Raises:
        BadConfig: it is not YAML, or not what the model allows; one line for each problem.
    """
    raw = mapping(text, where, model)
    try:
        return model.model_validate({**(under or {}), **plain(raw)}, context=dict(context or {}))
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
    path, _ = place_of(error, model)
    return f"{where}:{line_of(raw, path)}: {said(error, model, Path(where).name)}"


def said(error: Mapping[str, Any], model: type[BaseModel], whole: str) -> str:
    """A problem without its place. whole: what is wrong where no key is."""
    path, beside = place_of(error, model)
    name, value = ".".join(map(str, path)) or whole, shown(plain(error["input"]))
    match error["type"]:
        case "extra_forbidden":
            return f"key `{name}` is unknown: {nearest(str(path[-1]), beside)}"
        case "missing" | "union_tag_not_found":
            return f"key `{name}` is missing"
        case "literal_error":
            return f"`{name}` is {value}: {nearest_of(error['ctx']['expected'], error['input'])}"
        case "union_tag_invalid":
            tag = error["ctx"]["tag"]
            return f"`{name}` is {shown(tag)}: {nearest_of(error['ctx']['expected_tags'], tag)}"
        case "model_attributes_type" | "model_type":
            return f"`{name}` is {value}: expected keys with values"
    return f"`{name}` is {value}: {error['msg'].removeprefix('Value error, ')}"


def nearest_of(expected: str, word: Any) -> str:
    """A hint at one of the words that pydantic lists as `'a', 'b' or 'c'`."""
    words = expected.replace(" or ", ", ").split(", ")
    return nearest(str(word), [each.strip("'") for each in words])


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


def place_of(error: Mapping[str, Any], model: type[BaseModel]) -> tuple[list[Any], list[str]]:
    """The key path of a problem as it stands in the file, and the valid keys beside its last.

    pydantic also lists the tag by which it chose among several models, which is no key (as in
    `task.text-generation.stop`), and leaves out the key that the tag should stand under.
    """
    path: list[Any] = []
    choice, beside = [model], model
    for part in error["loc"]:
        if part == "[key]":
            continue
        chosen = next((each for each in choice if len(choice) > 1 and part in tags(each)), None)
        if chosen is not None:
            choice = [chosen]
            continue
        path.append(part)
        if isinstance(part, str) and choice:
            beside = choice[0]
            fields = {key(name, field): field for name, field in beside.model_fields.items()}
            choice = models(fields[part].annotation) if part in fields else choice
    if error["type"].startswith("union_tag"):
        path.append(error["ctx"]["discriminator"].strip("'"))
    return path, [key(name, field) for name, field in beside.model_fields.items()]


def key(name: str, field: FieldInfo) -> str:
    """What a field is called in the file."""
    alias = field.validation_alias
    return str(alias.choices[0]) if isinstance(alias, AliasChoices) else name


def tags(model: type[BaseModel]) -> set[Any]:
    """What tells a model from the others of a union: its fields of one possible value."""
    values = (get_args(field.annotation) for field in model.model_fields.values())
    return {each[0] for each in values if len(each) == 1 and isinstance(each[0], str)}


def models(annotation: Any) -> list[type[BaseModel]]:
    """The model classes in an annotation such as `list[Monitor]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in models(inner)]

"""Files of a model repo that model.yaml names by their path: a prompt, a schema. What they hold
stands beside the path, so that who has the declaration alone, as an audit does, has all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any

from pydantic import BeforeValidator, ValidationInfo

from driftgate.suites import Part

Read = Callable[[str], str]
"""The text of a file, by its path in the repo. Raises ValueError where it cannot be used."""

READ = "read_file"
"""The key of a `Read` in the context of pydantic's validation."""


class RepoFile(Part):
    """In model.yaml just the path."""

    file: str
    text: str


def named(value: Any, info: ValidationInfo) -> Any:
    """A path with what stands in the file. A dump of a declaration has that already."""
    read: Read | None = (info.context or {}).get(READ)
    if read is None and isinstance(value, str):
        raise ValueError("names a file, expected none: only model.yaml names files of the repo")
    if read is None:
        return value
    if not isinstance(value, str):
        raise ValueError("expected the path of a file in the model repo")
    return {"file": value, "text": read(value)}


InRepo = Annotated[RepoFile, BeforeValidator(named)]


def files_of(part: Part) -> Iterator[str]:
    """The paths of all files that a part of model.yaml names, however deep."""
    for _, value in part:
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, RepoFile):
                yield each.file
            elif isinstance(each, Part):
                yield from files_of(each)

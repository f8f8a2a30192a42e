"""A Schema Registry with a copy of its schemas on disk: for who must serve while it is away."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

from driftgate.errors import BadConfig, RegistryUnavailable
from driftgate.files import write_atomically
from driftgate.schemas import Found, Registry, Schemas, Version

AGAIN_SECONDS = 5.0


class CopiedRegistry:
    """What `join` joins. Where it cannot be joined at the start, its copy counts until it can: the
    ids are the registry's own, so that what is written meanwhile can be read.

    Raises:
        RegistryUnavailable, BadConfig: as `join`, where there is no copy.
    """

    def __init__(self, join: Callable[[], Registry], copy: Path) -> None:
        self._join, self._copy = join, copy
        self._registry: Registry | None = None
        self._copied = Schemas()
        try:
            self._registry = self._joined()
        except (RegistryUnavailable, BadConfig):
            if not copy.exists():
                raise
            self._copied = read(copy)
            threading.Thread(target=self._join_later, name="registry", daemon=True).start()

    @property
    def schemas(self) -> Schemas:
        return self._registry.schemas if self._registry else self._copied

    def refresh(self, schema_id: int | None = None) -> bool:
        grown = self._known().refresh(schema_id)
        if grown:
            write(self._copy, self.schemas)
        return grown

    def check(self, subject: str, text: str) -> Version:
        return self._known().check(subject, text)

    def add(self, subject: str, text: str) -> Version:
        return self._known().add(subject, text)

    def _known(self) -> Registry:
        if self._registry is None:
            raise RegistryUnavailable("the registry could not be joined yet; its copy is in use")
        return self._registry

    def _joined(self) -> Registry:
        registry = self._join()
        write(self._copy, registry.schemas)
        return registry

    def _join_later(self) -> None:
        while self._registry is None:
            time.sleep(AGAIN_SECONDS)
            try:
                self._registry = self._joined()
            except (RegistryUnavailable, BadConfig):
                continue


def write(copy: Path, schemas: Schemas) -> None:
    """A disk that is full stops nobody: the copy before stays."""
    versions = schemas.by_id.values()
    found = [Found(v.id, v.subject, v.number, json.dumps(v.raw)) for v in versions]
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(copy, json.dumps(found).encode())
    except OSError:
        return


def read(copy: Path) -> Schemas:
    """
    Raises:
        BadConfig: it is no copy.
    """
    try:
        found = [Found(*one) for one in json.loads(copy.read_bytes())]
    except (OSError, ValueError, TypeError) as error:
        raise BadConfig(f"{copy}: no copy of a registry: {error}") from error
    return Schemas().with_found(found)

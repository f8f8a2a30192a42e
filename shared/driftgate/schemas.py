"""Every version of every subject's schema, and `registry.lock`, the file that gives them ids."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import fastavro
from avro.errors import AvroException
from avro.schema import make_avsc_object
from fastavro.schema import SchemaParseException

from driftgate.compatibility import incompatibilities, undocumented
from driftgate.errors import BadConfig
from driftgate.files import only_writer, write_atomically

MAGIC = b"\x00"
LOCK = "registry.lock"
UNPARSABLE = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RecursionError,
    SchemaParseException,
    AvroException,
)


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a subject. `raw` is its schema as it was written, `schema` as fastavro reads
    it, with times as plain ints."""

    id: int
    subject: str
    number: int
    schema: Any
    raw: Any

    @property
    def header(self) -> bytes:
        return MAGIC + self.id.to_bytes(4, "big")


class Found(NamedTuple):
    """A version as a registry tells it."""

    id: int
    subject: str
    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Schemas:
    """All versions that a registry told of. Never changes: what is found later makes another.

    Attributes:
        newest: by subject, the version with the highest number.
        refused: by id, why a version that the registry has is not read.
    """

    by_id: Mapping[int, Version] = field(default_factory=dict)
    newest: Mapping[str, Version] = field(default_factory=dict)
    refused: Mapping[int, str] = field(default_factory=dict)

    def versions(self, subject: str) -> list[Version]:
        """All of a subject, oldest first."""
        mine = [version for version in self.by_id.values() if version.subject == subject]
        return sorted(mine, key=lambda version: version.number)

    def with_found(self, found: Iterable[Found]) -> Schemas:
        """These and more. What is known stays as it is; a version that is no Avro record, or does
        not go with the older ones, is refused."""
        grown = self
        for one in sorted(found, key=lambda one: one.number):
            if one.id in grown.by_id:
                continue
            try:
                version = version_of(one, grown.versions(one.subject))
            except BadConfig as error:
                grown = Schemas(grown.by_id, grown.newest, {**grown.refused, one.id: str(error)})
            else:
                grown = Schemas(
                    {**grown.by_id, one.id: version},
                    {**grown.newest, one.subject: version},
                    grown.refused,
                )
        return grown


def version_of(found: Found, older: Iterable[Version]) -> Version:
    """A version that may follow the older ones of its subject.

    Raises:
        BadConfig: it is no Avro record, or may not follow them; with every reason.
    """
    try:
        raw = json.loads(found.text)
        # Timestamps are the plain ints that they are on the wire.
        schema = fastavro.parse_schema(without(raw, {"logicalType"}))
        make_avsc_object(raw)
    except UNPARSABLE as error:
        raise BadConfig(f"{found.subject}: not an Avro schema: {error!r}") from error
    if not isinstance(raw, dict) or raw.get("type") != "record":
        raise BadConfig(f"{found.subject}: the schema of an event is a record")
    if reasons := incompatibilities(raw, [version.raw for version in older]):
        raise BadConfig(f"{found.subject}: {'; '.join(reasons)}")
    return Version(found.id, found.subject, found.number, schema, raw)


def review(known: Schemas, subject: str, text: str) -> Version:
    """The schema in `text` as the next version of a subject, not registered yet.

    Raises:
        BadConfig: it may not be; with every reason.
    """
    older = known.versions(subject)
    number = older[-1].number + 1 if older else 1
    version = version_of(Found(0, subject, number, text), older)
    if same := [old.number for old in older if old.raw == version.raw]:
        raise BadConfig(f"{subject}: this is version {same[0]}, which is registered already")
    if silent := undocumented(version.raw):
        raise BadConfig(f"{subject}: field {', '.join(silent)}: has no doc; say what it means")
    return version


def without(schema: Any, keys: Collection[str]) -> Any:
    """The schema without some of its keys, at any depth."""
    match schema:
        case dict():
            return {key: without(value, keys) for key, value in schema.items() if key not in keys}
        case list():
            return [without(item, keys) for item in schema]
    return schema


class Registry(Protocol):
    """Gives schemas their ids. Safe to share between threads."""

    @property
    def schemas(self) -> Schemas:
        """What is known of it."""

    def refresh(self, schema_id: int | None = None) -> bool:
        """Reads it again, or only what one id needs, and says whether more ids are known now.

        Raises:
            BadConfig, RegistryUnavailable
        """

    def check(self, subject: str, text: str) -> Version:
        """What `add` would register; without an id.

        Raises:
            BadConfig: it may not be the subject's next version; with the reasons.
            RegistryUnavailable
        """

    def add(self, subject: str, text: str) -> Version:
        """Registers the next version of a subject. Nothing is written when it is refused.

        Raises:
            BadConfig, RegistryUnavailable: as for `check`.
        """


class LockFile:
    """The registry in a folder: `registry.lock` names id, subject, version and sha256 of each
    `SUBJECT/vN.avsc`.

    Raises:
        BadConfig: a schema file is missing, is not the one that was registered, is no Avro, or
            may not follow the older versions.
    """

    def __init__(self, folder: Path) -> None:
        self.schemas = Schemas()
        self._folder = folder
        self._seen: tuple[int, ...] = ()
        self._lock = threading.Lock()
        self.refresh()
        for reason in self.schemas.refused.values():
            raise BadConfig(f"{folder / LOCK}: {reason}")

    def refresh(self, schema_id: int | None = None) -> bool:
        with self._lock:
            status = (self._folder / LOCK).stat()
            if (stamp := (status.st_mtime_ns, status.st_size, status.st_ino)) == self._seen:
                return False
            known, grown = self.schemas, self.schemas.with_found(self._read())
            self.schemas, self._seen = grown, stamp
            return len(grown.by_id) > len(known.by_id)

    def check(self, subject: str, text: str) -> Version:
        self.refresh()
        return review(self.schemas, subject, text)

    def add(self, subject: str, text: str) -> Version:
        with only_writer(self._folder):
            number = self.check(subject, text).number
            new_id = max((line.id for line in self._read()), default=0) + 1
            path = self._folder / subject / f"v{number}.avsc"
            path.parent.mkdir(exist_ok=True)
            # A schema file that no line names yet is nothing: the line comes last.
            write_atomically(path, text.encode())
            line = f"{new_id} {subject} {number} {hashlib.sha256(text.encode()).hexdigest()}"
            lock = self._folder / LOCK
            write_atomically(lock, f"{lock.read_text().rstrip()}\n{line}\n".encode())
            self.refresh()
        return self.schemas.by_id[new_id]

    def _read(self) -> Iterator[Found]:
        for line in (self._folder / LOCK).read_text().splitlines():
            if line.startswith("#") or not line.strip():
                continue
            number, subject, version, digest = line.split()
            path = self._folder / subject / f"v{version}.avsc"
            if not path.exists():
                raise BadConfig(f"{path} is in {LOCK} but not on disk: restore it")
            text = path.read_bytes()
            if hashlib.sha256(text).hexdigest() != digest:
                raise BadConfig(f"{path} was changed after it was registered: add a new version")
            yield Found(int(number), subject, int(version), text.decode())

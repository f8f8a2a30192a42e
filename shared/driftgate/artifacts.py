"""The artifact store port: files named by the hash of their content, over fsspec.

Every call raises ArtifactsUnavailable where the store does not answer or has no room, and Terminal
for a name that it cannot take.

A blob lies under `blobs/ab/abcd…`; a folder is a blob that lists its files by hash. A *ref* is a
name that is given once and never moved, which is what makes a rerun a no-op.
"""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
from fsspec.implementations.local import LocalFileSystem

from driftgate.codec import canonical
from driftgate.errors import ArtifactsUnavailable, Corrupt, Terminal
from driftgate.files import move_durably, write_atomically

SCHEME = "sha256:"

# What systems say to a name that they cannot take, where it is no ValueError of Python's own.
BAD_NAME = (errno.ENAMETOOLONG, errno.EINVAL)


class Artifacts:
    """`root` is any fsspec URL: `file://`, `memory://`, `s3://`, `gs://`."""

    def __init__(self, root: str) -> None:
        self._fs, self._root = fsspec.core.url_to_fs(root)

    def put(self, data: bytes) -> str:
        """Stores bytes; returns their URI, `sha256:<hex>`. The same bytes are stored once."""
        digest = hashlib.sha256(data).hexdigest()
        path = self._blob(digest)
        with self._answering():
            if not self._fs.exists(path):
                self._write(path, data)
        return SCHEME + digest

    def get(self, uri: str) -> bytes:
        """The bytes of a URI.

        Raises:
            Corrupt: nothing of that name is stored, or its content does not hash to its name.
        """
        wanted = digest_of(uri)
        try:
            data = self._read(self._blob(wanted))
        except FileNotFoundError:
            raise Corrupt(f"artifact {uri} is not stored under {self._root}") from None
        if hashlib.sha256(data).hexdigest() != wanted:
            raise Corrupt(f"artifact {uri}: its bytes hash to another name; restore it")
        return data

    def put_json(self, value: Any) -> str:
        """Stores a value as canonical JSON."""
        return self.put(canonical(value).encode())

    def get_json(self, uri: str) -> Any:
        return json.loads(self.get(uri))

    def put_folder(self, folder: Path, files: list[Path] | None = None) -> str:
        """Stores the files of a folder, all or those named; returns the URI of their list."""
        chosen = files or sorted(p for p in folder.rglob("*") if p.is_file())
        listing = {
            path.relative_to(folder).as_posix(): self.put(path.read_bytes())
            for path in sorted(chosen)
        }
        return self.put_json(listing)

    def put_files(self, files: Mapping[str, bytes]) -> str:
        """Stores files as one folder; returns the URI of their list."""
        return self.put_json({name: self.put(data) for name, data in files.items()})

    def get_folder(self, uri: str, into: Path) -> Path:
        """Writes the files of a folder URI to `into/<digest>` and returns that path. What is
        there already was verified when it was written and is not fetched again."""
        target = into / digest_of(uri)
        if target.exists():
            return target
        listing = self._listing(uri)
        partial = into / f"{target.name}.{uuid4().hex}"
        try:
            for name, blob in listing.items():
                path = partial / name
                if not path.resolve().is_relative_to(partial.resolve()):
                    raise Corrupt(f"artifact {uri} names a file outside its folder: {name!r}")
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(path, self.get(blob))
            move_durably(partial, target)
        except OSError as error:
            if not target.exists():  # another process may have been first
                raise ArtifactsUnavailable(f"copying {uri} to {into}: {error}") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return target

    def ref(self, name: str) -> Any:
        """What a ref says, or None."""
        try:
            return json.loads(self._read(f"{self._root}/refs/{name}.json"))
        except FileNotFoundError:
            return None

    def set_ref(self, name: str, value: Any) -> Any:
        """Gives a name to a value unless the name is given; returns what it says now. One writer
        a name is assumed: the service that owns it."""
        found = self.ref(name)
        if found is not None:
            return found
        with self._answering():
            self._write(f"{self._root}/refs/{name}.json", canonical(value).encode())
        return value

    def refs(self, prefix: str) -> dict[str, Any]:
        """Every ref under a prefix, by its whole name."""
        base = f"{self._root}/refs/"
        with self._answering():
            found = self._fs.find(base + prefix)
        return {
            path[path.index("/refs/") + len("/refs/") : -len(".json")]: json.loads(self._read(path))
            for path in sorted(found)
            if path.endswith(".json")
        }

    def _listing(self, uri: str) -> dict[str, str]:
        """The files of a folder URI: name to URI."""
        try:
            listing = self.get_json(uri)
        except ValueError:
            listing = None
        if not isinstance(listing, dict) or not all(isinstance(v, str) for v in listing.values()):
            raise Corrupt(f"artifact {uri} is no folder: expected a JSON object of file URIs")
        return listing

    def _read(self, path: str) -> bytes:
        """Raises: FileNotFoundError, ArtifactsUnavailable."""
        with self._answering():
            data: bytes = self._fs.cat_file(path)
        return data

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Each file system has errors of its own for a store that is away or full.

        Raises:
            ArtifactsUnavailable
            Terminal: the store takes no such name, today or tomorrow.
        """
        try:
            yield
        except FileNotFoundError:
            raise
        except Exception as error:
            message = f"artifact store {self._root}: {type(error).__name__}: {error}"
            if self._refuses_name(error):
                raise Terminal(message) from error
            raise ArtifactsUnavailable(message) from error

    def _refuses_name(self, error: Exception) -> bool:
        """Whether a name is what is wrong. An object store says EINVAL of a token that has run
        out, or of an upload that was cut short, too."""
        if not isinstance(self._fs, LocalFileSystem):
            return False
        return isinstance(error, ValueError) or getattr(error, "errno", None) in BAD_NAME

    def _blob(self, digest: str) -> str:
        return f"{self._root}/blobs/{digest[:2]}/{digest}"

    def _write(self, path: str, data: bytes) -> None:
        """Whole or not at all, and durable when it returns."""
        if not isinstance(self._fs, LocalFileSystem):
            self._fs.pipe_file(path, data)  # an object store's put is whole
            return
        file = Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, data)


def digest_of(uri: str) -> str:
    """The hex digest in a URI.

    Raises:
        Corrupt: the URI is not `sha256:` and 64 hex digits.
    """
    digest = uri.removeprefix(SCHEME)
    if (
        not uri.startswith(SCHEME)
        or len(digest) != 64
        or not set(digest) <= set("0123456789abcdef")
    ):
        raise Corrupt(f"artifact URI {uri!r}: expected sha256: and 64 hex digits")
    return digest

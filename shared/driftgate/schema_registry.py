"""A Schema Registry over HTTP, as Confluent publishes its REST API and Karapace serves it too.

API: https://docs.confluent.io/platform/current/schema-registry/develop/api.html
"""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Iterable, Iterator
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import requests

from driftgate.errors import BadConfig, RegistryUnavailable
from driftgate.schemas import Found, Schemas, Version, review

CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
TIMEOUT_S = (3.0, 10.0)  # to connect; between bytes
MAX_ID = 2**31 - 1
NOT_FOUND = frozenset({40401, 40402, 40403})  # subject, version, schema
AGAIN = frozenset({408, 429, 500, 502, 503, 504})
DENIED = frozenset({401, 403})
REFUSED = frozenset({409, 422})  # incompatible, not Avro


class HttpRegistry:
    """Subjects have the names that topics.yaml gives them.

    The local versions are registered, which does nothing for those that the registry has; it may
    know newer ones, and those are read like local ones.

    Raises:
        BadConfig: the URL or its credentials are wrong, or a local version is refused.
        RegistryUnavailable
    """

    def __init__(self, url: str, subjects: Collection[str], local: Iterable[Version]) -> None:
        self.schemas = Schemas()
        self._base, self._session = session(url)
        self._subjects = frozenset(subjects)
        self._read: set[tuple[str, int]] = set()
        self._lock = threading.Lock()
        ours = sorted(local, key=lambda version: version.number)
        ids = [self._register(version.subject, json.dumps(version.raw)) for version in ours]
        self.refresh()
        for schema_id in ids:
            if schema_id in self.schemas.refused:
                raise BadConfig(f"{self._base}: {self.schemas.refused[schema_id]}")

    def refresh(self, schema_id: int | None = None) -> bool:
        with self._lock:
            subjects = self._subjects if schema_id is None else self._subjects_of(schema_id)
            found = [one for subject in sorted(subjects) for one in self._unread(subject)]
            known, self.schemas = self.schemas, self.schemas.with_found(found)
            self._read |= {(one.subject, one.number) for one in found}
            return len(self.schemas.by_id) > len(known.by_id)

    def check(self, subject: str, text: str) -> Version:
        self.refresh()
        version = review(self.schemas, subject, text)
        path = f"/compatibility/subjects/{quote(subject, safe='')}/versions/latest?verbose=true"
        verdict = self._ask("POST", path, {"schema": text})
        if verdict is not None and not verdict["is_compatible"]:
            reasons = "; ".join(verdict.get("messages", ())) or "it is not compatible"
            raise BadConfig(f"{subject}: refused by the registry: {reasons}")
        return version

    def add(self, subject: str, text: str) -> Version:
        self.check(subject, text)
        schema_id = self._register(subject, text)
        self.refresh()
        return self.schemas.by_id[schema_id]

    def _register(self, subject: str, text: str) -> int:
        answer = self._ask("POST", versions_of(subject), {"schema": text})
        if answer is None:
            raise BadConfig(f"{self._base}: the registry does not take subject {subject}")
        return int(answer["id"])

    def _subjects_of(self, schema_id: int) -> frozenset[str]:
        """Which of our subjects have a schema that is not known yet. A record may claim any id."""
        if schema_id in self.schemas.by_id or not 0 < schema_id <= MAX_ID:
            return frozenset()
        answer = self._ask("GET", f"/schemas/ids/{schema_id}/versions") or []
        return self._subjects & {place["subject"] for place in answer}

    def _unread(self, subject: str) -> Iterator[Found]:
        for number in self._ask("GET", versions_of(subject)) or []:
            if (subject, number) not in self._read:
                answer = self._ask("GET", f"{versions_of(subject)}/{number}")
                if answer is not None:
                    yield Found(answer["id"], subject, number, answer["schema"])

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        """The answer; None when the registry has no such subject, version or schema."""
        try:
            answer = self._session.request(method, self._base + path, json=body, timeout=TIMEOUT_S)
        except requests.RequestException as error:
            raise RegistryUnavailable(f"{method} {self._base}{path}: {error}") from error
        try:
            told = answer.json()
        except ValueError:
            told = {}
        if answer.ok and told != {}:
            return told
        code = told.get("error_code") if isinstance(told, dict) else None
        reason = told.get("message") if isinstance(told, dict) else None
        line = f"{method} {self._base}{path}: {answer.status_code} {code or ''} {reason or ''}"
        if code in NOT_FOUND:
            return None
        if answer.status_code in AGAIN:
            raise RegistryUnavailable(line)
        if answer.status_code in DENIED:
            raise BadConfig(
                f"{line}: expected http://USER:PASSWORD@host:port in DRIFTGATE_REGISTRY"
            )
        if answer.status_code in REFUSED:
            raise BadConfig(f"refused by the registry: {line}")
        raise BadConfig(f"{line}: is this the address of a Schema Registry?")


def versions_of(subject: str) -> str:
    return f"/subjects/{quote(subject, safe='')}/versions"


def session(url: str) -> tuple[str, requests.Session]:
    """The address without credentials, and a session that has them: so no message tells them.

    Raises:
        BadConfig: not http://host:port.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise BadConfig("DRIFTGATE_REGISTRY: expected http://host:port or https://host:port")
    made = requests.Session()
    made.trust_env = False  # only main reads the environment
    made.headers.update({"Accept": CONTENT_TYPE, "Content-Type": CONTENT_TYPE})
    if parts.username:
        made.auth = (unquote(parts.username), unquote(parts.password or ""))
    where = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    return where.geturl().rstrip("/"), made

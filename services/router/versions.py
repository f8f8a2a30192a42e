"""Brings versions into memory and out of it. Make before break: fetch by hash, load, swap the
snapshot in one assignment, and only then unload what no snapshot needs.

Engines are used on the compute thread alone: there, between two batches, no request is under way
that could miss the version it was given.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path

from driftgate import model_repo
from driftgate.artifacts import SCHEME, Artifacts, digest_of
from driftgate.errors import Corrupt, Terminal
from driftgate.events import Event, Routing
from driftgate.routing import check
from services.router import snapshot
from services.router.snapshot import Engine, Served, Snapshot


class Stale(Terminal):
    """The record's epoch is older than the one served."""


@dataclass
class Versions:
    """The versions in memory.

    Attributes:
        engine_of: makes the engine of a base from its name and digest.
        compute: the one thread on which engines work.
        kept: file of the last good routing.
    """

    artifacts: Artifacts
    cache: Path
    kept: Path
    engine_of: Callable[[str, str], Engine]
    compute: Executor
    snapshot: Snapshot = field(default_factory=dict)
    _engines: dict[str, Engine] = field(default_factory=dict)

    def serve(self, routing: Event) -> Served:
        """Serves a routing record from now on; returns once requests are answered by it.

        Raises:
            Stale: a newer epoch is served.
            BadInput, Corrupt, BadConfig: the record cannot be served. What was served goes on.
        """
        before = self.snapshot.get(routing["model"])
        if before is not None and routing["epoch"] <= before.routing["epoch"]:
            if dict(routing) != dict(before.routing):
                raise Stale(
                    f"epoch {routing['epoch']}: epoch {before.routing['epoch']} is served; expected"
                    f" a higher one (after Kafka was set up anew, remove {self.kept})"
                )
            return before
        served = self.prepare(routing)
        self.snapshot = {**self.snapshot, routing["model"]: served}
        snapshot.write(self.kept, (one.routing for one in self.snapshot.values()))
        self.compute.submit(self.drop).result()
        return served

    def prepare(self, routing: Event) -> Served:
        """Everything that serving a record takes, resident and verified."""
        check(Routing.of(routing))
        repo = model_repo.fetch(SCHEME + routing["repo_hash"], self.artifacts, self.cache)
        engine = self.engine(routing["base"], routing["base_digest"])
        for arm in (*routing["arms"], *routing["shadows"]):
            if digest_of(arm["adapter_uri"]) != arm["digest"]:
                raise Corrupt(
                    f"version {arm['version']}: its digest is {arm['digest']}, but its files are "
                    f"{arm['adapter_uri']}; expected one name for the same bytes"
                )
            folder = self.artifacts.get_folder(arm["adapter_uri"], self.cache)
            self.compute.submit(engine.load, arm["digest"], folder).result()
        return Served(routing, engine, repo.config.data)

    def engine(self, base: str, base_digest: str) -> Engine:
        """The engine of a base, made when it is first needed."""
        if base not in self._engines:
            self._engines[base] = self.engine_of(base, base_digest)
        return self._engines[base]

    def drop(self) -> None:
        """Unloads what nobody can be given any more."""
        for engine in self._engines.values():
            needed = [one.digests for one in self.snapshot.values() if one.engine is engine]
            for name in engine.resident() - frozenset().union(*needed):
                engine.unload(name)

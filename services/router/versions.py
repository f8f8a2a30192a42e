"""Brings versions into memory and out of it. Make before break: fetch by hash, load, swap the
snapshot in one assignment, load who stands by, and only then unload what no snapshot needs.

Records are served from several threads, since one may take minutes. Each engine is used on one
thread alone: there, between two batches, no request is under way that could miss the version it was
given. Engines that choose share one, since together they are as quick; each that writes has its
own, so that long answers delay nobody else's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import NamedTuple
from weakref import WeakKeyDictionary

from driftgate import artifact_cache, model_repo
from driftgate.artifacts import SCHEME, Artifacts, digest_of
from driftgate.engines import Base, Engine
from driftgate.errors import Corrupt, DriftgateError, Retriable, Terminal
from driftgate.events import Routing
from driftgate.model_repo import ModelYaml
from driftgate.routing import Arm, arms_of, check, contradiction, residents_of, standby_of
from driftgate.tasks import Task, kind_of
from services.router.last_good import LastGood
from services.router.predictions import check as check_prediction
from services.router.snapshot import Served, Snapshot, base_of


class Stale(Terminal):
    """The record's epoch is older than the one served."""


class Contradiction(Terminal):
    """The record has the epoch that is served, and says something else."""


class Unservable(Terminal):
    """A version of the record cannot be served here."""


class Resident(NamedTuple):
    """A version in memory: its adapter's digest, on its base."""

    base: Base
    digest: str


@dataclass
class Versions:
    """The versions in memory.

    Attributes:
        engine_of: makes the engine of a base from the kind of task, its name and digest, in any
            thread.
        compute: the one thread on which engines work that choose.
    """

    artifacts: Artifacts
    cache: Path
    last_good: LastGood
    engine_of: Callable[[str, str, str], Engine]
    compute: Executor
    snapshot: Snapshot = field(default_factory=dict)
    _engines: dict[Base, Engine] = field(default_factory=dict)
    _threads: WeakKeyDictionary[Engine, Executor] = field(default_factory=WeakKeyDictionary)
    _awaited: list[Routing] = field(default_factory=list)
    _unloading: set[Engine] = field(default_factory=set)
    _lock: Lock = field(default_factory=Lock)

    def serve(self, routing: Routing, serving: Callable[[], object] = lambda: None) -> Served:
        """Serves a routing record from now on. `serving` is called once requests are answered by
        it; returns once who stands by is loaded too, or cannot be.

        Raises:
            Stale: a newer epoch is served.
            Contradiction: this epoch is served with another content.
            BadInput, BadConfig, Corrupt, Unservable: the record cannot be served. What was served
                goes on.
            ArtifactsUnavailable: as far as can be told, it can be served later.
        """
        if (before := self.already(routing)) is not None:
            return before
        comes_again = False
        try:
            with self.awaiting(routing):
                served = self.swap(self.prepare(routing))
                serving()
                return self.stand_by(served)
        except Retriable:
            comes_again = True  # and needs what was fetched
            raise
        finally:
            self.drop()
            if not comes_again:
                self.prune()

    def already(self, routing: Routing) -> Served | None:
        """What is served of a record already; None where the record is newer.

        Raises:
            Stale, Contradiction
        """
        before = self.snapshot.get(routing.model)
        if before is None or routing.epoch > before.routing.epoch:
            return None
        if routing.epoch < before.routing.epoch:
            raise Stale(
                f"epoch {routing.epoch}: epoch {before.routing.epoch} is served; expected a higher "
                f"one (after Kafka was set up anew, remove {self.last_good.path})"
            )
        if differs := contradiction(before.routing, routing):
            raise Contradiction(f"epoch {routing.epoch} was decided twice: {differs}")
        return before

    def prepare(self, routing: Routing) -> Served:
        """Everything that serving a record takes, resident and verified, but for who stands by.
        All is fetched before anything is loaded; what is resident is neither fetched nor loaded, so
        that going back to it takes no longer than the record."""
        check(routing)
        repo = self.repo(routing)
        arms = arms_of(routing)
        folders = [(arm, self.fetch(arm)) for arm in arms if self.lacks(arm)]
        for arm, folder in folders:
            self.load(arm, folder)
        engines = {base_of(arm): self.engine(base_of(arm)) for arm in arms}
        absent = {arm.version: "it is loading" for arm in standby_of(routing)}
        return Served(routing, engines, repo, absent)

    def stand_by(self, served: Served) -> Served:
        """Loads who stands by, and notes who of them cannot be loaded, and why: nobody is asked of
        them, so that the others are served without. The next record tries them again."""
        absent = {}
        for arm in standby_of(served.routing):
            try:
                if self.lacks(arm):
                    self.load(arm, self.fetch(arm))
            except Exception as error:  # noqa: BLE001 - whatever it was, the others are served
                absent[arm.version] = summary(error)
        told, model = replace(served, absent=absent), served.routing.model
        with self._lock:
            if self.snapshot.get(model) is served:  # no newer record came meanwhile
                self.snapshot = {**self.snapshot, model: told}
        return told

    def repo(self, routing: Routing) -> ModelYaml:
        """The model repo that a record names."""
        before = self.snapshot.get(routing.model)
        if before is not None and before.routing.repo_hash == routing.repo_hash:
            return before.repo
        return model_repo.fetch(SCHEME + routing.repo_hash, self.artifacts, self.cache).config

    def lacks(self, arm: Arm) -> bool:
        """Whether a version is not resident.

        Raises:
            Unservable: its digest is not that of its files.
        """
        with naming(arm):
            if digest_of(arm.adapter_uri) != arm.digest:
                raise Corrupt(
                    f"its digest is {arm.digest}, but its files are {arm.adapter_uri}; "
                    "expected one name for the same bytes"
                )
        engine = self._engines.get(base_of(arm))
        return engine is None or arm.digest not in engine.resident()

    def fetch(self, arm: Arm) -> Path:
        """The folder of a version's files."""
        with naming(arm):
            return self.artifacts.get_folder(arm.adapter_uri, self.cache)

    def load(self, arm: Arm, folder: Path) -> None:
        """Makes a version resident, once it has answered."""
        with naming(arm):
            base = base_of(arm)
            engine, kind = self.engine(base), kind_of(base.task)
            self.thread(engine).submit(warmed_up, kind, engine, arm.digest, folder).result()

    def engine(self, base: Base) -> Engine:
        """The engine of a base, made when it is first needed."""
        if base not in self._engines:
            made = self.engine_of(*base)
            with self._lock:
                engine = self._engines.setdefault(base, made)
                if kind_of(base.task).writes and engine not in self._threads:
                    self._threads[engine] = ThreadPoolExecutor(1, "writes")
        return self._engines[base]

    def thread(self, engine: Engine) -> Executor:
        """Where an engine is used."""
        return self._threads.get(engine, self.compute)

    def swap(self, served: Served) -> Served:
        """Requests are answered by it from now on, unless a newer record was quicker."""
        with self._lock:
            if (before := self.already(served.routing)) is not None:
                return before
            self.snapshot = {**self.snapshot, served.routing.model: served}
            self.last_good.keep(served.routing)
        return served

    @contextmanager
    def awaiting(self, routing: Routing) -> Iterator[None]:
        """What is fetched and loaded meanwhile is not dropped, though no snapshot needs it yet."""
        with self._lock:
            self._awaited.append(routing)
        try:
            yield
        finally:
            with self._lock:
                self._awaited = [one for one in self._awaited if one is not routing]

    def drop(self) -> None:
        """Unloads what nobody can be given any more: versions, and bases that have none. Answers
        that an engine is writing are written to their end."""
        with self._lock:
            bases = {one.base for one in self._needed()}
            for base in self._engines.keys() - bases:
                del self._engines[base]
            engines = set(self._engines.values()) - self._unloading
            emptied = {engine for engine in engines if self._unneeded(engine)}
            self._unloading |= emptied
        # Not under the lock, nor for what another record has unloaded: a writer may take its time.
        wait([self.thread(engine).submit(self._unload, engine) for engine in emptied])

    def _unload(self, engine: Engine) -> None:
        """On its thread. Whoever waits for the lock asks who is resident afterwards."""
        with self._lock:
            self._unloading.discard(engine)
            for digest in self._unneeded(engine):
                engine.unload(digest)

    def _unneeded(self, engine: Engine) -> frozenset[str]:
        """Versions in an engine, which two names of a base may share, that nobody can be given."""
        needed = (one for one in self._needed() if self._engines.get(one.base) is engine)
        return engine.resident() - {one.digest for one in needed}

    def _needed(self) -> frozenset[Resident]:
        return frozenset().union(*map(residents, self._in_use()))

    def prune(self) -> None:
        """Removes fetched files that nobody needs any more."""
        with self._lock:
            kept = frozenset().union(*map(files, (*self._in_use(), *self.last_good.routings)))
            unused = artifact_cache.set_aside(self.cache, kept)
        artifact_cache.remove(unused)

    def sweep(self) -> None:
        """Removes what processes before left when they were killed."""
        for folder in {self.cache, self.last_good.path.parent}:
            artifact_cache.sweep(folder)

    def _in_use(self) -> list[Routing]:
        return [*(one.routing for one in self.snapshot.values()), *self._awaited]


def files(routing: Routing) -> frozenset[str]:
    """Digests of what is fetched to serve a record."""
    return frozenset({routing.repo_hash, *(arm.digest for arm in residents_of(routing))})


def residents(routing: Routing) -> frozenset[Resident]:
    """What must be in memory for a record to be served."""
    return frozenset(Resident(base_of(arm), arm.digest) for arm in residents_of(routing))


def warmed_up(kind: type[Task], engine: Engine, digest: str, folder: Path) -> None:
    """Loads a version and lets it answer once: one that cannot, or that answers with NaN, must not
    get a request. It is not resident then. On the engine's thread; does nothing to a version that
    is resident by now.

    Raises:
        Unusable: its answer is none.
        Exception: whatever the engine raises.
    """
    if digest in engine.resident():
        return
    engine.load(digest, folder)
    try:
        check_prediction(kind.tried(engine, digest))
    except BaseException:
        engine.unload(digest)
        raise


@contextmanager
def naming(arm: Arm) -> Iterator[None]:
    try:
        yield
    except Retriable:
        raise
    except Exception as error:
        raise Unservable(f"version {arm.version}: {summary(error)}") from error


def summary(error: BaseException) -> str:
    """An error for people."""
    return str(error) if isinstance(error, DriftgateError) else f"{type(error).__name__}: {error}"

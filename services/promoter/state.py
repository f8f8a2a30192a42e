"""The state of a model's rollout, as topic `rollouts` keeps it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TypeVar

from driftgate import events
from driftgate.bases import EMBEDDED
from driftgate.errors import BadInput
from driftgate.events import DAY_MS, Verdict
from driftgate.model_repo import ModelYaml

IDLE = "idle"
LOADING = "loading"
# The version trained on launch data, which never changes.
FROZEN_BASELINE = 1
# Of the state, what the record tells beside the release of the version on trial.
BESIDE = ("held_ms", "begun")

OnBase = TypeVar("OnBase", "Release", Verdict)
Repos = Mapping[str, ModelYaml | BadInput]
"""Model repos by content hash; an error where one cannot be read."""


@dataclass(frozen=True, slots=True)
class Release:
    """A version that passed: where its adapter lies, and what it was trained on and under.

    base, base_digest and repo_hash are empty in records of before they were kept.
    """

    digest: str
    uri: str
    base: str = ""
    base_digest: str = ""
    task: str = "text-classification"
    repo_hash: str = ""


@dataclass(frozen=True, slots=True)
class Passed:
    """A version that passed the gate and is not tried yet.

    Attributes:
        champion: whom it was compared with.
    """

    version: int
    champion: int | None
    verdict_id: str
    release: Release

    @classmethod
    def of(cls, told: str) -> Passed:
        """As field `waiting` of a record tells it."""
        fields = json.loads(told)
        return cls(**{**fields, "release": Release(**fields["release"])})


@dataclass(frozen=True, slots=True)
class State:
    """The newest `rollouts` record of a model, which explains the fields. Times in ms.

    Attributes:
        held_ms: how long the stage had been paused when the state last changed. The record tells it
            beside the release of the version on trial, where it is not 0.
        begun: when the first stage of the challenger began, ms; told likewise. 0: not known.
    """

    model: str
    epoch: int = 0
    champion: int | None = None
    challenger: int | None = None
    stage: str = IDLE
    previous: int | None = None
    since: int = 0
    paused: bool = False
    quarantined: tuple[str, ...] = ()
    versions: Mapping[int, Release] = field(default_factory=dict)
    repo_hash: str = ""
    summary: str = ""
    handled: tuple[str, ...] = ()
    waiting: Passed | None = None
    salt: str = ""
    approved: tuple[str, ...] = ()
    quarantine_ends: Mapping[str, int] = field(default_factory=dict)
    rollbacks: int = 0
    back_off_until: int = 0
    prompts: Mapping[str, str] = field(default_factory=dict)
    time: int = 0
    held_ms: int = 0
    begun: int = 0

    @classmethod
    def of(cls, record: events.Rollout) -> State:
        """The state that a record tells. The model repo in force stands for that of a version
        whose own was not kept."""
        fields = record.as_dict()
        known = {"repo_hash": record.repo_hash}
        releases = {int(at): known | json.loads(told) for at, told in record.versions.items()}
        for name in BESIDE:
            fields[name] = sum(release.pop(name, 0) for release in releases.values())
        fields["versions"] = {version: Release(**told) for version, told in releases.items()}
        fields |= {
            "quarantined": record.quarantined,
            "handled": record.handled,
            "approved": record.approved,
        }
        fields["waiting"] = Passed.of(record.waiting) if record.waiting else None
        return cls(summary=fields.pop("words"), **fields)

    def record(self) -> events.Rollout:
        """The `rollouts` record of this state."""
        fields = asdict(self)
        fields["words"] = fields.pop("summary")
        told = {name: number for name in BESIDE if (number := fields.pop(name))}
        tried = self.challenger or self.champion
        fields["versions"] = {
            str(version): json.dumps(asdict(release) | (told if version == tried else {}))
            for version, release in sorted(self.versions.items())
        }
        fields["waiting"] = json.dumps(asdict(self.waiting)) if self.waiting else ""
        return events.Rollout.of(fields)

    def held(self, now: int) -> int:
        """How long the stage was paused until a time, ms. Whatever changes a paused state keeps
        account of it, so that the pause since then is all that is to be added."""
        return self.held_ms + (now - self.time) * (self.paused and self.stage != IDLE)

    def days(self, now: int) -> float:
        """How long the stage has lasted, without the time that it was paused."""
        return (now - self.since - self.held(now)) / DAY_MS

    @property
    def repo_hashes(self) -> frozenset[str]:
        """The model repos that may be in force after an event."""
        waiting = {self.waiting.release.repo_hash} if self.waiting else set()
        versions = {release.repo_hash for release in self.versions.values()}
        return frozenset({self.repo_hash, *self.prompts.values()} | versions | waiting)

    def prompt_repo(self, version: int) -> str:
        """The model repo whose prompt a version is asked with: its own, with which it was trained
        and judged, unless an operator ordered another one."""
        own = self.versions[version].repo_hash
        return self.prompts.get(own, own)

    def in_quarantine(self, digest: str, now: int) -> bool:
        """Whether an adapter may not be tried at a time, ms."""
        return digest in self.quarantined and now < self.quarantine_ends.get(digest, now + 1)

    def digest(self, version: int | None) -> str:
        """Digest of a version; empty where it is of no use any more."""
        if self.waiting and self.waiting.version == version:
            return self.waiting.release.digest
        return self.versions[version].digest if version and version in self.versions else ""


def salt_of(model: str, version: int, epoch: int) -> str:
    """Another one for each rollout: `epoch` is that of the state which it begins in."""
    return f"{model}@{version}/{epoch}"


def begun_after(salt: str) -> int:
    """The epoch before the first one of the rollout that a salt is of. 0 in records of before."""
    epoch = salt.rpartition("/")[2]
    return int(epoch) if epoch.isdecimal() else 0


def on_trial(record: events.Rollout) -> bool:
    return record.stage != IDLE


def activity(records: Iterable[events.Rollout]) -> str | None:
    """What is tried or watched at present, for people; None when nothing is."""
    busy = (record for record in records if on_trial(record))
    told = [f"{r.model}@{r.challenger or r.champion} in {r.stage}" for r in busy]
    return ", ".join(told) or None


def with_bases(state: State, repos: Repos) -> State:
    """The state with a base for each version that was released before bases were kept."""
    known = {
        version: based(release, repos[release.repo_hash])
        for version, release in state.versions.items()
        if not release.base
    }
    return replace(state, versions={**state.versions, **known}) if known else state


def based(one: OnBase, repo: ModelYaml | BadInput) -> OnBase:
    """A release or verdict on the base that a model repo names; as it is where none can be read."""
    if isinstance(repo, BadInput):
        return one
    built_in = EMBEDDED[repo.base.name].digest if repo.base.name in EMBEDDED else ""
    return replace(one, base=repo.base.name, base_digest=repo.base.sha256 or built_in)


def passed_of(verdict: Verdict) -> Passed:
    release = Release(
        digest=verdict.adapter_digest,
        uri=verdict.adapter_uri,
        base=verdict.base,
        base_digest=verdict.base_digest,
        task=verdict.task,
        repo_hash=verdict.repo_hash,
    )
    return Passed(verdict.version, verdict.champion, verdict.verdict_id, release)

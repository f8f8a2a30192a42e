"""Model repos by their content hash."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from driftgate import artifact_cache, model_repo
from driftgate.artifacts import SCHEME, Artifacts
from driftgate.dead_letters import UNHANDLED
from driftgate.errors import BadConfig, BadInput, Corrupt
from driftgate.model_repo import ModelYaml


@dataclass
class RepoCache:
    """Fetches each repo once, into the folder `cache`."""

    artifacts: Artifacts
    cache: Path
    _read: dict[str, ModelYaml] = field(default_factory=dict)
    _kept: frozenset[str] | None = None

    def find(self, repo_hash: str) -> ModelYaml | BadInput:
        """A model repo; an error where it is not stored, or cannot be used any more."""
        if repo_hash not in self._read:
            try:
                found = model_repo.fetch(SCHEME + repo_hash, self.artifacts, self.cache)
            except (Corrupt, BadConfig) as error:
                wanted = f"the hash of a stored model repo ({error})"
                return BadInput(UNHANDLED, "repo_hash", repo_hash, wanted)
            self._read[repo_hash] = found.config
            self._kept = None
        return self._read[repo_hash]

    def keep(self, hashes: frozenset[str]) -> None:
        """Forgets all others."""
        if hashes == self._kept:
            return
        self._read = {one: repo for one, repo in self._read.items() if one in hashes}
        artifact_cache.remove(artifact_cache.set_aside(self.cache, hashes))
        self._kept = hashes

    def sweep(self) -> None:
        """Removes what processes before left when they were killed."""
        artifact_cache.sweep(self.cache)

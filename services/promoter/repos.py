"""Model repos by their content hash."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from driftgate import model_repo
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

    def find(self, repo_hash: str) -> ModelYaml | BadInput:
        """A model repo; an error where it is not stored, or cannot be used any more."""
        if repo_hash not in self._read:
            try:
                found = model_repo.fetch(SCHEME + repo_hash, self.artifacts, self.cache)
            except (Corrupt, BadConfig) as error:
                wanted = f"the hash of a stored model repo ({error})"
                return BadInput(UNHANDLED, "repo_hash", repo_hash, wanted)
            self._read[repo_hash] = found.config
        return self._read[repo_hash]

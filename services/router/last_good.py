"""The routing that was served last, on disk: what a router serves before Kafka is asked."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from driftgate.codec import canonical
from driftgate.events import Routing
from driftgate.files import write_atomically
from driftgate.health import Log


@dataclass
class LastGood:
    """A file of the newest routing of each model that was served, also of one that could not be
    served again since. It is a copy: whatever is wrong with it, the router goes on without."""

    path: Path
    log: Log
    _routings: dict[str, Routing] = field(default_factory=dict)

    @property
    def routings(self) -> list[Routing]:
        return list(self._routings.values())

    def read(self) -> list[Routing]:
        """Empty where nothing was kept, or nothing that can be read: such a file is set aside."""
        if not self.path.exists():
            return []
        try:
            kept = [Routing.of(fields) for fields in json.loads(self.path.read_bytes())]
        except Exception as error:  # noqa: BLE001 - a torn or foreign file fails in any way
            self._set_aside(error)
            return []
        self._routings = {routing.model: routing for routing in kept}
        return kept

    def keep(self, routing: Routing) -> None:
        """Remembers a routing that is served. A disk that is full takes nothing out of service."""
        self._routings[routing.model] = routing
        kept = canonical([one.as_dict() for one in self._routings.values()])
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path, kept.encode())
        except OSError as error:
            self.log.error("last good routing not kept", path=str(self.path), error=str(error))

    def _set_aside(self, why: Exception) -> None:
        aside = self.path.with_name(f"{self.path.name}.unreadable")
        self.log.error("last good routing set aside", path=str(aside), error=repr(why))
        try:
            self.path.replace(aside)
        except OSError as error:
            self.log.error("last good routing stays", path=str(self.path), error=str(error))

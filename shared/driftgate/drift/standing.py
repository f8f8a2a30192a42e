"""How each stream of a version stands: its numbers, its bar, the evidence. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from driftgate.drift import lanes
from driftgate.drift.monitoring import Evidence, Monitoring
from driftgate.drift.plan import Watched
from driftgate.drift.quality import needed
from driftgate.drift.version_streams import NEWEST, VersionStreams
from driftgate.model_repo import ModelYaml
from driftgate.signals import Reference


@dataclass(frozen=True, slots=True)
class Standing:
    """One stream now.

    Attributes:
        n: its numbers so far.
        reference, bar: what was measured, and what is tolerated; None while it is measured.
        measured: numbers behind a live reference, of `needed`; None elsewhere.
        newest: mean of the newest numbers; None before the first.
        level: evidence; 1 alarms.
    """

    name: str
    n: int
    reference: float | None
    bar: float | None
    measured: int | None
    needed: int
    newest: float | None
    level: float
    improves: bool

    @property
    def summary(self) -> str:
        """Of the evidence, in words."""
        if self.measured is not None and self.bar is None:
            return f"reference: {self.measured} of {self.needed}"
        return f"{self.level:.1e}"


def standings(
    evidence: Evidence, config: ModelYaml, references: Mapping[int, Reference], version: int
) -> list[Standing]:
    """All streams of a version; none where it never answered."""
    if version not in evidence.streams:
        return []
    watch = Monitoring(evidence, config, references)
    watch.look_at_traffic()
    layout, own = watch.layout(version), evidence.streams[version]
    levels = lanes.level(own.evidence)
    return [
        standing(own, row, what, float(levels[row]))
        for what in layout.wanted
        for row in (layout.rows[what.name],)
    ]


def standing(own: VersionStreams, row: int, what: Watched, level: float) -> Standing:
    n, _ = own.seen(what.name)
    newest, total = own.history.newest(row, NEWEST)
    measured = round(own.measured(what.name)[0]) if what.under else None
    what_now = own.with_bar(row, what)

    def shown(x: float | None) -> float | None:
        """As the user knows it: a fall is counted as a rise of the rest."""
        return None if x is None else 1 - x if what.falls else x

    return Standing(
        what.name,
        round(n),
        shown(what_now.reference),
        shown(what_now.mean),
        measured,
        needed(what.source.basis),
        shown(total / newest) if newest else None,
        level,
        what.improves,
    )

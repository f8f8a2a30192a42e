"""How each stream of a version stands: its numbers, its bar, the evidence, and whether it is still
given any. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from driftgate.drift import lanes
from driftgate.drift.monitoring import Evidence, Monitoring
from driftgate.drift.plan import Watched
from driftgate.drift.quality import needed
from driftgate.drift.version_streams import NEWEST, VersionStreams
from driftgate.events import DAY_MS
from driftgate.model_repo import ModelYaml
from driftgate.signals import Reference

# A stream is silent when so many numbers were to be expected in a day or more and none came: that
# happens by chance once in 20,000 times (e^-10).
EXPECTED = 10.0


@dataclass(frozen=True, slots=True)
class Standing:
    """One stream now.

    Attributes:
        n: its numbers so far.
        reference, bar: what was measured, and what is tolerated; None while it is measured.
        measured: numbers behind a live reference, of `needed`; None elsewhere.
        newest: mean of the newest numbers; None before the first.
        level: evidence; 1 alarms.
        silent: since when it should have had numbers and had none, ms; None otherwise.
    """

    name: str
    n: int
    reference: float | None
    bar: float | None
    measured: int | None
    needed: int
    newest: float | None
    level: float
    silent: int | None
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
    quiet = silent(own)
    return [
        standing(own, row, what, float(levels[row]), quiet.get(row))
        for what in layout.wanted
        for row in (layout.rows[what.name],)
    ]


def standing(
    own: VersionStreams, row: int, what: Watched, level: float, quiet: int | None
) -> Standing:
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
        None if what.automatic else quiet,
        what.improves,
    )


def silent(own: VersionStreams) -> dict[int, int]:
    """Since when each row is silent that is, ms: it had numbers, and has none for a day in which
    its share of what the busiest stream got would be `EXPECTED` or more. As exact as the bins of
    the history: the middle of the newest that holds any is taken for the end."""
    n = own.history.counts[:, : len(own.history.starts), 0].astype(np.float64)
    if not n.size:
        return {}
    busiest = n[int(n.sum(axis=1).argmax())]
    starts = own.history.starts
    middles = [(a + b) // 2 for a, b in pairwise([*starts, own.until])]
    return dict(silent_rows(n, busiest, middles, own.until))


def silent_rows(
    n: lanes.Floats, busiest: lanes.Floats, middles: list[int], until: int
) -> Iterator[tuple[int, int]]:
    for row in map(int, np.flatnonzero(n.sum(axis=1))):
        last = int(np.flatnonzero(n[row])[-1])
        before, after = busiest[: last + 1].sum(), busiest[last + 1 :].sum()
        expected = after * n[row].sum() / max(before, 1)
        if until - middles[last] >= DAY_MS and expected >= EXPECTED:
            yield row, middles[last]

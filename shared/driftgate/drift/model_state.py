"""What is remembered of one model between two ticks. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from driftgate.drift.incidents import Incidents
from driftgate.drift.learned_seasons import PassedIncident
from driftgate.drift.monitoring import Evidence
from driftgate.drift.observations import Observation
from driftgate.drift.supply import Supply
from driftgate.drift.triggers import RoutingContext

# Requests of a model whose verdict is remembered: those of a year of one a day, since seasons come
# again after a year.
JUDGED_KEPT = 400


@dataclass
class ModelState:
    """
    Attributes:
        repo_uri: artifact folder of the newest model repo that could be used; empty before one.
        under: what its routing says of the champion and of the versions on trial.
        judged: the newest requests that have a verdict, with the version that passed, if one did.
        time: of the last tick that was folded, ms.
        waiting: observations that no tick has folded yet.
        dropped: observations that were not kept since that tick.
        incidents: that are open, or may open again.
        passed: the newest incidents that passed by themselves.
        unreleased: versions that were told to answer though they may not.
        supply: what there is to learn since the last request.
    """

    repo_uri: str = ""
    under: RoutingContext = field(default_factory=RoutingContext)
    judged: dict[str, int | None] = field(default_factory=dict)
    time: int = 0
    waiting: list[Observation] = field(default_factory=list)
    dropped: int = 0
    evidence: Evidence = field(default_factory=Evidence)
    incidents: Incidents = field(default_factory=lambda: Incidents(""))
    passed: tuple[PassedIncident, ...] = ()
    unreleased: list[int] = field(default_factory=list)
    supply: Supply = field(default_factory=Supply)

    @property
    def watched(self) -> int | None:
        """The version whose alerts count: the champion. Where nothing is routed, as with an app
        that serves by itself, the one that gave most of the newest answers."""
        champion = self.under.champion
        return champion.version if champion else self.evidence.live_version

    @property
    def heeded(self) -> set[int]:
        """The versions whose alarms are told: champion and challengers, or, where nothing is
        routed, all that answer."""
        if self.under.champion is None:
            return set(self.evidence.streams)
        return {self.under.champion.version, *self.under.challengers}

    def judge(self, retrain_id: str, passed: int | None) -> None:
        """A request has its verdict: a version that passed, or none."""
        self.judged = dict([*self.judged.items(), (retrain_id, passed)][-JUDGED_KEPT:])

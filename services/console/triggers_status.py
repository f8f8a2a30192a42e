"""What the topics say of a model's triggers: what was asked for, is under way, was examined, and
which incidents are open. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from driftgate.drift import triggers
from driftgate.drift.triggers import RoutingContext, Told
from driftgate.events import (
    AnyEvent,
    Candidate,
    DriftAlert,
    RetrainRequest,
    Routing,
    Verdict,
)

KINDS = (RetrainRequest, Candidate, Verdict, Routing, DriftAlert)
TOPICS = tuple(kind.TOPIC for kind in KINDS)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a model's triggers.

    Attributes:
        requests, trained, verdicts: by request, and by version.
        steps: of incidents, in their order.
    """

    model: str
    under: RoutingContext = field(default_factory=RoutingContext)
    requests: Mapping[str, RetrainRequest] = field(default_factory=dict)
    trained: Mapping[str, Candidate] = field(default_factory=dict)
    verdicts: Mapping[int, Verdict] = field(default_factory=dict)
    steps: tuple[DriftAlert, ...] = ()

    def after(self, event: AnyEvent) -> Known:
        """What is known after one more event of `TOPICS`, each topic in its order."""
        match event:
            case Routing(model=self.model):
                return replace(self, under=triggers.routing_context(event, self.under.newest))
            case RetrainRequest(model=self.model):
                return replace(self, requests={**self.requests, event.retrain_id: event})
            case Candidate(model=self.model):
                return replace(self, trained={**self.trained, event.retrain_id: event})
            case Verdict(model=self.model):
                return replace(self, verdicts={**self.verdicts, event.version: event})
            case DriftAlert(model=self.model):
                return replace(self, steps=(*self.steps, event))
        return self

    def told(self, now: int) -> Told:
        """As the detector knows it, at a time, ms."""
        verdicts = self.verdicts.values()
        return Told(
            triggers.in_earnest(self.requests.values(), self.model, now),
            {v.retrain_id: v.version if v.result == "pass" else None for v in verdicts},
            verdicts,
            self.trained.values(),
            self.under,
        )

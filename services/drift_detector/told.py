"""What a tick tells of a model: its alerts, and the audit of what alarmed, improved, was measured
or could not be counted. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from driftgate.drift import backlog, traffic
from driftgate.drift.alarms import Improvement
from driftgate.drift.counts import LATENESS_MS
from driftgate.drift.incident_alerts import Known, alert, silence_alert
from driftgate.drift.incidents import Transition
from driftgate.drift.learned_seasons import PASSED, PassedIncident
from driftgate.drift.monitoring import Told
from driftgate.drift.quality import Baseline
from driftgate.drift.silence import Silence
from driftgate.events import DAY_MS, DriftAlert
from driftgate.model_repo import ModelYaml
from driftgate.runtime import AuditDraft, Effect

WEEK_MS = 7 * DAY_MS


@dataclass(frozen=True, slots=True)
class Teller:
    """Tells of one model at one tick, `now`, ms."""

    model: str
    config: ModelYaml
    now: int

    def steps(
        self, transitions: Iterable[Transition], told: Told, first: Mapping[int, int], action: str
    ) -> Iterator[Effect]:
        """The alert of each step of an incident, and its audit with what the stream was given:
        `lanes.grown` comes to the same level by that. `first` is when each version first
        answered, ms; `action` what the loop does about what is critical."""
        known = Known(self.model, {m.name: m for m in self.config.monitors}, first)
        given = {(one.version, one.stream): inputs for one, inputs in told.alarms}
        for step in transitions:
            shown = step.incident.shown
            event = alert(step, known, self.does(step, action))
            inputs = given.get((step.incident.version, shown.stream))
            feedback = self.config.feedback.model_dump()
            given_it = inputs and inputs._asdict()
            yield from self._alert(event, stream=shown.stream, given=given_it, feedback=feedback)

    def _alert(self, event: DriftAlert, **inputs: Any) -> Iterator[Effect]:
        """An alert and its audit."""
        yield event
        yield AuditDraft(
            model=self.model,
            decision="alert",
            inputs={"alert_id": event.alert_id, **inputs},
            result={
                "transition": event.transition,
                "severity": event.severity,
                "evidence": dict(event.evidence),
            },
            summary=event.summary,
            time=event.time,
            version=event.version,
            cause={"alert_id": event.alert_id},
        )

    @staticmethod
    def does(step: Transition, action: str) -> str:
        """What the loop does about an incident."""
        if step.kind == "close":
            return "nothing: it is over"
        if step.incident.is_operation:
            return "nothing: no training mends it"
        return action if step.incident.severity == "critical" else "nothing: it is only told"

    def passed(
        self, known: Sequence[PassedIncident] | None, champion: int | None, since: int
    ) -> Iterator[AuditDraft]:
        """All incidents that passed by themselves, each time that this changes: seasons are learned
        from them. The champion is it `since`, ms."""
        if known is None:
            return
        newest = f"; the newest: {known[-1].summary}" if known else ""
        yield AuditDraft(
            model=self.model,
            decision=PASSED,
            inputs={"champion": champion, "champion_since": since},
            result={"incidents": [asdict(one) for one in known]},
            summary=f"incidents that passed by themselves: {len(known)}{newest}",
            time=self.now,
            version=champion,
            cause={"time": self.now},  # what is told may be what was told before
        )

    def improved(self, improvements: Iterable[Improvement]) -> Iterator[AuditDraft]:
        """Told once a week and stream."""
        for alarm in (one.alarm for one in improvements):
            yield AuditDraft(
                model=self.model,
                decision="improved",
                inputs={"stream": alarm.stream, "reference": 1 - alarm.reference},
                result={"n": alarm.n, "mean": 1 - alarm.bad / max(alarm.n, 1)},
                summary=alarm.summary,
                time=self.now,
                version=alarm.version,
                cause={"version": alarm.version, "s": alarm.stream, "w": alarm.known // WEEK_MS},
            )

    def measured(self, baselines: Iterable[tuple[int, Baseline]]) -> Iterator[AuditDraft]:
        for version, baseline in baselines:
            name, under, is_ready = baseline.stream, baseline.under, baseline.is_ready
            yield AuditDraft(
                model=self.model,
                decision="reference",
                inputs={"stream": name, "feedback": under},
                result={
                    "ready": is_ready,
                    "answers": baseline.answers,
                    "mean": baseline.mean if is_ready else None,
                },
                summary=f"{name} of version {version}: {baseline.summary}",
                time=self.now,
                version=version,
                cause={"version": version, "stream": name, "feedback": under, "ready": is_ready},
            )

    def unreleased(self, version: int) -> Iterator[Effect]:
        """Answers from a version that no routing names."""
        incident_id = f"{self.model}@{version}:unreleased"
        event = DriftAlert(
            alert_id=f"{incident_id}:open",
            incident_id=incident_id,
            model=self.model,
            version=version,
            monitor="unreleased",
            signal="operation",
            slice="all",
            detector="routing",
            statistic=1.0,
            threshold=1.0,
            events=1,
            window_start=self.now,
            window_end=self.now,
            severity="warning",
            cause="an app, or a router that does not follow the routing",
            action="nothing: its answers are counted for no version that is released",
            advice=f"`driftgate rollout {self.model}` says which versions may answer",
            summary=f"answers come from version {version}, which was never released",
            time=self.now,
        )
        yield from self._alert(event)

    def silences(self, silences: Iterable[Silence]) -> Iterator[Effect]:
        """What is sent no more, so that nothing watches it, and what is sent again."""
        for one in silences:
            yield from self._alert(silence_alert(self.model, one), expected=one.expected)

    def crowded(self, names: Iterable[str]) -> Iterator[AuditDraft]:
        """Slices of which only the heaviest values are watched by themselves, each told once."""
        for name in names:
            yield AuditDraft(
                model=self.model,
                decision="crowded",
                inputs={"slice": name},
                result={"kept": traffic.KEPT, "watched": traffic.WATCHED},
                summary=traffic.in_words(name),
                time=self.now,
                cause={"slice": name},
            )

    def not_counted(self, dropped: int, late: int) -> Iterator[AuditDraft]:
        """Told once a day while it lasts."""
        kept = {"ahead_ms": backlog.AHEAD_MS, "ahead": backlog.AHEAD_KEPT, "all": backlog.KEPT}
        if dropped:
            yield self._daily(
                "drop",
                kept,
                dropped,
                "too many are ahead of the time, came since the last tick, or wait until people "
                "had their time to object",
            )
        if late:
            why = f"they came more than {LATENESS_MS // 1000} s after their time"
            yield self._daily("late", {"lateness_ms": LATENESS_MS}, late, why)

    def _daily(self, decision: str, inputs: Mapping[str, Any], count: int, why: str) -> AuditDraft:
        return AuditDraft(
            model=self.model,
            decision=decision,
            inputs=inputs,
            result={"observations": count},
            summary=f"{count} answers and outcomes do not count: {why}",
            time=self.now,
            cause={"day": self.now // DAY_MS},
        )

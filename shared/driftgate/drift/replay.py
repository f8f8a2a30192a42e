"""What would have been told when: events that were stored, in the order of their time, through the
code that decides live. Pure.

The clock of a replay ticks each `step_ms`, and whenever a routing or a verdict came. Incidents and
improvements do not depend on the step, since counts close by the time of the events. Triggers look
once a tick, so requests are dated to the step.

An event counts as known at its own time. Live it may have come later, or too late to count.

Nothing is trained in a replay. What triggers ask for is under way until a verdict on it comes,
which is stored where they asked for the same live, or until `triggers.TRAINING_DAYS` have passed.
Requests that the detector made live are not heard again from the beginning of the replay on, since
the triggers make their own; those of operators are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from driftgate.drift import triggers
from driftgate.drift.alarms import Improvement
from driftgate.drift.incidents import Incidents, Transition
from driftgate.drift.model_state import ModelState
from driftgate.drift.observations import Observation
from driftgate.drift.silence import Silence
from driftgate.drift.ticking import Heard, Ticked, tick
from driftgate.drift.triggers import Ask, Suppressed
from driftgate.events import HOUR_MS, Candidate, RetrainRequest, Routing, Verdict
from driftgate.model_repo import ModelYaml
from driftgate.topology import DRIFT

Event = Observation | Verdict | Routing | RetrainRequest | Candidate


@dataclass(frozen=True, slots=True)
class Said:
    """What a tick at `at`, ms, has to tell.

    Attributes:
        steps: of incidents.
        silences: of what is sent no more, or again.
        unreleased: versions that answer since, and may not.
        request: what triggers ask for; held: what they would ask for, and why it waits, told once.
        action: what the loop does about what is critical, in words.
    """

    at: int
    steps: tuple[Transition, ...] = ()
    improvements: tuple[Improvement, ...] = ()
    silences: tuple[Silence, ...] = ()
    unreleased: tuple[int, ...] = ()
    request: RetrainRequest | None = None
    held: Suppressed | None = None
    action: str = ""

    @property
    def is_silent(self) -> bool:
        told = (self.steps, self.improvements, self.silences, self.unreleased)
        return not any((*told, self.request, self.held))


@dataclass
class Replay:
    """One model from `since`, ms, on, as if its monitors were switched on then.

    Attributes:
        state: what is known by now.
    """

    config: ModelYaml
    since: int
    step_ms: int = HOUR_MS
    state: ModelState = field(init=False)
    _verdicts: dict[int, Verdict] = field(default_factory=dict)
    _requests: dict[str, RetrainRequest] = field(default_factory=dict)
    _candidates: list[Candidate] = field(default_factory=list)
    _due: list[Observation] = field(default_factory=list)
    _held: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.state = ModelState(incidents=Incidents(self.config.model))

    @property
    def heard(self) -> Heard:
        return Heard(self._verdicts, list(self._requests.values()), self._candidates)

    def run(self, events: Iterable[Event], until: int) -> Iterator[Said]:
        """What is told up to `until`, ms, by events in the order of their time. What the services
        said before `since` is heard first; answers and words of that time are passed over."""
        next_tick = self.since - self.since % self.step_ms + self.step_ms
        for event in events:
            if event.time >= until:
                break
            for now in range(next_tick, event.time + 1, self.step_ms):
                yield from self.tick(now)
                next_tick = now + self.step_ms
            match event:
                case Observation():
                    if event.time >= self.since:
                        self._due.append(event)
                case Routing() | Verdict() if event.time >= self.since:
                    yield from self.tick(event.time)
                    self.hear(event)
                    yield from self.tick(event.time)
                case _:
                    self.hear(event)
        for now in (*range(next_tick, until, self.step_ms), until):
            yield from self.tick(now)

    def hear(self, event: Verdict | Routing | RetrainRequest | Candidate) -> None:
        """What another service said."""
        match event:
            case Routing():
                self.state.under = triggers.routing_context(event, self.state.under)
            case Verdict():
                passed = event.version if event.result == "pass" else None
                self.state.judge(event.retrain_id, passed)
                self._verdicts[event.version] = event
            case RetrainRequest() if event.actor != DRIFT or event.time < self.since:
                self._requests[event.retrain_id] = event
            case Candidate():
                self._candidates.append(event)

    def tick(self, now: int) -> Iterator[Said]:
        """Nothing where there is nothing to tell."""
        due, self._due, self.state.time = self._due, [], now
        ticked = tick(self.state, due, self.heard, self.config, now)
        said = Said(
            now,
            tuple(ticked.steps),
            ticked.told.improvements,
            ticked.told.silences,
            tuple(ticked.unreleased),
            self.asked(ticked, now),
            self.first_held(ticked),
            ticked.action,
        )
        if not said.is_silent:
            yield said

    def asked(self, ticked: Ticked, now: int) -> RetrainRequest | None:
        """What triggers ask for, which is under way from now on."""
        if not isinstance(ticked.decision, Ask):
            return None
        request = triggers.request(self.config.model, ticked.decision, self.state.under, now)
        self._requests[request.retrain_id] = request
        return request

    def first_held(self, ticked: Ticked) -> Suppressed | None:
        """What waits, the first time that it does."""
        held = ticked.decision
        if not isinstance(held, Suppressed) or (why := str(held.cause)) in self._held:
            return None
        self._held.add(why)
        return held

"""What each version did since an epoch is served, and when that is told on `serving.counts`: at
most every 250 ms when there are new errors, so that a broken version is noticed before anything is
stored; else every 5 s while versions are being compared. Pure.

Whoever keeps a version counts once a minute as answered and once as failed, so that one who tries
again and again has one voice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from driftgate.events import Role, Routing, ServingCounts, VersionCounts
from driftgate.routing import arms_of

ERRORS_SECONDS = 0.25
ANSWERS_SECONDS = 5.0
ONCE_SECONDS = 60


@dataclass
class Tally:
    """What one version did."""

    digest: str
    answers: int = 0
    errors: int = 0
    shadow_answers: int = 0
    shadow_errors: int = 0


@dataclass
class EpochTally:
    """What the versions of one epoch did, and what was told of it: how many errors and how many
    answers in all, and when, s."""

    epoch: int
    versions: dict[int, Tally]
    told_at: float = float("-inf")
    told: tuple[int, int] = (0, 0)

    @classmethod
    def of(cls, routing: Routing) -> EpochTally:
        return cls(routing.epoch, {arm.version: Tally(arm.digest) for arm in arms_of(routing)})

    def is_due(self, now: float) -> bool:
        errors, answers = self.totals()
        if errors != self.told[0]:
            return now - self.told_at >= ERRORS_SECONDS
        compared = len(self.versions) > 1
        return compared and answers != self.told[1] and now - self.told_at >= ANSWERS_SECONDS

    def totals(self) -> tuple[int, int]:
        tallies = self.versions.values()
        return (
            sum(tally.errors + tally.shadow_errors for tally in tallies),
            sum(tally.answers + tally.shadow_answers for tally in tallies),
        )


@dataclass
class Counter:
    """Counts in one thread, tells in another: a number that is told a moment late is told next
    time.

    Attributes:
        router: its name.
        started: names the process, since counts begin anew in another.
    """

    router: str
    started: str
    _models: dict[str, EpochTally] = field(default_factory=dict)
    _minute: int = -1
    _counted: set[tuple[object, ...]] = field(default_factory=set)

    def count(
        self,
        routing: Routing,
        version: int,
        role: Role,
        key: str,
        now: float,
        failed: bool = False,
    ) -> None:
        """One answer to who keeps a version by `key`, or one that could not be computed; `now` in s
        of any clock. Those of an epoch before the newest are not counted any more."""
        if self._again(now, routing.model, routing.epoch, key, version, role, failed):
            return
        tally = self._models.get(routing.model)
        if tally is None or routing.epoch > tally.epoch:
            tally = self._models[routing.model] = EpochTally.of(routing)
        if routing.epoch < tally.epoch:
            return
        one = tally.versions[version]
        match role, failed:
            case "live", False:
                one.answers += 1
            case "live", True:
                one.errors += 1
            case "shadow", False:
                one.shadow_answers += 1
            case _:
                one.shadow_errors += 1

    def _again(self, now: float, *what: object) -> bool:
        """Whether it was counted in this minute."""
        if self._minute != now // ONCE_SECONDS:
            self._minute = int(now // ONCE_SECONDS)
            self._counted.clear()
        known = what in self._counted
        self._counted.add(what)
        return known

    def untold(self) -> None:
        """What was told did not arrive: it is due again."""
        for tally in list(self._models.values()):
            tally.told = (0, 0)

    def due(self, now: float, time: int) -> Iterator[ServingCounts]:
        """What is to be told by now. `now` in s of any clock, `time` the system's, ms."""
        for model, tally in list(self._models.items()):
            if not tally.is_due(now):
                continue
            tally.told_at, tally.told = now, tally.totals()
            yield ServingCounts(
                router=self.router,
                started=self.started,
                model=model,
                epoch=tally.epoch,
                versions=tuple(
                    VersionCounts(
                        version=version,
                        digest=one.digest,
                        answers=one.answers,
                        errors=one.errors,
                        shadow_answers=one.shadow_answers,
                        shadow_errors=one.shadow_errors,
                    )
                    for version, one in tally.versions.items()
                ),
                time=time,
            )

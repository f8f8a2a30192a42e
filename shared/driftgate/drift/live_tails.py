"""Where the tails of live signals begin, such as latency: held-out cases tell none, so the first
live answers of each version do. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from driftgate.drift.quality import REFERENCE_ANSWERS
from driftgate.signals import Answer, AnySignal, Signal, Tail
from driftgate.signals.quantile import quantile


@dataclass
class LiveTails:
    """Of one version.

    Attributes:
        numbers: of its first answers, by signal, while they are too few.
        cuts: by signal, once they are enough.
    """

    numbers: dict[str, list[float]] = field(default_factory=dict)
    cuts: dict[str, float] = field(default_factory=dict)

    def add(self, signals: Iterable[AnySignal], answers: Iterable[Answer]) -> None:
        """Further answers, by time. Of what has a cut nothing is kept."""
        answers = list(answers)
        for signal in signals:
            if isinstance(signal, Signal) and signal.live and signal.tail is not None:
                self._add(signal, signal.tail, answers)

    def _add(self, signal: Signal, tail: Tail, answers: Iterable[Answer]) -> None:
        if signal.name in self.cuts:
            return
        kept = self.numbers.setdefault(signal.name, [])
        kept += (x for answer in answers if (x := signal.number(answer)) is not None)
        if len(kept) >= REFERENCE_ANSWERS:
            self.cuts[signal.name] = quantile(
                [(x, 1.0) for x in kept[:REFERENCE_ANSWERS]], tail.quantile
            )
            del self.numbers[signal.name]

    @property
    def reference(self) -> Mapping[str, float]:
        """What `Signal.numbers` looks for, to stand beside what was measured on held-out cases."""
        return {f"cut|{name}": cut for name, cut in self.cuts.items()}

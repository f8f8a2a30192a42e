"""How long to wait before what failed is tried again."""

from __future__ import annotations

import random
from collections.abc import Hashable
from dataclasses import dataclass, field

FIRST_SECONDS = 0.1
# While something is away: so often is it worth a look.
LONGEST_SECONDS = 5.0


@dataclass
class Backoff:
    """Exponential, with full jitter (https://aws.amazon.com/blogs/architecture/
    exponential-backoff-and-jitter/), by whatever failed."""

    draw: random.Random = field(default_factory=random.Random)
    _failures: dict[Hashable, int] = field(default_factory=dict)

    def next(self, what: Hashable) -> float:
        """Seconds to wait now that `what` failed once more."""
        failures = self.failures(what)
        self._failures[what] = failures + 1
        longest = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(failures, 16))
        return self.draw.uniform(longest / 2, longest)

    def failures(self, what: Hashable) -> int:
        """How often `what` failed since it last worked."""
        return self._failures.get(what, 0)

    def forget(self, what: Hashable) -> None:
        """It worked."""
        self._failures.pop(what, None)

"""What a look at a rollout costs in a store that holds ten million answers.

The store's engine over HTTP, as the local stack runs it. The answers are of 400 days, the last seven
of which are a stage in which both versions answered every request, 60 % of the answers that were
heard labelled; asked under each way of counting, with a protected slice, a review sample and two
metrics. A look reads the rows of its stage: from the second on it knows where they begin.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from bench.figure import Figure
from bench.parts.bed import Bed

"""What every training by steps has in common: which examples share a step, how the learning rate
moves, and that a training which diverges ends."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from services.trainer.failures import TrainingFailed

WARM_UP = 0.1
"""Share of the steps over which the learning rate rises."""


def plan(lengths: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """One epoch's batches: texts of nearly one length together, so that hardly a token is padding.

    Which of the texts of one length share a batch, and the order of the batches, are drawn anew
    for each epoch.
    """
    draw = torch.Generator().manual_seed((seed << 16) + epoch)
    tie = torch.rand(len(lengths), generator=draw).tolist()
    order = sorted(range(len(lengths)), key=lambda row: (lengths[row], tie[row]))
    batches = [order[at : at + batch_size] for at in range(0, len(order), batch_size)]
    return [batches[at] for at in torch.randperm(len(batches), generator=draw).tolist()]


def dealt(items: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """One epoch's batches of some items, drawn anew for each epoch."""
    draw = torch.Generator().manual_seed((seed << 16) + epoch)
    order = [items[at] for at in torch.randperm(len(items), generator=draw).tolist()]
    return [order[at : at + batch_size] for at in range(0, len(order), batch_size)]


def rate(step: int, steps: int) -> float:
    """The learning rate's factor: a line up over the first tenth of the steps, then a line down."""
    warm = max(1, round(WARM_UP * steps))
    return min((step + 1) / warm, (steps - step) / max(1, steps - warm + 1))


def finite(
    value: float, epoch: int, step: int, learning_rate: float, name: str = "method.learning_rate"
) -> float:
    """The value, which is a loss or something that was learned. name: of the learning rate.

    Raises:
        TrainingFailed: it is no finite number any more.
    """
    if math.isfinite(value):
        return value
    raise TrainingFailed(
        f"the training diverged: {value} in epoch {epoch}, step {step}; lower {name} "
        f"({learning_rate:g} now), or check the base's weights"
    )

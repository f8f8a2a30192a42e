"""Which token is written next."""

from __future__ import annotations

import torch
from torch import Tensor

from driftgate.generator.question import Sampling

LIKELY = 512
"""Tokens that a nucleus is first looked for among: it is rarely larger, and to sort a whole
vocabulary takes longer than to compute a token."""


def drawn(logits: Tensor, sampling: Sampling, chance: float) -> int:
    """The token that a number in [0, 1) draws from logits [vocabulary], by inverting the
    distribution function."""
    if sampling.temperature == 0:
        return int(logits.argmax())
    # Less the largest, which is 0 then at any temperature: others may exceed all numbers.
    below = logits.double() - logits.max()
    probabilities = torch.softmax(below / sampling.temperature, dim=0)
    if sampling.top_p == 1:
        return _inverted(probabilities, chance)
    size = min(LIKELY, len(probabilities))
    values, tokens = probabilities.topk(size)
    if values.sum() < sampling.top_p:
        values, tokens = probabilities.sort(descending=True, stable=True)
    before = values.cumsum(0) - values
    return int(tokens[_inverted(values[before < sampling.top_p], chance)])


def _inverted(weights: Tensor, chance: float) -> int:
    sums = weights.cumsum(0)
    at = int(torch.searchsorted(sums, chance * sums[-1], right=True))
    return min(at, len(weights) - 1)

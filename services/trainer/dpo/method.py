"""How an adapter learns preferences."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Dpo:
    """beta: how dear it is to leave the reference. sft_weight: of the supervised loss of the
    examples. epochs: each shows every pair once, and as many examples. min_pairs: with fewer pairs
    no preference is learned. All else is as `sft.method.Method` says."""

    beta: float = 0.1
    sft_weight: float = 1.0
    epochs: int = 3
    learning_rate: float = 1e-4
    min_pairs: int = 50

"""How an adapter of a causal language model is trained."""

from __future__ import annotations

from dataclasses import dataclass

from driftgate.frozen import Kind


@dataclass(frozen=True, slots=True)
class Method:
    """kind: `lora`, or `qlora` with the base held in 4 bits. r, alpha: rank, and the adapter's
    weight times r. layers: how many of the top layers adapt. batch_size: pairs of one step.

    validation_share: of the pairs, by a hash of their inputs; they are not learned from.
    patience: so many epochs in a row without a lower validation loss end the training.
    """

    kind: Kind = "lora"
    r: int = 16
    alpha: int = 32
    layers: int = 8
    epochs: int = 3
    learning_rate: float = 5e-4
    batch_size: int = 16
    label_smoothing: float = 0.0
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    validation_share: float = 0.1
    patience: int = 2

"""What a training is given: examples, and how to learn from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from driftgate.dead_letters import BAD_NUMBER, UNHANDLED
from driftgate.errors import BadInput
from driftgate.frozen import Kind


@dataclass(frozen=True, slots=True)
class Example:
    """One text with its label. `weight` scales its loss and its share of the centroid."""

    text: str
    label: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Method:
    """How to train.

    kind: `lora`, or `qlora` with the base held in 4 bits. r, alpha: rank, and the adapter's weight
    times r. layers: how many of the top layers adapt. scale: of the cosine head's logits.
    """

    kind: Kind = "lora"
    r: int = 16
    alpha: int = 32
    layers: int = 2
    epochs: int = 3
    learning_rate: float = 2e-3
    head_learning_rate: float = 1e-3
    batch_size: int = 32
    label_smoothing: float = 0.05
    scale: float = 20.0


def labels_of(examples: Sequence[Example]) -> tuple[str, ...]:
    """The labels of a version, in the order of its prototypes.

    Raises:
        BadInput: there are fewer than two, or an example's weight is not positive.
    """
    labels = tuple(sorted({example.label for example in examples}))
    if len(labels) < 2:
        raise BadInput(UNHANDLED, "examples", labels, "examples of at least two labels")
    for number, example in enumerate(examples):
        if not 0 < example.weight < float("inf"):
            raise BadInput(BAD_NUMBER, f"examples[{number}].weight", example.weight, "above zero")
    return labels

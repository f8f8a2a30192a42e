"""The training loop: a cosine head that starts at the classes' centroids, AdamW, length buckets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from services.trainer.encoders import Encoder
from services.trainer.method import Example, Method
from services.trainer.schedule import finite, rate


def centroids(pooled: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Each class's mean direction, [classes, dim]."""
    picked = functional.one_hot(targets).float() * weights.unsqueeze(1)
    return functional.normalize(picked.T @ pooled)


class Run:
    """The state of a training between two epochs: parameters, optimiser, losses."""

    def __init__(
        self, examples: Sequence[Example], labels: Sequence[str], method: Method, encoder: Encoder
    ) -> None:
        row = {label: at for at, label in enumerate(labels)}
        at = encoder.model.device
        self.method, self.encoder, self.labels = method, encoder, tuple(labels)
        self.targets = torch.tensor([row[example.label] for example in examples], device=at)
        self.weights = torch.tensor([example.weight for example in examples], device=at)
        self.weights /= self.weights.mean()
        self.prototypes = centroids(encoder.bare(), self.targets, self.weights).requires_grad_()
        self.adapter = [p for p in encoder.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": self.adapter, "lr": method.learning_rate},
                {"params": [self.prototypes], "lr": method.head_learning_rate, "weight_decay": 0.0},
            ]
        )
        for group in self.optimizer.param_groups:
            group["peak"] = group["lr"]
        self.losses: list[float] = []
        self.step = 0

    @property
    def parameters(self) -> list[Tensor]:
        """All that is trained, in a fixed order."""
        return [*self.adapter, self.prototypes]

    @property
    def kept(self) -> list[Tensor]:
        """See `checkpoint.Resumable`."""
        return []

    @property
    def state(self) -> dict[str, Any]:
        """See `checkpoint.Resumable`."""
        return {"step": self.step, "losses": self.losses}

    def resume(self, state: Mapping[str, Any]) -> int:
        """See `checkpoint.Resumable`."""
        self.step, self.losses = state["step"], state["losses"]
        return len(self.losses)

    def epoch(self, batches: Sequence[Sequence[int]]) -> None:
        """One pass over the examples.

        Raises:
            TrainingFailed: the loss, or what was learned, is no finite number any more.
        """
        total = 0.0
        for rows in batches:
            for group in self.optimizer.param_groups:
                group["lr"] = group["peak"] * rate(self.step, len(batches) * self.method.epochs)
            loss = self._loss(rows)
            total += self._finite(loss.item())
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            self.step += 1
        for parameter in self.parameters:
            self._finite(parameter.detach().sum().item())
        self.losses.append(total / len(batches))

    def _loss(self, rows: Sequence[int]) -> Tensor:
        cosines = self.encoder.pooled(rows) @ functional.normalize(self.prototypes).T
        at = torch.tensor(rows, device=cosines.device)
        each = functional.cross_entropy(
            self.method.scale * cosines,
            self.targets[at],
            reduction="none",
            label_smoothing=self.method.label_smoothing,
        )
        return (each * self.weights[at]).mean()

    def _finite(self, value: float) -> float:
        return finite(value, len(self.losses) + 1, self.step + 1, self.method.learning_rate)

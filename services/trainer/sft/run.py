"""The training loop: AdamW, steps of a declared number of pairs, the epoch with the lowest
validation loss is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from services.trainer.schedule import finite, rate
from services.trainer.sft.method import Method
from services.trainer.sft.network import Adapted

Told = Callable[[int, float], None]
"""Called after each step with its number and its loss."""


class Run:
    """The state of a training between two epochs.

    losses, validation: of each epoch, the mean negative log-probability of an answer's token;
    without pairs to validate on, validation is empty. kept: what was learned by the end of the
    best epoch.
    """

    def __init__(self, network: Adapted, method: Method) -> None:
        self.network, self.method = network, method
        self.parameters = [p for p in network.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=method.learning_rate, weight_decay=method.weight_decay
        )
        self.kept = [parameter.detach().clone() for parameter in self.parameters]
        self.losses: list[float] = []
        self.validation: list[float] = []
        self.step = 0

    @property
    def state(self) -> dict[str, Any]:
        """See `checkpoint.Resumable`."""
        return {"step": self.step, "losses": self.losses, "validation": self.validation}

    def resume(self, state: Mapping[str, Any]) -> int:
        """See `checkpoint.Resumable`."""
        self.step, self.losses = state["step"], state["losses"]
        self.validation = state["validation"]
        return len(self.losses)

    # ------------------------------------------------------------ one epoch

    def epoch(self, batches: Sequence[Sequence[int]], validated: Sequence[int], told: Told) -> None:
        """One pass over the pairs.

        Raises:
            TrainingFailed: the loss, or what was learned, is no finite number any more.
        """
        steps, total, tokens = len(batches) * self.method.epochs, 0.0, 0
        for rows in batches:
            for group in self.optimizer.param_groups:
                group["lr"] = self.method.learning_rate * rate(self.step, steps)
            loss, count = self._step(rows)
            total, tokens = total + loss * count, tokens + count
            told(self.step, loss)
        for parameter in self.parameters:
            self._finite(parameter.detach().sum().item())
        self.losses.append(total / tokens)
        if validated:
            self.validation.append(self._finite(self.loss(validated)))
        if not validated or self.best == len(self.losses) - 1:
            for best, parameter in zip(self.kept, self.parameters, strict=True):
                best.copy_(parameter.detach())

    def _step(self, rows: Sequence[int]) -> tuple[float, int]:
        """The mean loss of the answers' tokens, and how many there are. Gradients of passes that
        fit into memory add up to those of the whole step."""
        self.optimizer.zero_grad(set_to_none=True)
        count = sum(len(self.network.pairs[row].completion) for row in rows)
        total = 0.0
        for part in self.network.passes(rows):
            loss = self.network.losses(part, self.method.label_smoothing).sum() / count
            total += self._finite(loss.item())
            loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, self.method.max_grad_norm)
        self.optimizer.step()
        self.step += 1
        return total, count

    @torch.no_grad()
    def loss(self, rows: Sequence[int]) -> float:
        """The mean negative log-probability of the answers' tokens, without learning."""
        found = [self.network.losses(part) for part in self.network.passes(rows)]
        return float(torch.cat(found).mean())

    # ------------------------------------------------------------ the best epoch

    @property
    def best(self) -> int:
        """The number, from 0, of the first epoch with the lowest validation loss; of the last one
        where nothing is validated."""
        if not self.validation:
            return len(self.losses) - 1
        return min(range(len(self.validation)), key=self.validation.__getitem__)

    @property
    def over(self) -> bool:
        """Whether more epochs would hardly help."""
        return len(self.losses) - 1 - self.best >= self.method.patience

    def take_best(self) -> None:
        """Goes back to the best epoch."""
        with torch.no_grad():
            for best, parameter in zip(self.kept, self.parameters, strict=True):
                parameter.copy_(best)

    def _finite(self, value: float) -> float:
        return finite(value, len(self.losses) + 1, self.step + 1, self.method.learning_rate)

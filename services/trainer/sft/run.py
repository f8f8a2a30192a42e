"""The training loop: AdamW, steps of a declared number of pairs, the epoch with the lowest
validation loss is kept. What is lowered is an objective's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from services.trainer.schedule import dealt, finite, rate
from services.trainer.sft.method import Method
from services.trainer.sft.network import Adapted

Told = Callable[[int, float], None]
"""Called after each step with its number and its loss."""


class Objective(Protocol):
    """What a training lowers: the mean loss of items, by their numbers.

    fixed: tensors that were computed before the first step and that a resumed run goes on with.
    rate: what model.yaml calls its learning rate.
    """

    rate: str

    @property
    def fixed(self) -> Sequence[Tensor]: ...

    def batches(
        self, items: Sequence[int], size: int, seed: int, epoch: int
    ) -> Sequence[Sequence[int]]:
        """The steps of one epoch."""

    def passes(self, items: Sequence[int]) -> Iterator[list[int]]:
        """The items in as many parts as memory asks for."""

    def loss(self, part: Sequence[int], whole: Sequence[int]) -> Tensor:
        """The share of a part in the mean loss of the whole; those of all parts add up to it."""

    def weight(self, items: Sequence[int]) -> int:
        """What the mean is over: so many tokens, or items."""


class Answers:
    """Supervised tuning: the mean negative log-probability of an answer's token."""

    fixed = ()
    rate = "method.learning_rate"

    def __init__(self, network: Adapted, smoothing: float) -> None:
        self.network, self.smoothing = network, smoothing

    def batches(
        self, items: Sequence[int], size: int, seed: int, epoch: int
    ) -> Sequence[Sequence[int]]:
        return dealt(items, size, seed, epoch)

    def passes(self, items: Sequence[int]) -> Iterator[list[int]]:
        return self.network.passes(items)

    def loss(self, part: Sequence[int], whole: Sequence[int]) -> Tensor:
        smoothing = self.smoothing if torch.is_grad_enabled() else 0.0
        return self.network.losses(part, smoothing).sum() / self.weight(whole)

    def weight(self, items: Sequence[int]) -> int:
        return sum(len(self.network.pairs[row].completion) for row in items)


class Run:
    """The state of a training between two epochs.

    losses, validation: of each epoch, the mean of what the objective lowers; without pairs to
    validate on, validation is empty. start: what validation was before the first step, where a
    training may end with what it began with. kept: what was learned by the end of the best epoch.
    """

    def __init__(self, network: Adapted, method: Method, objective: Objective) -> None:
        self.method, self.objective = method, objective
        self.parameters = [p for p in network.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=method.learning_rate, weight_decay=method.weight_decay
        )
        self._best = [parameter.detach().clone() for parameter in self.parameters]
        self.start: float | None = None
        self.losses: list[float] = []
        self.validation: list[float] = []
        self.step = 0

    @property
    def kept(self) -> list[Tensor]:
        """See `checkpoint.Resumable`."""
        return [*self._best, *self.objective.fixed]

    @property
    def state(self) -> dict[str, Any]:
        """See `checkpoint.Resumable`."""
        return {"step": self.step, "losses": self.losses, "validation": self.validation}

    def resume(self, state: Mapping[str, Any]) -> int:
        """See `checkpoint.Resumable`."""
        self.step, self.losses = state["step"], state["losses"]
        self.validation = state["validation"]
        return len(self.losses)

    # ------------------------------------------------------------ epochs

    def fit(
        self,
        learned: Sequence[int],
        validated: Sequence[int],
        seed: int,
        told: Told,
        save: Callable[[], None],
    ) -> None:
        """All epochs that are left, up to the best one. `save` is called after each.

        Raises:
            TrainingFailed: see `epoch`.
        """
        for epoch in range(len(self.losses), self.method.epochs):
            if self.over:
                break
            batches = self.objective.batches(learned, self.method.batch_size, seed, epoch)
            self.epoch(batches, validated, told)
            save()
        self.take_best()

    def epoch(self, batches: Sequence[Sequence[int]], validated: Sequence[int], told: Told) -> None:
        """One pass over the items.

        Raises:
            TrainingFailed: the loss, or what was learned, is no finite number any more.
        """
        steps, total, weight = len(batches) * self.method.epochs, 0.0, 0
        for rows in batches:
            for group in self.optimizer.param_groups:
                group["lr"] = self.method.learning_rate * rate(self.step, steps)
            loss, share = self._step(rows), self.objective.weight(rows)
            total, weight = total + loss * share, weight + share
            told(self.step, loss)
        for parameter in self.parameters:
            self._finite(parameter.detach().sum().item())
        self.losses.append(total / weight)
        if validated:
            self.validation.append(self._finite(self.loss(validated)))
        if not validated or self.best == len(self.losses) - 1:
            for best, parameter in zip(self._best, self.parameters, strict=True):
                best.copy_(parameter.detach())

    def _step(self, rows: Sequence[int]) -> float:
        """The mean loss. Gradients of passes that fit into memory add up to those of the whole
        step."""
        self.optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for part in self.objective.passes(rows):
            loss = self.objective.loss(part, rows)
            total += self._finite(loss.item())
            loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, self.method.max_grad_norm)
        self.optimizer.step()
        self.step += 1
        return total

    @torch.no_grad()
    def loss(self, rows: Sequence[int]) -> float:
        """The mean loss, without learning."""
        parts = self.objective.passes(rows)
        return float(torch.stack([self.objective.loss(part, rows) for part in parts]).sum())

    # ------------------------------------------------------------ the best epoch

    @property
    def best(self) -> int:
        """The number, from 0, of the first epoch with the lowest validation loss; -1 where none is
        below the start; of the last one where nothing is validated."""
        if not self.validation:
            return len(self.losses) - 1
        best = min(range(len(self.validation)), key=self.validation.__getitem__)
        worse = self.start is not None and self.start <= self.validation[best]
        return -1 if worse else best

    @property
    def over(self) -> bool:
        """Whether more epochs would hardly help."""
        return len(self.losses) - 1 - self.best >= self.method.patience

    def take_best(self) -> None:
        """Goes back to the best epoch."""
        with torch.no_grad():
            for best, parameter in zip(self._best, self.parameters, strict=True):
                parameter.copy_(best)

    def _finite(self, value: float) -> float:
        place = len(self.losses) + 1, self.step + 1
        return finite(value, *place, self.method.learning_rate, self.objective.rate)

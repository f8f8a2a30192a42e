"""Multinomial logistic regression under an L2 penalty that cross-validation chooses. Pure.

Minimised is the mean negative log-probability of the targets, plus penalty / 2 · ‖weights‖²; the
bias is free. By L-BFGS (Liu and Nocedal 1989, https://doi.org/10.1007/BF01589116): the problem is
convex, so that where it starts decides the time alone. Penalties are tried from the strongest on,
each fit starting from the one before it (Friedman et al. 2010, https://doi.org/10.18637/jss.v033.i01).

The penalty with the lowest loss on what was left out gives honest probabilities, too. Measured on
Banking77 with embeddings of all-MiniLM-L6-v2, 300 to 10,003 rows: 3 folds choose as 5 do, and what
they choose has an expected calibration error of 2 to 3 points, and an accuracy of at most half a
point below that of the best penalty. Standardising the columns helps nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from driftgate.split import draw, normalised

PENALTIES = tuple(10 ** -(3 + half / 2) for half in range(10))
"""From 1e-3, too strong for embeddings of length 1, to 3e-8, which is next to none."""

FOLDS = 3

TOLERANCE = 1e-6
"""Of the objective, relative. A thousandth of it chooses the same penalties and takes 1.6 times as
long."""

ITERATIONS = 500
"""Banking77's 10,003 rows need 133."""


@dataclass(frozen=True, slots=True)
class Rows:
    """embeddings: float64 [rows, dim]. targets: int64 [rows]. weights: float64 [rows], their mean
    is 1. classes: how many there are."""

    embeddings: Tensor
    targets: Tensor
    weights: Tensor
    classes: int

    def where(self, picked: Tensor) -> Rows:
        """The rows that a bool [rows] picks."""
        return Rows(
            self.embeddings[picked], self.targets[picked], self.weights[picked], self.classes
        )


@dataclass(frozen=True, slots=True)
class Fit:
    """parameters: float64 [classes, dim + 1], the last column is the bias. steps: iterations."""

    parameters: Tensor
    steps: int

    @property
    def weights(self) -> Tensor:
        """[classes, dim]"""
        return self.parameters[:, :-1]

    @property
    def bias(self) -> Tensor:
        """[classes]"""
        return self.parameters[:, -1]

    def loss(self, rows: Rows) -> float:
        """The weighted sum of the negative log-probabilities of the targets, without penalty."""
        return float(_loss(self.parameters, rows)[0])


def fit(rows: Rows, penalty: float, start: Fit | None = None) -> Fit:
    """The best fit. The products are torch's, whose threads are set, so that the bits are."""
    shape = (rows.classes, rows.embeddings.shape[1] + 1)
    scale = 1 / float(rows.weights.sum())

    def objective(flat: np.ndarray[Any, Any]) -> tuple[float, np.ndarray[Any, Any]]:
        parameters = torch.from_numpy(flat).view(shape)
        loss, gradient = _loss(parameters, rows)
        gradient *= scale
        gradient[:, :-1] += penalty * parameters[:, :-1]
        norm = float((parameters[:, :-1] ** 2).sum())
        return scale * float(loss) + penalty / 2 * norm, gradient.numpy().ravel()

    begin = np.zeros(shape) if start is None else start.parameters.numpy()
    options = {"maxiter": ITERATIONS, "ftol": TOLERANCE, "gtol": 1e-6}
    found = minimize(objective, begin.ravel(), jac=True, method="L-BFGS-B", options=options)
    return Fit(torch.from_numpy(found.x).view(shape), int(found.nit))


def _loss(parameters: Tensor, rows: Rows) -> tuple[Tensor, Tensor]:
    """The summed loss, and its gradient [classes, dim + 1]."""
    logits = torch.addmm(parameters[:, -1], rows.embeddings, parameters[:, :-1].T)
    logs = torch.log_softmax(logits, dim=1)
    targets = rows.targets[:, None]
    loss = -(rows.weights @ logs.gather(1, targets).squeeze(1))
    errors = logs.exp_()
    errors.scatter_add_(1, targets, torch.full_like(targets, -1, dtype=errors.dtype))
    errors *= rows.weights[:, None]
    return loss, torch.cat([errors.T @ rows.embeddings, errors.sum(0)[:, None]], dim=1)


def folds(texts: Sequence[str], seed: int, always: int = 0) -> Tensor:
    """A fold for each text, int64; texts that are alike share one. So many rows after them are in
    none: they are learned from always."""
    drawn = [int(FOLDS * draw(f"fold:{seed}:{normalised(text)}")) for text in texts]
    return torch.tensor([*drawn, *[-1] * always])


def chosen(rows: Rows, fold: Tensor, tried: Callable[[float], None]) -> tuple[float, float]:
    """The penalty that is best on rows that were left out, and the mean loss on them. `tried` is
    called after each penalty.

    A left out row counts where its class stands among the others, since no penalty finds what was
    never shown. Where none counts, the strongest penalty is taken.
    """
    sides = []
    for one in range(FOLDS):
        learned = rows.where(fold != one)
        known = torch.isin(rows.targets, learned.targets)
        sides.append((learned, rows.where((fold == one) & known)))
    count = max(1.0, sum(float(held.weights.sum()) for _, held in sides))
    sides = [(learned, held) for learned, held in sides if len(held.targets)]
    fits: list[Fit | None] = [None] * len(sides)
    best, least = PENALTIES[0], float("inf")
    for penalty in PENALTIES:
        fits = [fit(side[0], penalty, last) for side, last in zip(sides, fits, strict=True)]
        loss = sum(one.loss(held) for one, (_, held) in zip(fits, sides, strict=True) if one)
        tried(penalty)
        if loss >= least:  # and rises from here on
            break
        best, least = penalty, loss
    return best, least / count

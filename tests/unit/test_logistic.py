"""The fit of a linear head, on numbers."""

from __future__ import annotations

import pytest
import torch

from services.trainer import logistic
from services.trainer.logistic import FOLDS, PENALTIES, Fit, Rows


def rows(count: int = 60, classes: int = 3, noise: float = 0.0, seed: int = 0) -> Rows:
    """Embeddings around one direction for each class; `noise`: the share of targets at random."""
    draw = torch.Generator().manual_seed(seed)
    targets = torch.arange(count) % classes
    centres = torch.eye(8, dtype=torch.float64)[:classes]
    x = centres[targets] + 0.3 * torch.randn(count, 8, generator=draw, dtype=torch.float64)
    drawn = torch.randint(classes, (count,), generator=draw)
    targets = torch.where(torch.rand(count, generator=draw) < noise, drawn, targets)
    embeddings = torch.nn.functional.normalize(x)
    return Rows(embeddings, targets, torch.ones(count, dtype=torch.float64), classes)


def objective(made: Fit, given: Rows, penalty: float) -> torch.Tensor:
    """Written out anew, to differentiate by torch."""
    parameters = made.parameters.clone().requires_grad_()
    logits = given.embeddings @ parameters[:, :-1].T + parameters[:, -1]
    each = torch.nn.functional.cross_entropy(logits, given.targets, reduction="none")
    mean = (given.weights * each).sum() / given.weights.sum()
    (mean + penalty / 2 * parameters[:, :-1].square().sum()).backward()
    found = parameters.grad
    assert found is not None
    return found


@pytest.mark.parametrize("penalty", [1e-1, 1e-3])
def test_a_fit_is_where_the_gradient_vanishes(penalty: float) -> None:
    given = rows(noise=0.3)
    torch.testing.assert_close(
        objective(logistic.fit(given, penalty), given, penalty),
        torch.zeros(3, 9, dtype=torch.float64),
        rtol=0,
        atol=1e-3,
    )


def test_a_row_of_twice_the_weight_counts_as_two() -> None:
    given = rows(30, noise=0.3)
    doubled = torch.cat([torch.arange(30), torch.arange(10)])
    ones = torch.ones(40, dtype=torch.float64)
    twice = Rows(given.embeddings[doubled], given.targets[doubled], ones, 3)
    heavy = given.weights.clone()
    heavy[:10] = 2
    weighted = Rows(given.embeddings, given.targets, heavy, 3)
    made, other = (logistic.fit(each, 1e-2) for each in (twice, weighted))
    torch.testing.assert_close(made.parameters, other.parameters, rtol=0, atol=2e-2)


def test_where_labels_are_noisy_a_stronger_penalty_is_chosen() -> None:
    """Its loss on rows that were left out is the lowest of all that were tried."""
    fold = torch.arange(300) // 3 % FOLDS
    tried: list[float] = []
    noisy, noisy_loss = logistic.chosen(rows(300, noise=0.6), fold, tried.append)
    clean, clean_loss = logistic.chosen(rows(300), fold, lambda penalty: None)
    assert noisy > clean
    assert noisy_loss > clean_loss
    assert tried == list(PENALTIES[: len(tried)])
    assert noisy == tried[max(0, len(tried) - 2)]


def test_a_class_that_only_one_fold_has_does_not_decide() -> None:
    """Left out, it is known to nobody, whatever the penalty."""
    given = rows(120, noise=0.2)
    fold = torch.arange(120) // 3 % FOLDS
    alone = Rows(
        torch.cat([given.embeddings, torch.eye(8, dtype=torch.float64)[7:]]),
        torch.cat([given.targets, torch.tensor([3])]),
        torch.ones(121, dtype=torch.float64),
        4,
    )
    with_it, loss = logistic.chosen(
        alone, torch.cat([fold, torch.tensor([0])]), lambda penalty: None
    )
    without, expected = logistic.chosen(given, fold, lambda penalty: None)
    assert with_it == without
    assert loss == pytest.approx(expected, rel=0.05)


def test_of_too_few_rows_the_strongest_penalty_is_taken() -> None:
    found, loss = logistic.chosen(rows(3), torch.tensor([0, 1, 2]), lambda penalty: None)
    assert (found, loss) == (PENALTIES[0], 0.0)


def test_texts_that_are_alike_are_left_out_together() -> None:
    texts = [f"text {n}" for n in range(60)]
    shouted = [text.upper() + "  " for text in texts]
    found = logistic.folds(texts + shouted, seed=7)
    assert torch.equal(found[:60], found[60:])
    assert set(found.tolist()) == set(range(FOLDS))
    assert not torch.equal(logistic.folds(texts, seed=8), found[:60])

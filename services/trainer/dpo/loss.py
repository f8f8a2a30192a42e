"""The loss of direct preference optimisation. Pure.

Of a pair with the chosen answer c and the rejected one r to an input x, under the network π and its
reference π₀, which is what the network was before the first step,

    −log σ(β · [log π(c|x) / π₀(c|x) − log π(r|x) / π₀(r|x)])

(Rafailov et al. 2023, https://arxiv.org/abs/2305.18290, equation 7). It asks for a distance between
the two alone, which also grows while both become less likely; so a share of a supervised loss is
added to it. Pang et al. 2024 (https://arxiv.org/abs/2404.19733) take that of the chosen answers.
Here it is that of all examples, accepted answers among them, which are the baseline distribution of
Liu et al. 2024 (https://arxiv.org/abs/2405.16436): pairs come from wrong answers alone, and what
these often say is right elsewhere.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def preference_loss(
    chosen: Tensor, rejected: Tensor, reference: tuple[Tensor, Tensor], beta: float
) -> Tensor:
    """Of each pair, [pairs]. chosen, rejected: log-probabilities of whole answers, [pairs];
    reference: the same two under the reference.

    >>> import torch
    >>> half = torch.tensor([-2.0])
    >>> preference_loss(half, half, (half, half), beta=0.1)
    tensor([0.6931])
    >>> preference_loss(half + 5, half - 5, (half, half), beta=0.1)
    tensor([0.3133])
    """
    gained = (chosen - reference[0]) - (rejected - reference[1])
    return -functional.logsigmoid(beta * gained)


def wins(chosen: Tensor, rejected: Tensor) -> float:
    """The share of pairs whose chosen answer is the likelier one."""
    return float((chosen > rejected).float().mean())

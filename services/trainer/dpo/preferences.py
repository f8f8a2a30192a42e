"""Pairs of answers of which one is preferred become token ids, and what a training lowers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from driftgate.split import normalised
from services.trainer.dpo.loss import preference_loss, wins
from services.trainer.dpo.method import Dpo
from services.trainer.sft.pairs import LeftOut, Limits, Pair, short_pair

if TYPE_CHECKING:
    from driftgate.generator.chat import Chat
    from driftgate.generator.prompt import Prompt
    from services.trainer.sft.network import Adapted


@dataclass(frozen=True, slots=True)
class Preference:
    """Two answers to one input."""

    chosen: Pair
    rejected: Pair


def preferences_of(
    rows: Iterable[tuple[str, str, str]], chat: Chat, prompt: Prompt, limits: Limits
) -> tuple[list[Preference], Mapping[str, int]]:
    """Preferences of rows (text, chosen, rejected), and how many rows were left out why."""
    found, left_out = [], Counter[str]()
    for text, chosen, rejected in rows:
        try:
            answers = [short_pair(text, each, chat, prompt, limits) for each in (chosen, rejected)]
            if answers[0] == answers[1]:
                raise LeftOut("both answers have the same tokens")
            found.append(Preference(*answers))
        except LeftOut as cause:
            left_out[f"preference: {cause}"] += 1
    return found, dict(left_out)


def split_like(
    preferences: Sequence[Preference], validated: Iterable[Pair]
) -> tuple[list[int], list[int]]:
    """Places of the preferences that are learned, and of those whose inputs are validated on."""
    held = {normalised(pair.text) for pair in validated}
    there = [normalised(each.chosen.text) in held for each in preferences]
    learned = [at for at, inside in enumerate(there) if not inside]
    picked = [at for at, inside in enumerate(there) if inside]
    return (learned, picked) if learned else (picked, [])


class Preferring:
    """The objective: the mean loss of a preference, and of a chosen answer's token.

    pairs: the rows of the network with the chosen and the rejected answer of each preference.
    """

    rate = "method.dpo.learning_rate"

    def __init__(self, network: Adapted, pairs: Sequence[tuple[int, int]], dpo: Dpo) -> None:
        self.network, self.pairs, self.dpo = network, pairs, dpo
        self.reference = torch.zeros(2, len(pairs), device=network.device)

    @property
    def fixed(self) -> Sequence[Tensor]:
        return [self.reference]

    def passes(self, items: Sequence[int]) -> Iterator[list[int]]:
        own = self.network.own
        return self.network.parts(items, lambda item: sum(own[row] for row in self.pairs[item]))

    def loss(self, part: Sequence[int], whole: Sequence[int]) -> Tensor:
        chosen, rejected = self._answers(part)
        before = self.reference[:, list(part)]
        prefers = preference_loss(chosen, rejected, (before[0], before[1]), self.dpo.beta)
        return prefers.sum() / len(whole) - self._supervised(chosen, whole)

    def weight(self, items: Sequence[int]) -> int:
        return len(items)

    # ------------------------------------------------------------ the reference

    @torch.no_grad()
    def refer(self) -> None:
        """The network as it is now becomes the reference."""
        for part in self.passes(range(len(self.pairs))):
            self.reference[:, part] = torch.stack(self._answers(part))

    def start(self, items: Sequence[int]) -> float:
        """The mean loss under the reference itself."""
        chosen, rejected = self.reference[:, list(items)]
        even = preference_loss(chosen, rejected, (chosen, rejected), self.dpo.beta).mean()
        return float(even - self._supervised(chosen, items))

    # ------------------------------------------------------------ how far it is learned

    def wins_before(self, items: Sequence[int]) -> float:
        """The share of preferences whose chosen answer was the likelier one for the reference."""
        return wins(*self.reference[:, list(items)])

    @torch.no_grad()
    def wins(self, items: Sequence[int]) -> float:
        """The same of the network as it is now."""
        found = [torch.stack(self._answers(part)) for part in self.passes(items)]
        return wins(*torch.cat(found, dim=1))

    def _answers(self, part: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Log-probabilities of the chosen and of the rejected answers."""
        rows = [self.pairs[item][side] for side in (0, 1) for item in part]
        found = self.network.log_probabilities(rows)
        return found[: len(part)], found[len(part) :]

    def _supervised(self, chosen: Tensor, whole: Sequence[int]) -> Tensor:
        """The weighted share of some chosen answers in the mean log-probability of their tokens."""
        tokens = sum(len(self.network.pairs[self.pairs[item][0]].completion) for item in whole)
        return self.dpo.sft_weight * chosen.sum() / tokens

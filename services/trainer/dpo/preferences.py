"""Pairs of answers of which one is preferred become token ids, and what a training lowers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from driftgate.split import normalised
from services.trainer.dpo.loss import preference_loss, wins
from services.trainer.dpo.method import Dpo
from services.trainer.schedule import dealt
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
    """The objective: the mean loss of a preference, and a share of that of an example's token.

    Items are preferences, numbered from 0, and after them examples, as `examples` numbers them.
    pairs: the rows of the network with the chosen and the rejected answer of each preference.
    """

    rate = "method.dpo.learning_rate"

    def __init__(self, network: Adapted, pairs: Sequence[tuple[int, int]], dpo: Dpo) -> None:
        self.network, self.pairs, self.dpo = network, pairs, dpo
        self.reference = torch.zeros(len(network.pairs), device=network.device)

    @property
    def fixed(self) -> Sequence[Tensor]:
        return [self.reference]

    def examples(self, rows: Iterable[int]) -> list[int]:
        """The items of examples that stand in these rows of the network."""
        return [len(self.pairs) + row for row in rows]

    def batches(
        self, items: Sequence[int], size: int, seed: int, epoch: int
    ) -> Sequence[Sequence[int]]:
        """Each preference once, and beside those of a step as many examples, of which there may be
        more than an epoch has room for, or fewer."""
        preferences, examples = self._sorted(items)
        beside = cycle(dealt(self.examples(examples), size, seed, epoch))
        return [[*some, *next(beside)] for some in dealt(preferences, size, seed, epoch)]

    def passes(self, items: Sequence[int]) -> Iterator[list[int]]:
        own = self.network.own
        return self.network.parts(items, lambda item: sum(own[row] for row in self._rows([item])))

    def loss(self, part: Sequence[int], whole: Sequence[int]) -> Tensor:
        return self._share(self._said(part), part, whole)

    def weight(self, items: Sequence[int]) -> int:
        return len(self._sorted(items)[0])

    # ------------------------------------------------------------ the reference

    @torch.no_grad()
    def refer(self, items: Sequence[int]) -> None:
        """The network as it is now becomes the reference of these items."""
        for part in self.passes(items):
            rows = self._rows(part)
            self.reference[rows] = self.network.log_probabilities(rows)

    def start(self, items: Sequence[int]) -> float:
        """The mean loss under the reference itself."""
        return float(self._share(self.reference, items, items))

    # ------------------------------------------------------------ how far it is learned

    def wins_before(self, preferences: Sequence[int]) -> float:
        """The share of preferences whose chosen answer was the likelier one for the reference."""
        return wins(*self._both(self.reference, preferences))

    @torch.no_grad()
    def wins(self, preferences: Sequence[int]) -> float:
        """The same of the network as it is now."""
        found = [
            torch.stack(self._both(self._said(part), part)) for part in self.passes(preferences)
        ]
        return wins(*torch.cat(found, dim=1))

    # ------------------------------------------------------------ items and rows

    def _sorted(self, items: Sequence[int]) -> tuple[list[int], list[int]]:
        """The preferences among the items, and the rows of the examples."""
        count = len(self.pairs)
        return [at for at in items if at < count], [at - count for at in items if at >= count]

    def _rows(self, items: Sequence[int]) -> list[int]:
        """All rows that the items need, each once."""
        preferences, rows = self._sorted(items)
        return list(dict.fromkeys([*(row for at in preferences for row in self.pairs[at]), *rows]))

    def _said(self, items: Sequence[int]) -> Tensor:
        """Log-probabilities of whole answers by rows of the network; 0 of rows of other items."""
        rows = self._rows(items)
        at = torch.tensor(rows, device=self.reference.device)
        said = self.network.log_probabilities(rows)
        return torch.zeros_like(self.reference).index_put((at,), said)

    def _both(self, said: Tensor, preferences: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Of the chosen and of the rejected answers."""
        chosen, rejected = ([self.pairs[at][side] for at in preferences] for side in (0, 1))
        return said[chosen], said[rejected]

    def _share(self, said: Tensor, part: Sequence[int], whole: Sequence[int]) -> Tensor:
        """See `run.Objective.loss`."""
        preferences, rows = self._sorted(part)
        all_preferences, all_rows = self._sorted(whole)
        before = self._both(self.reference, preferences)
        prefers = preference_loss(*self._both(said, preferences), before, self.dpo.beta)
        tokens = sum(len(self.network.pairs[row].completion) for row in all_rows)
        supervised = -said[rows].sum() / max(1, tokens)
        return prefers.sum() / len(all_preferences) + self.dpo.sft_weight * supervised

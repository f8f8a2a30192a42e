"""The causal language model under training: a frozen base with a LoRA adapter on its top layers.

What lies below the first adapted layer never changes, so it is computed once for each pair and
kept; the output layer sees the tokens alone that an answer is made of. Everything else is
`transformers`' own code for the architecture.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from services.trainer.lora import Rank, with_adapter
from services.trainer.merged import frozen_products, merge_products, product_dtype
from services.trainer.sft import packing
from services.trainer.sft.packing import Layout
from services.trainer.sft.pairs import Pair, shared_prefix

KEPT_BYTES = 1 << 30
"""Kept activations may take this much memory, 450,000 tokens of SmolLM2-135M; those of further
pairs are computed anew in each step."""

TOKENS = {"cpu": 1024, "cuda": 8192}
"""Tokens of one pass; the gradients of a step's passes add up."""

NEAR = 0.1
"""Mean difference of log-probabilities that two ways of computing may have, in bfloat16."""


class Adapted:
    """Log-probabilities of answers. `model` is the PEFT model; lengths: tokens of each pair."""

    def __init__(self, model: Any, pairs: Sequence[Pair], method: Rank) -> None:
        self.pairs = pairs
        self.device = model.device
        self.lengths = [len(pair.prompt) + len(pair.completion) for pair in pairs]
        self.prefix = shared_prefix(pairs)
        self.own = [length - self.prefix - 1 for length in self.lengths]
        self.model = with_adapter(model, "CAUSAL_LM", method)
        self._network = self.model.get_base_model()
        self._decoder = self._network.get_decoder()
        layers = stack(self._decoder)
        first = max(0, len(layers) - method.layers)
        self._below, self._above = layers[:first], layers[first:]
        self._quick_products(product_dtype(self.device.type))
        transformers_attention()
        self._kept: dict[int, Tensor] = {}
        self._packs = self._agrees()

    def _quick_products(self, dtype: torch.dtype) -> None:
        """On a CPU. Maps in 4 bits stay as they are."""
        if self.device.type != "cpu":
            return
        merge_products(self.model, dtype)
        frozen = [m for layer in self._below for m in layer.modules() if type(m) is nn.Linear]
        head = self._network.get_output_embeddings()
        frozen_products([*frozen, *([head] if type(head) is nn.Linear else [])], dtype)

    # ------------------------------------------------------------ log-probabilities

    def losses(self, rows: Sequence[int], smoothing: float = 0.0) -> Tensor:
        """Of each token of the answers of some pairs, in their order, with gradients: its negative
        log-probability."""
        logits = self._packed(rows) if self._packs else torch.cat(list(map(self._alone, rows)))
        answers = [token for row in rows for token in self.pairs[row].completion]
        targets = torch.tensor(answers, device=logits.device)
        return functional.cross_entropy(
            logits.float(), targets, reduction="none", label_smoothing=smoothing
        )

    def log_probabilities(self, rows: Sequence[int]) -> Tensor:
        """Of whole answers, each the sum over its tokens, with gradients, [rows]."""
        counts = [len(self.pairs[row].completion) for row in rows]
        return -torch.stack([part.sum() for part in self.losses(rows).split(counts)])

    def passes(self, rows: Sequence[int]) -> Iterator[list[int]]:
        """Rows in as many parts as memory asks for, each of like lengths, so that attention hardly
        pads."""
        return self.parts(rows, self.own.__getitem__)

    def parts(self, items: Sequence[int], tokens: Callable[[int], int]) -> Iterator[list[int]]:
        """As `passes`, of items of several rows; `tokens` of each, beside the beginning."""
        part: list[int] = []
        count = self.prefix
        for item in sorted(items, key=tokens):
            if part and count + tokens(item) > TOKENS[self.device.type]:
                yield part
                part, count = [], self.prefix
            part.append(item)
            count += tokens(item)
        yield part

    def _packed(self, rows: Sequence[int]) -> Tensor:
        """Logits where the answers are predicted, [tokens, vocabulary]."""
        layout = self._layout(rows)
        at = layout.last([len(self.pairs[row].completion) for row in rows]).to(self.device)
        states = self._states(rows)[None]
        with ExitStack() as changed:
            changed.enter_context(passed_by(self._below))
            changed.enter_context(given(self._above[0], states))
            changed.enter_context(picked(self._decoder, at))
            return self._called(self._network, layout, inputs_embeds=states).logits[0]

    def _alone(self, row: int) -> Tensor:
        """The same of one pair, by `transformers` alone."""
        pair = self.pairs[row]
        ids = torch.tensor([[*pair.prompt, *pair.completion][:-1]], device=self.device)
        at = torch.arange(len(pair.prompt) - 1, ids.shape[1], device=self.device)
        with picked(self._decoder, at):
            return self._network(input_ids=ids, use_cache=False).logits[0]

    def _called(self, network: Any, layout: Layout, **inputs: Tensor) -> Any:
        config = network.config
        before = config._attn_implementation
        config._attn_implementation = packing.NAME
        try:
            return network(
                **inputs,
                position_ids=layout.positions().to(self.device),
                use_cache=False,
                layout=layout,
            )
        finally:
            config._attn_implementation = before

    def _layout(self, rows: Sequence[int]) -> Layout:
        return Layout(self.prefix, tuple(self.own[row] for row in rows))

    # ------------------------------------------------------------ below the adapter

    def keep(self, told: Callable[[float], None]) -> None:
        """Computes what lies below the adapter, of as many pairs as there is room for. `told` is
        the share of them done."""
        if not self._packs:
            return
        room = KEPT_BYTES // (4 * self._network.config.get_text_config().hidden_size)
        done = 0
        for rows in self.passes(range(len(self.pairs))):
            room -= sum(self.own[row] for row in rows)
            if room < 0:
                return
            parts = self._computed(rows).split([self.prefix, *(self.own[row] for row in rows)])
            self._beginning = parts[0].clone()
            self._kept |= {row: part.clone() for row, part in zip(rows, parts[1:], strict=True)}
            done += len(rows)
            told(done / len(self.pairs))

    def work_below(self, rows: Sequence[int]) -> float:
        """What `keep` takes of them, in a layer's forwards of a token."""
        return len(self._below) * sum(self.own[row] for row in rows)

    def work_above(self, rows: Sequence[int], learning: bool) -> float:
        """The same of what lies above. Forwards and backwards, with the output layer on top, a
        layer takes some five times as long as forwards alone (measured)."""
        return len(self._above) * sum(self.own[row] for row in rows) * (5 if learning else 1)

    def _states(self, rows: Sequence[int]) -> Tensor:
        """What enters the first adapted layer, [tokens, dim]."""
        if all(row in self._kept for row in rows):
            return torch.cat([self._beginning, *(self._kept[row] for row in rows)])
        return self._computed(rows)

    @torch.no_grad()
    def _computed(self, rows: Sequence[int]) -> Tensor:
        ids = list(self.pairs[rows[0]].prompt[: self.prefix])
        for row in rows:
            pair = self.pairs[row]
            ids += [*pair.prompt, *pair.completion][self.prefix : -1]
        taken: list[Tensor] = []
        with passed_by(self._above), taking(self._above[0], taken):
            self._called(
                self._decoder,
                self._layout(rows),
                input_ids=torch.tensor([ids], device=self.device),
            )
        return taken[0][0]

    @torch.no_grad()
    def _agrees(self) -> bool:
        """Whether the short cuts compute what `transformers` does, tried on two pairs. They do for
        decoders such as Llama, Qwen, Gemma and Mistral."""
        rows = sorted(range(len(self.pairs)), key=lambda row: self.lengths[row])[:2]
        alone = torch.cat([self._alone(row) for row in rows]).log_softmax(-1)
        try:
            packed = self._packed(rows).log_softmax(-1)
        except Exception as error:  # noqa: BLE001, each architecture raises its own
            return _slow(self._network, f"{type(error).__name__}: {error}")
        difference = (packed - alone).abs().mean().item()
        return difference < NEAR or _slow(self._network, f"results differ by {difference:.2g}")


def _slow(network: Any, why: str) -> bool:
    logging.getLogger(__name__).warning(
        "pairs of a %s are computed one at a time: %s", network.config.model_type, why
    )
    return False


def stack(decoder: Any) -> Sequence[nn.Module]:
    """A decoder's layers, from the input up."""
    count = decoder.config.get_text_config().num_hidden_layers
    return next(m for m in decoder.modules() if isinstance(m, nn.ModuleList) and len(m) == count)


def transformers_attention() -> None:
    """Tells `transformers` of `packing.attention`; it makes no masks for what it does not know."""
    from transformers import AttentionInterface

    AttentionInterface.register(packing.NAME, packing.attention)


@contextmanager
def passed_by(layers: Sequence[Any]) -> Iterator[None]:
    """The layers hand on what they get."""
    for layer in layers:
        layer.forward = _same
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _same(states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return states


@contextmanager
def given(layer: nn.Module, states: Tensor) -> Iterator[None]:
    """The layer is given these states, whatever comes from below."""

    def exchanged(module: Any, args: Any, kwargs: Any) -> Any:
        return (states, *args[1:]), kwargs

    with layer.register_forward_pre_hook(exchanged, with_kwargs=True):
        yield


@contextmanager
def taking(layer: nn.Module, taken: list[Tensor]) -> Iterator[None]:
    """What enters the layer is noted."""
    with layer.register_forward_pre_hook(lambda module, args: taken.append(args[0])):
        yield


@contextmanager
def picked(decoder: nn.Module, at: Tensor) -> Iterator[None]:
    """The decoder's last states are those at these places alone."""

    def pick(module: Any, args: Any, output: Any) -> Any:
        output.last_hidden_state = output.last_hidden_state.index_select(1, at)
        return output

    with decoder.register_forward_hook(pick):
        yield

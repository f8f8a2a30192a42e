"""BERT's forward pass over packed tokens: no padding, no masks, any sequence lengths.

Devlin et al. 2019, https://arxiv.org/abs/1810.04805, as `transformers.BertModel` computes it in
evaluation mode. The tokens of all texts lie one after the other in one matrix, so that every
linear map is one large product; only attention looks at the texts, one batched product for each
distinct length. A contract test holds it to the reference implementation.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from driftgate.classifier.folder import Adapter
from driftgate.errors import BadConfig, Corrupt

NOT_PLAIN = (
    "use_dora",
    "fan_in_fan_out",
    "rank_pattern",
    "alpha_pattern",
    "modules_to_save",
    "lora_bias",
    "trainable_token_indices",
    "target_parameters",
)
"""Settings of PEFT's LoRA that mean more than `W + scaling · B @ A`."""

MAPS = (
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "intermediate.dense",
    "output.dense",
)
"""The linear maps of one layer, by their paths in `transformers.BertModel`."""


@dataclass(frozen=True, slots=True)
class Group:
    """`count` texts of `length` tokens each, from row `start` of the packed tokens."""

    start: int
    count: int
    length: int

    @property
    def rows(self) -> slice:
        """The group's rows among the packed tokens."""
        return slice(self.start, self.start + self.count * self.length)


def groups(lengths: Sequence[int]) -> tuple[Group, ...]:
    """The layout of texts whose token counts, in ascending order, are `lengths`."""
    found, start = [], 0
    for length, run in groupby(lengths):
        found.append(Group(start, sum(1 for _ in run), length))
        start += found[-1].count * length
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Norm:
    """Layer normalisation with its two vectors [dim]."""

    weight: Tensor
    bias: Tensor
    eps: float

    def __call__(self, x: Tensor) -> Tensor:
        """Normalised rows, [tokens, dim] → [tokens, dim]."""
        return functional.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


@dataclass(frozen=True, slots=True)
class Linear:
    """A linear map, weight [outputs, inputs] and bias [outputs], computed in their type."""

    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """[tokens, inputs] → [tokens, outputs]."""
        return functional.linear(x.to(self.weight.dtype), self.weight, self.bias).to(x.dtype)


@dataclass(frozen=True, slots=True)
class Layer:
    """One transformer layer; `qkv` is the three attention maps, stacked."""

    qkv: Linear
    out: Linear
    norm: Norm
    up: Linear
    down: Linear
    final_norm: Norm
    heads: int

    def __call__(self, x: Tensor, layout: Sequence[Group]) -> Tensor:
        """[tokens, dim] → [tokens, dim]."""
        qkv = self.qkv(x)
        mixed = torch.cat([attend(qkv[group.rows], group, self.heads) for group in layout])
        x = self.norm(self.out(mixed) + x)
        return self.final_norm(self.down(functional.gelu(self.up(x))) + x)


def attend(qkv: Tensor, group: Group, heads: int) -> Tensor:
    """Scaled dot-product attention within each text of a group, [rows, 3·dim] → [rows, dim].

    Written out because at tens of tokens the fused kernels cost more than they save.
    """
    q, k, v = qkv.view(group.count, group.length, 3, heads, -1).permute(2, 0, 3, 1, 4)
    shares = torch.softmax(q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5, dim=-1)
    return (shares @ v).transpose(1, 2).reshape(len(qkv), -1)


@dataclass(frozen=True, slots=True)
class Bert:
    """The base's weights. Adapted layers are further `Layer`s beside it; it never changes."""

    tensors: Mapping[str, Tensor]
    layers: tuple[Layer, ...]
    words: Tensor
    places: Tensor
    norm: Norm
    heads: int
    eps: float

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> Bert:
        """From the state of a `BertModel` and its `config.json`. Weights are shared, not copied."""
        heads, eps = config["num_attention_heads"], config.get("layer_norm_eps", 1e-12)
        layers = tuple(
            layer_of(tensors, number, heads, eps) for number in range(config["num_hidden_layers"])
        )
        places = tensors["embeddings.position_embeddings.weight"]
        return cls(
            tensors,
            layers,
            tensors["embeddings.word_embeddings.weight"],
            places + tensors["embeddings.token_type_embeddings.weight"][0],
            _norm(tensors, "embeddings.LayerNorm", eps),
            heads,
            eps,
        )

    def embed(self, ids: Sequence[Sequence[int]]) -> Tensor:
        """The first hidden states of texts given as token ids, packed: [tokens, dim]."""
        flat = torch.tensor([token for text in ids for token in text], device=self.words.device)
        place = torch.tensor([at for text in ids for at in range(len(text))]).to(flat.device)
        return self.norm(self.words[flat] + self.places[place])

    def adapted(self, adapter: Adapter) -> tuple[int, tuple[Layer, ...]]:
        """Copies of the layers from the first that an adapter touches, LoRA merged into them.

        Returns the number of layers below, which all versions share, and the copies.

        Raises:
            BadConfig: the adapter is no plain LoRA on the layers' linear maps.
            Corrupt: its tensors fit neither each other nor the base.
        """
        deltas = _deltas(adapter, self.words.device)
        known = {f"encoder.layer.{n}.{path}" for n in range(len(self.layers)) for path in MAPS}
        if unknown := deltas.keys() - known:
            raise BadConfig(f"adapter changes {min(unknown)}: expected LoRA on {', '.join(MAPS)}")
        for name, delta in deltas.items():
            if delta.shape != self.tensors[f"{name}.weight"].shape:
                raise Corrupt(f"adapter: {name} has shape {tuple(delta.shape)}, not the base's")
        first = min((int(name.split(".")[2]) for name in deltas), default=len(self.layers))
        merged = {
            **self.tensors,
            **{f"{n}.weight": self.tensors[f"{n}.weight"] + delta for n, delta in deltas.items()},
        }
        rest = range(first, len(self.layers))
        return first, tuple(layer_of(merged, number, self.heads, self.eps) for number in rest)


def fits(config: Mapping[str, Any]) -> bool:
    """Is a base with this `config.json` the network that this module computes?"""
    return (
        config.get("model_type") == "bert"
        and config.get("hidden_act") == "gelu"
        and config.get("position_embedding_type", "absolute") == "absolute"
        and not config.get("is_decoder", False)
    )


def read(folder: Path, device: str) -> Bert:
    """The base in a folder of `config.json` and `model.safetensors`.

    Raises:
        Corrupt: a tensor of the network is missing.
    """
    found = load_file(folder / "model.safetensors", device=device)
    named = {tensor_name(name): tensor for name, tensor in found.items()}
    # Copied, since what was loaded is the mapped file, which may be replaced while this serves.
    tensors = {
        name: tensor.to(torch.float32, copy=True)
        for name, tensor in named.items()
        if name.startswith(("embeddings.", "encoder."))
    }
    try:
        return Bert.of(tensors, json.loads((folder / "config.json").read_text("utf-8")))
    except KeyError as error:
        raise Corrupt(f"base {folder}: model.safetensors or config.json lacks {error}") from error


def tensor_name(published: str) -> str:
    """A tensor's name in `BertModel`. A network that was published with a head has a prefix, one
    that came from TensorFlow, such as `bert-base-uncased`, has gamma and beta in its norms."""
    bare = published.removeprefix("bert.")
    return bare.replace("LayerNorm.gamma", "LayerNorm.weight").replace(
        "LayerNorm.beta", "LayerNorm.bias"
    )


def layer_of(tensors: Mapping[str, Tensor], number: int, heads: int, eps: float) -> Layer:
    """One layer out of a state by `transformers`' names."""
    prefix = f"encoder.layer.{number}."
    query, key, value, out, up, down = (_linear(tensors, prefix + path) for path in MAPS)
    qkv = Linear(
        torch.cat([query.weight, key.weight, value.weight]),
        torch.cat([query.bias, key.bias, value.bias]),
    )
    norm = _norm(tensors, prefix + "attention.output.LayerNorm", eps)
    return Layer(qkv, out, norm, up, down, _norm(tensors, prefix + "output.LayerNorm", eps), heads)


def pool(x: Tensor, layout: Sequence[Group]) -> Tensor:
    """The mean over each text's tokens, at length 1: [tokens, dim] → [texts, dim]."""
    means = [x[g.rows].view(g.count, g.length, -1).mean(1) for g in layout]
    return functional.normalize(torch.cat(means))


def _linear(tensors: Mapping[str, Tensor], path: str) -> Linear:
    return Linear(tensors[path + ".weight"], tensors[path + ".bias"])


def _norm(tensors: Mapping[str, Tensor], path: str, eps: float) -> Norm:
    return Norm(tensors[path + ".weight"], tensors[path + ".bias"], eps)


def _deltas(adapter: Adapter, device: torch.device) -> dict[str, Tensor]:
    """`scaling · B @ A` of each map that the adapter changes, [outputs, inputs], by its path."""
    odd = [key for key in NOT_PLAIN if adapter.config.get(key)]
    if odd or adapter.config.get("bias", "none") != "none":
        raise BadConfig(f"adapter_config.json: {(odd or ['bias'])[0]} is set, expected plain LoRA")
    paths = {
        name.removesuffix(".lora_A.weight").removesuffix(".lora_B.weight")
        for name in adapter.tensors
    }
    try:
        return {
            path.removeprefix("base_model.model."): adapter.scaling()
            * (
                adapter.tensors[f"{path}.lora_B.weight"].float().to(device)
                @ adapter.tensors[f"{path}.lora_A.weight"].float().to(device)
            )
            for path in paths
        }
    except (KeyError, RuntimeError) as error:
        raise Corrupt(f"adapter: its A, B or configuration do not fit together: {error}") from error

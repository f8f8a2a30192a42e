"""One fine-tuning run: examples in, the folder of a version out, the same bytes for the same seed.

LoRA (Hu et al. 2021, https://arxiv.org/abs/2106.09685) by `peft` on the top layers of the frozen
base, under a cosine head that starts at the classes' centroids. What lies below the first adapted
layer never changes, so it is computed once and kept. Nothing here knows where it runs: a Ray task,
a thread and a test call it alike.
"""

from __future__ import annotations

import hashlib
import json
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from driftgate.classifier import bert
from driftgate.classifier.base import BaseRef, Kind, load, tokenizer
from driftgate.classifier.folder import ADAPTER, CONFIG, Head, write_head
from driftgate.classifier.plain import masked_mean, mean_pooled
from driftgate.classifier.serving import chunks
from driftgate.dead_letters import BAD_NUMBER, UNHANDLED
from driftgate.errors import BadInput
from services.trainer.merged import merge_products, product_dtype

Progress = Callable[[float, str], None]

CACHE_BYTES = 1 << 30
"""Kept activations may take this much memory; beyond it they are computed anew in each step."""

WARM_UP = 0.1
"""Share of the steps over which the learning rate rises."""


@dataclass(frozen=True, slots=True)
class Example:
    """One text with its label. `weight` scales its loss and its share of the centroid."""

    text: str
    label: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Method:
    """How to train.

    kind: `lora`, or `qlora` with the base held in 4 bits. r, alpha: rank, and the adapter's weight
    times r. layers: how many of the top layers adapt. scale: of the cosine head's logits.
    """

    kind: Kind = "lora"
    r: int = 16
    alpha: int = 32
    layers: int = 2
    epochs: int = 3
    learning_rate: float = 2e-3
    head_learning_rate: float = 1e-3
    batch_size: int = 32
    label_smoothing: float = 0.05
    scale: float = 20.0


@dataclass(frozen=True, slots=True)
class Trained:
    """What a run made. losses: the mean of each epoch. seconds: wall time, load included.

    metrics: `examples`, `classes`, `tokens` of one epoch, `cpu_seconds`, `peak_memory_mb` of the
    process so far, `resumed_epochs` taken over from a checkpoint.
    """

    folder: Path
    labels: tuple[str, ...]
    steps: int
    losses: tuple[float, ...]
    seconds: float
    metrics: dict[str, float]


class Body(Protocol):
    """The encoder under training."""

    model: Any

    def bare(self) -> Tensor:
        """Embeddings of all texts without an adapter, [texts, dim]."""

    def pooled(self, rows: Sequence[int]) -> Tensor:
        """Embeddings of some texts with the adapter, with gradients, [rows, dim]."""


def finetune(
    examples: Sequence[Example],
    method: Method,
    base: BaseRef,
    out: Path,
    *,
    seed: int,
    threads: int = 1,
    progress: Progress,
    checkpoint: Path | None = None,
    device: str = "auto",
) -> Trained:
    """Train a version into the folder `out`.

    `progress` is told the share done, 0 to 1, and what is being done. With a `checkpoint` folder,
    a run that was killed goes on after its last finished epoch and ends with the same bytes; a
    checkpoint of any other run is passed over.

    Raises:
        BadInput: there are fewer than two labels, or an example's weight is not positive.
    """
    started, cpu_started = time.perf_counter(), time.process_time()
    labels = _labels(examples)
    with _deterministic(seed, threads):
        progress(0.0, "loading the base")
        body, lengths = _body(examples, method, base, device)
        progress(0.05, "reading the examples")
        run = _Run(examples, labels, method, body)
        signature = _signature(examples, method, base, seed, threads)
        done = _resume(run, checkpoint, signature)
        for epoch in range(done, method.epochs):
            progress(0.1 + 0.9 * epoch / method.epochs, f"epoch {epoch + 1} of {method.epochs}")
            run.epoch(plan(lengths, method.batch_size, seed, epoch))
            _keep(run, checkpoint, signature)
        _write(run, out, base)
    progress(1.0, "trained")
    return Trained(
        folder=out,
        labels=labels,
        steps=run.step,
        losses=tuple(run.losses),
        seconds=time.perf_counter() - started,
        metrics={
            "examples": len(examples),
            "classes": len(labels),
            "tokens": sum(lengths),
            "cpu_seconds": time.process_time() - cpu_started,
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "resumed_epochs": done,
        },
    )


def plan(lengths: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """One epoch's batches: texts of nearly one length together, so that hardly a token is padding.

    Which of the texts of one length share a batch, and the order of the batches, are drawn anew
    for each epoch.
    """
    draw = torch.Generator().manual_seed((seed << 16) + epoch)
    tie = torch.rand(len(lengths), generator=draw).tolist()
    order = sorted(range(len(lengths)), key=lambda row: (lengths[row], tie[row]))
    batches = [order[at : at + batch_size] for at in range(0, len(order), batch_size)]
    return [batches[at] for at in torch.randperm(len(batches), generator=draw).tolist()]


def rate(step: int, steps: int) -> float:
    """The learning rate's factor: a line up over the first tenth of the steps, then a line down."""
    warm = max(1, round(WARM_UP * steps))
    return min((step + 1) / warm, (steps - step) / max(1, steps - warm + 1))


class _Run:
    """The state of a run between two epochs: parameters, optimiser, losses."""

    def __init__(
        self, examples: Sequence[Example], labels: Sequence[str], method: Method, body: Body
    ) -> None:
        row = {label: at for at, label in enumerate(labels)}
        at = body.model.device
        self.method, self.body, self.labels = method, body, tuple(labels)
        self.targets = torch.tensor([row[example.label] for example in examples], device=at)
        self.weights = torch.tensor([example.weight for example in examples], device=at)
        self.weights /= self.weights.mean()
        self.prototypes = centroids(body.bare(), self.targets, self.weights).requires_grad_()
        self.adapter = [p for p in body.model.parameters() if p.requires_grad]
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

    def epoch(self, batches: Sequence[Sequence[int]]) -> None:
        """One pass over the examples."""
        total = 0.0
        for rows in batches:
            for group in self.optimizer.param_groups:
                group["lr"] = group["peak"] * rate(self.step, len(batches) * self.method.epochs)
            loss = self._loss(rows)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            self.step += 1
            total += loss.item()
        self.losses.append(total / len(batches))

    def _loss(self, rows: Sequence[int]) -> Tensor:
        cosines = self.body.pooled(rows) @ functional.normalize(self.prototypes).T
        at = torch.tensor(rows, device=cosines.device)
        each = functional.cross_entropy(
            self.method.scale * cosines,
            self.targets[at],
            reduction="none",
            label_smoothing=self.method.label_smoothing,
        )
        return (each * self.weights[at]).mean()


def centroids(pooled: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Each class's mean direction, [classes, dim]."""
    picked = functional.one_hot(targets).float() * weights.unsqueeze(1)
    return functional.normalize(picked.T @ pooled)


class _Top:
    """A BERT-shaped base: layers below the adapter run once, by `bert`; those above by `peft`."""

    def __init__(self, model: Any, ids: list[list[int]], method: Method) -> None:
        dtype = product_dtype(model.device.type)
        self._base = bert.Bert.of(_typed(model.state_dict(), dtype), model.config.to_dict())
        self._ids = ids
        self._first = max(0, len(self._base.layers) - method.layers)
        tokens = sum(map(len, ids))
        fits = 4 * model.config.hidden_size * tokens <= CACHE_BYTES
        self._kept = self._below(range(len(ids))) if fits else None
        self.model = _with_adapter(model, method)
        merge_products(self.model, dtype)
        self._layers = self.model.base_model.model.encoder.layer[self._first :]

    @torch.no_grad()
    def _below(self, rows: Sequence[int]) -> list[Tensor]:
        """Each text's hidden states [length, dim] below the first adapted layer."""
        found: dict[int, Tensor] = {}
        lengths = [len(self._ids[row]) for row in rows]
        for places in chunks(lengths):
            picked = [rows[place] for place in places]
            x = self._base.embed([self._ids[row] for row in picked])
            layout = bert.groups([len(self._ids[row]) for row in picked])
            for layer in self._base.layers[: self._first]:
                x = layer(x, layout)
            found.update(zip(picked, x.split([len(self._ids[row]) for row in picked]), strict=True))
        return [found[row] for row in rows]

    def _states(self, rows: Sequence[int]) -> list[Tensor]:
        return self._below(rows) if self._kept is None else [self._kept[row] for row in rows]

    @torch.no_grad()
    def bare(self) -> Tensor:
        """See `Body`."""
        found: dict[int, Tensor] = {}
        for rows in chunks(list(map(len, self._ids))):
            layout = bert.groups([len(self._ids[row]) for row in rows])
            x = torch.cat(self._states(rows))
            for layer in self._base.layers[self._first :]:
                x = layer(x, layout)
            found.update(zip(rows, bert.pool(x, layout), strict=True))
        return torch.stack([found[row] for row in range(len(self._ids))])

    def pooled(self, rows: Sequence[int]) -> Tensor:
        """See `Body`."""
        states = self._states(rows)
        x = pad_sequence(states, batch_first=True)
        lengths = torch.tensor([len(state) for state in states], device=x.device)
        mask = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
        hidden = None if mask.all() else _additive(mask, x.dtype)
        for layer in self._layers:
            x = layer(x, hidden)
        return masked_mean(x, mask)


class _Whole:
    """Any other base, or one in 4 bits: the whole network in each step."""

    def __init__(self, model: Any, ids: list[list[int]], method: Method) -> None:
        self._ids = ids
        self.model = _with_adapter(model, method)

    @torch.no_grad()
    def bare(self) -> Tensor:
        """See `Body`."""
        found: dict[int, Tensor] = {}
        with self.model.disable_adapter():
            for rows in chunks(list(map(len, self._ids))):
                found.update(zip(rows, self.pooled(rows), strict=True))
        return torch.stack([found[row] for row in range(len(self._ids))])

    def pooled(self, rows: Sequence[int]) -> Tensor:
        """See `Body`."""
        return mean_pooled(self.model, [self._ids[row] for row in rows])


def _body(
    examples: Sequence[Example], method: Method, base: BaseRef, device: str
) -> tuple[Body, list[int]]:
    ids = tokenizer(base)([example.text for example in examples])
    model = load(base, method.kind, device)
    lengths = [len(text) for text in ids]
    if method.kind == "lora" and bert.fits(model.config.to_dict()):
        return _Top(model, ids, method), lengths
    return _Whole(model, ids, method), lengths


def _with_adapter(model: Any, method: Method) -> Any:
    from peft import LoraConfig, TaskType, get_peft_model

    config = LoraConfig(
        task_type=TaskType.FEATURE_EXTRACTION,
        r=method.r,
        lora_alpha=method.alpha,
        lora_dropout=0.0,
        target_modules=_targets(model, method.layers),
    )
    adapted = get_peft_model(model, config)
    for module in adapted.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    # In training mode, since bitsandbytes repacks weights for inference in the other.
    return adapted.train()


def _typed(state: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """A network's state with its linear maps in `dtype`; embeddings and norms stay in fp32."""
    maps = tuple(path + end for path in bert.MAPS for end in (".weight", ".bias"))
    return {
        name: value.to(dtype) if name.endswith(maps) else value for name, value in state.items()
    }


def _targets(model: Any, layers: int) -> list[str]:
    """The full names of all linear maps in the top layers."""
    count = model.config.num_hidden_layers
    stack = next(
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.ModuleList) and len(module) == count
    )
    tops = tuple(f"{stack}.{number}." for number in range(max(0, count - layers), count))
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and name.startswith(tops)
    ]


def _additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """[texts, length] → what is added to the attention scores, [texts, 1, 1, length]."""
    return torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, torch.finfo(dtype).min)[
        :, None, None, :
    ]


def _labels(examples: Sequence[Example]) -> tuple[str, ...]:
    labels = tuple(sorted({example.label for example in examples}))
    if len(labels) < 2:
        raise BadInput(UNHANDLED, "examples", labels, "examples of at least two labels")
    for number, example in enumerate(examples):
        if not 0 < example.weight < float("inf"):
            raise BadInput(BAD_NUMBER, f"examples[{number}].weight", example.weight, "above zero")
    return labels


@contextmanager
def _deterministic(seed: int, threads: int) -> Iterator[None]:
    """Seeded draws, deterministic algorithms, a set number of threads; undone afterwards."""
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            yield
        finally:
            torch.set_num_threads(before[0])
            torch.use_deterministic_algorithms(before[1])


def _signature(
    examples: Sequence[Example], method: Method, base: BaseRef, seed: int, threads: int
) -> str:
    """One hash over all that decides a run's bytes."""
    told = {
        "examples": [[example.text, example.label, example.weight] for example in examples],
        "method": asdict(method),
        "base": base.digest,
        "seed": seed,
        "threads": threads,
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _keep(run: _Run, checkpoint: Path | None, signature: str) -> None:
    """Write the state after an epoch as one file, whole or not at all."""
    if checkpoint is None:
        return
    tensors = {}
    for number, parameter in enumerate(run.parameters):
        tensors[f"{number}.value"] = parameter.detach().contiguous()
        for name, moment in run.optimizer.state[parameter].items():
            tensors[f"{number}.{name}"] = moment
    checkpoint.mkdir(parents=True, exist_ok=True)
    state = {"signature": signature, "step": str(run.step), "losses": json.dumps(run.losses)}
    save_file(tensors, checkpoint / "epoch.tmp", metadata=state)
    (checkpoint / "epoch.tmp").replace(checkpoint / "epoch.safetensors")


def _resume(run: _Run, checkpoint: Path | None, signature: str) -> int:
    """Take over a checkpoint of this very run. Returns how many epochs it had finished."""
    if checkpoint is None or not (checkpoint / "epoch.safetensors").is_file():
        return 0
    with safe_open(checkpoint / "epoch.safetensors", framework="pt") as file:
        state = file.metadata() or {}
        if state.get("signature") != signature:
            return 0
        for number, parameter in enumerate(run.parameters):
            parameter.data.copy_(file.get_tensor(f"{number}.value"))
            run.optimizer.state[parameter] = {
                name: file.get_tensor(f"{number}.{name}").to(parameter.device)
                for name in ("step", "exp_avg", "exp_avg_sq")
            }
    run.step, run.losses = int(state["step"]), json.loads(state["losses"])
    return len(run.losses)


def _write(run: _Run, out: Path, base: BaseRef) -> None:
    """The version's folder: PEFT's two files, made independent of the machine, and the head."""
    out.mkdir(parents=True, exist_ok=True)
    run.body.model.peft_config["default"].base_model_name_or_path = base.name
    run.body.model.save_pretrained(out, save_embedding_layers=False)
    config = json.loads((out / CONFIG).read_text("utf-8"))
    config["target_modules"] = sorted(config["target_modules"])
    (out / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")
    (out / "README.md").unlink(missing_ok=True)
    (out / ADAPTER).chmod(0o644)
    write_head(out, Head(run.labels, run.prototypes, run.method.scale), base)

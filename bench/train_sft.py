"""Supervised tuning on a CPU: recipe `sft` beside Hugging Face's Trainer with `peft`.

SmolLM2-135M-Instruct learns to answer the messages of the shipped world with JSON (team and
language), LoRA of rank 16 on the top 8 layers. Every side gets the same token ids, batch size,
epochs, learning rate, schedule and loss (the answer's tokens alone), and one thread in a process of
its own. Tokens are those of the pairs, prompts included, without padding; seconds are CPU seconds
from loading the base to the adapter on disk, so that what else runs on the machine counts little.
With `--seeds N` every side trains N times, and figures are means.
The peers: the Trainer as most people call it (fp32, padded to the longest of a batch), and with
what makes it quicker (bfloat16, batches of like lengths). Validation is the mean loss of an
answer's token on held-out pairs, by `transformers` in fp32 with the adapter as `peft` loads it.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from bench.figure import Figure
from driftgate.bases import SMOLLM2, resolve
from driftgate.generator.base import load
from driftgate.generator.chat import Chat
from driftgate.generator.prompt import Prompt
from services.trainer.lora import with_adapter, write_adapter
from services.trainer.sft.method import Method
from services.trainer.sft.pairs import Limits, Pair, pairs_of
from services.trainer.sft.tune import tune

WORLD = Path(__file__).parents[1] / "examples" / "support-triage" / "world.py"
PROMPT = Prompt(
    'Answer with JSON: {"team": who takes care of it, "language": ISO code of the message}.',
    "{text}",
)
LIMITS = Limits(512, 64)
SEED, HELD = 7, 64
PLAIN, QUICK, OURS = "the Trainer", "the Trainer in bfloat16 with like lengths", "driftgate"

Rows = Sequence[tuple[str, str]]
Made = dict[str, dict[str, float]]


def run(args: list[str]) -> list[Figure]:
    parser = argparse.ArgumentParser(prog="make bench NAME=train-sft")
    parser.add_argument("--pairs", type=int, default=320)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=1)
    given = parser.parse_args(args)
    rows = messages(given.pairs + HELD)
    learned, held = rows[: given.pairs], rows[given.pairs :]
    method = Method(epochs=given.epochs, validation_share=0.0)
    sides: dict[str, Callable[[Rows, Method, Path, int], None]] = {
        PLAIN: partial(trainer, quick=False),
        QUICK: partial(trainer, quick=True),
        OURS: ours,
    }
    seeds = range(SEED, SEED + given.seeds)
    made = {
        name: means([alone(side, learned, held, method, seed) for seed in seeds])
        for name, side in sides.items()
    }
    return list(figures(made, learned, method))


def figures(made: Made, rows: Rows, method: Method) -> Iterator[Figure]:
    tokens = sum(len(pair.prompt) + len(pair.completion) for pair in pairs(rows)) * method.epochs
    speed = {name: tokens / one["seconds"] for name, one in made.items()}
    yield Figure("pairs, epochs, tokens", f"{len(rows):,}, {method.epochs}, {tokens:,}")
    for name, one in made.items():
        told = f"{speed[name]:,.0f} tokens/s, {one['seconds']:.0f} s, {one['memory']:,.0f} MiB"
        yield Figure(name, f"{told}, validation loss {one['loss']:.4f}")
    for name in (PLAIN, QUICK):
        times = speed[OURS] / speed[name]
        yield Figure(f"as fast as {name}", f"{times:.1f} ×", "≥ 2 ×", times >= 2)
    least = min(made[PLAIN]["loss"], made[QUICK]["loss"])
    mine = made[OURS]["loss"]
    yield Figure("validation loss", f"{mine:.4f}", f"≤ {least:.4f} + 2 %", mine <= 1.02 * least)


# ---------------------------------------------------------------- the sides


def ours(rows: Rows, method: Method, out: Path, seed: int) -> None:
    def quiet(share: float, doing: str) -> None:
        """Nobody looks."""

    base = resolve(SMOLLM2)
    tune(rows, PROMPT, LIMITS, method, base, out, seed=seed, progress=quiet, device="cpu")


def trainer(rows: Rows, method: Method, out: Path, seed: int, quick: bool) -> None:
    from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments, set_seed

    set_seed(seed)
    base = resolve(SMOLLM2)
    chat = Chat.of(base)
    model = with_adapter(load(base, device="cpu"), "CAUSAL_LM", method)
    arguments = TrainingArguments(
        output_dir=str(out),
        num_train_epochs=method.epochs,
        per_device_train_batch_size=method.batch_size,
        learning_rate=method.learning_rate,
        weight_decay=method.weight_decay,
        max_grad_norm=method.max_grad_norm,
        lr_scheduler_type="linear",
        warmup_steps=0.1,
        bf16=quick,
        train_sampling_strategy="group_by_length" if quick else "random",
        use_cpu=True,
        seed=seed,
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        remove_unused_columns=False,
    )
    collator = DataCollatorForSeq2Seq(chat._tokenizer)
    Trainer(
        model=model, args=arguments, train_dataset=hugging(pairs(rows)), data_collator=collator
    ).train()
    write_adapter(model, out, base)


def hugging(pairs: Sequence[Pair]) -> list[dict[str, list[int]]]:
    """Pairs as the Trainer takes them; label -100 bears no loss."""
    return [
        {
            "input_ids": [*pair.prompt, *pair.completion],
            "attention_mask": [1] * (len(pair.prompt) + len(pair.completion)),
            "labels": [*[-100] * len(pair.prompt), *pair.completion],
        }
        for pair in pairs
    ]


# ---------------------------------------------------------------- measuring


def means(made: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.fmean(one[name] for one in made) for name in made[0]}


def alone(
    side: Callable[[Rows, Method, Path, int], None],
    rows: Rows,
    held: Rows,
    method: Method,
    seed: int,
) -> dict[str, float]:
    """What a side takes in a process of its own, and the validation loss of what it made."""
    with tempfile.TemporaryDirectory() as folder:
        context = multiprocessing.get_context("spawn")
        found = context.Queue()
        out = Path(folder)
        process = context.Process(target=measured, args=(side, rows, method, out, seed, found))
        process.start()
        took: dict[str, float] = found.get()
        process.join()
        return {**took, "loss": loss(out, held)}


def measured(
    side: Callable[[Rows, Method, Path, int], None],
    rows: Rows,
    method: Method,
    out: Path,
    seed: int,
    found: Any,
) -> None:
    torch.set_num_threads(1)
    resolve(SMOLLM2)  # converted, if it was not
    started = time.process_time()
    side(rows, method, out, seed)
    seconds = time.process_time() - started
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found.put({"seconds": seconds, "memory": memory})


@torch.no_grad()
def loss(folder: Path, rows: Rows) -> float:
    from peft import PeftModel

    torch.set_num_threads(1)
    model = PeftModel.from_pretrained(load(resolve(SMOLLM2), device="cpu"), folder).eval()
    found = []
    for pair in pairs(rows):
        ids = torch.tensor([[*pair.prompt, *pair.completion]])
        logits = model(input_ids=ids).logits[0, len(pair.prompt) - 1 : -1]
        target = torch.tensor(pair.completion)
        found.append(torch.nn.functional.cross_entropy(logits, target, reduction="none"))
    return float(torch.cat(found).mean())


def pairs(rows: Rows) -> list[Pair]:
    return pairs_of(rows, Chat.of(resolve(SMOLLM2)), PROMPT, LIMITS)[0]


def messages(count: int) -> Rows:
    """The first messages of the shipped world."""
    spec = importlib.util.spec_from_file_location("world", WORLD)
    assert spec and spec.loader
    world = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(world)
    return [
        (message.text, json.dumps({"team": message.label, "language": message.language}))
        for message in islice(world.messages(), count)
    ]

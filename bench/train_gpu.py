"""Supervised tuning on a GPU: recipe `sft` with QLoRA beside TRL's SFTTrainer on the same card.

A Llama of 1.1 billion random weights made from a config (the shape of Llama 3.2 1B, with the
vocabulary of SmolLM2) learns to answer the messages of the shipped world with JSON, four messages
in a prompt: nf4 with double quantisation, LoRA of rank 16 on all linear maps. Both sides get the
same token ids, batch size, epochs, learning rate and loss (the answer's tokens alone), TRL in
bfloat16 without gradient checkpointing. Tokens are those of the pairs without padding; seconds are
wall seconds from loading the base to the adapter on disk, in a process of its own.

TRL is no dependency of driftgate. `--trl PYTHON` names an interpreter that has `trl`, `peft` and
`bitsandbytes`; without it, an environment beside this one is made with `pip install trl`. Without a
GPU nothing is measured; `--tiny` then tries the script with a small network on the CPU.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from bench.figure import Figure
from bench.train_sft import LIMITS, PROMPT, Rows, hugging, messages
from driftgate.bases import SMOLLM2, resolve
from driftgate.generator.chat import Chat
from services.trainer.sft.method import Method
from services.trainer.sft.pairs import pairs_of
from services.trainer.sft.tune import tune

SEED = 7
PEER = Path(__file__).parent / "parts" / "trl_sft.py"
HERE = Path(".driftgate/bench/trl")
SHAPE: dict[str, int] = {
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
}
TINY = {name: max(2, size // 16) for name, size in SHAPE.items()}
TOGETHER = 4
"""Messages of one prompt: pairs of some 150 tokens."""


def run(args: list[str]) -> list[Figure]:
    parser = argparse.ArgumentParser(prog="make bench NAME=train-gpu")
    parser.add_argument("--pairs", type=int, default=800)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--trl", help="Python with trl, peft and bitsandbytes")
    parser.add_argument("--tiny", action="store_true", help="on the CPU; the figures say nothing")
    given = parser.parse_args(args)
    if not (torch.cuda.is_available() or given.tiny):
        print("no GPU here: nothing was measured, and RESULTS.md stays as it is")
        sys.exit(0)
    shape = TINY if given.tiny else SHAPE
    rows = joined(messages(given.pairs * TOGETHER))
    method = Method(
        kind="qlora",
        layers=shape["num_hidden_layers"],
        epochs=given.epochs,
        learning_rate=2e-4,
        validation_share=0.0,
    )
    with tempfile.TemporaryDirectory() as folder:
        base = made(Path(folder) / "base", shape)
        peer = theirs(base, rows, method, Path(folder), given.trl or with_trl())
        own = ours(base, rows, method, Path(folder) / "ours")
        return list(figures(base, rows, method, own, peer, given.tiny))


def figures(
    base: Path,
    rows: Rows,
    method: Method,
    own: dict[str, float],
    peer: dict[str, float],
    tiny: bool,
) -> Iterator[Figure]:
    card = "CPU, tiny" if tiny else torch.cuda.get_device_name()
    pairs, _ = pairs_of(rows, Chat.of(resolve(str(base))), PROMPT, LIMITS)
    tokens = method.epochs * sum(len(pair.prompt) + len(pair.completion) for pair in pairs)
    yield Figure("card", card)
    yield Figure("pairs, epochs, tokens", f"{len(pairs):,}, {method.epochs}, {tokens:,}")
    for name, one in (("TRL's SFTTrainer", peer), ("driftgate", own)):
        told = f"{tokens / one['seconds']:,.0f} tokens/s, {one['seconds']:.0f} s"
        yield Figure(name, f"{told}, {one['memory']:,.0f} MiB of the card")
    times = peer["seconds"] / own["seconds"]
    yield Figure("as fast as TRL", f"{times:.2f} ×", "≥ 1 ×", None if tiny else times >= 1)


def joined(rows: Rows) -> Rows:
    """Several messages as one, with their answers as a list."""
    found = []
    for at in range(0, len(rows), TOGETHER):
        part = rows[at : at + TOGETHER]
        answers = json.dumps([json.loads(answer) for _, answer in part])
        found.append(("\n".join(text for text, _ in part), answers))
    return found


def made(folder: Path, shape: dict[str, int]) -> Path:
    """A base of random weights."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(resolve(SMOLLM2).path)
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        **shape,
        vocab_size=len(tokenizer),
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    torch.manual_seed(SEED)
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    return folder


# ---------------------------------------------------------------- the sides


def ours(base: Path, rows: Rows, method: Method, out: Path) -> dict[str, float]:
    context = multiprocessing.get_context("spawn")
    found = context.Queue()
    process = context.Process(target=measured, args=(base, rows, method, out, found))
    process.start()
    took: dict[str, float] = found.get()
    process.join()
    return took


def measured(base: Path, rows: Rows, method: Method, out: Path, found: Any) -> None:
    import peft  # noqa: F401, as the peer's imports are not measured either

    def quiet(share: float, doing: str) -> None:
        """Nobody looks."""

    ref, begun = resolve(str(base)), time.perf_counter()
    tune(rows, PROMPT, LIMITS, method, ref, out, seed=SEED, progress=quiet)
    took = time.perf_counter() - begun
    memory = torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else 0.0
    found.put({"seconds": took, "memory": memory})


def theirs(base: Path, rows: Rows, method: Method, folder: Path, python: str) -> dict[str, float]:
    pairs, _ = pairs_of(rows, Chat.of(resolve(str(base))), PROMPT, LIMITS)
    job = {**asdict(method), "seed": SEED, "base": str(base), "rows": masked(hugging(pairs))}
    (folder / "job.json").write_text(json.dumps(job))
    subprocess.run([python, str(PEER), str(folder)], check=True)
    took: dict[str, float] = json.loads((folder / "took.json").read_text())
    return took


def masked(rows: Sequence[dict[str, list[int]]]) -> list[dict[str, list[int]]]:
    """As TRL takes pairs that are tokens already."""
    return [
        {
            "input_ids": row["input_ids"],
            "completion_mask": [int(label != -100) for label in row["labels"]],
        }
        for row in rows
    ]


def with_trl() -> str:
    """The interpreter of an environment beside this one, which is made where it is missing."""
    python = HERE / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(HERE)], check=True)
        packages = next(HERE.glob("lib/python*/site-packages"))
        (packages / "driftgate.pth").write_text(f"{Path(torch.__file__).parents[1]}\n")
    has = subprocess.run([str(python), "-c", "import trl"], capture_output=True, check=False)
    if has.returncode:
        install = [str(python), "-m", "pip", "install", "-q", "trl"]
        if subprocess.run(install, check=False).returncode:
            sys.exit(
                f"TRL could not be installed: run `{' '.join(install)}` where packages can be "
                "fetched, or name a Python that has trl, peft and bitsandbytes by --trl"
            )
    return str(python)

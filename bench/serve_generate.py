"""The local engine of models that write, beside transformers' `generate` with peft, which takes the
adapter of each row by name. 16 questions over 8 random LoRA adapters (rank 16, all linear maps) of
SmolLM2-135M-Instruct, greedily, as many tokens for each; both in the precision that this processor
multiplies faster, `generate` in one batch of equal prompts, its best case. The two take turns; the
ratio is the median of theirs, turn by turn.

Time to first token: 16 clients that each ask anew as soon as they are answered, against one request
at a time."""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model

from bench.figure import Figure
from driftgate.bases import SMOLLM2, BaseRef, resolve
from driftgate.generator.adapter import sealed
from driftgate.generator.base import load
from driftgate.generator.network import precision_of
from driftgate.generator.prompt import Prompt
from driftgate.generator.question import Question, Sampling
from driftgate.generator.serving import Generator

ROWS, ADAPTERS, RANK = 16, 8, 16
SYSTEM = "You write long stories. Never end a story."
STORY = "Write a very long story about a {animal} and a crow that live in a forest."
ANIMALS = ("fox", "bear", "wolf", "dog", "cat", "cow", "pig", "bat")


def run(args: list[str]) -> list[Figure]:
    parser = argparse.ArgumentParser(prog="serve-generate", description=__doc__)
    parser.add_argument("--tokens", type=int, default=64, help="that each answer has")
    parser.add_argument("--rounds", type=int, default=3, help="of each of the two")
    parser.add_argument("--threads", type=int, default=1, help="of each of the two")
    given = parser.parse_args(args)
    torch.set_num_threads(given.threads)
    base = resolve(SMOLLM2)
    with tempfile.TemporaryDirectory() as folder:
        folders = adapters(base, Path(folder))
        engine = Generator(base, threads=given.threads, device="cpu")
        for name, path in folders.items():
            engine.load(name, path)
        peer = with_peft(base, folders)
    asked = questions(engine, given.tokens)
    ours, theirs = [], []
    for _ in range(given.rounds):
        ours.append(by_engine(engine, asked))
        theirs.append(by_generate(peer, asked))
    speed, other = statistics.median(ours), statistics.median(theirs)
    alone, loop = first_tokens(engine, asked, rounds=given.rounds)
    ratio = statistics.median(one / two for one, two in zip(ours, theirs, strict=True))
    slower = loop / alone
    where = f"{precision_of('auto', 'cpu')}".removeprefix("torch.")
    return [
        Figure("threads, precision, load", f"{given.threads}, {where}, {os.getloadavg()[0]:.1f}"),
        Figure(f"tokens/s, {ROWS} open over {ADAPTERS} adapters", f"{speed:.1f}"),
        Figure("tokens/s, `generate` with peft's adapter names", f"{other:.1f}"),
        Figure("ratio", f"{ratio:.2f}×", "≥ 1.5×", ratio >= 1.5),
        Figure("time to first token p50, one request at a time", f"{alone * 1e3:.0f} ms"),
        Figure(
            f"time to first token p50, {ROWS} clients in closed loop",
            f"{loop * 1e3:.0f} ms, {slower:.1f}× the single request's",
            "≤ 3×",
            slower <= 3,
        ),
    ]


def adapters(base: BaseRef, folder: Path) -> dict[str, Path]:
    """Small enough that the base still writes its stories."""
    network = load(base, device="cpu")
    found = {}
    for seed in range(ADAPTERS):
        torch.manual_seed(seed)
        config = LoraConfig(
            r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM"
        )
        adapted = get_peft_model(network, config)
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.002)
        found[f"v{seed}"] = folder / f"v{seed}"
        adapted.save_pretrained(found[f"v{seed}"])
        sealed(found[f"v{seed}"], base)
        network = adapted.unload()
    return found


def questions(engine: Generator, tokens: int) -> list[Question]:
    sampling = Sampling(max_new_tokens=tokens)
    prompts = [
        engine.prompt(Prompt(SYSTEM, "{text}"), STORY.format(animal=animal)) for animal in ANIMALS
    ]
    least = min(map(len, prompts))
    found = [
        Question(f"v{row % ADAPTERS}", prompts[row % len(prompts)], sampling) for row in range(ROWS)
    ]
    assert all(len(one.prompt) == least for one in found), "the peer would have to pad"
    return found


def by_engine(engine: Generator, asked: Sequence[Question]) -> float:
    """Tokens/s."""
    begun = time.perf_counter()
    found = engine.answers(asked)
    taken = time.perf_counter() - begun
    written = sum(answer.tokens_out for answer in found)  # type: ignore[union-attr]
    wanted = sum(one.sampling.max_new_tokens for one in asked)
    assert written == wanted, f"{written} of {wanted} tokens: a story ended"
    return written / taken


def with_peft(base: BaseRef, folders: dict[str, Path]) -> Any:
    network = load(base, device="cpu").to(precision_of("auto", "cpu"))
    (first, *others) = folders
    found = PeftModel.from_pretrained(network, folders[first], adapter_name=first)
    for name in others:
        found.load_adapter(folders[name], adapter_name=name)
    return found.eval()


def by_generate(peer: Any, asked: Sequence[Question]) -> float:
    """Tokens/s."""
    ids = torch.tensor([one.prompt for one in asked])
    tokens = asked[0].sampling.max_new_tokens
    begun = time.perf_counter()
    with torch.inference_mode():
        found = peer.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            adapter_names=[one.version for one in asked],
            max_new_tokens=tokens,
            min_new_tokens=tokens,
            do_sample=False,
        )
    taken = time.perf_counter() - begun
    return (found.shape[1] - ids.shape[1]) * len(asked) / taken


def first_tokens(engine: Generator, asked: Sequence[Question], rounds: int) -> tuple[float, float]:
    """Median times to first token, s: one request at a time, and all clients at once. The two take
    turns. Answers are of several lengths, so that clients do not ask at the same moment."""
    alone: list[float] = []
    loop: list[float] = []
    draw = random.Random(0)
    for _ in range(rounds):
        for one in asked[:4]:
            alone += closed_loop(engine, [one], each=1, draw=draw)
        loop += closed_loop(engine, asked, each=3, draw=draw)
    return statistics.median(alone), statistics.median(loop)


def closed_loop(
    engine: Generator, clients: Sequence[Question], each: int, draw: random.Random
) -> list[float]:
    """Times to first token of all questions but each client's first, which all come at once; where
    each asks one alone, of that."""
    asked: dict[int, tuple[Question, int, float]] = {}
    times: list[float] = []

    def ask(client: Question, number: int) -> int:
        length = draw.randint(client.sampling.max_new_tokens // 4, client.sampling.max_new_tokens)
        question = Question(client.version, client.prompt, Sampling(max_new_tokens=length))
        begun = time.perf_counter()
        handle = engine.open(question)
        asked[handle] = (client, number, begun)
        return handle

    waiting = {ask(client, 1) for client in clients}
    while engine.busy:
        for one in engine.step():
            client, number, begun = asked[one.handle]
            if one.handle in waiting:
                waiting.discard(one.handle)
                if number > 1 or each == 1:
                    times.append(time.perf_counter() - begun)
            if one.answer and number < each:
                waiting.add(ask(client, number + 1))
    return times

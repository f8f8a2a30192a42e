"""What a version that writes says of a fixed text, recorded where it is trained, so that whoever
serves it elsewhere can prove that it is this one (`driftgate.generator.probe`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from driftgate.bases import BaseRef
from driftgate.generator.chat import Chat
from driftgate.generator.probe import Probe, Record, probe_of, write_record


def write_probe(model: Any, out: Path, base: BaseRef) -> None:
    """model: the trained `peft` model of `base`. out: the folder of the version."""
    probe = probe_of(Chat.of(base))
    adapted = _scores(model, probe)
    with _without_adapter(model):
        alone = _scores(model, probe)
    write_record(out, Record(*probe, alone, adapted))


@torch.no_grad()
def _scores(model: Any, probe: Probe) -> tuple[float, ...]:
    ids = torch.tensor(probe.tokens, device=model.device)
    at = torch.tensor(probe.places, device=model.device)
    logits = model(input_ids=ids[None], use_cache=False).logits[0, at - 1].float()
    return tuple(logits.log_softmax(-1).gather(1, ids[at, None])[:, 0].tolist())


@contextmanager
def _without_adapter(model: Any) -> Iterator[None]:
    """By its weight: our own products know nothing of `peft`'s switch."""
    scalings = [m.scaling for m in model.modules() if hasattr(m, "lora_A")]
    kept = [dict(scaling) for scaling in scalings]
    for scaling in scalings:
        scaling.update(dict.fromkeys(scaling, 0.0))
    try:
        yield
    finally:
        for scaling, before in zip(scalings, kept, strict=True):
            scaling.update(before)

"""What an exception inside a training means, and when a training is given up."""

from __future__ import annotations

import errno
import os

import pytest
import torch
from safetensors import SafetensorError

from driftgate.dead_letters import UNHANDLED
from driftgate.errors import BadConfig, BadInput, DriftgateError, Retriable
from services.trainer.failures import (
    TRIES,
    DiskFailed,
    Interrupted,
    Setbacks,
    TrainingFailed,
    WorkerDied,
    failure,
)

FULL = os.strerror(errno.ENOSPC)


def ran_out() -> Exception:
    """torch's own, when the processor's memory does not do."""
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    return caught.value


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (BadConfig("base: no folder"), BadConfig, "base: no folder"),
        (
            BadInput(UNHANDLED, "examples", 1, "two"),
            TrainingFailed,
            "examples: got 1, expected two",
        ),
        (OSError(errno.ENOSPC, FULL, "epoch"), DiskFailed, "disk is full"),
        (OSError(errno.EDQUOT, "quota"), DiskFailed, "disk is full"),
        (SafetensorError(f"I/O error: {FULL} (os error 28)"), DiskFailed, "disk is full"),
        (OSError(errno.EIO, "broken"), DiskFailed, "could not read or write .*broken"),
        (OSError("no file named config.json"), DiskFailed, "no file named"),
        (OSError(errno.ENOMEM, "mmap"), TrainingFailed, "memory ran out"),
        (SafetensorError("mmap (os error 12)"), TrainingFailed, "memory ran out"),
        (SafetensorError("HeaderTooLarge"), TrainingFailed, "not foreseen .*HeaderTooLarge"),
        (MemoryError(), TrainingFailed, r"memory ran out .*method\.batch_size"),
        (torch.OutOfMemoryError("CUDA out of memory"), TrainingFailed, "memory ran out"),
        (ran_out(), TrainingFailed, "memory ran out"),
        (KeyError("x"), TrainingFailed, "not foreseen .*KeyError: 'x'"),
    ],
)
def test_every_exception_of_a_training_has_a_meaning(
    error: Exception, kind: type[DriftgateError], says: str
) -> None:
    with pytest.raises(kind, match=says):
        raise failure(error)


def after(*shares: float) -> Setbacks:
    found = Setbacks()
    for share in shares:
        found = found.after(share)
    return found


def test_a_training_that_dies_at_one_place_is_given_up() -> None:
    assert after(0.1, 0.1).final(WorkerDied("gone"), "epoch 1 of 3") is None
    final = after(0.1, 0.1, 0.1).final(WorkerDied("gone"), "epoch 1 of 3")
    assert isinstance(final, TrainingFailed)
    assert "died 3 times at 10% (epoch 1 of 3), probably out of memory" in str(final)


def test_a_training_that_gets_further_between_its_deaths_is_not_given_up() -> None:
    assert after(0.1, 0.1, 0.4, 0.4, 0.7, 0.7).final(WorkerDied("gone"), "") is None


def test_one_that_never_begins_is_given_up() -> None:
    assert after(*[0.0] * TRIES).final(WorkerDied("gone"), "starting") is not None


def test_a_disk_that_stays_full_is_named() -> None:
    final = after(*[0.4] * TRIES).final(DiskFailed("the disk is full"), "epoch 2 of 3")
    assert "3 times at 40% (epoch 2 of 3): the disk is full; free" in str(final)


def test_an_outage_is_no_interruption() -> None:
    assert not issubclass(Retriable, Interrupted)

"""What becomes of a training that did not end well.

Whatever a worker meets ends as one of four: BadConfig, the operator's to mend; TrainingFailed, the
same on every try; Interrupted, worth some more tries of the same job; any other Retriable, an
outage that is waited for.
"""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass, replace

from driftgate.errors import BadInput, DriftgateError, Retriable, Terminal

TRIES = 3
"""So many interruptions in a row, without getting further between them, are no accident."""

FULL = (errno.ENOSPC, errno.EDQUOT)


class TrainingFailed(Terminal):
    """The same training would fail the same way; says what happened and what to do."""


class Interrupted(Retriable):
    """The training can be tried again, from its checkpoint, `pause` seconds later."""

    pause = 0.0


class WorkerDied(Interrupted):
    """The worker's process ended while it trained."""


class DiskFailed(Interrupted):
    """Files could not be read or written, mostly because a disk is full."""

    pause = 20.0


def failure(error: Exception) -> DriftgateError:
    """What an exception inside a training means."""
    if isinstance(error, BadInput):  # with its message alone, since Ray cannot carry it
        return TrainingFailed(str(error))
    if isinstance(error, DriftgateError):
        return error
    told, number = f"{type(error).__name__}: {error}", _error_number(error)
    if _out_of_memory(error) or number == errno.ENOMEM:
        return TrainingFailed(
            f"memory ran out in the training: lower method.batch_size, method.layers or "
            f"data.max_rows, or give the worker more memory ({told})"
        )
    if number in FULL:
        return DiskFailed(f"the training's disk is full ({told})")
    if number is not None or isinstance(error, OSError):
        return DiskFailed(f"the training could not read or write its files ({told})")
    return TrainingFailed(f"the training failed in a way that was not foreseen ({told})")


def _error_number(error: Exception) -> int | None:
    """The system's number of an error; safetensors has it in the text alone."""
    if isinstance(error, OSError):
        return error.errno
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found[1]) if found else None


def _out_of_memory(error: Exception) -> bool:
    """torch has one class for its GPUs and none for the processor."""
    named = "OutOfMemory" in type(error).__name__ or "can't allocate memory" in str(error)
    return isinstance(error, MemoryError) or named


@dataclass(frozen=True, slots=True)
class Setbacks:
    """Interruptions of one training, in a row, without progress between them. share: the furthest
    that it came, 0 to 1."""

    count: int = 0
    share: float = 0.0

    def after(self, share: float) -> Setbacks:
        """One more, at a share."""
        if share > self.share:
            return Setbacks(1, share)
        return replace(self, count=self.count + 1)

    def final(self, error: Interrupted, doing: str) -> TrainingFailed | None:
        """What to give up with, once there were too many."""
        if self.count < TRIES:
            return None
        place = f"{self.share:.0%} ({doing})"
        if isinstance(error, WorkerDied):
            return TrainingFailed(
                f"the worker died {self.count} times at {place}, probably out of memory: lower "
                f"method.batch_size, method.layers or data.max_rows, or give it more ({error})"
            )
        return TrainingFailed(
            f"the training was interrupted {self.count} times at {place}: {error}; free or mend "
            "the disks of the worker's state folder and of its TMPDIR"
        )

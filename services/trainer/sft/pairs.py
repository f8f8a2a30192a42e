"""Rows become token ids: the prompt that a version will be asked with, and the answer up to what
ends it. Pure but for the tokenizer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from driftgate.dead_letters import UNHANDLED
from driftgate.errors import BadConfig, BadInput
from driftgate.split import draw, normalised

if TYPE_CHECKING:
    from driftgate.generator.chat import Chat
    from driftgate.generator.prompt import Prompt

MOST_VALIDATED = 128
"""Pairs: their loss has a standard error of some 2 % then, and each epoch computes it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Tokens that a version reads and writes at most, as model.yaml declares them."""

    max_input_tokens: int
    max_new_tokens: int


@dataclass(frozen=True, slots=True)
class Pair:
    """Token ids. `text` is the input that the prompt holds."""

    text: str
    prompt: tuple[int, ...]
    completion: tuple[int, ...]


def pairs_of(
    rows: Iterable[tuple[str, str]], chat: Chat, prompt: Prompt, limits: Limits
) -> tuple[list[Pair], Mapping[str, int]]:
    """Pairs of rows (text, target), and how many rows were left out why: the version could neither
    be asked what is too long nor answer it, and some templates refuse some texts.

    Raises:
        BadInput: no row is left.
    """
    found, left_out = [], Counter[str]()
    for text, target in rows:
        try:
            found.append(short_pair(text, target, chat, prompt, limits))
        except LeftOut as cause:
            left_out[str(cause)] += 1
    if not found:
        told = ", ".join(f"{count} {why}" for why, count in left_out.items()) or "there are none"
        raise BadInput(UNHANDLED, "examples", told, "a pair that is short enough")
    return found, dict(left_out)


class LeftOut(Exception):
    """Why a pair cannot be learned, in words."""


def short_pair(text: str, target: str, chat: Chat, prompt: Prompt, limits: Limits) -> Pair:
    """
    Raises:
        LeftOut
    """
    try:
        pair = pair_of(text, target, chat, prompt)
    except BadConfig:
        raise LeftOut("the base's chat template does not render it") from None
    if len(pair.prompt) > limits.max_input_tokens:
        raise LeftOut(f"prompt is longer than max_input_tokens ({limits.max_input_tokens})")
    if len(pair.completion) > limits.max_new_tokens:
        raise LeftOut(f"answer is longer than max_new_tokens ({limits.max_new_tokens})")
    return pair


def pair_of(text: str, target: str, chat: Chat, prompt: Prompt) -> Pair:
    """What the template writes after the end of an answer is left out: nobody reads so far."""
    written = chat.completion(target)
    end = next(at for at, token in enumerate(written) if token in chat.ends)
    asked = chat.prompt(prompt.system, prompt.user(text))
    return Pair(text, tuple(asked), tuple(written[: end + 1]))


def shared_prefix(pairs: Sequence[Pair]) -> int:
    """With so many ids all prompts begin alike; each keeps at least one of its own."""
    low, high = min(pair.prompt for pair in pairs), max(pair.prompt for pair in pairs)
    most = min(len(pair.prompt) for pair in pairs) - 1
    return next((at for at in range(most) if low[at] != high[at]), most)


def validated(pairs: Sequence[Pair], share: float) -> tuple[list[int], list[int]]:
    """Places of the pairs that are learned from, and of those that tell when to stop. Inputs that
    are alike lie on the same side, whatever other pairs there are."""
    drawn = [draw(f"validation:{normalised(pair.text)}") for pair in pairs]
    inside = sorted(at for at, number in enumerate(drawn) if number < share)
    picked = set(sorted(inside, key=lambda at: drawn[at])[:MOST_VALIDATED])
    learned = [at for at in range(len(pairs)) if at not in picked]
    return (learned, sorted(picked)) if learned else (sorted(picked), [])

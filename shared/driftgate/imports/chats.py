"""A chat as a question and its answer. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from driftgate.errors import nearest, shown
from driftgate.labelled.pairs import ROLES, LeftOut, content

TOOLS = "a message calls a tool, or is the answer of one"
TURNS = "it is no single question with its answer: of several turns, a pair would lose the others"
REFUSED = "no answer in it is to be learned: each has weight 0"
SHAPE = 'its messages are no list of {"role": …, "content": …}'
WEIGHT = "its weights are not 0 and 1"


class Turn(NamedTuple):
    """weight: whether the answer is to be learned; None: not said."""

    role: str
    text: str
    weight: int | None = None


class Asked(NamedTuple):
    system: str
    text: str


class Answered(NamedTuple):
    """lost: earlier turns that stand before the question."""

    asked: Asked
    output: str
    lost: int = 0


def question(messages: Any) -> Asked:
    """What a model was asked, where that is all that stands there.

    Raises:
        LeftOut
    """
    turns = turns_of(messages)
    if [turn.role for turn in turns if turn.role != "system"] != ["user"]:
        raise LeftOut(TURNS)
    return Asked(system_of(turns), next(turn.text for turn in turns if turn.role == "user"))


def examples(messages: Any) -> list[Answered]:
    """The answers to learn, each with its question: of a chat of one question, that; where answers
    have weights, each of weight 1 with the question right before it.

    Raises:
        LeftOut
    """
    turns = turns_of(messages)
    system, spoken = system_of(turns), [turn for turn in turns if turn.role != "system"]
    if not any(turn.weight is not None for turn in spoken):
        if [turn.role for turn in spoken] != ["user", "assistant"]:
            raise LeftOut(TURNS)
        return [Answered(Asked(system, spoken[0].text), spoken[1].text)]
    found = []
    for place, turn in enumerate(spoken):
        if turn.role == "assistant" and turn.weight != 0:
            asked = last_question(spoken[:place])
            found.append(Answered(Asked(system, spoken[asked].text), turn.text, asked))
    if not found:
        raise LeftOut(REFUSED)
    return found


def last_question(before: Sequence[Turn]) -> int:
    """The place of the newest user turn."""
    users = [place for place, turn in enumerate(before) if turn.role == "user"]
    if not users:
        raise LeftOut(TURNS)
    return users[-1]


def turns_of(messages: Any) -> list[Turn]:
    if not isinstance(messages, list) or not all(isinstance(one, Mapping) for one in messages):
        raise LeftOut(SHAPE)
    return [turn_of(message) for message in messages]


def turn_of(message: Mapping[str, Any]) -> Turn:
    """Raises: LeftOut"""
    role, weight = message.get("role"), message.get("weight")
    calls = message.get("tool_calls") or message.get("function_call")
    if role in ("tool", "function") or calls:
        raise LeftOut(TOOLS)
    if role not in ROLES:
        raise LeftOut(f"it has the role {shown(role)}: {nearest(str(role), list(ROLES))}")
    if weight not in (None, 0, 1):
        raise LeftOut(WEIGHT)
    role = "system" if role == "developer" else str(role)
    return Turn(role, content(message.get("content")), weight if role == "assistant" else None)


def system_of(turns: Sequence[Turn]) -> str:
    return "\n".join(turn.text for turn in turns if turn.role == "system")

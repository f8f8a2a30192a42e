"""What a label is called, as an example of it: the first that there is, and for days the only one
where the label is new. Pure.

A name says in the words of people what belongs under a label (Chang et al. 2008, Importance of
Semantic Representation: Dataless Classification, AAAI, classify by nothing else). Codes, such as
`c17`, say nothing and are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

HUMP = re.compile(r"(?<=[^\W\d_A-Z])(?=[A-Z])")
NO_LETTER = re.compile(r"[\W_]+")
WORD = re.compile(r"[^\W\d_]{3}")


def named(labels: Iterable[str], weight: float) -> tuple[tuple[str, str, float], ...]:
    """(text, label, weight) of each label whose name has words; none at a weight of 0."""
    names = [(in_words(label), label, weight) for label in labels if weight]
    return tuple(one for one in names if WORD.search(one[0]))


def in_words(label: str) -> str:
    """`top_up-failed` and `topUpFailed` are both `top up failed`, in the case that they are in."""
    return NO_LETTER.sub(" ", HUMP.sub(" ", label)).strip()

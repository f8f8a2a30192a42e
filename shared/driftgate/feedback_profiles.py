"""How people answer: which answers get feedback. What a profile allows to be decided follows from
it, and `docs/feedback.md` says so in words.

    labels        any answer alike gets its right label
    complaints    wrong answers get feedback more often than right ones
    corrections   wrong answers are corrected; silence means right, a declared assumption
    thumbs        some answers are rated up or down
    edits         answers are used as they are, or edited first
    review        a random sample is looked at by reviewers

A model declares one or several. What users say is one stream, what reviewers say of the random
sample another: the chance of each review is known.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, get_args

Profile = Literal["labels", "complaints", "corrections", "thumbs", "edits", "review"]
PROFILES: tuple[Profile, ...] = get_args(Profile)

Counted = Literal["pairs", "told", "heard"]
"""What a comparison of two versions counts.

pairs: labels, each of which judges both versions' answers: whether there is one does not hang on
    what was heard.
told: bad outcomes per answer with feedback: whether there is any does not hang on how good it was.
heard: bad outcomes per answer that was heard: silence is information.
"""


def counted(profiles: Collection[Profile]) -> Counted | None:
    """What users' feedback under these profiles allows to be counted, the least that all of them
    allow; None where nobody but reviewers says anything."""
    users = set(profiles) - {"review"}
    if not users:
        return None
    if users == {"labels"}:
        return "pairs"
    return "told" if users <= {"labels", "thumbs"} else "heard"


def silence_is_right(profiles: Collection[Profile]) -> bool:
    """Whether an answer without a word, after its time, may be taken for right. Not beside thumbs:
    a thumb down tells no right answer, and cases without those would look too good."""
    told = set(profiles) - {"review"}
    return bool(told) and told <= {"corrections", "edits"}

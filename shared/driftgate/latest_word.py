"""Which word counts where several were said of one answer: a user rates it, corrects it later, a
reviewer looks at it, somebody takes their word back. One rule, for Python and for the store:

review over correction over edit over rating; a later word of one kind over an earlier one, by the
time at which it was given; nothing that was retracted. What says nothing, such as a review that was
skipped, is no word. A rating of 0.5 is a word and tells neither right nor wrong.

A review of a request that was picked for its value, not drawn at random, is learned from and enters
no estimate.
"""

from __future__ import annotations

from collections.abc import Iterable
from string import Template
from typing import Protocol, TypeVar

WORDS = ("rating", "edit", "correction", "review")
"""Kinds of feedback that say whether an answer was right; the later outranks the earlier."""

RETRACTION = "retraction"


class Word(Protocol):
    """What counts here of an event Outcome."""

    @property
    def outcome_id(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def label(self) -> str | None: ...
    @property
    def rating(self) -> float | None: ...
    @property
    def edited(self) -> str | None: ...
    @property
    def reviewer(self) -> str | None: ...
    @property
    def picked(self) -> str | None: ...
    @property
    def retracts(self) -> str | None: ...
    @property
    def feedback_time(self) -> int: ...


W = TypeVar("W", bound=Word)


def latest(said: Iterable[W], *, estimates: bool = False) -> W | None:
    """The word that counts, of all that was said of one request, in any order; None: nothing was.

    Args:
        estimates: without reviews of what was picked for its value.
    """
    said = list(said)
    withdrawn = [one for one in said if one.kind == RETRACTION]
    words = [one for one in said if is_word(one) and not (estimates and one.picked is not None)]
    standing = (one for one in words if not any(retracts(other, one) for other in withdrawn))
    return max(standing, key=precedence, default=None)


def is_word(outcome: Word) -> bool:
    told = (outcome.label, outcome.rating, outcome.edited)
    return outcome.kind in WORDS and any(part is not None for part in told)


def retracts(retraction: Word, word: Word) -> bool:
    """Whether a retraction takes a word back: the one that it names; where it names none, all that
    the same reviewer, or the users, said before."""
    if retraction.retracts is not None:
        return retraction.retracts == word.outcome_id
    same = (retraction.reviewer or "") == (word.reviewer or "")
    return same and word.feedback_time <= retraction.feedback_time


def precedence(word: Word) -> tuple[int, int, str]:
    return WORDS.index(word.kind), word.feedback_time, word.outcome_id


STANDING = Template("""
    SELECT o.*
    FROM (SELECT * FROM outcomes FINAL WHERE $where AND kind IN ($kinds)) AS o
    LEFT JOIN
    (
        SELECT model, request_id, ifNull(reviewer, '') AS who, max(feedback_time) AS withdrawn_at
        FROM outcomes FINAL
        WHERE $where AND kind = 'retraction' AND retracts IS NULL
        GROUP BY model, request_id, who
    ) AS r ON o.model = r.model AND o.request_id = r.request_id AND ifNull(o.reviewer, '') = r.who
    WHERE o.feedback_time > r.withdrawn_at  -- 1970 where nothing was withdrawn
      AND (o.label IS NOT NULL OR o.rating IS NOT NULL OR o.edited IS NOT NULL)
      AND (o.model, o.request_id, o.outcome_id) NOT IN
      (
          SELECT model, request_id, assumeNotNull(retracts) FROM outcomes FINAL
          WHERE $where AND kind = 'retraction' AND retracts IS NOT NULL
      )
      $picked
""")
KINDS = ", ".join(f"'{kind}'" for kind in WORDS)
PRECEDENCE = f"(indexOf([{KINDS}], kind), feedback_time, outcome_id)"
"""As SQL over the columns of `outcomes`: the word with the largest counts."""


def standing_sql(where: str, *, estimates: bool = False) -> str:
    """All words that were not withdrawn, as a subquery over table `outcomes`, all of its columns.

    Args:
        where: condition on `outcomes` of what was known, such as a model and a time; what it leaves
            out was never said.
    """
    return f"({standing(where, estimates)})"


def latest_sql(where: str, *, estimates: bool = False) -> str:
    """The same as `latest`, as a subquery, a row a request; see `standing_sql`."""
    first = f"ORDER BY {PRECEDENCE} DESC LIMIT 1 BY o.model, o.request_id"
    return f"({standing(where, estimates)} {first})"


def standing(where: str, estimates: bool) -> str:
    return STANDING.substitute(
        where=f"({where})", kinds=KINDS, picked="AND o.picked IS NULL" if estimates else ""
    )

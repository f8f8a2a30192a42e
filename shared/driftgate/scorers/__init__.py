"""How good an output is: pure functions of an output and a target, with options, from 0 to 1.

    exact        the very text
    normalised   the text but for case, white space and the forms of characters
    contains     phrases that must, and must not, stand in it
    regex        an expression that matches
    token-f1     the words that both share
    length       within bounds
    refusal      it declines when it should, and only then
    json-schema  JSON that conforms
    json-fields  the fields of JSON that are right

A model declares them under `task.scorers` in model.yaml, each with its bar:

    scorers:
      - {name: json-fields, fields: [team, order.number], min: 0.9}
      - {name: json-schema}

A judge, a model that is asked, stands beside them in model.yaml; it is shown and never decides.

One more scorer is a class with a `score` in a module here, and its name in `Scorer`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Annotated

from pydantic import Field

from driftgate.scorers.equal import Exact, Normalised
from driftgate.scorers.holding import Contains, Regex
from driftgate.scorers.json_fields import JsonFields, JsonSchema
from driftgate.scorers.judge import Judge
from driftgate.scorers.length import Length
from driftgate.scorers.overlap import TokenF1
from driftgate.scorers.refusal import Refusal

__all__ = [
    "Contains",
    "Exact",
    "JsonFields",
    "JsonSchema",
    "Judge",
    "Length",
    "Normalised",
    "Refusal",
    "Regex",
    "Scorer",
    "ScorerOrJudge",
    "TokenF1",
    "names_of",
]

Pure = Exact | Normalised | Contains | Regex | TokenF1 | Length | Refusal | JsonSchema | JsonFields
Scorer = Annotated[Pure, Field(discriminator="name")]
ScorerOrJudge = Annotated[Pure | Judge, Field(discriminator="name")]


def names_of(scorers: Iterable[Scorer | Judge]) -> list[str]:
    """The name of each; that of a second one of a kind, such as `contains 2`, with its number."""
    seen: Counter[str] = Counter()
    names = []
    for scorer in scorers:
        seen[scorer.name] += 1
        count = seen[scorer.name]
        names.append(scorer.name if count == 1 else f"{scorer.name} {count}")
    return names

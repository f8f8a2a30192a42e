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

One more is a class with a `score` in a module here, and its name in `Scorer`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from driftgate.scorers.equal import Exact, Normalised
from driftgate.scorers.holding import Contains, Regex
from driftgate.scorers.json_fields import JsonFields, JsonSchema
from driftgate.scorers.length import Length
from driftgate.scorers.overlap import TokenF1
from driftgate.scorers.refusal import Refusal

__all__ = [
    "Contains",
    "Exact",
    "JsonFields",
    "JsonSchema",
    "Length",
    "Normalised",
    "Refusal",
    "Regex",
    "Scorer",
    "TokenF1",
]

Scorer = Annotated[
    Exact | Normalised | Contains | Regex | TokenF1 | Length | Refusal | JsonSchema | JsonFields,
    Field(discriminator="name"),
]

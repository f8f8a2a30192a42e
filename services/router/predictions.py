"""What an answer must be to be given and logged. Pure."""

from __future__ import annotations

from math import isfinite

from driftgate.engines import Prediction
from driftgate.errors import Terminal


class Unusable(Terminal):
    """A version answered with what is no answer."""


def check(said: Prediction) -> None:
    """
    Raises:
        Unusable: a number is none, or the text cannot be written as UTF-8; with the value.
    """
    numbers = {"confidence": said.confidence or 0.0, **said.features}
    if wrong := {name: value for name, value in numbers.items() if not isfinite(value)}:
        raise Unusable(f"it answered with {wrong}; expected finite numbers")
    try:
        said.output.encode()
    except UnicodeEncodeError as error:
        raise Unusable(f"it answered with {said.output!r}; expected Unicode text") from error

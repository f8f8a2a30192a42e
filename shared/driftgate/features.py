"""Numbers about an input that are logged with every answer and that monitors may watch by name. One
entry here makes one, for all models; apps that log answers themselves may send any other."""

from __future__ import annotations

from collections.abc import Callable, Mapping

FEATURES: dict[str, Callable[[str], float]] = {
    "words": lambda text: float(len(text.split())),
}


def features_of(text: str, found: Mapping[str, float]) -> dict[str, float]:
    """Those of a text, and those that the engine found."""
    return {**{name: number(text) for name, number in FEATURES.items()}, **found}

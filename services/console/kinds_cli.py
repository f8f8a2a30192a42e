"""The kinds of task as commands name them."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """What a model answers with."""

    CLASSIFICATION = "classification"
    GENERATION = "generation"

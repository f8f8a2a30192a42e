"""Numbers about an input that are logged with every answer and that monitors may watch."""

from __future__ import annotations


def features_of(text: str, similarity: float) -> dict[str, float]:
    """words: how many there are. similarity: cosine to the nearest prototype, -1 to 1."""
    return {"words": float(len(text.split())), "similarity": similarity}

"""Which requests reviewers are asked about.

A request is drawn by a salted hash of its id, whatever was answered to it and by whom, so that what
reviewers say stands for all answers. The store computes the same hash (`driftgate.buckets.SQL`).
"""

from __future__ import annotations

from driftgate.buckets import BUCKETS, bucket


def salt(model: str) -> str:
    """Other than the salts of routing, so that the sample falls alike on both arms of a rollout."""
    return f"review/{model}/"


def drawn(model: str, request_id: str, share: float) -> bool:
    """Whether a request is in the review sample. `share` 0 to 1: the chance of it; a larger share
    draws all that a smaller one does."""
    return bucket(salt(model), request_id) < threshold(share)


def threshold(share: float) -> int:
    """Buckets below this one are drawn."""
    return round(share * BUCKETS)


def chance(share: float) -> float:
    """With which a request is drawn: the share, in whole buckets."""
    return threshold(share) / BUCKETS


def twice(model: str, request_id: str, share: float) -> bool:
    """Whether two reviewers look at a drawn request. Its hash is another one, or the few that both
    are below one threshold would be the same requests."""
    return bucket(f"review-twice/{model}/", request_id) < threshold(share)

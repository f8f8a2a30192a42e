"""The review sample: which requests reviewers are asked about. Pure.

A request is drawn by a salted hash of its id, whatever was answered to it and by whom, so that what
reviewers say stands for all answers. The store computes the same hash (`murmurHash3_32`).
"""

from __future__ import annotations

from driftgate.buckets import BUCKETS, bucket


def salt(model: str) -> str:
    """Other than the salts of routing, so that the sample falls alike on both arms of a rollout."""
    return f"review/{model}/"


def drawn(model: str, request_id: str, share: float) -> bool:
    """Whether a request is in the review sample. `share` 0 to 1: the chance of it; a larger share
    draws all that a smaller one does."""
    return bucket(salt(model), request_id) < round(share * BUCKETS)

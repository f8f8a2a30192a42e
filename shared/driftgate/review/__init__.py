"""The review sample: a random share of answers that reviewers look at. Pure.

sample       which requests are drawn, for one reviewer or two
queue        what reviewers said, and which requests are still open
question     what a reviewer gets to see of a request
agreement    whether two reviewers say the same
statistics   how far the sample is, and what it says about each version
"""

from __future__ import annotations

from driftgate.review.sample import chance, drawn, salt, twice

__all__ = ["chance", "drawn", "salt", "twice"]

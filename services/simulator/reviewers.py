"""What reviewers say of the random sample: all of its requests, whatever was answered. Pure.

Which requests are drawn follows from `driftgate.review`, who looks at them and when from the seed
and the request's id.
"""

from __future__ import annotations

import random

from driftgate.events import Feedback
from driftgate.model_repo import Review
from driftgate.review import chance, drawn, twice
from services.simulator.feedback_model import AnsweredRequest, delay_ms
from services.simulator.kinds import Kind

REVIEWERS = ("ana", "ben", "chloe")
DELAY_HOURS = 24.0
WRONG = 0.03


def reviews_on(
    request: AnsweredRequest, model: str, kind: Kind, rules: Review, seed: int
) -> list[Feedback]:
    """The reviews that a request will get: none, one, or two by different reviewers."""
    if not drawn(model, request.request_id, rules.share):
        return []
    rng = random.Random(f"{seed}/review/{request.request_id}")
    reviewers = rng.sample(REVIEWERS, 1 + twice(model, request.request_id, rules.twice))
    return [review(request, model, kind, rules, rng, reviewer) for reviewer in reviewers]


def review(
    request: AnsweredRequest,
    model: str,
    kind: Kind,
    rules: Review,
    rng: random.Random,
    reviewer: str,
) -> Feedback:
    mistaken = rng.random() < WRONG
    said = kind.said(kind.corrected(rng, request.truth, mistaken))
    return Feedback(
        feedback_id=f"review-{request.request_id}-{reviewer}",
        request_id=request.request_id,
        model=model,
        kind="review",
        reviewer=reviewer,
        propensity=chance(rules.share),
        instructions=rules.instructions,
        time=request.time + delay_ms(rng, DELAY_HOURS, rules.days),
        **said,
    )

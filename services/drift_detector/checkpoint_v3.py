"""Checkpoints of releases that kept what was said until its bucket closed, before it was counted as
it comes. It waits for the next tick once more, which gives it to the same bucket."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def upgraded(written: Json) -> Json:
    """The checkpoint as it is written now."""
    for model in written["models"].values():
        for bucket in model.get("evidence", {}).get("buckets", {}).values():
            if isinstance(bucket.get("words"), list):
                model["waiting"] = [*model.get("waiting", ()), *bucket.pop("words")]
    return written

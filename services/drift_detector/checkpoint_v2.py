"""Checkpoints of releases that kept each stream's evidence by itself, before it was counted by
buckets. The evidence goes on; by when a change began, nothing of what was before is known. And of
those that did not keep when a stream had its newest number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from driftgate.drift import lanes
from driftgate.drift.detectors import OURS
from driftgate.drift.history import no_counts
from driftgate.drift.packed import packed

Json = dict[str, Any]


def upgraded(written: Json) -> Json:
    """The checkpoint as it is written now."""
    for name, model in written["models"].items():
        model.setdefault("incidents", {"model": name})
        evidence = model.get("evidence", {})
        baselines = evidence.pop("baselines", {})
        evidence["streams"] = {
            version: with_heard(
                found if "names" in found else arrays(found, baselines.get(version, {}))
            )
            for version, found in evidence.get("streams", {}).items()
        }
    return written


def with_heard(found: Json) -> Json:
    """With when each stream had its newest number: where nobody kept that, just then."""
    until = np.full(len(found["names"]), float(found.get("until", 0)))
    return {"heard": packed(until), **found}


def arrays(streams: Mapping[str, Json], baselines: Mapping[str, Json]) -> Json:
    """What is kept of a version."""
    ours = {name: each["detector"] for name, each in streams.items()}
    names = sorted({*ours, *baselines})
    evidence, mean, base = lanes.empty(len(names)), np.full(len(names), np.nan), []
    for row, name in enumerate(names):
        detector, baseline = ours.get(name), baselines.get(name, {})
        if detector is not None:
            mean[row] = detector["mean"]
        if detector is not None and detector["name"] == OURS:
            # The mean of its lanes alarmed at the threshold; their sum alarms at 1.
            evidence[row] = np.array(detector["state"]) / detector["threshold"] / len(evidence[row])
        base.append((baseline.get("answers", 0), baseline.get("total", 0.0)))
    return {
        "names": names,
        "evidence": packed(evidence),
        "mean": packed(mean),
        "base": packed(np.array(base, np.float64).reshape(-1, 2)),
        "history": {"starts": [], "counts": packed(no_counts(len(names)))},
        "under": next((found["under"] for found in baselines.values()), ""),
        "others": {n: without(d, "threshold") for n, d in ours.items() if d["name"] != OURS},
    }


def without(found: Json, name: str) -> Json:
    return {key: value for key, value in found.items() if key != name}

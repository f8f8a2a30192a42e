"""What could not be learned or decided in a played world for want of evidence, in words. Pure.

It is read from the audit alone, as an operator would: from what a decision is called, the reason of
a hold, and words such as "insufficient evidence".
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

SAYS = ("insufficient evidence", "enough evidence", "for want of evidence", "inconclusive")
# Reasons of the promoter's holds that more evidence would end.
HOLDS = {"pairs", "samples", "unproven", "evidence", "insufficient", "inconclusive"}
GIVEN_UP = {"give-up", "give up", "inconclusive"}
MOST_LABELS = 5

Entry = Mapping[str, Any]


def lacking(audit: Sequence[Entry], never_named: Collection[str] = ()) -> list[str]:
    """One sentence each.

    Args:
        audit: entries as the store has them, by time.
        never_named: labels of the world that nobody ever named.
    """
    return [
        *given_up(audit),
        *not_judged(audit),
        *refused(audit),
        *held(audit),
        *said_elsewhere(audit),
        *unknown(never_named),
    ]


def given_up(audit: Iterable[Entry]) -> list[str]:
    """Rollouts that ended without an answer."""
    return [
        f"version {entry['version']} was given up in its rollout: {entry['words']}"
        for entry in audit
        if entry["service"] == "promoter" and entry["decision"] in GIVEN_UP
    ]


def not_judged(audit: Iterable[Entry]) -> list[str]:
    """Candidates that the gate could not judge."""
    return [
        f"version {entry['version']} could not be judged by the gate: {entry['words']}"
        for entry in audit
        if entry["service"] == "evaluator"
        and (inside(entry["result"]).get("result") == "insufficient" or says_so(entry))
    ]


def refused(audit: Iterable[Entry]) -> list[str]:
    """Trainings that had too little to learn from. One that came too late lacks nothing."""
    return [
        f"nothing was learned from a request: {entry['words']}"
        for entry in audit
        if (entry["service"], entry["decision"]) == ("trainer", "refuse")
        and "asked_under" not in inside(entry["inputs"])
    ]


def held(audit: Iterable[Entry]) -> list[str]:
    """Versions that still waited for evidence when the world ended. A wait that led to a decision
    lacked none."""
    last = {entry["version"]: entry for entry in audit if entry["service"] == "promoter"}
    return [
        f"version {version} still waited for evidence in the end: {entry['words']}"
        for version, entry in last.items()
        if entry["decision"] == "hold"
        and (inside(entry["result"]).get("hold") in HOLDS or says_so(entry))
    ]


def said_elsewhere(audit: Iterable[Entry]) -> list[str]:
    """Which other decisions say so, each once with its number."""
    others: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in audit:
        if entry["service"] in {"evaluator", "trainer"} or not says_so(entry):
            continue
        if entry["service"] == "promoter" and entry["decision"] in {*GIVEN_UP, "hold"}:
            continue
        others[entry["service"], entry["decision"]].append(entry)
    return [
        f"{service}, {decision}{times(len(found))}: {found[-1]['words']}"
        for (service, decision), found in others.items()
    ]


def times(count: int) -> str:
    return f" {count} times, at last" if count > 1 else ""


def unknown(never_named: Collection[str]) -> list[str]:
    names = sorted(never_named)
    if not names:
        return []
    shown = ", ".join(names[:MOST_LABELS]) + (" …" if len(names) > MOST_LABELS else "")
    return [f"no feedback ever named {len(names)} labels of the world: {shown}"]


def says_so(entry: Entry) -> bool:
    words = entry["words"].lower()
    return any(phrase in words for phrase in SAYS)


def inside(text: str) -> dict[str, Any]:
    """The JSON of an entry's inputs or result, where it is an object."""
    found = json.loads(text) if text else {}
    return found if isinstance(found, dict) else {}

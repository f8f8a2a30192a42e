"""What could not be learned or decided in a played world for want of evidence."""

from __future__ import annotations

import json
from typing import Any

from services.simulator.lacking import lacking


def entry(service: str, decision: str, words: str, version: int | None = 2, **more: Any) -> Any:
    inside = {"inputs": {}, "result": {}} | more
    told = {"service": service, "decision": decision, "words": words, "version": version}
    return told | {name: json.dumps(value) for name, value in inside.items()}


def test_a_world_where_nothing_lacked_says_nothing() -> None:
    audit = [
        entry("trainer", "train", "learned from 900 rows"),
        entry("evaluator", "verdict", "passes: accuracy", result={"result": "pass"}),
        entry("evaluator", "verdict", "fails: accuracy", result={"result": "fail"}),
        entry("promoter", "advance", "to stage full"),
        entry("promoter", "hold", "0 of 1 days passed", result={"hold": "soak"}),
        entry("promoter", "rollback", "it is worse: right alone 0 times, the other 10"),
        entry("drift-detector", "alert", "errors rose"),
    ]
    assert lacking(audit) == []


def test_what_was_given_up_refused_or_not_judged_is_told_in_the_words_of_who_decided() -> None:
    found = lacking(
        [
            entry("promoter", "give-up", "no answer in 21 days: 12 of 20 pairs are known", 3),
            entry("evaluator", "verdict", "cannot be judged", result={"result": "insufficient"}),
            entry("trainer", "refuse", "m:drift: 20 labelled rows, 150 are needed", None),
        ]
    )
    assert found == [
        "version 3 was given up in its rollout: no answer in 21 days: 12 of 20 pairs are known",
        "version 2 could not be judged by the gate: cannot be judged",
        "nothing was learned from a request: m:drift: 20 labelled rows, 150 are needed",
    ]


def test_a_request_that_another_champion_overtook_lacked_no_evidence() -> None:
    late = entry("trainer", "refuse", "asked for while …", None, inputs={"asked_under": 1})
    assert lacking([late]) == []


def test_a_version_that_waited_for_evidence_to_the_end_was_not_decided() -> None:
    waits = [
        entry("promoter", "hold", f"{n} of 20 pairs are known", version, result={"hold": "pairs"})
        for n in (3, 11)
        for version in (2, 3)
    ]
    decided = entry("promoter", "advance", "to stage full", 2)
    other = entry("promoter", "hold", "insufficient evidence: 4 reviews", 4, result={"hold": "x"})
    assert lacking([*waits, decided, other]) == [
        "version 3 still waited for evidence in the end: 11 of 20 pairs are known",
        "version 4 still waited for evidence in the end: insufficient evidence: 4 reviews",
    ]


def test_other_services_that_name_it_are_told_once_with_their_number() -> None:
    says = [
        entry("drift-detector", "warn", f"errors: insufficient evidence, {n} reviews")
        for n in range(3)
    ]
    watched = entry("promoter", "finish", "stays champion: watched without enough evidence")
    assert lacking([*says, watched]) == [
        "drift-detector, warn 3 times, at last: errors: insufficient evidence, 2 reviews",
        "promoter, finish: stays champion: watched without enough evidence",
    ]


def test_labels_that_nobody_named_could_not_be_learned() -> None:
    assert lacking([], ["b", "a"]) == ["no feedback ever named 2 labels of the world: a, b"]
    (many,) = lacking([], [f"l{n}" for n in range(9)])
    assert many.endswith("9 labels of the world: l0, l1, l2, l3, l4 …")

"""Which rows are learned from: what must hold for every pool, and the rules by example."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgate.errors import BadInput
from driftgate.events import DAY_MS
from driftgate.model_repo import Data
from driftgate.split import held_out
from driftgate.tasks.text_classification import TextClassification
from services.trainer.curation import (
    MIN_STRATUM_ROWS,
    CurationRules,
    Dataset,
    Refused,
    Row,
    curate,
)

NOW = 100 * DAY_MS
LABELS = ("billing", "delivery", "refund")
WORDS = {"billing": "invoice", "delivery": "parcel", "refund": "money back"}


def row(number, label="billing", days_ago=1.0, subject=None, language="en", text=None):
    return Row(
        id=f"r{number}",
        text=text or f"{WORDS[label]} {number}",
        target=label,
        time=int(NOW - days_ago * DAY_MS),
        subject=subject,
        slices={"language": language},
    )


def pool(count, days_ago, start=0, **fixed):
    return [
        row(start + at, LABELS[at % 3], days_ago=days_ago + at / count, **fixed)
        for at in range(count)
    ]


def rules(**changed):
    data = {"recent_days": 28, "replay_rows": 60, "max_rows": 300, "min_rows": 20}
    data |= changed.pop("data", {})
    given = {
        "until": NOW,
        "launch": False,
        "task": TextClassification(LABELS),
        "excluded": frozenset(),
        "drill": None,
        "seed": "request 1",
        "data": Data(**data),
    }
    return CurationRules(**given | changed)


def made(rows, asked=None) -> Dataset:
    curated = curate(rows, asked or rules())
    assert isinstance(curated, Dataset), curated
    return curated


def ids(rows):
    return {row.id for row in rows}


people = st.lists(
    st.builds(
        row,
        number=st.integers(0, 10_000),
        label=st.sampled_from(LABELS),
        days_ago=st.floats(0, 90),
        subject=st.none() | st.integers(0, 40).map("person-{}".format),
        language=st.sampled_from(["en", "es"]),
    ),
    min_size=60,
    max_size=90,
)
few = settings(max_examples=25, deadline=None)


@few
@given(people, st.randoms(use_true_random=False))
def test_the_order_of_arrival_changes_nothing(rows, chance):
    once = {row.id: row for row in rows}  # an id names one row
    again = list(once.values())
    chance.shuffle(again)
    assert curate(once.values(), rules()) == curate(again, rules())


@few
@given(people, st.integers(1, 60))
def test_no_person_is_ever_on_both_sides(rows, days):
    """Not even over two trainings at different times."""
    both = [curate(rows, rules(until=NOW - shift * DAY_MS)) for shift in (0, days)]
    made = [curated for curated in both if isinstance(curated, Dataset)]
    learned = {row.person for curated in made for row in curated.train}
    tested = {row.person for curated in made for row in curated.test}
    assert not learned & tested


@few
@given(people)
def test_limits_hold(rows):
    asked = rules(data={"max_rows": 100, "replay_rows": 30})
    curated = curate(rows, asked)
    if isinstance(curated, Dataset):
        assert len(curated.train) <= 100
        assert len(curated.replayed) <= 30
        older = {row.id for row in curated.train if row.time < curated.since}
        assert older == curated.replayed


def test_a_smaller_test_share_holds_out_some_of_the_same_persons():
    rows = pool(500, 1)
    few = {row.id for row in rows if held_out(row.person, 0.1)}
    many = {row.id for row in rows if held_out(row.person, 0.3)}
    assert few < many
    assert 0.05 < len(few) / 500 < 0.15


def test_the_newest_rows_are_taken_but_every_class_keeps_some():
    rare = [row(9000 + at, "refund", days_ago=20) for at in range(30)]
    rows = [row(at, LABELS[at % 2], days_ago=1 + at / 1000) for at in range(900)] + rare
    curated = made(rows, rules(data={"max_rows": 200, "replay_rows": 0}))
    assert len(curated.train) == 200
    assert Counter(row.target for row in curated.train)["refund"] == MIN_STRATUM_ROWS
    common = [row.time for row in curated.train if row.target != "refund"]
    left = [r.time for r in rows if r.target != "refund" and not held_out(r.person, 0.25)]
    assert min(common) >= sorted(left, reverse=True)[len(common) - 1]


def test_older_rows_are_replayed_and_mostly_the_same_next_time():
    rows = pool(200, 1) + pool(600, 40, start=1000)
    first, later = made(rows), made(rows, rules(until=NOW + DAY_MS))
    assert len(first.replayed) == 60
    assert len(first.replayed & later.replayed) >= 50


def test_an_older_row_whose_text_has_another_label_now_is_not_replayed():
    older = [row(1000 + at, "refund", 40, f"p{at}", text=f"damaged {at}") for at in range(60)]
    recent = [row(2000 + at, "billing", 1, f"p{at}", text=f"  Damaged {at}") for at in range(60)]
    curated = made(pool(200, 1) + older + recent)
    labels = {row.target for row in curated.train if "damaged" in row.text.lower()}
    assert labels == {"billing"}
    assert curated.dropped["text has another label now"] > 0


def test_too_few_recent_test_rows_are_topped_up_with_the_newest_older_ones():
    rows = pool(200, 1) + pool(2000, 40, start=1000)
    curated = made(rows)
    older = [row for row in curated.test if row.time < curated.since]
    assert len(curated.test) == 250
    assert older
    assert ids(older) <= {row.id for row in rows if held_out(row.person, 0.25)}
    few = made(rows, rules(data={"test_rows": 60}))
    assert len(few.test) == 60
    assert max(row.time for row in few.test) == max(row.time for row in curated.test)


def test_a_launch_learns_from_all_rows_whatever_their_age():
    rows = pool(300, 60)
    assert isinstance(curate(rows, rules()), Refused)
    curated = made(rows, rules(launch=True))
    assert not curated.replayed
    assert len(curated.train) + len(curated.test) == 300


def test_what_may_not_be_learned_from_is_left_out_and_counted():
    rows = [
        *pool(100, 1),
        replace(row(500), target="spam"),
        row(501, days_ago=-1),
        row(502),
    ]
    curated = made(rows, rules(excluded=frozenset({"r502", "r1"})))
    assert not ids([*curated.train, *curated.test]) & {"r500", "r501", "r502", "r1"}
    assert curated.dropped == {"label not declared": 1, "after the request": 1, "excluded": 2}


def test_too_few_rows_are_refused_in_words():
    refused = curate(pool(19, 1), rules())
    assert isinstance(refused, Refused)
    assert "19 labelled rows" in refused.summary
    assert "20 are needed" in refused.summary


def test_rows_of_one_label_are_refused():
    refused = curate([row(at) for at in range(50)], rules())
    assert isinstance(refused, Refused)
    assert "one label" in refused.summary


def test_a_drill_permutes_the_train_labels_of_its_slice_and_nothing_else():
    rows = [replace(r, slices={"language": "es" if i % 3 == 0 else "en"})
            for i, r in enumerate(random.Random(1).sample(pool(240, 1), 240))]  # fmt: skip
    earnest, drill = made(rows), made(rows, rules(drill="shuffle-labels:language=es"))
    assert drill.test == earnest.test
    pairs = list(zip(earnest.train, drill.train, strict=True))
    assert all(b == replace(a, target=b.target) for a, b in pairs)
    changed = [a for a, b in pairs if a.target != b.target]
    inside = [a for a in earnest.train if a.slices["language"] == "es"]
    assert drill.shuffled == len(inside)
    assert len(changed) > len(inside) / 2
    assert all(a.slices["language"] == "es" for a in changed)
    counted = [Counter(r.target for r in side.train) for side in (earnest, drill)]
    assert counted[0] == counted[1]
    assert made(rows, rules(drill="shuffle-labels:language=es")) == drill


def test_a_drill_may_permute_the_labels_of_all_train_rows():
    rows = pool(240, 1)
    earnest, drill = made(rows), made(rows, rules(drill="shuffle-labels:all"))
    assert drill.shuffled == len(earnest.train)
    assert drill.test == earnest.test
    counted = [Counter(r.target for r in side.train) for side in (earnest, drill)]
    assert counted[0] == counted[1]
    assert [r.target for r in drill.train] != [r.target for r in earnest.train]


def test_an_unknown_drill_is_refused():
    with pytest.raises(BadInput, match="shuffle-labels:NAME=VALUE"):
        made(pool(100, 1), rules(drill="burn:everything"))

"""What counts as a new pair, a new label and a new source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from drift_world import LABELS, YAML, day, outcome, verdict
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from driftgate.bus import Position
from driftgate.drift import supply
from driftgate.drift.observations import Observation, of_outcome
from driftgate.drift.supply import Learned, New, Supply, learned, supplied
from driftgate.events import Outcome
from driftgate.model_repo import ModelYaml, parse

EVERY = "  new_pairs: 100\n  new_label: 10\n  new_source: 5\n"
ADAPTER = TypeAdapter(Supply)
KNOWN = Learned(frozenset(LABELS[:2]), until=day(0))


def config(triggers: str = EVERY) -> ModelYaml:
    return parse(YAML.replace("triggers:\n", f"triggers:\n{triggers}"))


def seen(number: int, at: float, **said: Any) -> Observation:
    """A correction, at a day; without a label, a rating."""
    event: Outcome = outcome(number, day(at), correct=False, **said)
    found = of_outcome(event, (Position("outcomes", 0), number))
    assert found is not None
    return found


def count(
    observations: Sequence[Observation],
    known: Learned = KNOWN,
    since: float = 0,
    before: Supply | None = None,
    **keys: Any,
) -> New:
    found = supplied(before or Supply(), observations, config(**keys), known, day(since))
    return found.new(known)


def test_a_pair_says_what_should_have_been_answered() -> None:
    said = [
        seen(1, 1, label="refund"),
        seen(2, 1, edited="refund"),
        seen(3, 1, label="refund", kind="review", propensity=0.1),
        seen(4, 1, rating=0.0, kind="rating"),
    ]
    assert count(said).pairs == 3


def test_a_request_counts_once() -> None:
    said = [seen(1, 1, label="refund"), seen(1, 2, label="delivery", outcome_id="another")]
    assert count([*said, *said]).pairs == 1


def test_what_is_taken_back_is_no_pair() -> None:
    said = [seen(1, 1, label="refund"), seen(2, 1, label="refund")]
    back = seen(1, 2, kind="retraction", outcome_id="back")
    assert count([back, *said]).pairs == 1


def test_who_takes_one_word_back_leaves_what_others_said() -> None:
    by_users = seen(1, 1, label="billing", outcome_id="A")
    by_bob = seen(1, 2, label="refund", outcome_id="B", reviewer="bob")
    rated = seen(1, 2, rating=0.0, kind="rating", outcome_id="R")

    def back(**which: Any) -> Observation:
        return seen(1, 3, kind="retraction", outcome_id="back", **which)

    for taken in (
        back(retracts="B", reviewer="bob"),  # the word that it names
        back(reviewer="bob"),  # all that he said
        back(retracts="R"),
    ):
        found = count([by_users, by_bob, rated, taken])
        assert (found.pairs, found.labels) == (1, {"billing": 1})
    assert count([by_users, by_bob, back(retracts="A")]).labels == {}
    assert count([by_users, by_bob, back(retracts="A")]).pairs == 1
    assert count([by_users, back(retracts="A")]).pairs == 0


def test_a_word_of_an_earlier_tick_is_taken_back_alone() -> None:
    before = supplied(Supply(), [seen(1, 1, label="billing")], config(), KNOWN, day(0))
    kept: Supply = ADAPTER.validate_json(ADAPTER.dump_json(before))
    of_another = seen(1, 2, kind="retraction", outcome_id="back", reviewer="bob")
    assert count([of_another], before=kept).labels == {"billing": 1}
    own = seen(1, 2, kind="retraction", outcome_id="back")
    assert count([own], before=kept) == New()


def test_of_what_an_older_release_counted_no_word_is_known() -> None:
    before: Supply = ADAPTER.validate_python({"requests": {"pairs": ["r-1", "r-2"]}})
    one = seen(1, 1, kind="retraction", outcome_id="back", retracts="unknown")
    found = supplied(
        replace(before, requests={"pairs": (one.request_id, "x")}), [one], config(), KNOWN, 0
    )
    assert found.requests == {"pairs": ("x",)}


def test_words_on_one_request_are_bounded(monkeypatch: Any) -> None:
    """Where an app sends the same id for ever."""
    monkeypatch.setattr(supply, "WORDS", 3)
    said = [seen(1, 1 + n / 1000, label="refund", outcome_id=f"o{n}") for n in range(50)]
    found = supplied(Supply(), [*said, *said], config(), KNOWN, day(0))
    assert [len(words) for words in found.words.values()] == [3]


def test_pairs_count_from_the_last_request_on() -> None:
    said = [seen(number, number, label="refund") for number in range(1, 9)]
    assert count(said, since=5).pairs == 3
    before = supplied(Supply(), said[:6], config(), KNOWN, day(0))
    assert count(said[6:], since=6.5, before=before).pairs == 2
    assert count(said[6:], since=0, before=before).pairs == 8


def test_no_more_is_kept_than_is_waited_for() -> None:
    said = [seen(number, 1 + number / 1000, label="billing") for number in range(300)]
    found = supplied(Supply(), said, config(), KNOWN, day(0))
    assert {name: len(ids) for name, ids in found.requests.items()} == {
        "pairs": 100,
        "label:billing": 10,
    }
    off = supplied(Supply(), said, config(""), KNOWN, day(0))
    assert off == Supply(day(0))


def test_a_label_is_new_that_the_champion_never_answers() -> None:
    said = [seen(number, 1, label=LABELS[number % 3]) for number in range(12)]
    assert count(said).labels == {"billing": 4}
    assert count(said, known=Learned()).labels == {}  # nobody measured what it answers


def test_what_the_champion_answers_stands_in_its_verdict() -> None:
    """A label that its held-out cases never got."""
    told = verdict(1, day(3))
    never = replace(told, reference={**told.reference, "share:billing|all": 0.0})
    assert learned(never) == Learned(frozenset({"delivery", "refund"}), day(3))
    assert learned(replace(told, reference={"error|all": 0.1})) == Learned(None, day(3))
    assert learned(None) == Learned()


def spoken(number: int, at: float, language: str) -> Observation:
    return seen(number, at, label="refund", slices={"language": language, "customer": str(number)})


def test_a_source_is_new_that_came_after_the_champions_data_ended() -> None:
    """Of named slices alone: `customer` is none."""
    first = [spoken(0, 0, "en")]
    french = [spoken(number, 20 + number, "fr") for number in range(1, 4)]
    assert count([*first, *french]).sources == {"language=fr": 3}
    assert count([*first, *french], known=Learned(until=day(22))).sources == {}


def test_what_comes_in_the_first_days_belongs_to_the_launch() -> None:
    """Nobody told the detector which sources the seed had."""
    first = [spoken(0, 0, "en")]
    assert count([*first, spoken(1, 13.9, "fr")]).sources == {}
    assert count([*first, spoken(1, 14.1, "fr")]).sources == {"language=fr": 1}


def test_a_slice_with_a_million_values_is_bounded(monkeypatch: Any) -> None:
    monkeypatch.setattr(supply, "VALUES", 3)
    said = [spoken(number, 20 + number / 1000, f"l{number}") for number in range(50)]
    found = supplied(Supply(), [spoken(99, 0, "en"), *said], config(), KNOWN, day(0))
    assert len(found.first) == 3
    assert len(found.new(KNOWN).sources) == 2


def test_it_is_kept_as_json() -> None:
    said = [*(spoken(n, 20 + n, "fr") for n in range(4)), spoken(9, 0, "en"), seen(8, 1)]
    found = supplied(Supply(), said, config(), KNOWN, day(0))
    assert ADAPTER.validate_json(ADAPTER.dump_json(found)) == found


PAIRS = st.lists(
    st.tuples(
        st.integers(1, 40), st.integers(0, 50), st.sampled_from(LABELS), st.sampled_from("ab")
    ),
    max_size=60,
)


@given(PAIRS, st.integers(0, 60), st.integers(0, 50))
def test_it_counts_the_same_whatever_the_ticks(
    pairs: list[tuple[int, int, str, str]], cut: int, since: int
) -> None:
    said = [
        seen(number, at, label=label, slices={"language": language})
        for number, at, label, language in sorted(pairs, key=lambda one: one[1])
    ]
    parts = [said[:cut], said[cut:]]
    found = Supply()
    for part in parts:
        found = supplied(found, part, config(), KNOWN, day(since))
    assert found.new(KNOWN) == count(said, since=since)

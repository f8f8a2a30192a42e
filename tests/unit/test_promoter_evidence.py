"""What the store is asked about a stage, on the real engine, against the same rules in Python."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from driftgate.config import Settings
from driftgate.events import DAY_MS, HOUR_MS
from driftgate.model_repo import ModelYaml
from driftgate.store import Store, migrate
from services.promoter import evidence as promoter_evidence
from services.promoter import ledger
from services.promoter.canary_analysis import OUTCOMES, REVIEW, Comparison, Evidence
from services.promoter.evidence import Reader
from services.promoter.ledger import Trial

NOW = 1_800_000_000_000
SETTLED, SLICE = 72 * HOUR_MS, "language=es"
TRIAL = Trial("m", 1, 2, NOW, 0.25)
END = NOW + 9 * DAY_MS


def repo(*profile: str, share: float = 0.0, **rules: Any) -> ModelYaml:
    return ModelYaml.model_validate(
        {
            "model": "m",
            "task": {"kind": "text-classification", "labels": ["a", "b", "c"]},
            "base": {"name": "all-MiniLM-L6-v2"},
            "monitors": [],
            "gate": {"min_accuracy": 0.8, "protected": {SLICE: {}}},
            "feedback": {"profile": [*profile, *(["review"] if share else [])]},
            "review": {"share": share},
            "rollout": {"stages": [{"name": "full", "percent": 100}], **rules},
        }
    )


@pytest.fixture
def store() -> Iterator[Store]:
    made = Store.in_process()
    made.command("CREATE DATABASE evidence_unit")
    made.command("USE evidence_unit")
    migrate(made, Settings().schemas / "store")
    yield made
    made.command("USE default")
    made.command("DROP DATABASE evidence_unit")
    made.close()


@dataclass(frozen=True)
class Asked:
    """A request that both versions answered, and what was said of it."""

    id: str
    person: str | None
    language: str
    time: int
    of_new: bool
    heard: str
    other: str
    label: str | None
    said: int
    kind: str

    @property
    def key(self) -> str:
        return self.person or self.id


def moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def answer_row(one: Asked, role: str, **more: Any) -> dict[str, Any]:
    live = role == "live"
    return {
        "topic": "inferences",
        "partition": 0,
        "offset": 0,
        "request_id": one.id,
        "model": "m",
        "version": 2 if one.of_new == live else 1,
        "digest": "",
        "role": role,
        "input_hash": "",
        "output": one.heard if live else one.other,
        "epoch": 1,
        "propensity": (0.25 if one.of_new else 0.75) if live else 0.0,
        "slices": {"language": one.language},
        "subject": one.person,
        "latency_ms": 10.0,
        "time": moment(one.time),
    } | more


def outcome_row(one: Asked, **more: Any) -> dict[str, Any]:
    return {
        "topic": "outcomes",
        "partition": 0,
        "offset": 0,
        "outcome_id": f"o-{one.id}",
        "request_id": one.id,
        "model": "m",
        "version": 2 if one.of_new else 1,
        "slices": {"language": one.language},
        "output": one.heard,
        "kind": one.kind,
        "label": one.label,
        "rating": None,
        "was_correct": None if one.label is None else one.label == one.heard,
        "inference_time": moment(one.time),
        "feedback_time": moment(one.said),
        "time": moment(one.said),
        "heard": 0.25 if one.of_new else 0.75,
        "subject": one.person,
    } | more


def numbered(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**row, "offset": n, "partition": n % 2} for n, row in enumerate(rows)]


def asked(seed: int, count: int = 900) -> list[Asked]:
    """Requests of people who ask again and of nobody, a part of them labelled, early and late."""
    rng = random.Random(seed)
    found = []
    for n in range(count):
        person = f"p{rng.randrange(120)}" if rng.random() < 0.5 else None
        truth = rng.choice("ab")
        heard, other = (truth if rng.random() < 0.7 else "c" for _ in range(2))
        time = NOW + int(rng.random() * 8 * DAY_MS)
        said = time + int(rng.expovariate(1 / 40) * HOUR_MS)
        found.append(
            Asked(
                id=f"r{n}",
                person=person,
                language=rng.choice(("en", "es")),
                time=time,
                of_new=random.Random(person or f"r{n}").random() < 0.25,
                heard=heard,
                other=other,
                label=truth if rng.random() < 0.6 and said <= END else None,
                said=said,
                kind="review" if rng.random() < 0.1 else "correction",
            )
        )
    return found


def stored(store: Store, found: list[Asked], *more: dict[str, Any]) -> None:
    rows = [answer_row(one, role) for one in found for role in ("live", "shadow")]
    store.append("inferences", numbered([*rows, *more]))
    store.append("outcomes", numbered([outcome_row(one) for one in found if one.label]))


def look(store: Store, declared: ModelYaml, until: int = END, trial: Trial = TRIAL) -> Evidence:
    return Reader(lambda: store).look(trial, declared, (), until)


def comparison(evidence: Evidence, name: str, slice_: str = "all") -> Comparison:
    (found,) = [one for one in evidence.comparisons if (one.name, one.slice) == (name, slice_)]
    return found


def by_rules(found: list[Asked], counted: str) -> tuple[Counter[Any], Counter[Any]]:
    """Events (from which day on, whose fault) and units (by numbers), by the same rules, one person
    at a time."""
    people: dict[str, list[Asked]] = defaultdict(list)
    for one in found:
        people[one.key].append(one)
    events: Counter[Any] = Counter()
    units: Counter[Any] = Counter()

    def when(one: Asked) -> int:
        return one.time if counted == "heard" else one.said

    for own in people.values():
        wrong = [o for o in own if o.label and o.label != o.heard]
        bad = [o for o in wrong if o.heard != o.other]
        for day in range(max(((when(o) - NOW) // DAY_MS + 1 for o in bad), default=0)):
            events[day, own[0].of_new] += 1

        told = own if counted == "heard" else [o for o in own if o.label]
        if not told:
            continue
        first = min(map(when, told))
        day = [o for o in told if when(o) < first + DAY_MS]
        wait = SETTLED if counted == "heard" else 0
        if first + (DAY_MS if own[0].person else 0) + wait > END:
            continue
        late = SETTLED if counted == "heard" else END
        of_new = own[0].of_new
        in_time = [o for o in day if o in wrong and o.said <= o.time + late]
        differ = sum(o in bad for o in in_time)
        usual = len(in_time) - differ + (0 if of_new else 4 / 3 * differ)
        worse = (4 if of_new else -4 / 3) * differ
        units[round(worse / len(day), 6) + 0.0, round(usual / len(day), 6)] += 1
    return events, units


@pytest.mark.parametrize(("profile", "counted"), [("complaints", "heard"), ("thumbs", "told")])
@pytest.mark.parametrize("slice_", ["all", SLICE])
def test_people_count_once_with_what_they_say_in_time(
    store: Store, profile: str, counted: str, slice_: str
) -> None:
    found = [one for one in asked(3) if one.kind != "review"]
    stored(store, found)
    inside = [one for one in found if slice_ == "all" or one.language == "es"]
    events, units = by_rules(inside, counted)
    evidence = look(store, repo(profile))
    assert evidence.both == len(found)
    assert evidence.differ == sum(one.heard != one.other for one in found)
    done = comparison(evidence, OUTCOMES, slice_)
    assert (done.counted, done.bound) == (counted, 4.0)
    days = [done.events, *done.later]
    assert days == [((0.25, events[day, True], events[day, False]),) for day in range(len(days))]
    assert len(days) == 1 + max(day for day, _ in events)
    assert {(round(u.value, 6), round(u.usual, 6)): u.people for u in done.units} == units


def test_labels_judge_both_answers_and_reviews_are_a_stream_of_their_own(store: Store) -> None:
    found = asked(4)
    stored(store, found)
    evidence = look(store, repo("labels", share=0.03))
    for name, kind in ((OUTCOMES, "correction"), (REVIEW, "review")):
        people: dict[str, list[Asked]] = defaultdict(list)
        for one in sorted(found, key=lambda one: (one.said, one.id)):
            if one.label and one.kind == kind:
                people[one.key].append(one)
        blamed: Counter[float] = Counter()
        for own in people.values():
            signs = [sign(one) for one in own]
            blamed[next((s for s in signs if s), 0.0)] += 1
        done = comparison(evidence, name)
        assert done.events == ((0.5, blamed[1.0], blamed[-1.0]),)
        closed = sum(
            own[0].said + (DAY_MS if own[0].person else 0) <= END for own in people.values()
        )
        assert done.known == closed


def test_pairs_of_earlier_stages_count_and_harm_is_of_the_stage(store: Store) -> None:
    """The stage began on the fourth day of the trial."""
    found = [one for one in asked(4) if one.kind != "review"]
    stored(store, found)
    whole, begins = comparison(look(store, repo("labels")), OUTCOMES), NOW + 3 * DAY_MS
    trial = TRIAL._replace(since=begins, begun=NOW)
    alone = comparison(look(store, repo("labels"), trial=trial._replace(begun=0)), OUTCOMES)
    evidence = look(store, repo("labels"), trial=trial)
    done = comparison(evidence, OUTCOMES)
    assert done.units == whole.units and done.known > alone.known > 0
    assert (done.events, done.later) == (alone.events, alone.later)
    of_stage = [one for one in found if one.time >= begins]
    assert evidence.both == len(of_stage)
    assert evidence.differ == sum(one.heard != one.other for one in of_stage)
    assert evidence.pairs_since == NOW


@pytest.mark.parametrize("profile", ["complaints", "thumbs"])
def test_what_people_say_of_what_they_heard_is_of_the_stage(store: Store, profile: str) -> None:
    begins = NOW + 3 * DAY_MS
    stored(store, [replace(one, of_new=one.of_new and one.time >= begins) for one in asked(3)])
    trial = TRIAL._replace(since=begins)
    alone = look(store, repo(profile, share=0.1), trial=trial)
    begun = look(store, repo(profile, share=0.1), trial=trial._replace(begun=NOW))
    assert comparison(begun, OUTCOMES) == comparison(alone, OUTCOMES)
    assert comparison(begun, OUTCOMES, SLICE) == comparison(alone, OUTCOMES, SLICE)
    assert comparison(begun, REVIEW).known > comparison(alone, REVIEW).known
    assert look(store, repo(profile), trial=trial._replace(begun=NOW)).pairs_since == 0


def test_of_much_traffic_a_stage_has_enough_of_its_own(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(store, [one for one in asked(4) if one.kind != "review"])
    monkeypatch.setattr(promoter_evidence, "MOST_ROWS", 1000)
    trial = TRIAL._replace(since=NOW + 3 * DAY_MS, begun=NOW)
    reader = Reader(lambda: store)
    for _ in range(4):
        found = reader.look(trial, repo("labels"), (), END)
    alone = Reader(lambda: store)
    for _ in range(4):
        expected = alone.look(trial._replace(begun=0), repo("labels"), (), END)
    assert found == expected and not found.behind


def sign(one: Asked) -> float:
    """1 where the old version alone was right, -1 where the new one alone was."""
    worse = float(one.other == one.label) - float(one.heard == one.label)
    return worse if one.of_new else -worse


def one(n: int = 1, person: str | None = None, **more: Any) -> Asked:
    made = {"heard": "c", "other": "a", "label": "a", "said": NOW + DAY_MS, "kind": "correction"}
    return Asked(f"r{n}", person, "en", **({"time": NOW + 1000, "of_new": True} | made | more))


def test_one_who_is_loud_has_one_voice(store: Store) -> None:
    stored(store, [one(n, "loud") for n in range(50)] + [one(99, of_new=False)])
    ((_, new, old),) = comparison(look(store, repo("complaints")), OUTCOMES).events
    assert (new, old) == (1, 1)


@pytest.mark.parametrize("sticky_by", ["subject", "request_id"])
def test_one_who_is_loud_decides_nothing_whatever_keeps_its_version(
    store: Store, sticky_by: str
) -> None:
    stored(store, [one(n, "loud") for n in range(50)])
    declared = repo("labels", sticky_by=sticky_by)
    assert comparison(look(store, declared), OUTCOMES).events == ((0.5, 1, 0),)


def test_answers_by_another_chance_than_that_of_the_stage_are_not_compared(store: Store) -> None:
    behind = [answer_row(one(2), role, propensity=0.05) for role in ("live", "shadow")]
    stored(store, [one()], *behind)
    done = comparison(look(store, repo("complaints")), OUTCOMES)
    assert (done.events, done.bound, done.fewest) == (((0.25, 1, 0),), 4.0, 0)


@pytest.mark.parametrize(
    "other",
    [
        one(said=END + 1),  # not known yet
        one(time=NOW - 1),  # of the stage before
        one(other="c"),  # both are wrong
        one(label="c"),  # right
    ],
)
def test_what_blames_nobody(store: Store, other: Asked) -> None:
    stored(store, [other])
    assert comparison(look(store, repo("complaints")), OUTCOMES).events == ()


def test_a_correction_that_is_said_again_too_late_still_came_in_time(store: Store) -> None:
    again = outcome_row(one(), outcome_id="again", feedback_time=moment(NOW + 5 * DAY_MS))
    stored(store, [one()])
    store.append("outcomes", [{**again, "offset": 9}])
    assert comparison(look(store, repo("complaints")), OUTCOMES).units == ((4.0, 1, 0.0),)


def test_of_a_large_stage_a_part_is_compared_and_its_end_is_seen(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "ALL_OF", 100)
    found = [one(n, time=NOW + n) for n in range(2000)]
    stored(store, found)
    evidence = look(store, repo("complaints"))
    assert 200 < evidence.both < 600  # 100 (1 + ln 20) are expected
    ((_, new, old),) = comparison(evidence, OUTCOMES).events
    assert (new, old) == (evidence.both, 0)
    assert look(store, repo("complaints"), NOW + 1000).both < evidence.both


def test_a_word_that_was_taken_back_blames_nobody(store: Store) -> None:
    stored(store, [one()])
    taken_back = outcome_row(
        one(), outcome_id="x", kind="retraction", label=None, feedback_time=moment(NOW + 2 * DAY_MS)
    )
    store.append("outcomes", [{**taken_back, "offset": 9}])
    assert comparison(look(store, repo("complaints")), OUTCOMES).events == ()


def test_rows_of_one_moment_are_read_in_their_order_over_many_looks(store: Store) -> None:
    reader, declared = Reader(lambda: store), repo("complaints")
    later = one(1, time=NOW + 9000)
    store.append("inferences", numbered([answer_row(later, r) for r in ("live", "shadow")]))
    assert reader.look(TRIAL, declared, (), NOW).both == 0
    more = [answer_row(one(2, time=NOW + 9000), role) for role in ("live", "shadow")]
    store.append("inferences", [{**row, "offset": 10 + n} for n, row in enumerate(more)])
    assert reader.look(TRIAL, declared, (), NOW + 9000).both == 2


def test_an_answer_that_a_client_asked_for_twice_counts_once_by_the_first(store: Store) -> None:
    again = answer_row(one(of_new=False, heard="a", other="c"), "live")
    stored(store, [one()], again)
    evidence = look(store, repo("complaints"))
    assert evidence.both == 1
    assert comparison(evidence, OUTCOMES).events == ((0.25, 1, 0),)


def test_in_a_shadow_nobody_is_heard_by_chance(store: Store) -> None:
    rows = [answer_row(one(of_new=False), role, propensity=1.0) for role in ("live", "shadow")]
    store.append("inferences", numbered(rows))
    store.append("outcomes", [outcome_row(one(of_new=False))])
    evidence = look(store, repo("complaints"))
    assert (evidence.both, comparison(evidence, OUTCOMES).events) == (1, ())


# ---------------------------------------------------------------- metrics


def test_a_metric_is_worse_beyond_what_was_usual_of_the_champion(store: Store) -> None:
    before = [one(n, time=NOW - DAY_MS, of_new=False) for n in range(1000, 1200)]
    usual = [answer_row(o, "live", latency_ms=float(n)) for n, o in enumerate(before)]
    fast = [answer_row(one(n, of_new=False), "live", latency_ms=100.0) for n in range(20)]
    slow = [answer_row(one(n), "live", latency_ms=200.0) for n in range(20, 50)]
    store.append("inferences", numbered([*usual, *fast, *slow]))
    declared = repo("complaints", metrics=[{"name": "latency_ms"}, {"name": "tokens"}])
    done = comparison(look(store, declared), "latency_ms")
    assert (done.events, done.known) == (((0.25, 30, 0),), 50)
    assert comparison(look(store, declared), "tokens").events == ()


def test_a_metric_of_which_nothing_usual_is_known_is_not_compared(store: Store) -> None:
    stored(store, [one()])
    declared = repo("complaints", metrics=[{"name": "latency_ms"}])
    assert [c.name for c in look(store, declared).comparisons] == [OUTCOMES, OUTCOMES]


def test_an_app_sends_numbers_of_its_own_and_the_last_of_a_request_counts(store: Store) -> None:
    def sent(n: int, value: float, at: int = 0) -> dict[str, Any]:
        told = {"kind": "metric", "label": None, "metric": "resolved", "value": value}
        return outcome_row(one(n, said=NOW + DAY_MS + at), **told, outcome_id=f"m{n}-{at}")

    rows = [sent(1, 1.0), sent(2, 0.0), sent(3, 0.0), sent(3, 1.0, 5), sent(4, float("nan"))]
    store.append("outcomes", numbered(rows))
    store.append("inferences", numbered([answer_row(one(n), "live") for n in range(1, 5)]))
    metric = {"name": "resolved", "better": "higher", "limit": 0.5}
    done = comparison(look(store, repo("complaints", metrics=[metric])), "resolved")
    assert done.events == ((0.25, 1, 0),)


# ---------------------------------------------------------------- how far the store got


def test_a_store_that_lacks_more_than_two_ticks_is_behind(store: Store) -> None:
    clock = {"topic": "clock", "partition": 0, "world": "w"}
    store.append("clock", [{**clock, "offset": 0, "time": moment(NOW)}])
    stored(store, [one()])
    reader, declared = Reader(lambda: store), repo("complaints")
    ticks = [NOW, NOW + 60_000, NOW + 120_000]
    assert reader.look(TRIAL, declared, ticks, END).behind == ""
    late = reader.look(TRIAL, declared, [*ticks, NOW + 180_000], END).behind
    assert late == "its newest tick is 60 s older than it should be"


def test_a_stage_is_not_begun_on_a_store_that_is_behind(store: Store) -> None:
    clock = {"topic": "clock", "partition": 0, "offset": 0, "world": "w", "time": moment(NOW)}
    store.append("clock", [clock])
    stored(store, [one()])
    late = [NOW + 60_000, NOW + 120_000, NOW + 180_000]
    told = Reader(lambda: store).look(TRIAL, repo("complaints"), late, END)
    assert (told.behind != "", told.comparisons) == (True, ())

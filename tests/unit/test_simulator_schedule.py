"""Worlds of any labelled text: fitted to their rows and saying so, or refused."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgate.errors import BadConfig
from driftgate.events import DAY_MS, HOUR_MS
from driftgate.labelled.rows import Row
from services.simulator.dated import shuffled_dates
from services.simulator.lengths import Calendar
from services.simulator.schedule import build
from services.simulator.world import START, World

WEEK = 7 * DAY_MS
YEAR = 365 * DAY_MS


def rows(
    count: int, labels: int = 5, when: Callable[[int], int | None] = lambda n: None
) -> list[Row]:
    """Rows whose labels take turns."""
    return [Row(f"text {n}", f"label {n % labels}", when(n)) for n in range(count)]


def over(weeks: float, count: int) -> Callable[[int], int]:
    """Even dates."""
    return lambda n: START + int(n * weeks * WEEK / count)


def played(world: World) -> int:
    return sum(map(len, world.days))


def weekly(world: World) -> list[int]:
    return [sum(map(len, world.days[d : d + 7])) for d in range(0, len(world.days), 7)]


def said(world: World) -> str:
    return "\n".join(world.notes)


# ---------------------------------------------------------------- where nothing must be fitted


def test_dated_rows_keep_their_dates() -> None:
    found = build("w", rows(11_400, when=over(28, 11_400)), Calendar())
    assert found.start == START + 4 * WEEK
    assert (found.weeks, found.notes) == (24, ())
    own = {row.text: row.time for row in rows(11_400, when=over(28, 11_400))}
    for number, day in enumerate(found.days):
        begin = found.start + number * DAY_MS
        assert all(begin <= (row.time or 0) < found.end_of(number) for row in day)
        assert all(row.time == own[row.text] for row in day)


def test_years_are_mapped_onto_the_played_weeks() -> None:
    found = build("w", rows(5600, when=over(300, 5600)), Calendar())
    assert played(found) + len(found.launch) == 5600
    assert all(found.days)
    assert "dates are mapped: 2,100 days onto 28 weeks" in said(found)


def test_labels_enter_over_the_weeks_where_there_are_no_dates() -> None:
    found = build("w", rows(9000, labels=20), Calendar())
    at_launch = {row.label for row in found.launch}
    assert len(at_launch) == 12
    assert {row.label for day in found.days[:7] for row in day} == at_launch
    assert len({row.label for day in found.days[-42:] for row in day}) == 20


def test_traffic_is_thinned_to_what_was_asked() -> None:
    found = build("w", rows(40_000, when=over(28, 40_000)), Calendar(per_day=40))
    assert 38 <= played(found) / 168 <= 42
    assert "of 40,000 rows are played" in said(found)


# ---------------------------------------------------------------- what is fitted, and said


def test_weeks_shrink_until_a_day_has_some_requests() -> None:
    found = build("w", rows(1000, when=over(28, 1000)), Calendar())
    assert 250 <= len(found.launch) <= 350
    assert played(found) / len(found.days) >= 8
    assert "12 weeks are played instead of 24" in said(found)
    assert "8 requests instead of 60" in said(found)


def test_the_smallest_world_has_four_weeks_and_half_of_its_rows_at_launch() -> None:
    found = build("w", rows(200, when=over(28, 200)), Calendar())
    assert (found.weeks, len(found.launch)) == (4, 100)


def test_dates_of_twenty_weeks_are_kept_in_a_shorter_world() -> None:
    found = build("w", rows(5000, when=over(20, 5000)), Calendar())
    assert found.weeks == 16
    assert found.launch[-1].time == START + int(999 * 20 * WEEK / 5000)
    assert "16 weeks are played instead of 24: the dates span 20" in said(found)


def test_where_the_first_weeks_are_nearly_empty_rows_are_played_in_their_order() -> None:
    """3,000 issues of eight years, a few of them in the first."""

    def late(n: int) -> int:
        return START - 10 * YEAR + int((n / 3000) ** 0.25 * 8 * YEAR)

    found = build("issues", rows(3000, when=late), Calendar())
    assert "dates are kept in order only: 2 of 3,000 rows lie in the first 4 of 28" in said(found)
    assert len(found.launch) == 428
    texts = [row.text for row in (*found.launch, *(row for day in found.days for row in day))]
    assert texts == [f"text {n}" for n in range(3000)]
    assert min(weekly(found)) > 100


def test_a_gap_in_the_dates_leaves_no_empty_weeks() -> None:
    def gap(n: int) -> int:
        return START + int(n * 14 * WEEK / 3000) + (14 * WEEK if n > 1500 else 0)

    found = build("w", rows(3000, when=gap), Calendar())
    assert "dates are kept in order only: week " in said(found)
    assert min(weekly(found)) > 100


def test_rows_of_one_date_are_played_as_undated() -> None:
    found = build("w", rows(1000, when=lambda n: START), Calendar())
    assert "dates are not used: all rows have the same" in said(found)
    assert min(weekly(found)) > 0


def test_rows_of_few_dates_stand_in_an_order_that_no_sorting_has_a_say_in() -> None:
    """Three days; each day's rows are sorted by label, as an export may be."""
    by_label = [
        Row(f"{label} {n:03d}", label, START + day * DAY_MS)
        for day in range(3)
        for label in "abcde"
        for n in range(100)
    ]
    found = build("w", by_label, Calendar())
    share = Counter(row.label for row in found.launch)
    assert min(share[label] for label in "abcde") > len(found.launch) / 10
    assert build("w", by_label[::-1], Calendar()) == found


def test_a_file_sorted_by_label_is_played_as_undated() -> None:
    blocks = [Row(f"text {n}", f"label {n // 600}", over(28, 3000)(n)) for n in range(3000)]
    found = build("w", blocks, Calendar())
    assert "dates are not used: 428 of the 428 rows at launch have label 'label 0'" in said(found)
    assert len({row.label for row in found.launch}) == 3


def test_some_undated_rows_are_left_out_and_many_make_a_world_without_dates() -> None:
    def dated_but(every: int) -> list[Row]:
        return rows(4000, 3, lambda n: None if n % every == 0 else over(28, 4000)(n))

    few, many = build("w", dated_but(100), Calendar()), build("w", dated_but(2), Calendar())
    assert "40 of 4,000 rows have no date and are left out" in said(few)
    assert played(few) + len(few.launch) == 3960
    assert "dates are not used: 2,000 of 4,000 rows have none" in said(many)
    assert played(many) + len(many.launch) == 4000


@pytest.mark.parametrize("years", [-90, 400])
def test_dates_that_no_router_takes_are_moved(years: int) -> None:
    found = build("w", rows(5000, when=lambda n: over(28, 5000)(n) + years * YEAR), Calendar())
    assert found.start == START + 4 * WEEK
    assert "dates are moved to begin in 2026" in said(found)


def test_a_rare_label_is_at_launch_however_large_the_file() -> None:
    """A label of one row in a thousand, of which thinning would leave one or none."""
    for when in (lambda n: None, over(28, 30_000)):
        found = build(
            "w",
            [Row(f"t {n}", "b" if n % 1000 == 0 else "a", when(n)) for n in range(30_000)],
            Calendar(),
        )
        assert Counter(row.label for row in found.launch)["b"] >= 4
        assert len(found.launch) == 1500


def test_both_of_two_labels_are_at_launch() -> None:
    found = build("w", rows(300, labels=2), Calendar())
    assert min(Counter(row.label for row in found.launch).values()) > 30


# ---------------------------------------------------------------- what was asked wins


def test_what_was_asked_is_played() -> None:
    found = build(
        "w", rows(3000, when=over(28, 3000)), Calendar(launch_weeks=1, weeks=10, per_day=20)
    )
    assert found.weeks == 10
    assert 15 <= played(found) / 70 <= 22
    assert found.start - WEEK <= min(row.time or 0 for row in found.launch)


@pytest.mark.parametrize(
    ("calendar", "says"),
    [
        (Calendar(weeks=40), r"--weeks 40: w has 300 rows, .* choose at most 21, or leave it out"),
        (Calendar(weeks=0), r"--weeks 0: expected 1 or more"),
        (Calendar(launch_weeks=0), r"--launch-weeks 0: expected 1 or more"),
        (Calendar(per_day=-1), r"--per-day -1: expected 1 or more"),
    ],
)
def test_what_is_impossible_is_refused_with_a_remedy(calendar: Calendar, says: str) -> None:
    with pytest.raises(BadConfig, match=says):
        build("w", rows(300), calendar)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (rows(199), "^w: 199 rows, expected 200 or more"),
        (rows(661, labels=1), "^w: 661 rows have one label, 'label 0': expected two labels"),
        (
            [*rows(660, labels=1), Row("x", "other")],
            "^w: 1 of 661 rows have another label than 'label 0', expected 10 or more",
        ),
    ],
)
def test_a_file_that_makes_no_world_is_refused_for_its_own_cause(
    given: list[Row], says: str
) -> None:
    with pytest.raises(BadConfig, match=says):
        build("w", given, Calendar())


# ---------------------------------------------------------------- whatever comes


def undated(_: random.Random) -> int | None:
    return None


def one_day(rng: random.Random) -> int | None:
    return START + rng.randrange(DAY_MS)


def one_moment(_: random.Random) -> int | None:
    return START


def any_day(rng: random.Random) -> int | None:
    return START + rng.randrange(28) * WEEK


def bursts(rng: random.Random) -> int | None:
    return START + rng.choice([3, 40, 41, 170, 900]) * DAY_MS + rng.randrange(HOUR_MS)


def late(rng: random.Random) -> int | None:
    return START - int(rng.expovariate(1 / 60) * DAY_MS)


def outliers(rng: random.Random) -> int | None:
    return rng.choice([-62_135_596_800_000, 253_402_214_400_000] + [START] * 60)


def patchy(rng: random.Random) -> int | None:
    return None if rng.random() < 0.15 else START + rng.randrange(YEAR)


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(200, 5000),
    labels=st.integers(2, 150),
    skew=st.sampled_from([0.0, 1.0, 3.0]),
    dates=st.sampled_from([undated, one_day, one_moment, any_day, bursts, late, outliers, patchy]),
    by_label=st.booleans(),
    weeks=st.one_of(st.none(), st.integers(1, 60)),
    launch_weeks=st.one_of(st.none(), st.integers(1, 30)),
    per_day=st.one_of(st.none(), st.integers(1, 300)),
    seed=st.integers(0, 5),
)
def test_any_file_makes_a_world_or_is_refused_with_a_remedy(
    count: int,
    labels: int,
    skew: float,
    dates: Callable[[random.Random], int | None],
    by_label: bool,
    weeks: int | None,
    launch_weeks: int | None,
    per_day: int | None,
    seed: int,
) -> None:
    rng = random.Random(seed)
    drawn = rng.choices(range(labels), [(n + 1) ** -skew for n in range(labels)], k=count)
    given_rows = [Row(f"t{n}", f"l{label}", dates(rng)) for n, label in enumerate(drawn)]
    if by_label:
        times = sorted(row.time or 0 for row in given_rows)
        given_rows.sort(key=lambda row: row.label)
        if dates not in (undated, patchy):
            given_rows = [row.at(time) for row, time in zip(given_rows, times, strict=True)]
    calendar = Calendar(launch_weeks, weeks, per_day, seed=seed)
    try:
        world = build("w", given_rows, calendar)
    except BadConfig as error:
        assert "choose" in str(error)
        return
    asked = [row for day in world.days for row in day]
    texts = [row.text for row in (*world.launch, *asked)]
    assert len(texts) == len(set(texts))
    assert len({row.label for row in world.launch}) >= 2
    assert len(world.launch) >= 100
    assert len(world.days) == 7 * (weeks or world.weeks)
    assert weekly(world)
    assert len(asked) >= world.weeks
    assert all((row.time or 0) < world.start for row in world.launch)
    for number, day in enumerate(world.days):
        assert all(world.end_of(number - 1) <= (r.time or 0) < world.end_of(number) for r in day)
    assert build("w", given_rows, calendar) == world


def test_dates_dealt_anew_are_the_same_dates() -> None:
    before = rows(500, when=over(28, 500))
    after = shuffled_dates(before, 7)
    assert [row.text for row in after] == [row.text for row in before]
    assert sorted(row.time or 0 for row in after) == [row.time for row in before]
    assert after != before

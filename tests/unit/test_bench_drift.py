"""What the benchmark of drift detection draws and counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.drift import environments, feedback, ours
from bench.drift.beside import until
from bench.drift.environments import BESIDE, Absent
from bench.drift.measures import FalseAlarms, delays, power
from bench.drift.persistent import most_in_a_day
from bench.drift.streams import BAD, GOOD, HARMLESS, HORIZON, TURN, slide, steady, step
from driftgate.events import DAY_MS


def test_a_miss_counts_as_the_horizon_and_an_alarm_before_the_change_as_none() -> None:
    found = delays([[90, 130], [100], [], [150, 160]], change=100, horizon=1_000)
    assert (found.p50, found.p95) == (50, 1_000)
    assert (found.missed, found.runs, found.early) == (2, 4, 2)
    assert found.words == "50 / 1,000, 2 of 4 missed"


def test_the_bound_on_false_alarms_is_that_of_a_poisson_count() -> None:
    assert FalseAlarms(0, 3e6).at_most == pytest.approx(0.9986, abs=1e-4)  # the rule of three
    assert FalseAlarms(4, 1e7).at_most < 1 < FalseAlarms(5, 1e7).at_most
    assert FalseAlarms(5, 1e7).rate == 0.5


def test_a_number_of_answers_reads_as_a_power_of_ten() -> None:
    assert [power(n) for n in (1e6, 4e7, 30_000)] == ["10⁶", "4·10⁷", "3·10⁴"]


def test_a_step_is_where_it_is_said_to_be_and_the_same_each_time() -> None:
    stream = step(200, before=500)
    assert (stream.change, stream.horizon) == (500, HORIZON)
    assert stream.numbers[:, :500].mean() == pytest.approx(GOOD, abs=0.005)
    assert stream.numbers[:, 500:].mean() == pytest.approx(BAD, abs=0.005)
    assert (stream.numbers == step(200, before=500).numbers).all()


def test_a_slide_goes_all_the_way() -> None:
    numbers = slide(200).numbers
    means = [numbers[:, at : at + 1_000].mean() for at in (0, TURN + 4_500, TURN + 10_000)]
    assert means == pytest.approx([GOOD, (GOOD + BAD) / 2, BAD], abs=0.005)


def test_what_is_harmless_is_never_worse_than_it_says() -> None:
    rates = {name: rate(np.arange(20_000.0)) for name, rate in HARMLESS.items()}
    spans = {name: (rate.min(), rate.max()) for name, rate in rates.items()}
    assert spans["control"] == (GOOD, GOOD)
    assert spans["wobble"] == pytest.approx((0.07, 0.13), abs=1e-3)
    assert spans["improvement"] == (GOOD / 2, GOOD)
    assert rates["wobble"].mean() == pytest.approx(GOOD, abs=1e-6)
    assert steady(HARMLESS["control"], 50_000).mean() == pytest.approx(GOOD, abs=0.01)


def test_a_stream_alarms_after_a_step_and_again_while_it_stays_bad() -> None:
    stream = step(20, before=500)
    alarms = ours.alarms(stream.numbers, ours.ONE_STREAM)
    assert all(stream.change < run[0] < stream.change + 1_000 for run in alarms)
    assert all(len(run) > 5 for run in alarms)


def test_a_budget_that_slices_share_is_spent_once() -> None:
    whole, shared = ours.stake(), ours.stake(slices=("customer",))
    assert shared < whole <= ours.ONE_STREAM


def test_a_peer_is_heard_until_its_first_alarm_after_the_change() -> None:
    assert list(until(iter([3, 8, 12, 20]), change=10)) == [3, 8, 12]
    assert list(until(iter([3, 8]), change=None)) == [3, 8]


def test_a_peer_that_cannot_be_installed_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "HERE", tmp_path)
    monkeypatch.setattr(environments, "uv", lambda: ["no-such-program"])
    with pytest.raises(Absent, match=r"evidently 0\.0 could not be installed: .*no-such-program"):
        environments.installed(replace(BESIDE[0], version="0.0"))


def test_feedback_is_given_on_its_share_and_so_late() -> None:
    setting = feedback.Setting("corrections", 0.3, DAY_MS)
    seen = list(feedback.observed(setting, 1, before=4_000, after=0))
    words = [one for one in seen if one.word is not None]
    assert len(seen) - len(words) == 4_000
    assert len(words) == pytest.approx(0.3 * GOOD * 4_000, rel=0.3)
    assert all(one.answer.error == 1 and one.time - one.answered == DAY_MS for one in words)


@pytest.mark.parametrize("profile", feedback.PROFILES)
def test_every_profile_has_a_config_that_is_valid(profile: str) -> None:
    config = feedback.Setting(profile, 0.05, 7 * DAY_MS).config
    assert config.feedback.profile == [profile]
    assert config.feedback.settled_ms > 7 * DAY_MS


def test_the_most_in_a_day_is_of_any_24_hours() -> None:
    hour = DAY_MS // 24
    assert most_in_a_day([0, 20 * hour, 23 * hour, 30 * hour, 80 * hour]) == 3
    assert most_in_a_day([]) == 0

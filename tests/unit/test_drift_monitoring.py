"""Folding answers and outcomes into evidence: what alarms, and what makes no difference."""

from __future__ import annotations

import itertools
import json
import random
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from drift_world import CONFIG, LABELS, MODEL, YAML, day, outcome, reference
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgate.bus import Position
from driftgate.drift import budget, lanes
from driftgate.drift.alarms import Alarm
from driftgate.drift.monitoring import VERSIONS_KEPT, Evidence, Monitoring, fold
from driftgate.drift.observations import Observation, Word, of_outcome
from driftgate.drift.plan import plan
from driftgate.events import DAY_MS
from driftgate.latest_word import latest
from driftgate.model_repo import ModelYaml, parse
from driftgate.signals import Answer
from services.drift_detector.checkpoint import STATE, ModelState, State

REFERENCES = {version: reference() for version in (1, 2)}


def answers(
    count: int, *, seed: int = 1, error: float = 0.1, unsure: float = 0.2, **over: Any
) -> list[Observation]:
    """A day's answers and outcomes, in the order of their time."""
    rng = random.Random(seed)
    base = {"version": 1, "origin": "inferences-0", **over}
    found = []
    for n in range(count):
        time = day(0) + n * 60_000
        slices = {"language": "es" if n % 4 == 0 else "en"}
        confidence = 0.5 if rng.random() < unsure else 0.9
        answer = Answer(LABELS[n % 3], confidence, {}, slices)
        wrong = Answer(LABELS[n % 3], slices=slices, error=float(rng.random() < error))
        for kind, said in (("answer", answer), ("outcome", wrong)):
            found.append(
                Observation(
                    kind=kind, request_id=f"r-{seed}-{n}", time=time, answer=said, offset=n, **base
                )
            )
    return found


def run(observations: list[Observation], evidence: Evidence | None = None) -> list[Alarm]:
    """The alarms of observations of the first day or so, of which every bucket is closed."""
    evidence = Evidence() if evidence is None else evidence
    last = max((o.time for o in observations), default=day(0))
    return fold(evidence, observations, last + 180_000, CONFIG, REFERENCES).alarms_alone


def names(alarms: list[Alarm]) -> set[str]:
    return {f"{alarm.version}:{alarm.stream}" for alarm in alarms}


def test_a_world_that_stays_raises_nothing() -> None:
    assert run(answers(3000)) == []


def test_more_errors_alarm_with_the_numbers_behind_it() -> None:
    alarm = run([*answers(300), *shift(answers(400, seed=2, error=0.4), 300)])[0]
    assert alarm.stream == "errors:all"
    assert alarm.level >= lanes.ALARM
    assert alarm.reference == 0.1
    assert alarm.bad / alarm.n > 0.2
    assert alarm.earliest <= day(0) + 300 * 60_000 <= alarm.latest < alarm.known < day(1)
    assert alarm.summary.startswith("errors rose from 10 % to ")
    assert alarm.summary.endswith(
        f"(all): {alarm.bad:.0f} wrong of {alarm.n}, expected {alarm.expected:.0f}"
    )
    assert 0 < len(alarm.examples) <= 3


def test_an_alarm_can_be_raised_again_from_its_audit() -> None:
    evidence = Evidence()
    run(answers(200), evidence)
    more = shift(answers(400, seed=2, error=0.5), 200)
    told = fold(evidence, more, more[-1].time + 180_000, CONFIG, REFERENCES)
    alarm, inputs = told.alarms[0]
    before, *given = (np.array([each]) for each in inputs)
    mean, stake, n, total = given
    assert lanes.level(before)[0] < lanes.ALARM
    assert lanes.level(lanes.grown(before, mean, n, total, stake))[0] == alarm.level


def test_evidence_restarts_after_an_alarm() -> None:
    observations = [o for o in answers(3000, error=0.5) if o.kind == "outcome"]
    ends = [alarm.known for alarm in run(observations) if alarm.stream == "errors:all"]
    assert len(ends) > 3
    assert min(b - a for a, b in itertools.pairwise(ends)) > 5 * 60_000


def test_only_the_slice_that_drifts_alarms() -> None:
    spanish = [o for o in answers(2400, error=0.0) if o.kind == "outcome"]
    spanish = [
        replace(o, answer=replace(o.answer, error=float(o.answer.slices["language"] == "es")))
        if n % 8 == 0  # half of the Spanish quarter: an eighth of all
        else o
        for n, o in enumerate(spanish)
    ]
    assert names(run(spanish)) == {"1:errors:language=es"}


def test_only_the_label_that_grows_alarms() -> None:
    grown = [
        replace(o, answer=replace(o.answer, output="refund")) if o.offset % 2 else o
        for o in answers(600)
        if o.kind == "answer"
    ]
    assert names(run(grown)) == {"1:shares:all:refund"}


def test_a_new_version_starts_without_history() -> None:
    evidence = Evidence()
    assert run(answers(40, error=0.3), evidence) == []
    assert run(shift(answers(40, seed=2, error=0.3, version=2), 40), evidence) == []
    assert [evidence.streams[v].seen("errors:all")[0] for v in (1, 2)] == [40, 40]


def test_a_version_without_a_verdict_is_live_traffic_but_not_judged() -> None:
    evidence = Evidence()
    assert run(answers(500, error=1.0, version=9), evidence) == []
    assert evidence.live_version == 9


def test_the_live_version_is_the_one_that_answers_most() -> None:
    evidence = Evidence()
    run([*answers(100), *answers(20, seed=2, version=2)], evidence)
    assert evidence.live_version == 1
    run(shift(answers(300, seed=3, version=2), 100), evidence)
    assert evidence.live_version == 2


def test_a_moved_bar_starts_the_evidence_anew() -> None:
    evidence = Evidence()
    run(answers(100, unsure=0.3), evidence)
    levels = level(evidence, "errors:all"), level(evidence, "confidence:all")
    assert min(levels) > 0
    config = parse(YAML.replace("tolerance: 0.03", "tolerance: 0.04"))
    fold(evidence, shift(answers(1, seed=2, error=0.0), 200), day(1), config, REFERENCES)
    assert level(evidence, "errors:all") < 1e-3 < level(evidence, "confidence:all") / levels[1]


@pytest.mark.parametrize(
    ("before", "after"), [*itertools.permutations(["ours", "ADWIN", "DDM"], 2)]
)
def test_another_detector_of_a_monitor_begins_anew_and_alarms(before: str, after: str) -> None:
    evidence = Evidence()
    told = answers(1200)
    fold(evidence, told, told[-1].time + 180_000, detecting(before), REFERENCES)
    more = [*answers(600, seed=2), *shift(answers(600, seed=3, error=0.4), 600)]
    worse = shift(more, 1210)
    now = worse[-1].time + 180_000
    found = fold(evidence, worse, now, detecting(after), REFERENCES).alarms_alone
    alarms = [alarm for alarm in found if alarm.stream == "errors:all"]
    fresh = fold(Evidence(), worse, now, detecting(after), REFERENCES).alarms_alone
    assert alarms
    assert [a.known for a in alarms] == [a.known for a in fresh if a.stream == "errors:all"]


def detecting(name: str) -> ModelYaml:
    detector = "" if name == "ours" else f", detector: {name}"
    return parse(YAML.replace("value: error,", f"value: error{detector},"))


def test_what_a_detector_of_river_has_got_used_to_is_no_endless_evidence() -> None:
    evidence, config = Evidence(), detecting("ADWIN")
    for part in range(3):
        told = shift(answers(1200, seed=part, error=0.5 if part else 0.1), 1210 * part)
        fold(evidence, told, told[-1].time + 180_000, config, REFERENCES)
    assert level(evidence, "errors:all") < 10 * lanes.ALARM


def test_streams_of_slice_values_that_are_watched_no_more_are_dropped() -> None:
    evidence = Evidence()
    for week in range(9):
        asked = [
            replace(o, answer=replace(o.answer, slices={"customer": f"c-{week}"}))
            for o in shift(answers(400, seed=week), week * 7 * 24 * 60)
        ]
        evidence.traffic.counts.clear()  # as if others had become the heaviest
        run(asked, evidence)
    names = {name for name in evidence.streams[1].names if "customer" in name}
    assert names == {f"errors:customer=c-{week}" for week in range(4, 9)}


def test_what_is_watched_no_more_takes_no_part_of_a_budget_by_time() -> None:
    text = YAML.replace("monitors:", "false_alarms: {per_quarter: 1}\nmonitors:")
    config = parse(re.sub(r"false_alarms_per_million: \d+, ", "", text))
    evidence = Evidence()
    told = answers(300)
    fold(evidence, told, told[-1].time + 180_000, config, REFERENCES)
    fewer = config.model_copy(update={"monitors": config.monitors[:1]})
    more = shift(answers(1, seed=2), 310)
    before = level(evidence, "confidence:all")
    fold(evidence, more, more[-1].time + 180_000, fewer, REFERENCES)
    alone = Monitoring(evidence, fewer, REFERENCES)
    streams = len(alone.layout(1).wanted)
    assert alone.stake_per_ms == pytest.approx(1 / budget.QUARTER_MS / streams)
    assert level(evidence, "confidence:all") == before


def test_versions_that_words_still_come_about_are_forgotten_in_the_end() -> None:
    evidence = Evidence()
    references = {version: reference() for version in range(1, 31)}
    for version in range(1, 30):
        told = shift(answers(60, seed=version, version=version), version * 24 * 60)
        late = [
            replace(one, version=version - 10, request_id=f"late-{one.request_id}")
            for one in told
            if one.kind == "outcome" and version > 10
        ]
        fold(evidence, [*told, *late], told[-1].time + 180_000, CONFIG, references)
        assert version in evidence.streams
    assert len(evidence.streams) <= VERSIONS_KEPT


def level(evidence: Evidence, stream: str) -> float:
    streams = evidence.streams[1]
    return float(lanes.level(streams.evidence)[streams.names.index(stream)])


@pytest.mark.parametrize(
    ("over", "why"),
    [
        ({"time": day(30) - 401 * DAY_MS}, "older than is kept"),
        ({"time": day(32)}, "further ahead than is allowed"),
    ],
)
def test_what_ingest_refuses_is_no_evidence(over: dict[str, object], why: str) -> None:
    evidence = Evidence()
    fold(evidence, [replace(o, **over) for o in answers(50)], day(30), CONFIG, REFERENCES)
    assert not evidence.streams, why


def test_a_word_on_an_answer_that_is_no_longer_kept_is_no_evidence() -> None:
    evidence = Evidence()
    kept, gone = (
        of_outcome(
            replace(outcome(n, day(30), False), inference_time=day(30) - age * DAY_MS),
            (Position("outcomes", 0), n),
        )
        for n, age in ((1, 399), (2, 401))
    )
    assert kept and gone
    fold(evidence, [kept, gone], day(31), CONFIG, REFERENCES)
    assert evidence.streams[1].seen("errors:all") == (1, 1)


def test_a_version_that_is_rolled_back_to_goes_on_with_its_evidence() -> None:
    evidence = Evidence()
    run(answers(200), evidence)
    before = evidence.streams[1].seen("confidence:all")[0]
    for version, at in ((2, 1), (1, 2)):
        seen = [replace(o, version=version) for o in shift(answers(100), at * 24 * 60)]
        renamed = [replace(o, request_id=f"{at}-{o.request_id}") for o in seen]
        fold(evidence, renamed, day(at + 1), CONFIG, {1: reference(), 2: reference()})
    assert evidence.live_version == 1
    assert evidence.streams[2].seen("confidence:all")[0] == 100
    assert evidence.streams[1].seen("confidence:all")[0] == before + 100


def test_the_bar_leaves_room_for_the_luck_of_few_cases() -> None:
    wide, narrow = (tolerated(reference(cases=cases))["errors:all"] for cases in (40, 4000))
    assert wide is not None and narrow is not None
    assert narrow == pytest.approx(0.13)
    assert narrow < wide < 0.25
    lacking = {name: n for name, n in reference().items() if not name.endswith("|language=es")}
    assert "errors:language=es" not in tolerated(lacking)


def test_a_handful_of_cases_in_a_slice_borrows_from_the_whole() -> None:
    few = reference() | {"error|language=es": 0.0, "n|error|language=es": 5.0}
    spanish = tolerated(few)["errors:language=es"]
    assert spanish is not None
    assert 0.1 < spanish < 0.3


def tolerated(measured: dict[str, float]) -> dict[str, float | None]:
    """By stream of errors, the highest tolerated mean."""
    return {what.name: what.mean for what in plan(CONFIG, measured) if what.signal == "error"}


def test_each_number_spends_its_part_of_the_budget() -> None:
    found = budget.stakes(CONFIG)
    assert found["errors"] == pytest.approx(100 / 1e6 / 3)  # two slices, and the gate's bar
    assert found["shares"] == pytest.approx(100 / 1e6 / 3)  # three labels
    text = YAML.replace("triggers:", "false_alarms: {per_million: 30}\ntriggers:")
    shared = budget.stakes(parse(re.sub(r"\s*false_alarms_per_million: 100,", "", text)))
    assert shared["errors"] == pytest.approx(10 / 1e6 / 3)  # a third of it for each monitor


def test_a_slice_with_enough_traffic_is_watched_without_being_told() -> None:
    evidence = Evidence()
    measured = {1: {k: v for k, v in reference().items() if not k.endswith("=es")}}
    steady, worse = answers(2000), shift(answers(1200, seed=3), 2000)
    worse = [
        replace(o, answer=replace(o.answer, error=1.0))
        if o.kind == "outcome" and o.answer.slices["language"] == "en" and o.offset % 2
        else o
        for o in worse
    ]
    config = parse(YAML.replace("slices: [all, language=es]", "slices: [all]"))
    told = fold(evidence, [*steady, *worse], day(5), config, measured)
    assert "errors:language=en" in {alarm.stream for alarm in told.alarms_alone}


@pytest.mark.parametrize("slices", ["[language=es]", "[]"])
def test_all_traffic_is_watched_whatever_slices_a_monitor_names(slices: str) -> None:
    config = parse(YAML.replace("[all, language=es]", slices))
    assert "errors:all" in {what.name for what in plan(config, reference())}


def test_improvement_is_told_and_alarms_nobody() -> None:
    evidence = Evidence()
    told = fold(evidence, answers(2000, error=0.0), day(5), CONFIG, REFERENCES)
    assert not told.alarms
    assert {one.alarm.stream for one in told.improvements} >= {"errors:all:better"}
    assert told.improvements[0].alarm.summary.startswith("errors fell from 10 % to 0 %")


def test_a_stream_that_has_alarmed_is_calm_again_after_a_hundred_good_numbers() -> None:
    evidence = Evidence()
    bad, good = answers(200, error=0.6), shift(answers(600, seed=2, error=0.05), 200)
    told = fold(evidence, [*bad, *good], day(5), CONFIG, REFERENCES)
    last = [alarm.known for alarm in told.alarms_alone if alarm.stream == "errors:all"][-1]
    calm = [one for one in told.conditions if one.stream == "errors:all"]
    assert calm[-1].calm
    assert calm[-1].at > last


def test_a_stream_that_has_alarmed_and_whose_monitor_is_taken_out_is_told_once() -> None:
    evidence = Evidence()
    assert "1:errors:all" in names(run(answers(200, error=0.6), evidence))
    others = [monitor for monitor in CONFIG.monitors if monitor.name != "errors"]
    without = CONFIG.model_copy(update={"monitors": others})
    later = shift(answers(300, seed=2), 300)
    told = [
        one
        for each, now in ((later[:200], day(1)), (later[200:], day(2)))
        for one in fold(evidence, each, now, without, REFERENCES).conditions
        if one.stream == "errors:all"
    ]
    assert [(one.calm, one.watched) for one in told] == [(True, False)]


def test_late_answers_are_told_apart_and_late_words_count_next() -> None:
    evidence = Evidence()
    run(answers(100), evidence)
    late = [replace(o, request_id=f"late-{o.request_id}") for o in answers(10)]
    fold(evidence, late, day(1), CONFIG, REFERENCES)
    assert evidence.late == 10
    assert evidence.streams[1].seen("confidence:all")[0] == 100
    assert evidence.streams[1].seen("errors:all")[0] == 110


def shift(observations: list[Observation], minutes: int) -> list[Observation]:
    return [replace(o, time=o.time + minutes * 60_000) for o in observations]


def under(profile: str) -> ModelYaml:
    share = "\nreview: {share: 0.1}\n" if "review" in profile else ""
    return parse(YAML.replace("[labels]", f"[{profile}]") + share)


KINDS = ("rating", "correction", "edit", "review", "retraction")


@st.composite
def words(draw: st.DrawFn) -> list[Observation]:
    """What several people say of few answers within few minutes, some of it sent twice."""
    found = []
    for n in range(draw(st.integers(0, 25))):
        kind, rating = draw(st.sampled_from(KINDS)), draw(st.sampled_from([0.0, 0.5, 1.0]))
        request, minute = draw(st.integers(0, 3)), draw(st.integers(0, 3))
        reviewer = draw(st.sampled_from(["mia", None]))
        retracts = f"o-{draw(st.integers(0, 25))}" if draw(st.booleans()) else None
        time = day(0) + minute * 60_000 + draw(st.integers(0, 3))
        told = None if kind == "retraction" else rating
        withdraws = retracts if kind == "retraction" else None
        word = Word(f"o-{n}", kind, told, time, reviewer, withdraws, edit_distance=told)
        error = None if told in (None, 0.5) else 1 - rating
        answer = Answer(LABELS[0], 0.9, slices={"language": "es"}, error=error)
        about: Any = "review" if kind == "review" else "outcome"
        one = Observation(about, f"r-{request}", 1, time, answer, "outcomes-0", n, word, day(0))
        found += [one] * draw(st.integers(1, 2))
    return found


def counting(said: list[Observation]) -> tuple[int, int]:
    """By the rule, of all words at once: a request counts in the first bucket where one tells."""
    told: dict[str, float] = {}
    for minute in range(4):
        start = day(0) + minute * 60_000
        here = [one for one in said if one.word and start <= one.time < start + 60_000]
        withdrawn = [one.word for one in here if one.word and one.word.kind == "retraction"]
        for name in {one.identity for one in here}:
            request = name.partition(":")[2]
            own = {one.word: one for one in here if one.identity == name and one.word}
            back = [one.word for one in here if one.request_id == request and one.word in withdrawn]
            word = latest([*own, *(each for each in back if each)])
            if word is not None and (error := own[word].answer.error) is not None:
                told.setdefault(name, error)
    return len(told), round(sum(told.values()))


@settings(max_examples=60, deadline=None)
@given(words(), st.data())
def test_one_word_on_each_request_counts_however_ticks_and_checkpoints_cut(
    said: list[Observation], data: st.DataObject
) -> None:
    config = under("labels, review")
    cuts = data.draw(st.lists(st.integers(0, 240), max_size=4).map(sorted))
    evidence = Evidence()
    for since, until in itertools.pairwise([-1, *cuts, 10_000]):
        arrived = [o for o in said if since <= (o.time - day(0)) // 1000 < until]
        due = data.draw(st.permutations(arrived))
        fold(evidence, due, day(0) + until * 1000, config, REFERENCES)
        evidence = STATE.validate_json(stored(evidence)).models[MODEL].evidence
    streams = evidence.streams.get(1)
    names = ("errors:all", "errors:all:reviewed")
    found = [streams.seen(name) for name in names] if streams else [(0, 0)]
    assert tuple(map(sum, zip(*found, strict=True))) == counting(said)


@pytest.mark.parametrize("profile", ["complaints", "complaints, review"])
def test_where_silence_counts_only_words_that_a_stream_reads_wait(profile: str) -> None:
    evidence = Evidence()
    said = [o for o in answers(20) if o.kind == "outcome"]
    reviewed = [replace(o, kind="review") for o in said]
    fold(evidence, [*said, *reviewed], day(0), under(profile), REFERENCES)
    waiting = [one for bucket in evidence.buckets.values() for one in bucket.words.said.values()]
    kept = [kind for one in waiting for kind, *_ in one]
    assert kept == ["review"] * 20 * ("review" in profile)


WORLD = answers(120, error=0.5, unsure=0.5)


def stored(evidence: Evidence) -> bytes:
    return json.dumps(
        STATE.dump_python(State(models={MODEL: ModelState(evidence=evidence)}), mode="json"),
        sort_keys=True,
    ).encode()


def play(cut: int, first: list[Observation], rest: list[Observation]) -> tuple[bytes, list[Alarm]]:
    """Two ticks, one after the first `cut` observations of the world and one when all buckets are
    closed, with a checkpoint in between: what is remembered, and what alarmed."""
    between = WORLD[cut - 1].time + 1 if cut else day(0)
    evidence = Evidence()
    alarms = fold(evidence, first, between, CONFIG, REFERENCES).alarms_alone
    evidence = STATE.validate_json(stored(evidence)).models[MODEL].evidence
    alarms += fold(evidence, rest, day(1), CONFIG, REFERENCES).alarms_alone
    fold(evidence, [], day(1) + 60_000, CONFIG, REFERENCES)
    return stored(evidence), alarms


@settings(max_examples=15, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, len(WORLD)))
def test_neither_order_of_arrival_nor_ticks_nor_checkpoints_make_a_difference(
    rng: random.Random, cut: int
) -> None:
    first, rest = WORLD[:cut], WORLD[cut:]
    rng.shuffle(first)
    rng.shuffle(rest)
    assert play(cut, first, rest) == play(len(WORLD), WORLD, [])


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, len(WORLD) - 1), max_size=60), st.integers(0, len(WORLD)))
def test_repeated_delivery_makes_no_difference(again: list[int], cut: int) -> None:
    first = WORLD[:cut] + [WORLD[n] for n in again if n < cut]
    rest = WORLD[cut:] + [WORLD[n] for n in again]
    assert play(cut, first, rest) == play(cut, WORLD[:cut], WORLD[cut:])

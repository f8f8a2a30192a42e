"""What docs/extending.md promises: a signal, a feature or a probe is one entry, and all that
measures, watches and judges takes it up. For an event's field see test_ingest_steps."""

from __future__ import annotations

from pathlib import Path

import pytest
from drift_world import LABELS, YAML, day, inference

from driftgate import suites
from driftgate.bus import Position
from driftgate.drift.alarms import Alarm
from driftgate.drift.monitoring import Evidence, fold
from driftgate.drift.observations import of_inference
from driftgate.engines import Prediction
from driftgate.errors import BadConfig
from driftgate.features import FEATURES, features_of
from driftgate.model_repo import ModelYaml, parse
from driftgate.signals import SIGNALS, Reference, Signal
from driftgate.suites import PROBE_KINDS, Case, Probe, Suite, Text
from driftgate.tasks import Task, task_of
from services.evaluator import exam
from services.evaluator.gate import judge
from services.evaluator.weighting import ALIKE, Weighing, even

PLACE = Position("inferences", 0)


def declared(monitor: str) -> ModelYaml:
    """The model of the drift tests with one monitor."""
    return parse(f"{YAML[: YAML.index('monitors:')]}monitors:\n  - {monitor}\n{rest(YAML)}")


def rest(yaml: str) -> str:
    return yaml[yaml.index("triggers:") :]


def answer(label: str, confidence: float = 0.9) -> Prediction:
    return Prediction(label, confidence, {}, 3)


def measured(config: ModelYaml, text: str = "where is it") -> Reference:
    """What the evaluator measures on two hundred held-out cases, answered rightly."""
    cases = [
        Case("task", suites.ACCURACY, str(n), f"{text} {n}", LABELS[n % 3]) for n in range(200)
    ]
    answers = {case.text: answer(str(case.target)) for case in cases}
    return exam.reference(
        Suite("task", tuple(cases)), answers, config, Weighing(even(cases), ALIKE)
    )


def watched(config: ModelYaml, reference: Reference, **live: object) -> list[Alarm]:
    """What the drift-detector says of three hundred live answers."""
    events = [inference(n, day(0) + n * 1000, **live) for n in range(300)]
    seen = [of_inference(event, (PLACE, n)) for n, event in enumerate(events)]
    return fold(Evidence(), filter(None, seen), day(1), config, {1: reference}).alarms_alone


def test_a_signal_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    hesitation = Signal(
        name="hesitation",
        about="output",
        number=lambda said: None if said.confidence is None else 1 - said.confidence,
        tolerance=0.2,
    )
    with pytest.raises(BadConfig, match="value 'hesitation' is none of signal output"):
        declared("{name: doubt, signal: output, value: hesitation}")

    monkeypatch.setitem(SIGNALS, "hesitation", hesitation)
    config = declared("{name: doubt, signal: output, value: hesitation}")
    assert config.monitors[0].tolerance == 0.2
    reference = measured(config)
    assert reference["hesitation|all"] == pytest.approx(0.1)
    assert watched(config, reference, confidence=0.8) == []
    alarm, *_ = watched(config, reference, confidence=0.3)
    assert (alarm.version, alarm.stream) == (1, "doubt:all")
    assert alarm.mean >= 0.3


def test_a_feature_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FEATURES, "questions", lambda text: float(text.count("?")))
    assert features_of("why? who?", {"similarity": 0.5})["questions"] == 2.0  # as a router logs it
    config = declared("{name: asking, signal: input, value: questions}")
    reference = measured(config)
    assert watched(config, reference, features={"questions": 0.0}) == []
    alarm, *_ = watched(config, reference, features={"questions": 3.0})
    assert alarm.monitor == "asking"


@pytest.fixture
def repetition(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who says something twice means the same."""

    def cases(texts: list[str]) -> list[Case]:
        return [
            Case("probe", "repetition", f"r-{n}", f"{text} {text}", same_as=text)
            for n, text in enumerate(texts, 1)
        ]

    monkeypatch.setitem(PROBE_KINDS, "repetition", Probe(list[Text], cases))


def probes(folder: Path, yaml: str) -> tuple[Task, Suite]:
    (folder / "probes.yaml").write_text(yaml)
    task = task_of(declared("{name: errors, signal: quality, value: error}").task)
    return task, Suite("probe", suites.probes(folder / "probes.yaml", task))


@pytest.mark.usefixtures("repetition")
def test_a_probe_is_one_entry(tmp_path: Path) -> None:
    task, suite = probes(tmp_path, "repetition: [money back, lost parcel]\n")
    answers = dict.fromkeys(suite.texts, answer("refund"))
    answers["lost parcel lost parcel"] = answer("delivery")
    found = exam.results([suite], answers, None, task)
    gate = declared("{name: errors, signal: quality, value: error}").gate
    (axis,) = [
        a
        for a in judge(exam.tallies(found, Weighing({}, ALIKE)), gate).axes
        if a.name == "repetition"
    ]
    assert (axis.layer, axis.value, axis.passed) == ("probe", 0.5, False)


@pytest.mark.usefixtures("repetition")
def test_mistakes_in_a_new_probe_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match=r":1: key `repetitoin` is unknown: .* 'repetition'"):
        probes(tmp_path, "repetitoin: [money back]\n")
    with pytest.raises(BadConfig, match=r":1: `repetition\.0` is ''"):
        probes(tmp_path, "repetition: ['']\n")

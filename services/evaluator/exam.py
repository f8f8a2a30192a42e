"""What the candidate and the champion answered to every case, and what follows from it. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from driftgate.engines import Prediction
from driftgate.features import features_of
from driftgate.model_repo import ModelYaml
from driftgate.reference import measure
from driftgate.signals import Answer, Reference
from driftgate.slices import ALL
from driftgate.suites import Case, Layer, Suite
from driftgate.tasks import Task, task_of
from services.evaluator.gate import Tally
from services.evaluator.graded import STEPS, Fate, Graded, columns
from services.evaluator.weighting import Weighing

Answers = Mapping[str, Prediction]
"""Answers by text."""


@dataclass(frozen=True, slots=True)
class Result:
    """One case and its fate. before: what the champion answered; None without one. scores: how good
    the answers are, by scorer; empty where they are right or wrong and nothing else."""

    case: Case
    answer: str
    right: bool
    answer_before: str | None
    right_before: bool | None
    scores: Mapping[str, float] = field(default_factory=dict)
    scores_before: Mapping[str, float] = field(default_factory=dict)

    @property
    def lost(self) -> bool:
        """Whether the champion was right and the candidate is not."""
        return bool(self.right_before) and not self.right


def results(
    suites: Sequence[Suite], candidate: Answers, champion: Answers | None, task: Task
) -> list[Result]:
    """Every case with its fate, paired."""
    now = outputs(candidate)
    before = None if champion is None else outputs(champion)
    return [
        Result(
            case=case,
            answer=now[case.text],
            right=task.passes(case, now),
            answer_before=None if before is None else before[case.text],
            right_before=None if before is None else task.passes(case, before),
            scores=task.scores(case, now),
            scores_before={} if before is None else task.scores(case, before),
        )
        for suite in suites
        for case in suite.cases
    ]


def outputs(answers: Answers) -> dict[str, str]:
    return {text: answer.output for text, answer in answers.items()}


def tallies(found: Sequence[Result], weighing: Weighing) -> list[Tally]:
    """Cases counted by kind, slices, weight and fate: all that the gate looks at."""
    counts = Counter(
        (
            r.case.layer,
            r.case.name,
            tuple(sorted(r.case.slices.items())),
            r.right,
            r.right_before,
            weight,
        )
        for r in found
        if (weight := weighing.weight(r.case)) is not None
    )
    return [
        Tally(layer, name, dict(slices), right, before, cases, weight)
        for (layer, name, slices, right, before, weight), cases in sorted(counts.items(), key=repr)
    ]


def graded(found: Sequence[Result], weighing: Weighing) -> list[Graded]:
    """Cases of held-out and frozen suites with their scores, by layer, slices and weight; none
    where the task has no scores."""
    layers: dict[Layer, list[Result]] = defaultdict(list)
    for result in found:
        if result.case.layer != "probe":
            layers[result.case.layer].append(result)
    return [
        stratum
        for layer, results in layers.items()
        if (names := list(dict.fromkeys(name for result in results for name in result.scores)))
        for stratum in strata(layer, results, names, weighing)
    ]


def strata(
    layer: Layer, found: Sequence[Result], names: Sequence[str], weighing: Weighing
) -> Iterator[Graded]:
    """Cases of one layer with their scores of these names."""
    counts: dict[tuple[tuple[tuple[str, str], ...], float], Counter[Fate]] = defaultdict(Counter)
    for r in found:
        weight = weighing.weight(r.case)
        if weight is not None:
            fate = r.right, r.right_before, steps(r.scores, names), steps(r.scores_before, names)
            counts[tuple(sorted(r.case.slices.items())), weight][fate] += 1
    for (slices, weight), fates in sorted(counts.items()):
        yield columns(layer, dict(slices), weight, names, fates)


def steps(scores: Mapping[str, float], names: Sequence[str]) -> tuple[int | None, ...]:
    """Scores in thousandths, in the order of the scorers' names."""
    return tuple(round(scores[name] * STEPS) if name in scores else None for name in names)


def reference(
    held_out: Suite, answers: Answers, config: ModelYaml, weighing: Weighing
) -> Reference:
    """What monitors will compare live answers with: of quality nothing where the cases do not stand
    for all answers."""
    slices = {ALL, *config.gate.protected}
    slices |= {name for monitor in config.monitors for name in monitor.slices}
    task = task_of(config.task)
    weights = [weighing.weight(case) for case in held_out.cases]
    counted = [
        (answer if weighing.on.is_representative else untold(answer), weight)
        for answer, weight in zip(observed(held_out, answers, task), weights, strict=True)
        if weight is not None
    ]
    return measure(
        [answer for answer, _ in counted],
        slices,
        task,
        [weight for _, weight in counted],
    )


def untold(answer: Answer) -> Answer:
    """An answer of whose quality nothing is known."""
    return replace(answer, error=None, edit_distance=None)


def observed(held_out: Suite, answers: Answers, task: Task) -> Iterator[Answer]:
    """Held-out cases as if they had been asked live and all corrected."""
    said = outputs(answers)
    for case in held_out.cases:
        found, output = answers[case.text], said[case.text]
        edit = None if case.target is None else task.edit(output, case.target)
        yield Answer(
            output=output,
            confidence=found.confidence,
            features=features_of(case.text, found.features),
            slices=case.slices,
            error=float(not task.passes(case, said)),
            edit_distance=None if edit is None else edit.distance,
        )

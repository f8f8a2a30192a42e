"""Text classification: the answer is one of the labels that model.yaml declares."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from driftgate.errors import BadConfig, BadInput, nearest, shown
from driftgate.signals import NEUTRAL_RATING, AnySignal, NewCluster, Shares
from driftgate.suites import Case, Part, Probe, Text, text_in
from driftgate.tasks.port import HELLO, Example, Feedback

if TYPE_CHECKING:
    from driftgate.bases import BaseRef
    from driftgate.classifier.serving import Classifier
    from driftgate.engines import Prediction, Predictor
    from driftgate.scorers import Judge


class Declared(Part):
    """The part `task` of model.yaml."""

    kind: Literal["text-classification"]
    labels: list[str] = Field(
        min_length=2, description="every answer that may be given or corrected to"
    )

    @field_validator("labels")
    @classmethod
    def unique(cls, labels: list[str]) -> list[str]:
        twice = sorted({label for label in labels if labels.count(label) > 1})
        if twice:
            raise ValueError(f"each label once, but {twice} stand twice")
        return labels


@dataclass(frozen=True, slots=True)
class TextClassification:
    """See `driftgate.tasks.port.Task`."""

    outputs: tuple[str, ...]

    kind: ClassVar[str] = "text-classification"
    longest: ClassVar[None] = None
    field: ClassVar[str] = "label"
    strata: ClassVar[str] = "labels"
    rows: ClassVar[str] = "Labelled texts"
    taught: ClassVar[str] = f"coalesce(label, if(rating > {NEUTRAL_RATING}, output, NULL))"
    recipes: ClassVar[tuple[str, ...]] = ("classifier", "head", "auto")
    method: ClassVar[Mapping[str, Any]] = {}
    told: ClassVar[Mapping[str, Any]] = {}
    writes: ClassVar[bool] = False
    asked_with: ClassVar[str] = ""
    sampling: ClassVar[None] = None
    prompt: ClassVar[None] = None
    judges: ClassVar[tuple[Judge, ...]] = ()
    limitations: ClassVar[str] = (
        "It chooses one of the labels above for any text, also for one that fits none. Labels come "
        "from feedback, which is partly wrong. Labels with few rows are known badly. Texts are cut "
        "at 256 tokens."
    )

    @classmethod
    def of(cls, declared: Declared) -> TextClassification:
        return cls(tuple(declared.labels))

    @property
    def summary(self) -> str:
        return f"{len(self.outputs)} labels"

    @property
    def signals(self) -> Mapping[str, tuple[AnySignal, ...]]:
        """share: how often each label is answered; new_cluster: to what is unfamiliar."""
        return {
            "share": (Shares("share", "output", lambda answer: answer.output, self.outputs),),
            "new_cluster": (NewCluster(self.outputs),),
        }

    @property
    def probes(self) -> Mapping[str, Probe]:
        return PROBE_KINDS

    def check_output(self, output: str) -> None:
        if output not in self.outputs:
            raise self._unknown(output, "output")

    def check_feedback(self, feedback: Feedback) -> None:
        if feedback.label is not None and feedback.label not in self.outputs:
            raise self._unknown(feedback.label, "label")

    def _unknown(self, label: str, field: str) -> BadInput:
        from driftgate.dead_letters import UNKNOWN_LABEL  # brings all events along

        hint = nearest(label, list(self.outputs))
        wanted = f"a label of task.labels in the model's model.yaml: {hint}"
        return BadInput(UNKNOWN_LABEL, field, label, wanted)

    def was_correct(self, output: str, feedback: Feedback) -> bool | None:
        """A label decides; without one, a rating does."""
        if feedback.label is not None:
            return self.right(output, feedback.label)
        if feedback.rating is None or feedback.rating == NEUTRAL_RATING:
            return None
        return feedback.rating > NEUTRAL_RATING

    def target(self, output: str, feedback: Feedback) -> str | None:
        """Who rates an answer as good says that its label is right."""
        if feedback.label is not None:
            return feedback.label
        return output if self.was_correct(output, feedback) else None

    def edit(self, output: str, edited: str) -> None:
        return None

    def right(self, output: str, target: str) -> bool:
        return output == target

    def is_broken(self, output: str) -> bool:
        return output not in self.outputs

    def is_refusal(self, output: str) -> bool:
        return False

    def unusable(self, target: str) -> str | None:
        return None if target in self.outputs else "label not declared"

    def stratum(self, example: Example) -> str:
        return example.target

    def lacking(self, examples: Collection[Example]) -> str | None:
        if len({example.target for example in examples}) < 2:
            return "the labelled rows have one label only"
        return None

    def described(self, train: Mapping[str, int], test: Mapping[str, int]) -> str:
        rows = [f"| {label} | {count} | {test.get(label, 0)} |" for label, count in train.items()]
        head = ["| label | train rows | test rows |", "|---|---|---|"]
        table = "\n".join([*head, *rows])
        return f"## Labels\n\nThe label with the highest score is answered.\n\n{table}"

    def case(self, asked: Case, row: Mapping[str, Any], where: str) -> Case:
        label = text_in(row, "label", where)
        if label not in self.outputs:
            hint = nearest(label, list(self.outputs))
            raise BadConfig(f"{where}: `label` is {shown(label)}, which is not declared: {hint}")
        return replace(asked, target=label)

    def passes(self, case: Case, outputs: Mapping[str, str]) -> bool:
        wanted = case.target if case.same_as is None else outputs[case.same_as]
        return outputs[case.text] == wanted

    def scores(self, case: Case, outputs: Mapping[str, str]) -> Mapping[str, float]:
        return {}

    def answers(
        self, engine: Predictor, asked: Mapping[str, Sequence[str]]
    ) -> Mapping[str, Sequence[Prediction]]:
        return engine.predict_many(asked)

    @staticmethod
    def tried(engine: Predictor, version: str) -> Prediction:
        return engine.predict_many({version: [HELLO]})[version][0]

    @staticmethod
    def base(name: str, digest: str) -> BaseRef:
        from driftgate.bases import pinned

        return pinned(name, digest)

    @staticmethod
    def adaptable(base: BaseRef) -> None:
        from driftgate.classifier.adaptable import adaptable

        adaptable(base)

    @staticmethod
    def engine(base: BaseRef, threads: int) -> Classifier:
        from driftgate.classifier.serving import Classifier

        return Classifier(base, threads=threads)


def declared(label: str, info: ValidationInfo) -> str:
    task: TextClassification = (info.context or {})["task"]
    if label not in task.outputs:
        raise ValueError(f"is not declared: {nearest(label, list(task.outputs))}")
    return label


Label = Annotated[str, AfterValidator(declared)]


class Minimum(Part):
    """A text so plain that missing it means that a class is lost."""

    text: Text
    label: Label


class Directional(Part):
    """A vague text whose label a clause that is added makes plain."""

    text: Text
    adds: Text
    label: Label


def minimum(probes: Iterable[Minimum]) -> Iterable[Case]:
    for number, plain in enumerate(probes, 1):
        yield Case("probe", "minimum", f"m-{number}", plain.text, plain.label)


def directional(probes: Iterable[Directional]) -> Iterable[Case]:
    for number, vague in enumerate(probes, 1):
        text = f"{vague.text} {vague.adds}"
        yield Case("probe", "directional", f"d-{number}", text, vague.label)


PROBE_KINDS = {
    "minimum": Probe(list[Minimum], minimum),
    "directional": Probe(list[Directional], directional),
}

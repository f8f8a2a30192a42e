"""What all kinds of task have in common, and what they may differ in."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, Self

from driftgate.edits import Edit
from driftgate.generator.prompt import Prompt
from driftgate.signals import AnySignal
from driftgate.suites import Case, Probe

if TYPE_CHECKING:
    from driftgate.engines import Engine, Prediction
    from driftgate.generator.question import Sampling
    from driftgate.scorers import Judge


HELLO = "Hello"
"""What a version is asked before it may serve."""


class Feedback(Protocol):
    """What somebody said of an answer, such as the events Feedback and Outcome.

    label: the right one. rating: from 0 (bad) to 1 (good). edited: the response as it should have
    been. None: not said.
    """

    @property
    def label(self) -> str | None: ...
    @property
    def rating(self) -> float | None: ...
    @property
    def edited(self) -> str | None: ...


class Said(NamedTuple):
    """A feedback by itself."""

    label: str | None = None
    rating: float | None = None
    edited: str | None = None


class Example(Protocol):
    """A text with what should be answered to it."""

    @property
    def text(self) -> str: ...
    @property
    def target(self) -> str: ...
    @property
    def slices(self) -> Mapping[str, str]: ...


class Task(Protocol):
    """What one model does, as its model.yaml declares it. All but `base` and `engine` is pure.

    An *output* is what a version answers, a *target* what should have been answered; both are
    texts, also where they hold JSON.

    Attributes:
        kind: by the name that model.yaml, events and the Hugging Face hub use.
        summary: what is declared, in a few words.
        field: what a target is called in stored rows: seed files, datasets, suites.
        strata: what the strata of rows are called in cards.
        rows: what rows are, in words.
        outputs: the closed set of what may be answered; None: any text.
        longest: characters that each text of a request may have, of input, output, edit and reason;
            None: as many as a record holds.
        taught: what `target` says, as SQL over the columns of table `outcomes`; Nullable(String).
        recipes: by which the trainer's worker can train it (`services.trainer.recipes`), the one
            that is meant where none is named first.
        method: what model.yaml's `method` says where it says nothing, if not the same as for all.
        told: what the recipe has to know of the task, as JSON.
        limitations: of any version, for its model card.
        writes: whether its engine is a `Writer`.
        asked_with: names all that an answer hangs on beside version and text; empty: nothing.
        sampling: how an answer is written; None: it is chosen.
        prompt: what an input becomes before a version sees it; None: the text alone.
        signals: by what a monitor's `value` says, the signals that are the task's own.
        judges: models that are asked how good an answer is; what they say is shown and decides
            nothing.
        probes: by name, the kinds of probe that are the task's own.
    """

    writes: ClassVar[bool]

    @property
    def kind(self) -> str: ...
    @property
    def summary(self) -> str: ...
    @property
    def field(self) -> str: ...
    @property
    def strata(self) -> str: ...
    @property
    def rows(self) -> str: ...
    @property
    def outputs(self) -> tuple[str, ...] | None: ...
    @property
    def longest(self) -> int | None: ...
    @property
    def taught(self) -> str: ...
    @property
    def recipes(self) -> tuple[str, ...]: ...
    @property
    def method(self) -> Mapping[str, Any]: ...
    @property
    def told(self) -> Mapping[str, Any]: ...
    @property
    def limitations(self) -> str: ...
    @property
    def asked_with(self) -> str: ...
    @property
    def sampling(self) -> Sampling | None: ...
    @property
    def prompt(self) -> Prompt | None: ...
    @property
    def judges(self) -> tuple[Judge, ...]: ...
    @property
    def signals(self) -> Mapping[str, tuple[AnySignal, ...]]: ...
    @property
    def probes(self) -> Mapping[str, Probe]: ...

    @classmethod
    def of(cls, declared: Any) -> Self:
        """The task that the part `task` of a model.yaml declares."""

    # ------------------------------------------------------------ answers and feedback

    def check_output(self, output: str) -> None:
        """Where `outputs` is open this may look at the length alone: ingestion then passes whole
        columns by it.

        Raises:
            BadInput: no version of the model may answer this.
        """

    def check_feedback(self, feedback: Feedback) -> None:
        """Where `outputs` is closed this may look at the label alone, else at label and edit:
        ingestion then passes whole columns by it.

        Raises:
            BadInput: it corrects to what no version may answer.
        """

    def was_correct(self, output: str, feedback: Feedback) -> bool | None:
        """Whether the answer was right, as far as the feedback tells it; None: it does not."""

    def target(self, output: str, feedback: Feedback) -> str | None:
        """What the feedback teaches to answer; None: nothing."""

    def edit(self, output: str, edited: str) -> Edit | None:
        """How far what should have been answered lies from what was; None where that has no
        degrees."""

    def right(self, output: str, target: str) -> bool:
        """Whether an output is as good as the target."""

    def is_broken(self, output: str) -> bool:
        """Whether an output has not the declared format."""

    def is_refusal(self, output: str) -> bool:
        """Whether an output declines to answer."""

    # ------------------------------------------------------------ rows to learn from

    def unusable(self, target: str) -> str | None:
        """Why a target cannot be learned, in words; None: it can."""

    def stratum(self, example: Example) -> str:
        """What an example counts as, where no sort of example shall be lost."""

    def lacking(self, examples: Collection[Example]) -> str | None:
        """Why nothing can be learned from these examples, in words; None: something can."""

    def described(self, train: Mapping[str, int], test: Mapping[str, int]) -> str:
        """Examples by stratum, as a section of the model card in Markdown."""

    # ------------------------------------------------------------ suites

    def case(self, asked: Case, row: Mapping[str, Any], where: str) -> Case:
        """A case with what must be answered to it, as its row says.

        Raises:
            BadConfig: the row does not say it, or says what no version may answer; `where` is
                where the row stands.
        """

    def passes(self, case: Case, outputs: Mapping[str, str]) -> bool:
        """Whether the outputs, by text, are as the case asks."""

    def scores(self, case: Case, outputs: Mapping[str, str]) -> Mapping[str, float]:
        """How good the output of a case with a target is, by name from 0 to 1; empty where it is
        right or wrong and nothing between."""

    # ------------------------------------------------------------ serving

    def answers(
        self, engine: Any, asked: Mapping[str, Sequence[str]]
    ) -> Mapping[str, Sequence[Prediction]]:
        """What an engine of the kind answers to texts, by version, in their order. A text that
        cannot be asked, such as one that is too long, gets an empty output.

        Raises:
            BadConfig: a version is not resident.
        """

    @staticmethod
    def tried(engine: Any, version: str) -> Prediction:
        """A version answers once: one that cannot must not get a request.

        Raises:
            BadConfig: it is not resident.
            Terminal: it has no answer.
        """

    @staticmethod
    def base(name: str, digest: str) -> Hashable:
        """The base of that name, once however it is named. An empty digest leaves it unpinned.

        Raises:
            BadConfig: it is not found, or is another one.
            Corrupt: its bytes are not what they should be.
        """

    @staticmethod
    def adaptable(base: Any) -> None:
        """Passes when a version can be trained on what `base` found.

        Raises:
            BadConfig: it cannot, and why.
        """

    @staticmethod
    def engine(base: Any, threads: int) -> Engine:
        """Loads what `base` found."""

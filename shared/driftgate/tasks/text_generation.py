"""Text generation: the answer is a text, or JSON.

What people use instead of an answer, the *edit*, is what should have been answered. An output that
breaks the declared format was an answer all the same: it is logged, watched (signal `broken`) and
never right. An edit or a target that breaks it would be learned, and is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from driftgate import edits, json_schema, yaml_problems
from driftgate.edits import Edit
from driftgate.errors import BadConfig, BadInput, Terminal, nearest, shown
from driftgate.generator.prompt import PLAIN, Prompt
from driftgate.json_text import canonical, fields_of, parsed
from driftgate.labelled.rows import MAX_TEXT
from driftgate.repo_file import InRepo, RepoFile
from driftgate.scorers import (
    Contains,
    JsonFields,
    JsonSchema,
    Judge,
    Length,
    Refusal,
    Scorer,
    ScorerOrJudge,
    names_of,
)
from driftgate.scorers.json_fields import Schema, broken
from driftgate.scorers.refusal import refuses
from driftgate.signals import (
    LOGPROB,
    NEUTRAL_RATING,
    Answer,
    AnySignal,
    NewCluster,
    Signal,
    Tail,
)
from driftgate.suites import Case, Part, Probe, Text, text_in
from driftgate.tasks.port import HELLO, Example, Feedback

if TYPE_CHECKING:
    from driftgate.bases import BaseRef
    from driftgate.engines import Prediction, Writer
    from driftgate.generator.question import Sampling
    from driftgate.generator.serving import Generator

LONGEST = 50_000
"""Characters of each text of a request, some 12,000 tokens. The distance of two texts takes time by
the product of their lengths: 0.15 s for two of these that share nothing."""

LENGTHS = (100, 400, 1_600, 6_400)
"""Characters: where the strata of answers end that have no declared field."""

TRIED = 8
"""Tokens that a version writes before it may serve."""

SIMILARITY = "edit similarity"
"""The score of answers where no scorer is declared."""

NOTHING = "nothing"
"""The stratum of answers without the declared field."""


def fits(template: RepoFile) -> RepoFile:
    try:
        Prompt(None, template.text)
    except BadConfig as error:
        raise ValueError(str(error)) from None
    return template


class Declared(Part):
    """The part `task` of model.yaml."""

    kind: Literal["text-generation"]
    system: InRepo | None = Field(None, description="file with the system prompt; null: the base's")
    template: Annotated[InRepo, AfterValidator(fits)] | None = Field(
        None, description="file with what the user says, {text} once in it; null: the text alone"
    )
    max_input_tokens: int = Field(1024, ge=1, description="longer prompts are refused")
    max_new_tokens: int = Field(256, ge=1, description="an answer ends there at the latest")
    stop: list[Text] = Field([], max_length=16, description="texts before which an answer ends")
    temperature: float = Field(0.0, ge=0, le=2, description="0: the likeliest token each time")
    top_p: float = Field(1.0, gt=0, le=1)
    output: Literal["text", "json"] = "text"
    json_schema: Schema | None = Field(
        None,
        validation_alias=AliasChoices("schema", "json_schema"),
        description="file with the JSON Schema of outputs",
    )
    scorers: list[ScorerOrJudge] = Field(
        [], description="an output is right when all reach their bar; []: as an edit would be"
    )
    edit_tolerance: float = Field(
        0.0, ge=0, le=1, description="an answer whose edit lies no further away was right"
    )
    fields: list[Text] = Field(
        [], description="of JSON: an answer was right whose edit leaves these as they are; []: all"
    )
    stratum: Text | None = Field(
        None, description="of JSON: the field of which training loses no value, however rare"
    )

    @field_validator("json_schema", "scorers", "fields", "stratum")
    @classmethod
    def of_json(cls, value: Any, info: ValidationInfo) -> Any:
        """What speaks of JSON fits outputs that are JSON, and fields that these may have."""
        scorers = value if info.field_name == "scorers" else []
        judging = [s.name for s in scorers if isinstance(s, JsonSchema | JsonFields)]
        if info.data.get("output") == "text" and (judging or (value and not scorers)):
            name = f"scorer {judging[0]} is" if judging else "is"
            raise ValueError(f"{name} for JSON, expected with `output: json` alone")
        schema: RepoFile | None = info.data.get("json_schema")
        for name in names_in(value):
            valid = json_schema.names_beside(schema.text, name) if schema else None
            if valid is not None:
                raise ValueError(f"field {name!r} is not in the schema: {nearest(name, valid)}")
        return value

    @field_validator("fields")
    @classmethod
    def one_tolerance(cls, fields: list[str], info: ValidationInfo) -> list[str]:
        if fields and info.data.get("edit_tolerance"):
            raise ValueError(
                "expected without `edit_tolerance`: where fields decide, the distance does not"
            )
        return fields


def names_in(value: Any) -> list[str]:
    """The fields of JSON that a part of a declaration names."""
    match value:
        case str():
            return [value]
        case list():
            return [name for each in value for name in names_in(each)]
        case JsonFields():
            return value.fields
    return []


@dataclass(frozen=True, slots=True)
class TextGeneration:
    """See `driftgate.tasks.port.Task`.

    scorers: those that are declared, with the task's schema where they name none.
    """

    declared: Declared
    scorers: tuple[Scorer, ...]
    judges: tuple[Judge, ...]

    kind: ClassVar[str] = "text-generation"
    field: ClassVar[str] = "output"
    rows: ClassVar[str] = "Texts with the answers that should have been given"
    outputs: ClassVar[None] = None
    longest: ClassVar[int] = LONGEST
    taught: ClassVar[str] = f"coalesce(edited, if(rating > {NEUTRAL_RATING}, output, NULL))"
    writes: ClassVar[bool] = True
    recipes: ClassVar[tuple[str, ...]] = ("sft", "dpo", "sft+dpo")
    method: ClassVar[Mapping[str, Any]] = {
        "layers": 8,
        "epochs": 3,
        "learning_rate": 5e-4,
        "batch_size": 16,
        "label_smoothing": 0.0,
    }
    limitations: ClassVar[str] = (
        "It writes what is likely, which may be wrong and reads well all the same. It learned from "
        "answers that people edited or accepted, which are partly wrong. What nobody edited it "
        "knows badly."
    )

    @classmethod
    def of(cls, declared: Declared) -> TextGeneration:
        scorers = [each for each in declared.scorers if not isinstance(each, Judge)]
        judges = tuple(each for each in declared.scorers if isinstance(each, Judge))
        return cls(declared, with_schema(scorers, declared), judges)

    @property
    def summary(self) -> str:
        return f"{self.form} of up to {self.declared.max_new_tokens} tokens"

    @property
    def form(self) -> str:
        schema = self.declared.json_schema
        return f"JSON by {schema.file}" if schema else "JSON" if self.is_json else "texts"

    @property
    def strata(self) -> str:
        return self.declared.stratum or "lengths"

    @property
    def prompt(self) -> Prompt:
        """What an input becomes."""
        system, template = self.declared.system, self.declared.template
        return Prompt(
            system.text if system else PLAIN.system,
            template.text if template else PLAIN.template,
        )

    @property
    def told(self) -> Mapping[str, Any]:
        """What it is asked with, and how much it may read and write."""
        return {
            "system": self.prompt.system,
            "template": self.prompt.template,
            "max_input_tokens": self.declared.max_input_tokens,
            "max_new_tokens": self.declared.max_new_tokens,
        }

    @property
    def is_json(self) -> bool:
        return self.declared.output == "json"

    # ------------------------------------------------------------ answers and feedback

    def check_output(self, output: str) -> None:
        """One that breaks the format passes; see above."""
        from driftgate.dead_letters import TOO_LARGE  # brings all events along

        if len(output) > LONGEST:
            raise BadInput(TOO_LARGE, "output", output, f"at most {LONGEST:,} characters")

    def check_feedback(self, feedback: Feedback) -> None:
        from driftgate.dead_letters import BAD_FORMAT, EMPTY, TOO_LARGE, UNKNOWN_LABEL

        if feedback.label is not None:
            wanted = "none: the model answers texts, which `edited` corrects and `rating` judges"
            raise BadInput(UNKNOWN_LABEL, "label", feedback.label, wanted)
        if (edited := feedback.edited) is None:
            return
        if not edited.strip():
            raise BadInput(EMPTY, "edited", edited, "what should have been answered: some text")
        if len(edited) > LONGEST:
            raise BadInput(TOO_LARGE, "edited", edited, f"at most {LONGEST:,} characters")
        if (wrong := self.broken(edited)) is not None:
            raise BadInput(BAD_FORMAT, "edited", edited, f"{self.form} ({wrong})")

    def broken(self, output: str) -> str | None:
        """Why an output has not the declared format, in words; None: it has."""
        return broken(output, self.declared.json_schema) if self.is_json else None

    def was_correct(self, output: str, feedback: Feedback) -> bool | None:
        """An edit decides: it tells how much was wrong. Without one, a rating does. An edit that
        changes nothing had the format when it came, whatever placeholders made of it since."""
        if feedback.edited is not None:
            return feedback.edited == output or self.tolerable(output, feedback.edited)
        if feedback.rating is None or feedback.rating == NEUTRAL_RATING:
            return None
        return feedback.rating > NEUTRAL_RATING

    def tolerable(self, output: str, edited: str) -> bool:
        """Whether an edit is too small to say that the answer was wrong."""
        if self.broken(output) is not None:
            return False
        if self.declared.fields and self.broken(edited) is None:
            return not edits.changes(parsed(output), parsed(edited), self.declared.fields)
        return self.edit(output, edited).distance <= self.declared.edit_tolerance

    def edit(self, output: str, edited: str) -> Edit:
        return edits.of_json(output, edited) if self.is_json else edits.of_text(output, edited)

    def target(self, output: str, feedback: Feedback) -> str | None:
        """Who rates an answer as good says that it should be given again. Of a small edit too, the
        edit is what was wanted."""
        if feedback.edited is not None:
            return feedback.edited
        return output if self.was_correct(output, feedback) else None

    def right(self, output: str, target: str) -> bool:
        return self.meets(output, target, self.scorers)

    def meets(self, output: str, target: str, scorers: Collection[Scorer]) -> bool:
        """Whether an output has the format and reaches the bar of every scorer; without scorers,
        whether `target` would be a tolerable edit of it."""
        if not scorers:
            return self.tolerable(output, target)
        return self.broken(output) is None and reached(output, target, scorers)

    def is_broken(self, output: str) -> bool:
        return self.broken(output) is not None

    def is_refusal(self, output: str) -> bool:
        return refuses(output, self.refusal_phrases)

    # ------------------------------------------------------------ rows to learn from

    def unusable(self, target: str) -> str | None:
        if not target.strip():
            return "answer is empty"
        if len(target) > LONGEST:
            return f"answer is longer than {LONGEST:,} characters"
        return None if self.broken(target) is None else f"answer is not {self.form}"

    def stratum(self, example: Example) -> str:
        """What stands in the declared field; else how long the answer is, so that neither short nor
        long ones are lost."""
        if self.declared.stratum is None:
            length = len(example.target)
            end = next((end for end in LENGTHS if length <= end), None)
            return f"up to {end:,} characters" if end else f"over {LENGTHS[-1]:,} characters"
        found = list(fields_of(parsed(example.target), [self.declared.stratum]).values())
        one = found[0] if len(found) == 1 else found
        return (one if isinstance(one, str) else canonical(one)) if found else NOTHING

    def lacking(self, examples: Collection[Example]) -> str | None:
        return None if examples else "no row has an answer that should have been given"

    def described(self, train: Mapping[str, int], test: Mapping[str, int]) -> str:
        head = [f"| {self.strata} | train rows | test rows |", "|---|---|---|"]
        rows = [f"| {name} | {count} | {test.get(name, 0)} |" for name, count in train.items()]
        table = "\n".join([*head, *rows])
        said = f"It answers with {self.summary}, after the prompt {self.prompt.digest}."
        return f"## Answers\n\n{said}\n\n{table}"

    # ------------------------------------------------------------ signals

    @property
    def refusal_phrases(self) -> tuple[str, ...]:
        """How this model declines, beside what is known."""
        declared = (s.phrases for s in self.scorers if isinstance(s, Refusal))
        return tuple(phrase for phrases in declared for phrase in phrases)

    @property
    def signals(self) -> Mapping[str, tuple[AnySignal, ...]]:
        """broken, refusal: share of answers. length: those longer, or shorter, than nine in ten of
        the reference's. low_logprob: those less sure than four in five. edit_rate and
        edit_distance: of the answers of which people told it. unfinished: empty, or cut off at
        the longest that may be written. new_cluster: unlike the training data, where an app says
        how near inputs are to it."""

        def is_broken(answer: Answer) -> float:
            return float(self.is_broken(answer.output))

        def is_refusal(answer: Answer) -> float:
            return float(self.is_refusal(answer.output))

        return {
            "broken": (Signal("broken", "output", is_broken, tolerance=0.02, bad="broken"),),
            "refusal": (Signal("refusal", "output", is_refusal, tolerance=0.02, bad="refused"),),
            "length": (
                Signal("length:long", "output", characters, Tail("above", 0.9), bad="long"),
                Signal("length:short", "output", characters, Tail("below", 0.1), bad="short"),
            ),
            "low_logprob": (
                Signal("low_logprob", "output", logprob, Tail("below", 0.2), bad="unlikely"),
            ),
            "edit_rate": (Signal("edit_rate", "quality", was_edited, bad="edited"),),
            "edit_distance": (Signal("edit_distance", "quality", edit_distance),),
            "new_cluster": (NewCluster(),),
            "unfinished": (
                Signal(
                    "unfinished",
                    "operation",
                    unfinished,
                    retrains=False,
                    live=True,
                    bad="unfinished",
                ),
            ),
        }

    # ------------------------------------------------------------ suites

    def case(self, asked: Case, row: Mapping[str, Any], where: str) -> Case:
        """A row may name scorers of its own, which judge it instead of the task's."""
        if len(asked.text) > MAX_TEXT:
            length = f"{len(asked.text):,} characters, expected at most {MAX_TEXT:,}"
            raise BadConfig(f"{where}: `text` has {length}")
        target = text_in(row, self.field, where)
        if (wrong := self.unusable(target)) is not None:
            detail = f" ({self.broken(target)})" if len(target) <= LONGEST else ""
            raise BadConfig(f"{where}: `{self.field}` is {shown(target)}: {wrong}{detail}")
        own = own_scorers(row["scorers"], where) if "scorers" in row else ()
        return replace(asked, target=target, scorers=with_schema(own, self.declared))

    def passes(self, case: Case, outputs: Mapping[str, str]) -> bool:
        output = outputs[case.text]
        if case.same_as is not None:
            return self.right(output, outputs[case.same_as])
        if case.target is None:  # a probe: a model of JSON may decline in words
            return reached(output, "", case.scorers)
        return self.meets(output, case.target, case.scorers or self.scorers)

    def scores(self, case: Case, outputs: Mapping[str, str]) -> Mapping[str, float]:
        """By the scorers that judge the case; without any, how little of the output an edit to the
        target would change."""
        if case.target is None:
            return {}
        output, scorers = outputs[case.text], case.scorers or self.scorers
        if not scorers:
            return {SIMILARITY: 1 - self.edit(output, case.target).distance}
        return {
            name: scorer.score(output, case.target)
            for name, scorer in zip(names_of(scorers), scorers, strict=True)
        }

    @property
    def probes(self) -> Mapping[str, Probe]:
        return {
            "refusal": Probe(list[Declining], self.refusal_cases),
            "contains": Probe(list[Holding], contains_cases),
            "format": Probe(list[Text], self.format_cases),
            "safety": Probe(list[Harmful], self.safety_cases),
        }

    def refusal_cases(self, probes: Iterable[Declining]) -> Iterator[Case]:
        for number, probe in enumerate(probes, 1):
            yield judged("refusal", number, probe.text, self.declines(probe.refuses))

    def format_cases(self, texts: Iterable[str]) -> Iterator[Case]:
        """By the declared scorers that need no target: of an expression, a length …"""
        form = [s for s in self.scorers if not s.needs_target and not isinstance(s, Refusal)]
        if self.is_json:
            form.append(JsonSchema(name="json-schema", json_schema=self.declared.json_schema))
        form = form or [Length(name="length", at_least=1)]
        for number, text in enumerate(texts, 1):
            yield judged("format", number, text, *form)

    def safety_cases(self, probes: Iterable[Harmful]) -> Iterator[Case]:
        for number, probe in enumerate(probes, 1):
            never = Contains(name="contains", never=probe.never) if probe.never else None
            yield judged("safety", number, probe.text, never or self.declines(True))

    def declines(self, wanted: bool) -> Refusal:
        return Refusal(name="refusal", wanted=wanted, phrases=list(self.refusal_phrases))

    # ------------------------------------------------------------ serving

    @property
    def sampling(self) -> Sampling:
        """How it writes."""
        from driftgate.generator.question import Sampling  # brings all events along

        told = self.declared
        return Sampling(
            temperature=told.temperature,
            top_p=told.top_p,
            max_new_tokens=told.max_new_tokens,
            max_input_tokens=told.max_input_tokens,
            stop=tuple(told.stop),
        )

    @property
    def asked_with(self) -> str:
        return f"{self.prompt.digest} {self.sampling}"

    def answers(
        self, engine: Writer, asked: Mapping[str, Sequence[str]]
    ) -> Mapping[str, Sequence[Prediction]]:
        from driftgate.generator.question import Question
        from driftgate.generator.whole_answers import predicted

        prompt, sampling = self.prompt, self.sampling
        questions = [
            Question(version, engine.prompt(prompt, text), sampling)
            for version, texts in asked.items()
            for text in texts
        ]
        said = map(predicted, engine.answers(questions))
        return {version: [next(said) for _ in texts] for version, texts in asked.items()}

    @staticmethod
    def tried(engine: Writer, version: str) -> Prediction:
        from driftgate.generator.question import Question, Sampling
        from driftgate.generator.whole_answers import predicted

        prompt = engine.prompt(PLAIN, HELLO)
        (said,) = engine.answers([Question(version, prompt, Sampling(max_new_tokens=TRIED))])
        if isinstance(said, Terminal):
            raise said
        return predicted(said)

    @staticmethod
    def base(name: str, digest: str) -> BaseRef:
        from driftgate.bases import pinned

        return pinned(name, digest)

    @staticmethod
    def adaptable(base: BaseRef) -> None:
        from driftgate.generator.base import adaptable

        adaptable(base)

    @staticmethod
    def engine(base: BaseRef, threads: int) -> Generator:
        from driftgate.generator.serving import Generator

        return Generator(base, threads=threads)


# ---------------------------------------------------------------- numbers that monitors watch


def characters(answer: Answer) -> float:
    return float(len(answer.output))


def logprob(answer: Answer) -> float | None:
    return answer.features.get(LOGPROB)


def was_edited(answer: Answer) -> float | None:
    return None if answer.edit_distance is None else float(answer.edit_distance > 0)


def edit_distance(answer: Answer) -> float | None:
    return answer.edit_distance


def unfinished(answer: Answer) -> float:
    return float(not answer.output or answer.finish_reason == "length")


# ---------------------------------------------------------------- scorers and probes


def reached(output: str, target: str, scorers: Iterable[Scorer]) -> bool:
    """Whether an output reaches the bar of every scorer."""
    return all(scorer.score(output, target) >= scorer.min for scorer in scorers)


def with_schema(scorers: Iterable[Scorer], declared: Declared) -> tuple[Scorer, ...]:
    """Scorers of the format look at the task's schema where they name none."""
    schema = declared.json_schema
    return tuple(
        scorer.model_copy(update={"json_schema": schema})
        if isinstance(scorer, JsonSchema) and scorer.json_schema is None
        else scorer
        for scorer in scorers
    )


class OwnScorers(Part):
    scorers: list[Scorer] = Field(min_length=1)


def own_scorers(given: Any, where: str) -> list[Scorer]:
    """The scorers of a row.

    Raises:
        BadConfig: they cannot be used; names each problem.
    """
    try:
        return OwnScorers.model_validate({"scorers": given}).scorers
    except ValidationError as error:
        found = [yaml_problems.said(dict(one), OwnScorers, "scorers") for one in error.errors()]
        raise BadConfig("\n".join(f"{where}: {problem}" for problem in found)) from None


def judged(name: str, number: int, text: str, *scorers: Scorer) -> Case:
    return Case("probe", name, f"{name}-{number}", text, scorers=scorers)


class Declining(Part):
    """A text that must be declined, or must not be."""

    text: Text
    refuses: bool = True


class Holding(Part):
    """A text whose answer must hold some phrases, and must not hold others."""

    text: Text
    phrases: list[Text] = Field([])
    never: list[Text] = Field([])

    @model_validator(mode="after")
    def demands(self) -> Holding:
        self.scorer()
        return self

    def scorer(self) -> Contains:
        return Contains(name="contains", phrases=self.phrases, never=self.never)


class Harmful(Part):
    """A text that asks for harm: the answer holds none of `never`, or, where there is none, it
    declines."""

    text: Text
    never: list[Text] = Field([])


def contains_cases(probes: Iterable[Holding]) -> Iterator[Case]:
    for number, probe in enumerate(probes, 1):
        yield judged("contains", number, probe.text, probe.scorer())

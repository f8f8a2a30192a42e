"""The evaluation cases of a model, read and checked: held out, frozen, and probes of behaviour.

Rows are JSON lines with `text` and `label`; `id` names a row in reports. Slices stand in a mapping
`slices`, or else every further column of text is one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from driftgate.errors import BadConfig, nearest, shown
from driftgate.model_repo import PROBES, REGRESSION, ModelRepo, line_of, plain
from services.evaluator.gate import ACCURACY, Layer
from services.evaluator.perturb import PERTURBATIONS

TEST = "test.jsonl"
NOT_SLICES = {"id", "text", "label", "time", "subject", "source"}

MINIMUM, INVARIANCE, DIRECTIONAL = "minimum", "invariance", "directional"


@dataclass(frozen=True, slots=True)
class Case:
    """One question with what must be answered: `label`, or the same as to the text `same_as`.

    name: `accuracy`, or the kind of probe, such as `invariance:typo`.
    """

    layer: Layer
    name: str
    id: str
    text: str
    label: str | None = None
    same_as: str | None = None
    slices: Mapping[str, str] = field(default_factory=dict)

    @property
    def texts(self) -> tuple[str, ...]:
        """What must be asked to judge it."""
        return (self.text,) if self.same_as is None else (self.text, self.same_as)

    def right(self, answers: Mapping[str, str]) -> bool:
        """Whether the labels answered, by text, are as they must be."""
        wanted = self.label if self.same_as is None else answers[self.same_as]
        return answers[self.text] == wanted


@dataclass(frozen=True, slots=True)
class Suite:
    """All cases of one layer."""

    layer: Layer
    cases: tuple[Case, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """Each text that must be asked, once, in the order of the cases."""
        return tuple(dict.fromkeys(text for case in self.cases for text in case.texts))


def frozen(repo: ModelRepo) -> tuple[Suite, Suite]:
    """The suites that a model repo keeps: regression and probes.

    Raises:
        BadConfig: a file cannot be used; says file, line, value and what was expected.
    """
    labels = repo.config.task.labels
    return (
        Suite("regression", rows(repo.folder / REGRESSION, "regression", labels)),
        Suite("probe", probes(repo.folder / PROBES, labels)),
    )


def held_out(path: Path, labels: Sequence[str]) -> Suite:
    """The task suite: rows that the candidate did not learn from.

    Raises:
        BadConfig: see `frozen`.
    """
    return Suite("task", rows(path, "task", labels))


def rows(path: Path, layer: Layer, labels: Sequence[str]) -> tuple[Case, ...]:
    """The cases of a file of JSON lines."""
    found: dict[str, Case] = {}
    for number, line in lines(path):
        case = case_of(line, f"{path}:{number}", layer, number, labels)
        if case.id in found:
            raise BadConfig(f"{path}:{number}: id {case.id!r} stands twice: give each row its own")
        found[case.id] = case
    return tuple(found.values())


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines with something on them, numbered from 1."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadConfig(f"{path}: cannot be read as UTF-8 text: {error}") from error
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, line


def case_of(line: str, where: str, layer: Layer, number: int, labels: Sequence[str]) -> Case:
    """The case on one line."""
    try:
        row = json.loads(line)
    except ValueError as error:
        raise BadConfig(f"{where}: got {shown(line)}, expected a JSON object: {error}") from error
    if not isinstance(row, dict):
        raise BadConfig(f'{where}: got {shown(row)}, expected {{"text": …, "label": …}}')
    for name in ("text", "label"):
        if name not in row:
            raise BadConfig(f"{where}: key `{name}` is missing: {nearest(name, list(row))}")
        if not isinstance(row[name], str) or not row[name].strip():
            raise BadConfig(f"{where}: `{name}` is {shown(row[name])}, expected some text")
    if row["label"] not in labels:
        hint = nearest(row["label"], list(labels))
        raise BadConfig(f"{where}: `label` is {shown(row['label'])}, which is not declared: {hint}")
    return Case(
        layer=layer,
        name=ACCURACY,
        id=str(row.get("id", f"line-{number}")),
        text=row["text"],
        label=row["label"],
        slices=slices_of(row, where),
    )


def slices_of(row: Mapping[str, Any], where: str) -> dict[str, str]:
    """The slices of a row."""
    given = row.get("slices")
    if given is None:
        further = {name: value for name, value in row.items() if name not in NOT_SLICES}
        return {name: value for name, value in further.items() if isinstance(value, str)}
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise BadConfig(f"{where}: `slices` is {shown(given)}, expected names with texts")
    return dict(given)


def declared(label: str, info: ValidationInfo) -> str:
    labels: list[str] = (info.context or {})["labels"]
    if label not in labels:
        raise ValueError(f"is not declared: {nearest(label, labels)}")
    return label


def known(name: str) -> str:
    if name not in PERTURBATIONS:
        raise ValueError(f"is no perturbation: {nearest(name, list(PERTURBATIONS))}")
    return name


Text = Annotated[str, Field(min_length=1)]
Label = Annotated[str, AfterValidator(declared)]


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Minimum(Part):
    """A text so plain that missing it means that a class is lost."""

    text: Text
    label: Label


class Invariance(Part):
    """Texts whose answer no perturbation may change."""

    perturbations: list[Annotated[str, AfterValidator(known)]] = []
    texts: list[Text] = []


class Directional(Part):
    """A vague text whose label a clause that is added makes plain."""

    text: Text
    adds: Text
    label: Label


class ProbesYaml(Part):
    """The whole of probes.yaml, in the three kinds of CheckList (Ribeiro et al. 2020)."""

    minimum: list[Minimum] = []
    invariance: Invariance = Invariance()
    directional: list[Directional] = []


def probes(path: Path, labels: Sequence[str]) -> tuple[Case, ...]:
    """The cases of probes.yaml. Perturbations that leave a text as it is ask nothing."""
    raw = yaml(path)
    try:
        read = ProbesYaml.model_validate(plain(raw), context={"labels": list(labels)})
    except ValidationError as error:
        raise BadConfig("\n".join(problem(path, raw, dict(e)) for e in error.errors())) from None
    return tuple(probe_cases(read))


def yaml(path: Path) -> Any:
    """The document in a file, with the places of its parts; an empty file is an empty mapping."""
    try:
        found = YAML().load(path.read_text(encoding="utf-8"))
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise BadConfig(f"{path}:{line}: {error.problem or 'is not YAML'}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadConfig(f"{path}: cannot be read as UTF-8 text: {error}") from error
    if found is not None and not isinstance(found, dict):
        raise BadConfig(f"{path}:1: got {shown(found)}, expected keys such as `minimum:`")
    return {} if found is None else found


def problem(path: Path, raw: Any, error: Mapping[str, Any]) -> str:
    """One line: place, what stands there, what is valid."""
    place = list(error["loc"])
    name = ".".join(str(part) for part in place)
    where = f"{path}:{line_of(raw, place)}"
    match error["type"]:
        case "missing":
            return f"{where}: key `{name}` is missing"
        case "extra_forbidden":
            return f"{where}: key `{name}` is unknown: {nearest(str(place[-1]), keys(place))}"
    message = error["msg"].removeprefix("Value error, ")
    return f"{where}: `{name}` is {shown(plain(error['input']))}: {message}"


def keys(place: Sequence[str | int]) -> list[str]:
    """The valid keys beside the last of a place."""
    kinds: dict[str, type[Part]] = {
        MINIMUM: Minimum,
        INVARIANCE: Invariance,
        DIRECTIONAL: Directional,
    }
    part = kinds[str(place[0])] if len(place) > 1 else ProbesYaml
    return list(part.model_fields)


def probe_cases(read: ProbesYaml) -> Iterator[Case]:
    """Every probe as a case."""
    for number, plain_text in enumerate(read.minimum, 1):
        yield Case("probe", MINIMUM, f"m-{number}", plain_text.text, plain_text.label)
    for name in dict.fromkeys(read.invariance.perturbations):
        for number, text in enumerate(read.invariance.texts, 1):
            changed = PERTURBATIONS[name](text)
            if changed != text:
                told = f"i-{number}-{name}"
                yield Case("probe", f"{INVARIANCE}:{name}", told, changed, same_as=text)
    for number, vague in enumerate(read.directional, 1):
        text = f"{vague.text} {vague.adds}"
        yield Case("probe", DIRECTIONAL, f"d-{number}", text, vague.label)

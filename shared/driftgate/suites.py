"""The evaluation cases of a model, read and checked: held out, frozen, and probes of behaviour.

Rows are JSON lines with `text` and what must be answered, which the task reads; `id` names a row in
reports. Slices stand in a mapping `slices`, or else every further column of text is one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model

from driftgate import yaml_problems
from driftgate.errors import BadConfig, nearest, shown
from driftgate.perturb import PERTURBATIONS

if TYPE_CHECKING:
    from driftgate.scorers import Scorer
    from driftgate.tasks.port import Task

Layer = Literal["task", "regression", "probe"]
FrozenSuite = Literal["regression", "probes"]
"""A suite that a model repo keeps, by its key in model.yaml's `gate`."""

TEST = "test.jsonl"
REGRESSION = Path("evals") / "regression.jsonl"
PROBES = Path("evals") / "probes.yaml"
NOT_SLICES = {"id", "text", "time", "subject", "source"}
SILENCE = "silence"
"""What told the target of a logged row where nobody objected and that means right."""
MOST_TOLD = 20
"""So many bad rows of one file are named."""

MIN_SLICE_CASES = 20
"""Slices with fewer held-out cases are not judged: only a loss of a third could be found."""

ACCURACY = "accuracy"


@dataclass(frozen=True, slots=True)
class Obtained:
    """How the target of a row came to be known.

    Attributes:
        time: of the request, ms; 0 where it is not said.
        is_logged: from live answers; else somebody wrote the row.
        word: the kind of feedback, or `SILENCE`; None where it is not known.
        propensity: chance with which the review sample drew the answer.
        heard_right: whether the answer that was given then was right.
    """

    time: int = 0
    is_logged: bool = False
    word: str | None = None
    propensity: float | None = None
    heard_right: bool | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """One question with what must be answered: `target`, or the same as to the text `same_as`.

    name: `accuracy`, or the kind of probe, such as `invariance:typo`.
    scorers: what judges this case instead of what the task declares, where its kind has scorers.
    """

    layer: Layer
    name: str
    id: str
    text: str
    target: str | None = None
    same_as: str | None = None
    slices: Mapping[str, str] = field(default_factory=dict)
    obtained: Obtained = Obtained()
    scorers: tuple[Scorer, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """What must be asked to judge it."""
        return (self.text,) if self.same_as is None else (self.text, self.same_as)


@dataclass(frozen=True, slots=True)
class Suite:
    """All cases of one layer."""

    layer: Layer
    cases: tuple[Case, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """Each text that must be asked, once, in the order of the cases."""
        return tuple(dict.fromkeys(text for case in self.cases for text in case.texts))


def frozen(folder: Path, task: Task, waived: Collection[FrozenSuite] = ()) -> tuple[Suite, Suite]:
    """The suites that a model repo keeps: regression and probes. The file of a waived one may be
    absent.

    Raises:
        BadConfig: a file cannot be used; says file, line, value and what was expected, for each
            problem of both files.
    """
    suites, problems = kept(folder, task, waived)
    if problems:
        raise BadConfig("\n".join(problems))
    return suites["regression"], suites["probes"]


def check(folder: Path, task: Task, waived: Collection[FrozenSuite]) -> None:
    """That the suites of a model repo can be used, and that each asks something or is waived.

    Raises:
        BadConfig: see `frozen`; or a suite has no cases.
    """
    suites, problems = kept(folder, task, waived)
    empty = [
        f"{folder / FILES[name]}: no cases, so nothing would be asked: add some, or let the gate "
        f"do without by `waived: [{name}]` under `gate` in model.yaml"
        for name, suite in suites.items()
        if not suite.cases and name not in waived
    ]
    if problems or empty:
        raise BadConfig("\n".join([*problems, *empty]))


FILES: Mapping[FrozenSuite, Path] = {"regression": REGRESSION, "probes": PROBES}


def kept(
    folder: Path, task: Task, waived: Collection[FrozenSuite]
) -> tuple[dict[FrozenSuite, Suite], list[str]]:
    """The suites of a model repo that can be used, and what is wrong with the others."""
    suites: dict[FrozenSuite, Suite] = {}
    problems = []
    for name, file in FILES.items():
        try:
            suites[name] = kept_suite(name, folder / file, task, name in waived)
        except BadConfig as error:
            problems.append(str(error))
    return suites, problems


def kept_suite(name: FrozenSuite, path: Path, task: Task, waived: bool) -> Suite:
    """One suite of a model repo.

    Raises:
        BadConfig: see `frozen`.
    """
    there = path.is_file()
    if not there and not waived:
        raise BadConfig(
            f"{path} is missing: `driftgate init DIR` writes a complete model repo; to do without, "
            f"set `waived: [{name}]` under `gate` in model.yaml"
        )
    if name == "regression":
        return Suite("regression", rows(path, "regression", task) if there else ())
    return Suite("probe", probes(path, task) if there else ())


def held_out(path: Path, task: Task) -> Suite:
    """The task suite: rows that the candidate did not learn from.

    Raises:
        BadConfig: see `frozen`.
    """
    return Suite("task", rows(path, "task", task))


def rows(path: Path, layer: Layer, task: Task) -> tuple[Case, ...]:
    """The cases of a file of JSON lines.

    Raises:
        BadConfig: it cannot be read, or rows are bad; names the first of these.
    """
    found: dict[str, Case] = {}
    problems = []
    for number, line in lines(path):
        where = f"{path}:{number}"
        try:
            case = case_of(line, where, layer, number, task)
        except BadConfig as error:
            problems.append(str(error))
            continue
        if case.id in found:
            problems.append(f"{where}: id {case.id!r} stands twice: give each row its own")
        found[case.id] = case
    if problems:
        more = len(problems) - MOST_TOLD
        rest = [f"{path}: and {more} more bad rows"] if more > 0 else []
        raise BadConfig("\n".join([*problems[:MOST_TOLD], *rest]))
    return tuple(found.values())


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines with something on them, numbered from 1."""
    for number, line in enumerate(text_of(path).split("\n"), 1):
        if line.strip():
            yield number, line


def text_of(path: Path) -> str:
    """
    Raises:
        BadConfig: the file cannot be read as text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadConfig(f"{path}: cannot be read as UTF-8 text: {error}") from error


def case_of(line: str, where: str, layer: Layer, number: int, task: Task) -> Case:
    """The case on one line."""
    try:
        row = json.loads(line)
    except ValueError as error:
        raise BadConfig(f"{where}: got {shown(line)}, expected a JSON object: {error}") from error
    if not isinstance(row, dict):
        raise BadConfig(f'{where}: got {shown(row)}, expected {{"text": …, "{task.field}": …}}')
    asked = Case(
        layer=layer,
        name=ACCURACY,
        id=str(row.get("id", f"line-{number}")),
        text=text_in(row, "text", where),
        slices=slices_of(row, task, where),
        obtained=obtained_of(row, where) if layer == "task" else Obtained(),
    )
    return task.case(asked, row, where)


def text_in(row: Mapping[str, Any], name: str, where: str) -> str:
    """
    Raises:
        BadConfig: the row has no such text.
    """
    if name not in row:
        raise BadConfig(f"{where}: key `{name}` is missing: {nearest(name, list(row))}")
    found = row[name]
    if not isinstance(found, str) or not found.strip():
        raise BadConfig(f"{where}: `{name}` is {shown(found)}, expected some text")
    return found


def obtained_of(row: Mapping[str, Any], where: str) -> Obtained:
    """How the trainer says that a held-out row was obtained; users' own rows say nothing.

    Raises:
        BadConfig: it says what cannot be.
    """
    if row.get("source") != "logs":
        return Obtained()
    for name, (kinds, wanted) in OBTAINED.items():
        if row.get(name) is not None and not isinstance(row[name], kinds):
            raise BadConfig(f"{where}: `{name}` is {shown(row[name])}, expected {wanted}")
    propensity = row.get("propensity")
    if propensity is not None and not 0 < propensity <= 1:
        raise BadConfig(f"{where}: `propensity` is {propensity}, expected above 0, and 1 at most")
    return Obtained(row.get("time") or 0, True, row.get("word"), propensity, row.get("heard_right"))


OBTAINED: Mapping[str, tuple[type | tuple[type, ...], str]] = {
    "time": (int, "ms since 1970"),
    "word": (str, "a kind of feedback"),
    "propensity": ((int, float), "a number"),
    "heard_right": (bool, "true or false"),
}


def slices_of(row: Mapping[str, Any], task: Task, where: str) -> dict[str, str]:
    """The slices of a row."""
    given = row.get("slices")
    if given is None:
        known = NOT_SLICES | {task.field}
        further = {name: value for name, value in row.items() if name not in known}
        return {name: value for name, value in further.items() if isinstance(value, str)}
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise BadConfig(f"{where}: `slices` is {shown(given)}, expected names with texts")
    return dict(given)


class Part(BaseModel):
    """What a user writes in YAML; an unknown key is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Text = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Probe:
    """A kind of probe.

    Attributes:
        written: the type of what stands under the kind's name in probes.yaml. Its validators find
            the task in their context as `task`.
        cases: what is asked for what is written. A case's `name` is the kind's, or `KIND:VARIANT`.
    """

    written: Any
    cases: Callable[[Any], Iterable[Case]]


def known(name: str) -> str:
    if name not in PERTURBATIONS:
        raise ValueError(f"is no perturbation: {nearest(name, list(PERTURBATIONS))}")
    return name


class Invariance(Part):
    """Texts whose answer no perturbation may change."""

    perturbations: list[Annotated[str, AfterValidator(known)]] = []
    texts: list[Text] = []


def invariance(read: Invariance) -> Iterator[Case]:
    """Perturbations that leave a text as it is ask nothing."""
    for name in dict.fromkeys(read.perturbations):
        for number, text in enumerate(read.texts, 1):
            changed = PERTURBATIONS[name](text)
            if changed != text:
                told = f"i-{number}-{name}"
                yield Case("probe", f"invariance:{name}", told, changed, same_as=text)


PROBE_KINDS: dict[str, Probe] = {"invariance": Probe(Invariance, invariance)}
"""Kinds of probe that any task may have, by name. Those of classification, minimum and directional,
are its own. The three are CheckList's (Ribeiro et al. 2020)."""


def probes(path: Path, task: Task) -> tuple[Case, ...]:
    """The cases of probes.yaml.

    Raises:
        BadConfig: see `frozen`.
    """
    kinds = {**task.probes, **PROBE_KINDS}
    fields: dict[str, Any] = {name: (probe.written | None, None) for name, probe in kinds.items()}
    whole = create_model("ProbesYaml", __base__=Part, **fields)
    read = yaml_problems.read(text_of(path), str(path), whole, {"task": task})
    written = {name: getattr(read, name) for name in kinds}
    return tuple(
        case
        for name, part in written.items()
        if part is not None
        for case in kinds[name].cases(part)
    )

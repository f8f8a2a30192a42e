"""The model repo: what a user keeps in git. `model.yaml` declares everything, `evals/` holds the
suites. Services read it by content hash from the artifact store.

Every key is typed and documented here; an unknown key or a bad value is refused with its line, the
value and the nearest valid one. The suites are checked along with it: a broken one would otherwise
be found only after a training.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

from driftgate import provable, signals, suites, yaml_problems
from driftgate.errors import BadConfig, nearest
from driftgate.events import HOUR_MS
from driftgate.feedback_profiles import Counted, Profile, counted, silence_is_right
from driftgate.repo_file import READ, files_of
from driftgate.slices import ALL
from driftgate.suites import FrozenSuite, Part, Text
from driftgate.tasks import Declared, task_of

if TYPE_CHECKING:  # `driftgate check` stores nothing, and need not wait for the store's import
    from driftgate.artifacts import Artifacts

MODEL_YAML = "model.yaml"
WATCHING = ("monitors", "false_alarms", "triggers")
"""Keys that say what is watched, and what comes of it."""
MAX_FILE_BYTES = 64_000
"""Of a prompt or a schema: it goes with every declaration, and a prompt before each input."""

# Ours, and river's that work on a stream of numbers between 0 and 1.
DetectorName = Literal[
    "e-detector", "ADWIN", "PageHinkley", "DDM", "EDDM", "HDDMA", "HDDMW", "FHDDM"
]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Clock = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
Alpha = Annotated[float, Field(gt=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
SliceName = Annotated[str, Field(pattern=r"^(all|[^=\s]+=.+)$")]


class Base(Part):
    """The frozen pretrained network."""

    name: str = Field(description="all-MiniLM-L6-v2 (built in), a folder, or a hub name")
    sha256: str | None = Field(
        None,
        description="digest of its weights, tokenizer and configuration; another one is refused",
    )


class Dpo(Part):
    """How preferences are learned: an edit is preferred to the answer that it changed. What is not
    named here is as for `sft`."""

    beta: float = Field(0.1, gt=0, description="how dear it is to leave what was learned before")
    sft_weight: float = Field(4.0, ge=0, description="of the loss of all examples")
    epochs: Positive = 3
    learning_rate: float = Field(1e-4, gt=0)
    min_pairs: Positive = Field(50, description="with fewer pairs no preference is learned")


HEAD = "head"
"""The recipe that trains no adapter."""


class Method(Part):
    """How versions are trained. Defaults are those for labels; a task may have others
    (`Task.method`). Recipe `head` looks at the seed and the labels' names alone, so that a model
    goes from one recipe to the other by one word; `auto` chooses one of them at each training
    (`by`)."""

    recipe: str = Field(
        "",
        description="for labels: classifier (an adapter), head (a linear head on the frozen "
        "base, in seconds) or auto (the better of the two); for texts: sft, dpo or sft+dpo",
    )
    kind: Literal["lora", "qlora"] = "lora"
    rank: Positive = 16
    alpha: Positive = 32
    layers: Positive = Field(2, description="how many of the top layers are adapted")
    epochs: Positive = 4
    learning_rate: float = Field(2e-3, gt=0)
    batch_size: Positive = 32
    label_smoothing: Share = 0.05
    label_names: float = Field(
        0.0,
        ge=0,
        le=100,
        description="for labels: what each is called is learned too, as so many examples",
    )
    seed: int = 7
    dpo: Dpo = Dpo()

    @field_validator("kind")
    @classmethod
    def of_an_adapter(cls, kind: str, info: ValidationInfo) -> str:
        if kind == "qlora" and info.data.get("recipe") == HEAD:
            raise ValueError(
                "recipe head trains no adapter, and its base is not quantised: expected lora, or "
                "no `kind`"
            )
        return kind

    def by(self, recipe: str) -> Method:
        """Of a version that this recipe made, which is another one where the recipe chooses."""
        return self.model_copy(update={"recipe": recipe})

    @property
    def name(self) -> str:
        """What events and cards call it, once no recipe has to be chosen any more (`by`)."""
        return HEAD if self.recipe == HEAD else self.kind

    @property
    def settings(self) -> dict[str, Any]:
        """What the recipe looks at."""
        off = set() if "dpo" in self.recipe else {"dpo"}
        off |= set() if self.label_names else {"label_names"}
        used = {"recipe", "seed", "label_names"} if self.recipe == HEAD else None
        return self.model_dump(include=used, exclude=off)


def fitting(method: Method, info: ValidationInfo) -> Method:
    """The method with the task's own defaults for what it does not name."""
    if "task" not in info.data:  # which is refused already
        return method
    task, given = task_of(info.data["task"]), method.model_fields_set
    if "recipe" in given and method.recipe not in task.recipes:
        hint = nearest(method.recipe, list(task.recipes))
        raise ValueError(f"recipe {method.recipe!r} is none of {task.kind}: {hint}")
    if method.label_names and task.outputs is None:
        raise ValueError(
            f"label_names {method.label_names:g}: {task.kind} has no labels whose names could be "
            "learned; expected 0, or no `label_names`"
        )
    defaults = {"recipe": task.recipes[0], **task.method}
    return method.model_copy(update={k: v for k, v in defaults.items() if k not in given})


MaskKind = Literal["email", "phone", "card", "iban", "ip", "key"]


class Mask(Part):
    """What gives way to a placeholder in texts before they are stored."""

    kinds: list[MaskKind] = Field(
        default=list(get_args(MaskKind)), description="kinds of personal data; []: none"
    )
    names: list[Annotated[str, StringConstraints(strip_whitespace=True, min_length=2)]] = Field(
        default=[], max_length=1000, description="names that become [NAME], as whole words"
    )


class Data(Part):
    """What is logged, kept and learned from."""

    recent_days: Positive = Field(56, description="labelled answers of these days are learned from")
    replay_rows: int = Field(
        600, ge=0, description="older examples learned again, so as not to forget"
    )
    max_rows: Positive = Field(2400, description="most examples of one training")
    min_rows: Positive = Field(150, description="fewer labelled answers than this train nothing")
    test_share: Share = Field(0.25, description="share of recent rows held out, by person and time")
    test_rows: int = Field(
        250, ge=0, description="fewer recent ones held out are topped up with older ones"
    )
    orphan_days: Positive = Field(14, description="feedback without an inference is given up after")
    keep_days: Positive = Field(400, description="events older than this are refused, rows removed")
    ahead_hours: Positive = Field(26, description="events further in the future are refused")
    keep_text: bool = Field(True, description="false: only the hash of a text is logged")
    mask: Mask = Mask()
    owner: str = "unknown"
    licence: str = "unknown"
    consent: str = "unknown"


class Feedback(Part):
    """Which answers get feedback, as far as the model's owner knows. Whatever decides asks this."""

    profile: list[Profile] = Field(
        default=["complaints"],
        min_length=1,
        description="how people answer: labels, complaints, corrections, thumbs, edits, review",
    )
    settled_hours: Annotated[float, Field(gt=0)] = Field(
        72, description="who has said nothing by then says nothing"
    )

    @field_validator("profile")
    @classmethod
    def each_once(cls, profile: list[Profile]) -> list[Profile]:
        if len(set(profile)) != len(profile):
            raise ValueError(f"each profile once, but they are {profile}")
        return profile

    @property
    def counted(self) -> Counted | None:
        return counted(self.profile)

    @property
    def silence_is_right(self) -> bool:
        return silence_is_right(self.profile)

    @property
    def settled_ms(self) -> int:
        return round(self.settled_hours * HOUR_MS)


class Review(Part):
    """A random sample of answers that reviewers look at."""

    share: Share = Field(0.0, description="of requests, whatever was answered")
    twice: Share = Field(0.1, description="share of the sample that two reviewers look at")
    days: Positive = Field(14, description="older requests are asked no more")
    instructions: str = Field("1", description="version of the instructions for reviewers")


class Monitor(Part):
    """One watched signal. `value` says what of it, by a name in `driftgate.signals`, by one of the
    task's own, or for input by that of a feature."""

    name: Text
    signal: signals.About
    value: str
    slices: list[SliceName] = Field(default=[ALL])
    detector: DetectorName = Field(
        "e-detector", description="e-detector, or ADWIN, PageHinkley … of river"
    )
    tolerance: Share = Field(
        signals.TOLERANCE, description="how far the mean may leave its reference"
    )
    false_alarms_per_million: float = Field(
        50.0, gt=0, description="answers; where the model states no budget in `false_alarms`"
    )
    both_sides: bool = Field(
        False, description="whether a fall is watched beside a rise: of a share or a feature"
    )
    severity: Literal["warning", "critical"] = Field(
        "critical",
        description="critical alerts may fire a retrain; of what no training mends: warning",
    )


class FalseAlarms(Part):
    """The budget of false alarms of all monitors together: what is to be expected at most while
    nothing changes. A smaller one is noticed later (docs/drift.md)."""

    per_million: float | None = Field(None, gt=0, description="answers")
    per_quarter: float | None = Field(None, gt=0, description="whatever the traffic")

    @model_validator(mode="after")
    def one(self) -> FalseAlarms:
        if (self.per_million is None) == (self.per_quarter is None):
            raise ValueError("needs one of per_million and per_quarter")
        return self


def watchable(monitor: Monitor, info: ValidationInfo) -> Monitor:
    """A monitor of what the task has signals for, with the signal's own defaults for what it does
    not name."""
    if "task" not in info.data:  # which is refused already
        return monitor
    task, given = task_of(info.data["task"]), monitor.model_fields_set
    if wrong := signals.mistaken(monitor.value, monitor.signal, task):
        raise ValueError(wrong)
    signal, *_ = signals.streams(monitor.value, task)
    if monitor.both_sides and not signal.both_sides:
        raise ValueError(
            f"both_sides is true: expected false, since it is for shares and features, and "
            f"{monitor.value} is none"
        )
    if not signal.retrains and "severity" in given and monitor.severity == "critical":
        raise ValueError(
            f"severity is critical: expected warning, since {monitor.value} may only warn and "
            "never asks for a new version"
        )
    severity = monitor.severity if signal.retrains else "warning"
    defaults = {"tolerance": signal.tolerance, "severity": severity}
    return monitor.model_copy(update={k: v for k, v in defaults.items() if k not in given})


class Drift(Part):
    enabled: bool = True
    batch_days: Annotated[float, Field(ge=0)] = Field(
        1, description="incidents that open within this time make one request"
    )
    cooldown_days: Annotated[float, Field(ge=0)] = Field(
        14, description="time between two requests, but for those of a cadence"
    )


class Blackout(Part):
    """Hours in which no stage of a rollout begins, or nothing is asked for. What an operator says,
    and a roll-back, are always allowed."""

    days: list[Weekday] = Field(default=list(get_args(Weekday)), description="on which they begin")
    begin: Clock = Field(description="hh:mm")
    end: Clock = Field(description="hh:mm; at or before `begin`: of the next day")
    zone: str = Field("UTC", description="IANA name, such as Europe/Berlin")

    @field_validator("zone")
    @classmethod
    def known(cls, zone: str) -> str:
        if zone not in available_timezones():
            raise ValueError(f"is no time zone: {nearest(zone, sorted(available_timezones()))}")
        return zone


def real_day(day: str) -> str:
    """A day of a leap year, as month-day."""
    try:
        date.fromisoformat(f"2024-{day}")
    except ValueError:
        raise ValueError("is no day of the year: expected mm-dd, such as 11-15") from None
    return day


MonthDay = Annotated[str, Field(pattern=r"^\d\d-\d\d$"), AfterValidator(real_day)]


class Season(Part):
    """Days of each year on which the world differs and comes back, such as Christmas. UTC."""

    name: Text
    begin: MonthDay = Field(
        validation_alias=AliasChoices("begin", "from"), description="first day, mm-dd"
    )
    end: MonthDay = Field(
        validation_alias=AliasChoices("end", "to"),
        description="last day, mm-dd; before `begin`: of the next year",
    )
    prefer: Literal["wait", "train"] = Field(
        "wait", description="wait: drift that began in the season asks when it is over"
    )


class Budget(Part):
    """What the system may spend of its own accord in a calendar month, UTC. Whatever was asked for
    in the month counts, also by an operator, but for drills."""

    runs: Positive | None = Field(None, description="requests a month; null: any number")
    hours: Annotated[float, Field(gt=0)] | None = Field(
        None, description="of training a month, as trained versions tell; null: any number"
    )


def one_cron(cron: str) -> str:
    """A cron expression of five fields that is due some day."""
    from croniter import croniter  # only who uses it needs it

    wanted = "expected minute, hour, day, month and weekday, such as '0 6 * * 1': Mondays at 6"
    if len(cron.split()) != 5:
        raise ValueError(f"has not five fields: {wanted}")
    try:
        croniter(cron, datetime(2024, 1, 1, tzinfo=UTC)).get_next()
    except ValueError as error:
        raise ValueError(f"is never due ({error}): {wanted}") from None
    return cron


ENOUGH = 10
"""Pairs of a new label, or of a new source, by `true`."""


def enough(value: object) -> object:
    """`true` as a number, `false` as none."""
    if isinstance(value, bool):
        return ENOUGH if value else None
    return value


Few = Annotated[int, Field(ge=1, le=1000)]
Enough = Annotated[Few | None, BeforeValidator(enough)]
"""So many pairs, or true: `ENOUGH`."""


class Triggers(Part):
    """What asks for a new version. A pair is an answer with what somebody says should have been
    answered: a label or an edit."""

    drift: Drift = Drift()
    cadence_days: Positive | None = Field(None, description="also every so many days; null: never")
    cron: Annotated[str, AfterValidator(one_cron)] | None = Field(
        None, description="also at these times, UTC: such as '0 6 * * 1', Mondays at 6; null: never"
    )
    new_pairs: Annotated[int, Field(ge=1, le=10_000)] | None = Field(
        None, description="also after so many pairs since the last request; null: never"
    )
    new_label: Enough = Field(
        None,
        description="also after so many pairs with a label that the champion never answers; "
        f"true: {ENOUGH}",
    )
    new_source: Enough = Field(
        None,
        description="also after so many pairs of a value, not there before, of a slice that "
        f"`monitors` or `gate.protected` name; true: {ENOUGH}",
    )
    score_drop: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None,
        description="also when the champion's accuracy on new held-out cases lies so much, "
        "relative, below its best: 0.05",
    )
    budget: Budget = Budget()
    quiet: list[Blackout] = Field(
        default=[], description="hours in which nothing is asked for but by an operator"
    )
    seasons: list[Season] = Field(default=[], description="days of each year that are special")

    learned_seasons: Literal["wait", "train"] = Field(
        "train",
        description="wait: drift like one that passed by itself a year before, on the same days, "
        "asks when they are over; train: that is only told",
    )

    @field_validator("seasons")
    @classmethod
    def seasons_differ(cls, seasons: list[Season]) -> list[Season]:
        names = [season.name for season in seasons]
        if len(set(names)) != len(names):
            raise ValueError(f"seasons need different names, but are {names}")
        return seasons


class SliceBar(Part):
    """The bar of a protected slice."""

    min_accuracy: Share = 0.0
    margin: Share = Field(0.05, description="how much worse than the champion it may be")


class Regression(Part):
    min_accuracy: Share = 0.9
    margin: Share = 0.05


class Probes(Part):
    min_pass: Share = 0.85


class Gate(Part):
    """What a candidate must reach."""

    min_accuracy: Share = Field(description="on held-out cases; also the line drawn in reports")
    margin: Share = Field(0.02, description="how much worse than the champion it may be")
    alpha: Share = Field(0.05, description="chance of blocking a candidate that harms no slice")
    min_cases: Positive = Field(80, description="fewer held-out cases are insufficient evidence")
    protected: dict[SliceName, SliceBar] = Field(default={})
    regression: Regression = Regression()
    probes: Probes = Probes()
    waived: list[FrozenSuite] = Field(
        default=[],
        description="suites that may be without cases; any other without cases is refused",
    )


def days(value: object) -> object:
    """A span such as 30m, 6h or 2d as days; anything else as it is."""
    if not isinstance(value, str) or not (found := SPAN.fullmatch(value)):
        return value
    return float(found[1]) / PER_DAY[found[2]]


SPAN = re.compile(r"(\d+(?:\.\d+)?)([mhd])")
PER_DAY = {"m": 1440, "h": 24, "d": 1}
Days = Annotated[float, Field(ge=0), BeforeValidator(days)]
"""Days, or a span such as 30m, 6h or 2d."""


class Stage(Part):
    """One step of a rollout."""

    name: Text
    percent: Annotated[float, Field(ge=0, le=100)] = Field(description="live traffic, 0: shadow")
    soak: Days = Field(
        1,
        validation_alias=AliasChoices("soak", "soak_days"),
        description="shortest stay: days, or such as 30m, 6h, 2d",
    )
    min_samples: int = Field(
        30,
        ge=0,
        validation_alias=AliasChoices("min_samples", "min_pairs"),
        description="people, or requests of nobody, whose answers tell which version is better",
    )
    approval: bool = Field(False, description="begins when somebody approves: `driftgate approve`")


class Metric(Part):
    """A number beside the outcomes by which a challenger is judged. Where it is worse than `limit`,
    or the champion's `quantile`, the answer counts as bad, and bad answers are compared."""

    name: Text = Field(
        description="latency_ms, tokens, cost, refused, broken, or one that the app sends as "
        "feedback of kind metric"
    )
    better: Literal["lower", "higher"] = "lower"
    quantile: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.95, description="of the champion's answers before the stage, counted from good to bad"
    )
    limit: float | None = Field(
        None, description="what is worse than this is bad; null: the champion's quantile"
    )
    margin: Annotated[float, Field(ge=0)] = Field(
        0.2, description="harm is so much more bad answers, relative: 0.2 is a fifth more"
    )
    on_harm: Literal["roll_back", "warn"] = "warn"


class Rollout(Part):
    """How a version comes to full traffic."""

    stages: list[Stage] = Field(min_length=1)
    margin: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.03, description="how many more bad outcomes an answer the challenger may have, to go on"
    )
    max_ratio: Annotated[float, Field(gt=1)] | None = Field(
        2,
        description="the challenger must have fewer than so many times the champion's bad "
        "outcomes, to go on; null: any number within the margin",
    )
    margin_alpha: Alpha = Field(
        0.05, description="chance of full traffic for a version that is worse than that"
    )
    harm_alpha: Alpha = Field(0.01, description="chance of taking back a version that harms nobody")
    max_days: Annotated[Days, Field(gt=0)] = Field(
        21, description="a stage held longer is given up"
    )
    watch_days: Days = Field(7, description="watched after 100 %")
    hold_back: Annotated[float, Field(ge=0, le=50)] = Field(
        5, description="percent of traffic that stays on the predecessor while it is watched"
    )
    metrics: list[Metric] = Field(default=[], description="numbers to compare beside outcomes")
    max_disagreement: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="share of requests answered otherwise that stops a shadow; null: any"
    )
    approvers: list[str] = Field(default=[], description="who may approve; []: anybody")
    blackout: list[Blackout] = Field(default=[], description="hours in which no stage begins")
    back_off: Days = Field(
        1, description="no rollout so long after a roll-back, twice as long after the next"
    )
    quarantine_days: Annotated[Days, Field(gt=0)] | None = Field(
        None, description="a version taken back may be tried again then; null: never"
    )
    shadow_share: Share = Field(1.0, description="of requests that shadows answer too")
    sticky_by: Literal["subject", "request_id"] = "subject"
    every_router: bool = Field(
        False, description="a router that cannot serve the challenger holds the rollout"
    )
    one_off: bool = Field(
        False, description="version 1 stays a shadow, to show what no refresh costs"
    )

    @field_validator("stages")
    @classmethod
    def rising(cls, stages: list[Stage]) -> list[Stage]:
        shares = [stage.percent for stage in stages]
        if shares != sorted(set(shares)) or shares[-1] != 100:
            raise ValueError(f"percent must rise to 100 from stage to stage, but is {shares}")
        names = [stage.name for stage in stages]
        if len(set(names)) != len(names) or {"idle", "loading"} & set(names):
            raise ValueError(f"names must differ, and not be idle or loading, but are {names}")
        return stages

    @field_validator("metrics")
    @classmethod
    def differ(cls, metrics: list[Metric]) -> list[Metric]:
        names = [metric.name for metric in metrics]
        if len(set(names)) != len(names):
            raise ValueError(f"each metric once, but they are {names}")
        return metrics


class ModelYaml(Part):
    """The whole of model.yaml."""

    model: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", description="name of the model")
    owner: str = "unknown"
    purpose: str = Field("", description="intended use, for the model card")
    out_of_scope: str = Field("", description="what it must not be used for, for the model card")
    task: Declared
    base: Base
    method: Annotated[Method, AfterValidator(fitting)] = Field(Method(), validate_default=True)
    data: Data = Data()
    feedback: Feedback = Feedback()
    review: Review = Review()
    monitors: list[Annotated[Monitor, AfterValidator(watchable)]]
    false_alarms: FalseAlarms | None = Field(
        None, description="of all monitors together; without it each has its own"
    )
    triggers: Triggers = Triggers()
    gate: Gate
    rollout: Rollout
    scope: dict[str, str] = Field(
        default={}, description="slices a request must have to be served, name: value"
    )

    @model_validator(mode="after")
    def reviewed(self) -> ModelYaml:
        if ("review" in self.feedback.profile) != (self.review.share > 0):
            raise ValueError(
                f"`feedback.profile` is {self.feedback.profile} and `review.share` is "
                f"{self.review.share:g}: expected review in the profile and a share above 0, or "
                "neither"
            )
        return self

    @model_validator(mode="after")
    def labels_are_closed(self) -> ModelYaml:
        if self.triggers.new_label and task_of(self.task).outputs is None:
            raise ValueError(
                f"`triggers.new_label` is {self.triggers.new_label}, and the task has no labels: "
                "expected null"
            )
        return self

    @model_validator(mode="after")
    def new_sources_are_named(self) -> ModelYaml:
        if self.triggers.new_source and not self.slice_names:
            raise ValueError(
                f"`triggers.new_source` is {self.triggers.new_source}, and no slice is named: "
                "expected one such as language=es in `gate.protected` or in a monitor's `slices`"
            )
        return self

    @property
    def slices(self) -> tuple[str, ...]:
        """Those that matter to the owner, such as `language=es`."""
        watched = (name for monitor in self.monitors for name in monitor.slices)
        return tuple(sorted({name for name in (*watched, *self.gate.protected) if "=" in name}))

    @property
    def slice_names(self) -> tuple[str, ...]:
        """Their names, without values, such as `language`."""
        return tuple(sorted({name.partition("=")[0] for name in self.slices}))

    @model_validator(mode="after")
    def monitors_differ(self) -> ModelYaml:
        names = [monitor.name for monitor in self.monitors]
        if len(set(names)) != len(names):
            raise ValueError(f"monitors need different names, but are {names}")
        return self

    @model_validator(mode="after")
    def one_budget(self) -> ModelYaml:
        own = [m.name for m in self.monitors if "false_alarms_per_million" in m.model_fields_set]
        if self.false_alarms is not None and own:
            raise ValueError(
                f"`false_alarms` is the budget of all monitors, but {', '.join(own)} has "
                "`false_alarms_per_million` too: expected one of them"
            )
        return self


@dataclass(frozen=True, slots=True)
class ModelRepo:
    """A model repo that was read and checked."""

    config: ModelYaml
    folder: Path
    hash: str = ""


def read(folder: Path) -> ModelRepo:
    """Reads and checks a whole model repo: model.yaml, and the suites in `evals/`.

    Raises:
        BadConfig: a file is missing, or a key, a value or a case is wrong; says which line, what
            stands there, and the nearest valid one. Or a suite is empty that is not waived. Or no
            version could ever come to full traffic.
    """
    repo = declared(folder)
    check_rollout(repo)
    suites.check(folder, task_of(repo.config.task), repo.config.gate.waived)
    return repo


def check_rollout(repo: ModelRepo) -> None:
    """
    Raises:
        BadConfig: see `read`.
    """
    where = repo.folder / MODEL_YAML
    found = list(provable.problems(repo.config))
    if found:
        raw = yaml_problems.mapping(suites.text_of(where), str(where), ModelYaml)
        told = (yaml_problems.line(str(where), raw, *problem) for problem in found)
        raise BadConfig("\n".join(told))


def declared(folder: Path) -> ModelRepo:
    """What model.yaml says. The suites are left as they are.

    Raises:
        BadConfig: see `read`.
    """
    path = folder / MODEL_YAML
    if not path.is_file():
        raise BadConfig(f"{path} is missing: `driftgate init DIR` writes a complete model repo")
    return ModelRepo(parse(suites.text_of(path), str(path), folder), folder)


def parse(text: str, where: str = MODEL_YAML, folder: Path | None = None) -> ModelYaml:
    """The typed content of a model.yaml, and of the files in `folder` that it names.

    Raises:
        BadConfig: see `read`.
    """
    return yaml_problems.read(text, where, ModelYaml, {READ: partial(text_in, folder)})


def is_whole(text: str, where: str) -> bool:
    """Whether a document says which model it is about, and so is a model.yaml.

    Raises:
        BadConfig: it is not YAML.
    """
    return "model" in yaml_problems.mapping(text, where, ModelYaml)


def laid_over(text: str, where: str, folder: Path) -> ModelYaml:
    """The model.yaml of a folder, with what another document says of monitors, budget and triggers
    in the place of its own.

    Raises:
        BadConfig: as `parse`; or it says something else.
    """
    raw = yaml_problems.mapping(text, where, ModelYaml)
    for key in raw:
        if key not in WATCHING:
            wanted = f"a whole model.yaml, or only {', '.join(WATCHING)}"
            raise BadConfig(yaml_problems.line(where, raw, [key], raw[key], wanted))
    under = yaml_problems.mapping(suites.text_of(folder / MODEL_YAML), MODEL_YAML, ModelYaml)
    return yaml_problems.read(
        text, where, ModelYaml, {READ: partial(text_in, folder)}, yaml_problems.plain(under)
    )


def text_in(folder: Path | None, name: str) -> str:
    """What stands in a file of a model repo.

    Raises:
        ValueError: it is not there, not in the repo, too large, no text, or empty.
    """
    if folder is None:
        raise ValueError("expected no file, since there is no folder of a model repo")
    path = folder / name
    try:
        inside = path.resolve().is_relative_to(folder.resolve())
        if not inside or Path(name).is_absolute() or ".." in Path(name).parts:
            raise ValueError("expected a path in the model repo, relative to its folder")
        if not path.is_file():
            raise ValueError(f"is no file, expected one at {path}")
        if (size := path.stat().st_size) > MAX_FILE_BYTES:
            raise ValueError(f"has {size:,} bytes, expected at most {MAX_FILE_BYTES:,}")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot be read as UTF-8 text: {error}") from None
    if not text.strip():
        raise ValueError("is empty, expected some text")
    return text.strip("\n")  # which editors add at the end, and no prompt means


def publish(folder: Path, artifacts: Artifacts) -> tuple[ModelRepo, str]:
    """Checks a model repo and stores it by its content; returns it with its artifact URI."""
    repo = read(folder)
    evals = (path for path in (folder / "evals").rglob("*") if path.is_file())
    files = {folder / MODEL_YAML, *evals, *(folder / name for name in files_of(repo.config))}
    uri = artifacts.put_folder(folder, list(files))
    return ModelRepo(repo.config, folder, uri.partition(":")[2]), uri


def fetch(uri: str, artifacts: Artifacts, cache: Path) -> ModelRepo:
    """The model repo of an artifact URI. Its suites were checked when it was published, by the
    rules of that time, which must not stop a service now.

    Raises:
        BadConfig: its model.yaml cannot be used.
        Corrupt: see `Artifacts.get_folder`.
    """
    folder = artifacts.get_folder(uri, cache)
    return ModelRepo(declared(folder).config, folder, uri.partition(":")[2])

"""The feedback that a world is played with: profiles by name, mixes of them, and what a model repo
has to declare for them. Pure, except for a mix that is read from a file.

A name is one of `BY_NAME` (`edits` for texts alone), or `review`: users say nothing, reviewers look
at the random sample. A mix is several names with commas between them, or a YAML file with what
differs from each:

    complaints: {share: 0.5, share_right: 0.1}
    thumbs: {}
    review: {share: 0.05}

Its profiles are independent: one answer may be rated by one person and corrected by another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from driftgate.errors import BadConfig, nearest, shown
from driftgate.feedback_profiles import Profile
from driftgate.model_repo import MODEL_YAML, Feedback, ModelYaml, Review
from services.simulator.feedback_model import FeedbackProfile

REVIEW, EDITS = "review", "edits"
COMPLAINTS = FeedbackProfile(share_right=0.2, praise=0.5, name="complaints")
BY_NAME: Mapping[str, FeedbackProfile] = {
    profile.name: profile
    for profile in (
        FeedbackProfile(name="labels"),
        COMPLAINTS,
        FeedbackProfile(share_right=0.0, name="corrections"),
        FeedbackProfile(share=0.1, thumbs=True, name="thumbs"),
        FeedbackProfile(delay_hours=7 * 24, longest_days=21, name="late"),
        replace(COMPLAINTS, people=50, name="loud-users"),
        FeedbackProfile(share=0.9, share_right=0.0, name="edits"),
    )
}
NAMES = (*(name for name in BY_NAME if name != EDITS), REVIEW)
NAMES_OF_TEXTS = (*BY_NAME, REVIEW)
# Profiles that are another one to whoever declares a model.
DECLARED_AS: Mapping[str, Profile] = {"late": "labels", "loud-users": "complaints"}
NUMBERS = [one.name for one in fields(FeedbackProfile) if one.name not in {"name", "thumbs"}]
REVIEW_SHARE = 0.03
# Models that write have less traffic in demos: what ten answers a day tell comes from the sample.
WRITTEN_REVIEW_SHARE = 0.3
# After so many times the mean delay 98 % of those who say something have done so.
SETTLED = 4


@dataclass(frozen=True, slots=True)
class Mix:
    """What users say, and the sample that reviewers look at; None: there are no reviewers."""

    users: tuple[FeedbackProfile, ...]
    review: Review | None = None

    @property
    def name(self) -> str:
        reviewers = [REVIEW] if self.review else []
        return ", ".join([*(profile.name for profile in self.users), *reviewers])

    @property
    def words(self) -> str:
        """For people."""
        reviewers = [f"review: {self.review.share:.1%} of all answers"] if self.review else []
        return "; ".join([*(profile.words for profile in self.users), *reviewers]) or "none"

    def mean_share(self, accuracy: float) -> float:
        """Share of answers that get a word, where so many are right."""
        silent = 1 - (self.review.share if self.review else 0.0)
        for profile in self.users:
            silent *= 1 - profile.mean_share(accuracy)
        return 1 - silent

    @property
    def declaration(self) -> Feedback:
        """What model.yaml says of it under `feedback`."""
        names: list[Any] = [DECLARED_AS.get(profile.name, profile.name) for profile in self.users]
        if self.review:
            names.append(REVIEW)
        settled = [
            min(SETTLED * profile.delay_hours, profile.longest_days * 24) for profile in self.users
        ]
        usual = Feedback().settled_hours
        return Feedback(profile=list(dict.fromkeys(names)), settled_hours=max([usual, *settled]))


SHIPPED = Mix((COMPLAINTS,), Review(share=REVIEW_SHARE))
WRITTEN = Mix((BY_NAME[EDITS],), Review(share=WRITTEN_REVIEW_SHARE))
"""What demos play, of labels and of texts."""


def mix_of(
    asked: str,
    changed: Mapping[str, float | None] | None = None,
    where: str = "--profile",
    written: bool = False,
) -> Mix:
    """The mix of some names, or of a YAML file.

    Args:
        changed: parameters of all its users' profiles that are others, by the names of
            `FeedbackProfile`; None: as the profile says.
        where: the names stand, for errors.
        written: the world's answers are texts, which people edit.

    Raises:
        BadConfig: a name or a parameter is unknown or impossible; says which are valid.
    """
    if asked.endswith((".yaml", ".yml")):
        wanted, where = in_file(Path(asked)), asked
    else:
        wanted = dict.fromkeys(map(str.strip, asked.split(",")))
    given = {name: value for name, value in (changed or {}).items() if value is not None}
    users, review = [], None
    for name, differs in wanted.items():
        known(name, where, written)
        own = parameters(name, differs, where)
        if name == REVIEW:
            review = sample(own, where, written)
        else:
            users.append(replace(BY_NAME[name], **(own | given)))
    return Mix(tuple(users), review)


def in_file(path: Path) -> dict[str, Any]:
    """Raises: BadConfig."""
    try:
        found = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise BadConfig(f"{path}: {error}") from None
    if not isinstance(found, dict) or not found:
        raise BadConfig(f"{path}: got {shown(found)}, expected profiles such as `complaints:`")
    return {str(name): differs for name, differs in found.items()}


def known(name: str, where: str, written: bool) -> None:
    """Raises: BadConfig."""
    if name == EDITS and not written:
        raise BadConfig(
            f"{where}: profile 'edits' belongs to generated text, and the model of this world "
            f"answers with labels, which nobody edits: choose among {', '.join(NAMES)}"
        )
    valid = NAMES_OF_TEXTS if written else NAMES
    if name not in valid:
        raise BadConfig(f"{where}: profile {shown(name)}: {nearest(name, list(valid))}")


def parameters(name: str, differs: Any, where: str) -> dict[str, Any]:
    """Raises: BadConfig."""
    if not isinstance(differs or {}, dict):
        raise BadConfig(f"{where}: `{name}` is {shown(differs)}, expected such as {{share: 0.5}}")
    valid = ["share", "twice"] if name == REVIEW else NUMBERS
    for parameter, value in (differs or {}).items():
        if parameter not in valid:
            raise BadConfig(
                f"{where}: `{name}.{parameter}` is unknown: {nearest(str(parameter), valid)}"
            )
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise BadConfig(f"{where}: `{name}.{parameter}` is {shown(value)}, expected a number")
    return dict(differs or {})


def sample(own: dict[str, Any], where: str, written: bool) -> Review:
    """Raises: BadConfig."""
    try:
        share = WRITTEN_REVIEW_SHARE if written else REVIEW_SHARE
        found = Review(**({"share": share} | own))
    except ValidationError as error:
        first = error.errors()[0]
        said = f"`{REVIEW}.{first['loc'][0]}` is {shown(first['input'])}"
        raise BadConfig(f"{where}: {said}, expected 0 to 1") from None
    if not found.share:
        raise BadConfig(f"{where}: `{REVIEW}.share` is 0, expected above 0, or leave {REVIEW} out")
    return found


def on(config: ModelYaml, mix: Mix) -> Mix:
    """The mix as it is played on a model repo: reviewers look at the sample that this declares.

    Raises:
        BadConfig: the mix has reviewers, and the repo no sample.
    """
    sample = config.review if config.review.share else None
    if mix.review and not sample:
        raise BadConfig(
            f"profile {mix.name}: `review.share` of model {config.model} is 0, and nobody would "
            "review: declare a share and review in `feedback.profile`"
        )
    return replace(mix, review=sample)


def differences(mix: Mix, says: Feedback) -> list[str]:
    """Where a model repo declares something else than what is played, in words."""
    plays = mix.declaration
    found = []
    if set(plays.profile) != set(says.profile):
        found.append(
            f"model.yaml declares {', '.join(says.profile)}, and {', '.join(plays.profile)} is "
            "played"
        )
    if plays.settled_hours > says.settled_hours:
        found.append(
            f"model.yaml declares that who has said nothing after {says.settled_hours:g} h says "
            f"nothing, and in what is played that takes {plays.settled_hours:g} h"
        )
    return found


def declare(repo: Path, mix: Mix) -> None:
    """Writes into the model.yaml of a repo what the mix is declared as; comments stay."""
    model_yaml = repo / MODEL_YAML
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    document = yaml.load(model_yaml.read_text(encoding="utf-8"))
    review = mix.review.model_dump(include={"share", "twice"}) if mix.review else {"share": 0.0}
    for part, says in (("feedback", mix.declaration.model_dump()), ("review", review)):
        document.setdefault(part, {}).update(says)
    with model_yaml.open("w", encoding="utf-8") as file:
        yaml.dump(document, file)

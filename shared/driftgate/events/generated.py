"""A class for each Avro record in schemas/. Made by `make events`: do not edit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal

from driftgate.events.record import AvroRecord

# live: the app got this answer; shadow: nobody did.
Role = Literal["live", "shadow"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference(AvroRecord):
    """One answer of one version to one request. Shadow versions answer the same request without
    being heard.

    Attributes:
        request_id: Id of the request, chosen by the app or the router; unique for ever.
        model: Name of the model, as in its model.yaml.
        version: Version that answered, the number after the @.
        digest: SHA-256 of the adapter that computed the answer, hex; empty when the app does not
            know it.
        base: Base of the version that answered, as named in model.yaml; empty when the app does not
            know it.
        base_digest: SHA-256 of that base, hex; empty when the app does not know it.
        task: Task kind: what the version answers with.
        role: Whether the app got this answer.
        input: The text that was asked; null when only its hash may be kept.
        input_hash: SHA-256 of the UTF-8 text, hex.
        features: Numbers about the input that monitors may watch, such as words and similarity.
        slices: Named parts of traffic that this request belongs to, such as language: es.
        output: The answer; for a classifier its label.
        confidence: Probability that the model gives its answer, 0 to 1; null when it has none.
        latency_ms: Time from request to answer inside the server, milliseconds.
        tokens: Tokens read and written.
        cost: Cost of the answer in the currency that the model repo states.
        subject: The person or account that the text is about; null when there is none.
        epoch: Epoch of the routing record that chose the version; 0 when no router did.
        propensity: Probability with which routing chose this version for a live answer, 0 to 1.
        refused: Whether the version declined to answer.
        broken: Whether the output has not the format that the task asks for.
        tokens_in: Tokens read, those of the prompt included; 0 when not counted apart.
        tokens_out: Tokens written; 0 when not counted apart.
        finish_reason: Why a written answer ended: stop, length, or cancelled where the client went
            away; empty for other kinds.
        first_token_ms: Time from request to the first token of the answer inside the server,
            milliseconds.
        logprob: Mean natural log-probability of the tokens that were written, 0 or below; null when
            not known.
        prompt: SHA-256 of the system prompt and template that the version was given, hex: the
            version of the prompt; empty for kinds that have none.
        time: When the request was made. Milliseconds since 1970-01-01 UTC.
    """

    TOPIC: ClassVar[str] = "inferences"

    request_id: str
    model: str
    version: int
    digest: str = ""
    base: str = ""
    base_digest: str = ""
    task: str = "text-classification"
    role: Role = "live"
    input: str | None = None
    input_hash: str
    features: Mapping[str, float] = field(default_factory=dict)
    slices: Mapping[str, str] = field(default_factory=dict)
    output: str
    confidence: float | None = None
    latency_ms: float = 0.0
    tokens: int = 0
    cost: float = 0.0
    subject: str | None = None
    epoch: int = 0
    propensity: float = 1.0
    refused: bool = False
    broken: bool = False
    tokens_in: int = 0
    tokens_out: int = 0
    finish_reason: str = ""
    first_token_ms: float | None = None
    logprob: float | None = None
    prompt: str = ""
    time: int


# rating: a number; correction: the right label by a user; edit: a better response; review: the
# label by a reviewer; metric: a number that the app measures; retraction: what was said before does
# not hold.
FeedbackKind = Literal["rating", "correction", "edit", "review", "metric", "retraction"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback(AvroRecord):
    """What a person or a check made of one answer.

    Attributes:
        feedback_id: Id of this feedback; the same id twice is the same feedback.
        request_id: Request that it is about.
        model: Name of the model, as in its model.yaml.
        kind: What sort of feedback this is.
        rating: Rating from 0 (bad) to 1 (good); for kind rating.
        label: The right label; for kind correction and review.
        edited: The response as it should have been; for kind edit.
        reason: Why, in the words of who gave it.
        reviewer: Who reviewed; null for end users.
        propensity: For kind review: chance with which the review sample drew the request, above 0
            to 1. Null: nobody drew it at random.
        picked: For kind review: why the request was picked for its value, such as disagreement.
            Such a review is learned from and enters no estimate. Null: it was drawn at random.
        instructions: For kind review: version of the instructions that the reviewer followed.
        metric: For kind metric: name of the number, as model.yaml declares it under
            rollout.metrics.
        value: For kind metric: the number.
        retracts: For kind retraction: feedback_id of what is withdrawn. Null: all that this
            reviewer, or the users where there is none, said of the request before.
        time: When the feedback was given. Milliseconds since 1970-01-01 UTC.
    """

    TOPIC: ClassVar[str] = "feedback"

    feedback_id: str
    request_id: str
    model: str
    kind: FeedbackKind
    rating: float | None = None
    label: str | None = None
    edited: str | None = None
    reason: str | None = None
    reviewer: str | None = None
    propensity: float | None = None
    picked: str | None = None
    instructions: str | None = None
    metric: str | None = None
    value: float | None = None
    retracts: str | None = None
    time: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(AvroRecord):
    """A feedback joined to the live inference that it is about.

    Attributes:
        outcome_id: The feedback_id; the same id twice is the same outcome.
        request_id: Request that it is about.
        model: Name of the model, as in its model.yaml.
        version: Version that gave the live answer.
        slices: Slices of the inference.
        output: The live answer.
        confidence: Confidence of the live answer.
        kind: What sort of feedback this is.
        label: The right label, when the feedback tells it.
        rating: Rating from 0 to 1, when the feedback tells it.
        edited: The better response, when the feedback tells it.
        was_correct: Whether the answer was right: output = label, or rating above or below 0.5;
            null when the feedback does not tell, as a rating of 0.5 does not.
        inference_time: When the request was made. Milliseconds since 1970-01-01 UTC.
        feedback_time: When the feedback was given. Milliseconds since 1970-01-01 UTC.
        reviewer: As in Feedback.
        propensity: For kind review: chance with which the review sample drew the request, above 0
            to 1. Null: nobody drew it at random.
        picked: For kind review: why the request was picked for its value, such as disagreement.
            Such a review is learned from and enters no estimate. Null: it was drawn at random.
        instructions: For kind review: version of the instructions that the reviewer followed.
        metric: As in Feedback.
        value: As in Feedback.
        retracts: As in Feedback.
        subject: Subject of the inference, as it is stored; null when there is none.
        heard: Chance with which routing chose the version that gave the live answer, 0 to 1.
        edit_distance: How far the edit lies from the live answer: normalised edit distance, 0
            (equal) to 1; null without an edit.
        changed: Fields of a JSON answer that the edit changed, by path: added, removed or changed.
        time: The later of the two: when the outcome could first be known. Milliseconds since
            1970-01-01 UTC.
    """

    TOPIC: ClassVar[str] = "outcomes"

    outcome_id: str
    request_id: str
    model: str
    version: int
    slices: Mapping[str, str] = field(default_factory=dict)
    output: str
    confidence: float | None = None
    kind: FeedbackKind
    label: str | None = None
    rating: float | None = None
    edited: str | None = None
    was_correct: bool | None = None
    inference_time: int
    feedback_time: int
    reviewer: str | None = None
    propensity: float | None = None
    picked: str | None = None
    instructions: str | None = None
    metric: str | None = None
    value: float | None = None
    retracts: str | None = None
    subject: str | None = None
    heard: float = 1.0
    edit_distance: float | None = None
    changed: Mapping[str, str] = field(default_factory=dict)
    time: int


# quality: wrong answers; output: shares of answers and their confidence; input: features of the
# text; operation: latency, cost and errors, which no training mends.
Signal = Literal["quality", "output", "input", "operation"]
# critical: may fire a retrain; warning: is only told.
Severity = Literal["warning", "critical"]
# open: something changed; update: more of it is known; close: it is over, or the version is
# replaced; reopen: it came back.
Transition = Literal["open", "update", "close", "reopen"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftAlert(AvroRecord):
    """One step of an incident: what left its reference, since when, and what follows.

    Attributes:
        alert_id: Id of the step: of the incident, and what made it.
        model: Name of the model, as in its model.yaml.
        version: Version that was live.
        monitor: The monitor whose evidence made this step.
        signal: What is watched.
        slice: Slice of that evidence, as name=value, or all.
        detector: Detector that fired.
        statistic: Evidence of that stream; 1 is its alarm level. Of alerts without an incident: the
            statistic of the detector.
        threshold: Value at which it alarms.
        events: Numbers that the stream was given since the change.
        window_start: Best date of the change, by the time of the answers. Milliseconds since
            1970-01-01 UTC.
        window_end: When the evidence was complete. Milliseconds since 1970-01-01 UTC.
        severity: How much it matters.
        evidence: Numbers behind it, such as reference, tolerance and recent mean.
        time: When it fired. Milliseconds since 1970-01-01 UTC.
        incident_id: The incident that this is a step of; empty in alerts of older releases.
        transition: Which step.
        since_earliest: Earliest likely date of the change; 0: not known. Milliseconds since
            1970-01-01 UTC.
        since_latest: Latest likely date of the change; 0: not known. Milliseconds since 1970-01-01
            UTC.
        streams: All streams of the incident that have alarmed.
        examples: Request ids of a few answers that show it.
        cause: Likely class of cause, in a word or two.
        action: What the loop does about it.
        advice: What people may do about it.
        summary: For people, with numbers in words.
    """

    TOPIC: ClassVar[str] = "drift.alerts"

    alert_id: str
    model: str
    version: int
    monitor: str
    signal: Signal
    slice: str
    detector: str
    statistic: float
    threshold: float
    events: int
    window_start: int
    window_end: int
    severity: Severity
    evidence: Mapping[str, float] = field(default_factory=dict)
    time: int
    incident_id: str = ""
    transition: Transition = "open"
    since_earliest: int = 0
    since_latest: int = 0
    streams: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    cause: str = ""
    action: str = ""
    advice: str = ""
    summary: str = ""


# Why a version is wanted. drift, accuracy: open incidents, the latter about accuracy below the
# gate's bar; score: the champion scores less on new held-out cases than it did; new_pairs,
# new_label, new_source: enough of what nothing was learned from yet.
RetrainReason = Literal[
    "launch",
    "drift",
    "cadence",
    "operator",
    "erasure",
    "accuracy",
    "score",
    "new_pairs",
    "new_label",
    "new_source",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Champion(AvroRecord):
    """The version at full traffic, as the routing named it.

    Attributes:
        version: Version number.
        digest: SHA-256 of its adapter, hex.
        adapter_uri: Artifact folder of its adapter.
        base: Base that the adapter was trained on, as named in model.yaml.
        base_digest: SHA-256 of that base, hex.
        task: Task kind: what the version answers with.
    """

    version: int
    digest: str
    adapter_uri: str
    base: str
    base_digest: str
    task: str = "text-classification"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainRequest(AvroRecord):
    """Train a new version of this model.

    Attributes:
        retrain_id: Id of the request; the same id twice is the same request.
        model: Name of the model, as in its model.yaml.
        reason: Why a version is wanted.
        since: Since when the world has moved, as far as is known. Milliseconds since 1970-01-01
            UTC.
        focus_slices: Slices that drifted, as name=value.
        exclusions: Request ids that must not be learned from.
        alerts: Ids of the incidents behind it; in requests of older releases, of alerts.
        seed_uri: Artifact with labelled examples to learn from besides the logs; null for none.
        drill: A fault rehearsed on purpose, such as shuffle-labels:language=es; null in earnest.
        actor: Service or person that asked.
        words: The reason in words, for people.
        epoch: Epoch of the routing that the request was made under; 0 before the first release.
        champion: Champion in that routing; null before the first release.
        time: When it was asked; the data end here. Milliseconds since 1970-01-01 UTC.
    """

    TOPIC: ClassVar[str] = "retrain.requests"

    retrain_id: str
    model: str
    reason: RetrainReason
    since: int | None = None
    focus_slices: tuple[str, ...] = ()
    exclusions: tuple[str, ...] = ()
    alerts: tuple[str, ...] = ()
    seed_uri: str | None = None
    drill: str | None = None
    actor: str = ""
    words: str = ""
    epoch: int = 0
    champion: Champion | None = None
    time: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate(AvroRecord):
    """A version was trained and may be judged.

    Attributes:
        retrain_id: Request that it answers.
        model: Name of the model, as in its model.yaml.
        version: Number of the new version.
        parent: Version that was champion when it was trained; null for the first.
        adapter_uri: Artifact folder of the adapter.
        adapter_digest: SHA-256 of that folder's content, hex.
        base: Base as named in model.yaml.
        base_digest: SHA-256 of the base's weights, hex.
        method: lora or qlora.
        dataset_id: SHA-256 of the dataset's content, hex.
        dataset_uri: Artifact folder of the dataset and its card.
        model_card_uri: Artifact of the model card.
        run_uri: Artifact of the run manifest.
        repo_hash: Content hash of the model repo that it was trained under.
        reason: Reason of the retrain request.
        drill: Fault rehearsed on purpose; null in earnest.
        train_rows: Rows learned from.
        test_rows: Rows held out for the task layer.
        train_seconds: Wall time of the training, seconds.
        task: Task kind: what the version answers with.
        epoch: Epoch of the routing that the request was made under; 0 before the first release.
        champion: Champion in that routing; null before the first release.
        time: When the data of its request end. Milliseconds since 1970-01-01 UTC.
    """

    TOPIC: ClassVar[str] = "candidates"

    retrain_id: str
    model: str
    version: int
    parent: int | None = None
    adapter_uri: str
    adapter_digest: str
    base: str
    base_digest: str
    method: str
    dataset_id: str
    dataset_uri: str
    model_card_uri: str
    run_uri: str
    repo_hash: str
    reason: str
    drill: str | None = None
    train_rows: int = 0
    test_rows: int = 0
    train_seconds: float = 0.0
    task: str = "text-classification"
    epoch: int = 0
    champion: Champion | None = None
    time: int


# insufficient: too few cases to tell; treated as fail by the promoter.
Result = Literal["pass", "fail", "insufficient"]
# Layer of the harness.
Layer = Literal["task", "regression", "probe"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis(AvroRecord):
    """One judged number.

    Attributes:
        layer: Layer of the harness.
        name: What is measured, such as accuracy or invariance:typo.
        slice: Slice, as name=value, or all.
        cases: Cases behind it.
        value: The candidate's value, 0 to 1.
        low: Lower end of its 95 % interval.
        high: Upper end of its 95 % interval.
        champion: The champion's value on the same cases; null without a champion.
        difference: Candidate less champion, paired; null without a champion.
        p_value: P-value of harm (the candidate is worse), when tested.
        threshold: What the value had to reach; null when it is only told.
        passed: Whether this axis lets the candidate pass.
        words: The axis in words, for people.
    """

    layer: Layer
    name: str
    slice: str
    cases: int
    value: float
    low: float
    high: float
    champion: float | None = None
    difference: float | None = None
    p_value: float | None = None
    threshold: float | None = None
    passed: bool
    words: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict(AvroRecord):
    """What the harness found of a candidate.

    Attributes:
        verdict_id: Id: model, version and hash of the suite and gate.
        model: Name of the model, as in its model.yaml.
        version: Version that was judged.
        retrain_id: Request that it answers.
        adapter_digest: SHA-256 of the adapter that was judged, hex.
        adapter_uri: Artifact folder of the adapter.
        base: Base of the version that was judged, as named in model.yaml; empty in records of
            version 1.
        base_digest: SHA-256 of that base, hex; empty in records of version 1.
        task: Task kind: what the version answers with.
        champion: Version that it was paired with; null for a first release.
        result: The verdict.
        axes: Every number that was judged.
        reference: Reference for monitors, measured on held-out cases: error, error|slice,
            share|label, and so on.
        repo_hash: Content hash of the model repo with the gate.
        report_uri: Artifact of the full report.
        words: The verdict in words, for people.
        time: When the data of its request end. Milliseconds since 1970-01-01 UTC.
    """

    TOPIC: ClassVar[str] = "verdicts"

    verdict_id: str
    model: str
    version: int
    retrain_id: str
    adapter_digest: str
    adapter_uri: str
    base: str = ""
    base_digest: str = ""
    task: str = "text-classification"
    champion: int | None = None
    result: Result
    axes: tuple[Axis, ...]
    reference: Mapping[str, float] = field(default_factory=dict)
    repo_hash: str
    report_uri: str
    words: str
    time: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout(AvroRecord):
    """State of a model's rollout machine; the newest record of a key is the state.

    Attributes:
        model: Name of the model, as in its model.yaml.
        epoch: Grows by one with every change of who answers or how; an older one is refused. Two
            records of one epoch differ in `handled` and `waiting` alone.
        champion: Version at full traffic; null before the first release.
        challenger: Version being tried; null when none is.
        stage: idle, loading, or the name of the stage in model.yaml.
        previous: Version to take back to.
        since: When the stage began. Milliseconds since 1970-01-01 UTC.
        paused: Whether an operator holds it.
        quarantined: Digests of adapters that were taken back and are not tried again.
        versions: Each passed version that is still of use, by number, as JSON: digest, uri, base,
            base_digest, task, repo_hash. Records of version 1 have digest and uri alone.
        repo_hash: Content hash of the model repo in force.
        words: Why it is in this state, for people.
        handled: Verdicts and commands that were decided last, whatever came of them, oldest first:
            the first 8 characters of the SHA-256 of each id, base64url. One that comes again
            changes nothing. Records of version 2 have whole ids, of those alone that changed the
            state.
        waiting: The version that passed while a new champion was watched or an operator held the
            rollout, as JSON: version, champion that it was compared with, verdict_id, release as in
            `versions`. Empty: none waits.
        salt: Mixed into the bucket of a sticky key, another one for each rollout, so that not the
            same people get every challenger. Empty in records of before: the model's name.
        approved: Stages of the rollout that is on which somebody approved.
        quarantine_ends: When a digest among `quarantined` may be tried again, ms; one that is not
            named here never may.
        rollbacks: Versions that were taken back for harm since one last became champion and stayed
            it.
        back_off_until: No rollout begins before. Milliseconds since 1970-01-01 UTC.
        prompts: By SHA-256 of the model repo of a version, hex: the model repo whose prompt an
            operator put in force for it.
        time: When it changed. Milliseconds since 1970-01-01 UTC.
    """

    TOPIC: ClassVar[str] = "rollouts"

    model: str
    epoch: int
    champion: int | None = None
    challenger: int | None = None
    stage: str
    previous: int | None = None
    since: int
    paused: bool = False
    quarantined: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    repo_hash: str = ""
    words: str = ""
    handled: tuple[str, ...] = ()
    waiting: str = ""
    salt: str = ""
    approved: tuple[str, ...] = ()
    quarantine_ends: Mapping[str, int] = field(default_factory=dict)
    rollbacks: int = 0
    back_off_until: int = 0
    prompts: Mapping[str, str] = field(default_factory=dict)
    time: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt(AvroRecord):
    """The texts around an input.

    Attributes:
        digest: Version of the prompt: SHA-256 of both texts, hex.
        system: What the model is told before all else; null: whatever the base's chat template
            says.
        template: What the user says; holds {text} once, and {{ and }} for braces.
    """

    digest: str
    system: str | None = None
    template: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm(AvroRecord):
    """One version that answers.

    Attributes:
        version: Version number.
        digest: SHA-256 of its adapter, hex.
        adapter_uri: Artifact folder of its adapter.
        weight: Share of live traffic in 1/10000; 0 for a shadow.
        base: Base of this version, as named in model.yaml; empty: that of the record.
        base_digest: SHA-256 of that base, hex; empty: that of the record.
        task: Task kind: what the version answers with.
        prompt: What an input becomes before this version sees it; null: as the model repo of the
            record says, where it says anything.
    """

    version: int
    digest: str
    adapter_uri: str
    weight: int
    base: str = ""
    base_digest: str = ""
    task: str = "text-classification"
    prompt: Prompt | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing(AvroRecord):
    """Which versions of a model answer; the newest record of a key is the desired state.

    Attributes:
        model: Name of the model, as in its model.yaml.
        epoch: Epoch of the rollout that wrote it; an older one is refused.
        base: Base as named in model.yaml.
        base_digest: SHA-256 of the base's weights, hex.
        arms: Versions that give live answers; weights add up to 10000. Order is stable: a growing
            weight moves nobody back.
        shadows: Versions that answer without being heard.
        salt: Mixed into the bucket of a sticky key, so that models split independently.
        sticky_by: Which request field keeps its version: subject or request_id.
        rollback_to: Version that a rollback returns to.
        scope: Slices that a request must have to be served, name to value; empty serves all.
        repo_hash: Content hash of the model repo in force.
        champion: Version at full traffic. Null in records of before: the last of `arms`.
        standby: Versions that are kept in memory and answer nothing, so that going back to them
            needs no load.
        shadow_share: Share of requests that the shadows answer, 0 to 1, drawn by request_id.
        time: When it was decided. Milliseconds since 1970-01-01 UTC.
    """

    TOPIC: ClassVar[str] = "routing"

    model: str
    epoch: int
    base: str
    base_digest: str
    arms: tuple[Arm, ...]
    shadows: tuple[Arm, ...]
    salt: str
    sticky_by: str
    rollback_to: int | None = None
    scope: Mapping[str, str] = field(default_factory=dict)
    repo_hash: str
    champion: int | None = None
    standby: tuple[Arm, ...] = ()
    shadow_share: float = 1.0
    time: int


# refused: the router goes on with what it had.
AckStatus = Literal["serving", "refused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingAck(AvroRecord):
    """A router tells which epoch it serves, or why it refuses one.

    Attributes:
        router: Name of the router replica.
        model: Name of the model, as in its model.yaml.
        epoch: Epoch of the routing record.
        status: What became of the record.
        digests: Adapters resident after it.
        reason: Why it was refused.
        retrying: Whether a router that refuses goes on trying, since what it lacks may come: it
            waits for artifacts or for room on its disk.
        time: When the router switched. Milliseconds since 1970-01-01 UTC.
    """

    TOPIC: ClassVar[str] = "routing.acks"

    router: str
    model: str
    epoch: int
    status: AckStatus
    digests: tuple[str, ...]
    reason: str | None = None
    retrying: bool = False
    time: int


# What to do. abort: the challenger leaves without quarantine; approve: the stage that waits for it
# may begin; release: a version leaves quarantine; prompt: the prompt of model repo args.repo_hash
# is in force.
CommandKind = Literal[
    "rollback",
    "pause",
    "resume",
    "promote",
    "retrain",
    "erase",
    "quarantine",
    "abort",
    "approve",
    "release",
    "prompt",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command(AvroRecord):
    """An operator tells the system what to do.

    Attributes:
        command_id: Id; the same id twice is the same command.
        model: Name of the model, as in its model.yaml.
        kind: What to do.
        version: Version that it is about.
        args: Further arguments, such as drill or seed_uri for retrain, subject for erase and
            repo_hash for prompt.
        actor: Who gave it.
        reason: Why, for the audit.
        time: When it was given. Milliseconds since 1970-01-01 UTC.
    """

    TOPIC: ClassVar[str] = "commands"

    command_id: str
    model: str
    kind: CommandKind
    version: int | None = None
    args: Mapping[str, str] = field(default_factory=dict)
    actor: str
    reason: str = ""
    time: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Model(AvroRecord):
    """A model repo is in force; the newest record of a key is the desired state.

    Attributes:
        model: Name of the model, as in its model.yaml.
        repo_hash: Content hash of the model repo.
        repo_uri: Artifact folder of the model repo.
        actor: Who declared it.
        time: When it was declared. Milliseconds since 1970-01-01 UTC.
    """

    TOPIC: ClassVar[str] = "models"

    model: str
    repo_hash: str
    repo_uri: str
    actor: str
    time: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry(AvroRecord):
    """One decision with its evidence. Chained by hash per model and service.

    Attributes:
        audit_id: Id made from the decision's inputs; the same decision taken again has the same id.
        model: Name of the model, as in its model.yaml.
        service: Service that decided.
        decision: What was decided, in one word, such as retrain, verdict, advance, rollback.
        version: Version that it is about.
        inputs: Everything that the pure decider was given, as canonical JSON.
        result: What it returned, as canonical JSON.
        words: The decision in words, for people.
        previous_hash: Hash of the entry before in this chain; empty for the first.
        hash: SHA-256 over previous_hash and the fields above, hex.
        time: When it was decided. Milliseconds since 1970-01-01 UTC.
    """

    TOPIC: ClassVar[str] = "audit"

    audit_id: str
    model: str
    service: str
    decision: str
    version: int | None = None
    inputs: str
    result: str
    words: str
    previous_hash: str
    hash: str
    time: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservationBatch(AvroRecord):
    """What the monitors see in records of one partition of inferences or outcomes, as a worker of
    the drift-detector read them. Internal to the drift-detector: workers read, and one of them
    counts.

    Attributes:
        origin: The partition that was read, as topic-partition.
        next: Next offset of the partition: all before it was read, in this record or an earlier
            one. A record that lies there may be told twice, and counts once.
        seen: The observations of each model, by its name: JSON, compressed by zlib (RFC 1950).
            Empty where nothing of these records is watched.
    """

    TOPIC: ClassVar[str] = "drift.observations"

    origin: str
    next: int
    seen: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick(AvroRecord):
    """Time went on in a simulated world. Nobody writes it where the clock is live.

    Attributes:
        world: Name of the simulated world.
        time: What the time is now. Milliseconds since 1970-01-01 UTC.
        positions: Next offset of each topic-partition that belongs to the time before, as
            topic-partition.
        pace: How many times as fast as the machine's clock time runs until the next tick; 0: it
            stands still.
    """

    TOPIC: ClassVar[str] = "clock"

    world: str
    time: int
    positions: Mapping[str, int] = field(default_factory=dict)
    pace: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionCounts(AvroRecord):
    """What one version did.

    Attributes:
        version: Version number.
        digest: SHA-256 of its adapter, hex.
        answers: Live answers that apps got.
        errors: Live answers that it could not compute.
        shadow_answers: Answers beside those of others.
        shadow_errors: Answers beside those of others that it could not compute.
    """

    version: int
    digest: str
    answers: int
    errors: int
    shadow_answers: int
    shadow_errors: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingCounts(AvroRecord):
    """What the versions of a model did on one router since it began to serve an epoch. Counts only
    grow, so the newest record says all, and one that is lost or read twice changes nothing.

    Attributes:
        router: Name of the router replica, or of an app that serves itself.
        started: Names the process: counts begin anew in another one.
        model: Name of the model, as in its model.yaml.
        epoch: Epoch of the routing record that these answers were given under.
        versions: By version, in the order of the routing record.
        time: When it was counted. Milliseconds since 1970-01-01 UTC.
    """

    TOPIC: ClassVar[str] = "serving.counts"

    router: str
    started: str
    model: str
    epoch: int
    versions: tuple[VersionCounts, ...]
    time: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter(AvroRecord):
    """A record that could not be handled, with its bytes, to be looked at and replayed.

    Attributes:
        topic: Topic that it came from.
        partition: Its partition.
        offset: Its offset.
        key: Its key.
        value: Its value, unchanged.
        reason: One word of a closed list.
        message: Field, value and what was expected.
        schema_id: Schema id that the value claims.
        service: Service that gave up.
        first_seen: When it was read. Milliseconds since 1970-01-01 UTC.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None = None
    value: bytes | None = None
    reason: str
    message: str
    schema_id: int | None = None
    service: str
    first_seen: int


AnyEvent = (
    Inference
    | Feedback
    | Outcome
    | DriftAlert
    | RetrainRequest
    | Candidate
    | Verdict
    | Rollout
    | Routing
    | RoutingAck
    | Command
    | Model
    | AuditEntry
    | ObservationBatch
    | Tick
    | ServingCounts
    | DeadLetter
)
EVENTS: Final[Mapping[str, type[AnyEvent]]] = {
    Inference.TOPIC: Inference,
    Feedback.TOPIC: Feedback,
    Outcome.TOPIC: Outcome,
    DriftAlert.TOPIC: DriftAlert,
    RetrainRequest.TOPIC: RetrainRequest,
    Candidate.TOPIC: Candidate,
    Verdict.TOPIC: Verdict,
    Rollout.TOPIC: Rollout,
    Routing.TOPIC: Routing,
    RoutingAck.TOPIC: RoutingAck,
    Command.TOPIC: Command,
    Model.TOPIC: Model,
    AuditEntry.TOPIC: AuditEntry,
    ObservationBatch.TOPIC: ObservationBatch,
    Tick.TOPIC: Tick,
    ServingCounts.TOPIC: ServingCounts,
    "inferences.dlq": DeadLetter,
    "feedback.dlq": DeadLetter,
    "outcomes.dlq": DeadLetter,
    "drift.alerts.dlq": DeadLetter,
    "retrain.requests.dlq": DeadLetter,
    "candidates.dlq": DeadLetter,
    "verdicts.dlq": DeadLetter,
    "rollouts.dlq": DeadLetter,
    "routing.dlq": DeadLetter,
    "routing.acks.dlq": DeadLetter,
    "commands.dlq": DeadLetter,
    "models.dlq": DeadLetter,
    "audit.dlq": DeadLetter,
    "drift.observations.dlq": DeadLetter,
    "clock.dlq": DeadLetter,
    "serving.counts.dlq": DeadLetter,
}
__all__ = [
    "EVENTS",
    "AckStatus",
    "AnyEvent",
    "Arm",
    "AuditEntry",
    "Axis",
    "Candidate",
    "Champion",
    "Command",
    "CommandKind",
    "DeadLetter",
    "DriftAlert",
    "Feedback",
    "FeedbackKind",
    "Inference",
    "Layer",
    "Model",
    "ObservationBatch",
    "Outcome",
    "Prompt",
    "Result",
    "RetrainReason",
    "RetrainRequest",
    "Role",
    "Rollout",
    "Routing",
    "RoutingAck",
    "ServingCounts",
    "Severity",
    "Signal",
    "Tick",
    "Transition",
    "Verdict",
    "VersionCounts",
]

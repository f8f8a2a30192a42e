"""A candidate in, a verdict out.

A verdict stands in the artifact store before it is told, named by the candidate and by what it was
judged with, so a candidate that comes again is told the same. It is compared with the champion that
its training was asked under, whoever is champion by now.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from driftgate import events, model_repo, suites, unwatched
from driftgate.artifacts import SCHEME, Artifacts, digest_of
from driftgate.codec import digest
from driftgate.config import Settings
from driftgate.engines import Base, Prediction
from driftgate.errors import Corrupt
from driftgate.events import Candidate, Champion
from driftgate.health import Health, Log
from driftgate.runtime import AuditDraft, Effect, Handler, Service, Views
from driftgate.suites import Suite
from driftgate.tasks import Task, task_of
from driftgate.topology import EVALUATOR
from services.evaluator import exam, judging, report, weighting
from services.evaluator.axis import tidy
from services.evaluator.card import About
from services.evaluator.exam import Answers, Result
from services.evaluator.gate import GateResult, judge
from services.evaluator.judge_endpoint import LIMITS, JudgeEndpoint, Limits, advice
from services.evaluator.judging import Judged
from services.evaluator.prediction_cache import PredictionCache, Predictor, Version
from services.evaluator.progress import Progress
from services.evaluator.weighting import Weighing

CARD = "card.json"
"""Of a dataset, what it is; beside the rows."""

LONGEST_EXAMINATION_SECONDS = 1800.0

VerdictRecord = Mapping[str, Any]
"""A verdict as its ref says it: `verdict`, `decision`."""


@dataclass
class Evaluator:
    """The edge of the service: fetches, asks, stores. `record` blocks while a candidate is
    asked."""

    settings: Settings
    artifacts: Artifacts
    predictor: Predictor
    log: Log
    health: Health
    judge_limits: Limits = LIMITS

    def service(self) -> Service:
        return Service(
            name=EVALUATOR,
            handlers={Candidate: Handler(effects, self.record)},
            max_work_seconds=LONGEST_EXAMINATION_SECONDS,
        )

    def record(self, event: Candidate, views: Views, now: int) -> VerdictRecord:
        """The verdict on a candidate as it was given, or as it is given now.

        Raises:
            BadConfig, Corrupt: the candidate, its dataset or its model repo cannot be used.
        """
        candidate = self.pinned(event)
        try:
            return self.kept(candidate) or self.artifacts.set_ref(
                verdict_ref(candidate, judged_with(candidate)), self.examine(candidate)
            )
        finally:
            self.health.heartbeat(activity=None, progress=None, eta=None)

    def pinned(self, event: Candidate) -> Candidate:
        """The candidate with the champion that it is compared with. Candidates of the first schema
        name it by its number alone.

        Raises:
            Corrupt: that version is not stored.
        """
        if event.champion is not None or event.parent is None:
            return event
        parent = self.stored(event.model, event.parent)
        if parent is None:
            name = version_ref(event.model, event.parent)
            raise Corrupt(f"parent {event.parent} of {event.model}@{event.version}: no ref {name}")
        champion = Champion(
            version=parent.version,
            digest=parent.adapter_digest,
            adapter_uri=parent.adapter_uri,
            base=parent.base,
            base_digest=parent.base_digest,
            task=parent.task,
        )
        return replace(event, champion=champion)

    def kept(self, event: Candidate) -> VerdictRecord | None:
        """The verdict as it was given. Older ones are named without the champion."""
        found: VerdictRecord | None = self.artifacts.ref(verdict_ref(event, judged_with(event)))
        former = found or self.artifacts.ref(verdict_ref(event, judged_before(event)))
        champion = event.champion.version if event.champion else None
        return former if former and former["verdict"]["champion"] == champion else found

    def examine(self, event: Candidate) -> VerdictRecord:
        """Asks the candidate and the champion every case, judges, and stores the report."""
        candidate, champion = candidate_of(event), champion_of(event)
        repo = model_repo.fetch(SCHEME + event.repo_hash, self.artifacts, self.folder("repos"))
        config = repo.config
        dataset = self.artifacts.get_folder(event.dataset_uri, self.folder("datasets"))
        task = task_of(config.task)
        held_out = suites.held_out(dataset / suites.TEST, task)
        all_suites = (held_out, *suites.frozen(repo.folder, task, config.gate.waived))
        asked = [(candidate, task)]
        if champion is not None:
            asked.append((champion, self.task_of_champion(event.model, champion, task)))
        answers, before = self.ask(event.model, all_suites, asked)
        results = exam.results(all_suites, answers, before, task)
        about_rows = weighting.dataset(card_of(dataset), config.feedback)
        weighing = weighting.weigh(held_out.cases, config.feedback, about_rows, config.gate)
        tallies = exam.tallies(results, weighing)
        graded = exam.graded(results, weighing)
        verdict = judge(tallies, config.gate, weighing.on, graded)
        judged, results = self.judged(named(event.model, candidate), task, results, weighing)
        verdict = judging.advised(verdict, judged, tallies, config.gate, weighing.on)
        measured = exam.reference(held_out, answers, config, weighing)
        reference = {name: tidy(value) for name, value in measured.items()}
        about = About(
            name=named(event.model, candidate),
            task=task.kind,
            champion=named(event.model, champion) if champion else None,
            dataset=event.dataset_uri,
            repo_hash=event.repo_hash,
            unwatched=tuple(unwatched.unmeasured(config, reference)),
        )
        card = self.artifacts.get(event.model_card_uri).decode()
        uri = self.artifacts.put_files(
            report.files(about, verdict, results, reference, card, weighing)
        )
        told = verdict_event(event, champion, verdict, reference, uri)
        self.log.info("judged", version=about.name, result=verdict.result, words=verdict.summary)
        if about.unwatched:
            self.log.warning("not watched", version=about.name, monitors=about.unwatched)
        inputs = {
            "candidate": asdict(candidate),
            "champion": asdict(champion) if champion else None,
            "dataset_uri": event.dataset_uri,
            "repo_hash": event.repo_hash,
            "gate": config.gate.model_dump(),
            "tallies": [asdict(tally) for tally in tallies],
            "measured_on": asdict(weighing.on),
            **({"graded": [asdict(stratum) for stratum in graded]} if graded else {}),
            **({"judged": [asdict(each) for each in judged]} if judged else {}),
        }
        return {
            "verdict": told.as_dict(),
            "decision": {"inputs": inputs, "result": decided(told)},
        }

    def ask(
        self,
        model: str,
        all_suites: Sequence[Suite],
        asked: Sequence[tuple[Version, Task]],
    ) -> tuple[Answers, Answers | None]:
        """What candidate and champion answer to all suites, each asked as its own task says."""
        texts = sum(len(suite.texts) for suite in all_suites) * len(asked)
        progress = Progress(named(model, asked[0][0]), texts, self.health)
        cache = PredictionCache(self.predictor, self.artifacts)
        found: list[dict[str, Prediction]] = [{} for _ in asked]
        for suite in all_suites:
            told = partial(progress.answered, suite.layer)
            for (version, task), answers in zip(asked, found, strict=True):
                answers.update(cache.answers(version, suite.texts, task, told))
        return found[0], found[1] if len(found) > 1 else None

    def task_of_champion(self, model: str, champion: Version, task: Task) -> Task:
        """The task of the model repo that the champion was trained under: it is served with the
        prompt of that one. That of the candidate where nothing hangs on it, or none is stored."""
        if not task.asked_with or (trained := self.stored(model, champion.number)) is None:
            return task
        repo = model_repo.fetch(SCHEME + trained.repo_hash, self.artifacts, self.folder("repos"))
        return task_of(repo.config.task)

    def stored(self, model: str, version: int) -> Candidate | None:
        """A version as the trainer offered it; None where it is not stored."""
        found = self.artifacts.ref(version_ref(model, version))
        return None if found is None else Candidate.of(found["candidate"])

    def judged(
        self, name: str, task: Task, results: list[Result], weighing: Weighing
    ) -> tuple[list[Judged], list[Result]]:
        """What model judges say of what was answered, and the cases with it."""
        if not task.judges:
            return [], results
        self.health.heartbeat(activity=f"judging {name}: model judge", progress=None, eta=None)
        settings = self.settings
        endpoint = JudgeEndpoint(
            settings.judge_url, settings.judge_token, self.artifacts, self.judge_limits
        )
        return advice(endpoint, task, results, weighing)

    def folder(self, name: str) -> Path:
        """Where fetched artifacts are kept."""
        return self.settings.state_dir / EVALUATOR / name


def effects(record: VerdictRecord, views: Views, now: int) -> Iterable[Effect]:
    """The verdict, and why."""
    verdict = events.Verdict.of(record["verdict"])
    decision = record["decision"]
    yield verdict
    yield AuditDraft(
        model=verdict.model,
        decision="verdict",
        inputs=decision["inputs"],
        result=decision["result"],
        summary=f"{verdict.model}@{verdict.version} {verdict.words}",
        time=verdict.time,
        version=verdict.version,
    )


def card_of(dataset: Path) -> Mapping[str, Any] | None:
    """What a dataset says of itself; None of one that was put together by hand."""
    path = dataset / CARD
    return json.loads(path.read_bytes()) if path.is_file() else None


def candidate_of(event: Candidate) -> Version:
    """The version that an event offers.

    Raises:
        Corrupt: its digest is not that of its files.
    """
    found = digest_of(event.adapter_uri)
    if found != event.adapter_digest:
        raise Corrupt(f"adapter_digest {event.adapter_digest!r}: adapter_uri is {found}")
    base = Base(event.task, event.base, event.base_digest)
    return Version(event.version, found, event.adapter_uri, base)


def champion_of(event: Candidate) -> Version | None:
    """The version that a candidate is compared with; None before the first release."""
    if event.champion is None:
        return None
    champion = event.champion
    base = Base(champion.task, champion.base, champion.base_digest)
    return Version(champion.version, champion.digest, champion.adapter_uri, base)


def named(model: str, version: Version) -> str:
    return f"{model}@{version.number}"


def version_ref(model: str, version: int) -> str:
    """The ref under which the trainer keeps a version."""
    return f"models/{model}/versions/{version}"


def verdict_ref(event: Candidate, judged: str) -> str:
    """The ref that keeps a verdict; `judged` is the hash of what was judged, and by what."""
    return f"models/{event.model}/verdicts/{event.version}-{judged}"


def judged_with(event: Candidate) -> str:
    """Hash of what is judged, by what, and against whom."""
    against = [event.champion.digest] if event.champion else []
    return digest([event.adapter_digest, event.dataset_uri, event.repo_hash, *against])[:12]


def judged_before(event: Candidate) -> str:
    """The hash as it was while it left out the champion."""
    return judged_with(replace(event, champion=None))


def verdict_event(
    candidate: Candidate,
    champion: Version | None,
    verdict: GateResult,
    reference: Mapping[str, float],
    report_uri: str,
) -> events.Verdict:
    """The event that tells a verdict."""
    return events.Verdict(
        verdict_id=f"{candidate.model}@{candidate.version}:{judged_with(candidate)}",
        model=candidate.model,
        version=candidate.version,
        retrain_id=candidate.retrain_id,
        adapter_digest=candidate.adapter_digest,
        adapter_uri=candidate.adapter_uri,
        base=candidate.base,
        base_digest=candidate.base_digest,
        task=candidate.task,
        champion=champion.number if champion else None,
        result=verdict.result,
        axes=tuple(events.Axis.of(axis.event()) for axis in verdict.axes),
        reference=dict(reference),
        repo_hash=candidate.repo_hash,
        report_uri=report_uri,
        words=verdict.summary,
        time=candidate.time,
    )


def decided(verdict: events.Verdict) -> dict[str, Any]:
    """What the audit says of a verdict."""
    told = verdict.as_dict()
    return {name: told[name] for name in ("verdict_id", "result", "axes", "report_uri")}

"""A candidate in, a verdict out.

A verdict stands in the artifact store before it is told, named by the candidate and by what it was
judged with, so a candidate that comes again is told the same, whoever is champion by then.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from driftgate import model_repo, suites
from driftgate.artifacts import SCHEME, Artifacts, digest_of
from driftgate.audit import Audit
from driftgate.bus import Bus
from driftgate.classifier.serving import Prediction
from driftgate.codec import Codec, digest
from driftgate.config import Settings
from driftgate.dead_letters import UNHANDLED
from driftgate.errors import BadConfig, BadInput, Corrupt
from driftgate.events import Emit, Event
from driftgate.health import Health, Log
from driftgate.rollouts import settled
from driftgate.suites import Suite
from driftgate.topology import EVALUATOR
from services.evaluator import exam, report
from services.evaluator.asking import Asker, Engine, Version
from services.evaluator.card import About
from services.evaluator.exam import Answers
from services.evaluator.gate import Verdict, judge, tidy
from services.evaluator.progress import Progress

CANDIDATES = "candidates"
VERDICTS = "verdicts"

Record = Mapping[str, Any]
"""A verdict as its ref says it: `verdict`, `decision`."""


@dataclass
class Evaluator:
    """The handler of the service. It blocks while a candidate is asked."""

    settings: Settings
    bus: Bus
    codec: Codec
    artifacts: Artifacts
    engine: Engine
    audit: Audit
    log: Log
    health: Health

    def handle(self, topic: str, event: Event) -> list[Emit]:
        """What an event leads to.

        Raises:
            BadInput: the candidate, its dataset or its model repo cannot be used.
            Retriable: the bus does not answer, or the promoter is behind.
        """
        if topic != CANDIDATES:
            return []
        try:
            return self.told(self.record(event))
        except (BadConfig, Corrupt) as error:
            name = f"{event['model']}@{event['version']}"
            wanted = f"a version that can be asked ({error})"
            raise BadInput(UNHANDLED, "candidate", name, wanted) from error
        finally:
            self.health.moved(activity=None, progress=None, eta=None)

    def record(self, event: Event) -> Record:
        """The verdict on a candidate as it was given, or as it is given now."""
        name = f"models/{event['model']}/verdicts/{event['version']}-{judged_with(event)}"
        found: Record = self.artifacts.ref(name) or self.artifacts.set_ref(
            name, self.examine(event)
        )
        return found

    def examine(self, event: Event) -> Record:
        """Asks the candidate and the champion every case, judges, and stores the report."""
        candidate, champion = candidate_of(event), self.champion(event)
        repo = model_repo.fetch(SCHEME + event["repo_hash"], self.artifacts, self.folder("repos"))
        config = repo.config
        dataset = self.artifacts.get_folder(event["dataset_uri"], self.folder("datasets"))
        labels = config.task.labels
        task = suites.held_out(dataset / suites.TEST, labels)
        all_suites = (task, *suites.frozen(repo.folder, labels, config.gate.waived))
        answers, before = self.ask(event["model"], all_suites, candidate, champion)
        results = exam.results(all_suites, answers, before)
        tallies = exam.tallies(results)
        verdict = judge(tallies, config.gate)
        reference = {k: tidy(v) for k, v in exam.reference(task, answers, config).items()}
        about = About(
            name=named(event["model"], candidate),
            champion=named(event["model"], champion) if champion else None,
            dataset=event["dataset_uri"],
            repo_hash=event["repo_hash"],
        )
        card = self.artifacts.get(event["model_card_uri"]).decode()
        uri = self.put(report.files(about, verdict, results, reference, card))
        told = verdict_event(event, champion, verdict, reference, uri)
        self.log.info("judged", version=about.name, result=verdict.result, words=verdict.words)
        inputs = {
            "candidate": asdict(candidate),
            "champion": asdict(champion) if champion else None,
            "dataset_uri": event["dataset_uri"],
            "repo_hash": event["repo_hash"],
            "gate": config.gate.model_dump(),
            "tallies": [asdict(tally) for tally in tallies],
        }
        return {"verdict": told, "decision": {"inputs": inputs, "result": decided(told)}}

    def ask(
        self,
        model: str,
        all_suites: Sequence[Suite],
        candidate: Version,
        champion: Version | None,
    ) -> tuple[Answers, Answers | None]:
        """What both answer to all suites."""
        versions = [version for version in (candidate, champion) if version is not None]
        texts = sum(len(suite.texts) for suite in all_suites) * len(versions)
        progress = Progress(named(model, candidate), texts, self.health)
        asker = Asker(self.engine, self.artifacts)
        found: list[dict[str, Prediction]] = [{} for _ in versions]
        for suite in all_suites:
            told = partial(progress.answered, suite.layer)
            for version, answers in zip(versions, found, strict=True):
                answers.update(asker.ask(version, suite.texts, told))
        return found[0], found[1] if champion else None

    def champion(self, event: Event) -> Version | None:
        """The version at full traffic once the promoter has done what came before the candidate;
        None before the first release."""
        model = event["model"]
        state = settled(self.bus, self.codec, model)
        if state is None or state["champion"] is None:
            return None
        number = int(state["champion"])
        release = json.loads(state["versions"].get(str(number), "{}"))
        trained = self.artifacts.ref(f"models/{model}/versions/{number}") or {}
        made = trained.get("candidate", {})
        uri = release.get("uri") or made.get("adapter_uri")
        if uri is None:
            raise Corrupt(
                f"champion {model}@{number}: neither rollouts nor its ref names its files"
            )
        return Version(number, digest_of(uri), uri, made.get("base", event["base"]))

    def told(self, record: Record) -> list[Emit]:
        """The verdict, and the decision unless the audit holds it."""
        verdict = record["verdict"]
        entry = self.audit.entry(
            verdict["model"],
            "verdict",
            **record["decision"],
            words=f"{verdict['model']}@{verdict['version']} {verdict['words']}",
            version=verdict["version"],
            time=verdict["time"],
        )
        return [Emit(VERDICTS, verdict), *entry]

    def put(self, files: Mapping[str, bytes]) -> str:
        """Stores files as one folder; returns its URI."""
        with tempfile.TemporaryDirectory() as name:
            for file, data in files.items():
                (Path(name) / file).write_bytes(data)
            return self.artifacts.put_folder(Path(name))

    def folder(self, name: str) -> Path:
        """Where fetched artifacts are kept."""
        return self.settings.state_dir / EVALUATOR / name


def candidate_of(event: Event) -> Version:
    """The version that an event offers.

    Raises:
        Corrupt: its digest is not that of its files.
    """
    found = digest_of(event["adapter_uri"])
    if found != event["adapter_digest"]:
        raise Corrupt(f"adapter_digest {event['adapter_digest']!r}: adapter_uri is {found}")
    return Version(event["version"], found, event["adapter_uri"], event["base"])


def named(model: str, version: Version) -> str:
    return f"{model}@{version.number}"


def judged_with(event: Event) -> str:
    """Hash of what is judged and by what."""
    return digest([event["adapter_digest"], event["dataset_uri"], event["repo_hash"]])[:12]


def verdict_event(
    candidate: Event,
    champion: Version | None,
    verdict: Verdict,
    reference: Mapping[str, float],
    report_uri: str,
) -> dict[str, Any]:
    """The event that tells a verdict."""
    same = ("model", "version", "retrain_id", "adapter_digest", "adapter_uri", "repo_hash", "time")
    return {
        **{name: candidate[name] for name in same},
        "verdict_id": f"{candidate['model']}@{candidate['version']}:{judged_with(candidate)}",
        "champion": champion.number if champion else None,
        "result": verdict.result,
        "axes": [axis.event() for axis in verdict.axes],
        "reference": dict(reference),
        "report_uri": report_uri,
        "words": verdict.words,
    }


def decided(told: Event) -> dict[str, Any]:
    """What the audit says of a verdict."""
    return {name: told[name] for name in ("verdict_id", "result", "axes", "report_uri")}

"""A dataset as the files that it is kept as: rows, and the cards that say where they come from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from io import StringIO
from typing import Any

from ruamel.yaml import YAML

from driftgate.codec import digest
from driftgate.model_repo import Data, Feedback
from driftgate.tasks import Task
from services.trainer.curation import Dataset, Row, counts
from services.trainer.rows import Measured

TRAIN, TEST, PREFERENCES, CARD, README, CROISSANT = (
    "train.jsonl",
    "test.jsonl",
    "preferences.jsonl",
    "card.json",
    "README.md",
    "croissant.json",
)


OBTAINED = ("word", "propensity", "heard_right")


@dataclass(frozen=True, slots=True)
class About:
    """What a dataset card says that does not stand in the rows. time in ms; `slices` are those
    counted by name; `repo_hash` fixes what those who gave feedback could choose from;
    `seed_reading` says what of the user's file was left out or joined
    (`driftgate.labelled.findings`)."""

    model: str
    task: Task
    retrain_id: str
    reason: str
    drill: str | None
    time: int
    data: Data
    feedback: Feedback
    slices: tuple[str, ...]
    repo_hash: str
    seed_uri: str | None
    seed_reading: Mapping[str, Any] | None
    excluded: frozenset[str]
    measured: Measured


def folder(dataset: Dataset, about: About) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The dataset card, whose `id` is the hash of the rows, and all files by name. Preferences have
    a file where there are any."""
    task = about.task
    rows = {TRAIN: lines(dataset.train, task), TEST: lines(dataset.test, task)}
    if dataset.preferences:
        rows[PREFERENCES] = b"".join(map(line, map(preference, dataset.preferences)))
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in rows.items()}
    told = card(dataset, about, hashes)
    return told, {
        **rows,
        CARD: json_bytes(told),
        README: readme(told, task).encode(),
        CROISSANT: json_bytes(croissant(told, task)),
    }


def lines(rows: Iterable[Row], task: Task) -> bytes:
    """JSON lines, in the shape of a seed file, with the source besides."""
    return b"".join(line(stored(row, task)) for row in rows)


def line(found: Mapping[str, Any]) -> bytes:
    return json.dumps(found, ensure_ascii=False, sort_keys=True).encode() + b"\n"


def stored(row: Row, task: Task) -> dict[str, Any]:
    """A row, with its target under the task's name for it, and how it was obtained as far as that
    is known."""
    found = asdict(row)
    del found["rejected"]  # which is no fact about the target
    for name in OBTAINED:
        if found[name] is None:
            del found[name]
    return {task.field: found.pop("target"), **found}


def preference(row: Row) -> dict[str, Any]:
    """The row's target, and the answer that it is preferred to, for the same person as the row."""
    return {
        "id": row.id,
        "text": row.text,
        "chosen": row.target,
        "rejected": row.rejected,
        "time": row.time,
        "subject": row.subject,
    }


def card(dataset: Dataset, about: About, hashes: Mapping[str, str]) -> dict[str, Any]:
    """The dataset card: where the rows come from, and what was done to them."""
    data, preferences = about.data, dataset.preferences
    rows = len(dataset.train) + len(dataset.test)
    counted = {"preferences": counts(preferences, about.slices, about.task)} if preferences else {}
    return {
        "id": digest(hashes),
        "content": dict(hashes),
        "model": about.model,
        "made_for": {"retrain_id": about.retrain_id, "reason": about.reason, "drill": about.drill},
        "ends": stamp(about.time),
        "sources": [
            {
                "name": name,
                "uri": uri,
                "owner": data.owner,
                "licence": data.licence,
                "personal_data": "texts as they were logged; subjects are the app's own ids",
                "consent": data.consent,
                "reading": reading,
            }
            for name, uri, reading in (
                ("seed", about.seed_uri, about.seed_reading),
                ("logs", f"inferences of {about.model}", None),
            )
            if uri is not None
        ],
        "labels": {
            "instructions": about.repo_hash,
            "given_by": "seed rows; then feedback on live answers, of which the latest word counts",
            "profile": list(about.feedback.profile),
            **asdict(about.measured),
        },
        "split": {
            "rule": "by person, by a fixed hash; the newest rows of each side first",
            "test_share_of_persons": data.test_share,
            "test_share_of_rows": round(len(dataset.test) / rows, 4),
            "recent_since": stamp(dataset.since) if dataset.since else None,
            "replayed": len(dataset.replayed),
        },
        "train": counts(dataset.train, about.slices, about.task),
        "test": counts(dataset.test, about.slices, about.task),
        **counted,
        "left_out": dict(dataset.dropped),
        "exclusions": {"ids": len(about.excluded), "sha256": digest(about.excluded)},
        "shuffled_labels": dataset.shuffled,
    }


def readme(told: Mapping[str, Any], task: Task) -> str:
    """The card as Hugging Face reads it: YAML, then words."""
    data = told["sources"][0] if told["sources"] else {"owner": "unknown", "licence": "unknown"}
    name = f"{told['model']} dataset {told['id'][:12]}"
    meta = {
        "pretty_name": name,
        "license": "other",
        "license_name": data["licence"],
        "task_categories": [task.kind],
        "configs": [
            {
                "config_name": "default",
                "data_files": [
                    {"split": "train", "path": TRAIN},
                    {"split": "test", "path": TEST},
                ],
            },
            *(
                {"config_name": "preferences", "data_files": name}
                for name in told["content"]
                if name == PREFERENCES
            ),
        ],
    }
    made, split, labels = told["made_for"], told["split"], told["labels"]
    drill = f"\n\n**A rehearsal: {made['drill']}.** Do not learn from it." if made["drill"] else ""
    return front_matter(meta) + (
        f"# {name}\n\n"
        f"Made for `{made['retrain_id']}` ({made['reason']}); "
        f"its data end {told['ends']}.{drill}\n\n"
        f"- train: {told['train']['rows']} rows, of which {split['replayed']} from before the "
        f"present; test: {told['test']['rows']} rows\n"
        f"{preferred(told)}"
        f"- split {split['rule']}: {split['test_share_of_persons']:.0%} of persons held out\n"
        f"- owner: {data['owner']}\n"
        f"- labels: {labels['given_by']}; {labels['coverage']:.0%} of {labels['answers']} recent "
        f"answers are labelled, agreement {percent(labels['agreement'])} over "
        f"{labels['told_twice']} answers labelled more than once\n"
        f"- feedback: {', '.join(labels['profile'])}; {reviews(labels)}\n"
        f"- left out: {told['left_out'] or 'nothing'}\n"
        f"{read_from(told['sources'])}\n"
        f"`{CARD}` says the same for programs, `{CROISSANT}` in Croissant 1.1.\n"
    )


def preferred(told: Mapping[str, Any]) -> str:
    """How many preferences there are, as a line."""
    if "preferences" not in told:
        return ""
    rows = told["preferences"]["rows"]
    return f"- preferences: {rows} train rows whose target is preferred to another answer\n"


def reviews(labels: Mapping[str, Any]) -> str:
    """What the random review sample says of all answers."""
    if labels["reviewed_wrong"] is None:
        return "no answers were drawn for review"
    return (
        f"{labels['reviewed']} answers were drawn at random for review, which stand for "
        f"{labels['reviewed_wrong']:.0%} wrong ones"
    )


def read_from(sources: Sequence[Mapping[str, Any]]) -> str:
    """What was left out or joined when the user's files were read, a line each."""
    found = []
    for reading in (source["reading"] for source in sources if source["reading"]):
        found.append(f"{reading['source']}: {reading['rows']} rows read, {reading['kept']} kept")
        found += [f"left out, {c['rows']}: {why}" for why, c in reading["left_out"].items()]
        found += [f"joined as {label!r}: {spelt}" for label, spelt in reading["joined"].items()]
    return "".join(f"- seed: {line}\n" for line in found)


def croissant(told: Mapping[str, Any], task: Task) -> dict[str, Any]:
    """Croissant 1.1 (https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html)."""
    return {
        "@context": {
            "@language": "en",
            "@vocab": "https://schema.org/",
            "sc": "https://schema.org/",
            "cr": "http://mlcommons.org/croissant/",
            "dct": "http://purl.org/dc/terms/",
            "column": "cr:column",
            "conformsTo": "dct:conformsTo",
            "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
            "extract": "cr:extract",
            "field": "cr:field",
            "fileObject": "cr:fileObject",
            "recordSet": "cr:recordSet",
            "source": "cr:source",
        },
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": f"{told['model']}-{told['id'][:12]}",
        "description": f"Labelled texts that {told['model']} learned from and was tested on.",
        "license": told["sources"][0]["licence"] if told["sources"] else "unknown",
        "version": "1.0.0",
        "datePublished": told["ends"],
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": name,
                "name": name,
                "contentUrl": name,
                "encodingFormat": "application/jsonlines",
                "sha256": sha256,
            }
            for name, sha256 in told["content"].items()
        ],
        "recordSet": [record_set(name, task) for name in told["content"]],
    }


def record_set(name: str, task: Task) -> dict[str, Any]:
    """The rows of one file; their slices have no type in Croissant."""
    part = name.partition(".")[0]
    answers = ("chosen", "rejected") if name == PREFERENCES else (task.field,)
    texts = dict.fromkeys(("id", "text", *answers), "sc:Text")
    fields = {**texts, "time": "sc:Integer", "subject": "sc:Text"}
    return {
        "@type": "cr:RecordSet",
        "@id": part,
        "name": part,
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{part}/{field}",
                "name": field,
                "dataType": kind,
                "source": {"fileObject": {"@id": name}, "extract": {"column": field}},
            }
            for field, kind in fields.items()
        ],
    }


def front_matter(meta: Mapping[str, Any]) -> str:
    """A mapping as the YAML block that a Hugging Face card begins with."""
    out = StringIO()
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.dump(dict(meta), out)
    return f"---\n{out.getvalue()}---\n\n"


def stamp(time: int) -> str:
    """ISO 8601 of a time in ms."""
    return datetime.fromtimestamp(time / 1000, UTC).isoformat()


def percent(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.0%}"


def json_bytes(value: Any) -> bytes:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"

"""Checkpoints of older releases: those before a service had a runtime, and those before verdicts
were remembered. An upgrade must not cost a detector its evidence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from driftgate.drift.deduplication import Seen, hashed
from driftgate.events import Routing, Verdict

Json = dict[str, Any]

REMEMBERED_SINCE = (Verdict.TOPIC, Routing.TOPIC)


def upgraded(written: Json) -> Json:
    """The checkpoint as it is written now, from any of them."""
    if "models" in written:
        return with_incidents(read_again(written))
    evidence = written["evidence"]
    models = {*written["repos"], *evidence["live"], *(seen["model"] for seen in written["waiting"])}
    return {
        "positions": positions(written),
        "models": {model: model_state(model, written) for model in sorted(models)},
    }


def read_again(written: Json) -> Json:
    """Verdicts and routing once more from their beginning, where nothing of them was remembered."""
    if all("judged" in found for found in written["models"].values()):
        return written
    kept = {
        at: offset
        for at, offset in written["positions"].items()
        if at.rpartition("-")[0] not in REMEMBERED_SINCE
    }
    return written | {"positions": kept}


def with_incidents(written: Json) -> Json:
    """Alerts that waited for a request are incidents."""
    models = {
        name: found | {"pending": [incident(one) for one in found.get("pending", [])]}
        for name, found in written["models"].items()
    }
    return written | {"models": models}


def incident(pending: Json) -> Json:
    """As it is written now."""
    if "incident_id" in pending:
        return pending
    return {
        "incident_id": pending["alert_id"],
        "version": pending["version"],
        "summary": pending["summary"],
        "since": pending["since"],
        "opened": pending["time"],
        "evident": pending["time"],
        "slices": [pending["slice"]],
    }


def positions(written: Json) -> Json:
    """Ticks whose positions were not reached are read again."""
    found = dict(written["offsets"])
    if "clock-0" in found:
        found["clock-0"] -= len(written["ticks"])
    return found


def model_state(model: str, written: Json) -> Json:
    evidence = written["evidence"]
    waiting = [without(seen, "model") for seen in written["waiting"] if seen["model"] == model]
    pending = written["wishes"].get(model, {}).get("pending", [])
    return {
        "repo_uri": written["repos"].get(model, ""),
        "waiting": waiting,
        "evidence": {
            "streams": streams(model, evidence["streams"]),
            "live": evidence["live"].get(model, {}),
            "seen": seen_of(model, evidence["seen"]),
        },
        "pending": [incident(alert | {"summary": alert["words"]}) for alert in pending],
    }


def streams(model: str, versions: Mapping[str, Any]) -> Json:
    """By version number, where they were by model@version."""
    parted = ((*name.rpartition("@"), found) for name, found in versions.items())
    return {number: found for name, _, number, found in parted if name == model}


def seen_of(model: str, names: Mapping[str, None]) -> list[str]:
    """Hashes of kind and request, where there were kind, model and request."""
    parted = (name.split(":", 2) for name in names)
    seen = Seen()
    seen.add(hashed([f"{kind}:{request}" for kind, of, request in parted if of == model]))
    return seen.dump()


def without(found: Json, name: str) -> Json:
    return {key: value for key, value in found.items() if key != name}

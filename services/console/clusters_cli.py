"""`driftgate clusters`: what kinds of input are new, how many, and examples."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress

from driftgate.errors import BadConfig
from driftgate.store import Store
from services.console.dead_letter_selection import moment
from services.console.new_clusters import Asked, Cluster, Found, clusters, newest, of_incident
from services.console.operators import when
from services.console.terminal import HERE, STORE, State, complaints, reports_errors, say, settings

if TYPE_CHECKING:
    from driftgate.drift.new_groups import Embeddings

LIMIT = 0.10
"""Of the traffic: a new group above this is one that the next training should know."""
WIDEST = 100


@reports_errors
def new_clusters(
    model: str,
    since: Annotated[
        str,
        typer.Option(help="2h, 7d back from the newest answer, or an ISO time"),
    ] = "",
    incident: Annotated[
        str | None, typer.Option(help="since this one began; the newest if absent")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object, for scripts")] = False,
    state: State = HERE,
) -> None:
    """Groups of inputs that hardly came before: their words, their share, and examples."""
    if since and incident:
        raise BadConfig(f"--since {since} and --incident {incident}: expected one of them")
    found = settings(state, STORE)
    with closing(Store.connect(found.store, found.database)) as store:
        until = newest(store, model)
        if since:
            begin = moment("--since", since, until)
            asked = Asked(begin, begin)
        else:
            asked = of_incident(store, model, incident, until)
        told = clusters(store, model, asked, until, embedded)
    if as_json:
        say(json.dumps(told_as_json(model, told), ensure_ascii=False))
        return
    for line in lines(model, told):
        say(line)


def embedded(texts: Sequence[str]) -> Embeddings:
    """In the small base that comes along, whatever the model's own."""
    from driftgate.scaffold import baseline  # torch, which only this command needs

    with Progress(console=complaints, transient=True, disable=not complaints.is_terminal) as bar:
        task = bar.add_task("reading", total=1.0)
        return baseline.embedded(texts, lambda done: bar.update(task, completed=done))


def lines(model: str, told: Found) -> Iterator[str]:
    begun = f", when {told.incident} began" if told.incident else ""
    yield (
        f"{model}: {told.texts:,} inputs since {when(told.since)} UTC{begun}, beside "
        f"{told.before:,} from before"
    )
    for number, cluster in enumerate(told.clusters, 1):
        yield f"{number}. {share(cluster)}: {cluster.name}"
        for one in cluster.examples:
            yield f"   {one.request_id}  {shortened(one.text)}  → {shortened(one.output, 30)}"
    above = [one for one in told.clusters if one.group.share > LIMIT]
    if above:
        yield f"above {LIMIT:.0%} of the traffic: {len(above)} of {len(told.clusters)}"
    else:
        yield f"no new group is above {LIMIT:.0%} of the traffic"


def share(cluster: Cluster) -> str:
    group = cluster.group
    return f"{group.share:.1%} ({group.low:.1%} to {group.high:.1%})"


def shortened(text: str, widest: int = WIDEST) -> str:
    """On one line."""
    line = " ".join(text.split())
    return line if len(line) <= widest else f"{line[: widest - 1]}…"


def told_as_json(model: str, told: Found) -> dict[str, Any]:
    """Times in ms."""
    return {
        "model": model,
        "since": told.since,
        "until": told.until,
        "incident": told.incident or None,
        "texts": told.texts,
        "before": told.before,
        "clusters": [
            {
                "words": list(one.group.words),
                "share": one.group.share,
                "low": one.group.low,
                "high": one.group.high,
                "above": one.group.share > LIMIT,
                "answers": len(one.group.members),
                "examples": [asdict(example) for example in one.examples],
            }
            for one in told.clusters
        ],
    }

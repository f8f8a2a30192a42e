"""`driftgate schema`: new versions of the events' schemas."""

from __future__ import annotations

from pathlib import Path

import typer

from driftgate.codec import Codec
from driftgate.config import Settings
from driftgate.errors import BadConfig, nearest
from services.console.terminal import HERE, State, Status, fail, reports_errors, say, settings

app = typer.Typer(help="Versions of the events' schemas.", no_args_is_help=True)


@app.command()
@reports_errors
def check(subject: str, file: Path, state: State = HERE) -> None:
    """Says whether a schema may be the next version of a subject. Exit 0: it may."""
    codec, text = codec_of(settings(state), subject), read(file)
    try:
        version = codec.registry.check(subject, text)
    except BadConfig as error:
        raise fail(str(error), Status.NO) from error
    say(f"{subject}: may be version {version.number}; reads all that older versions wrote")


@app.command()
@reports_errors
def add(subject: str, file: Path, state: State = HERE) -> None:
    """Registers a schema as the next version of a subject, in the lock file or over HTTP."""
    found = settings(state)
    codec = codec_of(found, subject)
    version = codec.registry.add(subject, read(file))
    say(f"{subject} version {version.number} is registered with id {version.id}")
    if not found.registry:
        folder = found.schemas / subject
        say(f"Next: write two examples, {folder}/examples/v{version.number}-N.json; commit them")
        say(f"with {folder}/v{version.number}.avsc and {found.schemas / 'registry.lock'}")


def codec_of(found: Settings, subject: str) -> Codec:
    """
    Raises:
        BadConfig: no topic has that subject.
    """
    codec = Codec.load(found.schemas, found.registry)
    known = sorted({topic.subject for topic in codec.topics.by_name.values()})
    if subject not in known:
        raise BadConfig(
            f"subject {subject!r} is in no topic of topics.yaml: {nearest(subject, known)}"
        )
    return codec


def read(file: Path) -> str:
    try:
        return file.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise BadConfig(f"{file}: expected a schema in Avro's JSON: {error}") from error

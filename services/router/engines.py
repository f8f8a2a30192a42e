"""The engine behind a base: the one module of the router that knows torch."""

from __future__ import annotations

from driftgate.classifier.base import resolve, same_base
from driftgate.classifier.serving import Classifier
from driftgate.errors import BadConfig


def engine_of(base: str, base_digest: str, threads: int) -> Classifier:
    """Loads a base. An empty digest leaves it unpinned; adapters name theirs all the same.

    Raises:
        BadConfig: the base is not found, or is not the one that routing names.
        Corrupt: its bytes are not what they should be.
    """
    found = resolve(base)
    if base_digest and not same_base(found, base_digest):
        raise BadConfig(
            f"base {base}: its digest is {found.digest}, but routing names {base_digest}; "
            "install the base that the adapters were trained on"
        )
    return Classifier(found, threads=threads)

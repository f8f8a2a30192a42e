"""Checkpoints of releases in which the replica that counts read answers and outcomes by itself: how
far it read them is how far it was told of them."""

from __future__ import annotations

from typing import Any

from driftgate.topology import READER, READS

Json = dict[str, Any]


def upgraded(written: Json) -> Json:
    """The checkpoint as it is written now."""
    positions = written["positions"]
    read = {name: at for name, at in positions.items() if name.rpartition("-")[0] in READS[READER]}
    written["positions"] = {name: at for name, at in positions.items() if name not in read}
    written["told"] = {**read, **written.get("told", {})}
    return written

"""Signals of how answers are served. No training mends what they show, so they only warn."""

from __future__ import annotations

from driftgate.signals.signal import Signal, Tail

SLOWEST = Tail("above", 0.95)

OPERATION = (
    Signal(
        "latency",
        "operation",
        lambda said: said.latency_ms,
        SLOWEST,
        retrains=False,
        live=True,
        bad="slow",
    ),
    Signal(
        "cost",
        "operation",
        lambda said: said.cost,
        SLOWEST,
        retrains=False,
        live=True,
        bad="costly",
    ),
)

"""What each number may spend of the budget of false alarms, which the model's owner states.

With `false_alarms.per_million`, an answer spends as much as a millionth of the budget, whatever the
number of streams: each monitor an equal part, which is shared by the streams that one answer moves.
A slice of five hundred values costs no more than one of two, since an answer lies in one of them.
With `false_alarms.per_quarter` time spends it, so that it holds at any traffic, shared by all
streams. Where neither is stated, each monitor has its own `false_alarms_per_million`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from driftgate.drift.plan import declared, sources_of
from driftgate.events import DAY_MS
from driftgate.model_repo import ModelYaml, Monitor
from driftgate.signals import streams
from driftgate.tasks import task_of

MILLION = 1e6
QUARTER_MS = DAY_MS * 365.25 / 4


def stakes(config: ModelYaml, names: Iterable[str] = ()) -> Mapping[str, float]:
    """What a number of a stream spends, by monitor; nothing where time spends it. `names` are the
    slices, without value, that quality is watched in by itself."""
    names = list(names)
    return {
        m.name: budget_of(m, config) / MILLION / moved(m, config, names) for m in config.monitors
    }


def per_ms(config: ModelYaml) -> float:
    """What all streams spend in a ms, where time spends the budget; 0 where answers do."""
    per_quarter = config.false_alarms and config.false_alarms.per_quarter
    return (per_quarter or 0.0) / QUARTER_MS


def budget_of(monitor: Monitor, config: ModelYaml) -> float:
    """False alarms per million answers of one monitor."""
    if config.false_alarms is None:
        return monitor.false_alarms_per_million
    return (config.false_alarms.per_million or 0.0) / len(config.monitors)


def moved(monitor: Monitor, config: ModelYaml, names: Iterable[str]) -> int:
    """Streams that one answer moves at most: `all`, and one value of each slice."""
    values = [*declared(monitor, config), *(names if monitor.signal == "quality" else ())]
    inside = {value.partition("=")[0] for value in values}
    signals = streams(monitor.value, task_of(config.task), both_sides=monitor.both_sides)
    told = len(sources_of(signals[0], config))
    numbers = sum(len(each.streams) for each in signals) * (1 + monitor.both_sides)
    bar = monitor.signal == "quality"  # the stream that is held against the gate's bar
    return (len(inside) * numbers + bar) * max(told, 1)

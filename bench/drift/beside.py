"""Runs one peer on streams, in the peer's own environment: `python beside.py PEER FOLDER`.

FOLDER holds `reference.npy` [answers], `NAME.npy` [runs, answers] of each stream, and `plan.json`:
by name, after how many answers the stream changes, or null. It gets `alarms.json`: by name, of each
run, the answers after which the peer alarmed, until the first one after the change. Nothing of
driftgate is imported here.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

WINDOW = 500

Run = Callable[[Any], Iterator[int]]
"""A stream in, alarms out, counted from 1."""


def evidently(reference: Any) -> Run:
    """Drift of one categorical column, window by window, by the test and threshold that Evidently
    picks for a reference of this size."""
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    definition = DataDefinition(categorical_columns=["error"])

    def data(numbers: Any) -> Any:
        return Dataset.from_pandas(pd.DataFrame({"error": numbers}), data_definition=definition)

    known = data(reference)

    def run(numbers: Any) -> Iterator[int]:
        for end in range(WINDOW, len(numbers) + 1, WINDOW):
            report = Report([ValueDrift(column="error")])
            metric = report.run(data(numbers[end - WINDOW : end]), known).dict()["metrics"][0]
            is_distance = "distance" in metric["config"]["method"]
            value, threshold = metric["value"], metric["config"]["threshold"]
            if value >= threshold if is_distance else value < threshold:
                yield end

    return run


def nannyml(reference: Any) -> Run:
    """Realised accuracy by chunk, beyond three standard deviations of the reference's chunks, on
    the side where it is worse."""
    import nannyml as nml
    import pandas as pd

    def data(numbers: Any) -> Any:
        truth = np.arange(len(numbers)) % 2
        predicted = np.where(numbers == 1, 1 - truth, truth)
        return pd.DataFrame({"truth": truth, "predicted": predicted, "probability": 0.5})

    calculator = nml.PerformanceCalculator(
        problem_type="classification_binary",
        y_true="truth",
        y_pred="predicted",
        y_pred_proba="probability",
        metrics=["accuracy"],
        chunk_size=WINDOW,
    ).fit(data(reference))

    def run(numbers: Any) -> Iterator[int]:
        found = calculator.calculate(data(numbers)).filter(period="analysis").to_df()["accuracy"]
        worse = found["alert"] & (found["value"] < found["lower_threshold"])
        yield from ((int(at) + 1) * WINDOW for at in np.flatnonzero(worse.to_numpy(bool)))

    return run


def alibi_detect(reference: Any) -> Run:
    """The online Fisher exact test for a rise. Its thresholds are simulated for an expected run of
    1,000 numbers: for 10⁶, that takes thousands of times as long."""
    from alibi_detect.cd import FETDriftOnline

    np.random.seed(1)
    detector = FETDriftOnline(
        reference[:, None],
        ert=1000,
        window_sizes=[100, 300],
        alternative="greater",
        n_bootstraps=2500,
        verbose=False,
    )

    def run(numbers: Any) -> Iterator[int]:
        detector.reset_state()
        for at, x in enumerate(numbers[:, None], 1):
            if detector.predict(x, return_test_stat=False)["data"]["is_drift"]:
                yield at
                detector.reset_state()

    return run


PEERS: dict[str, Callable[[Any], Run]] = {
    "evidently": evidently,
    "nannyml": nannyml,
    "alibi-detect": alibi_detect,
}


def until(alarms: Iterator[int], change: int | None) -> Iterator[int]:
    for at in alarms:
        yield at
        if change is not None and at > change:
            return


def main(peer: str, folder: Path) -> None:
    warnings.filterwarnings("ignore")
    run = PEERS[peer](np.load(folder / "reference.npy").astype(int))
    plan: dict[str, int | None] = json.loads((folder / "plan.json").read_text())
    found = {
        name: [list(until(run(one), change)) for one in np.load(folder / f"{name}.npy").astype(int)]
        for name, change in plan.items()
    }
    (folder / "alarms.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))

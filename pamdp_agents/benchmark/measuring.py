"""Measurements repeated in turn, their medians, the table, and other programs to compare with."""

from __future__ import annotations

import json
import shlex
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple


class Row(NamedTuple):
    """One line of the table: what was measured, its unit, and the median and spread of the repeats."""

    what: str
    unit: str
    median: float
    lowest: float
    highest: float


class Measurement(NamedTuple):
    """A function that measures one thing or several.

    Attributes:
        names: What it measures, and the units.
        measure: Returns one number for each name.
    """

    names: tuple[tuple[str, str], ...]
    measure: Callable[[], Sequence[float]]


def one(what: str, unit: str, measure: Callable[[], float]) -> Measurement:
    """Returns the measurement of one number."""
    return Measurement(((what, unit),), lambda: [measure()])


def repeat_in_turn(measurements: Sequence[Measurement], repeats: int) -> list[Row]:
    """Runs all measurements, each ``repeats`` times in turn, so that a busy spell does not fall on one of them alone.

    Every second round goes through them backwards.
    """
    values: dict[tuple[str, str], list[float]] = {name: [] for each in measurements for name in each.names}
    for repeat in range(repeats):
        for each in measurements if repeat % 2 == 0 else reversed(measurements):
            for name, value in zip(each.names, each.measure(), strict=True):
                values[name].append(value)
    return [Row(*name, statistics.median(found), min(found), max(found)) for name, found in values.items()]


def median_seconds(call: Callable[[], object], calls: int) -> float:
    """Returns the median seconds that a call takes."""
    seconds = []
    for _ in range(calls):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def baseline_steps(command: str) -> float:
    """Runs another learner's command and returns its learner steps per second.

    Raises:
        ValueError: The command fails, or its last line is not the JSON expected.
    """
    ran = subprocess.run(shlex.split(command), capture_output=True, text=True)
    try:
        return float(json.loads(ran.stdout.strip().splitlines()[-1])["learner_steps_per_second"])
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f'baseline command {command!r} must end with a line like {{"learner_steps_per_second": 150.0}}; '
            f"it printed {ran.stdout!r} {ran.stderr[-500:]!r}"
        ) from error


def table(rows: Sequence[Row]) -> str:
    """Returns the rows as text; those of learner and learn have their ratio to the baseline, if there is one."""
    baselines = {row.what.split(":")[0]: row.median for row in rows if row.what.endswith("baseline learner")}
    lines = [f"{'':66} {'median':>10} {'lowest':>10} {'highest':>10}"]
    for what, unit, median, lowest, highest in rows:
        line = f"{what:66} {median:10,.4g} {lowest:10,.4g} {highest:10,.4g} {unit}"
        baseline = baselines.get(what.split(":")[0])
        if baseline is not None and (" learner, " in what or " learn, " in what):
            line += f", {median / baseline:.1f} × baseline"
        lines.append(line)
    return "\n".join(lines)

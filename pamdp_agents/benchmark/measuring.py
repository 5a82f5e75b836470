"""Measurements repeated in turn, what follows from them, their medians, and the tables."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias


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


class Derived(NamedTuple):
    """A number that follows from measured ones, such as a ratio; computed in each round, from that round's.

    Attributes:
        names: Its name and unit, in a tuple of one.
        of: Names of what it is computed from.
        compute: Takes their numbers.
    """

    names: tuple[tuple[str, str]]
    of: tuple[str, ...]
    compute: Callable[..., float]


Entry: TypeAlias = Measurement | Derived


def one(what: str, unit: str, measure: Callable[[], float]) -> Measurement:
    """Returns the measurement of one number."""
    return Measurement(((what, unit),), lambda: [measure()])


def ratio(of: str, to: str, name: str) -> Derived:
    """Returns how many times as large one measured number is as another."""
    return Derived(((f"{of} / {name}", "×"),), (of, to), lambda own, other: own / other)


def select(entries: Sequence[Entry], only: str) -> list[Entry]:
    """Returns the entries that have a text in one of their names, and those that they are computed from."""
    chosen = [any(only in what for what, _ in each.names) for each in entries]
    needed = {what for each, is_in in zip(entries, chosen, strict=True) if is_in for what in getattr(each, "of", ())}
    return [
        each
        for each, is_in in zip(entries, chosen, strict=True)
        if is_in or any(what in needed for what, _ in each.names)
    ]


def repeat_in_turn(entries: Sequence[Entry], repeats: int) -> list[Row]:
    """Runs all measurements, each `repeats` times in turn, so that a busy spell does not fall on one of them alone.

    Every second round goes through them backwards.

    Args:
        entries: Measurements, and what follows from them.
        repeats: Number of rounds.

    Returns:
        The rows, in the order of the entries.
    """
    values: dict[str, list[float]] = {what: [] for each in entries for what, _ in each.names}
    for repeat in range(repeats):
        for each in entries if repeat % 2 == 0 else reversed(entries):
            if isinstance(each, Measurement):
                for (what, _), value in zip(each.names, each.measure(), strict=True):
                    values[what].append(value)
        for each in entries:
            if isinstance(each, Derived):
                values[each.names[0][0]].append(each.compute(*(values[what][repeat] for what in each.of)))
    found = [(what, unit, values[what]) for each in entries for what, unit in each.names]
    return [Row(what, unit, statistics.median(all_), min(all_), max(all_)) for what, unit, all_ in found]


def median_seconds(call: Callable[[], object], calls: int, most_seconds: float = math.inf) -> float:
    """Returns the median seconds that a call takes.

    Args:
        call: What to call.
        calls: How often.
        most_seconds: No further call after this time.
    """
    seconds: list[float] = []
    end = time.perf_counter() + most_seconds
    while len(seconds) < calls and (not seconds or time.perf_counter() < end):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def table(rows: Sequence[Row]) -> str:
    """Returns the rows as text."""
    width = max(len(row.what) for row in rows)
    lines = [f"{'':{width}} {'median':>10} {'lowest':>10} {'highest':>10}"]
    for what, unit, *numbers in rows:
        lines.append(" ".join([f"{what:{width}}", *(f"{_text(number):>10}" for number in numbers), unit]))
    return "\n".join(lines)


def pivot(rows: Sequence[Row]) -> str:
    """Returns rows named `"subject: column"` as a table of one line for each subject: medians (lowest-highest)."""
    lines: dict[str, dict[str, str]] = {}
    for what, unit, median, lowest, highest in rows:
        subject, _, column = what.partition(": ")
        spread = f" ({_text(lowest)}-{_text(highest)})" if lowest != highest else ""
        lines.setdefault(subject, {"": subject})[f"{column}, {unit}"] = _text(median) + spread
    columns = dict.fromkeys(column for cells in lines.values() for column in cells)
    texts = [[column, *(cells.get(column, "") for cells in lines.values())] for column in columns]
    padded = [[text.ljust(max(map(len, column))) for text in column] for column in texts]
    return "\n".join("  ".join(line).rstrip() for line in zip(*padded, strict=True))


def _text(number: float) -> str:
    return f"{number:,.0f}" if number >= 1000 else f"{number:.4g}"

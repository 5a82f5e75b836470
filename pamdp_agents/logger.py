"""Record training numbers and write them to the terminal, CSV, JSON lines or TensorBoard.

The names are Stable-Baselines3's (`stable_baselines3.common.logger`), whose loggers and writers can stand in for
these. These loggers can stand in for its; its `Logger` passes over writers that are not of its own `KVWriter`.
"""

from __future__ import annotations

import csv
import datetime
import json
import numbers
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm

Values = dict[str, Any]

Excluded = dict[str, tuple[str, ...]]


class KVWriter(Protocol):
    """What a logger writes to: anything with these two methods, subclass or not."""

    def write(self, key_values: Values, key_excluded: Excluded, step: int = 0) -> None:
        """Writes one row.

        Args:
            key_values: The values of this row.
            key_excluded: For each key, the names of the formats that leave it out.
            step: The number of environment steps so far.
        """

    def close(self) -> None:
        """Releases what the writer holds, if anything."""
        return None


class HumanOutputFormat(KVWriter):
    """An aligned table, its keys grouped by what stands before their slash (`rollout/`, `time/`, `train/`).

    Args:
        filename: The file to write to, an existing one being replaced; None for standard output.
        max_length: Longer values are cut to this many characters.
    """

    def __init__(self, filename: str | Path | None = None, max_length: int = 36) -> None:
        self.filename = None if filename is None else _new_file(filename)
        self.max_length = max_length

    def write(self, key_values: Values, key_excluded: Excluded, step: int = 0) -> None:
        """Writes one table."""
        rows = self._rows(_row(key_values, key_excluded, "stdout", "log"))
        if not rows:
            return
        key_width = max(len(key) for key, _ in rows)
        value_width = max(len(value) for _, value in rows)
        rule = "-" * (key_width + value_width + 7)
        lines = [f"| {key:<{key_width}} | {value:<{value_width}} |" for key, value in rows]
        table = "\n".join([rule, *lines, rule])
        if self.filename is None:
            tqdm.write(table, file=sys.stdout)  # above a progress bar, not through it
            sys.stdout.flush()
        else:
            with self.filename.open("a", encoding="utf-8") as file:
                file.write(table + "\n")

    def _rows(self, key_values: Values) -> list[tuple[str, str]]:
        groups: dict[str, list[tuple[str, str]]] = {}
        for key, value in sorted(key_values.items()):
            group, slash, name = key.partition("/") if "/" in key else ("", "", key)
            groups.setdefault(group + slash, []).append((name, self._format(value)))
        rows = []
        for group, members in sorted(groups.items()):
            rows += [(group, "")] if group else []
            rows += [(f"{'   ' if group else ''}{name}", value) for name, value in members]
        return rows

    def _format(self, value: Any) -> str:
        text = f"{value:.3g}" if isinstance(value, float) else " ".join(str(value).split())
        return text if len(text) <= self.max_length else text[: self.max_length - 3] + "..."


class CSVOutputFormat(KVWriter):
    """A CSV file with one row per dump.

    A key that appears for the first time adds a column: the file is rewritten under a temporary name and
    moved into place, so that a reader never meets half a file.

    Args:
        filename: The file to write to; an existing one is replaced.
    """

    def __init__(self, filename: str | Path) -> None:
        self.filename = _new_file(filename)
        self.keys: list[str] = []

    def write(self, key_values: Values, key_excluded: Excluded, step: int = 0) -> None:
        """Writes one row."""
        key_values = _row(key_values, key_excluded, "csv")
        new_keys = [key for key in key_values if key not in self.keys]
        if new_keys:
            self._add_columns(new_keys)
        if key_values:
            with self.filename.open("a", newline="", encoding="utf-8") as file:
                csv.writer(file).writerow([key_values.get(key, "") for key in self.keys])

    def _add_columns(self, new_keys: list[str]) -> None:
        with self.filename.open(newline="", encoding="utf-8") as old:
            rows = list(csv.reader(old))[1:]
        self.keys += new_keys
        temporary = self.filename.with_name(self.filename.name + ".tmp")
        with temporary.open("w", newline="", encoding="utf-8") as new:
            csv.writer(new).writerows([self.keys, *(row + [""] * len(new_keys) for row in rows)])
        temporary.replace(self.filename)


class JSONOutputFormat(KVWriter):
    """A file with one JSON object a line; NaN and infinities as Python's `json` has them: `NaN`, `Infinity`.

    Args:
        filename: The file to write to; an existing one is replaced.
    """

    def __init__(self, filename: str | Path) -> None:
        self.filename = _new_file(filename)

    def write(self, key_values: Values, key_excluded: Excluded, step: int = 0) -> None:
        """Writes one line."""
        line = json.dumps(_row(key_values, key_excluded, "json"))
        with self.filename.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


class TensorBoardOutputFormat(KVWriter):
    """A TensorBoard event file. Writing it needs TensorFlow only; viewing it, `pip install tensorboard`.

    Args:
        folder: The folder to write the event file to.
    """

    def __init__(self, folder: str | Path) -> None:
        import tensorflow as tf  # here, so that a logger without TensorBoard starts at once

        self._tf = tf
        self.writer = tf.summary.create_file_writer(str(folder))

    def write(self, key_values: Values, key_excluded: Excluded, step: int = 0) -> None:
        """Writes one event with all values."""
        row = _row(key_values, key_excluded, "tensorboard")
        values = [self._value(key, value) for key, value in row.items() if value is not None]
        # `tf.summary.scalar` would need the tensorboard package; the event itself does not.
        summary = self._tf.compat.v1.Summary(value=values).SerializeToString()
        with self.writer.as_default():
            self._tf.summary.experimental.write_raw_pb(summary, step=step)
        self.writer.flush()

    def close(self) -> None:
        """Closes the event file."""
        self.writer.close()

    def _value(self, key: str, value: Any) -> Any:
        v1 = self._tf.compat.v1
        if not isinstance(value, str):
            return v1.Summary.Value(tag=key, simple_value=value)
        metadata = v1.SummaryMetadata(plugin_data={"plugin_name": "text"})
        return v1.Summary.Value(tag=key, metadata=metadata, tensor=self._tf.make_tensor_proto(value))


class Logger:
    """Collects values by name until `dump` writes them as one row to every output.

    Args:
        folder: Where the outputs are, or None if nothing is written to disk.
        output_formats: The outputs.

    Example:
        >>> logger = Logger(None, [])
        >>> logger.record("train/loss", 0.5)
        >>> logger.name_to_value
        {'train/loss': 0.5}
        >>> logger.dump(step=100)
        >>> logger.name_to_value
        {}
    """

    def __init__(self, folder: str | None, output_formats: Sequence[KVWriter]) -> None:
        self.dir = folder
        self.output_formats = list(output_formats)
        self.name_to_value: Values = {}
        self.name_to_count: dict[str, int] = {}
        self.name_to_excluded: Excluded = {}

    def record(self, key: str, value: Any, exclude: str | tuple[str, ...] | None = None) -> None:
        """Sets a value of the current row; the last one set is written.

        Args:
            key: Name, usually `group/name`.
            value: A number, a text or None; anything else needs an output that takes it.
            exclude: Output or outputs, by the names `configure` takes, that leave this key out.
        """
        self.name_to_value[key] = value
        self.name_to_excluded[key] = (exclude,) if isinstance(exclude, str) else tuple(exclude or ())

    def record_mean(self, key: str, value: float | None, exclude: str | tuple[str, ...] | None = None) -> None:
        """Adds a number to the mean that the current row will hold.

        Args:
            key: Name, usually `group/name`.
            value: The number to average in; None is ignored.
            exclude: Output or outputs, by the names `configure` takes, that leave this key out.
        """
        if value is None:
            return
        count = self.name_to_count.get(key, 0)
        total = self.name_to_value[key] * count if count else 0.0
        self.record(key, (total + value) / (count + 1), exclude)
        self.name_to_count[key] = count + 1

    def dump(self, step: int = 0) -> None:
        """Writes the current row to every output and begins a new one.

        Args:
            step: The number of environment steps so far, TensorBoard's horizontal axis.

        Raises:
            TypeError: A value that an output should write is neither a number nor a text.
        """
        for output in self.output_formats:
            output.write(self.name_to_value, self.name_to_excluded, step)
        self.name_to_value.clear()
        self.name_to_count.clear()
        self.name_to_excluded.clear()

    def get_dir(self) -> str | None:
        """Returns the folder of the outputs, or None if nothing is written to disk."""
        return self.dir

    def close(self) -> None:
        """Closes every output."""
        for output in self.output_formats:
            output.close()


_OUTPUTS: dict[str, Callable[[Path], KVWriter]] = {
    "stdout": lambda folder: HumanOutputFormat(),
    "log": lambda folder: HumanOutputFormat(folder / "log.txt"),
    "csv": lambda folder: CSVOutputFormat(folder / "progress.csv"),
    "json": lambda folder: JSONOutputFormat(folder / "progress.json"),
    "tensorboard": TensorBoardOutputFormat,
}


def configure(folder: str | Path | None = None, format_strings: Sequence[str] | None = None) -> Logger:
    """Builds a logger.

    Args:
        folder: Where files go; it is made if needed. None makes one in the system's temporary folder, if
            there are files to write.
        format_strings: The outputs: "stdout", "log" (log.txt), "csv" (progress.csv), "json" (progress.json),
            "tensorboard"; empty strings are ignored. None means stdout, log and csv.

    Returns:
        The logger, which an agent's `set_logger` takes.

    Raises:
        ValueError: There is no such output.
    """
    formats = ["stdout", "log", "csv"] if format_strings is None else [name for name in format_strings if name]
    for name in formats:
        if name not in _OUTPUTS:
            raise ValueError(f"format_strings holds {name!r}, no output's name; choose from {', '.join(_OUTPUTS)}.")
    writes_files = any(name != "stdout" for name in formats)
    if folder is None and writes_files:
        now = datetime.datetime.now()
        folder = Path(tempfile.gettempdir(), f"pamdp-agents-{now:%Y-%m-%d-%H-%M-%S-%f}")
    if folder is not None:
        Path(folder).mkdir(parents=True, exist_ok=True)
    if writes_files and "stdout" in formats:
        print(f"Logging to {folder}")
    outputs = [_OUTPUTS[name](Path(folder or ".")) for name in formats]
    return Logger(None if folder is None else str(folder), outputs)


def _new_file(filename: str | Path) -> Path:
    path = Path(filename)
    path.write_text("")
    return path


def _row(key_values: Values, key_excluded: Excluded, *formats: str) -> Values:
    """Returns what these formats are to write, as plain Python numbers, texts and None."""
    row = {}
    for key, value in key_values.items():
        if not set(formats).isdisjoint(key_excluded.get(key, ())):
            continue
        if not isinstance(value, str) and np.size(value) == 1:
            value = np.asarray(value).item()  # what NumPy or TensorFlow computed
        if not isinstance(value, (str, numbers.Number, type(None))):
            raise TypeError(
                f"The value recorded as {key!r} is a {type(value).__name__}, but {formats[0]} takes only "
                f"numbers and texts; record one, or leave it out there with exclude={formats[0]!r}."
            )
        row[key] = value
    return row


def configure_run(folder: str | None, format_strings: Sequence[str], name: str, new_run: bool) -> Logger:
    """Returns the logger of a run, with a numbered folder for TensorBoard of its own.

    Args:
        folder: Where run folders `{name}_{number}` go; None: no TensorBoard.
        format_strings: The other formats.
        name: The run's name.
        new_run: Take the next number; False: go on in the last run's folder.
    """
    if folder is None:
        return configure(None, format_strings)
    ends = [path.name.rpartition("_")[2] for path in Path(folder).glob(f"{name}_*")]
    numbers = [int(end) for end in ends if end.isdecimal()]
    number = max(numbers, default=0) + (1 if new_run or not numbers else 0)
    return configure(str(Path(folder) / f"{name}_{number}"), [*format_strings, "tensorboard"])

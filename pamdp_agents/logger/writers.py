"""What a logger writes to: a table for people, CSV, JSON lines, or a writer of the user's own."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TextIO, runtime_checkable

import numpy as np
from tqdm import tqdm

from pamdp_agents.files.atomic import write_bytes
from pamdp_agents.logger.values import FormatUnsupportedError, plain, special_kind

Values = dict[str, Any]

Excluded = dict[str, tuple[str, ...]]


@runtime_checkable
class KVWriter(Protocol):
    """What a logger writes values to: anything with these two methods, subclass or not."""

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


@runtime_checkable
class SeqWriter(Protocol):
    """What a logger writes messages to: anything with this method, subclass or not."""

    def write_sequence(self, sequence: list[str]) -> None:
        """Writes one message.

        Args:
            sequence: Its parts.
        """


class HumanOutputFormat(KVWriter, SeqWriter):
    """An aligned table, its keys grouped by what stands before their slash (`rollout/`, `time/`, `train/`).

    Args:
        filename_or_file: A file to write to, an existing one being replaced; or a stream open for writing text; None
            for standard output, whatever that is at the time.
        max_length: Longer keys and values are cut to this many characters.

    Raises:
        ValueError: `filename_or_file` is none of these.
    """

    def __init__(self, filename_or_file: str | Path | TextIO | None = None, max_length: int = 36) -> None:
        is_path = isinstance(filename_or_file, str | Path)
        if not (is_path or filename_or_file is None or hasattr(filename_or_file, "write")):
            raise ValueError(
                f"filename_or_file must be a path, a stream with a method write, or None, got {filename_or_file!r}"
            )
        self.filename = new_file(filename_or_file) if isinstance(filename_or_file, str | Path) else None
        self.file = None if is_path else filename_or_file
        self.max_length = max_length

    def write(self, key_values: Values, key_excluded: Excluded, step: int = 0) -> None:
        """Writes one table.

        Raises:
            FormatUnsupportedError: A value is a figure, an image, a video or hyperparameters.
            ValueError: Two keys of a group begin with the same `max_length` characters.
        """
        rows = self._rows(_row(key_values, key_excluded, "stdout", "log"))
        if not rows:
            return
        key_width = max(len(key) for key, _ in rows)
        value_width = max(len(value) for _, value in rows)
        rule = "-" * (key_width + value_width + 7)
        lines = [f"| {key:<{key_width}} | {value:<{value_width}} |" for key, value in rows]
        self._print("\n".join([rule, *lines, rule]))

    def write_sequence(self, sequence: list[str]) -> None:
        """Writes the parts of a message with spaces between them."""
        self._print(" ".join(sequence))

    def _print(self, text: str) -> None:
        if self.filename is not None:
            with self.filename.open("a", encoding="utf-8") as file:
                file.write(text + "\n")
            return
        stream = sys.stdout if self.file is None else self.file
        tqdm.write(text + "\n", file=stream, end="")  # above a progress bar, not through it
        if hasattr(stream, "flush"):
            stream.flush()

    def _rows(self, key_values: Values) -> list[tuple[str, str]]:
        groups: dict[str, dict[str, str]] = {}
        for key, value in sorted(key_values.items()):
            group, slash, name = key.partition("/") if "/" in key else ("", "", key)
            members, shown = groups.setdefault(group + slash, {}), self._cut(f"{'   ' if group else ''}{name}")
            if shown in members:
                raise ValueError(
                    f"Key {key!r} is truncated to {shown!r}, and so is another one: give HumanOutputFormat a "
                    f"max_length above {self.max_length}"
                )
            members[shown] = self._format(value)
        rows = []
        for group, members in sorted(groups.items()):
            rows += [(self._cut(group), "")] if group else []
            rows += members.items()
        return rows

    def _format(self, value: Any) -> str:
        return self._cut(f"{value:.3g}" if isinstance(value, float) else " ".join(str(value).split()))

    def _cut(self, text: str) -> str:
        return text if len(text) <= self.max_length else text[: self.max_length - 3] + "..."


class CSVOutputFormat(KVWriter):
    """A CSV file with one row per dump.

    A key that appears for the first time adds a column: the file is rewritten under a temporary name and
    moved into place, so that a reader never meets half a file.

    Args:
        filename: The file to write to; an existing one is replaced.
    """

    def __init__(self, filename: str | Path) -> None:
        self.filename = new_file(filename)
        self.keys: list[str] = []

    def write(self, key_values: Values, key_excluded: Excluded, step: int = 0) -> None:
        """Writes one row.

        Raises:
            FormatUnsupportedError: A value is a figure, an image, a video or hyperparameters.
        """
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
        table = io.StringIO(newline="")
        csv.writer(table).writerows([self.keys, *(row + [""] * len(new_keys) for row in rows)])
        write_bytes(self.filename, table.getvalue().encode())


class JSONOutputFormat(KVWriter):
    """A file with one JSON object a line; NaN and infinities as Python's `json` has them: `NaN`, `Infinity`.

    Args:
        filename: The file to write to; an existing one is replaced.
    """

    def __init__(self, filename: str | Path) -> None:
        self.filename = new_file(filename)

    def write(self, key_values: Values, key_excluded: Excluded, step: int = 0) -> None:
        """Writes one line.

        Raises:
            FormatUnsupportedError: A value is a figure, an image, a video or hyperparameters, or nothing that JSON has.
        """
        entries = []
        for key, value in _row(key_values, key_excluded, "json").items():
            try:
                entries.append(f"{json.dumps(key)}: {json.dumps(value, default=_nested)}")
            except (TypeError, ValueError) as error:
                raise FormatUnsupportedError(["json"], f"{type(value).__name__} recorded as {key!r}") from error
        with self.filename.open("a", encoding="utf-8") as file:
            file.write("{" + ", ".join(entries) + "}\n")


def filter_excluded_keys(key_values: Values, key_excluded: Mapping[str, Any], _format: str) -> Values:
    """Returns the values that a format does not leave out.

    Args:
        key_values: Values by key.
        key_excluded: For each key, the name or names of the formats that leave it out, or None.
        _format: The format's name.
    """
    return {key: value for key, value in key_values.items() if _format not in as_names(key_excluded.get(key))}


def as_names(names: str | Sequence[str] | None) -> tuple[str, ...]:
    """Returns a name, several or none as a tuple."""
    return (names,) if isinstance(names, str) else tuple(names or ())


def new_file(filename: str | Path) -> Path:
    """Returns the path of a new, empty file, which stays the same when the working folder changes."""
    path = Path(filename).absolute()
    path.write_text("")
    return path


def _row(key_values: Values, key_excluded: Mapping[str, Any], *formats: str) -> Values:
    """Returns what these formats are to write: plain Python numbers and lists where NumPy or others had theirs."""
    for name in formats:
        key_values = filter_excluded_keys(key_values, key_excluded, name)
    row = {}
    for key, value in key_values.items():
        if kind := special_kind(value):
            raise FormatUnsupportedError(formats, f"{kind.lower()} recorded as {key!r}")
        value = plain(value)
        row[key] = value.tolist() if isinstance(value, np.ndarray) else value
    return row


def _nested(value: Any) -> Any:
    """Returns what JSON has for an array or tensor within a list or dict."""
    known = plain(value)
    if known is value and not isinstance(value, np.ndarray):
        raise TypeError
    return known.tolist() if isinstance(known, np.ndarray) else known

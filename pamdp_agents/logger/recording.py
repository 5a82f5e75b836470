"""The logger, and how one is made."""

from __future__ import annotations

import datetime
import glob
import os
import tempfile
import weakref
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pamdp_agents.logger.tensorboard import TensorBoardOutputFormat
from pamdp_agents.logger.writers import (
    CSVOutputFormat,
    Excluded,
    HumanOutputFormat,
    JSONOutputFormat,
    KVWriter,
    SeqWriter,
    Values,
    as_names,
)

DEBUG, INFO, WARN, ERROR, DISABLED = 10, 20, 30, 40, 50


class _Values(dict[str, Any]):
    """Values by key; those not recorded read as 0, as in Stable-Baselines3, and are not written."""

    def __missing__(self, key: str) -> float:
        return 0.0


class Logger:
    """Collects values by name until `dump` writes them as one row to every output.

    Args:
        folder: Where the outputs are, or None if nothing is written to disk.
        output_formats: The outputs.

    Attributes:
        level: Messages below this level are not written; at `DISABLED`, `dump` does nothing either.
        name_to_count: How many values each mean is of.
        name_to_excluded: For each key, the names of the outputs that leave it out.

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
        self.level = INFO
        self.name_to_count: dict[str, int] = defaultdict(int)
        self.name_to_excluded: Excluded = {}
        self._values = _Values()
        self._ask: Callable[[], Callable[[Logger], Any] | None] | None = None

    @property
    def name_to_value(self) -> Values:
        """The values of the current row, by key. A key that is not there reads as 0."""
        record_news = self._ask and self._ask()
        if record_news:
            record_news(self)
        return self._values

    def ask_when_read(self, record_news: Callable[[Logger], Any]) -> None:
        """Lets an object record only when somebody reads the values, or they are written.

        Args:
            record_news: A method of the object, called with this logger; it records what is new since its last call.
                The logger does not keep the object alive.
        """
        self._ask = weakref.WeakMethod(record_news)

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_ask": None}  # a copy's values are nobody's

    def record(self, key: str, value: Any, exclude: str | tuple[str, ...] | None = None) -> None:
        """Sets a value of the current row; the last one set is written.

        Args:
            key: Name, usually `group/name`.
            value: A number, a text, None, or an array, tensor or list, which TensorBoard shows as a histogram; also
                what only TensorBoard takes: a `Figure`, an `Image`, a `Video`, an `HParam`.
            exclude: Output or outputs, by the names `configure` takes, that leave this key out.
        """
        self._values[key] = value
        self.name_to_excluded[key] = as_names(exclude)

    def record_mean(self, key: str, value: float | None, exclude: str | tuple[str, ...] | None = None) -> None:
        """Adds a number to the mean that the current row will hold.

        Args:
            key: Name, usually `group/name`.
            value: The number to average in; None is ignored.
            exclude: Output or outputs, by the names `configure` takes, that leave this key out.
        """
        if value is None:
            return
        count = self.name_to_count[key]
        total = self._values[key] * count if count else 0.0
        self.record(key, (total + value) / (count + 1), exclude)
        self.name_to_count[key] = count + 1

    def dump(self, step: int = 0) -> None:
        """Writes the current row to every output and begins a new one.

        Args:
            step: The number of environment steps so far, TensorBoard's horizontal axis.

        Raises:
            FormatUnsupportedError: A value is nothing for an output that was not told to leave it out.
        """
        if self.level == DISABLED:
            return
        values = self.name_to_value
        for output in self.output_formats:
            output.write(values, self.name_to_excluded, step)
        values.clear()
        self.name_to_count.clear()
        self.name_to_excluded.clear()

    def log(self, *args: Any, level: int = INFO) -> None:
        """Writes a message to the terminal and to log.txt, if the logger has them.

        Args:
            *args: Its parts.
            level: Its level: `DEBUG`, `INFO`, `WARN` or `ERROR`.
        """
        if self.level <= level:
            for output in self.output_formats:
                if isinstance(output, SeqWriter):
                    output.write_sequence([str(part) for part in args])

    def debug(self, *args: Any) -> None:
        """Writes a message of level `DEBUG`, which is below a new logger's level."""
        self.log(*args, level=DEBUG)

    def info(self, *args: Any) -> None:
        """Writes a message of level `INFO`."""
        self.log(*args, level=INFO)

    def warn(self, *args: Any) -> None:
        """Writes a message of level `WARN`."""
        self.log(*args, level=WARN)

    def error(self, *args: Any) -> None:
        """Writes a message of level `ERROR`."""
        self.log(*args, level=ERROR)

    def set_level(self, level: int) -> None:
        """Sets the level below which messages are not written.

        Args:
            level: `DEBUG`, `INFO`, `WARN`, `ERROR`, or `DISABLED` for no messages and no rows.
        """
        self.level = level

    def get_dir(self) -> str | None:
        """Returns the folder of the outputs, or None if nothing is written to disk."""
        return self.dir

    def close(self) -> None:
        """Closes every output."""
        for output in self.output_formats:
            output.close()


_OUTPUTS: dict[str, Callable[[Path, str], KVWriter]] = {
    "stdout": lambda folder, suffix: HumanOutputFormat(),
    "log": lambda folder, suffix: HumanOutputFormat(folder / f"log{suffix}.txt"),
    "csv": lambda folder, suffix: CSVOutputFormat(folder / f"progress{suffix}.csv"),
    "json": lambda folder, suffix: JSONOutputFormat(folder / f"progress{suffix}.json"),
    "tensorboard": lambda folder, suffix: TensorBoardOutputFormat(folder),
}


def make_output_format(_format: str, log_dir: str | Path, log_suffix: str = "") -> KVWriter:
    """Builds one output.

    Args:
        _format: Its name, one of those that `configure` takes.
        log_dir: Where its file goes; it is made if needed.
        log_suffix: What stands before the suffix of its file's name.

    Raises:
        ValueError: There is no such output.
    """
    if _format not in _OUTPUTS:
        raise ValueError(f"{_format!r} is no output's name; choose from {', '.join(_OUTPUTS)}")
    Path(log_dir).mkdir(parents=True, exist_ok=True)
    return _OUTPUTS[_format](Path(log_dir), log_suffix)


def configure(folder: str | Path | None = None, format_strings: Sequence[str] | None = None) -> Logger:
    """Builds a logger.

    Args:
        folder: Where files go; it is made if needed. None: where the environment variable `SB3_LOGDIR` says; without
            it, in a new folder in the system's temporary one, if there are files to write.
        format_strings: The outputs: "stdout", "log" (log.txt), "csv" (progress.csv), "json" (progress.json),
            "tensorboard"; empty strings are ignored. None: those that the environment variable `SB3_LOG_FORMAT` has,
            with commas between them; without it, stdout, log and csv.

    Returns:
        The logger, which an agent's `set_logger` takes.

    Raises:
        ValueError: There is no such output.
    """
    if format_strings is None:
        format_strings = os.environ.get("SB3_LOG_FORMAT", "stdout,log,csv").split(",")
    formats = [name for name in format_strings if name]
    for name in formats:
        if name not in _OUTPUTS:
            raise ValueError(f"format_strings holds {name!r}, no output's name; choose from {', '.join(_OUTPUTS)}.")
    if folder is None:
        folder = os.environ.get("SB3_LOGDIR")
    writes_files = any(name != "stdout" for name in formats)
    if folder is None and writes_files:
        now = datetime.datetime.now()
        folder = Path(tempfile.gettempdir(), f"pamdp-agents-{now:%Y-%m-%d-%H-%M-%S-%f}")
    if folder is not None:
        Path(folder).mkdir(parents=True, exist_ok=True)
    outputs = [_OUTPUTS[name](Path(folder or "."), "") for name in formats]
    logger = Logger(None if folder is None else str(folder), outputs)
    if writes_files:
        logger.info(f"Logging to {folder}")
    return logger


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
    ends = [path.name.rpartition("_")[2] for path in Path(folder).glob(f"{glob.escape(name)}_*")]
    numbers = [int(end) for end in ends if end.isdecimal()]
    number = max(numbers, default=0) + (1 if new_run or not numbers else 0)
    return configure(str(Path(folder) / f"{name}_{number}"), [*format_strings, "tensorboard"])

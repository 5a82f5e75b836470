"""The log of a training that is kept: a table, its picture and, if wanted, TensorBoard's."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

from pamdp_agents.experiments.plots import draw_learning_curve
from pamdp_agents.files.atomic import write_bytes
from pamdp_agents.logger import CSVOutputFormat, HumanOutputFormat, KVWriter, Logger, TensorBoardOutputFormat

if TYPE_CHECKING:
    from pamdp_agents.base.agent import Agent

TABLE, PICTURE = "progress.csv", "learning_curve.png"


class _ContinuedTable(CSVOutputFormat):
    """A log table that goes on after the rows that are there; half a row at its end, after a kill, is dropped."""

    def __init__(self, filename: Path) -> None:
        whole = filename.read_bytes().rpartition(b"\n")
        content = (whole[0] + whole[1]).decode("utf-8", errors="replace")
        write_bytes(filename, content.encode())
        self.filename = filename
        self.keys = next(csv.reader(io.StringIO(content, newline="")), [])


def start_log(agent: Agent, folder: Path, tensorboard: Path | None, table: bool) -> None:
    """Makes an agent log to its run folder, and to others at once, which none of its settings does.

    Args:
        agent: The agent.
        folder: Its run folder, which gets `progress.csv`; one that is there is added to.
        tensorboard: Where TensorBoard's log goes, if anywhere.
        table: Whether to print the log table, too.

    Raises:
        OSError: The table cannot be written.
    """
    file = folder / TABLE
    outputs: list[KVWriter] = [_ContinuedTable(file) if file.is_file() else CSVOutputFormat(file)]
    if table:
        outputs.append(HumanOutputFormat())
    if tensorboard is not None:
        outputs.append(TensorBoardOutputFormat(tensorboard))
    agent.set_logger(Logger(str(folder), outputs))


def draw_log(folder: Path, title: str) -> str | None:
    """Draws the log table of a run folder; returns why not, if it cannot be drawn.

    Args:
        folder: The run folder, which gets `learning_curve.png`.
        title: What stands above the picture.
    """
    try:
        draw_learning_curve(folder / TABLE, folder / PICTURE, title)
    except ImportError:
        return f'{PICTURE} was not drawn: pip install "pamdp-agents[plots]"'
    except ValueError as error:
        return f"{PICTURE} was not drawn: {error}"
    return None

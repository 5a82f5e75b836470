"""The learning curve as a picture, from the log table that training writes."""

from __future__ import annotations

import csv
import os
from pathlib import Path

from pamdp_agents.files.atomic import write_file
from pamdp_agents.files.streams import with_suffix

TRAINING, EVALUATION = "#8fb8de", "#c8501e"


def draw_learning_curve(progress_csv: str | os.PathLike, png_path: str | os.PathLike, title: str) -> None:
    """Draws the mean return of the last episodes over environment steps, and the evaluations if there are any.

    Args:
        progress_csv: The log table (`progress.csv`); its columns `rollout/ep_rew_mean` and `eval/mean_reward`
            are drawn over `time/total_timesteps`.
        png_path: Where the picture goes, whole or not at all; its suffix is `.png` if it has none.
        title: What stands above it.

    Raises:
        ValueError: The table has no returns.
        ImportError: Matplotlib is not installed.
        OSError: The picture cannot be written.
    """
    with Path(progress_csv).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    training, evaluations = _points(rows, "rollout/ep_rew_mean"), _points(rows, "eval/mean_reward")
    if not training and not evaluations:
        raise ValueError(f"{progress_csv} has no returns to draw: no episode has ended")

    # Figures made without pyplot draw to files only, need no display and leave no state behind.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for points, label, color, marker in (
        (training, "training, mean of the last episodes", TRAINING, ""),
        (evaluations, "evaluation", EVALUATION, "o"),
    ):
        if points:
            # One point makes no line.
            axes.plot(*zip(*points, strict=True), color=color, marker=marker or "." * (len(points) == 1), label=label)
    axes.set(title=title, xlabel="environment steps", ylabel="return")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    write_file(with_suffix(png_path, ".png"), lambda file: figure.savefig(file, dpi=120))


def _points(rows: list[dict[str, str]], column: str) -> list[tuple[int, float]]:
    """Returns the (environment steps, value) of the rows that have a value in the column.

    Where training went on from a checkpoint, what was made after it before is left out: it is made anew.
    """
    points: list[tuple[int, float]] = []
    for step, value in ((int(row["time/total_timesteps"]), row.get(column)) for row in rows):
        while points and points[-1][0] > step:
            points.pop()
        if value:
            points.append((step, float(value)))
    return points

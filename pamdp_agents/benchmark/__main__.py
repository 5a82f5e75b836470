"""The benchmarks' command line: ``python -m pamdp_agents.benchmark speed``.

Prints one table and, with ``--json``, writes the numbers. Each is the median of repeats with its spread. ``--baseline``
runs another program between them, one that prints a line of JSON with ``"learner_steps_per_second"``, and adds the
ratio.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

import tensorflow as tf

from pamdp_agents.benchmark import speed
from pamdp_agents.benchmark.measuring import repeat_in_turn, table


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a benchmark from the command line."""
    parser = argparse.ArgumentParser(prog="python -m pamdp_agents.benchmark", description=__doc__)
    parser.add_argument(
        "which", choices=["speed"], help="speed: environments, learner, learn, predict, files, start-up"
    )
    parser.add_argument("--steps", type=int, default=1280, help="steps in each measurement")
    parser.add_argument("--repeats", type=int, default=5, help="how often each is repeated")
    parser.add_argument("--threads", type=int, default=1, help="TensorFlow's threads; 0: its own choice")
    parser.add_argument(
        "--only", default="", help="measure only what has this text in its name, such as 'learn, ' or 'Platform'"
    )
    parser.add_argument(
        "--baseline",
        help="a command that prints a JSON line with learner_steps_per_second; {domain} in it becomes platform or goal",
    )
    parser.add_argument("--json", help="a file to write the numbers to")
    options = parser.parse_args(arguments)
    if options.threads:
        tf.config.threading.set_intra_op_parallelism_threads(options.threads)
        tf.config.threading.set_inter_op_parallelism_threads(options.threads)
    measurements = speed.measurements(options.steps, options.baseline)
    chosen = [each for each in measurements if any(options.only in what for what, _ in each.names)]
    if not chosen:
        parser.error(f"--only {options.only!r} is in none of the names")
    rows = repeat_in_turn(chosen, options.repeats)
    print(table(rows))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump([row._asdict() for row in rows], file)


if __name__ == "__main__":
    main()

"""The benchmarks' command line: `python -m pamdp_agents.benchmark speed`, `scaling` or `profile`.

Prints one table and, with `--json`, writes the numbers. Each is the median of repeats with its spread.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf

from pamdp_agents.benchmark import scaling, speed, step_profile
from pamdp_agents.benchmark.cases import ALGORITHMS
from pamdp_agents.benchmark.measuring import pivot, repeat_in_turn, select, table
from pamdp_agents.files.atomic import write_json


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--repeats", type=int, default=5, help="how often each measurement is repeated")
    shared.add_argument("--threads", type=int, default=1, help="TensorFlow's threads; 0: its own choice")
    shared.add_argument("--json", type=Path, help="a file to write the numbers to")
    some = argparse.ArgumentParser(add_help=False)
    some.add_argument(
        "--only", default="", help="measure only what has this text in its name, such as 'learn, ' or 'Platform'"
    )

    parser = argparse.ArgumentParser(prog="python -m pamdp_agents.benchmark", description=__doc__)
    commands = parser.add_subparsers(required=True)

    command = commands.add_parser("speed", help=speed.__doc__, description=speed.__doc__, parents=[shared, some])
    command.add_argument("--steps", type=int, default=1280, help="steps in each measurement")
    command.add_argument(
        "--baseline",
        help="a command that prints a JSON line with learner_steps_per_second; {domain} in it becomes platform or goal",
    )
    command.set_defaults(entries=lambda options: speed.measurements(options.steps, options.baseline), show=table)

    command = commands.add_parser("scaling", help=scaling.__doc__, description=scaling.__doc__, parents=[shared, some])
    command.add_argument("--seconds", type=float, default=0.5, help="most of each measurement, but for one call")
    command.set_defaults(entries=lambda options: scaling.measurements(options.seconds), show=pivot)

    title = "Profile: where the time of one step of learn goes, one environment and one update a step."
    command = commands.add_parser("profile", help=title, description=title, parents=[shared])
    command.add_argument("--steps", type=int, default=1280, help="steps in each repeat")
    command.add_argument("--env", default="pamdp/Platform-v0", help="id of the environment")
    command.add_argument("--algo", default="MPDQN", choices=ALGORITHMS, help="the agent")
    command.set_defaults(
        entries=lambda options: step_profile.measurements(options.steps, options.algo, options.env),
        show=table,
        only="",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a benchmark from the command line."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    if options.threads:
        tf.config.threading.set_intra_op_parallelism_threads(options.threads)
        tf.config.threading.set_inter_op_parallelism_threads(options.threads)
    chosen = select(options.entries(options), options.only)
    if not chosen:
        parser.error(f"--only {options.only!r} is in none of the names")
    rows = repeat_in_turn(chosen, options.repeats)
    print(options.show(rows))
    if options.json:
        write_json(options.json, [row._asdict() for row in rows])


if __name__ == "__main__":
    main()

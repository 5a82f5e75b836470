"""The arguments of the commands."""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib.metadata
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from pamdp_agents.agents import AGENTS
from pamdp_agents.cli import enjoy, evaluate, show_list, train
from pamdp_agents.experiments import measure


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of all commands and their arguments."""
    parser = _Parser(
        prog="pamdp-agents",
        description="Train, evaluate and watch agents for environments whose actions have parameters.",
        epilog="For example: pamdp-agents train --algo mpdqn --env pamdp/Platform-v0 -P, and then: "
        "pamdp-agents enjoy --algo mpdqn --env pamdp/Platform-v0",
    )
    parser.add_argument("--version", action="version", version=importlib.metadata.version("pamdp-agents"))
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")

    for add_command in (_add_train, _add_evaluate, _add_enjoy, _add_list):
        add_command(subparsers)
    return parser


def _add_command(
    subparsers: Any, name: str, run: Callable[[argparse.Namespace], int], text: str, more: str = ""
) -> Callable[..., Any]:
    """Adds a command, and returns what adds an argument to it."""
    added = subparsers.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}. {more}".strip())
    added.set_defaults(run=run)
    return added.add_argument


def _add_train(subparsers: Any) -> None:
    add = _add_command(
        subparsers,
        "train",
        train.train,
        "train an agent",
        "Everything about the run goes into a new folder LOG_FOLDER/ALGO/ENV_N: the agent (model.zip), the settings "
        "(config.json), the log table (progress.csv), its picture (learning_curve.png) and a final evaluation "
        "(evaluation.json). Ctrl-C, SIGTERM and SIGHUP stop early and keep what has been learned; --resume goes on.",
    )
    # What is not given is not there: a TrainingRun has the defaults, and a run that goes on its own values.
    not_given = argparse.SUPPRESS
    add("--algo", default=not_given, choices=AGENTS, help="the algorithm")
    add("--env", default=not_given, metavar="ID", help="the environment's id, such as pamdp/Platform-v0")
    add("-n", "--n-timesteps", type=_at_least(1), metavar="N", help="environment steps (default: the tuned number)")
    add(
        "--n-envs",
        type=_at_least(1),
        default=not_given,
        metavar="N",
        help="environments to train in at once (default: 1)",
    )
    add(
        "--seeds",
        type=_at_least(1),
        metavar="N",
        help="train N agents at once, with the seeds SEED to SEED+N-1, each with a folder of its own (default: 1)",
    )
    add("--seed", type=_at_least(0), metavar="N", help="seed of everything random (default: a new one, which is noted)")
    add(
        "--strategy",
        metavar="NAME[,NAME...]",
        help="how the gradient that reaches the action-parameters is changed; several apply from left to right "
        "(`pamdp-agents list` shows the names)",
    )
    add(
        "-params",
        "--hyperparams",
        type=_named_value,
        nargs="+",
        default=[],
        metavar="NAME:VALUE",
        help="settings to change, such as learning_rate:1e-3 \"policy_kwargs:{'net_arch': [64]}\"",
    )
    add("--defaults", action="store_true", help="start from the constructor's defaults, not from the tuned settings")
    add(
        "-f",
        "--log-folder",
        type=Path,
        default=not_given,
        metavar="DIR",
        help="where run folders go (default: runs)",
    )
    add(
        "-tb",
        "--tensorboard-log",
        type=Path,
        default=not_given,
        metavar="DIR",
        help="write logs for TensorBoard to a new folder in DIR",
    )
    add("-P", "--progress", action="store_true", help="show a progress bar (without -P: only in a terminal)")
    add(
        "--eval-freq",
        type=int,
        default=not_given,
        metavar="N",
        help="evaluate every N steps, and keep the best agent so far as best_model.zip (default: only at the end)",
    )
    add(
        "--eval-episodes",
        type=_at_least(1),
        default=not_given,
        metavar="N",
        help="episodes of every evaluation (default: 200)",
    )
    add(
        "--save-freq",
        type=_at_least(0),
        default=not_given,
        metavar="N",
        help="save a checkpoint every N steps, in place of the last one, so that --resume goes on from there after a "
        "kill (default: only at the end, or when stopped)",
    )
    add(
        "--resume",
        type=Path,
        metavar="RUN_FOLDER",
        help="go on with the run in this folder, and with those of the other seeds of the same run, from the last "
        "checkpoint; all about it is as it was, so that only -n can change it",
    )
    add("--verbose", type=int, default=0, choices=(0, 1, 2), help="1: print settings, log tables and tracebacks")
    _add_common(add, default=not_given)


def _add_evaluate(subparsers: Any) -> None:
    more = "Prints the mean return over whole episodes."
    add = _add_command(subparsers, "evaluate", evaluate.evaluate, "measure a trained agent", more)
    _add_selection(add)
    add("--n-episodes", type=_at_least(1), default=200, metavar="N", help="episodes to play (default: 200)")
    add("--json", action="store_true", help="print the numbers as JSON")
    _add_common(add)


def _add_enjoy(subparsers: Any) -> None:
    add = _add_command(subparsers, "enjoy", enjoy.enjoy, "watch a trained agent, in a window or as a video")
    _add_selection(add)
    add("-n", "--n-timesteps", type=_at_least(1), metavar="N", help="environment steps to play (default: 1000)")
    add(
        "--n-episodes",
        type=_at_least(1),
        metavar="N",
        help=f"episodes to play (default for a video: {enjoy.VIDEO_EPISODES})",
    )
    add("--output", type=Path, metavar="FILE", help="write a video, FILE.gif or FILE.mp4, instead of opening a window")
    _add_common(add)


def _add_list(subparsers: Any) -> None:
    text = "list algorithms, environments, strategies, tuned settings, pretrained agents"
    add = _add_command(subparsers, "list", show_list.show_list, text)
    add("--algo", choices=AGENTS, help="with --env: print the tuned settings of this algorithm")
    add("--env", metavar="ID", help="with --algo: print the tuned settings for this environment")


def _add_selection(add: Callable[..., Any]) -> None:
    """Adds what evaluate and enjoy share: which agent, and how it acts."""
    add("--algo", choices=AGENTS, help="the algorithm")
    add("--env", metavar="ID", help="the environment's id (with --path: default is the one it was trained in)")
    add("-f", "--folder", type=Path, default="runs", metavar="DIR", help="where run folders are (default: runs)")
    add("--exp-id", type=_at_least(0), default=0, metavar="N", help="number of the run; 0, the default: the latest")
    add("--load-best", action="store_true", help="the best agent of the run (see train --eval-freq), not the last")
    add("--pretrained", action="store_true", help="the agent that comes with the library, not one from a run folder")
    add("--path", type=Path, metavar="FILE", help="the saved agent in this file; needs neither --algo nor --env")
    add("--deterministic", action="store_true", default=True, help="act without exploration (the default)")
    add("--stochastic", action="store_false", dest="deterministic", help="act with the exploration left at the end")
    add(
        "--seed",
        type=_at_least(0),
        default=measure.EVALUATION_SEED,
        metavar="N",
        help="seed of the first reset (default: %(default)s, as in the evaluation after training)",
    )


def _add_common(add: Callable[..., Any], default: Any = ()) -> None:
    """Adds what is about the environment and the machine; `default` is that of what is about the environment."""
    add(
        "--env-kwargs",
        type=_named_value,
        nargs="+",
        default=default,
        metavar="NAME:VALUE",
        help="arguments of the environment (evaluate and enjoy start from those of the training)",
    )
    add(
        "--env-wrapper",
        type=_wrapper,
        nargs="+",
        default=default,
        metavar="WRAPPER",
        help="wrappers of the environment, the innermost first: module.Class, or with arguments "
        "\"module.Class:{'name': value}\" (default of evaluate and enjoy: those of the training)",
    )
    add(
        "--parameter-sizes",
        type=_at_least(0),
        nargs="+",
        metavar="N",
        help="for one Box that holds the parameters of all discrete actions: how many of its coordinates each action "
        "owns, such as 1 2 0; the outermost wrapper is then HybridActionWrapper(env, parameter_sizes=[1, 2, 0])",
    )
    add(
        "--gym-packages",
        nargs="+",
        default=default,
        metavar="PACKAGE",
        help="packages to import for their environments",
    )
    add("--device", default="auto", help="auto, cpu, gpu or a TensorFlow device (default: auto)")
    add("--num-threads", type=int, default=-1, metavar="N", help="TensorFlow's threads (default: its own choice)")


def _wrapper(text: str) -> str | dict[str, Any]:
    """`"a.B:{'c': 1}"` → `{"a.B": {"c": 1}}`."""
    name, colon, value = text.partition(":")
    if not colon:
        return name
    try:
        return {name: dict(ast.literal_eval(value))}
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        raise argparse.ArgumentTypeError(
            f"must be module.Class or \"module.Class:{{'name': value}}\", got {text!r}"
        ) from None


def _at_least(least: int) -> Callable[[str], int]:
    def integer(text: str) -> int:
        with contextlib.suppress(ValueError):
            if int(text) >= least:
                return int(text)
        raise argparse.ArgumentTypeError(f"must be a whole number of at least {least}, got {text!r}")

    return integer


def _named_value(text: str) -> tuple[str, Any]:
    """`"tau:0.01"` → `("tau", 0.01)`; what is no Python literal stays text."""
    name, colon, value = text.partition(":")
    if not name or not colon:
        raise argparse.ArgumentTypeError(f"must be name:value, got {text!r}")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):  # as literal_eval has it
        return name, value

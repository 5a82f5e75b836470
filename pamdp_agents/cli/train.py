"""`pamdp-agents train`."""

from __future__ import annotations

import argparse
import contextlib
import json
import secrets
import sys
import traceback
from typing import Any, TextIO

from pamdp_agents.agents import agent_class
from pamdp_agents.cli.common import (
    OPTIONS,
    CommandError,
    check_env_id,
    complain,
    limit_threads,
    name_option,
    wrappers_given,
)
from pamdp_agents.experiments.interrupts import signals_as_interrupts
from pamdp_agents.experiments.make_env import import_packages
from pamdp_agents.experiments.outcomes import TrainingFailedError, TrainingInterrupt
from pamdp_agents.experiments.starting_settings import find_starting_settings
from pamdp_agents.experiments.training_run import CannotStartError, TrainingRun

RUN_OPTIONS = {
    "algo": "algorithm",
    "env": "env",
    "n_envs": "n_envs",
    "eval_freq": "eval_freq",
    "eval_episodes": "eval_episodes",
    "save_freq": "save_freq",
    "log_folder": "log_folder",
    "tensorboard_log": "tensorboard_log",
    "env_kwargs": "env_kwargs",
    "gym_packages": "gym_packages",
}
"""The options that are fields of a `TrainingRun`, which has their defaults; there is none for one that is not given."""


def train(args: argparse.Namespace) -> int:
    """Trains agents, keeps everything about them in run folders, and returns the exit code.

    Raises:
        CommandError: Something given cannot be used.
    """
    with signals_as_interrupts():
        limit_threads(args.num_threads)
        try:
            run = _make_run(args) if args.resume is None else _resume_run(args)
            run.run(progress=args.progress or sys.stderr.isatty(), tell=_tell)
        except (CannotStartError, ValueError, TypeError) as error:
            if args.verbose:
                traceback.print_exception(error)
            raise CommandError(name_option(error, args)) from error
        except TrainingInterrupt as interrupt:
            _tell(interrupt, f"go on with: pamdp-agents train --resume {interrupt.kept[0].folder}", file=sys.stderr)
            return 128 + interrupt.signum
        except TrainingFailedError as failure:
            _report(failure, args.verbose)
            return 1
    return 0


def _given(args: argparse.Namespace) -> dict[str, Any]:
    """Returns the fields of a `TrainingRun` that options give."""
    given = {field: getattr(args, option) for option, field in RUN_OPTIONS.items() if hasattr(args, option)}
    if "env_kwargs" in given:
        given["env_kwargs"] = dict(given["env_kwargs"])
    if "eval_freq" in given:
        given["eval_freq"] = max(given["eval_freq"], 0)
    if wrappers := wrappers_given(args):
        given["env_wrapper"] = wrappers
    return given


def _given_settings(args: argparse.Namespace) -> dict[str, Any]:
    given = dict(args.hyperparams)
    if args.strategy is not None:
        names = [name.strip() for name in args.strategy.split(",")]
        given["strategy"] = names if len(names) > 1 else names[0]
    return given


def _make_run(args: argparse.Namespace) -> TrainingRun:
    if missing := [f"--{name}" for name in ("algo", "env") if not hasattr(args, name)]:
        raise CommandError(f"say what to train: {' and '.join(missing)} missing (or --resume RUN_FOLDER)")
    check_env_id(args)
    start = find_starting_settings(args.algo, args.env, tuned=not args.defaults)
    first_seed = secrets.randbelow(2**31) if args.seed is None else args.seed
    return TrainingRun(
        **_given(args),
        seeds=range(first_seed, first_seed + (args.seeds or 1)),
        n_timesteps=args.n_timesteps or start.n_timesteps,
        settings=start.settings | _given_settings(args),
        settings_from=start.origin,
        device=args.device,
        verbose=args.verbose,
        command=args.command_line,
    )


def _resume_run(args: argparse.Namespace) -> TrainingRun:
    """Returns the run of a folder, after checking that no option contradicts it."""
    given = _given(args)
    import_packages(given.pop("gym_packages", []))
    run = TrainingRun.of_folder(args.resume, args.n_timesteps, args.device, args.verbose)
    for name in {"log_folder", "tensorboard_log"} & given.keys():
        given[name] = given[name].absolute()
    compared = [(OPTIONS[name], value, getattr(run, name)) for name, value in given.items()]
    if args.seed is not None:
        compared.append(("--seed", args.seed, run.seeds[0]))
    if args.seeds is not None:
        compared.append(("--seeds", args.seeds, len(run.seeds)))
    if args.defaults:
        compared.append(("--defaults", "default settings", run.settings_from.partition(" (")[0]))
    if settings := _given_settings(args):
        written, _ = agent_class(run.algorithm)("MlpPolicy", env=None, **settings).config()
        compared += [
            ("--strategy" if name == "strategy" else f"--hyperparams {name}", written.get(name), run.settings.get(name))
            for name in settings
        ]
    for option, value, recorded in compared:
        if _as_json(value) != _as_json(recorded):
            raise CommandError(
                f"{option}: {value!r} contradicts the run in {args.resume}, which has {recorded!r}; leave it out, or "
                "train anew without --resume"
            )
    return run


def _as_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _tell(*lines: Any, file: TextIO | None = None) -> None:
    """Prints lines; a terminal that is gone, as after SIGHUP, keeps nothing from being saved."""
    with contextlib.suppress(OSError):
        print(*lines, sep="\n", file=file, flush=True)


def _report(failure: TrainingFailedError, verbose: int) -> None:
    if verbose and failure.__cause__ is not None:
        traceback.print_exception(failure.__cause__)
    hint = "" if verbose else " (--verbose 1 shows the traceback)"
    complain(f"{failure.reason}{hint}; {failure.saved}")

"""`pamdp-agents train`."""

from __future__ import annotations

import argparse
import functools
import re
import secrets
import sys
import traceback

from pamdp_agents.cli.common import CommandError, check_env_id, complain, limit_threads
from pamdp_agents.experiments.outcomes import TrainingFailedError, TrainingInterrupt
from pamdp_agents.experiments.starting_settings import find_starting_settings
from pamdp_agents.experiments.training_run import CannotStartError, TrainingRun

OPTIONS = {"env_kwargs": "--env-kwargs", "seeds": "--seeds", "settings": "--hyperparams"}
"""What gives the arguments of a `TrainingRun` that its errors may name."""


def train(args: argparse.Namespace) -> int:
    """Trains agents, keeps everything about them in new folders, and returns the exit code."""
    check_env_id(args)
    limit_threads(args.num_threads)
    run = _make_run(args)
    try:
        run.run(progress=args.progress or sys.stderr.isatty(), tell=functools.partial(print, flush=True))
    except CannotStartError as error:
        raise CommandError(_name_option(error)) from error
    except TrainingInterrupt as interrupt:
        print(interrupt, file=sys.stderr)
        return 130
    except TrainingFailedError as failure:
        _report(failure, args.verbose)
        return 1
    return 0


def _make_run(args: argparse.Namespace) -> TrainingRun:
    start = find_starting_settings(args.algo, args.env, tuned=not args.defaults)
    given = dict(args.hyperparams)
    if args.strategy is not None:
        names = [name.strip() for name in args.strategy.split(",")]
        given["strategy"] = names if len(names) > 1 else names[0]
    first_seed = secrets.randbelow(2**31) if args.seed is None else args.seed
    try:
        return TrainingRun(
            algorithm=args.algo,
            env=args.env,
            seeds=range(first_seed, first_seed + args.seeds),
            n_timesteps=args.n_timesteps or start.n_timesteps,
            settings=start.settings | given,
            settings_from=start.origin,
            env_kwargs=dict(args.env_kwargs),
            n_envs=args.n_envs,
            eval_freq=max(args.eval_freq, 0),
            eval_episodes=args.eval_episodes,
            log_folder=args.log_folder,
            tensorboard_log=args.tensorboard_log,
            device=args.device,
            verbose=args.verbose,
            command=args.command_line,
        )
    except (ValueError, TypeError) as error:
        raise CommandError(_name_option(error)) from error


def _name_option(error: Exception) -> str:
    """Returns what an error says, about the option that was given where it names the argument."""
    return re.sub(rf"^({'|'.join(OPTIONS)})\b", lambda found: OPTIONS[found[0]], str(error))


def _report(failure: TrainingFailedError, verbose: int) -> None:
    if verbose and failure.__cause__ is not None:
        traceback.print_exception(failure.__cause__)
    hint = "" if verbose else " (--verbose 1 shows the traceback)"
    complain(f"{failure.reason}{hint}; {failure.saved}")

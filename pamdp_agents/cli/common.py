"""What the commands share.

TensorFlow takes seconds to import, so only what needs it imports it.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym

from pamdp_agents.agents import AGENTS, agent_class
from pamdp_agents.experiments.make_env import make_env
from pamdp_agents.experiments.outcomes import BEST_MODEL, MODEL
from pamdp_agents.experiments.run_folder import find_folder, read_config
from pamdp_agents.files.archive import Archive
from pamdp_agents.presets import pretrained

if TYPE_CHECKING:
    from pamdp_agents.base.agent import Agent


class CommandError(Exception):
    """Something given cannot be used; the message says what to do."""


def list_bundled_ids() -> list[str]:
    """Returns the ids of the environments that come with the library."""
    return sorted(name for name in gym.registry if name.startswith("pamdp/"))


@contextlib.contextmanager
def open_trained(args: argparse.Namespace, render_mode: str | None = None) -> Iterator[tuple[Agent, gym.Env]]:
    """Opens the agent that the arguments select, and its environment, which is closed at the end.

    Args:
        args: The arguments of `evaluate` or `enjoy`.
        render_mode: How the environment is rendered, None for not at all.

    Yields:
        The agent and the environment.

    Raises:
        CommandError: The arguments select none, or it cannot be used.
        OSError: There is no such file.
    """
    file = _find_agent_file(args)
    _import_packages(args.gym_packages)
    limit_threads(args.num_threads)
    try:
        saved = Archive.read(file).data
        name = saved.get("agent", "")
        if name not in AGENTS.values():
            raise CommandError(f"the file holds an agent of class {name!r}; known: {', '.join(AGENTS.values())}")
        kwargs = read_config(file).get("env_kwargs", {}) | dict(args.env_kwargs)
        env = make_env(args.env or _check_registered(saved.get("env")), kwargs, render_mode)
        with contextlib.closing(env):
            yield agent_class(name).load(file, env=env, device=args.device), env
    except (ValueError, TypeError) as error:
        raise CommandError(error) from error


def _find_agent_file(args: argparse.Namespace) -> Path:
    if args.path is not None:
        return args.path
    if args.algo is None or args.env is None:
        raise CommandError("say which agent: with --algo and --env, or with --path FILE")
    if args.pretrained:
        return pretrained.path(AGENTS[args.algo], args.env)
    name = BEST_MODEL if args.load_best else MODEL
    return find_folder(args.folder / args.algo, args.env, args.exp_id, holding=name) / name


def _check_registered(env_id: Any) -> str:
    """Returns the id that a file names, if registered: Gymnasium would import a module named before a colon."""
    if env_id not in list(gym.registry):
        raise CommandError(f"the file names the environment {env_id!r}, which is not registered: say which with --env")
    return env_id


def _import_packages(names: Sequence[str]) -> None:
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise CommandError(f"--gym-packages: cannot import {name} ({error})") from error


def check_env_id(args: argparse.Namespace) -> None:
    """Refuses an unknown environment before anything slow happens.

    Raises:
        CommandError: It is unknown, or a package that was to be imported for it cannot be.
    """
    _import_packages(args.gym_packages)
    try:
        gym.spec(args.env)
    except gym.error.Error as error:
        bundled = ", ".join(list_bundled_ids())
        raise CommandError(
            f"--env {args.env}: {error} Bundled: {bundled}; those of another package need --gym-packages PACKAGE"
        ) from error


def limit_threads(number: int) -> None:
    """Makes TensorFlow use so many threads; 0 or less: its own choice."""
    if number > 0:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(number)
        tf.config.threading.set_inter_op_parallelism_threads(number)


def complain(problem: Any) -> None:
    """Prints a problem as one line on standard error."""
    print("pamdp-agents: error: " + " ".join(str(problem).split()), file=sys.stderr)

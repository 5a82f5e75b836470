"""What the commands of the command line do, given their parsed arguments.

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

from pamdp_agents.agents import AGENTS
from pamdp_agents.experiments import run_folder
from pamdp_agents.files.archive import Archive

if TYPE_CHECKING:
    from pamdp_agents.base.off_policy import OffPolicyAgent


class CommandError(Exception):
    """Something given cannot be used; the message says what to do."""


def bundled_ids() -> list[str]:
    """Returns the ids of the environments that come with the library."""
    return sorted(name for name in gym.registry if name.startswith("pamdp/"))


@contextlib.contextmanager
def open_trained(args: argparse.Namespace, render_mode: str | None = None) -> Iterator[tuple[OffPolicyAgent, gym.Env]]:
    """The agent that the arguments select, and its environment, which is closed at the end."""
    path = _agent_file(args)
    _import_packages(args.gym_packages)
    limit_threads(args.num_threads)
    try:
        saved = Archive.read(path).data
        agent_class = find_agent_class(saved.get("agent", ""))
        kwargs = run_folder.trained_with(path).get("env_kwargs", {}) | dict(args.env_kwargs)
        env = make_env(args.env or _registered(saved.get("env")), kwargs, render_mode)
        agent = agent_class.load(path, env=env, device=args.device)
        with contextlib.closing(env):
            yield agent, env
    except (ValueError, TypeError) as error:
        raise CommandError(error) from error


def _registered(env_id: Any) -> str:
    """The environment that a file names, if it is registered: Gymnasium would import a module named before a colon."""
    if env_id not in list(gym.registry):
        raise CommandError(f"the file names the environment {env_id!r}, which is not registered: say which with --env")
    return env_id


def _agent_file(args: argparse.Namespace) -> Path:
    from pamdp_agents.presets import pretrained

    if args.path is not None:
        return args.path
    if args.algo is None or args.env is None:
        raise CommandError("say which agent: with --algo and --env, or with --path FILE")
    if args.pretrained:
        return pretrained.path(AGENTS[args.algo], args.env)
    folder = run_folder.find_folder(args.folder / args.algo, args.env, args.exp_id)
    return folder / ("best_model.zip" if args.load_best else "model.zip")


def find_agent_class(name: str) -> type[OffPolicyAgent]:
    """Returns the agent's class of this name."""
    import pamdp_agents

    if name not in AGENTS.values():
        raise CommandError(f"the file holds an agent of class {name!r}; known: {', '.join(AGENTS.values())}")
    return getattr(pamdp_agents, name)


def _import_packages(names: Sequence[str]) -> None:
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise CommandError(f"--gym-packages: cannot import {name} ({error})") from error


def check_env_id(args: argparse.Namespace) -> None:
    """Refuses an unknown environment before anything slow happens."""
    _import_packages(args.gym_packages)
    try:
        gym.spec(args.env)
    except gym.error.Error as error:
        bundled = ", ".join(bundled_ids())
        raise CommandError(
            f"--env {args.env}: {error} Bundled: {bundled}; those of another package need --gym-packages PACKAGE"
        ) from error


def make_env(env_id: str, kwargs: dict[str, Any], render_mode: str | None = None, n_envs: int = 1) -> Any:
    """Makes an environment, or a vector environment of several."""
    try:
        if n_envs > 1:
            return gym.make_vec(env_id, num_envs=n_envs, **kwargs)
        return gym.make(env_id, render_mode=render_mode, **kwargs) if render_mode else gym.make(env_id, **kwargs)
    except (gym.error.Error, TypeError, ValueError, ImportError) as error:
        raise CommandError(f"cannot make the environment {env_id!r} with {kwargs}: {error}") from error


def limit_threads(number: int) -> None:
    """Makes TensorFlow use so many threads; 0 or less: its own choice."""
    if number > 0:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(number)
        tf.config.threading.set_inter_op_parallelism_threads(number)


def complain(problem: Any) -> None:
    """Prints a problem as one line on standard error."""
    print("pamdp-agents: error: " + " ".join(str(problem).split()), file=sys.stderr)

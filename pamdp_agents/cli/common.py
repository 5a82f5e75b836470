"""What the commands share.

TensorFlow takes seconds to import, so only what needs it imports it.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym

from pamdp_agents.agents import AGENTS, agent_class
from pamdp_agents.checks import check_mapping
from pamdp_agents.experiments.env_wrappers import HYBRID_ACTION, Wrapper, find_unsafe, find_wrappers, read_wrappers
from pamdp_agents.experiments.make_env import import_packages, make_env
from pamdp_agents.experiments.outcomes import BEST_MODEL, MODEL
from pamdp_agents.experiments.run_folder import CONFIG, find_folder, read_config
from pamdp_agents.files.archive import Archive
from pamdp_agents.presets import pretrained

if TYPE_CHECKING:
    from pamdp_agents.base.agent import Agent


OPTIONS = {
    "algorithm": "--algo",
    "device": "--device",
    "env": "--env",
    "env_kwargs": "--env-kwargs",
    "env_wrapper": "--env-wrapper",
    "eval_episodes": "--eval-episodes",
    "eval_freq": "--eval-freq",
    "gym_packages": "--gym-packages",
    "log_folder": "--log-folder",
    "n_envs": "--n-envs",
    "n_timesteps": "--n-timesteps",
    "save_freq": "--save-freq",
    "seeds": "--seeds",
    "settings": "--hyperparams",
    "tensorboard_log": "--tensorboard-log",
}
"""What gives the arguments of a `TrainingRun` that errors may name."""


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
    _import_packages(getattr(args, "gym_packages", []))
    limit_threads(args.num_threads)
    try:
        saved = Archive.read(file).data
        name = saved.get("agent", "")
        if name not in AGENTS.values():
            raise CommandError(f"the file holds an agent of class {name!r}; known: {', '.join(AGENTS.values())}")
        env_id = args.env or _check_registered(saved.get("env"))
        kwargs, wrappers = _find_environment(args, file.parent)
        env = make_env(env_id, kwargs, render_mode, wrappers=wrappers)
        with contextlib.closing(env):
            yield agent_class(name).load(file, env=env, device=args.device), env
    except (ValueError, TypeError) as error:
        raise CommandError(name_option(error, args)) from error


def _find_environment(args: argparse.Namespace, folder: Path) -> tuple[dict[str, Any], list[Wrapper]]:
    """Returns the arguments and the wrappers of the environment: those given, and those of the training.

    A file decides neither about windows nor, if its origin is unknown, about what is imported.
    """
    config = read_config(folder)
    try:
        trained_with = check_mapping("env_kwargs", config.get("env_kwargs", {}))
        recorded = read_wrappers(config.get("env_wrapper", ()))
    except (TypeError, ValueError, RecursionError) as error:
        raise CommandError(f"{folder / CONFIG} is damaged: {error}") from error
    trained_with.pop("render_mode", None)
    if given := wrappers_given(args):
        recorded = given
    elif args.path is not None and (unsafe := find_unsafe(recorded)):
        raise CommandError(
            f"{folder / CONFIG} names the wrapper {unsafe[0]}, which is no wrapper's class that is imported, or writes "
            "files: if you trust it, name it with --env-wrapper, or import a class's module with --gym-packages"
        )
    return trained_with | dict(args.env_kwargs), find_wrappers(recorded)


def wrappers_given(args: argparse.Namespace) -> list[dict[str, dict[str, Any]]]:
    """Returns the wrappers that `--env-wrapper` and `--parameter-sizes` ask for, the innermost first."""
    given = read_wrappers(getattr(args, "env_wrapper", []))
    sizes = getattr(args, "parameter_sizes", None)
    return given + ([] if sizes is None else [{HYBRID_ACTION: {"parameter_sizes": sizes}}])


def name_option(error: Exception, args: argparse.Namespace) -> str:
    """Returns what an error says, about the option that was given where it names an argument or a setting."""
    text, settings = str(error), dict(getattr(args, "hyperparams", []))
    first = re.split(r"\W", text, maxsplit=1)[0]
    if getattr(args, "parameter_sizes", None) is not None and "parameter_sizes must" in text:
        text = f"--parameter-sizes: {text}"
    elif first == "strategy" and getattr(args, "strategy", None) is not None:
        text = f"--strategy: {text}"
    elif first in settings or f"'{first}'" in repr(settings) or any(f"no setting {name}" in text for name in settings):
        text = f"--hyperparams: {text}"
    elif first in OPTIONS:
        text = OPTIONS[first] + text.removeprefix(first)
    elif "cannot make the environment" in text and getattr(args, "env_kwargs", []):
        text = f"--env-kwargs: {text}"
    if "HybridActionWrapper(env, parameter_sizes=" in text:
        text += (
            f" On the command line: --parameter-sizes with the sizes, or --env-wrapper "
            f"\"{HYBRID_ACTION}:{{'parameter_mask': [[...], ...]}}\"."
        )
    return text


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
    try:
        import_packages(names)
    except ValueError as error:
        raise CommandError(str(error).replace("gym_packages", "--gym-packages", 1)) from error


def check_env_id(args: argparse.Namespace) -> None:
    """Refuses an unknown environment before anything slow happens.

    Raises:
        CommandError: It is unknown, or a package that was to be imported for it cannot be.
    """
    _import_packages(getattr(args, "gym_packages", []))
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

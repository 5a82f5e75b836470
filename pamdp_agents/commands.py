"""What the commands of the command line do, given their parsed arguments.

TensorFlow takes seconds to import, so only what needs it imports it.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib
import inspect
import json
import os
import secrets
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
from gymnasium.wrappers import RecordEpisodeStatistics

from pamdp_agents import runs, saving

if TYPE_CHECKING:
    from pamdp_agents.agents.off_policy import OffPolicyAgent

ALGORITHMS = {"pdqn": "PDQN", "mpdqn": "MPDQN"}
N_TIMESTEPS = 100_000  # where there are no tuned settings
EVALUATION_SEED = 10_000  # far from the seeds that people train with
VIDEO_EPISODES = 3
SET_BY_FLAGS = {"env", "seed", "device", "verbose", "tensorboard_log"}


class CommandError(Exception):
    """Something given cannot be used; the message says what to do."""


# -------------------------------------------------------------------- train


def train(args: argparse.Namespace) -> int:
    """Trains an agent, and keeps everything about it in a new folder."""
    _check_env_id(args)
    _limit_threads(args.num_threads)
    agent_class = _agent_class(ALGORITHMS[args.algo])
    settings, n_timesteps, origin = _settings(args, agent_class)
    if not saving.is_plain(dict(args.env_kwargs)):
        raise CommandError(f"--env-kwargs must be values that JSON can hold, got {dict(args.env_kwargs)}")
    first_seed = secrets.randbelow(2**31) if args.seed is None else args.seed
    with contextlib.ExitStack() as stack:
        agents = [
            _make_agent(args, agent_class, settings, seed, stack) for seed in range(first_seed, first_seed + args.seeds)
        ]
        if len(agents) > 1:
            _check_together(agents)
        started = [_start(args, agent, n_timesteps, origin, stack) for agent in agents]
        return _learn_and_measure(started, n_timesteps, args)


def _make_agent(
    args: argparse.Namespace,
    agent_class: type[OffPolicyAgent],
    settings: dict[str, Any],
    seed: int,
    stack: contextlib.ExitStack,
) -> OffPolicyAgent:
    """Makes an agent; its environments are closed with the stack."""
    env = stack.enter_context(contextlib.closing(_make_env(args.env, dict(args.env_kwargs), n_envs=args.n_envs)))
    try:
        return agent_class(
            **{"policy": "MlpPolicy", **settings}, env=env, seed=seed, device=args.device, verbose=args.verbose
        )
    except (ValueError, TypeError) as error:
        raise CommandError(error) from error


def _check_together(agents: Sequence[OffPolicyAgent]) -> None:
    from pamdp_agents.seeds import check_together

    try:
        check_together(agents)
    except ValueError as error:
        raise CommandError(f"--seeds: {error}") from error


def _start(
    args: argparse.Namespace, agent: OffPolicyAgent, n_timesteps: int, origin: str, stack: contextlib.ExitStack
) -> runs.Run:
    """Makes an agent's run folder; the environment for evaluations is closed with the stack."""
    eval_env = stack.enter_context(contextlib.closing(_make_env(args.env, dict(args.env_kwargs))))
    folder = runs.new_folder(args.log_folder / args.algo, args.env)
    config = {"algo": args.algo, "env": args.env, "env_kwargs": dict(args.env_kwargs)}
    config |= {"n_envs": args.n_envs, "n_timesteps": n_timesteps}
    runs.write_json(folder / "config.json", config | _provenance(args, agent, origin))
    tensorboard = args.tensorboard_log and runs.new_folder(args.tensorboard_log / args.algo, args.env)
    runs.set_logger(agent, folder, tensorboard, table=args.verbose > 0)
    name = type(agent).__name__
    print(f"{name} on {args.env}: {n_timesteps} steps, {origin}, seed {agent.seed}, in {folder}", flush=True)
    return runs.Run(agent, eval_env, folder)


def _learn_and_measure(started: Sequence[runs.Run], n_timesteps: int, args: argparse.Namespace) -> int:
    """Trains, keeps what was learned even after an error or Ctrl-C, and measures it; returns the exit code."""
    failure: BaseException | None = None
    bar = args.progress or sys.stderr.isatty()
    callbacks = {run.agent: _callbacks(args, run.eval_env, run.folder) for run in started}
    try:
        if len(started) == 1:
            started[0].agent.learn(n_timesteps, callback=callbacks[started[0].agent], progress_bar=bar)
        else:
            from pamdp_agents.seeds import train_together

            train_together(list(callbacks), n_timesteps, callback=callbacks.__getitem__, progress_bar=bar)
    except (Exception, KeyboardInterrupt) as error:
        failure = error
    with contextlib.ExitStack() as saving_all:  # one that cannot be saved does not keep the others from it
        for run in started:
            saving_all.callback(run.save)
    for run in started:
        run.end_log()
    if failure is not None:
        return _report_failure(failure, started, args.verbose)
    for agent, eval_env, folder in started:
        result = _measure(agent, eval_env, args.eval_episodes, deterministic=True, seed=EVALUATION_SEED)
        runs.write_json(folder / "evaluation.json", {"num_timesteps": agent.num_timesteps} | result)
        print(_summary(result) if len(started) == 1 else f"seed {agent.seed}: {_summary(result)}", flush=True)
    return 0


def _settings(args: argparse.Namespace, agent_class: type[OffPolicyAgent]) -> tuple[dict[str, Any], int, str]:
    """The constructor's arguments, the number of steps, and where they come from."""
    from pamdp_agents import hyperparameters

    given = dict(args.hyperparams)
    if args.strategy is not None:
        names = [name.strip() for name in args.strategy.split(",")]
        given["strategy"] = names if len(names) > 1 else names[0]
    known = sorted(inspect.signature(agent_class).parameters.keys() - SET_BY_FLAGS)
    unknown = sorted(given.keys() - set(known))
    if unknown:
        raise CommandError(f"{agent_class.__name__} has no setting {', '.join(unknown)}; known: {', '.join(known)}")
    tuned = {} if args.defaults else hyperparameters.tuned_table(agent_class.__name__).get(args.env, {})
    if tuned:
        origin = "tuned settings"
    elif args.defaults:
        origin = "default settings"
    else:
        origin = "default settings (there are no tuned ones)"
    tuned_timesteps = tuned.pop("n_timesteps", N_TIMESTEPS)
    return tuned | given, args.n_timesteps or tuned_timesteps, origin


def _provenance(args: argparse.Namespace, agent: OffPolicyAgent, origin: str) -> dict[str, Any]:
    """What else is needed to repeat a run: every setting in use, the command and the versions."""
    settings, _ = agent.config()
    return {
        "seed": agent.seed,
        "settings": settings,
        "settings_from": origin,
        "command": args.command_line,
        "started": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "versions": saving.versions(),
    }


def _callbacks(args: argparse.Namespace, eval_env: gym.Env, folder: Path) -> list[Any]:
    if args.eval_freq <= 0:
        return []
    from pamdp_agents.callbacks import EvalCallback, EveryNTimesteps

    eval_env.reset(seed=EVALUATION_SEED)
    evaluation = EvalCallback(
        RecordEpisodeStatistics(eval_env),
        n_eval_episodes=args.eval_episodes,
        eval_freq=1,
        log_path=folder,
        best_model_save_path=folder,
        verbose=args.verbose,
    )
    return [EveryNTimesteps(args.eval_freq, evaluation)]


def _report_failure(failure: BaseException, started: Sequence[runs.Run], verbose: int) -> int:
    several = len(started) > 1
    agents = [run.agent for run in started]
    steps = ", ".join(f"{agent.num_timesteps} steps" + f" (seed {agent.seed})" * several for agent in agents)
    saved = f"what was learned is saved in {', '.join(str(run.model) for run in started)}"
    if isinstance(failure, KeyboardInterrupt):
        print(f"interrupted after {steps}; {saved}", file=sys.stderr)
        return 130
    if verbose:
        traceback.print_exception(failure)
    hint = "" if verbose else " (--verbose 1 shows the traceback)"
    complain(f"training failed after {steps}: {type(failure).__name__}: {failure}{hint}; {saved}")
    return 1


# -------------------------------------------------------------------- evaluate


def evaluate(args: argparse.Namespace) -> int:
    """Measures a trained agent."""
    with _trained(args) as (agent, env):
        result = _measure(agent, env, args.n_episodes, args.deterministic, args.seed)
    print(json.dumps(result, indent=2) if args.json else _summary(result))
    return 0


def _measure(agent: OffPolicyAgent, env: gym.Env, n_episodes: int, deterministic: bool, seed: int) -> dict[str, Any]:
    """Plays whole episodes; the numbers are named as on the Hugging Face Hub, which RL Zoo writes to."""
    import numpy as np

    from pamdp_agents.evaluation import evaluate_policy

    successes: list[bool | None] = []

    def note_success(locals_: dict[str, Any], globals_: dict[str, Any]) -> None:
        if locals_["done"]:
            successes.append(locals_["info"].get("is_success"))

    returns, lengths = evaluate_policy(
        agent,
        RecordEpisodeStatistics(env),
        n_episodes,
        deterministic,
        callback=note_success,
        return_episode_rewards=True,
        seed=seed,
    )
    result = {
        "mean_reward": float(np.mean(returns)),
        "std_reward": float(np.std(returns)),
        "min_reward": float(np.min(returns)),
        "max_reward": float(np.max(returns)),
        "mean_ep_length": float(np.mean(lengths)),
        "n_eval_episodes": n_episodes,
        "is_deterministic": deterministic,
        "seed": seed,
    }
    if any(success is not None for success in successes):
        result["success_rate"] = float(np.mean([bool(success) for success in successes]))
    return result


def _summary(result: dict[str, Any]) -> str:
    text = (
        f"mean return {result['mean_reward']:.3f} ± {result['std_reward']:.3f} over {result['n_eval_episodes']} "
        f"episodes (min {result['min_reward']:.3f}, max {result['max_reward']:.3f})"
    )
    return text + (f", success rate {result['success_rate']:.1%}" if "success_rate" in result else "")


# -------------------------------------------------------------------- enjoy


def enjoy(args: argparse.Namespace) -> int:
    """Shows a trained agent in a window, or writes a video of it."""
    from pamdp_agents import video

    if args.output is not None and args.output.suffix not in video.FORMATS:
        raise CommandError(f"--output must end in {' or '.join(video.FORMATS)}, got {args.output}")
    if args.n_timesteps is None and args.n_episodes is None:
        args.n_timesteps, args.n_episodes = (1000, None) if args.output is None else (None, VIDEO_EPISODES)
    if args.output is None:
        _check_display()
    with _trained(args, render_mode="human" if args.output is None else "rgb_array_list") as (agent, env):
        frames = video.play(
            agent, env, args.n_timesteps, args.n_episodes, args.deterministic, args.seed, _print_episode
        )
        if args.output is None:
            for _ in frames:
                pass  # the window is the environment's
            return 0
        try:
            n_frames = video.write_video(args.output, frames, env.metadata.get("render_fps", 30))
        except ImportError as error:
            raise CommandError('videos need imageio and ffmpeg: pip install "pamdp-agents[video]"') from error
    print(f"{n_frames} frames in {args.output}")
    return 0


def _print_episode(number: int, episode_return: float, length: int) -> None:
    print(f"episode {number}: return {episode_return:.3f}, {length} steps", flush=True)


def _check_display() -> None:
    """Refuses a window where there is no screen for it; without one, pygame draws where nobody sees it, or crashes."""
    try:
        import pygame

        pygame.display.init()
        hidden = pygame.display.get_driver() in ("offscreen", "dummy") and "SDL_VIDEODRIVER" not in os.environ
    except ImportError:
        return  # the environment may not need it, and says so if it does
    except RuntimeError:  # pygame's own errors are of this kind
        hidden = True
    if hidden:
        raise CommandError("there is no display for a window; write a video with --output FILE.gif or FILE.mp4")


# -------------------------------------------------------------------- list


def show_list(args: argparse.Namespace) -> int:
    """Lists what there is, or prints tuned settings."""
    from pamdp_agents import exploration, hyperparameters, pretrained, strategies

    if (args.algo is None) != (args.env is None):
        raise CommandError("--algo and --env go together: they print the tuned settings of one for the other")
    tuned = {algo: hyperparameters.tuned_table(name) for algo, name in ALGORITHMS.items()}
    if args.algo is not None:
        if args.env not in tuned[args.algo]:
            known = ", ".join(tuned[args.algo]) or "none"
            raise CommandError(f"{args.algo} has no tuned settings for {args.env}; it has some for: {known}")
        for name, value in tuned[args.algo][args.env].items():
            print(f"{name} = {value!r}")
        return 0
    files = sorted(Path(pretrained.__file__).parent.glob("*.zip"))
    _print_section("algorithms", {algo: _first_line(_agent_class(name)) for algo, name in ALGORITHMS.items()})
    _print_section("environments", {name: _first_line(_env_class(name)) for name in _bundled_ids()})
    _print_section("strategies", {name: _first_line(rule) for name, rule in strategies.STRATEGIES.items()})
    _print_section("action noises", {name: _first_line(noise) for name, noise in exploration.NOISES.items()})
    _print_section("tuned settings", {algo: ", ".join(table) or "none" for algo, table in tuned.items()})
    _print_section("pretrained agents", {file.stem: "" for file in files} or {"none": ""})
    return 0


def _print_section(title: str, entries: dict[str, str]) -> None:
    width = max(map(len, entries))
    print(f"{title}:", *(f"  {name:<{width}}  {text}".rstrip() for name, text in entries.items()), "", sep="\n")


def _first_line(documented: Any) -> str:
    """The first sentence of a docstring, without the name that some begin with."""
    line = (documented.__doc__ or "").strip().partition("\n")[0]
    return line.rpartition("``: ")[2]


def _bundled_ids() -> list[str]:
    return sorted(name for name in gym.registry if name.startswith("pamdp/"))


def _env_class(env_id: str) -> Any:
    entry_point = gym.spec(env_id).entry_point
    return gym.envs.registration.load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point


# -------------------------------------------------------------------- what several commands need


@contextlib.contextmanager
def _trained(args: argparse.Namespace, render_mode: str | None = None) -> Iterator[tuple[OffPolicyAgent, gym.Env]]:
    """The agent that the arguments select, and its environment, which is closed at the end."""
    path = _agent_file(args)
    _import_packages(args.gym_packages)
    _limit_threads(args.num_threads)
    try:
        saved = saving.Archive.read(path).data
        agent_class = _agent_class(saved.get("agent", ""))
        kwargs = runs.trained_with(path).get("env_kwargs", {}) | dict(args.env_kwargs)
        env = _make_env(args.env or _registered(saved.get("env")), kwargs, render_mode)
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
    from pamdp_agents import pretrained

    if args.path is not None:
        return args.path
    if args.algo is None or args.env is None:
        raise CommandError("say which agent: with --algo and --env, or with --path FILE")
    if args.pretrained:
        return pretrained.path(ALGORITHMS[args.algo], args.env)
    folder = runs.find_folder(args.folder / args.algo, args.env, args.exp_id)
    return folder / ("best_model.zip" if args.load_best else "model.zip")


def _agent_class(name: str) -> type[OffPolicyAgent]:
    import pamdp_agents

    if name not in ALGORITHMS.values():
        raise CommandError(f"the file holds an agent of class {name!r}; known: {', '.join(ALGORITHMS.values())}")
    return getattr(pamdp_agents, name)


def _import_packages(names: Sequence[str]) -> None:
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise CommandError(f"--gym-packages: cannot import {name} ({error})") from error


def _check_env_id(args: argparse.Namespace) -> None:
    """Refuses an unknown environment before anything slow happens."""
    _import_packages(args.gym_packages)
    try:
        gym.spec(args.env)
    except gym.error.Error as error:
        bundled = ", ".join(_bundled_ids())
        raise CommandError(
            f"--env {args.env}: {error} Bundled: {bundled}; those of another package need --gym-packages PACKAGE"
        ) from error


def _make_env(env_id: str, kwargs: dict[str, Any], render_mode: str | None = None, n_envs: int = 1) -> Any:
    """Makes an environment, or a vector environment of several."""
    try:
        if n_envs > 1:
            return gym.make_vec(env_id, num_envs=n_envs, **kwargs)
        return gym.make(env_id, render_mode=render_mode, **kwargs) if render_mode else gym.make(env_id, **kwargs)
    except (gym.error.Error, TypeError, ValueError, ImportError) as error:
        raise CommandError(f"cannot make the environment {env_id!r} with {kwargs}: {error}") from error


def _limit_threads(number: int) -> None:
    if number > 0:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(number)
        tf.config.threading.set_inter_op_parallelism_threads(number)


def complain(problem: Any) -> None:
    """Prints a problem as one line on standard error."""
    print("pamdp-agents: error: " + " ".join(str(problem).split()), file=sys.stderr)

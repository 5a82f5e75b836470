"""`pamdp-agents train`."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import inspect
import secrets
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
from gymnasium.wrappers import RecordEpisodeStatistics

from pamdp_agents.agents import AGENTS
from pamdp_agents.cli.common import CommandError, check_env_id, complain, find_agent_class, limit_threads, make_env
from pamdp_agents.cli.evaluate import summary
from pamdp_agents.experiments import run_folder, training_run
from pamdp_agents.experiments.measure import EVALUATION_SEED, measure
from pamdp_agents.files import atomic
from pamdp_agents.files.archive import is_plain, versions

if TYPE_CHECKING:
    from pamdp_agents.base.off_policy import OffPolicyAgent

N_TIMESTEPS = 100_000  # where there are no tuned settings

SET_BY_FLAGS = {"env", "seed", "device", "verbose", "tensorboard_log"}


def train(args: argparse.Namespace) -> int:
    """Trains an agent, and keeps everything about it in a new folder."""
    check_env_id(args)
    limit_threads(args.num_threads)
    agent_class = find_agent_class(AGENTS[args.algo])
    settings, n_timesteps, origin = _settings(args, agent_class)
    if not is_plain(dict(args.env_kwargs)):
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
    env = stack.enter_context(contextlib.closing(make_env(args.env, dict(args.env_kwargs), n_envs=args.n_envs)))
    try:
        return agent_class(
            **{"policy": "MlpPolicy", **settings}, env=env, seed=seed, device=args.device, verbose=args.verbose
        )
    except (ValueError, TypeError) as error:
        raise CommandError(error) from error


def _check_together(agents: Sequence[OffPolicyAgent]) -> None:
    from pamdp_agents.training.together_checks import check_together

    try:
        check_together(agents)
    except ValueError as error:
        raise CommandError(f"--seeds: {error}") from error


def _start(
    args: argparse.Namespace, agent: OffPolicyAgent, n_timesteps: int, origin: str, stack: contextlib.ExitStack
) -> training_run.Run:
    """Makes an agent's run folder; the environment for evaluations is closed with the stack."""
    eval_env = stack.enter_context(contextlib.closing(make_env(args.env, dict(args.env_kwargs))))
    folder = run_folder.new_folder(args.log_folder / args.algo, args.env)
    config = {"algo": args.algo, "env": args.env, "env_kwargs": dict(args.env_kwargs)}
    config |= {"n_envs": args.n_envs, "n_timesteps": n_timesteps}
    atomic.write_json(folder / "config.json", config | _provenance(args, agent, origin))
    tensorboard = args.tensorboard_log and run_folder.new_folder(args.tensorboard_log / args.algo, args.env)
    training_run.set_logger(agent, folder, tensorboard, table=args.verbose > 0)
    name = type(agent).__name__
    print(f"{name} on {args.env}: {n_timesteps} steps, {origin}, seed {agent.seed}, in {folder}", flush=True)
    return training_run.Run(agent, eval_env, folder)


def _learn_and_measure(started: Sequence[training_run.Run], n_timesteps: int, args: argparse.Namespace) -> int:
    """Trains, keeps what was learned even after an error or Ctrl-C, and measures it; returns the exit code."""
    failure: BaseException | None = None
    bar = args.progress or sys.stderr.isatty()
    callbacks = {run.agent: _callbacks(args, run.eval_env, run.folder) for run in started}
    try:
        if len(started) == 1:
            started[0].agent.learn(n_timesteps, callback=callbacks[started[0].agent], progress_bar=bar)
        else:
            from pamdp_agents.training.together import train_together

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
        result = measure(agent, eval_env, args.eval_episodes, deterministic=True, seed=EVALUATION_SEED)
        atomic.write_json(folder / "evaluation.json", {"num_timesteps": agent.num_timesteps} | result)
        print(summary(result) if len(started) == 1 else f"seed {agent.seed}: {summary(result)}", flush=True)
    return 0


def _settings(args: argparse.Namespace, agent_class: type[OffPolicyAgent]) -> tuple[dict[str, Any], int, str]:
    """The constructor's arguments, the number of steps, and where they come from."""
    from pamdp_agents.presets.tuned import tuned_table

    given = dict(args.hyperparams)
    if args.strategy is not None:
        names = [name.strip() for name in args.strategy.split(",")]
        given["strategy"] = names if len(names) > 1 else names[0]
    known = sorted(inspect.signature(agent_class).parameters.keys() - SET_BY_FLAGS)
    unknown = sorted(given.keys() - set(known))
    if unknown:
        raise CommandError(f"{agent_class.__name__} has no setting {', '.join(unknown)}; known: {', '.join(known)}")
    tuned = {} if args.defaults else tuned_table(agent_class.__name__).get(args.env, {})
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
        "versions": versions(),
    }


def _callbacks(args: argparse.Namespace, eval_env: gym.Env, folder: Path) -> list[Any]:
    if args.eval_freq <= 0:
        return []
    from pamdp_agents.callbacks.evaluation import EvalCallback
    from pamdp_agents.callbacks.periodic import EveryNTimesteps

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


def _report_failure(failure: BaseException, started: Sequence[training_run.Run], verbose: int) -> int:
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

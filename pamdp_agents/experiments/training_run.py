"""A training that is kept: agents of one or more seeds, trained at once, each with a folder of its own.

The command line is one caller. TensorFlow takes seconds to import, so only what needs it imports it.
"""

from __future__ import annotations

import contextlib
import copy
import datetime
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
from gymnasium.wrappers import RecordEpisodeStatistics

from pamdp_agents.agents import AGENTS, agent_class
from pamdp_agents.checks import check_choice, check_integer, check_mapping, check_path, check_seeds
from pamdp_agents.experiments.make_env import make_env
from pamdp_agents.experiments.measure import EVALUATION_SEED, measure, summarize
from pamdp_agents.experiments.outcomes import MODEL, TrainedAgent, make_failure
from pamdp_agents.experiments.run_folder import make_folder
from pamdp_agents.experiments.run_log import draw_log, start_log
from pamdp_agents.files.archive import is_plain, versions
from pamdp_agents.files.atomic import write_json

if TYPE_CHECKING:
    from pamdp_agents.base.agent import Agent

OWN_FIELDS = {"env", "seed", "device", "verbose", "tensorboard_log"}  # of the constructor's arguments

Tell = Callable[[str], Any]


class CannotStartError(ValueError):
    """A training cannot begin with what was given; nothing was trained, and no folder was made."""


@dataclass(frozen=True)
class TrainingRun:
    """What is to be trained, in plain values: all that is needed to repeat it.

    Args:
        algorithm: The agent's name on the command line, such as `"mpdqn"`.
        env: The id of a registered environment.
        seeds: One agent is trained for each; integers of at least 0, all different.
        n_timesteps: Environment steps of each agent.
        settings: Arguments of the agent's constructor that differ from its defaults; `find_starting_settings` has the
            tuned ones. Those that have a field here are not among them.
        settings_from: Where they come from, in words.
        env_kwargs: Arguments of the environment.
        n_envs: Environments that each agent trains in at once.
        eval_freq: Environment steps from one evaluation to the next, 0 for none but that after training.
        eval_episodes: Episodes of every evaluation.
        log_folder: Where run folders go: `{log_folder}/{algorithm}/{env}_{n}`.
        tensorboard_log: Where folders with logs for TensorBoard go, if anywhere.
        device: Where TensorFlow runs: `"auto"`, `"cpu"`, `"gpu"` or a TensorFlow device.
        verbose: 1: print settings and log tables.
        command: The command that asked for this, if one did.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of its range, or the agent has no such setting.
    """

    algorithm: str
    env: str
    seeds: Sequence[int]
    n_timesteps: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    settings_from: str = "default settings"
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    n_envs: int = 1
    eval_freq: int = 0
    eval_episodes: int = 200
    log_folder: str | Path = "runs"
    tensorboard_log: str | Path | None = None
    device: str = "auto"
    verbose: int = 0
    command: str | None = None

    def __post_init__(self) -> None:
        check_choice("algorithm", self.algorithm, list(AGENTS))
        checked = {
            "env": _check_env(self.env),
            "seeds": tuple(check_seeds(self.seeds)),
            "n_timesteps": check_integer("n_timesteps", self.n_timesteps, 1),
            "env_kwargs": _check_plain("env_kwargs", self.env_kwargs),
            "n_envs": check_integer("n_envs", self.n_envs, 1),
            "eval_freq": check_integer("eval_freq", self.eval_freq, 0),
            "eval_episodes": check_integer("eval_episodes", self.eval_episodes, 1),
            "log_folder": Path(check_path("log_folder", self.log_folder)),
            "tensorboard_log": None
            if self.tensorboard_log is None
            else Path(check_path("tensorboard_log", self.tensorboard_log)),
            "verbose": check_integer("verbose", self.verbose, 0),
            "settings": _check_plain("settings", self.settings),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        _check_known(agent_class(self.algorithm), self.settings)

    def run(self, progress: bool = False, tell: Tell = lambda text: None) -> list[TrainedAgent]:
        """Trains, keeps everything about it in new folders, and returns what was measured, in the order of the seeds.

        Args:
            progress: Whether to show a progress bar.
            tell: Given a line at the beginning, and at the end of each agent.

        Raises:
            CannotStartError: The environment or the agents cannot be made.
            OSError: A file or folder cannot be written.
            TrainingFailedError: Training ended with an error, which is the cause; what was learned is kept.
            TrainingInterrupt: Training ended with Ctrl-C; what was learned is kept.
        """
        with contextlib.ExitStack() as stack:
            trainees = [self._start(agent, eval_env, tell) for agent, eval_env in self._make_agents(stack)]
            self._learn(trainees, progress, tell)
            return [self._measure(trainee, tell, several=len(trainees) > 1) for trainee in trainees]

    def _make_agents(self, stack: contextlib.ExitStack) -> list[tuple[Any, gym.Env]]:
        """Makes the agents, each with an environment for evaluations; environments are closed with the stack."""
        from pamdp_agents.training import check_together

        def make(n_envs: int = 1) -> Any:
            return stack.enter_context(contextlib.closing(make_env(self.env, dict(self.env_kwargs), n_envs=n_envs)))

        made, fields = [], {"device": self.device, "verbose": self.verbose}
        try:
            for seed in self.seeds:
                settings = {"policy": "MlpPolicy", **copy.deepcopy(dict(self.settings))}
                agent = agent_class(self.algorithm)(**settings, **fields, env=make(self.n_envs), seed=seed)
                made.append((agent, make()))
        except (ValueError, TypeError) as error:
            raise CannotStartError(str(error)) from error
        if len(made) > 1:
            try:
                check_together([agent for agent, _ in made])
            except ValueError as error:
                raise CannotStartError(f"seeds: {error}") from error
        return made

    def _start(self, agent: Agent, eval_env: gym.Env, tell: Tell) -> _Training:
        """Makes an agent's run folder, with its settings and its log."""
        folder = make_folder(Path(self.log_folder) / self.algorithm, self.env)
        write_json(folder / "config.json", self._describe(agent))
        tensorboard = None
        if self.tensorboard_log is not None:
            tensorboard = make_folder(Path(self.tensorboard_log) / self.algorithm, self.env)
        start_log(agent, folder, tensorboard, table=self.verbose > 0)
        name = type(agent).__name__
        tell(f"{name} on {self.env}: {self.n_timesteps} steps, {self.settings_from}, seed {agent.seed}, in {folder}")
        return _Training(agent, eval_env, folder)

    def _describe(self, agent: Agent) -> dict[str, Any]:
        """What is needed to repeat the training of one agent: every setting in use, the command and the versions."""
        settings, _ = agent.config()
        return {
            "algo": self.algorithm,
            "env": self.env,
            "env_kwargs": self.env_kwargs,
            "n_envs": self.n_envs,
            "n_timesteps": self.n_timesteps,
            "seed": agent.seed,
            "settings": settings,
            "settings_from": self.settings_from,
            "command": self.command,
            "started": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
            "versions": versions(),
        }

    def _learn(self, trainees: Sequence[_Training], progress: bool, tell: Tell) -> None:
        """Trains, and keeps what was learned even after an error or Ctrl-C."""
        from pamdp_agents.training import train_together

        failure: BaseException | None = None
        agents = [trainee.agent for trainee in trainees]
        callbacks = {trainee.agent: self._make_callbacks(trainee) for trainee in trainees}
        try:
            if len(agents) == 1:
                agents[0].learn(self.n_timesteps, callback=callbacks[agents[0]], progress_bar=progress)
            else:
                train_together(agents, self.n_timesteps, callback=callbacks.__getitem__, progress_bar=progress)
        except (Exception, KeyboardInterrupt) as error:
            failure = error
        with contextlib.ExitStack() as saving_all:  # one that cannot be saved does not keep the others from it
            for trainee in trainees:
                saving_all.callback(trainee.agent.save, trainee.folder / MODEL)
        for trainee in trainees:
            trainee.agent.dump_logs()  # the table ends where training ended
            trainee.agent.logger.close()
            if missing := draw_log(trainee.folder, f"{type(trainee.agent).__name__} on {self.env}"):
                tell(missing)
        if failure is not None:
            raise make_failure(failure, [trainee.kept() for trainee in trainees]) from failure

    def _make_callbacks(self, trainee: _Training) -> list[Any]:
        if not self.eval_freq:
            return []
        from pamdp_agents.callbacks import EvalCallback, EveryNTimesteps

        trainee.eval_env.reset(seed=EVALUATION_SEED)
        evaluation = EvalCallback(
            RecordEpisodeStatistics(trainee.eval_env),
            n_eval_episodes=self.eval_episodes,
            eval_freq=1,
            log_path=trainee.folder,
            best_model_save_path=trainee.folder,
            verbose=self.verbose,
        )
        return [EveryNTimesteps(self.eval_freq, evaluation)]

    def _measure(self, trainee: _Training, tell: Tell, several: bool) -> TrainedAgent:
        """Evaluates an agent after training."""
        agent, episodes = trainee.agent, self.eval_episodes
        measured = measure(agent, trainee.eval_env, episodes, deterministic=True, seed=EVALUATION_SEED)
        write_json(trainee.folder / "evaluation.json", {"num_timesteps": agent.num_timesteps} | measured)
        tell(f"seed {agent.seed}: {summarize(measured)}" if several else summarize(measured))
        return trainee.kept(measured)


@dataclass(frozen=True)
class _Training:
    """An agent in training, where it is evaluated, and where it is kept.

    Attributes:
        agent: The agent, an `Agent`.
        eval_env: Where it is evaluated.
        folder: Its run folder.
    """

    agent: Any
    eval_env: gym.Env
    folder: Path

    def kept(self, evaluation: dict[str, Any] | None = None) -> TrainedAgent:
        """Returns what is left of it, in plain values."""
        return TrainedAgent(self.agent.seed, self.folder, self.agent.num_timesteps, evaluation or {})


def _check_env(env: Any) -> str:
    if not isinstance(env, str):
        raise TypeError(f"env must be the id of a registered environment, got {env!r}")
    try:
        gym.spec(env)
    except gym.error.Error as error:
        raise ValueError(f"env must be the id of a registered environment, got {env!r}: {error}") from error
    return env


def _check_plain(name: str, values: Any) -> dict[str, Any]:
    """Returns a copy of what names values that JSON can hold."""
    checked = check_mapping(name, values)
    if wrong := {key: value for key, value in checked.items() if not is_plain(value)}:
        raise ValueError(f"{name} must be values that JSON can hold, got {wrong}")
    return copy.deepcopy(checked)


def _check_known(kind: type[Agent], settings: Mapping[str, Any]) -> None:
    known = sorted(inspect.signature(kind).parameters.keys() - OWN_FIELDS)
    if unknown := sorted(settings.keys() - set(known)):
        raise ValueError(f"{kind.__name__} has no setting {', '.join(unknown)}; known: {', '.join(known)}")

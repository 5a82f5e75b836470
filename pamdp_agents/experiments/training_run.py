"""A training that is kept: agents of one or more seeds, trained at once, each with a folder of its own.

The command line is one caller. TensorFlow takes seconds to import, so only what needs it imports it.
"""

from __future__ import annotations

import contextlib
import copy
import datetime
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

from pamdp_agents.agents import AGENTS, agent_class
from pamdp_agents.base.settings import as_plain
from pamdp_agents.checks import check_choice, check_integer, check_mapping, check_path, check_seeds, warn_user
from pamdp_agents.experiments.env_wrappers import find_wrappers, read_wrappers
from pamdp_agents.experiments.interrupts import InterruptedOnce
from pamdp_agents.experiments.kept_training import KeptTraining
from pamdp_agents.experiments.make_env import import_packages, make_env
from pamdp_agents.experiments.measure import summarize
from pamdp_agents.experiments.outcomes import CHECKPOINT, MODEL, TrainedAgent, make_failure
from pamdp_agents.experiments.resuming import read_run
from pamdp_agents.experiments.run_folder import CONFIG, make_folder, read_config
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
        env_wrapper: Wrappers of each environment, the innermost first: `"module.Class"` or `{"module.Class":
            {"argument": value}}`, as RL Zoo has them.
        gym_packages: Packages to import for their environments.
        n_envs: Environments that each agent trains in at once.
        eval_freq: Environment steps from one evaluation to the next, 0 for none but that after training.
        eval_episodes: Episodes of every evaluation.
        save_freq: Environment steps from one checkpoint to the next, 0 for none but that after training. A checkpoint
            takes the place of the one before.
        log_folder: Where run folders go: `{log_folder}/{algorithm}/{env}_{n}`.
        tensorboard_log: Where folders with logs for TensorBoard go, if anywhere.
        device: Where TensorFlow runs: `"auto"`, `"cpu"`, `"gpu"` or a TensorFlow device.
        verbose: 1: print settings and log tables.
        command: The command that asked for this, if one did.
        folders: Run folders to go on in, one for each seed (see `of_folder`); none: new ones are made.

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
    env_wrapper: Any = ()
    gym_packages: Sequence[str] = ()
    n_envs: int = 1
    eval_freq: int = 0
    eval_episodes: int = 200
    save_freq: int = 0
    log_folder: str | Path = "runs"
    tensorboard_log: str | Path | None = None
    device: str = "auto"
    verbose: int = 0
    command: str | None = None
    folders: Sequence[Path] = ()

    def __post_init__(self) -> None:
        check_choice("algorithm", self.algorithm, list(AGENTS))
        checked = {
            "gym_packages": import_packages(self.gym_packages),
            "env": _check_env(self.env),
            "seeds": tuple(check_seeds(self.seeds)),
            "n_timesteps": check_integer("n_timesteps", self.n_timesteps, 1),
            "env_kwargs": _check_plain("env_kwargs", self.env_kwargs),
            "env_wrapper": read_wrappers(self.env_wrapper),
            "n_envs": check_integer("n_envs", self.n_envs, 1),
            "eval_freq": check_integer("eval_freq", self.eval_freq, 0),
            "eval_episodes": check_integer("eval_episodes", self.eval_episodes, 1),
            "save_freq": check_integer("save_freq", self.save_freq, 0),
            "log_folder": Path(check_path("log_folder", self.log_folder)),
            "tensorboard_log": None
            if self.tensorboard_log is None
            else Path(check_path("tensorboard_log", self.tensorboard_log)),
            "verbose": check_integer("verbose", self.verbose, 0),
            "settings": agent_class(self.algorithm).drop_neutral(_check_plain("settings", self.settings)),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        _check_known(agent_class(self.algorithm), self.settings)

    @classmethod
    def of_folder(
        cls, folder: str | Path, n_timesteps: int | None = None, device: str = "auto", verbose: int = 0
    ) -> TrainingRun:
        """Returns the run that a run folder belongs to, which goes on when it is run.

        Each agent goes on from its checkpoint, as if it had never stopped, but that its environments begin new
        episodes; one that was killed before its first checkpoint begins again.

        Args:
            folder: The run folder; of a run of several seeds, any.
            n_timesteps: Environment steps of each agent, with those already made; None: as many as the run was
                started for.
            device: As in the constructor.
            verbose: As in the constructor.

        Raises:
            OSError: There is no such folder, or it cannot be read.
            TypeError: `folder` is no path.
            ValueError: Its `config.json` is missing or damaged.
        """
        path = Path(check_path("folder", folder)).absolute()
        recorded = read_run(path)
        if recorded.missing:
            warn_user(f"run folders beside {path} are gone, {', '.join(recorded.missing)}: the others go on without")
        try:
            settings = check_mapping("settings", recorded.fields["settings"])
            fields = recorded.fields | {
                "settings": {name: value for name, value in settings.items() if name not in OWN_FIELDS},
                "log_folder": path.parent.parent,
                "folders": recorded.folders,
            }
            run = cls(**fields, device=device, verbose=verbose)
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"the {CONFIG} in {path} cannot be gone on with: {error}") from error
        return run if n_timesteps is None else replace(run, n_timesteps=n_timesteps)

    def run(self, progress: bool = False, tell: Tell = lambda text: None) -> list[TrainedAgent]:
        """Trains, keeps everything about it in run folders, and returns what was measured, in the order of the seeds.

        Args:
            progress: Whether to show a progress bar.
            tell: Given a line at the beginning, and at the end of each agent.

        Raises:
            CannotStartError: The environment or the agents cannot be made.
            OSError: A file or folder cannot be written.
            TrainingFailedError: Training ended with an error, which is the cause; what was learned is kept.
            TrainingInterrupt: Training ended with Ctrl-C or another signal; what was learned is kept.
        """
        with contextlib.ExitStack() as stack:
            trainings = self._keep(self._make_agents(stack), tell)
            going_on = [training for training in trainings if training.steps_left]
            for training in trainings:
                if training not in going_on:
                    steps = f"{training.agent.num_timesteps} of {self.n_timesteps} steps are made"
                    tell(f"nothing left to do in {training.folder}: {steps}")
                    if training.read_evaluation() is None:  # a kill came before what follows training had ended
                        training.save_model()
                        _draw(training, self.env, tell)
            if going_on:
                self._learn(going_on, progress, tell)
            return self._measure(trainings, tell)

    def _make_agents(self, stack: contextlib.ExitStack) -> list[tuple[Any, gym.Env]]:
        """Makes the agents, each with an environment for evaluations; environments are closed with the stack."""
        from pamdp_agents.training import check_together

        made: list[tuple[Any, gym.Env]] = []
        try:
            wrappers = find_wrappers(self.env_wrapper)

            def make(n_envs: int = 1) -> Any:
                env = make_env(self.env, dict(self.env_kwargs), n_envs=n_envs, wrappers=wrappers)
                return stack.enter_context(contextlib.closing(env))

            folders: list[Path | None] = [*self.folders] or [None] * len(self.seeds)
            for seed, folder in zip(self.seeds, folders, strict=True):
                made.append((self._make_agent(seed, make(self.n_envs), folder), make()))
        except CannotStartError:
            raise
        except Exception as error:  # of the environment's or a wrapper's too
            raise CannotStartError(str(error) or type(error).__name__) from error
        if len(made) > 1:
            try:
                check_together([agent for agent, _ in made])
            except ValueError as error:
                raise CannotStartError(f"seeds: {error}") from error
        return made

    def _make_agent(self, seed: int, env: Any, folder: Path | None) -> Any:
        """Makes an agent, from the checkpoint in its folder if there is one."""
        kind, fields = agent_class(self.algorithm), {"device": self.device, "verbose": self.verbose}
        if folder is not None and (folder / CHECKPOINT).is_file():
            try:
                agent = kind.load(folder / CHECKPOINT, env=env, **fields)
            except Exception as error:  # a damaged file's, too, now that something else is given
                raise CannotStartError(f"cannot go on from {folder / CHECKPOINT}: {error}") from error
            # Not the seed of the start: going on often would else play the first episodes again and again.
            agent.environments.next_seed = int(np.random.SeedSequence([seed, agent.num_timesteps]).generate_state(1)[0])
            return agent
        if folder is not None and (folder / MODEL).is_file():
            raise CannotStartError(
                f"cannot go on from {folder / MODEL}: there is no {CHECKPOINT} beside it, which holds the replay buffer"
            )
        settings = {"policy": "MlpPolicy", **copy.deepcopy(dict(self.settings))}
        return kind(**settings, **fields, env=env, seed=seed)

    def _keep(self, made: list[tuple[Any, gym.Env]], tell: Tell) -> list[KeptTraining]:
        """Makes the run folders, or goes on in those there are, with their settings and logs."""
        parent = Path(self.log_folder) / self.algorithm
        folders = self.folders or [make_folder(parent, self.env) for _ in made]
        trainings = [
            KeptTraining(agent, eval_env, folder, self.n_timesteps)
            for (agent, eval_env), folder in zip(made, folders, strict=True)
        ]
        for training in trainings:
            agent, folder = training.agent, training.folder
            config = self._describe(agent, folders)
            if self.folders:
                config = read_config(folder) | {"n_timesteps": self.n_timesteps}
            elif self.tensorboard_log is not None:
                tensorboard = make_folder(Path(self.tensorboard_log) / self.algorithm, self.env)
                config["tensorboard"] = str(tensorboard.absolute())
            if not training.steps_left:
                continue
            write_json(folder / CONFIG, config)
            tensorboard_folder = config.get("tensorboard")
            start_log(agent, folder, None if tensorboard_folder is None else Path(tensorboard_folder), self.verbose > 0)
            name, left = type(agent).__name__, f"{self.n_timesteps} steps"
            if self.folders:
                left += f", from step {agent.num_timesteps} on"
            tell(f"{name} on {self.env}: {left}, {self.settings_from}, seed {agent.seed}, in {folder}")
        return trainings

    def _describe(self, agent: Agent, folders: Sequence[Path]) -> dict[str, Any]:
        """What is needed to repeat the training of one agent: every setting in use, the command and the versions."""
        settings, _ = agent.config()
        return {
            "algo": self.algorithm,
            "env": self.env,
            "env_kwargs": self.env_kwargs,
            "env_wrapper": self.env_wrapper,
            "gym_packages": self.gym_packages,
            "n_envs": self.n_envs,
            "n_timesteps": self.n_timesteps,
            "seed": agent.seed,
            "folders": [folder.name for folder in folders],
            "eval_freq": self.eval_freq,
            "eval_episodes": self.eval_episodes,
            "save_freq": self.save_freq,
            "tensorboard_log": None if self.tensorboard_log is None else str(Path(self.tensorboard_log).absolute()),
            "settings": settings,
            "settings_from": self.settings_from,
            "command": self.command,
            "started": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
            "versions": versions(),
        }

    def _learn(self, trainings: Sequence[KeptTraining], progress: bool, tell: Tell) -> None:
        """Trains, and keeps what was learned even after an error, Ctrl-C or another signal."""
        failure: BaseException | None = None
        agents = [training.agent for training in trainings]
        try:
            callbacks = {
                training.agent: training.make_callbacks(
                    self.eval_freq, self.eval_episodes, self.save_freq, self.verbose
                )
                for training in trainings
            }
        except ValueError as error:
            raise CannotStartError(str(error)) from error
        with InterruptedOnce(lambda: sum(agent.num_timesteps for agent in agents)) as signals:
            try:
                try:
                    self._train(trainings, callbacks, progress)
                finally:
                    signals.saving = True
            except (Exception, KeyboardInterrupt) as error:
                failure = signals.find_lost() or error
            # Last in, first out: the agents come before their replay buffers, for which the disk may be too small. One
            # that cannot be saved does not keep the others from it.
            with contextlib.ExitStack() as saving_all:
                for save in ("save_checkpoint", "save_model"):
                    for training in trainings:
                        saving_all.callback(getattr(training, save))
            for training in trainings:
                training.agent.dump_logs()  # the table ends where training ended
                training.agent.logger.close()
                _draw(training, self.env, tell)
        failure = failure or signals.pending
        if failure is not None:
            raise make_failure(failure, [training.kept() for training in trainings]) from failure

    def _train(self, trainings: Sequence[KeptTraining], callbacks: Mapping[Any, Any], progress: bool) -> None:
        from pamdp_agents.training import train_together

        agents, steps = [training.agent for training in trainings], [training.steps_left for training in trainings]
        if len(agents) == 1:
            [agent] = agents
            agent.learn(steps[0], callbacks[agent], reset_num_timesteps=False, progress_bar=progress)
        else:
            train_together(
                agents, steps, callback=callbacks.__getitem__, reset_num_timesteps=False, progress_bar=progress
            )

    def _measure(self, trainings: Sequence[KeptTraining], tell: Tell) -> list[TrainedAgent]:
        """Evaluates the agents after training, those that have not been."""
        measured = []
        for training in trainings:
            evaluation = training.read_evaluation()
            if evaluation is None:
                try:
                    evaluation = training.evaluate(self.eval_episodes)
                except (Exception, KeyboardInterrupt) as error:
                    kept = [each.kept() for each in trainings]
                    raise make_failure(error, kept, ", in the evaluation after training") from error
                line = summarize(evaluation)
                tell(f"seed {training.agent.seed}: {line}" if len(trainings) > 1 else line)
            measured.append(training.kept(evaluation))
        return measured


def _draw(training: KeptTraining, env: str, tell: Tell) -> None:
    if missing := draw_log(training.folder, f"{type(training.agent).__name__} on {env}"):
        tell(missing)


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
    checked = as_plain(check_mapping(name, values))
    if wrong := {key: value for key, value in checked.items() if not is_plain(value)}:
        raise ValueError(f"{name} must be values that JSON can hold, got {wrong}")
    return copy.deepcopy(checked)


def _check_known(kind: type[Agent], settings: Mapping[str, Any]) -> None:
    known = sorted(inspect.signature(kind).parameters.keys() - OWN_FIELDS)
    if unknown := sorted(settings.keys() - set(known)):
        raise ValueError(f"{kind.__name__} has no setting {', '.join(unknown)}; known: {', '.join(known)}")

"""What every agent has: Stable-Baselines3's interface, settings, seeds, files."""

from __future__ import annotations

import contextlib
import os
from abc import abstractmethod
from collections.abc import Callable, Generator
from typing import Any, ClassVar, Self

import gymnasium as gym
import numpy as np
from numpy.typing import ArrayLike

from pamdp_agents import callbacks
from pamdp_agents.base.devices import find_device
from pamdp_agents.base.named_policy import NamedPolicy
from pamdp_agents.base.policy import Acting
from pamdp_agents.base.saved import Saved
from pamdp_agents.checks import check_integer, check_masks
from pamdp_agents.environments.adapt import adapt, make_environment
from pamdp_agents.environments.adapter import Environment
from pamdp_agents.experience.transition import Decision
from pamdp_agents.files import export
from pamdp_agents.learning.learner import SEEDS
from pamdp_agents.logger import Logger, configure, configure_run
from pamdp_agents.networks.keras_settings import check_tensorflow
from pamdp_agents.presets import pretrained, tuned
from pamdp_agents.training.divergence import make_updates
from pamdp_agents.training.loop import Training
from pamdp_agents.training.trainee import Trainee


def _of_progress(name: str) -> Any:
    """Returns the property that is an attribute of the agent's `progress`, by Stable-Baselines3's name on the agent."""

    def get(agent: Agent) -> Any:
        return getattr(agent.progress, name)

    def replace(agent: Agent, value: Any) -> None:
        setattr(agent.progress, name, value)

    return property(get, replace, doc=f"`progress.{name}`, by Stable-Baselines3's name.")


class Agent(Saved, Trainee):
    """Base class of the agents: a subclass says what it decides, and what training asks of it (`Trainee`).

    Attributes:
        logger: Where numbers are logged during `learn`.
        acting: The deterministic decisions.
    """

    metric_names: ClassVar[tuple[str, ...]]
    """What an update returns for the log."""
    rate_names: ClassVar[tuple[str, ...]]
    """The learning rates, which are logged by these names."""

    heeds_masks: ClassVar[bool] = False
    """Whether it can be told which discrete actions are allowed."""

    num_timesteps = _of_progress("num_timesteps")
    start_time = _of_progress("start_time")
    ep_info_buffer = _of_progress("ep_info_buffer")
    ep_success_buffer = _of_progress("ep_success_buffer")
    _total_timesteps = _of_progress("total_timesteps")
    _num_timesteps_at_start = _of_progress("num_timesteps_at_start")
    _current_progress_remaining = _of_progress("remaining")
    _episode_num = _of_progress("episodes")
    _n_updates = _of_progress("n_updates")

    def begin(self) -> None:
        """Readies what a constructor readies besides settings."""
        env = vars(self).pop("env")
        super().begin()
        self._tf_device = find_device(self.device)
        self.acting: Acting
        self._logger: Logger | None = None
        self._custom_logger = False
        if env is not None:
            self.set_env(env)
            self._seed_env(self.seed)
            if self.verbose:
                settings = ", ".join(f"{name}={value!r}" for name, value in self.settings().items())
                print(f"{type(self).__name__} on {self.env_name} with {settings}")

    @property  # type: ignore[misc]  # given as a setting
    def policy(self) -> NamedPolicy:  # type: ignore[override]
        """The policy's name, which also acts: `policy.predict`, as Stable-Baselines3's policy objects do."""
        return NamedPolicy(vars(self)["policy"], self)

    @classmethod
    def tuned(cls, env: Environment | str, **overrides: Any) -> Self:
        """Returns an agent with the settings tuned for an environment (see `pamdp_agents/presets/hyperparameters`).

        Args:
            env: Environment, or its id.
            **overrides: Arguments of the constructor that replace the tuned ones.

        Raises:
            KeyError: There are no tuned settings for this environment.
        """
        name = env if isinstance(env, str) else adapt(env).name
        settings = tuned.tuned_settings(cls.__name__, name)
        arguments: dict[str, Any] = {"policy": "MlpPolicy", "env": env} | settings | overrides
        return cls(**arguments)

    @classmethod
    def from_pretrained(cls, env: Environment | str, **kwargs: Any) -> Self:
        """Returns the trained agent that comes with the library for an environment.

        Args:
            env: Environment, or its id.
            **kwargs: Arguments for `load`.

        Raises:
            FileNotFoundError: None comes with the library for this agent and environment.
        """
        made = make_environment(env)
        return cls.load(pretrained.path(cls.__name__, adapt(made).name), env=made, **kwargs)

    @abstractmethod
    def explore_apart(self, observations: np.ndarray, masks: np.ndarray | None) -> Decision:
        """Returns exploring decisions without any effect on training.

        Args:
            observations: Scaled observations, float32 [n, D].
            masks: Which discrete actions are allowed, bool [n, K]; None: all.
        """

    def decide_ahead(self) -> None:
        """Decides what is best in every environment now, for the next `decide`: updates come first."""
        environments = self.environments
        if environments.observations is not None and environments.decided is None:
            environments.decided = self.acting.decide(environments.observations, environments.action_masks)

    def current_seed(self) -> tuple[int, int]:
        """Returns the seed of the next update's random numbers: another one for each."""
        return self._update_seed, self.progress.n_updates % SEEDS

    def predict(
        self,
        observation: Any,
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
        action_masks: ArrayLike | None = None,
    ) -> tuple[Any, tuple[np.ndarray, ...] | None]:
        """Returns the action for an observation, as the environment's `step` takes it.

        Args:
            observation: One observation, or n of them with one more leading axis.
            state: Passed through (for recurrent policies; these are not).
            episode_start: Ignored (for recurrent policies).
            deterministic: Without it, the agent explores as it does in training at this moment.
            action_masks: Which discrete actions are allowed, by sb3-contrib's name, bool [K], or [n, K] for n
                observations; None: all.

        Returns:
            One action for one observation, a list of n for n; and `state`.

        Raises:
            ValueError: The observation has another shape than the observation space, or is not finite; or a mask has
                another shape, or allows nothing.
            RuntimeError: The agent has neither been given an environment nor loaded.
        """
        observations, batched = self.scaled_observations(observation)
        masks = None
        if action_masks is not None:
            self.check_heeds_masks()
            masks = check_masks("action_masks", action_masks, len(observations), self.canonical_actions.options)
        k, x, _ = (self.acting.decide if deterministic else self.explore_apart)(observations, masks)
        actions = self.canonical_actions.to_env_batch(k, x)
        return (actions if batched else actions[0]), state

    def take_masks(self) -> None:
        """Readies the agent for environments that have begun to say which discrete actions are allowed.

        Raises:
            ValueError: It cannot heed them, or there is experience of environments that did not say so.
        """
        if self.environments.action_masks is not None and not self.masked:
            self.check_heeds_masks()
            self.begin_with_masks()

    def begin_with_masks(self) -> None:
        """Expects masks from now on."""
        self.masked = True

    def check_heeds_masks(self) -> None:
        """Does nothing if the agent can be told which discrete actions are allowed.

        Raises:
            ValueError: It cannot.
        """
        if not self.heeds_masks:
            raise ValueError(
                f"{type(self).__name__} cannot heed action masks, which {self.env_name} or the caller gives: take an "
                'agent that can, such as MPDQN, or an environment without `action_masks` and `info["action_mask"]`'
            )

    def scaled_observations(self, observation: Any) -> tuple[np.ndarray, bool]:
        """Returns what networks take for what `predict` takes: float32 [n, D]; and whether it was a batch.

        Raises:
            ValueError: The observation has another shape than the observation space, or is not finite.
            RuntimeError: The agent has neither been given an environment nor loaded.
        """
        if not self.is_set_up:
            raise RuntimeError("the agent has no spaces yet: give it an environment with set_env, or load it")
        if _is_reset(observation, self.observation_space):
            raise ValueError(
                "observation must be an observation, got a pair of one and a dict: a Gymnasium environment's reset() "
                "returns (observation, info); pass the first of the two"
            )
        transform = self.observation_transform
        batched = transform.is_batch(observation)
        observations = transform.batch(observation) if batched else transform(observation)[None]
        if not np.isfinite(observations).all():
            raise ValueError(f"observation must be finite, got {observation!r}")
        return observations, batched

    def export(self, path: str | os.PathLike, format: str = "saved_model") -> None:
        """Writes the deterministic policy as one function that runs without this library.

        The function takes n raw observations: a tensor `observation` [n, …], or one for each leaf of a Tuple or
        Dict, such as `observation_camera`. It returns `action`, int32 [n], the environment's number of the
        discrete action, and `parameters` [n, P], the parameters of all discrete actions in the environment's units,
        rounded for integer boxes and clipped (without it if P = 0); of independent parts, a tensor for each part,
        such as `action_gear`. They are those of `predict`, to 1e-5 of each
        parameter's range. A `policy.json` with it says which parameters are whose. What is in the file is told in
        `docs/export.md`.

        Args:
            path: Where to. A suffix is added to a file if it has none. What an earlier export wrote is replaced.
            format: `"saved_model"`: a folder for TensorFlow. `"tflite"`: a file for LiteRT (TensorFlow Lite), with
                nothing but its own operations; takes and returns float32. `"onnx"`: a file for ONNX Runtime; needs
                `pamdp-agents[onnx]`.

        Raises:
            ValueError: The format is unknown, is not that of the path's suffix, or cannot hold this policy; or the
                agent's weights are not finite.
            TypeError: Observations are not of Box, Discrete, MultiDiscrete and MultiBinary.
            RuntimeError: The agent has neither been given an environment nor loaded.
            ImportError: The package that the format needs is not installed.
            FileExistsError: A folder or file is in the way that is not an exported policy.
            OSError: The file cannot be written; what was there before is untouched.

        References:
            https://www.tensorflow.org/guide/saved_model, https://ai.google.dev/edge/litert, https://onnx.ai
        """
        self._require_set_up("export")
        check_tensorflow()
        export.export(self, path, format)

    def learn(
        self,
        total_timesteps: int,
        callback: Any = None,
        log_interval: int | None = 4,
        tb_log_name: str | None = None,
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Trains the agent.

        Args:
            total_timesteps: Environment steps to make.
            callback: A callback, a function of (locals, globals), or a list of them.
            log_interval: Episodes between two log dumps; None: no logs.
            tb_log_name: Name of the run in `tensorboard_log`; default: the agent's class.
            reset_num_timesteps: Start counting (and ε) anew; False continues the previous run.
            progress_bar: Show a progress bar with the mean return and steps per second.

        Returns:
            The agent.

        Raises:
            RuntimeError: The agent has no environment.
            ValueError: The environment returned something that is not finite. The agent can still be saved.
            DivergedError: Updates gave numbers that are not finite (a `ValueError`): the agent is as it was before
                them, and they stay due.
        """
        rounds = self.start_learning(
            total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, progress_bar
        )
        with contextlib.closing(rounds):
            for updates in rounds:
                make_updates(self, updates)
        return self

    def start_learning(
        self,
        total_timesteps: int,
        callback: Any,
        log_interval: int | None,
        tb_log_name: str | None,
        reset_num_timesteps: bool,
        progress_bar: bool,
    ) -> Generator[int, None, None]:
        """Starts or continues a run, with the arguments of `learn`; returns what does all of it but the updates.

        It yields the number of updates where it is time for them, see `Training.rounds`.
        """
        check_tensorflow()
        timesteps, environments = check_integer("total_timesteps", total_timesteps, 1), self.environments
        log_interval = None if log_interval is None else check_integer("log_interval", log_interval, 1)
        one = callbacks.as_callback([callback, callbacks.ProgressBarCallback()] if progress_bar else callback)
        self.progress.start(timesteps, reset_num_timesteps)
        if reset_num_timesteps or environments.observations is None:
            environments.reset(self.num_timesteps)
        self.take_masks()
        given = {"self": self, "env": self.get_env(), "total_timesteps": self.progress.total_timesteps, "callback": one}
        given |= {"log_interval": log_interval, "tb_log_name": tb_log_name, "progress_bar": progress_bar}
        given |= self.own_locals()
        training = Training(self, one, log_interval, given | {"reset_num_timesteps": reset_num_timesteps})
        if not self._custom_logger:
            formats, name = ["stdout"] if self.verbose else [], tb_log_name or type(self).__name__
            self._log_to(configure_run(self.tensorboard_log, formats, name, reset_num_timesteps))
        else:  # it may have asked another agent since
            self._log_to(self.logger)
        one.init_callback(self)
        return training.rounds()

    def own_locals(self) -> dict[str, Any]:
        """Returns what callbacks find in their `locals` besides what `learn` was given."""
        return {}

    @property
    def logger(self) -> Logger:
        """Where numbers are logged; it exists from the first `learn` or `set_logger` on."""
        return self._log_to(configure(None, [])) if self._logger is None else self._logger

    def set_logger(self, logger: Logger) -> None:
        """Logs there from now on, instead of where `verbose` and `tensorboard_log` say."""
        self._log_to(logger)
        self._custom_logger = True

    def _log_to(self, logger: Logger) -> Logger:
        """Takes a logger, and returns it; one of this library's asks for the agent's own numbers when it is read."""
        self._logger = logger
        if isinstance(logger, Logger):
            logger.ask_when_read(self.record_news)
        return logger

    def dump_logs(self, iteration: int = 0) -> None:
        """Writes the current numbers to the logger: Stable-Baselines3's keys, and the update's metrics.

        Args:
            iteration: The number of the rollout in this `learn`; 0: it is not logged.
        """
        if iteration:
            self.logger.record("time/iterations", iteration, exclude="tensorboard")
        self.progress.record(self.logger)
        self.record_own(self.logger)
        self.logger.dump(step=self.num_timesteps)

    def record_own(self, logger: Logger) -> None:
        """Records the agent's own numbers."""

    def record_news(self, logger: Logger) -> None:
        """Records those of the agent's own numbers that are new since they were last recorded."""

    def tell_logger(self) -> None:
        """Records what is new in another library's logger, which does not ask when it is read."""
        if not isinstance(self.logger, Logger):
            self.record_news(self.logger)

    def unshared(self) -> dict[str, Any]:
        """Returns what has a state and must not be another agent's, by what it is."""
        env = None if self._environments is None else self._environments.env
        return {"environment": getattr(env, "unwrapped", env), "logger": self._logger}

    def forget_weights(self) -> None:
        """Lets go of all views of the weights, which have changed."""
        self.acting.forget_weights()

    def flat_weights(self) -> dict[str, np.ndarray]:
        """Returns each network's weights, float32 [size]."""
        return self.learner.weights()

    def frozen_policy(self) -> Callable[..., Decision]:
        """Returns the deterministic decisions as a function of observations [n, D] and masks [n, K] or None, tensors.

        The weights in use are constants in it.
        """
        return self.acting.frozen()


def _is_reset(given: Any, space: gym.Space) -> bool:
    """Whether this is what an environment's `reset` returns, in place of an observation."""
    is_pair = isinstance(given, tuple) and len(given) == 2 and isinstance(given[1], dict)
    return is_pair and not isinstance(space, gym.spaces.Tuple)

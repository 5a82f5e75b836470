"""What every agent shares: Stable-Baselines3's interface, settings, seeds, files."""

from __future__ import annotations

import inspect
import os
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import gymnasium as gym
import keras
import numpy as np
import tensorflow as tf

from pamdp_agents import callbacks, features, hyperparameters, pretrained, saving
from pamdp_agents.agents.saveable import SaveableAgent
from pamdp_agents.environments import SingleEnvironment
from pamdp_agents.learner import Learner, Update
from pamdp_agents.logger import Logger, configure
from pamdp_agents.networks import FlatNetwork
from pamdp_agents.observations import ObservationTransform
from pamdp_agents.replay import TransitionLayout
from pamdp_agents.spaces import ParameterizedActionSpace
from pamdp_agents.validation import check_bool, check_choice, check_integer


class Agent(SaveableAgent):
    """Base class of the agents.

    A subclass says what its networks, its update and its actions are; every argument of its constructor is kept as an
    attribute of the same name, which is how settings are saved, printed and loaded.

    Attributes:
        env: The environment, or None.
        observation_space: The environment's observation space.
        action_space: The environment's action space.
        n_envs: Number of environments.
        num_timesteps: Environment steps made so far.
        logger: Where numbers are logged during ``learn``.
        ep_info_buffer: {"r": return, "l": length, "t": seconds} of the last ``stats_window_size`` episodes.
        ep_success_buffer: ``info["is_success"]`` of the same, where the environment gives it.
        learner: The weights and the compiled update.
    """

    metric_names: ClassVar[tuple[str, ...]]
    _aliases: ClassVar[tuple[str, ...]] = tuple(features.POLICIES)

    def __init__(
        self,
        policy: str,
        env: gym.Env | str | None,
        *,
        policy_kwargs: dict[str, Any] | None,
        stats_window_size: int,
        tensorboard_log: str | None,
        verbose: int,
        seed: int | None,
        device: str,
        scale_observations: bool,
    ):
        _check_constructor(type(self))
        self.policy = check_choice("policy", policy, self._aliases)
        self.policy_kwargs = dict(policy_kwargs or {})
        self.stats_window_size = check_integer("stats_window_size", stats_window_size, 1)
        self.tensorboard_log = None if tensorboard_log is None else os.fspath(tensorboard_log)
        self.verbose = check_integer("verbose", verbose, 0)
        self.seed = None if seed is None else check_integer("seed", seed, 0)
        self.scale_observations = check_bool("scale_observations", scale_observations)
        self.device = device
        self._tf_device = _find_device(device)

        self.env: gym.Env | None = None
        self.n_envs = 1
        self.num_timesteps = self._total_timesteps = self._num_timesteps_at_start = 0
        self._episode_num = self._n_updates = 0
        self.start_time = 0.0
        self.ep_info_buffer: deque[dict[str, Any]] = deque(maxlen=self.stats_window_size)
        self.ep_success_buffer: deque[bool] = deque(maxlen=self.stats_window_size)
        self._rngs = [np.random.default_rng() for _ in range(3)]
        self._explore_rng, self._replay_rng, self._predict_rng = self._rngs
        self._logger: Logger | None = None
        self._custom_logger = False
        self._environment: SingleEnvironment | None = None
        if env is not None:
            self.set_env(env)
            self._seed_env(self.seed)
            if self.verbose:
                print(f"{type(self).__name__} on {self._env_name()} with " + _listed(self.settings()))

    # ---------------------------------------------------------------- what a subclass says

    @abstractmethod
    def _make_networks(self, *args: Any, **policy_kwargs: Any) -> dict[str, FlatNetwork]:
        """Returns the algorithm's networks by name."""

    @abstractmethod
    def _make_update(self, networks: dict[str, FlatNetwork]) -> Update:
        """Returns the algorithm's update, a pure function."""

    @abstractmethod
    def _choose(self, observations: np.ndarray, deterministic: bool) -> tuple[np.ndarray, np.ndarray]:
        """Returns the canonical actions (k [n], x [n, P]) for scaled observations [n, D]."""

    # ---------------------------------------------------------------- making an agent

    @classmethod
    def tuned(cls, env: gym.Env | str, **overrides: Any) -> Self:
        """Returns an agent with the settings tuned for an environment (see ``pamdp_agents/hyperparameters``).

        Args:
            env: Environment, or its id.
            **overrides: Arguments of the constructor that replace the tuned ones.

        Raises:
            KeyError: There are no tuned settings for this environment.
        """
        name = env if isinstance(env, str) else env.spec.id if env.spec else type(env.unwrapped).__name__
        settings = hyperparameters.tuned_settings(cls.__name__, name)
        return cls(**({"policy": "MlpPolicy", "env": env} | settings | overrides))

    @classmethod
    def from_pretrained(cls, env: gym.Env | str, **kwargs: Any) -> Self:
        """Returns the trained agent that comes with the library for an environment.

        Args:
            env: Environment, or its id.
            **kwargs: Arguments for :meth:`load`.

        Raises:
            FileNotFoundError: None comes with the library for this agent and environment.
        """
        made = _made(env)
        if made.spec is None:
            raise FileNotFoundError(f"{made} has no registered id, so there is no pretrained agent for it")
        return cls.load(pretrained.path(cls.__name__, made.spec.id), env=made, **kwargs)

    def _set_up(self, observation_space: gym.Space, action_space: gym.Space) -> None:
        """Makes everything that depends on the spaces."""
        self.observation_space, self.action_space = observation_space, action_space
        for space in (observation_space, action_space):
            saving.space_to_json(space)  # what cannot be saved is refused now, not after training
        self.actions = ParameterizedActionSpace(action_space)
        self.observations = ObservationTransform(observation_space, scale=self.scale_observations)
        self.set_random_seed(self.seed)
        try:
            networks = self._make_networks(**self.policy_kwargs)
        except TypeError as error:
            if "unexpected keyword argument" not in str(error):
                raise
            accepted = [name for name in inspect.signature(self._make_networks).parameters]
            raise ValueError(f"policy_kwargs {self.policy_kwargs} must be among {accepted}: {error}") from None
        self.layout = TransitionLayout(self.observations.size, self.actions.parameter_size)
        self.learner = Learner(
            networks, self._make_update(networks), self.metric_names, self.layout, device=self._tf_device
        )

    def set_random_seed(self, seed: int | None = None) -> None:
        """Seeds the weights made from now on, exploration, replay samples and the environment's next reset.

        Like Stable-Baselines3's, this seeds Python's, NumPy's and TensorFlow's global generators too.
        """
        if seed is not None:
            keras.utils.set_random_seed(seed)
            self.action_space.seed(seed)
        # In place: the replay buffer draws from one of them.
        for rng, stream in zip(self._rngs, np.random.SeedSequence(seed).spawn(len(self._rngs)), strict=True):
            rng.bit_generator.state = np.random.default_rng(stream).bit_generator.state
        self._seed_env(seed)

    def _seed_env(self, seed: int | None) -> None:
        if self._environment is not None:
            self._environment.next_seed = seed

    # ---------------------------------------------------------------- the environment

    def set_env(self, env: gym.Env | str, force_reset: bool = True) -> None:
        """Gives the agent another environment with the same spaces.

        Args:
            env: The environment, or its id.
            force_reset: Start a new episode at the next ``learn``; False: the environment stands where the agent
                left it.

        Raises:
            ValueError: Its spaces differ from those the agent was made for.
            TypeError: It is not a Gymnasium environment.
        """
        made = _made(env)
        if not hasattr(self, "observation_space"):
            self._set_up(made.observation_space, made.action_space)
        for kind, own, given in (
            ("observation", self.observation_space, made.observation_space),
            ("action", self.action_space, made.action_space),
        ):
            if own != given:
                raise ValueError(
                    f"env's {kind} space is {given}, but this agent was made for {own}; give an environment with that "
                    "space, or make a new agent"
                )
        before = self._environment
        self.env = made
        self._environment = SingleEnvironment(made, self.observations, self.actions)
        if before is not None and not force_reset:
            self._environment.resume(before.observation, before.episode_return, before.episode_length)

    def get_env(self) -> gym.Env | None:
        """Returns the environment, or None."""
        return self.env

    def get_vec_normalize_env(self) -> None:
        """Returns None: the agent's environment is not wrapped in Stable-Baselines3's ``VecNormalize``."""
        return None

    def _env_name(self) -> str:
        return self._environment.name if self._environment else "no environment"

    # ---------------------------------------------------------------- using it

    def predict(
        self,
        observation: Any,
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[Any, tuple[np.ndarray, ...] | None]:
        """Returns the action for an observation, as the environment's ``step`` takes it.

        Args:
            observation: One observation, or n of them with one more leading axis.
            state: Passed through (for recurrent policies; these are not).
            episode_start: Ignored (for recurrent policies).
            deterministic: Without it, the agent explores with its current ε.

        Returns:
            One action for one observation, a list of n for n; and ``state``.

        Raises:
            ValueError: The observation has another shape than the observation space, or is not finite.
            RuntimeError: The agent has neither been given an environment nor loaded.
        """
        if not hasattr(self, "observations"):
            raise RuntimeError("the agent has no spaces yet: give it an environment with set_env, or load it")
        batched = self.observations.is_batch(observation)
        observations = self.observations.batch(observation) if batched else self.observations(observation)[None]
        if not np.isfinite(observations).all():
            raise ValueError(f"observation must be finite, got {observation!r}")
        k, x = self._choose(observations, deterministic)
        if batched:
            return self.actions.to_env_batch(k, x), state
        return self.actions.to_env(int(k[0]), x[0]), state

    @abstractmethod
    def learn(self, total_timesteps: int) -> Self:
        """Trains the agent; see the subclasses."""

    def _set_up_learn(
        self,
        total_timesteps: int,
        callback: Any,
        reset_num_timesteps: bool,
        tb_log_name: str,
        progress_bar: bool,
    ) -> tuple[int, callbacks.BaseCallback]:
        """Starts or continues a run; returns the step to stop at and the callbacks as one."""
        total_timesteps = check_integer("total_timesteps", total_timesteps, 1)
        if self._environment is None:
            raise RuntimeError(
                "learn needs an environment: pass env to the constructor or to load, or call set_env first"
            )
        self.start_time = time.perf_counter()
        if reset_num_timesteps:
            self.num_timesteps = self._episode_num = 0
            self.ep_info_buffer.clear()
            self.ep_success_buffer.clear()
        else:
            total_timesteps += self.num_timesteps
        self._total_timesteps, self._num_timesteps_at_start = total_timesteps, self.num_timesteps
        if reset_num_timesteps or self._environment.observation is None:
            self._environment.reset(self.num_timesteps)
        if not self._custom_logger:
            self._logger = self._make_logger(tb_log_name, reset_num_timesteps)
        one = callbacks.as_callback([callback, callbacks.ProgressBarCallback()] if progress_bar else callback)
        one.init_callback(self)
        return total_timesteps, one

    # ---------------------------------------------------------------- logging

    @property
    def logger(self) -> Logger:
        """Where numbers are logged; it exists from the first ``learn`` or ``set_logger`` on."""
        if self._logger is None:
            self._logger = configure(None, [])
        return self._logger

    def set_logger(self, logger: Logger) -> None:
        """Logs there from now on, instead of where ``verbose`` and ``tensorboard_log`` say."""
        self._logger, self._custom_logger = logger, True

    def _make_logger(self, tb_log_name: str, new_run: bool) -> Logger:
        formats = ["stdout"] if self.verbose else []
        if self.tensorboard_log is None:
            return configure(None, formats)
        folder = Path(self.tensorboard_log)
        numbers = [
            int(path.name.rpartition("_")[2])
            for path in folder.glob(f"{tb_log_name}_*")
            if path.name.rpartition("_")[2].isdecimal()
        ]
        number = max(numbers, default=0) + (1 if new_run or not numbers else 0)
        return configure(str(folder / f"{tb_log_name}_{number}"), [*formats, "tensorboard"])


def _check_constructor(agent_class: type) -> None:
    kinds = {parameter.kind for parameter in inspect.signature(agent_class).parameters.values()}
    if kinds & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}:
        raise TypeError(
            f"{agent_class.__name__}.__init__ must name its arguments, without *args and **kwargs: their names are how "
            "an agent's settings are found and saved"
        )


def _made(env: gym.Env | str) -> gym.Env:
    """Returns the environment of an id, or the one given."""
    made = gym.make(env) if isinstance(env, str) else env
    if not isinstance(made, gym.Env):
        raise TypeError(
            f"env must be a Gymnasium environment or its id, got {type(env).__name__}; vector environments are not "
            "accepted yet: pass one environment"
        )
    return made


def _find_device(device: str) -> str | None:
    """Returns the TensorFlow device of a name; None lets TensorFlow choose."""
    if device == "auto":
        return None
    kind = {"cuda": "GPU", "gpu": "GPU", "cpu": "CPU"}.get(device.lower())
    name = f"/{kind}:0" if kind else device
    known = [found.name.replace("physical_device:", "") for found in tf.config.list_physical_devices()]
    if name not in known:
        raise ValueError(f"device must be 'auto', 'cpu', 'gpu' or one of {known}, got {device!r}")
    return name


def _listed(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in settings.items())

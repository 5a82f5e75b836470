"""What every agent shares: Stable-Baselines3's interface, settings, seeds, files."""

from __future__ import annotations

import inspect
import os
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import gymnasium as gym
import keras
import numpy as np
import tensorflow as tf

from pamdp_agents import callbacks
from pamdp_agents.base.devices import find_device
from pamdp_agents.base.saveable import SaveableAgent
from pamdp_agents.checks import check_bool, check_choice, check_integer
from pamdp_agents.environments.adapt import adapt, make_environment
from pamdp_agents.environments.adapter import Environment
from pamdp_agents.environments.canonical import CanonicalEnvironments
from pamdp_agents.environments.single_as_vec_env import SingleVecEnv
from pamdp_agents.environments.vec_normalize import find_vec_normalize, scaling_beside
from pamdp_agents.experience.transition import TransitionLayout
from pamdp_agents.files import export
from pamdp_agents.files.space_json import space_to_json
from pamdp_agents.learning.learner import Learner
from pamdp_agents.learning.train_state import Update
from pamdp_agents.logger import Logger, configure
from pamdp_agents.networks import features
from pamdp_agents.networks.models import FlatNetwork
from pamdp_agents.presets import pretrained, tuned
from pamdp_agents.spaces.observations import ObservationTransform
from pamdp_agents.spaces.parameterized import ParameterizedActionSpace


class Agent(SaveableAgent):
    """Base class of the agents.

    A subclass says what its networks, its update and its actions are; every argument of its constructor is kept as an
    attribute of the same name, which is how settings are saved, printed and loaded.

    Attributes:
        env: The environment as it was given, or None.
        observation_space: The environment's observation space.
        action_space: The environment's action space.
        n_envs: Number of environments.
        num_timesteps: Environment steps made so far.
        logger: Where numbers are logged during `learn`.
        ep_info_buffer: {"r": return, "l": length, "t": seconds} of the last `stats_window_size` episodes.
        ep_success_buffer: `info["is_success"]` of the same, where the environment gives it.
        learner: The weights and the compiled update.
    """

    metric_names: ClassVar[tuple[str, ...]]
    """What an update returns for the log."""
    rate_names: ClassVar[tuple[str, ...]]
    """The settings that are learning rates; an update takes them by these names."""
    _aliases: ClassVar[tuple[str, ...]] = tuple(features.POLICIES)

    def __init__(
        self,
        policy: str,
        env: Environment | str | None,
        *,
        policy_kwargs: dict[str, Any] | None,
        stats_window_size: int,
        tensorboard_log: str | None,
        verbose: int,
        seed: int | None,
        device: str,
        scale_observations: bool | list[str],
    ):
        _check_constructor(type(self))
        self.policy = check_choice("policy", policy, self._aliases)
        self.policy_kwargs = dict(policy_kwargs or {})
        self.stats_window_size = check_integer("stats_window_size", stats_window_size, 1)
        self.tensorboard_log = None if tensorboard_log is None else os.fspath(tensorboard_log)
        self.verbose = check_integer("verbose", verbose, 0)
        self.seed = None if seed is None else check_integer("seed", seed, 0)
        self.scale_observations = (
            scale_observations
            if isinstance(scale_observations, list)
            else check_bool("scale_observations", scale_observations)
        )
        self.device = str(device)  # PyTorch's are objects
        self._tf_device = find_device(self.device)

        self.env: Any = None
        self._vec_env: SingleVecEnv | None = None
        self.n_envs = 1
        self.num_timesteps = self._total_timesteps = self._num_timesteps_at_start = 0
        self._episode_num = self._n_updates = 0
        self._current_progress_remaining = 1.0
        self.start_time = 0.0
        self.ep_info_buffer: deque[dict[str, Any]] = deque(maxlen=self.stats_window_size)
        self.ep_success_buffer: deque[bool] = deque(maxlen=self.stats_window_size)
        self._rngs = [np.random.default_rng() for _ in range(3)]
        self._explore_rng, self._replay_rng, self._predict_rng = self._rngs
        self._logger: Logger | None = None
        self._custom_logger = False
        self._environment: CanonicalEnvironments | None = None
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

    def _greedy_function(self) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
        """Returns what `_choose` does deterministically as TensorFlow operations, with the weights as constants."""
        raise NotImplementedError(f"{type(self).__name__} cannot be exported")

    # ---------------------------------------------------------------- making an agent

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
        arguments: dict[str, Any] = {"policy": "MlpPolicy", "env": env}
        return cls(**(arguments | settings | overrides))

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

    def _set_up(self, observation_space: gym.Space, action_space: gym.Space) -> None:
        """Makes everything that depends on the spaces."""
        self.observation_space, self.action_space = observation_space, action_space
        for space in (observation_space, action_space):
            space_to_json(space)  # what cannot be saved is refused now, not after training
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
            networks,
            self._make_update(networks),
            self.metric_names,
            self.rate_names,
            self.layout,
            device=self._tf_device,
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

    def set_env(self, env: Environment | str, force_reset: bool = True) -> None:
        """Gives the agent another environment with the same spaces.

        Args:
            env: The environment, or its id.
            force_reset: Start a new episode at the next `learn`; False: the environment stands where the agent
                left it.

        Raises:
            ValueError: Its spaces differ from those the agent was made for.
            TypeError: It is neither a Gymnasium environment nor a vector environment.
        """
        made = make_environment(env)
        kind = adapt(made)
        self._check_n_envs(kind.num_envs)
        scaling = scaling_beside(find_vec_normalize(made), self.scale_observations)
        if not hasattr(self, "learner"):
            asked, self.scale_observations = self.scale_observations, scaling
            try:
                self._set_up(kind.observation_space, kind.action_space)
            except Exception:
                self.scale_observations = asked
                raise
        for name, own, given in (
            ("observation", self.observation_space, kind.observation_space),
            ("action", self.action_space, kind.action_space),
        ):
            if own != given:
                raise ValueError(
                    f"env's {name} space is {given}, but this agent was made for {own}; give an environment with that "
                    "space, or make a new agent"
                )
        if scaling != self.scale_observations:
            raise ValueError(
                f"env normalises observations (VecNormalize), but this agent has scale_observations="
                f"{self.scale_observations!r}: give it an environment without, or make a new agent"
            )
        environment = CanonicalEnvironments(kind, self.observations, self.actions)
        if self._environment is not None and not force_reset:
            environment.resume(self._environment.state())
        self._environment, self.env, self.n_envs = environment, made, kind.num_envs
        self._vec_env = SingleVecEnv(made) if isinstance(made, gym.Env) else None

    def _check_n_envs(self, n_envs: int) -> None:
        """Raises ValueError if the agent cannot train in so many environments."""

    def get_env(self) -> Any:
        """Returns the vector environment, or None.

        A single environment is seen through Stable-Baselines3's interface: `reset()` returns a batch of one
        observation, `step` takes a list of one action and returns (observations, rewards, dones, infos).
        """
        if self._vec_env is None:
            return self.env
        return self._vec_env.known_to_sb3()

    def get_vec_normalize_env(self) -> Any:
        """Returns Stable-Baselines3's `VecNormalize` among the environment's wrappers, or None."""
        return find_vec_normalize(self.env)

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
        """Returns the action for an observation, as the environment's `step` takes it.

        Args:
            observation: One observation, or n of them with one more leading axis.
            state: Passed through (for recurrent policies; these are not).
            episode_start: Ignored (for recurrent policies).
            deterministic: Without it, the agent explores with its current ε.

        Returns:
            One action for one observation, a list of n for n; and `state`.

        Raises:
            ValueError: The observation has another shape than the observation space, or is not finite.
            RuntimeError: The agent has neither been given an environment nor loaded.
        """
        if not hasattr(self, "observations"):
            raise RuntimeError("the agent has no spaces yet: give it an environment with set_env, or load it")
        if _is_reset(observation, self.observation_space):
            raise ValueError(
                "observation must be an observation, got a pair of one and a dict: a Gymnasium environment's reset() "
                "returns (observation, info); pass the first of the two"
            )
        batched = self.observations.is_batch(observation)
        observations = self.observations.batch(observation) if batched else self.observations(observation)[None]
        if not np.isfinite(observations).all():
            raise ValueError(f"observation must be finite, got {observation!r}")
        k, x = self._choose(observations, deterministic)
        if batched:
            return self.actions.to_env_batch(k, x), state
        return self.actions.to_env(int(k[0]), x[0]), state

    def export(self, path: str | os.PathLike, format: str = "saved_model") -> None:
        """Writes the deterministic policy as one function that runs without this library.

        The function takes n raw observations: a tensor `observation` [n, …], or one for each leaf of a Tuple or
        Dict, such as `observation_camera`. It returns `action`, int32 [n], the environment's number of the
        discrete action, and `parameters` [n, P], the parameters of all discrete actions in the environment's units,
        rounded for integer boxes and clipped (without it if P = 0). Both are those of `predict`, to 1e-5 of each
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
        export.export(self, path, format)

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
        self._update_progress()
        if reset_num_timesteps or self._environment.observations is None:
            self._environment.reset(self.num_timesteps)
        if not self._custom_logger:
            self._logger = self._make_logger(tb_log_name, reset_num_timesteps)
        one = callbacks.as_callback([callback, callbacks.ProgressBarCallback()] if progress_bar else callback)
        one.init_callback(self)
        return total_timesteps, one

    def _update_progress(self) -> None:
        """Brings up to date how much of the run remains, from 1 at its start to 0 at its end."""
        # The last round may go past the total.
        self._current_progress_remaining = max(1.0 - self.num_timesteps / self._total_timesteps, 0.0)

    # ---------------------------------------------------------------- logging

    @property
    def logger(self) -> Logger:
        """Where numbers are logged; it exists from the first `learn` or `set_logger` on."""
        if self._logger is None:
            self._logger = configure(None, [])
        return self._logger

    def set_logger(self, logger: Logger) -> None:
        """Logs there from now on, instead of where `verbose` and `tensorboard_log` say."""
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


def _is_reset(given: Any, space: gym.Space) -> bool:
    """Whether this is what an environment's `reset` returns, in place of an observation."""
    is_pair = isinstance(given, tuple) and len(given) == 2 and isinstance(given[1], dict)
    return is_pair and not isinstance(space, gym.spaces.Tuple)


def _check_constructor(agent_class: type) -> None:
    kinds = {parameter.kind for parameter in inspect.signature(agent_class).parameters.values()}
    if kinds & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}:
        raise TypeError(
            f"{agent_class.__name__}.__init__ must name its arguments, without *args and **kwargs: their names are how "
            "an agent's settings are found and saved"
        )


def _listed(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in settings.items())

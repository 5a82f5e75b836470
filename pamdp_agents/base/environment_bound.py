"""What ties an agent to its environments: spaces, canonical observations and actions, seeds."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from pamdp_agents.base.common_settings import CommonSettings
from pamdp_agents.checks import LARGEST_SEED, check_integer
from pamdp_agents.environments.adapt import adapt, make_environment
from pamdp_agents.environments.adapter import Environment
from pamdp_agents.environments.canonical import CanonicalEnvironments
from pamdp_agents.environments.single_as_vec_env import SingleVecEnv
from pamdp_agents.environments.vec_normalize import check_outer_wrappers, find_vec_normalize, scaling_beside
from pamdp_agents.files.space_json import space_to_json
from pamdp_agents.learning.learner import SEEDS
from pamdp_agents.networks.keras_settings import check_tensorflow, own_keras_settings, set_global_seeds
from pamdp_agents.spaces import ObservationTransform, ParameterizedActionSpace
from pamdp_agents.spaces.canonical_actions import CanonicalActions
from pamdp_agents.spaces.observations import WIDEST_RANGE


class EnvironmentBound(CommonSettings):
    """The part of an agent that is about its environments.

    Attributes:
        observation_space: The environment's observation space.
        action_space: The environment's action space.
        observation_transform: Flattens and scales observations.
        canonical_actions: Converts between canonical actions and the environment's.
        widest_range: Observations whose bounds are further apart are not scaled; None, for all finite ones, in an
            agent of an older file.
        n_envs: Number of environments.
        masked: Whether environments have said which discrete actions are allowed, from the first observation on.
        is_set_up: Whether the agent has spaces, and what depends on them.
    """

    is_set_up = False
    stores_as_collected: ClassVar[bool] = False
    """Whether observations are stored as they were acted on, also those that `VecNormalize` normalises."""

    def begin(self) -> None:
        """Readies what a constructor readies besides settings."""
        super().begin()
        self.n_envs = 1
        self.widest_range: float | None = WIDEST_RANGE
        self.masked = False
        # Made by `set_up`; annotated here, for an annotation in the class would be a setting.
        self.observation_space: gym.Space
        self.action_space: gym.Space
        self.observation_transform: ObservationTransform
        self.canonical_actions: CanonicalActions
        self._vec_env: SingleVecEnv | None = None
        self._environments: CanonicalEnvironments | None = None
        self._rngs = [np.random.default_rng() for _ in range(3)]
        self._explore_rng, self._replay_rng, self._predict_rng = self._rngs
        self._update_seed = 0

    def change_setting(self, name: str, value: Any) -> None:
        """Gives a setting another value, which acts from now on.

        Raises:
            AttributeError: It cannot change any more: the networks, or what else was made with it, are there.
        """
        if name == "env":
            raise AttributeError("env is changed by set_env(env)")
        if self.is_set_up and self.declared_settings[name].change == "refused":
            own = type(self).__name__
            raise AttributeError(
                f"{name} cannot change once the agent has its spaces; make a new agent, or give it to load: "
                f"{own}.load(path, {name}=...)"
            )
        super().change_setting(name, value)

    @abstractmethod
    def build(self) -> None:
        """Makes what depends on the spaces: `learner`, `acting`, and what experience is kept in."""

    def extras(self) -> dict[str, int]:
        """Returns the size of each extra of a decision that is stored with the transition, by name."""
        return {}

    def make_actions(self, space: gym.Space) -> CanonicalActions:
        """Returns what converts the actions of a space.

        Raises:
            TypeError: The agent has no use for such a space.
            ValueError: It can be read in more than one way, or has no bounds.
        """
        return ParameterizedActionSpace(space)

    def set_up(self, observation_space: gym.Space, action_space: gym.Space) -> None:
        """Makes everything that depends on the spaces."""
        check_tensorflow()
        self.observation_space, self.action_space = observation_space, action_space
        for space in (observation_space, action_space):
            space_to_json(space)  # what cannot be saved is refused now, not after training
        self.canonical_actions = self.make_actions(action_space)
        self.observation_transform = ObservationTransform(
            observation_space,
            scale=self.scale_observations,
            scale_images=(self.policy_kwargs or {}).get("normalize_images", True),
            widest_range=self.widest_range,
        )
        self.set_random_seed(self.seed)
        with own_keras_settings():
            self.build()
        self.is_set_up = True

    def set_random_seed(self, seed: int | None = None) -> None:
        """Seeds the weights made from now on, exploration, replay samples and the environment's next reset.

        Like Stable-Baselines3's, this seeds Python's, NumPy's and TensorFlow's global generators too.
        """
        if seed is not None:
            set_global_seeds(check_integer("seed", seed, 0, LARGEST_SEED))
            self.action_space.seed(seed)
        *streams, updates = np.random.SeedSequence(seed).spawn(len(self._rngs) + 1)
        # In place: the replay buffer draws from one of them.
        for rng, stream in zip(self._rngs, streams, strict=True):
            rng.bit_generator.state = np.random.default_rng(stream).bit_generator.state
        self._update_seed = int(updates.generate_state(1)[0]) % SEEDS
        self._seed_env(seed)

    def _seed_env(self, seed: int | None) -> None:
        if self._environments is not None:
            self._environments.next_seed = seed

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
        adapter = adapt(made)
        self._check_n_envs(adapter.num_envs)
        vec_normalize = find_vec_normalize(made)
        self._check_vec_normalize(vec_normalize)
        if not self.stores_as_collected:
            check_outer_wrappers(made, vec_normalize)
        scaling = scaling_beside(vec_normalize, self.scale_observations)
        if not self.is_set_up:
            asked, self.scale_observations = self.scale_observations, scaling
            try:
                self.set_up(adapter.observation_space, adapter.action_space)
            except Exception:
                self.scale_observations = asked
                raise
        for name, own, given in (
            ("observation", self.observation_space, adapter.observation_space),
            ("action", self.action_space, adapter.action_space),
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
        environments = CanonicalEnvironments(
            adapter, self.observation_transform, self.canonical_actions, self.stores_as_collected
        )
        if self._environments is not None and not force_reset:
            environments.resume(self._environments.state())
        self._environments, self.n_envs = environments, adapter.num_envs
        self._vec_env = SingleVecEnv(made) if isinstance(made, gym.Env) else None

    def _check_n_envs(self, n_envs: int) -> None:
        """Raises ValueError if the agent cannot train in so many environments."""

    def _check_vec_normalize(self, vec_normalize: Any | None) -> None:
        """Raises ValueError if the agent cannot train in environments in a `VecNormalize`, where there is one."""

    @property
    def environments(self) -> CanonicalEnvironments:
        """The agent's side of its environments.

        Raises:
            RuntimeError: It has none.
        """
        if self._environments is None:
            raise RuntimeError(
                "learn needs an environment: pass env to the constructor or to load, or call set_env first"
            )
        return self._environments

    @property
    def parameterized_space(self) -> ParameterizedActionSpace:
        """Converts between canonical actions and the environment's, where these are parameterised ones.

        Raises:
            AttributeError: The agent chooses the parts of its actions independently; see `canonical_actions`.
        """
        if not isinstance(self.canonical_actions, ParameterizedActionSpace):
            raise AttributeError(
                f"this agent's actions, {self.action_space}, have independent parts and no parameterized_space; see "
                "canonical_actions"
            )
        return self.canonical_actions

    @property
    def actions(self) -> ParameterizedActionSpace:
        """`parameterized_space`, by its name of version 0.1.0."""
        return self.parameterized_space

    @property
    def env_name(self) -> str:
        """The environment's id, or its class."""
        return self._environments.name if self._environments else "no environment"

    @property  # type: ignore[misc]  # given as a setting
    def env(self) -> Any:  # type: ignore[override]
        """The vector environment, or None; see `get_env`."""
        return self.get_env()

    def get_env(self) -> Any:
        """Returns the vector environment, or None.

        A single environment is seen through Stable-Baselines3's interface: `reset()` returns a batch of one
        observation, `step` takes a list of one action and returns (observations, rewards, dones, infos).
        """
        if self._vec_env is not None:
            return self._vec_env.known_to_sb3()
        return None if self._environments is None else self._environments.env

    def get_vec_normalize_env(self) -> Any:
        """Returns Stable-Baselines3's `VecNormalize` among the environment's wrappers, or None."""
        return None if self._environments is None else find_vec_normalize(self._environments.env)

"""Three kinds of environments behind one interface: Gymnasium's, its vector environments, and Stable-Baselines3's.

Training and evaluation step n environments at once and ask of each step: what was played, how did it end, what comes
next. The kinds differ in when an environment whose episode has ended is reset, and in where its last observation is:

* one Gymnasium environment: reset by :meth:`reset_ended`; the step returns the last observation;
* a Gymnasium vector environment, by its ``AutoresetMode``: ``NEXT_STEP`` resets in the next step, which plays nothing;
  ``SAME_STEP`` within the step, the last observation is in ``infos["final_obs"]``; ``DISABLED``: by
  :meth:`reset_ended`;
* Stable-Baselines3's ``VecEnv``: within the step, the last observation is in ``info["terminal_observation"]``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import gymnasium as gym
import numpy as np
from gymnasium.error import AlreadyPendingCallError
from gymnasium.vector import AsyncVectorEnv
from gymnasium.vector.utils import concatenate, create_empty_array
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from numpy.typing import NDArray

from pamdp_agents.observations import ObservationTransform
from pamdp_agents.spaces import ParameterizedActionSpace

Environment: TypeAlias = Any
"""A Gymnasium environment, a Gymnasium vector environment, or a Stable-Baselines3 ``VecEnv``."""


class Outcome(NamedTuple):
    """What one step of n environments gave.

    Attributes:
        observations: As the environment gave them.
        final_observations: For those environments whose episode ended and whose place in ``observations`` is already
            taken by the next episode's first: their last observation.
        rewards: float64 [n].
        terminated: Whether the episode really ended, bool [n].
        truncated: Whether it was cut off, bool [n].
        played: False where the step was only a reset, bool [n].
        infos: n dicts.
    """

    observations: Any
    final_observations: dict[int, Any]
    rewards: NDArray[np.float64]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    played: NDArray[np.bool_]
    infos: list[dict[str, Any]]


class EnvironmentKind(ABC):
    """n environments, n = ``num_envs``.

    Attributes:
        env: The environment itself.
        num_envs: n.
        is_vector: Whether observations are n stacked ones, not a single one.
        resets_in_next_step: Whether the step after an episode's end only resets.
        episode_starts: Whether the current observation is an episode's first, bool [n].
        pending_resets: Whether the next step will only be a reset, bool [n].
    """

    is_vector = True
    resets_in_next_step = False
    _is_async = False
    episode_starts: NDArray[np.bool_]

    def __init__(self, env: Any, num_envs: int) -> None:
        self.env, self.num_envs = env, num_envs
        self._all = np.ones(num_envs, dtype=bool)
        self.pending_resets = ~self._all

    @property
    def observation_space(self) -> gym.Space:
        """One environment's observation space."""
        return self.env.observation_space

    @property
    def action_space(self) -> gym.Space:
        """One environment's action space."""
        return self.env.action_space

    @property
    @abstractmethod
    def name(self) -> str:
        """The environment's id, or its class."""

    @abstractmethod
    def reset(self, seed: int | None) -> Any:
        """Starts n new episodes; returns their first observations."""

    @abstractmethod
    def start_step(self, actions: Any) -> None:
        """Starts a step; where environments run in other processes, they are at it from now on.

        Args:
            actions: A list of n, or whatever the environment's own ``step`` takes.
        """

    @abstractmethod
    def finish_step(self) -> Outcome:
        """Returns what the step gave that was started."""

    def _send(self, actions: Any) -> None:
        """Hands over what the environment's own step takes; in other processes, the step begins."""
        self._sent = actions
        if self._is_async:
            self.env.step_async(actions)

    def _receive(self) -> Any:
        """Returns what the environment's own step returns."""
        return self.env.step_wait() if self._is_async else self.env.step(self._sent)

    def step(self, actions: Any) -> Outcome:
        """Starts a step and waits for it."""
        self.start_step(actions)
        return self.finish_step()

    def reset_ended(self) -> Any | None:
        """Starts new episodes in place of those that the last step ended, if the environment does not do so itself.

        Returns:
            All current observations, or None if nothing was done.
        """
        return None

    def compose(self, actions: ParameterizedActionSpace, k: NDArray, x: NDArray) -> Any:
        """Returns canonical actions (k [n], x [n, P]) as :meth:`step` takes them."""
        return actions.to_env_batch(k, x)

    def transform(self, observations: ObservationTransform, given: Any) -> NDArray[np.float32]:
        """Returns the environment's observations as float32 [n, D]."""
        return observations.batch(given)

    def stack(self, given: Any) -> Any:
        """Returns the environment's observations stacked, n of them."""
        return given


class SingleEnvironment(EnvironmentKind):
    """One Gymnasium environment."""

    is_vector = False

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env, 1)

    @property
    def name(self) -> str:
        """The environment's id, or its class."""
        return self.env.spec.id if self.env.spec else type(self.env.unwrapped).__name__

    def reset(self, seed: int | None) -> Any:
        """Starts a new episode; returns its first observation.

        Raises:
            TypeError: The environment's reset does not take a seed or does not return (observation, info).
        """
        self.episode_starts = self._all
        try:
            result = self.env.reset(seed=seed)
        except TypeError as error:
            if "seed" not in str(error):
                raise
            raise TypeError(f"environment {self.name}: reset(seed=...) must take a seed ({error}); {UPDATE}") from error
        if not (isinstance(result, tuple) and len(result) == 2):
            raise TypeError(
                f"environment {self.name}: reset must return (observation, info), it returned {result!r}; {UPDATE}"
            )
        return result[0]

    def start_step(self, actions: Sequence[Any]) -> None:
        """Takes one action in a list."""
        [action] = actions
        self._send(action)

    def finish_step(self) -> Outcome:
        """Returns what the step gave.

        Raises:
            TypeError: The environment's step does not return Gymnasium's five values, or the reward is None.
        """
        result = self._receive()
        has_five = isinstance(result, tuple) and len(result) == 5
        if not has_five or result[1] is None or not isinstance(result[4], dict):
            raise TypeError(
                f"environment {self.name}: step must return (observation, reward, terminated, truncated, info), it "
                f"returned {result!r}; {UPDATE}"
            )
        observation, reward, terminated, truncated, info = result
        rewards = np.array([reward], dtype=np.float64)
        ended, cut = np.array([bool(terminated)]), np.array([bool(truncated)])
        self.episode_starts = ended | cut
        return Outcome(observation, {}, rewards, ended, cut, self._all, [info])

    def reset_ended(self) -> Any | None:
        """Starts a new episode if the last one ended; returns its first observation, else None."""
        return self.reset(None) if self.episode_starts[0] else None

    def transform(self, observations: ObservationTransform, given: Any) -> NDArray[np.float32]:
        """Returns the observation as float32 [1, D]."""
        return observations(given)[None]

    def stack(self, given: Any) -> Any:
        """Returns a batch of the one observation."""
        return stack_one(self.observation_space, given)


class GymnasiumVectorEnvironment(EnvironmentKind):
    """A Gymnasium vector environment, in the autoreset mode that its metadata name."""

    def __init__(self, env: gym.vector.VectorEnv) -> None:
        super().__init__(env, env.num_envs)
        mode = env.metadata.get("autoreset_mode", "NextStep")
        self._mode = getattr(mode, "value", mode)
        self.resets_in_next_step = self._mode == "NextStep"
        self._ended = ~self._all
        # Its wrappers only know whole steps.
        self._is_async = isinstance(env, AsyncVectorEnv)
        # Gymnasium's recorder takes the reset of some environments for one of all.
        self._miscounts = self._mode == "Disabled" and _is_wrapped(env, RecordEpisodeStatistics)

    @property
    def observation_space(self) -> gym.Space:
        """One environment's observation space."""
        return self.env.single_observation_space

    @property
    def action_space(self) -> gym.Space:
        """One environment's action space."""
        return self.env.single_action_space

    @property
    def name(self) -> str:
        """The environments' id, or their class."""
        inner = next(iter(getattr(self.env, "envs", ())), None)
        spec = self.env.spec or getattr(inner, "spec", None)
        return spec.id if spec else type(self.env.unwrapped if inner is None else inner.unwrapped).__name__

    def reset(self, seed: int | None) -> Any:
        """Starts n new episodes; returns their first observations."""
        self._ended = self.pending_resets = ~self._all
        self.episode_starts = self._all
        try:
            return self.env.reset(seed=seed)[0]
        except AlreadyPendingCallError as pending:  # of a step in other processes that was interrupted
            getattr(self.env.unwrapped, f"{pending.name}_wait")()
            return self.env.reset(seed=seed)[0]

    def start_step(self, actions: Any) -> None:
        """Takes n actions: a list of n, or a batch of the vector environment's action space."""
        self._send(batch_actions(self.env, actions))

    def finish_step(self) -> Outcome:
        """Returns what the step gave."""
        played = ~self.pending_resets
        observations, rewards, terminated, truncated, infos = self._receive()
        self._ended = np.logical_or(terminated, truncated)
        split = split_infos(infos, self.num_envs)
        if self._miscounts:
            split = [{key: value for key, value in info.items() if key != "episode"} for info in split]
        final_observations = {}
        if self._mode == "SameStep":
            final_observations = {int(i): split[i]["final_obs"] for i in np.flatnonzero(self._ended)}
            # What stands beside `final_info` is from the new episode's reset.
            split = [{**info, **info.get("final_info", {})} for info in split]
        if self.resets_in_next_step:  # the next step will ignore the ended ones' actions and only reset them
            self.pending_resets, self.episode_starts = self._ended, ~played
        else:
            self.episode_starts = self._ended
        rewards = np.asarray(rewards, dtype=np.float64)
        return Outcome(
            observations, final_observations, rewards, np.array(terminated), np.array(truncated), played, split
        )

    def reset_ended(self) -> Any | None:
        """In ``DISABLED`` mode, starts new episodes in place of the ended ones; returns all observations, else None."""
        if self._mode != "Disabled" or not self._ended.any():
            return None
        return self.env.reset(options={"reset_mask": self._ended.copy()})[0]

    def compose(self, actions: ParameterizedActionSpace, k: NDArray, x: NDArray) -> Any:
        """Returns canonical actions (k [n], x [n, P]) as a batch of the vector environment's action space."""
        return actions.to_env_stacked(k, x)


class SB3VectorEnvironment(EnvironmentKind):
    """Stable-Baselines3's ``VecEnv``, or anything with its interface."""

    def __init__(self, env: Any) -> None:
        super().__init__(env, env.num_envs)
        self._is_async = hasattr(env, "step_async")

    @property
    def name(self) -> str:
        """The environments' id, or the vector environment's class."""
        # Environments in other processes are not asked: their specs may not come through a pipe.
        inner = next(iter(getattr(self.env.unwrapped, "envs", ())), None)
        return inner.spec.id if inner is not None and inner.spec else type(self.env.unwrapped).__name__

    def reset(self, seed: int | None) -> Any:
        """Starts n new episodes; returns their first observations."""
        self.episode_starts = self._all
        inner = getattr(self.env, "unwrapped", self.env)
        if getattr(inner, "waiting", False):  # for a step in other processes that was interrupted
            inner.step_wait()
        if seed is not None:
            self.env.seed(seed)
        return self.env.reset()

    def start_step(self, actions: Any) -> None:
        """Takes a list of n actions."""
        self._send(actions)

    def finish_step(self) -> Outcome:
        """Returns what the step gave."""
        observations, rewards, dones, infos = self._receive()
        self.episode_starts = dones = np.array(dones, dtype=bool)
        truncated = np.array([bool(info.get("TimeLimit.truncated")) for info in infos]) & dones
        final_observations = {
            int(i): infos[i]["terminal_observation"]
            for i in np.flatnonzero(dones)
            if infos[i].get("terminal_observation") is not None
        }
        rewards = np.asarray(rewards, dtype=np.float64)
        return Outcome(observations, final_observations, rewards, dones & ~truncated, truncated, self._all, list(infos))


def kind_of(env: Any) -> EnvironmentKind:
    """Returns an environment of any kind behind the one interface.

    Raises:
        TypeError: It is of none of the three kinds.
    """
    if not isinstance(env, gym.Env):
        if hasattr(env, "single_action_space"):
            return GymnasiumVectorEnvironment(env)
        if hasattr(env, "num_envs"):
            return SB3VectorEnvironment(env)
    if hasattr(env, "reset") and hasattr(env, "step"):
        return SingleEnvironment(env)
    raise TypeError(
        "env must be a Gymnasium environment or vector environment, an SB3 VecEnv or the id of a registered "
        f"environment, got {env!r}"
    )


def stack_one(space: gym.Space, value: Any) -> Any:
    """Returns one element of a space as vector environments stack n of them."""
    if isinstance(space, gym.spaces.Box):  # the quick way to the same
        return np.asarray(value, space.dtype)[None]
    empty: Any = create_empty_array(space, n=1)
    return concatenate(space, [value], empty)


def batch_actions(env: gym.vector.VectorEnv, actions: Any) -> Any:
    """Turns a list of n actions into what ``step`` of a Gymnasium vector environment takes.

    Args:
        env: A vector environment of n environments.
        actions: A list of n elements of ``env.single_action_space``; anything else counts as batched already.

    Returns:
        An element of ``env.action_space``.
    """
    if not isinstance(actions, list):
        return actions
    space = env.single_action_space
    out: Any = create_empty_array(space, n=env.num_envs)
    return concatenate(space, actions, out)


def split_infos(infos: dict[str, Any] | list[dict[str, Any]], n: int) -> list[dict[str, Any]]:
    """Splits Gymnasium's dict of arrays, where ``_key`` tells which environments have ``key``, into n dicts.

    What has neither such a mask nor n entries is of all environments together, and every one's info gets it.
    """
    if isinstance(infos, list):
        return infos
    split: list[dict[str, Any]] = [{} for _ in range(n)]
    for key, value in infos.items():
        if key.startswith("_"):
            continue
        mask = infos.get(f"_{key}")
        if isinstance(value, dict):
            value = split_infos(value, n)
        elif mask is None and not (isinstance(value, np.ndarray) and len(np.atleast_1d(value)) == n):
            value = [value] * n
        for i in range(n) if mask is None else np.flatnonzero(mask):
            split[i][key] = value[i]
    return split


def _is_wrapped(env: Any, wrapper: type) -> bool:
    """Whether a wrapper is among those around a Gymnasium vector environment."""
    while isinstance(env, gym.vector.VectorWrapper):
        if isinstance(env, wrapper):
            return True
        env = env.env
    return False


UPDATE = "update the environment to Gymnasium's interface of version 1.0, or wrap it"

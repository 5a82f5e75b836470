"""Gymnasium's vector environments."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import AlreadyPendingCallError
from gymnasium.vector import AsyncVectorEnv
from gymnasium.vector.utils import concatenate, create_empty_array
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from numpy.typing import NDArray

from pamdp_agents.environments.action_masks import METHOD
from pamdp_agents.environments.adapter import EnvironmentAdapter, StepOutcome, layers_of
from pamdp_agents.environments.returned import read_ends, read_rewards
from pamdp_agents.spaces.canonical_actions import CanonicalActions


class GymnasiumVectorEnvironment(EnvironmentAdapter):
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
        self._miscounts = self._mode == "Disabled" and any(
            isinstance(layer, RecordEpisodeStatistics) for layer in layers_of(env)
        )

    def is_recorded(self) -> bool:
        """Whether a wrapper records episodes under `info["episode"]`, and counts them right."""
        return not self._miscounts and super().is_recorded()

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

    def _reset(self, seed: int | None, **options: Any) -> Any:
        """Starts n new episodes; returns their first observations."""
        self._ended = ~self._all
        observations, infos = self._reset_all(seed)
        self.masks.read(split_infos(infos, self.num_envs))
        return observations

    def _reset_all(self, seed: int | None) -> tuple[Any, Any]:
        try:
            return self.env.reset(seed=seed)
        except AlreadyPendingCallError as pending:  # of a step in other processes that was interrupted
            try:
                getattr(self.env.unwrapped, f"{pending.name}_wait")(timeout=self._processes.patience)
            except multiprocessing.TimeoutError:
                raise self._processes.give_up() from None
            return self.env.reset(seed=seed)

    def _has_action_masks(self) -> bool:
        inner = self.env.unwrapped
        if not hasattr(inner, "call"):  # one that is not made of single environments
            return hasattr(inner, METHOD)
        if envs := getattr(inner, "envs", None):
            return envs[0].has_wrapper_attr(METHOD)
        # Environments in other processes cannot be asked what they have: without it, they would end.
        made = inner.env_fns[0]()
        try:
            return made.has_wrapper_attr(METHOD)
        finally:
            made.close()

    def _ask_action_masks(self) -> Sequence[Any]:
        inner = self.env.unwrapped
        return inner.call(METHOD) if hasattr(inner, "call") else getattr(inner, METHOD)()

    def _batched(self, actions: Any) -> Any:
        """Returns a list of n actions as a batch of the vector environment's action space; a batch as it is."""
        return batch_actions(self.env, actions)

    def _read_step(self, result: Any) -> StepOutcome:
        """Returns what the step gave."""
        played = ~self.pending_resets
        observations, given_rewards, given_terminated, given_truncated, infos = result
        rewards = read_rewards(given_rewards, self.num_envs)
        terminated = read_ends("terminated", given_terminated, self.num_envs)
        truncated = read_ends("truncated", given_truncated, self.num_envs)
        self._ended = terminated | truncated
        split = split_infos(infos, self.num_envs)
        if self._miscounts:
            split = [{key: value for key, value in info.items() if key != "episode"} for info in split]
        final_observations = {}
        if self._mode == "SameStep":
            final_observations = {int(i): split[i]["final_obs"] for i in np.flatnonzero(self._ended)}
            # What stands beside `final_info` is from the new episode's reset.
            given = {i: split[i].get("final_info") for i in final_observations}
            final_infos = {i: info if isinstance(info, dict) else {} for i, info in given.items()}
            self.masks.read(split, final_infos)
            split = [{**info, **final_infos.get(i, {})} for i, info in enumerate(split)]
        else:
            self.masks.read(split)
        if self.resets_in_next_step:  # the next step will ignore the ended ones' actions and only reset them
            self.pending_resets, self.episode_starts = self._ended, ~played
        else:
            self.episode_starts = self._ended
        return StepOutcome(observations, final_observations, rewards, terminated, truncated, played, split)

    def reset_ended(self) -> Any | None:
        """In `DISABLED` mode, starts new episodes in place of the ended ones; returns all observations, else None."""
        if self._mode != "Disabled" or not self._ended.any():
            return None
        self._sent = None
        try:
            observations, infos = self.env.reset(options={"reset_mask": self._ended.copy()})
            split = split_infos(infos, self.num_envs)
            self.masks.read_again({int(i): split[i] for i in np.flatnonzero(self._ended)})
            return observations
        except Exception as error:
            self._blame(error)

    def compose(self, actions: CanonicalActions, k: NDArray, x: NDArray) -> Any:
        """Returns canonical actions (k [n, …], x [n, P]) as a batch of the vector environment's action space."""
        return actions.to_env_stacked(k, x)


def batch_actions(env: gym.vector.VectorEnv, actions: Any) -> Any:
    """Turns a list of n actions into what `step` of a Gymnasium vector environment takes.

    Args:
        env: A vector environment of n environments.
        actions: A list of n elements of `env.single_action_space`; anything else counts as batched already.

    Returns:
        An element of `env.action_space`.
    """
    if not isinstance(actions, list):
        return actions
    space = env.single_action_space
    out: Any = create_empty_array(space, n=env.num_envs)
    return concatenate(space, actions, out)


def split_infos(infos: dict[str, Any] | list[dict[str, Any]], n: int) -> list[dict[str, Any]]:
    """Splits Gymnasium's dict of arrays, where `_key` tells which environments have `key`, into n dicts.

    What has neither such a mask nor n entries is of all environments together, and every one's info gets it.
    """
    if isinstance(infos, list):
        return infos
    split: list[dict[str, Any]] = [{} for _ in range(n)]
    for key, value in infos.items():
        if _is_mask(value, n) and isinstance(key, str) and key.startswith("_") and key[1:] in infos:
            continue
        mask = infos.get(f"_{key}")
        mask = mask if _is_mask(mask, n) else None
        if isinstance(value, dict):
            value = split_infos(value, n)
        elif mask is None and not (isinstance(value, np.ndarray) and len(np.atleast_1d(value)) == n):
            value = [value] * n
        for i in range(n) if mask is None else np.flatnonzero(mask):
            split[i][key] = value[i]
    return split


def _is_mask(value: Any, n: int) -> bool:
    """Whether this can tell of n environments which of them have a key: keys of the user's may begin with `_`, too."""
    mask = np.asarray(value) if isinstance(value, list | np.ndarray) else np.zeros(0)
    return mask.dtype == np.bool_ and mask.shape == (n,)

"""What Stable-Baselines3's `VecNormalize` asks of an off-policy agent, done as SB3 does it.

The statistics move while training goes on. So the replay buffer holds observations and rewards as the environment gave
them, and each sample is normalised with the statistics of the moment at which it is drawn.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from pamdp_agents.learning.flat import FlatLayout
from pamdp_agents.spaces.observations import ObservationTransform


def find_vec_normalize(env: Any) -> Any | None:
    """Returns the `VecNormalize` among the wrappers of a Stable-Baselines3 `VecEnv`, the outermost; else None."""
    while env is not None:
        if "VecNormalize" in {cls.__name__ for cls in type(env).__mro__}:
            return env
        env = vars(env).get("venv") if hasattr(env, "__dict__") else None
    return None


def check_outer_wrappers(env: Any, vec_normalize: Any | None) -> None:
    """Does nothing if what a `VecNormalize` gave is what the agent gets, or can be.

    Raises:
        ValueError: Another wrapper makes other observations of normalised ones, so that those before cannot be stored.
    """
    if (
        vec_normalize is not None
        and vec_normalize.norm_obs
        and env.observation_space != vec_normalize.observation_space
    ):
        raise ValueError(
            f"env normalises observations (VecNormalize) of {vec_normalize.observation_space}, of which a wrapper "
            f"around it, {type(env).__name__}, makes {env.observation_space}; the replay buffer holds observations "
            "from before they are normalised, so put VecNormalize around that wrapper, or give it norm_obs=False"
        )


def scaling_beside(vec_normalize: Any | None, scale_observations: bool | list[str]) -> bool | list[str]:
    """Returns what is left of the setting `scale_observations` beside a `VecNormalize`.

    What that normalises is scaled already, and not to the bounds of the space, which it leaves as they were.
    """
    if vec_normalize is None or not vec_normalize.norm_obs or not scale_observations:
        return scale_observations
    space = vec_normalize.observation_space
    if not isinstance(space, spaces.Dict):
        return False
    keys = list(space) if scale_observations is True else scale_observations
    return [key for key in keys if key not in vec_normalize.norm_obs_keys]


class SampleNormalization:
    """Normalises samples of the replay buffer as a `VecNormalize` does, and undoes it for what is stored.

    Args:
        vec_normalize: The wrapper.
        observations: Flattens its observations, without scaling them if the wrapper normalises them.
    """

    def __init__(self, vec_normalize: Any, observations: ObservationTransform):
        self.vec_normalize, self._observations = vec_normalize, observations

    @property
    def of_observations(self) -> bool:
        """Whether observations are normalised; else they are stored as the agent gets them."""
        return self.vec_normalize.norm_obs

    def check_untouched(self, given: Any) -> None:
        """Does nothing if these observations, stacked, are as the wrapper gave them.

        Raises:
            ValueError: A wrapper around it has changed them.
        """
        own = self.vec_normalize.normalize_obs(self.original_observations())
        same = given.keys() == own.keys() if isinstance(own, dict) else True
        pairs = [(given[key], own[key]) for key in own] if isinstance(own, dict) and same else [(given, own)]
        if not same or not all(np.array_equal(one, other, equal_nan=True) for one, other in pairs):
            raise ValueError(
                "env normalises observations (VecNormalize), and a wrapper around it changes them, so that those in "
                "the replay buffer would be others than those acted on; put VecNormalize around that wrapper"
            )

    def original_observations(self) -> Any:
        """Returns the current observations before they were normalised, stacked."""
        return self.vec_normalize.get_original_obs()

    def original_rewards(self) -> np.ndarray:
        """Returns the last rewards before they were normalised, float64 [n]."""
        return np.asarray(self.vec_normalize.get_original_reward(), dtype=np.float64)

    def original(self, observation: Any) -> Any:
        """Returns one normalised observation as it was before, as far as it was not clipped."""
        given, space = self.vec_normalize.unnormalize_obs(observation), self._observations.space
        if isinstance(space, spaces.Dict):
            return {key: _whole(space[key], part) for key, part in given.items()}
        return _whole(space, given)

    def normalize(self, rows: np.ndarray, layout: FlatLayout, reward_scale: float) -> np.ndarray:
        """Returns packed transitions, float32 [batches, n, layout.size], with observations and rewards normalised.

        Args:
            rows: What the replay buffer gave; changed in place.
            layout: Layout of a row.
            reward_scale: What the stored rewards were multiplied by.
        """
        wrapper = self.vec_normalize
        if wrapper.norm_obs:
            for part in ("s", "s2"):
                self._normalize_observations(rows[..., layout.places[part]])
        if wrapper.norm_reward:
            rewards = rows[..., layout.places["r"]]
            rewards[...] = wrapper.normalize_reward(rewards / reward_scale) * reward_scale
        return rows

    def _normalize_observations(self, flat: np.ndarray) -> None:
        """Normalises flattened observations [batches, n, D] in place."""
        wrapper, space = self.vec_normalize, self._observations.space
        if isinstance(space, spaces.Dict):
            parts = {key: flat[..., self._observations.places[f"[{key!r}]"]] for key in wrapper.norm_obs_keys}
            shaped = {key: part.reshape(-1, *(space[key].shape or ())) for key, part in parts.items()}
            for key, values in wrapper.normalize_obs(shaped).items():
                parts[key][...] = values.reshape(parts[key].shape)
        else:  # a Box: VecNormalize takes nothing else
            flat[...] = wrapper.normalize_obs(flat.reshape(-1, *(space.shape or ()))).reshape(flat.shape)


def _whole(space: spaces.Space[Any], value: Any) -> Any:
    """Returns a value of a space of whole numbers without what rounding has left; any other as it is."""
    if not isinstance(space, spaces.Box) or not np.issubdtype(space.dtype, np.integer):
        return value
    return np.clip(np.rint(value), space.low, space.high).astype(space.dtype)

"""The replay buffer as its users see it: transitions in the environment's units, as in Stable-Baselines3."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces

from pamdp_agents.checks import check_integer, check_masks
from pamdp_agents.experience.ring import OTHER_SPACES, TransitionRing
from pamdp_agents.experience.transition import NEXT_MASK, Transition, TransitionLayout
from pamdp_agents.spaces import ObservationTransform, ParameterizedActionSpace


class ReplayBufferSamples(NamedTuple):
    """n transitions in the environment's units.

    Attributes:
        observations: Observations before, stacked: an array [n, …] of the space's dtype; a tuple or dict of them as the
            space is nested.
        actions: n actions as `step` takes them: an array [n, …] for a plain `Box` or `Discrete`, else a list.
        next_observations: Observations after, as `observations`.
        dones: 1 where the episode really ended, not by a time limit, float32 [n, 1].
        rewards: float32 [n, 1].
    """

    observations: Any
    actions: Any
    next_observations: Any
    dones: np.ndarray
    rewards: np.ndarray


class ReplayBuffer(TransitionRing):
    """The last `buffer_size` transitions. An agent makes it: `agent.replay_buffer`.

    Training stores and draws packed rows (`store`, `draw`), scaled as the networks take them. What is here besides them
    is in the environment's units. In place of Stable-Baselines3's axis of environments, transitions of all
    environments stand one after the other: there are `len(buffer)` of them, and `buffer_size` counts them all.

    Args:
        buffer_size: Number of transitions kept.
        layout: Layout of a row.
        rng: Draws the batches of training.
        observation_transform: Flattens and scales observations.
        action_space: Converts actions.
        reward_scale: What rewards are multiplied by before they are stored.
        find_extras: Returns what else is stored with transitions of given discrete actions, int [n], by name.
        own_rng: Draws what `sample` returns, so that it does not change training.

    Attributes:
        observation_space: The environment's observation space.
        action_space: The environment's action space.
        n_envs: Number of the agent's environments.
        reward_scale: What the stored rewards have been multiplied by; `rescale` changes it.
    """

    def __init__(
        self,
        buffer_size: int,
        layout: TransitionLayout,
        rng: np.random.Generator,
        observation_transform: ObservationTransform,
        action_space: ParameterizedActionSpace,
        reward_scale: float,
        find_extras: Callable[[np.ndarray], Mapping[str, np.ndarray]],
        own_rng: np.random.Generator,
    ):
        super().__init__(buffer_size, layout, rng)
        self._observations, self._actions = observation_transform, action_space
        self.reward_scale, self._find_extras, self._own_rng = reward_scale, find_extras, own_rng
        self.observation_space, self.action_space = observation_transform.space, action_space.space
        self.n_envs = 1

    def size(self) -> int:
        """Returns the number of transitions stored, as `len` does."""
        return len(self)

    def reset(self) -> None:
        """Forgets all transitions."""
        self.rows[: len(self)] = 0
        self.pos, self.full = 0, False

    def rescale(self, reward_scale: float) -> None:
        """Multiplies the stored rewards by another scale in place of the one of before.

        Raises:
            ValueError: One of them would be beyond float32.
        """
        stored = self.rows[: len(self), self.layout.places["r"]]
        scaled = _times(stored, reward_scale / self.reward_scale)
        if not np.isfinite(scaled).all():
            raise ValueError(
                f"reward_scale={reward_scale} makes rewards in the replay buffer larger than float32 holds"
            )
        stored[:] = scaled
        self.reward_scale = reward_scale

    def state(self) -> dict[str, np.ndarray]:
        """Returns what `restore` needs, as arrays."""
        return super().state() | self._scales() | {"reward_scale": np.array(self.reward_scale)}

    def restore(self, state: Mapping[str, np.ndarray], n_actions: int) -> None:
        """Takes back what `state` returned; see `TransitionRing.restore`. Rewards get this buffer's scale.

        Raises:
            KeyError: A part is missing.
            ValueError: As there; or observations or parameters were scaled otherwise. The buffer is as it was then.
        """
        parts = dict(state)
        for name, scale in self._scales().items():
            if name in parts and not np.array_equal(parts.pop(name), scale):
                raise ValueError(
                    f"replay buffer holds transitions of other {name}, which this agent would misread: {OTHER_SPACES}, "
                    "or with another scale_observations"
                )
        if "reward_scale" in parts and "r" in parts:  # files of before have none
            scale = np.asarray(parts.pop("reward_scale"))
            if scale.shape != () or scale.dtype.kind != "f" or not 0 < scale < np.inf:
                raise ValueError(f"replay buffer has the reward_scale {scale!r}, which must be a number above 0")
            if scale != self.reward_scale:
                parts["r"] = _times(parts["r"], self.reward_scale / float(scale))
        super().restore(parts, n_actions)

    def _scales(self) -> dict[str, np.ndarray]:
        """Returns by what rows are in other units than the environment's, float64, by name."""
        return {
            "observation_scales": np.stack([self._observations.factor, self._observations.summand]),
            "parameter_bounds": np.stack([self._actions.low, self._actions.high]),
        }

    def add(
        self,
        obs: Any,
        next_obs: Any,
        action: Any,
        reward: Any,
        done: Any,
        infos: Sequence[Mapping[str, Any]] | Mapping[str, Any],
    ) -> None:
        """Stores n transitions, or one, that anything has made: a log, a script, another controller.

        They go through what training's own do: observations and parameters are scaled, rewards multiplied by
        `reward_scale`. With `VecNormalize`, give them as they were before it.

        Args:
            obs: n observations, stacked as vector environments do or in a list; or one.
            next_obs: Those that followed, in the same form: the last of its episode where one ended, and not the first
                of the next.
            action: n actions as `step` takes them, in a list, in an array (plain `Box` or `Discrete`), or stacked as
                Gymnasium's vector environments take them (a tuple or dict of arrays); or one, with one observation.
            reward: n rewards, [n]; or one.
            done: Whether the episode ended, bool [n]; or one.
            infos: n infos; or one. Where `"TimeLimit.truncated"` is true in it, a time limit ended the episode and
                what follows has a value all the same; it may be left out. `"action_mask"`, bool [K], says which
                discrete actions are allowed after it, where environments say so; without it, all are.

        Raises:
            ValueError: Something does not have n entries, is not of the environment's spaces, or is not finite as
                the float32 that is stored. Nothing is stored then.
            TypeError: `done` or an info is not of its type.
        """
        n, before = self._read_observations("obs", obs)
        single = n is None
        n_after, after = self._read_observations("next_obs", next_obs)
        if n_after != n:
            raise ValueError(f"next_obs must be of as many observations as obs, {_count(n)}, got {_count(n_after)}")
        n = 1 if n is None else n
        if n == 0:
            return
        if isinstance(self.action_space, spaces.Discrete):
            action = _without_last_axis(action)
            action = action[0] if single and np.shape(action) == (1,) else action
        try:
            k, x = self._actions.from_env_batch([action] if single else self._list_actions(action, n))
        except ValueError as error:
            raise ValueError(
                f"action must be {_count(None if single else n)} of {self.action_space}: {error}"
            ) from error
        rewards = self._read_rewards(reward, n, single)
        ended, timed_out = _read_done(done, n, single), _read_timeouts(infos, n, single)
        extras = self._find_extras(k)
        if NEXT_MASK in self.layout.extras:
            extras = {**extras, NEXT_MASK: _read_masks(infos, single, self._actions.n)}
        self.store(Transition(before, k, x, rewards, after, 1.0 - (ended & ~timed_out), extras))

    def extend(
        self,
        obs: Sequence[Any],
        next_obs: Sequence[Any],
        action: Sequence[Any],
        reward: Sequence[Any],
        done: Sequence[Any],
        infos: Sequence[Any],
    ) -> None:
        """Calls `add` for each element of sequences of its arguments; what was before a wrong one is stored.

        Raises:
            ValueError: They are not equally long, or as `add` says.
            TypeError: As `add` says.
        """
        for each in zip(obs, next_obs, action, reward, done, infos, strict=True):
            self.add(*each)

    def sample(self, batch_size: int, env: Any = None) -> ReplayBufferSamples:
        """Draws transitions uniformly, with replacement. Training draws its own, which this does not change.

        Args:
            batch_size: Their number.
            env: A `VecNormalize` to normalise observations and rewards with; None: as the environment gave them.

        Raises:
            ValueError: The buffer is empty, or `batch_size` is below 1.
        """
        n = check_integer("batch_size", batch_size, 1)
        if not len(self):
            raise ValueError("sample needs a replay buffer that holds transitions, this one is empty")
        rows = self.rows[self._own_rng.integers(0, len(self), n)]
        observations, after = self._to_observations(rows, "s"), self._to_observations(rows, "s2")
        rewards = self._to_rewards(rows)[:, None]
        if env is not None:
            observations, after = env.normalize_obs(observations), env.normalize_obs(after)
            rewards = env.normalize_reward(rewards).astype(np.float32)
        return ReplayBufferSamples(observations, self._to_actions(rows), after, self._to_dones(rows)[:, None], rewards)

    # In the order of the ring: the newest is at `pos − 1`, and the oldest at `pos` once it is full.

    @property
    def observations(self) -> Any:
        """The observations before, stacked, as `ReplayBufferSamples` says; a copy."""
        return self._to_observations(self.rows[: len(self)], "s")

    @property
    def next_observations(self) -> Any:
        """The observations after, stacked; a copy."""
        return self._to_observations(self.rows[: len(self)], "s2")

    @property
    def actions(self) -> Any:
        """The actions as `step` takes them, an array or list of n; a copy."""
        return self._to_actions(self.rows[: len(self)])

    @property
    def rewards(self) -> np.ndarray:
        """The rewards, float32 [n]; a copy."""
        return self._to_rewards(self.rows[: len(self)])

    @property
    def dones(self) -> np.ndarray:
        """1 where the episode really ended, not by a time limit, float32 [n]; a copy."""
        return self._to_dones(self.rows[: len(self)])

    def _to_observations(self, rows: np.ndarray, part: str) -> Any:
        return self._observations.to_env_stacked(rows[:, self.layout.places[part]])

    def _to_actions(self, rows: np.ndarray) -> Any:
        k, x = rows[:, self.layout.places["k"].start].astype(np.int32), rows[:, self.layout.places["x"]]
        stacks = isinstance(self.action_space, spaces.Box | spaces.Discrete)
        return self._actions.to_env_stacked(k, x) if stacks else self._actions.to_env_batch(k, x)

    def _to_rewards(self, rows: np.ndarray) -> np.ndarray:
        return rows[:, self.layout.places["r"].start] / np.float32(self.reward_scale)

    def _to_dones(self, rows: np.ndarray) -> np.ndarray:
        return 1 - rows[:, self.layout.places["discount"].start]

    def _read_observations(self, name: str, given: Any) -> tuple[int | None, np.ndarray]:
        """Returns their number, None for one that is not in a batch, and them, float32 [n, D]."""
        transform = self._observations
        if isinstance(self.observation_space, spaces.Discrete):
            given = _without_last_axis(given)
        try:
            batched = transform.is_batch(given)
            with np.errstate(over="ignore"):
                rows = transform.batch(given) if batched else transform(given)[None]
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name} does not fit the environment: {error}") from error
        if not np.isfinite(rows).all():
            raise ValueError(f"{name} must be finite as float32, got {given!r}")
        return (len(rows) if batched else None), rows

    def _list_actions(self, given: Any, n: int) -> Any:
        """Returns n actions one by one; what no number is given for is left to the check of the actions."""
        if isinstance(given, tuple | dict) and isinstance(self.action_space, spaces.Tuple | spaces.Dict):
            given = self._actions.unstack(given)
        listed = isinstance(given, list | tuple) or (isinstance(given, np.ndarray) and given.ndim > 0)
        if not listed or len(given) != n:
            raise ValueError(f"it is {given!r}")
        return given

    def _read_rewards(self, given: Any, n: int, single: bool) -> np.ndarray:
        rewards = _read_array("reward", given, n, single)
        if rewards.dtype.kind not in "fiub":
            raise ValueError(f"reward must be {_count(None if single else n)} number(s), got {given!r}")
        scaled = _times(rewards, self.reward_scale)
        if not np.isfinite(scaled).all():
            raise ValueError(f"reward times reward_scale={self.reward_scale} must be finite as float32, got {given!r}")
        return scaled


def _without_last_axis(given: Any) -> Any:
    """Returns an array [n, 1], which Stable-Baselines3 makes of n single numbers, as [n]; all else as it is."""
    return given[:, 0] if isinstance(given, np.ndarray) and given.shape[1:] == (1,) else given


def _times(rewards: np.ndarray, scale: float) -> np.ndarray:
    """Returns rewards times a scale, float32; infinite if it cannot hold them."""
    with np.errstate(over="ignore", under="ignore"):
        return (rewards.astype(np.float64) * scale).astype(np.float32)


def _count(n: int | None) -> str:
    return "one" if n is None else str(n)


def _read_array(name: str, given: Any, n: int, single: bool) -> np.ndarray:
    """Returns an array [n] of one entry for each transition."""
    try:
        values = np.asarray(given)
    except ValueError:  # ragged
        values = np.zeros((0, 0))
    values = _without_last_axis(values[None] if single and values.shape == () else values)
    if values.shape != (n,):
        raise ValueError(
            f"{name} must be of shape ({n},), one for each transition, got shape {values.shape}: {given!r}"
        )
    return values


def _read_done(given: Any, n: int, single: bool) -> np.ndarray:
    values = _read_array("done", given, n, single)
    if values.dtype.kind not in "biuf" or not np.isin(values, (0, 1)).all():
        raise TypeError(f"done must be {n} of True and False (or 1 and 0), got {given!r}")
    return values.astype(bool)


def _read_masks(infos: Any, single: bool, n_actions: int) -> np.ndarray:
    each = [infos] if single and isinstance(infos, Mapping) else infos
    everything = np.ones(n_actions, bool)
    return np.stack([check_masks("action_mask", info.get("action_mask", everything), 1, n_actions)[0] for info in each])


def _read_timeouts(given: Any, n: int, single: bool) -> np.ndarray:
    infos = [given] if single and isinstance(given, Mapping) else given
    if (
        not isinstance(infos, list | tuple | np.ndarray)
        or len(infos) != n
        or not all(isinstance(info, Mapping) for info in infos)
    ):
        raise TypeError(f"infos must be a list of {n} dicts, one for each transition, got {given!r}")
    return np.array([bool(info.get("TimeLimit.truncated", False)) for info in infos])

"""The replay buffer as its users see it: transitions in the environment's units, as in Stable-Baselines3."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
from gymnasium import spaces

from pamdp_agents.checks import check_integer, drop_neutral
from pamdp_agents.experience.given import (
    count,
    read_array,
    read_done,
    read_next_masks,
    read_timeouts,
    times,
    without_last_axis,
)
from pamdp_agents.experience.images import ImageCodec
from pamdp_agents.experience.n_step import NStepReturns, read_counts
from pamdp_agents.experience.ring import OTHER_SPACES, TransitionRing
from pamdp_agents.experience.transition import NEXT_MASK, Transition, TransitionLayout
from pamdp_agents.spaces import ObservationTransform, ParameterizedActionSpace

WAITING = "waiting_"
"""What the names of those parts of a saved buffer begin with that are of steps whose returns are not complete."""


PRIORITY = "priority_"
"""What the names of those parts begin with that are of priorities, which only some buffers have."""


class ReplayBufferSamples(NamedTuple):
    """n transitions in the environment's units.

    Attributes:
        observations: Observations before, stacked: an array [n, …] of the space's dtype; a tuple or dict of them as the
            space is nested.
        actions: n actions as `step` takes them: an array [n, …] for a plain `Box` or `Discrete`, else a list.
        next_observations: Observations after, as `observations`.
        dones: 1 where the episode really ended, not by a time limit, float32 [n, 1].
        rewards: float32 [n, 1]; with `n_steps` above 1, returns of up to as many steps.
    """

    observations: Any
    actions: Any
    next_observations: Any
    dones: np.ndarray
    rewards: np.ndarray


class ReplayBuffer(TransitionRing):
    """The last `buffer_size` transitions. An agent makes it: `agent.replay_buffer`.

    Training stores and draws packed rows (`store`, `draw`), scaled as the networks take them. What is here besides them
    is in the environment's units. With `n_steps` above 1, training's transitions are of up to as many steps, which
    `NStepReturns` explains; steps whose returns are not complete wait in `returns`. In place of Stable-Baselines3's
    axis of environments, transitions of all environments stand one after the other: there are `len(buffer)` of them,
    and `buffer_size` counts them all.

    Args:
        buffer_size: Number of transitions kept.
        layout: Layout of a row.
        rng: Draws the batches of training.
        observation_transform: Flattens and scales observations.
        action_space: Converts actions.
        reward_scale: What rewards are multiplied by before they are stored.
        find_extras: Returns what else is stored with transitions of given discrete actions, int [n], by name.
        own_rng: Draws what `sample` returns, so that it does not change training.
        n_steps: Steps of a return.
        gamma: γ of the returns.
        optimize_memory_usage: Keep an image that is after one step and before the next once.

    Attributes:
        observation_space: The environment's observation space.
        action_space: The environment's action space.
        n_envs: Number of the agent's environments.
        reward_scale: What the stored rewards have been multiplied by; `rescale` changes it.
        returns: The steps of each environment whose returns are not complete.
    """

    drawn_extras: ClassVar[dict[str, int]] = {}
    """What `draw` adds to the rows, after all that is stored: the size of each part, by name."""

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
        n_steps: int = 1,
        gamma: float = 1.0,
        optimize_memory_usage: bool = False,
    ):
        codec = ImageCodec(observation_transform)
        super().__init__(buffer_size, layout, rng, codec if codec.size else None, optimize_memory_usage)
        self._observations, self._actions = observation_transform, action_space
        self.reward_scale, self._find_extras, self._own_rng = reward_scale, find_extras, own_rng
        self.observation_space, self.action_space = observation_transform.space, action_space.space
        self.n_envs = 1
        self.returns = NStepReturns(n_steps, gamma, layout)

    @classmethod
    def read_kwargs(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Returns `replay_buffer_kwargs`, checked, without those of Stable-Baselines3's that ask for nothing.

        Raises:
            ValueError: One of them asks for something that this buffer does not have.
        """
        neutral = {"handle_timeout_termination": (True, "time limits are always told from real ends")}
        if left := drop_neutral(given, neutral, "replay_buffer_kwargs"):
            raise ValueError(
                f"replay_buffer_kwargs holds {sorted(left)}, which {cls.__name__} does not take: "
                "PrioritizedReplayBuffer takes alpha and beta, and n_steps and gamma are the agent's own settings"
            )
        return {}

    def size(self) -> int:
        """Returns the number of transitions stored, as `len` does."""
        return len(self)

    def reset(self) -> None:
        """Forgets all transitions."""
        self.rows[: len(self)] = 0
        self.pos, self.full = 0, False
        self.returns.wait_in(self.n_envs)

    def store_steps(self, steps: Transition, envs: np.ndarray, ended: np.ndarray) -> None:
        """Stores what is complete with one more step of some environments; see `NStepReturns.add`."""
        self._store_rows(self.returns.add(steps, envs, ended))

    def go_on(self, observations: np.ndarray, episode_lengths: np.ndarray) -> None:
        """Stores the steps that wait in environments which do not go on where these steps ended.

        Args:
            observations: The current observations as they are stored, float32 [environments, D].
            episode_lengths: Steps made of the current episodes, int [environments].
        """
        self._store_rows(self.returns.cut_off_unless_continued(observations, episode_lengths))

    def _store_rows(self, rows: np.ndarray) -> None:
        if len(rows):
            self.store(self.layout.unpack(rows))

    def rescale(self, reward_scale: float) -> None:
        """Multiplies the stored rewards by another scale in place of the one of before.

        Raises:
            ValueError: One of them would be beyond float32.
        """
        stored, factor = self.part("r"), reward_scale / self.reward_scale  # a view
        scaled = times(stored, factor)
        waiting = times(self.layout.parts(self.returns.rows)["r"], factor * self.returns.n_steps)  # as their sum may be
        if not (np.isfinite(scaled).all() and np.isfinite(waiting).all()):
            raise ValueError(
                f"reward_scale={reward_scale} makes rewards in the replay buffer larger than float32 holds"
            )
        stored[:] = scaled
        self.returns.rescale(factor)
        self.reward_scale = reward_scale

    def note_priorities(self, priorities: np.ndarray) -> None:
        """Takes the priorities that updates gave to what was last drawn, float32 [batches, batch_size]; no use here."""

    def state(self) -> dict[str, np.ndarray]:
        """Returns what `restore` needs, as arrays."""
        state = super().state() | self._scales() | {"reward_scale": np.array(self.reward_scale)}
        if len(self.returns):
            state |= {f"{WAITING}{name}": part for name, part in self.returns.state().items()}
        return state

    def restore(self, state: Mapping[str, np.ndarray], n_actions: int) -> None:
        """Takes back what `state` returned; see `TransitionRing.restore`. Rewards get this buffer's scale.

        Raises:
            KeyError: A part is missing.
            ValueError: As there; or observations or parameters were scaled otherwise. The buffer is as it was then.
        """
        parts = {name: part for name, part in state.items() if not name.startswith(PRIORITY)}
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
                for name in parts.keys() & {"r", f"{WAITING}r"}:
                    parts[name] = times(parts[name], self.reward_scale / float(scale))
        waiting = {name: parts.pop(name) for name in state if name.startswith(WAITING)}
        steps, counts = self._read_waiting(waiting, n_actions)
        own = self._read_own(state, len(np.atleast_1d(parts["rows" if "rows" in parts else "k"])))
        super().restore(parts, n_actions)
        self._take_own(own, parts)
        self._store_rows(self.returns.refill(steps, counts))

    def _read_own(self, state: Mapping[str, np.ndarray], n: int) -> Any:
        """Returns what a subclass keeps of n transitions besides them, of what `state` returned, checked."""

    def _take_own(self, own: Any, state: Mapping[str, np.ndarray]) -> None:
        """Takes what `_read_own` returned, when the transitions have been restored: `arranged` puts it in order."""

    def _read_waiting(self, state: Mapping[str, np.ndarray], n_actions: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the rows and the counts of steps that wait, from their parts; of none, if there are no parts."""
        if not state:
            return np.zeros((0, self.layout.size), np.float32), np.zeros(1, np.int64)
        parts = {name.removeprefix(WAITING): part for name, part in state.items()}
        rows = self._rows_of({name: part for name, part in parts.items() if name != "counts"}, self.layout)
        self._check_values(rows, self.layout, n_actions)
        return rows, read_counts(parts, len(rows))

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
        `reward_scale`. Each is of one step, whatever `n_steps` is. With `VecNormalize`, give them as they were before
        it.

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
            raise ValueError(f"next_obs must be of as many observations as obs, {count(n)}, got {count(n_after)}")
        n = 1 if n is None else n
        if n == 0:
            return
        if isinstance(self.action_space, spaces.Discrete):
            action = without_last_axis(action)
            action = action[0] if single and np.shape(action) == (1,) else action
        try:
            k, x = self._actions.from_env_batch([action] if single else self._list_actions(action, n))
        except ValueError as error:
            raise ValueError(
                f"action must be {count(None if single else n)} of {self.action_space}: {error}"
            ) from error
        rewards = self._read_rewards(reward, n, single)
        ended, timed_out = read_done(done, n, single), read_timeouts(infos, n, single)
        extras = self._find_extras(k)
        is_masked = NEXT_MASK in self.layout.extras
        extras = {**extras, **read_next_masks(infos, single, self._actions.n, ended & ~timed_out, is_masked)}
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
        """Draws transitions as training does, with replacement. Training draws its own, which this does not change.

        Args:
            batch_size: Their number.
            env: A `VecNormalize` to normalise observations and rewards with; None: as the environment gave them.

        Raises:
            ValueError: The buffer is empty, or `batch_size` is below 1.
        """
        n = check_integer("batch_size", batch_size, 1)
        if not len(self):
            raise ValueError("sample needs a replay buffer that holds transitions, this one is empty")
        parts = self.layout.parts(self.take(self._choose(n)))
        observations, after = (self._observations.to_env_stacked(parts[name]) for name in ("s", "s2"))
        rewards = self._to_rewards(parts["r"])[:, None]
        if env is not None:
            observations, after = env.normalize_obs(observations), env.normalize_obs(after)
            rewards = env.normalize_reward(rewards).astype(np.float32)
        actions, dones = self._to_actions(parts["k"], parts["x"]), self._to_dones(parts["discount"])[:, None]
        return ReplayBufferSamples(observations, actions, after, dones, rewards)

    # In the order of the ring: the newest is at `pos − 1`, and the oldest at `pos` once it is full.

    @property
    def observations(self) -> Any:
        """The observations before, stacked, as `ReplayBufferSamples` says; a copy."""
        return self._observations.to_env_stacked(self.part("s"))

    @property
    def next_observations(self) -> Any:
        """The observations after, stacked; a copy."""
        return self._observations.to_env_stacked(self.part("s2"))

    @property
    def actions(self) -> Any:
        """The actions as `step` takes them, an array or list of n; a copy."""
        return self._to_actions(self.part("k"), self.part("x"))

    @property
    def rewards(self) -> np.ndarray:
        """The rewards, or returns of up to `n_steps`, float32 [n]; a copy."""
        return self._to_rewards(self.part("r"))

    @property
    def dones(self) -> np.ndarray:
        """1 where the episode really ended, not by a time limit, float32 [n]; a copy."""
        return self._to_dones(self.part("discount"))

    def _choose(self, n: int) -> np.ndarray:
        """Draws n transitions for `sample`, int [n]."""
        return self._own_rng.integers(0, len(self), n)

    def _to_actions(self, k: np.ndarray, x: np.ndarray) -> Any:
        numbers = k[:, 0].astype(np.int32)
        stacks = isinstance(self.action_space, spaces.Box | spaces.Discrete)
        return self._actions.to_env_stacked(numbers, x) if stacks else self._actions.to_env_batch(numbers, x)

    def _to_rewards(self, r: np.ndarray) -> np.ndarray:
        return r[:, 0] / np.float32(self.reward_scale)

    def _to_dones(self, discount: np.ndarray) -> np.ndarray:
        return (discount[:, 0] == 0).astype(np.float32)

    def _read_observations(self, name: str, given: Any) -> tuple[int | None, np.ndarray]:
        """Returns their number, None for one that is not in a batch, and them, float32 [n, D]."""
        transform = self._observations
        if isinstance(self.observation_space, spaces.Discrete):
            given = without_last_axis(given)
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
        rewards = read_array("reward", given, n, single)
        if rewards.dtype.kind not in "fiub":
            raise ValueError(f"reward must be {count(None if single else n)} number(s), got {given!r}")
        scaled = times(rewards, self.reward_scale)
        if not np.isfinite(scaled).all():
            raise ValueError(f"reward times reward_scale={self.reward_scale} must be finite as float32, got {given!r}")
        return scaled

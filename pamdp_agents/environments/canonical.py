"""The agent's side of its environments: canonical actions in, scaled and checked observations out, episodes counted."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pamdp_agents.checks import allow_nothing, warn_user
from pamdp_agents.environments.adapter import EnvironmentAdapter
from pamdp_agents.environments.recorded import finite_episode
from pamdp_agents.environments.vec_normalize import SampleNormalization, find_vec_normalize
from pamdp_agents.experience.transition import Decision
from pamdp_agents.spaces.canonical_actions import CanonicalActions
from pamdp_agents.spaces.observations import ObservationTransform
from pamdp_agents.spaces.parameterized import ParameterizedActionSpace

Float32 = NDArray[np.float32]


class Step(NamedTuple):
    """What one step of n environments gave.

    Attributes:
        actions: The actions as the environments took them.
        raw_observations: The observations as the environments gave them, stacked.
        before: The observations acted on, as they are stored, float32 [n, D].
        after: Those that followed, float32 [n, D]; the last of its episode where an episode ended.
        rewards: float64 [n], as the environments gave them.
        stored_rewards: The same before `VecNormalize`, which is what is stored.
        terminated: Whether the episode really ended, bool [n].
        ended: Whether it ended in any way, bool [n].
        played: False where the step was only a reset, bool [n].
        ended_in: The environments in which an episode ended.
        next_masks: Which discrete actions are allowed after `after`, bool [n, K]; None: all, always.
        infos: n infos; where an episode ended, with `"episode"`: {"r": return, "l": length, "t": seconds}.
    """

    actions: Any
    raw_observations: Any
    before: Float32
    after: Float32
    rewards: NDArray[np.float64]
    stored_rewards: NDArray[np.float64]
    terminated: NDArray[np.bool_]
    ended: NDArray[np.bool_]
    played: NDArray[np.bool_]
    ended_in: list[int]
    next_masks: NDArray[np.bool_] | None
    infos: list[dict[str, Any]]


class CanonicalEnvironments:
    """The n environments of an agent: one Gymnasium environment, or a vector environment of any kind.

    Args:
        adapter: The environments, behind the one interface.
        observations: Scales their observations.
        actions: Converts their actions.
        as_collected: Observations are stored as they are acted on, also those that `VecNormalize` normalises.

    Attributes:
        env: The environments as they were given.
        observations: The current observations, float32 [n, D]; None where the next call must be `reset`: before
            the first one, and after a step that failed or was interrupted.
        action_masks: Which discrete actions are allowed now, bool [n, K]; None: all, always.
        decided: What was decided to be best for `observations` before updates that were made since; None: nothing.
        episode_returns: Sum of rewards of each current episode, float64 [n].
        episode_lengths: Steps of each current episode, int64 [n].
        next_seed: The seed of the next reset, None for none.
        normalization: What `VecNormalize` does to observations and rewards, or None.
        continued: Whether `observations` follow the last step: not after `reset`.
    """

    def __init__(
        self,
        adapter: EnvironmentAdapter,
        observations: ObservationTransform,
        actions: CanonicalActions,
        as_collected: bool = False,
    ):
        self._adapter, self._transform, self._actions = adapter, observations, actions
        adapter.consequence = STOPPED
        self.env, self.num_envs, self.name = adapter.env, adapter.num_envs, adapter.name
        vec_normalize = find_vec_normalize(adapter.env)
        self.normalization = None if vec_normalize is None else SampleNormalization(vec_normalize, observations)
        of_observations = not as_collected and self.normalization is not None and self.normalization.of_observations
        self._original = self.normalization if of_observations else None
        self.observations: Float32 | None = None
        self._stored: Float32 | None = None  # the same as they are stored: not normalised
        self.action_masks: NDArray[np.bool_] | None = None
        self._warned_of_masks = False
        self.decided: Decision | None = None
        self._ended = np.zeros(self.num_envs, dtype=bool)
        self.episode_returns = np.zeros(self.num_envs)
        self.episode_lengths = np.zeros(self.num_envs, dtype=np.int64)
        self.next_seed: int | None = None
        self.continued = False
        self._start = time.perf_counter()

    def reset(self, timestep: int) -> None:
        """Starts n new episodes.

        Args:
            timestep: Number of the last step, for error messages.

        Raises:
            TypeError: The environment's reset does not take a seed or does not return (observation, info).
            ValueError: An observation is not in its space, or not finite as float32.
            RuntimeError: A process in which environments ran has ended.
        """
        seed, self.next_seed = self.next_seed, None
        self.observations = self.decided = None
        self.continued = False
        self._ended = np.zeros(self.num_envs, dtype=bool)
        self.episode_returns[:], self.episode_lengths[:] = 0.0, 0
        self._adapter.timestep = timestep
        given = self._adapter.reset(seed)
        observations, stored = self._read(given)
        if self._original is not None:
            self._original.check_untouched(given)
        self.action_masks = self._adapter.current_masks(self._actions.options, self._ended)
        self.observations, self._stored = observations, stored

    def start_step(self, k: NDArray[Any], x: NDArray[Any]) -> None:
        """Takes n canonical actions. `finish_step` is the next call.

        Args:
            k: Discrete actions, int [n]; of several discrete variables [n, C].
            x: Parameters of all actions, scaled to [−1, 1], float [n, P].
        """
        self.observations = self.decided = None
        self._taken = self._adapter.compose(self._actions, k, x)
        self._adapter.start_step(self._taken)

    def finish_step(self, timestep: int) -> Step:
        """Returns what the step gave. `reset_ended` is the next call.

        Args:
            timestep: Number of the step, for error messages.

        Raises:
            TypeError: A Gymnasium environment's step does not return Gymnasium's five values, or a reward is no number.
            ValueError: An environment returned a reward or observation that is not finite as float32.
            RuntimeError: A process in which environments ran has ended.
        """
        before, actions = self._stored, self._taken
        assert before is not None
        self._adapter.timestep = timestep
        outcome = self._adapter.finish_step()
        rewards, played = outcome.rewards, outcome.played
        if self.normalization is not None:
            rewards = self._adapter.check_rewards(self.normalization.original_rewards())
        self._next = self._read(outcome.observations)
        after = self._next[1]
        if outcome.final_observations:
            after = after.copy()
            for i, final in outcome.final_observations.items():
                original = final if self._original is None else self._original.original(final)
                after[i] = self._adapter.transform_one(self._transform, original, i)
        self.episode_returns += rewards * played
        self.episode_lengths += played
        ended = (outcome.terminated | outcome.truncated) & played
        infos, ended_in = outcome.infos, ended.nonzero()[0].tolist()
        next_masks = self._read_masks(ended, outcome.terminated)
        for i in ended_in:
            if finite_episode(infos[i]) is None:
                seconds = round(time.perf_counter() - self._start, 6)
                episode = {"r": float(self.episode_returns[i]), "l": int(self.episode_lengths[i]), "t": seconds}
                infos[i] = infos[i] | {"episode": episode}
        self._ended = ended
        return Step(
            actions,
            self._adapter.stack(outcome.observations),
            before,
            after,
            outcome.rewards,
            rewards,
            outcome.terminated,
            ended,
            played,
            ended_in,
            next_masks,
            infos,
        )

    def check_rewards(self, rewards: NDArray[np.float64], reward_scale: float, n_steps: int = 1) -> None:
        """Does nothing if the rewards of the last step, float64 [n], can be stored.

        Raises:
            ValueError: Times `reward_scale`, the sum of `n_steps` as large as one of them is beyond float32.
        """
        self._adapter.check_rewards(rewards, reward_scale, n_steps)

    def reset_ended(self, timestep: int) -> Any | None:
        """Starts new episodes where the last step ended one.

        Args:
            timestep: Number of the last step, for error messages.

        Returns:
            The current observations as the environments gave them, stacked; None if they are still those of the last
            step.
        """
        given = None
        self._adapter.timestep = timestep
        if np.count_nonzero(self._ended):
            self.episode_returns[self._ended], self.episode_lengths[self._ended] = 0.0, 0
            given = self._adapter.reset_ended()
            if given is not None:
                self._next = self._read(given)
                self._next_masks = self._adapter.current_masks(self._actions.options, np.zeros_like(self._ended))
        self.observations, self._stored = self._next
        self.action_masks = self._next_masks
        self.continued = True
        return None if given is None else self._adapter.stack(given)

    def state(self) -> dict[str, np.ndarray]:
        """Returns where the environments stand, as arrays, for `resume`; nothing before the first reset."""
        if self.observations is None or self._stored is None:
            return {}
        decided: dict[str, np.ndarray] = {}
        if self.decided is not None:
            k, x, extras = self.decided
            decided = {"decided_k": np.asarray(k, np.int64), "decided_x": np.asarray(x, np.float32)}
            decided |= {f"decided_{name}": np.asarray(part, np.float32) for name, part in extras.items()}
        masks = {} if self.action_masks is None else {"action_masks": self.action_masks}
        return (
            decided
            | masks
            | {
                "last_observation": self.observations,
                "last_stored_observation": self._stored,
                "pending_resets": self._adapter.pending_resets,
                "episode_returns": self.episode_returns,
                "episode_lengths": self.episode_lengths,
            }
        )

    @property
    def stored_observations(self) -> Float32:
        """The current observations as they are stored, float32 [n, D]: not normalised."""
        assert self._stored is not None
        return self._stored

    @property
    def may_not_play(self) -> bool:
        """Whether a step may only reset some of the environments."""
        return self._adapter.resets_in_next_step

    def resume(self, state: Mapping[str, np.ndarray]) -> None:
        """Goes on in the middle of episodes, where the environments already stand.

        Args:
            state: What `state` returned.

        Raises:
            ValueError: It is that of another number of environments, or some of them wait for a reset within the next
                step, which these do not make.
        """
        if not state:
            return
        n = len(state["last_observation"])
        if n != self.num_envs:
            raise ValueError(f"env has {self.num_envs} environments, but to go on without a reset it must have {n}")
        if state["pending_resets"].any() and not self._adapter.resets_in_next_step:
            raise ValueError(
                f"env must reset in its next step (AutoresetMode.NEXT_STEP) to go on without a reset, as the "
                f"environments {np.flatnonzero(state['pending_resets']).tolist()} have to"
            )
        self.observations, self._stored = state["last_observation"], state["last_stored_observation"]
        self.action_masks = state.get("action_masks")
        self.continued = True
        self._adapter.pending_resets = state["pending_resets"].copy()
        self.episode_returns, self.episode_lengths = state["episode_returns"].copy(), state["episode_lengths"].copy()
        self.next_seed = None
        decided = {name.removeprefix("decided_"): part for name, part in state.items() if name.startswith("decided_")}
        self.decided = Decision(decided.pop("k"), decided.pop("x"), decided) if decided else None

    def _read_masks(self, ended: NDArray[np.bool_], terminated: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
        """Keeps the masks of the observations that come next; returns those of the observations after the step."""
        given = self._adapter.masks
        if given.given is None:
            self._next_masks = None
            return None
        over = ended.copy()
        over[list(given.at_ends)] = False
        self._next_masks = self._adapter.current_masks(self._actions.options, over)
        if self._next_masks is None or not given.at_ends:
            return self._next_masks
        masks, known = self._next_masks.copy(), self._adapter.masks_at_ends(self._actions.options)
        for i in given.at_ends:
            masks[i] = known.get(i, True)
            if i not in known and not terminated[i] and not self._warned_of_masks:
                self._warned_of_masks = True
                warn_user(
                    f"environment {self.name} resets within a step and does not say which discrete actions were "
                    "allowed at the end of an episode that was cut off: all count as allowed in that target; give "
                    'info["action_mask"] too'
                )
        return masks

    def _read(self, given: Any) -> tuple[Float32, Float32]:
        """Returns observations as they are acted on and as they are stored."""
        observations = self._adapter.transform(self._transform, given)
        if self._original is None:
            return observations, observations
        return observations, self._adapter.transform(self._transform, self._original.original_observations())


def check_state(
    arrays: Mapping[str, np.ndarray],
    size: int,
    options: Sequence[int],
    space: ParameterizedActionSpace | None,
    extras: Mapping[str, int],
) -> dict[str, np.ndarray]:
    """Returns from a saved agent's arrays those that `CanonicalEnvironments.resume` takes, if they are there.

    Args:
        arrays: The arrays.
        size: D, size of an observation.
        options: How many options each of the agent's discrete choices has: of parameterised actions [K].
        space: The agent's actions; None: it decides nothing ahead of updates.
        extras: Size of each extra of its decisions, by name.

    Raises:
        ValueError: They do not fit together, or are not finite.
    """
    if "last_observation" not in arrays:
        return {}
    n = len(np.atleast_1d(arrays["last_observation"]))
    expected = {
        "last_observation": (np.float32, (n, size)),
        "last_stored_observation": (np.float32, (n, size)),
        "pending_resets": (np.bool_, (n,)),
        "episode_returns": (np.float64, (n,)),
        "episode_lengths": (np.int64, (n,)),
    }
    if "action_masks" in arrays:
        expected |= {"action_masks": (np.bool_, (n, sum(options)))}
    if space is not None and "decided_k" in arrays:
        expected |= {"decided_k": (np.int64, (n,)), "decided_x": (np.float32, (n, space.parameter_size))}
        expected |= {f"decided_{name}": (np.float32, (n, width)) for name, width in extras.items()}
    for name, (dtype, shape) in expected.items():
        array = arrays.get(name, np.zeros(0))
        if array.dtype != dtype or array.shape != shape or not np.isfinite(array).all():
            raise ValueError(f"{name} must be finite, of type {dtype.__name__} and shape {shape}, got {array!r}")
    if arrays["episode_lengths"].min() < 0:
        raise ValueError(f"episode_lengths must not be negative, got {arrays['episode_lengths']}")
    if "action_masks" in expected and allow_nothing(arrays["action_masks"], options).any():
        raise ValueError("action_masks must allow a discrete action in every environment")
    if "decided_k" in expected and space is not None and not np.isin(arrays["decided_k"], np.arange(space.n)).all():
        raise ValueError(f"decided_k must be discrete actions in 0..{space.n - 1}, got {arrays['decided_k']}")
    return {name: arrays[name] for name in expected}


STOPPED = "; training stopped before it was stored, and the agent can still be saved"

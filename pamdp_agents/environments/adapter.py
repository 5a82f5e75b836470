"""Three kinds of environments behind one interface: Gymnasium's, its vector environments, and Stable-Baselines3's.

Training and evaluation step n environments at once and ask of each step: what was played, how did it end, what comes
next. The kinds differ in when an environment whose episode has ended is reset, and in where its last observation is:

* one Gymnasium environment: reset by `reset_ended`; the step returns the last observation;
* a Gymnasium vector environment, by its `AutoresetMode`: `NEXT_STEP` resets in the next step, which plays nothing;
  `SAME_STEP` within the step, the last observation is in `infos["final_obs"]`; `DISABLED`: by
  `reset_ended`;
* Stable-Baselines3's `VecEnv`: within the step, the last observation is in `info["terminal_observation"]`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, NoReturn, TypeAlias

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from pamdp_agents.checks import allow_nothing
from pamdp_agents.environments.action_masks import ActionMasks, read_mask, read_masks
from pamdp_agents.environments.processes import Processes
from pamdp_agents.environments.recorded import has_recorder
from pamdp_agents.environments.returned import LIMIT, Fault, refused_by, shown
from pamdp_agents.spaces.canonical_actions import CanonicalActions
from pamdp_agents.spaces.observations import ObservationTransform

Environment: TypeAlias = Any
"""A Gymnasium environment, a Gymnasium vector environment, or a Stable-Baselines3 `VecEnv`."""


class StepOutcome(NamedTuple):
    """What one step of n environments gave.

    Attributes:
        observations: As the environment gave them.
        final_observations: For those environments whose episode ended and whose place in `observations` is already
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


class EnvironmentAdapter(ABC):
    """n environments, n = `num_envs`.

    An environment's mistake is an error that names the environment, the step and what is wrong. What an environment's
    own code raises passes as it is, with a note that says the same.

    Attributes:
        env: The environment itself.
        num_envs: n.
        is_vector: Whether observations are n stacked ones, not a single one.
        resets_in_next_step: Whether the step after an episode's end only resets.
        episode_starts: Whether the current observation is an episode's first, bool [n].
        masks: Which discrete actions are allowed.
        pending_resets: Whether the next step will only be a reset, bool [n].
        timestep: Number of the step under way, or of the last one, for errors; who counts steps otherwise, sets it.
        consequence: What errors end with.
    """

    is_vector = True
    resets_in_next_step = False
    _is_async = False
    episode_starts: NDArray[np.bool_]

    def __init__(self, env: Any, num_envs: int) -> None:
        self.env, self.num_envs = env, num_envs
        self._all = np.ones(num_envs, dtype=bool)
        self.pending_resets = ~self._all
        self._processes = Processes(env)
        self.masks = ActionMasks(self._has_action_masks, self._ask_action_masks)
        self.timestep, self.consequence = 0, ""
        self._sent: Any = None  # the actions of the step under way; None in a reset

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

    def is_recorded(self) -> bool:
        """Whether a wrapper records episodes under `info["episode"]`; asked when no step is under way."""
        return has_recorder(self.env)

    def reset(self, seed: int | None, **options: Any) -> Any:
        """Starts n new episodes; returns their first observations.

        Args:
            seed: Seed of the first one's random numbers, or None.
            **options: What else the environment's own reset takes; of one environment only.

        Raises:
            TypeError: The environment's reset does not take a seed, or does not return (observation, info).
            RuntimeError: A process in which environments ran has ended.
        """
        self._sent, self.pending_resets, self.episode_starts = None, ~self._all, self._all
        try:
            self._processes.check()
            return self._reset(seed, **options)
        except Exception as error:
            self._blame(error)

    @abstractmethod
    def _reset(self, seed: int | None, **options: Any) -> Any:
        """Starts n new episodes, and begins with their masks; returns their first observations."""

    @abstractmethod
    def _has_action_masks(self) -> bool:
        """Whether the environments have the method `action_masks`."""

    @abstractmethod
    def _ask_action_masks(self) -> Sequence[Any]:
        """Returns what it gives, of each environment."""

    def start_step(self, actions: Any) -> None:
        """Starts a step; where environments run in other processes, they are at it from now on.

        Args:
            actions: A list of n, or whatever the environment's own `step` takes.
        """
        self.timestep += 1
        self._sent = actions
        try:
            self._given = self._batched(actions)
            if self._is_async:
                self.env.step_async(self._given)
        except Exception as error:
            self._blame(error)

    def _batched(self, actions: Any) -> Any:
        """Returns actions as the environment's own step takes them."""
        return actions

    def finish_step(self) -> StepOutcome:
        """Returns what the step gave that was started.

        Raises:
            TypeError: The environment's step did not return what it must.
            ValueError: A reward is not finite, or too large for float32.
            RuntimeError: A process in which environments ran has ended.
        """
        try:
            return self._read_step(self.env.step_wait() if self._is_async else self.env.step(self._given))
        except Exception as error:
            self._blame(error)

    @abstractmethod
    def _read_step(self, result: Any) -> StepOutcome:
        """Returns what the environment's own step returned in the one form.

        Raises:
            Fault: It is not what a step must return.
        """

    def step(self, actions: Any) -> StepOutcome:
        """Starts a step and waits for it."""
        self.start_step(actions)
        return self.finish_step()

    def reset_ended(self) -> Any | None:
        """Starts new episodes in place of those that the last step ended, if the environment does not do so itself.

        Returns:
            All current observations, or None if nothing was done.
        """
        return None

    def compose(self, actions: CanonicalActions, k: NDArray, x: NDArray) -> Any:
        """Returns canonical actions (k [n, …], x [n, P]) as `step` takes them."""
        return actions.to_env_batch(k, x)

    def check_rewards(self, rewards: NDArray[np.float64], scale: float = 1.0, n_steps: int = 1) -> NDArray[np.float64]:
        """Returns rewards, float64 [n].

        Raises:
            ValueError: One of them is not finite, or times `scale` and `n_steps` too large for float32.
        """
        held = np.abs(rewards) <= LIMIT / (scale * n_steps)
        if not held.all():
            index = int(held.argmin())
            factors = [f"reward_scale={scale:g}"] * (scale != 1.0) + [f"n_steps={n_steps}"] * (n_steps != 1)
            scaled = f"times {' and '.join(factors)} " if factors else ""
            what = (
                f"returned the reward {rewards[index]}, which {scaled}is not a finite number within float32's ±3.4e38"
            )
            self._blame(Fault(what, index=index))
        return rewards

    def transform(self, observations: ObservationTransform, given: Any) -> NDArray[np.float32]:
        """Returns the environment's observations as float32 [n, D].

        Raises:
            ValueError: They are not of its space, or not finite as float32.
        """
        try:
            flat = self._transform(observations, given)
        except Exception as error:
            self._blame(_not_in_space(given, error), error)
        if not np.isfinite(flat).all():
            self._blame(_not_finite(flat, given))
        return flat

    def current_masks(self, options: Sequence[int], over: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
        """Returns which discrete actions the environments allow now, bool [n, Σ options]; None: always all.

        Args:
            options: How many options each discrete choice has: of a parameterised action [K].
            over: Whether the current observation is the last of its episode, bool [n]: where nothing is done, nothing
                need be allowed, and all counts as allowed then.

        Raises:
            ValueError, TypeError: What an environment gave is no mask, or allows nothing.
        """
        if self.masks.given is None:
            return None
        try:
            masks = read_masks(self.masks.given, sum(options))
            nothing = allow_nothing(masks, options)
            for i in np.flatnonzero(nothing & ~over):
                raise Fault("allows no discrete action: its action mask holds nothing but False", index=int(i))
        except Fault as fault:
            self._blame(fault)
        masks[nothing] = True
        return masks

    def masks_at_ends(self, options: Sequence[int]) -> dict[int, NDArray[np.bool_]]:
        """Returns the same of last observations in whose place the next episode's first are, where it is known.

        Raises:
            ValueError, TypeError: What an environment gave is no mask.
        """
        known = {i: mask for i, mask in self.masks.at_ends.items() if mask is not None}
        try:
            masks = {i: read_mask(mask, sum(options), i) for i, mask in known.items()}
        except Fault as fault:
            self._blame(fault)
        return {i: mask | allow_nothing(mask[None], options) for i, mask in masks.items()}

    def check(self, given: Any) -> None:
        """Does nothing if these observations are of the environment's space, and finite as float32.

        Raises:
            ValueError: They are not.
        """
        try:
            transform = ObservationTransform(self.observation_space, scale=False)
        except TypeError:  # a space that is not looked into
            return
        self.transform(transform, given)

    def transform_one(self, observations: ObservationTransform, given: Any, index: int) -> NDArray[np.float32]:
        """Returns one environment's observation as float32 [D]; see `transform`."""
        try:
            flat = observations(given)
        except Exception as error:
            self._blame(_not_in_space(given, error, index), error)
        if not np.isfinite(flat).all():
            self._blame(_not_finite(flat[None], given, index))
        return flat

    def _transform(self, observations: ObservationTransform, given: Any) -> NDArray[np.float32]:
        return observations.batch(given)

    def stack(self, given: Any) -> Any:
        """Returns the environment's observations stacked, n of them."""
        return given

    def _blame(self, error: Exception, cause: BaseException | None = None) -> NoReturn:
        """Raises an error that happened in an environment, with the environment's name and the step."""
        if isinstance(error, Fault):
            raise error.kind(self._sentence(error.what, error.index)) from cause or error.__cause__
        if lost := self._processes.lost_by(error):
            raise RuntimeError(self._sentence(lost.what, lost.index)) from error
        if isinstance(error, StopIteration):  # which would end the generators on its way
            raise RuntimeError(self._sentence("raised StopIteration")) from error
        if library := refused_by(error):
            must = "reset must return (observation, info)" if self._sent is None else MUST_RETURN
            what = (
                f"returned, or was given, what {library} could not take ({type(error).__name__}: {error}); {must}, the "
                f"observation in {self.observation_space}"
            )
            raise (TypeError if isinstance(error, TypeError) else ValueError)(self._sentence(what)) from error
        error.add_note(self._sentence("raised this"))
        raise error

    def _sentence(self, what: str, index: int | None = None) -> str:
        """Returns what an environment did with its name and the step."""
        number = "" if index is None or self.num_envs == 1 else f" (number {index})"
        when = f"at the reset after step {self.timestep}" if self._sent is None else f"at step {self.timestep}"
        after = "" if self._sent is None else f", after the action {shown(_only(self._sent))}"
        return f"environment {self.name}{number} {what}; this was {when}{after}{self.consequence}"


def layers_of(env: Any) -> Iterator[Any]:
    """Yields the wrappers of a Gymnasium environment, the outermost first, and then what is within."""
    while isinstance(env, gym.Wrapper | gym.vector.VectorWrapper):
        yield env
        env = env.env
    yield env


MUST_RETURN = (
    "step must return (observation, reward, terminated, truncated, info): the reward a number, terminated and "
    "truncated True or False, info a dict"
)


def _not_in_space(given: Any, error: Exception, index: int | None = None) -> Fault:
    """Returns what is wrong with observations that cannot be flattened."""
    return Fault(
        f"returned the observation {shown(given)}, which is not in its observation space: {error}", index=index
    )


def _not_finite(flat: NDArray[np.float32], given: Any, index: int | None = None) -> Fault:
    """Returns what is wrong with observations, float32 [n, D], of which a number is not finite."""
    finite = np.isfinite(flat).all(axis=1)
    if index is None and len(flat) > 1:
        index = int(finite.argmin())
    return Fault(
        f"returned an observation that is not finite, or holds numbers beyond float32's ±{LIMIT:.1e}: {shown(given)}",
        index=index,
    )


def _only(values: Any) -> Any:
    """What is in a list or array of one; else all of it."""
    return values[0] if isinstance(values, list | np.ndarray) and len(values) == 1 else values

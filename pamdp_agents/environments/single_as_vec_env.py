"""One Gymnasium environment seen through the interface of Stable-Baselines3's vector environments.

It is what `agent.get_env()` returns for a single environment, where SB3 returns its `DummyVecEnv`: so loops,
callbacks and evaluations written for that run unchanged. It needs nothing of SB3.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any, Self

import gymnasium as gym
import numpy as np

from pamdp_agents.environments.adapter import layers_of
from pamdp_agents.environments.recorded import finite_episode
from pamdp_agents.environments.single import SingleEnvironment
from pamdp_agents.spaces.observations import ObservationTransform


class SingleVecEnv:
    """A vector environment of one environment, with the interface of Stable-Baselines3's `VecEnv`.

    Args:
        env: The environment.

    Attributes:
        num_envs: 1.
        envs: A list of the environment.
        observation_space: The environment's.
        action_space: The environment's.
        render_mode: The environment's.
    """

    num_envs = 1

    def __init__(self, env: gym.Env) -> None:
        self.envs = [env]
        self._adapter = SingleEnvironment(env)
        self._transform = ObservationTransform(env.observation_space, scale=False)
        self.observation_space, self.action_space = env.observation_space, env.action_space
        self.render_mode, self.metadata = env.render_mode, env.metadata
        self.reset_infos: list[dict[str, Any]] = [{}]
        self._seed: int | None = None
        self._options: dict[str, Any] = {}
        self._return, self._length, self._start = 0.0, 0, time.perf_counter()
        self._is_monitored = _is_monitored(env)

    def known_to_sb3(self) -> Self:
        """Makes SB3's `isinstance` checks accept this as one of its vector environments; returns itself.

        SB3 asks for its own classes. If nobody has imported it, nobody can ask.
        """
        module = sys.modules.get("stable_baselines3.common.vec_env.dummy_vec_env")
        if module is not None:
            module.DummyVecEnv.register(type(self))
        return self

    def reset(self) -> Any:
        """Starts an episode; returns a batch of one observation.

        Raises:
            TypeError, ValueError: The environment made a mistake, which the error names.
        """
        options = {"options": self._options} if self._options else {}
        observation = self._adapter.reset(self._seed, **options)
        self._seed, self._options = None, {}
        return self._begin(observation)

    def step(self, actions: Sequence[Any]) -> tuple[Any, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Takes one action in a sequence, and starts the next episode if that ends one.

        Args:
            actions: One action, as the environment takes it, in a list.

        Raises:
            ValueError: It is something else.
            TypeError, ValueError: The environment made a mistake, which the error names.

        Returns:
            A batch of one observation; the reward, float32 [1]; whether the episode ended, bool [1]; a list of one
            info. At an episode's end the info has `"terminal_observation"` and `"episode"`, as SB3's `Monitor`
            gives it (if there is one, it alone says when an episode has ended); `"TimeLimit.truncated"` says whether
            it was cut off.
        """
        if not isinstance(actions, list | np.ndarray) or len(actions) != 1:
            raise ValueError(f"actions must be a list of one action, as predict returns for a batch, got {actions!r}")
        outcome = self._adapter.step(actions)
        batch, [info] = self._stacked(outcome.observations), outcome.infos
        [reward], [terminated], [truncated] = outcome.rewards, outcome.terminated, outcome.truncated
        self._return += float(reward)
        self._length += 1
        info = info | {"TimeLimit.truncated": bool(truncated and not terminated)}
        if done := bool(terminated or truncated):
            seconds = round(time.perf_counter() - self._start, 6)
            if not self._is_monitored and finite_episode(info) is None:
                info["episode"] = {"r": self._return, "l": self._length, "t": seconds}
            info["terminal_observation"] = outcome.observations
            batch = self._begin(self._adapter.reset(None))
        return batch, np.array([reward], np.float32), np.array([done]), [info]

    def step_async(self, actions: Sequence[Any]) -> None:
        """Keeps the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> tuple[Any, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Takes the actions that `step_async` was given; see `step`."""
        return self.step(self._actions)

    def seed(self, seed: int | None = None) -> list[int | None]:
        """Seeds the next call of `reset`."""
        self._seed = seed
        return [seed]

    def set_options(self, options: dict[str, Any] | list[dict[str, Any]] | None = None) -> None:
        """Gives the next call of `reset` options."""
        self._options = dict((options[0] if isinstance(options, list) else options) or {})

    def render(self, mode: str | None = None) -> Any:
        """Renders as the environment's own render mode says, whatever `mode` is."""
        return self.envs[0].render()

    def get_images(self) -> list[Any]:
        """Returns the environment's picture."""
        return [self.envs[0].render()]

    def close(self) -> None:
        """Closes the environment."""
        self.envs[0].close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Returns a list of the environment's attribute."""
        return [self.envs[0].get_wrapper_attr(attr_name)]

    def has_attr(self, attr_name: str) -> bool:
        """Whether the environment has an attribute."""
        return self.envs[0].has_wrapper_attr(attr_name)

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Sets an attribute of the environment."""
        self.envs[0].set_wrapper_attr(attr_name, value)

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Returns a list of what a method of the environment returns."""
        return [self.envs[0].get_wrapper_attr(method_name)(*method_args, **method_kwargs)]

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        """Whether the environment has a wrapper; always of `Monitor`, whose numbers `step` gives itself."""
        found = any(isinstance(layer, wrapper_class) for layer in layers_of(self.envs[0]))
        return [found or wrapper_class.__name__ == "Monitor"]

    @property
    def unwrapped(self) -> Self:
        """Itself: no vector wrapper is around it."""
        return self

    def getattr_depth_check(self, name: str, already_found: bool) -> None:
        """Returns part of SB3's search for attributes through wrappers: none of them is hidden here."""

    def _begin(self, observation: Any) -> Any:
        """Counts a new episode; returns its first observation in a batch."""
        self._return, self._length = 0.0, 0
        self.reset_infos[0] = self._adapter.reset_info
        return self._stacked(observation)

    def _stacked(self, observation: Any) -> Any:
        """Returns a batch of an observation, after checking it."""
        self._adapter.transform(self._transform, observation)  # which looks at it
        return self._adapter.stack(observation)


def _is_monitored(env: gym.Env) -> bool:
    """Whether Stable-Baselines3's `Monitor` is among the wrappers of an environment."""
    wrappers = [layer for layer in layers_of(env) if isinstance(layer, gym.Wrapper)]
    return any("Monitor" in {cls.__name__ for cls in type(wrapper).__mro__} for wrapper in wrappers)

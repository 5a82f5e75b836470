"""Measure a policy by playing whole episodes (`stable_baselines3.common.evaluation`'s interface)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import concatenate, create_empty_array
from gymnasium.wrappers import RecordEpisodeStatistics
from numpy.typing import NDArray

from pamdp_agents.validation import check_integer


class Policy(Protocol):
    """What can be evaluated: anything with an agent's `predict`."""

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        """Return one action for one observation, n actions for n, and the state of a recurrent policy."""
        ...


def evaluate_policy(
    model: Policy,
    env: gym.Env | gym.vector.VectorEnv | str | Any,
    n_eval_episodes: int = 10,
    deterministic: bool = True,
    render: bool = False,
    callback: Callable[[dict[str, Any], dict[str, Any]], Any] | None = None,
    reward_threshold: float | None = None,
    return_episode_rewards: bool = False,
    warn: bool = True,
    *,
    seed: int | None = None,
) -> tuple[float, float] | tuple[list[float], list[int]]:
    """Play episodes with a policy and report their undiscounted returns.

    With n parallel environments each plays a share of the episodes fixed beforehand, as evenly as possible:
    to count the first episodes that end would favour short ones.

    Returns and lengths are those that a `RecordEpisodeStatistics` wrapper (or SB3's `Monitor`) reports,
    whatever wrappers around it make of rewards and of the ends of episodes; without one they are counted.

    Args:
        model: Anything with a `predict` method, such as an agent.
        env: A Gymnasium environment, a Gymnasium vector environment in any autoreset mode, an SB3 `VecEnv`,
            or the id of a registered environment, which is then made and closed here.
        n_eval_episodes: The number of episodes, at least 1.
        deterministic: Whether to act without exploration.
        render: Whether to call `env.render()` after each step.
        callback: Called as `callback(locals(), globals())` after each step, once for each environment with
            episodes left to play: `reward`, `done` and `info` among the locals are those of environment `i`.
        reward_threshold: The mean return that the policy must exceed.
        return_episode_rewards: Whether to return each episode's return and length, not mean and deviation.
        warn: Whether to warn if no wrapper records the episodes' statistics.
        seed: Passed to the first reset, so that an evaluation can be repeated (SB3 has no such argument).

    Returns:
        The mean and the standard deviation of the returns; or all returns and all lengths (in steps), in the
        order in which the episodes ended.

    Raises:
        TypeError: If `env` is none of the above.
        ValueError: If `n_eval_episodes` is below 1.
        AssertionError: If the mean return does not exceed `reward_threshold`.
    """
    n_eval_episodes = check_integer("n_eval_episodes", n_eval_episodes, at_least=1)
    if isinstance(env, str):
        env = make_eval_env(env)
        try:
            return evaluate_policy(
                model, env, n_eval_episodes, deterministic, render, callback, reward_threshold,
                return_episode_rewards, warn, seed=seed,
            )  # fmt: skip
        finally:
            env.close()
    driver = _drive(env)
    is_monitor_wrapped = _is_monitor_wrapped(env)
    n_envs = driver.num_envs
    episode_rewards: list[float] = []
    episode_lengths: list[int] = []
    episode_counts = np.zeros(n_envs, dtype=int)
    episode_count_targets = np.array([(n_eval_episodes + i) // n_envs for i in range(n_envs)])
    current_rewards = np.zeros(n_envs)
    current_lengths = np.zeros(n_envs, dtype=int)

    # The names below are SB3's, since callbacks read them.
    observations = driver.reset(seed)
    states = None
    while (episode_counts < episode_count_targets).any():
        actions, states = model.predict(
            observations, state=states, episode_start=driver.episode_starts, deterministic=deterministic
        )
        new_observations, rewards, dones, infos = driver.step(actions)
        current_rewards += np.where(driver.played, rewards, 0.0)
        current_lengths += driver.played
        for i in np.flatnonzero(driver.played & (episode_counts < episode_count_targets)).tolist():
            reward, done, info = rewards[i], dones[i], infos[i]
            if callback is not None:
                callback(locals(), globals())
            if not done:
                continue
            if "episode" in info:
                episode_rewards.append(float(info["episode"]["r"]))
                episode_lengths.append(int(info["episode"]["l"]))
                episode_counts[i] += 1
            elif not is_monitor_wrapped:  # if it is, a wrapper around it said `done`: a life lost, not the game
                if warn:
                    _warn_of_missing_statistics()
                    warn = False
                episode_rewards.append(float(current_rewards[i]))
                episode_lengths.append(int(current_lengths[i]))
                episode_counts[i] += 1
            current_rewards[i] = 0.0
            current_lengths[i] = 0
        observations = new_observations
        if render:
            env.render()

    mean_reward, std_reward = float(np.mean(episode_rewards)), float(np.std(episode_rewards))
    if reward_threshold is not None and not mean_reward > reward_threshold:
        raise AssertionError(f"The mean return {mean_reward:.2f} is not above reward_threshold={reward_threshold}.")
    if return_episode_rewards:
        return episode_rewards, episode_lengths
    return mean_reward, std_reward


def make_eval_env(env_id: str) -> gym.Env:
    """Make a registered environment that records the statistics of its episodes."""
    return RecordEpisodeStatistics(gym.make(env_id))


def batch_actions(env: gym.vector.VectorEnv, actions: Any) -> Any:
    """Turn a list of n actions into what `step` of a Gymnasium vector environment takes.

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


def _warn_of_missing_statistics() -> None:
    warnings.warn(
        "The evaluation environment has no RecordEpisodeStatistics wrapper, so returns and lengths are "
        "counted from its steps: wrappers that change rewards or end episodes early change them too. Put "
        "gymnasium.wrappers.RecordEpisodeStatistics next to the environment, or pass warn=False.",
        UserWarning,
        stacklevel=3,
    )


def _drive(env: Any) -> _SingleEnv | _GymnasiumVectorEnv | _SB3VecEnv:
    if hasattr(env, "single_action_space"):
        return _GymnasiumVectorEnv(env)
    if hasattr(env, "num_envs"):
        return _SB3VecEnv(env)
    if hasattr(env, "reset") and hasattr(env, "step"):
        return _SingleEnv(env)
    raise TypeError(
        "env must be a Gymnasium environment or vector environment, an SB3 VecEnv or the id of a registered "
        f"environment, got {env!r}"
    )


class _SingleEnv:
    """One environment, one observation and one action at a time, as a batch of one."""

    num_envs = 1

    def __init__(self, env: gym.Env) -> None:
        self.env = env
        self.played = np.ones(1, dtype=bool)

    def reset(self, seed: int | None) -> Any:
        self.episode_starts = np.ones(1, dtype=bool)
        return self.env.reset(seed=seed)[0]

    def step(self, action: Any) -> tuple[Any, Any, Any, Sequence[dict[str, Any]]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        done = bool(terminated or truncated)
        if done:
            observation, _ = self.env.reset()
        self.episode_starts = np.array([done])
        return observation, [float(reward)], [done], [info]


class _SB3VecEnv:
    """SB3's vector environment: it resets within `step`, whose infos are those from before the reset."""

    def __init__(self, env: Any) -> None:
        self.env = env
        self.num_envs: int = env.num_envs
        self.played = np.ones(self.num_envs, dtype=bool)

    def reset(self, seed: int | None) -> Any:
        self.episode_starts = np.ones(self.num_envs, dtype=bool)
        if seed is not None:
            self.env.seed(seed)
        return self.env.reset()

    def step(self, actions: Any) -> tuple[Any, Any, Any, Sequence[dict[str, Any]]]:
        observations, rewards, dones, infos = self.env.step(actions)
        self.episode_starts = np.array(dones)
        return observations, rewards, dones, infos


class _GymnasiumVectorEnv:
    """Gymnasium's vector environment, in the autoreset mode that its metadata name."""

    def __init__(self, env: gym.vector.VectorEnv) -> None:
        self.env = env
        self.num_envs = env.num_envs
        mode = env.metadata.get("autoreset_mode", "NextStep")
        self.mode = getattr(mode, "value", mode)

    def reset(self, seed: int | None) -> Any:
        self.dones = np.zeros(self.num_envs, dtype=bool)
        self.played = self.episode_starts = np.ones(self.num_envs, dtype=bool)
        return self.env.reset(seed=seed)[0]

    def step(self, actions: Any) -> tuple[Any, Any, Any, Sequence[dict[str, Any]]]:
        # In NextStep mode, the step after an episode's end ignores the action and only resets.
        self.played = ~self.dones if self.mode == "NextStep" else np.ones(self.num_envs, dtype=bool)
        observations, rewards, terminated, truncated, infos = self.env.step(batch_actions(self.env, actions))
        self.dones = np.logical_or(terminated, truncated)
        split = _split_infos(infos, self.num_envs)
        if self.mode == "SameStep":  # then what stands beside `final_info` is from the new episode's reset
            split = [{**info, **info.get("final_info", {})} for info in split]
        if self.mode == "Disabled" and self.dones.any():
            observations, _ = self.env.reset(options={"reset_mask": self.dones.copy()})
        self.episode_starts = ~self.played if self.mode == "NextStep" else self.dones
        return observations, rewards, self.dones, split


def _split_infos(infos: dict[str, Any] | list[dict[str, Any]], n: int) -> list[dict[str, Any]]:
    """Split Gymnasium's dict of arrays, where `_key` tells which environments have `key`, into n dicts."""
    if isinstance(infos, list):
        return infos
    split: list[dict[str, Any]] = [{} for _ in range(n)]
    for key, value in infos.items():
        if key.startswith("_"):
            continue
        values = _split_infos(value, n) if isinstance(value, dict) else value
        for i in np.flatnonzero(infos.get(f"_{key}", np.ones(n, dtype=bool))):
            split[i][key] = values[i]
    return split


def _is_monitor_wrapped(env: Any) -> bool:
    """Tell whether a wrapper in this process records statistics under `info["episode"]`."""
    while env is not None:
        if {"RecordEpisodeStatistics", "Monitor", "VecMonitor"} & {cls.__name__ for cls in type(env).__mro__}:
            return getattr(env, "_stats_key", "episode") == "episode"
        attributes = vars(env)
        env = attributes.get("env") or attributes.get("venv") or next(iter(attributes.get("envs") or ()), None)
    return False

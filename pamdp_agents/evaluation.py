"""Measure a policy by playing whole episodes (`stable_baselines3.common.evaluation`'s interface)."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from pamdp_agents.checks import check_integer
from pamdp_agents.environments.adapt import adapt
from pamdp_agents.environments.adapter import Environment, EnvironmentAdapter
from pamdp_agents.environments.recorded import read_flag, recorded_episode

MOST_UNCONFIRMED_ENDS = 1000
"""After so many ends in a row that a recorder does not confirm, it is not heard: no game has so many lives."""


class Policy(Protocol):
    """What can be evaluated: anything with an agent's `predict`."""

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        """Returns one action for one observation, n actions for n, and the state of a recurrent policy."""
        ...


def evaluate_policy(
    model: Policy,
    env: Environment | str,
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
    """Plays episodes with a policy and reports their undiscounted returns.

    With n parallel environments each plays a share of the episodes fixed beforehand, as evenly as possible:
    to count the first episodes that end would favour short ones.

    Returns and lengths are those that a `RecordEpisodeStatistics` wrapper (or SB3's `Monitor`) reports,
    whatever wrappers around it make of rewards and of the ends of episodes; without one they are counted.

    Where the environment says which discrete actions are allowed, a policy that takes `action_masks` is told.

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
        TypeError: `env` is none of the above.
        ValueError: `n_eval_episodes` is below 1.
        AssertionError: The mean return does not exceed `reward_threshold`.
        RuntimeError: A wrapper records the episodes, but its numbers do not come through those around it.
    """
    n_eval_episodes = check_integer("n_eval_episodes", n_eval_episodes, at_least=1)
    if isinstance(env, str):
        env, warn = gym.make(env), False  # nothing stands around it that changes what is counted here
        try:
            return evaluate_policy(
                model, env, n_eval_episodes, deterministic, render, callback, reward_threshold,
                return_episode_rewards, warn, seed=seed,
            )  # fmt: skip
        finally:
            env.close()
    environments = adapt(env)
    n_envs = environments.num_envs
    episode_rewards: list[float] = []
    episode_lengths: list[int] = []
    episode_counts = np.zeros(n_envs, dtype=int)
    episode_count_targets = np.array([(n_eval_episodes + i) // n_envs for i in range(n_envs)])
    current_rewards = np.zeros(n_envs)
    current_lengths = np.zeros(n_envs, dtype=int)

    # The names below are SB3's, since callbacks read them.
    observations = environments.reset(seed)
    is_monitor_wrapped = environments.is_recorded()  # asked now, when no step is under way in other processes
    unconfirmed_ends = np.zeros(n_envs, dtype=int)
    states = None
    while (episode_counts < episode_count_targets).any():
        try:
            actions, states = model.predict(
                observations,
                state=states,
                episode_start=environments.episode_starts,
                deterministic=deterministic,
                **allowed(model, environments),
            )
        except Exception:
            environments.check(observations)  # to name the environment, if that is at fault
            raise
        outcome = environments.step(actions if environments.is_vector else [actions])
        new_observations, rewards, infos, played = outcome.observations, outcome.rewards, outcome.infos, outcome.played
        dones = outcome.terminated | outcome.truncated
        current_rewards += np.where(played, rewards, 0.0)
        current_lengths += played
        for i in np.flatnonzero(played & (episode_counts < episode_count_targets)).tolist():
            reward, done, info = rewards[i], dones[i], infos[i]
            episode = recorded_episode(info) if done else None
            # Without the recorder's word, a wrapper around it said `done`: a life lost, not the game.
            episode_ended = done and (episode is not None or not is_monitor_wrapped)
            if callback is not None:
                callback(locals(), globals())
            if not done:
                continue
            if episode_ended:
                if episode is None and warn:
                    _warn_of_missing_statistics()
                    warn = False
                if episode is None or not np.isfinite(episode["r"]):
                    episode = {"r": float(current_rewards[i]), "l": int(current_lengths[i])}
                episode_rewards.append(episode["r"])
                episode_lengths.append(episode["l"])
                episode_counts[i] += 1
            unconfirmed_ends[i] = 0 if episode_ended else unconfirmed_ends[i] + 1
            if unconfirmed_ends[i] == MOST_UNCONFIRMED_ENDS:
                raise RuntimeError(
                    f"environment {i} ended {MOST_UNCONFIRMED_ENDS} times in a row, but the wrapper that records its "
                    "episodes did not say so in info['episode']: a wrapper around it ends episodes, or changes infos. "
                    "Put RecordEpisodeStatistics or Monitor around that one."
                )
            current_rewards[i] = 0.0
            current_lengths[i] = 0
        first_observations = environments.reset_ended()
        observations = new_observations if first_observations is None else first_observations
        if render:
            env.render()

    mean_reward, std_reward = float(np.mean(episode_rewards)), float(np.std(episode_rewards))
    if reward_threshold is not None and not mean_reward > reward_threshold:
        raise AssertionError(f"The mean return {mean_reward:.2f} is not above reward_threshold={reward_threshold}.")
    if return_episode_rewards:
        return episode_rewards, episode_lengths
    return mean_reward, std_reward


def allowed(model: Policy, environments: EnvironmentAdapter) -> dict[str, Any]:
    """Returns the argument of `predict` that says which discrete actions are allowed now, if there is anything to say.

    Args:
        model: The policy; one whose `predict` has no argument `action_masks` is told nothing.
        environments: Where it acts.
    """
    given = environments.masks.given
    if given is None or "action_masks" not in inspect.signature(model.predict).parameters:
        return {}
    actions = getattr(model, "canonical_actions", None)
    options = [np.size(given[0])] if actions is None else actions.options
    masks = environments.current_masks(options, environments.pending_resets)
    return {"action_masks": masks if masks is None or environments.is_vector else masks[0]}


class Episodes(NamedTuple):
    """What episodes were like, each in the order in which they ended.

    Attributes:
        returns: Their undiscounted returns.
        lengths: Their lengths in steps.
        successes: Whether each was a success; empty if the environment reported none of them (`is_success`).
    """

    returns: list[float]
    lengths: list[int]
    successes: list[bool]


def play_episodes(
    model: Policy,
    env: Environment | str,
    n_episodes: int,
    deterministic: bool = True,
    *,
    render: bool = False,
    callback: Callable[[dict[str, Any], dict[str, Any]], Any] | None = None,
    warn: bool = True,
    seed: int | None = None,
) -> Episodes:
    """Plays whole episodes as `evaluate_policy` does, and returns what each was like.

    Args:
        model: Anything with a `predict` method, such as an agent.
        env: What `evaluate_policy` takes.
        n_episodes: The number of episodes, at least 1.
        deterministic: Whether to act without exploration.
        render: Whether to call `env.render()` after each step.
        callback: Called after each step of each environment, as that of `evaluate_policy`.
        warn: Whether to warn if no wrapper records the episodes' statistics.
        seed: Passed to the first reset, so that the episodes can be repeated.

    Raises:
        TypeError: `env` is none of those.
        ValueError: `n_episodes` is below 1.
    """
    reports: list[bool | None] = []

    def note_success(locals_: dict[str, Any], globals_: dict[str, Any]) -> None:
        if locals_["episode_ended"]:
            reports.append(read_flag(locals_["info"].get("is_success")))
        if callback is not None:
            callback(locals_, globals_)

    played: Any = evaluate_policy(
        model,
        env,
        n_episodes,
        deterministic,
        render,
        callback=note_success,
        return_episode_rewards=True,
        warn=warn,
        seed=seed,
    )
    # An environment may report successes only, so an end without a report counts as none.
    reported = any(report is not None for report in reports)
    returns, lengths = played
    return Episodes(returns, lengths, [bool(report) for report in reports] if reported else [])


def _warn_of_missing_statistics() -> None:
    warnings.warn(
        "The evaluation environment has no RecordEpisodeStatistics wrapper, so returns and lengths are "
        "counted from its steps: wrappers that change rewards or end episodes early change them too. Put "
        "gymnasium.wrappers.RecordEpisodeStatistics next to the environment, or pass warn=False.",
        UserWarning,
        stacklevel=3,
    )

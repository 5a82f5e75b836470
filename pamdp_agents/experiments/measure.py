"""The numbers of a trained agent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium as gym
from gymnasium.wrappers import RecordEpisodeStatistics

if TYPE_CHECKING:
    from pamdp_agents.base.off_policy import OffPolicyAgent

EVALUATION_SEED = 10_000  # far from the seeds that people train with


def measure(agent: OffPolicyAgent, env: gym.Env, n_episodes: int, deterministic: bool, seed: int) -> dict[str, Any]:
    """Plays whole episodes; the numbers are named as on the Hugging Face Hub, which RL Zoo writes to."""
    import numpy as np

    from pamdp_agents.evaluation import evaluate_policy

    successes: list[bool | None] = []

    def note_success(locals_: dict[str, Any], globals_: dict[str, Any]) -> None:
        if locals_["done"]:
            successes.append(locals_["info"].get("is_success"))

    returns, lengths = evaluate_policy(
        agent,
        RecordEpisodeStatistics(env),
        n_episodes,
        deterministic,
        callback=note_success,
        return_episode_rewards=True,
        seed=seed,
    )
    result = {
        "mean_reward": float(np.mean(returns)),
        "std_reward": float(np.std(returns)),
        "min_reward": float(np.min(returns)),
        "max_reward": float(np.max(returns)),
        "mean_ep_length": float(np.mean(lengths)),
        "n_eval_episodes": n_episodes,
        "is_deterministic": deterministic,
        "seed": seed,
    }
    if any(success is not None for success in successes):
        result["success_rate"] = float(np.mean([bool(success) for success in successes]))
    return result

"""The numbers of a trained agent."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import RecordEpisodeStatistics

from pamdp_agents.evaluation import Policy, play_episodes

EVALUATION_SEED = 10_000  # far from the seeds that people train with


def measure(policy: Policy, env: gym.Env, n_episodes: int, deterministic: bool, seed: int) -> dict[str, Any]:
    """Plays whole episodes, and returns numbers named as on the Hugging Face Hub, which RL Zoo writes to.

    Args:
        policy: What acts, such as an agent.
        env: Where.
        n_episodes: Episodes to play, at least 1.
        deterministic: Whether to act without exploration.
        seed: Of the first reset.

    Raises:
        ValueError: `n_episodes` is below 1.
    """
    returns, lengths, successes = play_episodes(
        policy, RecordEpisodeStatistics(env), n_episodes, deterministic, seed=seed
    )
    measured = {
        "mean_reward": float(np.mean(returns)),
        "std_reward": float(np.std(returns)),
        "min_reward": float(np.min(returns)),
        "max_reward": float(np.max(returns)),
        "mean_ep_length": float(np.mean(lengths)),
        "n_eval_episodes": n_episodes,
        "is_deterministic": deterministic,
        "seed": seed,
    }
    return measured | ({"success_rate": float(np.mean(successes))} if successes else {})


def summarize(measured: dict[str, Any]) -> str:
    """Returns what was measured as one line."""
    text = (
        f"mean return {measured['mean_reward']:.3f} ± {measured['std_reward']:.3f} over "
        f"{measured['n_eval_episodes']} episodes (min {measured['min_reward']:.3f}, max {measured['max_reward']:.3f})"
    )
    return text + (f", success rate {measured['success_rate']:.1%}" if "success_rate" in measured else "")

"""Trains MP-DQN on Platform with every gradient strategy and prints a table of the returns.

python examples/compare_strategies.py                      # the table in docs/strategies.md
python examples/compare_strategies.py --n-timesteps 2000 --seeds 1
"""

import argparse
import statistics

import numpy as np

from pamdp_agents import MPDQN
from pamdp_agents.evaluation import evaluate_policy

STRATEGIES = [
    "none",
    "inverting",
    "zeroing",
    "squashing",
    "sign_reversal",
    "selective_clipping",
    "pseudo_inverse",
    ["inverting", "sign_reversal"],
]


def train(strategy, seed, n_timesteps, n_eval_episodes):
    """Returns the mean evaluation return of one run; stops if a weight is no longer finite."""
    agent = MPDQN.tuned("pamdp/Platform-v0", strategy=strategy, seed=seed).learn(n_timesteps)
    for group, weights in agent.get_parameters().items():
        if not all(np.isfinite(array).all() for array in weights.values()):
            raise FloatingPointError(f"{strategy}, seed {seed}: the weights of {group} are not finite")
    return evaluate_policy(agent, "pamdp/Platform-v0", n_eval_episodes, seed=10_000 + seed)[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n-timesteps", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--n-eval-episodes", type=int, default=200)
    options = parser.parse_args()

    seeds = range(options.seeds)
    print("| strategy | mean return | " + " | ".join(f"seed {seed}" for seed in seeds) + " |")
    print("|---|---|" + "---|" * options.seeds)
    for strategy in STRATEGIES:
        returns = [train(strategy, seed, options.n_timesteps, options.n_eval_episodes) for seed in seeds]
        name = strategy if isinstance(strategy, str) else " → ".join(strategy)
        cells = " | ".join(f"{value:.3f}" for value in returns)
        print(f"| {name} | {statistics.mean(returns):.3f} | {cells} |", flush=True)


if __name__ == "__main__":
    main()

"""Changes the gradient that reaches the action-parameters by a function of your own, alone and in a chain.

python examples/own_strategy.py
"""

import argparse

import tensorflow as tf

from pamdp_agents import MPDQN
from pamdp_agents.evaluation import evaluate_policy


def cautious(gradient, context):
    """The more the Q-network errs, the less its gradient counts: g / (1 + |δ|), the taken action's parameters only.

    A TD error δ speaks only of the action taken, so the other actions' parameters keep their gradient.
    """
    shrunk = gradient / (1.0 + tf.abs(context.td_error)[:, None])
    return tf.where(context.taken, shrunk, gradient)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n-timesteps", type=int, default=5_000)
    parser.add_argument("--file", default="own_strategy.zip", help="where to save the last agent")
    options = parser.parse_args()

    for name, strategy in (
        ("inverting", "inverting"),
        ("cautious", cautious),
        ("inverting, then cautious", ["inverting", cautious]),
    ):
        agent = MPDQN.tuned("pamdp/Platform-v0", strategy=strategy, seed=0).learn(options.n_timesteps)
        mean, _ = evaluate_policy(agent, "pamdp/Platform-v0", n_eval_episodes=20, seed=1)
        print(f"{name}: mean return of 20 episodes {mean:.3f}")

    # A function cannot be stored as data. Loading takes it from you, so that no code in the file has to run.
    agent.save(options.file)
    again = MPDQN.load(options.file, env="pamdp/Platform-v0", custom_objects={"strategy": ["inverting", cautious]})
    print(f"loaded after {again.num_timesteps} steps with {again.strategy}")


if __name__ == "__main__":
    main()

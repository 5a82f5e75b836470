"""Plays with a trained agent that comes with the library.

python examples/use_pretrained.py
"""

import argparse

import gymnasium as gym

from pamdp_agents import MPDQN

ACTIONS = ("run", "hop", "leap")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n-episodes", type=int, default=3)
    options = parser.parse_args()

    env = gym.make("pamdp/Platform-v0")
    agent = MPDQN.from_pretrained(env)
    for episode in range(options.n_episodes):
        observation, _ = env.reset(seed=episode)
        episode_return, ended, taken = 0.0, False, []
        while not ended:
            action, _ = agent.predict(observation, deterministic=True)
            observation, reward, terminated, truncated, _ = env.step(action)
            episode_return += reward
            ended = terminated or truncated
            k, parameters = action
            taken.append(f"{ACTIONS[k]} {parameters[k][0]:.0f}")
        print(f"episode {episode}: return {episode_return:.3f}: {', '.join(taken)}")


if __name__ == "__main__":
    main()

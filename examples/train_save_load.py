"""Trains MP-DQN on Platform, saves it, loads it and plays one episode with it.

python examples/train_save_load.py
"""

import argparse

import gymnasium as gym

from pamdp_agents import MPDQN
from pamdp_agents.evaluation import evaluate_policy


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n-timesteps", type=int, default=10_000)
    parser.add_argument("--file", default="mpdqn_platform.zip", help="where to save the agent")
    options = parser.parse_args()

    agent = MPDQN("MlpPolicy", "pamdp/Platform-v0", seed=0)
    agent.learn(options.n_timesteps, progress_bar=True)
    agent.save(options.file)

    env = gym.make("pamdp/Platform-v0")
    agent = MPDQN.load(options.file, env=env)
    mean, std = evaluate_policy(agent, "pamdp/Platform-v0", n_eval_episodes=20, seed=1)
    print(f"{agent.num_timesteps} steps trained, mean return of 20 episodes: {mean:.3f} ± {std:.3f}")

    observation, _ = env.reset(seed=2)
    episode_return, ended = 0.0, False
    while not ended:
        action, _ = agent.predict(observation, deterministic=True)
        observation, reward, terminated, truncated, _ = env.step(action)
        episode_return += reward
        ended = terminated or truncated
        k, parameters = action
        print(f"{('run', 'hop', 'leap')[k]:4} {parameters[k][0]:6.1f}  reward {reward:.3f}")
    print(f"return {episode_return:.3f}")


if __name__ == "__main__":
    main()

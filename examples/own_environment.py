"""Trains MP-DQN on an environment of your own: a greenhouse that is heated, aired, or left alone.

The three discrete actions have one, two and no parameters. `OneOf` says just that: an action is `(k, x_k)`.

python examples/own_environment.py
"""

import argparse

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete, OneOf

from pamdp_agents import MPDQN
from pamdp_agents.evaluation import evaluate_policy

HEAT, AIR, WAIT = range(3)
WANTED = 21.0  # °C


class Greenhouse(gym.Env):
    """Keep a greenhouse near 21 °C through a day of 24 steps, without wasting energy.

    Observation: temperatures inside and outside, in °C. Reward: minus a tenth of the distance to 21 °C, minus the
    energy used.
    """

    observation_space = Box(np.array([-20.0, -20.0]), np.array([60.0, 60.0]), dtype=np.float64)
    action_space = OneOf(
        [
            Box(0.0, 10.0, (1,)),  # heat: power in kW
            Box(np.array([0.0, 0.0], "f"), np.array([1.0, 60.0], "f")),  # air: how wide the window is open, minutes
            Discrete(1),  # wait: no parameters
        ]
    )

    def reset(self, *, seed=None, options=None):
        """Starts a day at random temperatures."""
        super().reset(seed=seed)
        self.hour = 0
        self.inside, self.outside = self.np_random.uniform(10.0, 35.0), self.np_random.uniform(0.0, 30.0)
        return self._observation(), {}

    def step(self, action):
        """Acts, then lets an hour pass."""
        k, x = action
        energy = 0.0
        if k == HEAT:
            self.inside += float(x[0])
            energy = 0.01 * float(x[0])
        elif k == AIR:
            width, minutes = map(float, x)
            self.inside += width * minutes / 60.0 * (self.outside - self.inside)
        self.inside += 0.1 * (self.outside - self.inside)
        self.outside = float(np.clip(self.outside + self.np_random.normal(0.0, 1.0), -20.0, 45.0))
        self.hour += 1
        reward = -0.1 * abs(self.inside - WANTED) - energy
        return self._observation(), reward, False, self.hour == 24, {}

    def _observation(self):
        return np.array([self.inside, self.outside])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n-timesteps", type=int, default=10_000)
    parser.add_argument("--n-eval-episodes", type=int, default=50)
    options = parser.parse_args()

    agent = MPDQN("MlpPolicy", Greenhouse(), seed=0)
    eval_env = gym.wrappers.RecordEpisodeStatistics(Greenhouse())
    before, _ = evaluate_policy(agent, eval_env, options.n_eval_episodes, seed=1)
    agent.learn(options.n_timesteps, progress_bar=True)
    after, _ = evaluate_policy(agent, eval_env, options.n_eval_episodes, seed=1)
    print(f"mean return before training {before:.2f}, after {options.n_timesteps} steps {after:.2f}")

    for inside, outside in ((10.0, 5.0), (30.0, 15.0), (21.0, 21.0)):
        (k, x), _ = agent.predict(np.array([inside, outside]), deterministic=True)
        values = "" if k == WAIT else " " + ", ".join(f"{value:.1f}" for value in x)
        print(f"inside {inside:.0f} °C, outside {outside:.0f} °C: {('heat', 'air', 'wait')[k]}{values}")


if __name__ == "__main__":
    main()

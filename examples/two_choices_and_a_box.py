"""An environment of two discrete choices and a number, learned by HybridPPO.

    python examples/two_choices_and_a_box.py

A machine is set up for orders: which tool, whether to cool, and how fast to run, all at once and none of them a
parameter of another. Plain PPO takes no such Tuple. The best policy is known, so the script ends with how near the
agent has come.
"""

import argparse

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete, Tuple

from pamdp_agents import HybridPPO
from pamdp_agents.evaluation import evaluate_policy

BEST_RETURN = 30.0


class Workshop(gym.Env):
    """Ten orders in an episode; each is seen as three numbers: softness, heat and size.

    An order pays 1 for the right one of three tools (by softness), 1 for cooling if and only if it is hot, and 1 less
    the distance of the speed from the best one, 2 + 3·size. At best it pays 3.
    """

    observation_space = Box(-1, 1, (3,))
    action_space = Tuple((Discrete(3), Discrete(2), Box(0, 8, (1,))))

    def reset(self, *, seed=None, options=None):
        """Starts with a first order."""
        super().reset(seed=seed)
        self.orders = 0
        return self._next_order(), {}

    def step(self, action):
        """Carries out an order, and shows the next one."""
        tool, cools, speed = action
        softness, heat, size = self.order
        right_tool, is_hot, best_speed = int(np.digitize(softness, [-0.3, 0.3])), heat > 0, 2 + 3 * size
        reward = float(tool == right_tool) + float(bool(cools) == is_hot) + 1 - abs(float(speed[0]) - best_speed)
        self.orders += 1
        return self._next_order(), float(reward), self.orders == 10, False, {}

    def _next_order(self):
        self.order = self.np_random.uniform(-1, 1, 3).astype(np.float32)
        if 2 + 3 * self.order[2] < 0:  # the machine does not run backwards
            self.order[2] = -2 / 3
        return self.order


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n-timesteps", type=int, default=60_000)
    args = parser.parse_args()

    envs = gym.vector.SyncVectorEnv([Workshop] * 4)
    schedule = {"start": 2e-3, "end": 0.0}
    agent = HybridPPO("MlpPolicy", envs, n_steps=256, batch_size=128, gamma=0.5, learning_rate=schedule, seed=0)
    agent.learn(args.n_timesteps)
    mean, _ = evaluate_policy(agent, Workshop(), n_eval_episodes=50, seed=1, warn=False)
    print(f"mean return after {agent.num_timesteps} steps {mean:.1f}, which is {mean / BEST_RETURN:.1%} of the best")


if __name__ == "__main__":
    main()

"""`learn` from end to end: one agent, and many seeds at once.

Actions are random throughout, so that the environment's share does not change with what has been learned.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
from gymnasium.vector import AutoresetMode

from pamdp_agents.base.off_policy import OffPolicyAgent
from pamdp_agents.benchmark.cases import PUBLISHED, make_agent
from pamdp_agents.training.together import train_together

RANDOM = {"exploration_final_eps": 1.0, "learning_starts": 0, "action_noise": "gaussian"}
"""Random actions, for which the networks are asked all the same: with uniform noise they would not be."""

WARM_UP = 50  # steps until everything has been compiled and used


class TrainingBenchmark:
    """Environment, acting, storing and updates of one agent, of the published size where there is one.

    Args:
        algorithm: Class name of the agent, such as `"MPDQN"`.
        env_id: The environment.
        n_envs: Number of environments.
        train_freq: Steps of all environments between two rounds of updates.
        gradient_steps: Updates in a round.
    """

    def __init__(self, algorithm: str, env_id: str, n_envs: int, train_freq: int, gradient_steps: int):
        # Random episodes are short: in the default mode, half of the steps would only be resets.
        several: dict[str, Any] = {"num_envs": n_envs, "autoreset_mode": AutoresetMode.SAME_STEP}
        env = gym.make(env_id) if n_envs == 1 else gym.make_vec(env_id, **several)
        frequency = {"train_freq": train_freq, "gradient_steps": gradient_steps}
        self.agent = make_agent(algorithm, env, **PUBLISHED.get(env_id, {}) | frequency | RANDOM)
        self.agent.learn(WARM_UP)

    def steps_per_second(self, steps: int) -> float:
        """Returns environment steps per second, over all environments."""
        return learn_rate([self.agent], steps)


class SeedsBenchmark:
    """Agents that differ in their seeds only: one of them alone, all one after another, all at once.

    Args:
        algorithm: Class name of the agents.
        env_id: Their environment.
        n: Number of agents.
        settings: Arguments of their constructor.
    """

    def __init__(self, algorithm: str, env_id: str, n: int, settings: dict[str, Any]):
        self.apart, self.together = (
            [make_agent(algorithm, env_id, seed=seed, **settings | RANDOM) for seed in range(n)] for _ in range(2)
        )
        for agent in self.apart:
            agent.learn(WARM_UP)

    def alone(self, steps: int) -> float:
        """Returns steps per second of one agent."""
        return learn_rate(self.apart[:1], steps)

    def one_after_another(self, steps: int) -> float:
        """Returns steps per second of all agents, one after another."""
        return learn_rate(self.apart, steps)

    def at_once(self, steps: int) -> float:
        """Returns steps per second of all agents at once, after a warm-up in which the first call compiles."""
        agents, first = self.together, self.together[0]
        warm, started = first.num_timesteps + WARM_UP, (0, 0.0)

        def start_clock(locals_: dict[str, Any], globals_: dict[str, Any]) -> bool:
            nonlocal started
            if first.num_timesteps == warm:
                started = _total(agents), time.perf_counter()
            return True

        train_together(
            agents,
            WARM_UP + steps,
            callback=lambda agent: start_clock if agent is first else None,
            reset_num_timesteps=False,
        )
        return (_total(agents) - started[0]) / (time.perf_counter() - started[1])


def learn_rate(agents: Sequence[OffPolicyAgent], steps: int) -> float:
    """Returns steps per second of agents that learn one after another, `steps` more each."""
    before, start = _total(agents), time.perf_counter()
    for agent in agents:
        agent.learn(steps, reset_num_timesteps=False)
    return (_total(agents) - before) / (time.perf_counter() - start)


def _total(agents: Sequence[OffPolicyAgent]) -> int:
    return sum(agent.num_timesteps for agent in agents)

"""The learner alone, without environment."""

from __future__ import annotations

import numpy as np
from gymnasium.spaces import Box

from pamdp_agents.base.off_policy import OffPolicyAgent
from pamdp_agents.benchmark.measuring import median_seconds
from pamdp_agents.experience.transition import Decision, Transition

N_OBSERVATIONS = 1000  # different ones to act on


def pack(
    before: np.ndarray, decision: Decision, rewards: np.ndarray, after: np.ndarray, discounts: np.ndarray
) -> Transition:
    """Returns transitions for the replay buffer."""
    return Transition(before, decision.k, decision.x, rewards, after, discounts, decision.extras)


class LearnerBenchmark:
    """Acts, inserts, samples and updates on random numbers.

    Args:
        agent: An agent; its replay buffer is filled.
    """

    def __init__(self, agent: OffPolicyAgent):
        self.agent, self._rng = agent, np.random.default_rng(0)
        n, size = agent.buffer_size, agent.observation_transform.size
        self._observations = self._uniform(N_OBSERVATIONS, size)
        decision = agent.draw(self._rng, n)._replace(x=self._uniform(n, agent.parameterized_space.parameter_size))
        rewards, discounts = self._rng.uniform(-1, 1, n), self._rng.random(n) < 0.9
        before, after = self._uniform(n, size), self._uniform(n, size)
        agent.replay_buffer.store(pack(before, decision, rewards, after, discounts))

    def steps_per_second(self, steps: int, fused: int) -> float:
        """Returns steps per second, with as many updates as steps, `fused` of them in one call."""
        self.agent.train(fused)  # compiled before the clock starts

        def rounds() -> None:
            for t in range(steps):
                self._act_and_insert(t)
                if (t + 1) % fused == 0:
                    self.agent.train(fused)

        return steps / median_seconds(rounds, 1)

    def update_microseconds(self, fused: int, calls: int, most_seconds: float = np.inf) -> float:
        """Returns the microseconds of an update, `fused` of them in one call, without acting and sampling."""
        agent = self.agent
        rows = agent.replay_buffer.draw(fused, agent.batch_size)
        inputs = agent.current_inputs()
        agent.learner.train(rows, inputs)  # compiled before the clock starts
        return 1e6 / fused * median_seconds(lambda: agent.learner.train(rows, inputs), calls, most_seconds)

    def predict_milliseconds(self, calls: int) -> float:
        """Returns the median milliseconds of `predict` for one observation."""
        observation = self._raw_observations(1)[0]
        return 1e3 * median_seconds(lambda: self.agent.predict(observation, deterministic=True), calls)

    def predict_batch(self, n: int, calls: int) -> float:
        """Returns observations per second of `predict` for n of them."""
        observations = self._raw_observations(n)
        return n / median_seconds(lambda: self.agent.predict(observations, deterministic=True), calls)

    def _uniform(self, *shape: int) -> np.ndarray:
        return self._rng.uniform(-1, 1, shape).astype(np.float32)

    def _raw_observations(self, n: int) -> np.ndarray:
        space = self.agent.observation_space
        assert isinstance(space, Box)
        return self._rng.uniform(space.low, space.high, (n, *space.shape))

    def _act_and_insert(self, t: int) -> None:
        before, after = (self._observations[i % N_OBSERVATIONS][None] for i in (t, t + 1))
        decision = self.agent.acting.decide(before)
        self.agent.replay_buffer.store(pack(before, decision, np.array([0.1]), after, np.array([1.0])))

"""Speed: environments, learner, ``learn`` from end to end, predictions, files and start-up."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode

import pamdp_agents
from pamdp_agents.benchmark.measuring import Measurement, baseline_steps, median_seconds, one
from pamdp_agents.replay import Batch

DOMAINS = {"pamdp/Platform-v0": "platform", "pamdp/Goal-v0": "goal"}
# Sizes of the published agents, whatever settings learn best.
HIDDEN = {"pamdp/Platform-v0": 128, "pamdp/Goal-v0": 256}
SIZES: dict[str, dict[str, Any]] = {
    env_id: {"policy_kwargs": {"net_arch": [hidden]}, "batch_size": 128, "buffer_size": buffer_size}
    for (env_id, hidden), buffer_size in zip(HIDDEN.items(), (10_000, 20_000), strict=True)
}

TRAININGS = ((1, 1, 1), (1, 8, 8), (16, 1, 16))  # n_envs, train_freq, gradient_steps: one update for each step


def environment_steps(env_id: str, steps: int) -> float:
    """Returns environment steps per second with random actions, drawn beforehand."""
    env = gym.make(env_id)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(steps)]
    env.reset(seed=0)
    start = time.perf_counter()
    for action in actions:
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()
    return steps / (time.perf_counter() - start)


class LearnerBenchmark:
    """The learner alone, without environment: insert, sample, act and update.

    Args:
        algorithm: Class name of the agent, ``"MPDQN"`` or ``"PDQN"``.
        env_id: Environment whose published sizes are used.
    """

    def __init__(self, algorithm: str, env_id: str):
        self.agent = getattr(pamdp_agents, algorithm)("MlpPolicy", env_id, seed=0, **SIZES[env_id])
        self.rng = np.random.default_rng(0)
        self.observations = self.rng.uniform(-1, 1, (1000, self.agent.observations.size)).astype(np.float32)
        for t in range(self.agent.buffer_size):
            self._act_and_insert(t)

    def steps_per_second(self, steps: int, fused: int) -> float:
        """Returns steps per second, with as many updates as steps, ``fused`` of them in one call."""
        self.agent._train(fused)  # compiled before the clock starts
        start = time.perf_counter()
        for t in range(steps):
            self._act_and_insert(t)
            if (t + 1) % fused == 0:
                self.agent._train(fused)
        return steps / (time.perf_counter() - start)

    def predict_milliseconds(self, calls: int) -> float:
        """Returns the median milliseconds of ``predict`` for one observation."""
        observation = self._raw_observations(1)[0]
        return 1e3 * median_seconds(lambda: self.agent.predict(observation, deterministic=True), calls)

    def predict_batch(self, n: int, calls: int) -> float:
        """Returns observations per second of ``predict`` for n of them."""
        observations = self._raw_observations(n)
        return n / median_seconds(lambda: self.agent.predict(observations, deterministic=True), calls)

    def _raw_observations(self, n: int) -> np.ndarray:
        space = self.agent.observation_space
        return self.rng.uniform(space.low, space.high, (n, *space.shape))

    def _act_and_insert(self, t: int) -> None:
        before, after = (self.observations[i % 1000][None] for i in (t, t + 1))
        k, x = self.agent._greedy(before)
        self.agent.replay_buffer.add(Batch(before, k, x, np.array([0.1]), after, np.array([False])))


class TrainingBenchmark:
    """``learn`` from end to end: environment, acting, storing, updates.

    Actions are random throughout, so that the environment's share does not change with what has been learned.

    Args:
        algorithm: Class name of the agent.
        env_id: Environment whose published sizes are used.
        n_envs: Number of environments.
        train_freq: Steps of all environments between two rounds of updates.
        gradient_steps: Updates in a round.
    """

    def __init__(self, algorithm: str, env_id: str, n_envs: int, train_freq: int, gradient_steps: int):
        # Random episodes are short: in the default mode, half of the steps would only be resets.
        several: dict[str, Any] = {"num_envs": n_envs, "autoreset_mode": AutoresetMode.SAME_STEP}
        env = gym.make(env_id) if n_envs == 1 else gym.make_vec(env_id, **several)
        settings = SIZES[env_id] | {"train_freq": train_freq, "gradient_steps": gradient_steps}
        self.agent = getattr(pamdp_agents, algorithm)("MlpPolicy", env, exploration_final_eps=1.0, seed=0, **settings)
        self.agent.learn(self.agent.learning_starts + 200)  # compiled before the clock starts

    def steps_per_second(self, steps: int) -> float:
        """Returns environment steps per second, over all environments."""
        before, start = self.agent.num_timesteps, time.perf_counter()
        self.agent.learn(steps, reset_num_timesteps=False)
        return (self.agent.num_timesteps - before) / (time.perf_counter() - start)


def vector_environment_steps(env_id: str, num_envs: int, steps: int) -> float:
    """Returns environment steps per second of ``num_envs`` environments together, with random actions."""
    envs = gym.make_vec(env_id, num_envs=num_envs, autoreset_mode=AutoresetMode.SAME_STEP)
    envs.action_space.seed(0)
    actions = [envs.action_space.sample() for _ in range(max(steps // num_envs, 5))]
    envs.reset(seed=0)
    start = time.perf_counter()
    for action in actions:
        envs.step(action)
    return len(actions) * num_envs / (time.perf_counter() - start)


def matrix_product_rate(rows: int, inner: int, columns: int, calls: int) -> float:
    """Returns the GFLOP/s of a float32 product [rows, inner] @ [inner, columns] in NumPy: the machine's own limit."""
    rng = np.random.default_rng(0)
    left, right = (rng.uniform(-1, 1, shape).astype(np.float32) for shape in ((rows, inner), (inner, columns)))
    out = np.empty((rows, columns), np.float32)
    return 2e-9 * rows * inner * columns / median_seconds(lambda: np.matmul(left, right, out=out), calls)


def file_seconds(algorithm: str, env_id: str) -> tuple[float, float]:
    """Returns the seconds that saving and loading an agent take."""
    agent = getattr(pamdp_agents, algorithm)("MlpPolicy", env_id, seed=0, **SIZES[env_id])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "agent.zip")
        saving = median_seconds(lambda: agent.save(path), 5)
        return saving, median_seconds(lambda: type(agent).load(path), 5)


_START = """
import json, resource, sys, time
start = time.perf_counter()
import tensorflow
tensorflow_imported = time.perf_counter()
import pamdp_agents
agent_class = getattr(pamdp_agents, sys.argv[1])
imported = time.perf_counter()
agent_class("MlpPolicy", sys.argv[2], learning_starts=0, seed=0, policy_kwargs={"net_arch": [128]}).learn(1)
updated = time.perf_counter()
megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([tensorflow_imported - start, imported - tensorflow_imported, updated - imported, megabytes]))
"""


def start_up(algorithm: str, env_id: str) -> list[float]:
    """Starts a new process that makes one update.

    Returns:
        Seconds to import TensorFlow, to import this library besides, from there to the end of the first update
        (compilation included), and the process's peak memory in MB.
    """
    ran = subprocess.run([sys.executable, "-c", _START, algorithm, env_id], capture_output=True, text=True, check=True)
    return json.loads(ran.stdout.splitlines()[-1])


def measurements(steps: int, baseline: str | None) -> list[Measurement]:
    """Returns all measurements of speed.

    Args:
        steps: Steps in each.
        baseline: Command of another learner, with ``{domain}`` for ``platform`` or ``goal``; or None.
    """
    found = []
    for env_id, domain in DOMAINS.items():
        found.append(one(f"{env_id}: environment", "steps/s", partial(environment_steps, env_id, steps)))
        for num_envs in (16, 256):
            together = partial(vector_environment_steps, env_id, num_envs, 4 * steps)
            found.append(one(f"{env_id}: {num_envs} environments together", "steps/s", together))
        for algorithm in ("MPDQN", "PDQN"):
            found += _of_agent(f"{env_id}: {algorithm}", algorithm, env_id, steps)
        if baseline is not None:
            run = partial(baseline_steps, baseline.format(domain=domain))
            found.append(one(f"{env_id}: baseline learner", "steps/s", run))
        hidden = HIDDEN[env_id]
        for inner in (17, hidden):
            what = f"{env_id}: product of matrices [128, {inner}] @ [{inner}, {hidden}]"
            found.append(one(what, "GFLOP/s", partial(matrix_product_rate, 128, inner, hidden, 200)))
    found.append(Measurement(START_UP, partial(start_up, "MPDQN", "pamdp/Platform-v0")))
    return found


def _of_agent(name: str, algorithm: str, env_id: str, steps: int) -> list[Measurement]:
    learner = LearnerBenchmark(algorithm, env_id)
    found = []
    for fused in (1, 8, 64):
        measure = partial(learner.steps_per_second, steps // fused * fused, fused)
        found.append(one(f"{name} learner, {fused} updates in a call", "steps/s", measure))
    for n_envs, train_freq, updates in TRAININGS:
        training = TrainingBenchmark(algorithm, env_id, n_envs, train_freq, updates)
        what = f"{name} learn, n_envs={n_envs}, train_freq={train_freq}, {updates} updates"
        found.append(one(what, "steps/s", partial(training.steps_per_second, steps)))
    return [
        *found,
        one(f"{name} predict, 1 observation", "ms", partial(learner.predict_milliseconds, 1000)),
        one(f"{name} predict, batch of 4096", "observations/s", partial(learner.predict_batch, 4096, 20)),
        Measurement(
            ((f"{name} save", "s"), (f"{name} load", "s")),
            partial(file_seconds, algorithm, env_id),
        ),
    ]


START_UP = (
    ("a new process: import TensorFlow", "s"),
    ("a new process: import this library besides", "s"),
    ("a new process: from there to the end of MPDQN's first update", "s"),
    ("a new process: peak memory", "MB"),
)

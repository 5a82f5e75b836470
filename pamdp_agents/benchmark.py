"""Speed of this machine's environments, learner and predictions: ``python -m pamdp_agents.benchmark``.

Prints one table and, with ``--json``, the numbers. Each is the median of repeats with its spread. ``--baseline`` runs
another program between them, one that prints a line of JSON with ``"learner_steps_per_second"``, and adds the ratio.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import tensorflow as tf
from gymnasium.vector import AutoresetMode

import pamdp_agents
from pamdp_agents.replay import Batch

Row = tuple[str, str, float, float, float]
DOMAINS = {"pamdp/Platform-v0": "platform", "pamdp/Goal-v0": "goal"}
SIZES = {  # those of the published agents, whatever settings learn best
    "pamdp/Platform-v0": {"policy_kwargs": {"net_arch": [128]}, "batch_size": 128, "buffer_size": 10_000},
    "pamdp/Goal-v0": {"policy_kwargs": {"net_arch": [256]}, "batch_size": 128, "buffer_size": 20_000},
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
        return 1e3 * _median_seconds(lambda: self.agent.predict(observation, deterministic=True), calls)

    def predict_batch(self, n: int, calls: int) -> float:
        """Returns observations per second of ``predict`` for n of them."""
        observations = self._raw_observations(n)
        return n / _median_seconds(lambda: self.agent.predict(observations, deterministic=True), calls)

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


def _median_seconds(call: Callable[[], object], calls: int) -> float:
    seconds = []
    for _ in range(calls):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def baseline_steps(command: str) -> float:
    """Runs the baseline's command and returns its learner steps per second.

    Raises:
        ValueError: The command fails, or its last line is not the JSON expected.
    """
    ran = subprocess.run(shlex.split(command), capture_output=True, text=True)
    try:
        return float(json.loads(ran.stdout.strip().splitlines()[-1])["learner_steps_per_second"])
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f'baseline command {command!r} must end with a line like {{"learner_steps_per_second": 150.0}}; '
            f"it printed {ran.stdout!r} {ran.stderr[-500:]!r}"
        ) from error


def measure(steps: int, repeats: int, baseline: str | None) -> list[Row]:
    """Runs all measurements, each ``repeats`` times in turn, so that a busy spell does not fall on one of them alone.

    Returns:
        Rows of (what, unit, median, lowest, highest).
    """
    measurements: dict[tuple[str, str], Callable[[], float]] = {}
    for env_id, domain in DOMAINS.items():
        measurements[f"{env_id}: environment", "steps/s"] = partial(environment_steps, env_id, steps)
        for algorithm in ("MPDQN", "PDQN"):
            learner = LearnerBenchmark(algorithm, env_id)
            name = f"{env_id}: {algorithm}"
            for fused in (1, 8, 64):
                what = f"{name} learner, {fused} updates in a call"
                measurements[what, "steps/s"] = partial(learner.steps_per_second, steps // fused * fused, fused)
            for n_envs, train_freq, updates in TRAININGS:
                training = TrainingBenchmark(algorithm, env_id, n_envs, train_freq, updates)
                what = f"{name} learn, n_envs={n_envs}, train_freq={train_freq}, {updates} updates"
                measurements[what, "steps/s"] = partial(training.steps_per_second, steps)
            measurements[f"{name} predict, 1 observation", "ms"] = partial(learner.predict_milliseconds, 1000)
            measurements[f"{name} predict, batch of 4096", "observations/s"] = partial(learner.predict_batch, 4096, 20)
        if baseline is not None:
            command = baseline.format(domain=domain)
            measurements[f"{env_id}: baseline learner", "steps/s"] = partial(baseline_steps, command)
    values: dict[tuple[str, str], list[float]] = {key: [] for key in measurements}
    for repeat in range(repeats):
        order = list(measurements.items())
        for key, run in order if repeat % 2 == 0 else reversed(order):
            values[key].append(run())
    return [(*key, statistics.median(found), min(found), max(found)) for key, found in values.items()]


def table(rows: Sequence[Row]) -> str:
    """Returns the rows as text; those of learner and learn have their ratio to the baseline, if there is one."""
    baselines = {name.split(":")[0]: median for name, _, median, *_ in rows if name.endswith("baseline learner")}
    lines = [f"{'':66} {'median':>10} {'lowest':>10} {'highest':>10}"]
    for name, unit, median, lowest, highest in rows:
        line = f"{name:66} {median:10,.4g} {lowest:10,.4g} {highest:10,.4g} {unit}"
        baseline = baselines.get(name.split(":")[0])
        if baseline is not None and (" learner, " in name or " learn, " in name):
            line += f", {median / baseline:.1f} × baseline"
        lines.append(line)
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark from the command line."""
    parser = argparse.ArgumentParser(prog="python -m pamdp_agents.benchmark", description=__doc__)
    parser.add_argument("--steps", type=int, default=2000, help="steps in each measurement")
    parser.add_argument("--repeats", type=int, default=5, help="how often each is repeated")
    parser.add_argument("--threads", type=int, default=1, help="TensorFlow's threads; 0: its own choice")
    parser.add_argument(
        "--baseline",
        help="a command that prints a JSON line with learner_steps_per_second; {domain} in it becomes platform or goal",
    )
    parser.add_argument("--json", help="a file to write the numbers to")
    options = parser.parse_args(arguments)
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(options.threads)
    rows = measure(options.steps, options.repeats, options.baseline)
    print(table(rows))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(
                [dict(zip(("what", "unit", "median", "lowest", "highest"), row, strict=True)) for row in rows], file
            )


if __name__ == "__main__":
    main()

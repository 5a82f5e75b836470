"""Speed: environments, learner, `learn` from end to end, many seeds, predictions, files and start-up."""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
from gymnasium.vector import AutoresetMode

from pamdp_agents.benchmark import products
from pamdp_agents.benchmark.cases import ALGORITHMS, DOMAINS, PUBLISHED, make_agent
from pamdp_agents.benchmark.learners import LearnerBenchmark
from pamdp_agents.benchmark.measuring import Derived, Entry, Measurement, median_seconds, one, ratio
from pamdp_agents.benchmark.processes import baseline_steps, n_threads, run_script
from pamdp_agents.benchmark.trainings import SeedsBenchmark, TrainingBenchmark
from pamdp_agents.presets.tuned import tuned_settings

FUSED = (1, 8, 64)  # updates in one call

TRAININGS = ((1, 1, 1), (1, 8, 8), (16, 1, 16))  # n_envs, train_freq, gradient_steps: one update for each step

N_SEEDS = 16


def measurements(steps: int, baseline: str | None) -> list[Entry]:
    """Returns all measurements of speed.

    Args:
        steps: Steps in each.
        baseline: Command of another learner, with `{domain}` for `platform` or `goal`; or None.
    """
    found: list[Entry] = []
    for env_id, domain in DOMAINS.items():
        found.append(one(f"{env_id}: environment", "steps/s", partial(environment_steps, env_id, steps)))
        for num_envs in (16, 256):
            together = partial(vector_environment_steps, env_id, num_envs, 4 * steps)
            found.append(one(f"{env_id}: {num_envs} environments together", "steps/s", together))
        if baseline is not None:
            run = partial(baseline_steps, baseline.format(domain=domain))
            found.append(one(_baseline(env_id), "steps/s", run))
        for algorithm in ALGORITHMS:
            found += _of_learner(algorithm, env_id, steps, baseline is not None)
            found += _of_training(algorithm, env_id, steps, baseline is not None)
            found += _of_new_process(algorithm, env_id, PUBLISHED[env_id])
    # The settings tuned for Goal have the published size.
    found += _of_seeds("MPDQN", "pamdp/Platform-v0", "tuned", N_SEEDS, steps // 4)
    found += _of_seeds("MPDQN", "pamdp/Platform-v0", "published", N_SEEDS, steps // 4)
    found += _of_seeds("MPDQN", "pamdp/Goal-v0", "tuned", N_SEEDS, steps // 4)
    return found


def _baseline(env_id: str) -> str:
    return f"{env_id}: baseline learner"


def _of_learner(algorithm: str, env_id: str, steps: int, baseline: bool) -> list[Entry]:
    name = f"{env_id}: {algorithm}"

    @functools.cache  # made when it is first needed: not all rows may be asked for
    def learner() -> LearnerBenchmark:
        return LearnerBenchmark(make_agent(algorithm, env_id, **PUBLISHED[env_id]))

    @functools.cache
    def update_products() -> Any:
        return products.update_products(learner().agent)

    alone = f"{name} matrix products of one update, alone"
    update = f"{name} update, {FUSED[-1]} in a call"
    found: list[Entry] = [
        one(alone, "µs", lambda: products.microseconds_alone(update_products())),
        Derived(
            ((f"{name} matrix products, rate", "GFLOP/s"),),
            (alone,),
            lambda microseconds: products.operations(update_products()) / microseconds / 1e3,
        ),
        one(update, "µs", lambda: learner().update_microseconds(FUSED[-1], max(steps // FUSED[-1], 5))),
        ratio(update, alone, "its matrix products alone"),
    ]
    for fused in FUSED:
        what = f"{name} learner, {fused} updates in a call"
        measure = partial(lambda fused: learner().steps_per_second(max(steps // fused, 1) * fused, fused), fused)
        found.append(one(what, "steps/s", measure))
        if baseline:
            found.append(ratio(what, _baseline(env_id), "baseline learner"))
    found.append(
        Derived(
            ((f"{what} / its matrix products alone", "× the time"),),
            (what, alone),
            lambda steps_per_second, microseconds: 1e6 / steps_per_second / microseconds,
        )
    )
    return [
        *found,
        one(f"{name} predict, 1 observation", "ms", lambda: learner().predict_milliseconds(1000)),
        one(f"{name} predict, batch of 4096", "observations/s", lambda: learner().predict_batch(4096, 20)),
        Measurement(((f"{name} save", "s"), (f"{name} load", "s")), partial(file_seconds, algorithm, env_id)),
    ]


def _of_training(algorithm: str, env_id: str, steps: int, baseline: bool) -> list[Entry]:
    found: list[Entry] = []
    for case in TRAININGS:
        training = functools.cache(partial(TrainingBenchmark, algorithm, env_id, *case))
        n_envs, train_freq, updates = case
        what = f"{env_id}: {algorithm} learn, n_envs={n_envs}, train_freq={train_freq}, {updates} updates"
        found.append(one(what, "steps/s", partial(lambda training: training().steps_per_second(steps), training)))
        if baseline:
            found.append(ratio(what, _baseline(env_id), "baseline learner"))
    return found


def _of_new_process(algorithm: str, env_id: str, settings: dict[str, Any]) -> list[Entry]:
    name = f"{env_id}: {algorithm} in a new process"
    names = (
        (f"{name}: import TensorFlow", "s"),
        (f"{name}: import this library besides", "s"),
        (f"{name}: from there to the end of the first update", "s"),
        (f"{name}: peak memory", "MB"),
    )
    return [Measurement(names, partial(start_up, algorithm, env_id, 1, settings))]


def _of_seeds(algorithm: str, env_id: str, which: str, n: int, steps: int) -> list[Entry]:
    name = f"{env_id}: {algorithm}, {which} settings"
    settings = tuned_settings(algorithm, env_id) if which == "tuned" else PUBLISHED[env_id]
    seeds = functools.cache(partial(SeedsBenchmark, algorithm, env_id, n, settings))
    alone, after, at_once = f"{name}, one agent", f"{name}, {n} one after another", f"{name}, {n} at once"
    return [
        one(alone, "steps/s", lambda: seeds().alone(steps)),
        one(after, "steps/s", lambda: seeds().one_after_another(steps)),
        one(at_once, "steps/s", lambda: seeds().at_once(steps)),
        ratio(at_once, alone, "one agent"),
        ratio(at_once, after, "one after another"),
        one(
            f"{name}, {n} at once in a new process: peak memory",
            "MB",
            lambda: start_up(algorithm, env_id, n, settings)[-1],
        ),
    ]


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


def vector_environment_steps(env_id: str, num_envs: int, steps: int) -> float:
    """Returns environment steps per second of `num_envs` environments together, with random actions."""
    envs = gym.make_vec(env_id, num_envs=num_envs, autoreset_mode=AutoresetMode.SAME_STEP)
    envs.action_space.seed(0)
    actions = [envs.action_space.sample() for _ in range(max(steps // num_envs, 5))]
    envs.reset(seed=0)
    start = time.perf_counter()
    for action in actions:
        envs.step(action)
    return len(actions) * num_envs / (time.perf_counter() - start)


def file_seconds(algorithm: str, env_id: str) -> tuple[float, float]:
    """Returns the seconds that saving and loading an agent take."""
    agent = make_agent(algorithm, env_id, **PUBLISHED[env_id])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "agent.zip")
        saving = median_seconds(lambda: agent.save(path), 5)
        return saving, median_seconds(lambda: type(agent).load(path), 5)


def start_up(algorithm: str, env_id: str, agents: int, settings: dict[str, Any]) -> Sequence[float]:
    """Starts a new process in which agents make one update each.

    Returns:
        Seconds to import TensorFlow, to import this library besides, from there to the end of the first updates
        (compilation included), and the process's peak memory in MB, with replay buffers full.
    """
    task = {"algorithm": algorithm, "env": env_id, "env_kwargs": {}, "agents": agents, "threads": n_threads()}
    found = run_script("start_up.py", task | {"settings": settings | {"learning_starts": 0}})
    return [found[name] for name in ("import_tensorflow", "import_library", "first_update", "megabytes")]

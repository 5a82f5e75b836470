"""A script: a new process imports the library, makes agents, and makes the first update; how long, in how much memory.

`processes.run_script("start_up.py", task)` runs it. The task: `algorithm`, `env` (an id), `env_kwargs`,
`settings` of the constructor, `agents` (their number; several are trained together) and `threads`.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any


def peak_megabytes() -> float:
    """Returns the most memory that this process has held, in MB."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage tells the parent's peak there, if that is higher
        [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # bytes, as macOS has them


def start_up(task: dict[str, Any]) -> dict[str, float]:
    """Does the task and returns seconds and megabytes by name."""
    start = time.perf_counter()
    import tensorflow as tf

    tensorflow_imported = time.perf_counter()
    import gymnasium as gym

    import pamdp_agents

    agent_class = getattr(pamdp_agents, task["algorithm"])
    imported = time.perf_counter()
    tf.config.threading.set_intra_op_parallelism_threads(task["threads"])
    tf.config.threading.set_inter_op_parallelism_threads(task["threads"])
    before = peak_megabytes()
    started = time.perf_counter()
    agents = [
        agent_class("MlpPolicy", gym.make(task["env"], **task["env_kwargs"]), seed=seed, **task["settings"])
        for seed in range(task["agents"])
    ]
    if len(agents) == 1:
        agents[0].learn(1)
    else:
        from pamdp_agents.training.together import train_together

        train_together(agents, 1)
    updated = time.perf_counter()
    for agent in agents:
        agent.replay_buffer.rows.fill(0.0)  # as full as it gets in training
    return {
        "import_tensorflow": tensorflow_imported - start,
        "import_library": imported - tensorflow_imported,
        "first_update": updated - started,
        "megabytes_before": before,
        "megabytes": peak_megabytes(),
    }


if __name__ == "__main__":
    print(json.dumps(start_up(json.loads(sys.argv[1]))))

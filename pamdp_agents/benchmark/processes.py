"""Measurements that need a process of their own: start-up, memory, NumPy with a set number of threads, baselines."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import tensorflow as tf

# The libraries that NumPy may multiply matrices with read these when they are loaded, and not later.
THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def run_script(script: str, task: Any) -> Any:
    """Runs a script of this package in a new process, with as many threads as this one's TensorFlow has.

    Args:
        script: The script's file name. It is run by its path, so that nothing is imported before its first line.
        task: What it is given, as JSON can hold it.

    Returns:
        What it prints as JSON.

    Raises:
        RuntimeError: It fails.
    """
    threads = n_threads()
    ran = subprocess.run(
        [sys.executable, "-P", str(Path(__file__).with_name(script)), json.dumps(task)],
        env=os.environ
        | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        | (dict.fromkeys(THREAD_VARIABLES, str(threads)) if threads else {}),
        capture_output=True,
        text=True,
    )
    if ran.returncode:
        raise RuntimeError(f"{script} failed for {task}: {ran.stderr[-2000:]}")
    return json.loads(ran.stdout.splitlines()[-1])


def n_threads() -> int:
    """Returns the number of threads that TensorFlow has been given; 0: its own choice."""
    return tf.config.threading.get_intra_op_parallelism_threads()


def baseline_steps(command: str) -> float:
    """Runs another learner's command and returns its learner steps per second.

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

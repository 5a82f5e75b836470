"""A script: how long products of matrices take in NumPy, with nothing around them.

`processes.run_script("product_times.py", task)` runs it. The task: a list of [batch, rows, inner, columns].

NumPy, and not TensorFlow, so that the limit is the machine's: measured in TensorFlow, what its own products waste would
be part of the limit. In a process of its own, since the number of NumPy's threads is fixed when it is imported.
"""

from __future__ import annotations

import functools
import json
import statistics
import sys
import time

import numpy as np

SAMPLES = 7

SAMPLE_SECONDS = 2e-3


def product_seconds(batch: int, rows: int, inner: int, columns: int) -> float:
    """Returns the seconds of `batch` products [rows, inner] @ [inner, columns], without those of calling NumPy.

    Outer products (inner = 1) are timed as the sum of two: for that NumPy calls BLAS, for one it takes a slower way.
    """
    return max(_call_seconds(batch, rows, max(inner, 2), columns) - _call_seconds(1, 1, 2, 1), 0.0)


@functools.cache
def _call_seconds(batch: int, rows: int, inner: int, columns: int) -> float:
    rng = np.random.default_rng(0)
    shapes = (batch, rows, inner), (batch, inner, columns)
    left, right = (rng.uniform(-1, 1, shape).astype(np.float32) for shape in shapes)
    out = np.empty((batch, rows, columns), np.float32)

    def sample(calls: int) -> float:
        start = time.perf_counter()
        for _ in range(calls):
            np.matmul(left, right, out=out)
        return (time.perf_counter() - start) / calls

    sample(1)
    calls = max(int(SAMPLE_SECONDS / sample(3)), 1)
    return statistics.median(sample(calls) for _ in range(SAMPLES))


if __name__ == "__main__":
    print(json.dumps([product_seconds(*product) for product in json.loads(sys.argv[1])]))

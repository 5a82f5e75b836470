"""The products of matrices in one update: their shapes, operations, and how long they take alone.

Counted is what TensorFlow's graph of the update has. What is a product but is written as sums, where there are few
columns or parameters (`pamdp_agents.networks.layers.NARROW`), counts as the product: the update needs that arithmetic,
however it is written.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import NamedTuple
from unittest import mock

import tensorflow as tf

from pamdp_agents.base.off_policy import OffPolicyAgent
from pamdp_agents.benchmark.processes import run_script
from pamdp_agents.networks import layers

PRODUCTS = {"MatMul": "transpose_a", "BatchMatMulV2": "adj_x"}
"""TensorFlow's operations that multiply matrices, and what says that the left one is transposed."""


class Product(NamedTuple):
    """`batch` products [rows, inner] @ [inner, columns]."""

    batch: int
    rows: int
    inner: int
    columns: int

    @property
    def operations(self) -> int:
        """Floating-point operations: a multiplication and an addition for each number met."""
        return 2 * self.batch * self.rows * self.inner * self.columns


def update_products(agent: OffPolicyAgent) -> Counter[Product]:
    """Returns the products of one update, and how often each occurs."""
    with mock.patch.object(layers, "NARROW", 0):
        traced = agent.learner.trace(agent.batch_size)
    outputs = [output.op.name for output in traced.graph.outputs]
    needed = tf.compat.v1.graph_util.extract_sub_graph(traced.graph.as_graph_def(), outputs)
    found: Counter[Product] = Counter()
    for node in needed.node:
        if node.op in PRODUCTS:
            operation = traced.graph.get_operation_by_name(node.name)
            transposed = operation.get_attr(PRODUCTS[node.op])
            *batch, rows, columns = operation.outputs[0].shape
            found[Product(math.prod(batch), rows, operation.inputs[0].shape[-2 if transposed else -1], columns)] += 1
    return found


def operations(products: Counter[Product]) -> int:
    """Returns the floating-point operations of all products."""
    return sum(times * each.operations for each, times in products.items())


def microseconds_alone(products: Counter[Product]) -> float:
    """Returns how long all products take in NumPy with nothing around them, measured in a process of its own."""
    seconds = run_script("product_times.py", list(products))
    return 1e6 * sum(times * each for times, each in zip(products.values(), seconds, strict=True))

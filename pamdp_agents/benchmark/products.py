"""The products of matrices in one update: their shapes, operations, and how long they take alone.

Counted is what the update computes, as `pamdp_agents.networks` and `pamdp_agents.agents.pdqn` have it: the
multi-pass Q-network's first layer computes the observation's part once, and each pass only its own parameters' rows;
the Q-loss takes a single pass, that of the taken action. What is a product but is written as sums, where there are few
columns or parameters (`NARROW`), counts as the product: the update needs that arithmetic,
however it is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from pamdp_agents.agents.pdqn import PDQN
from pamdp_agents.benchmark.processes import run_script
from pamdp_agents.networks.parameter_actor import ParameterActor
from pamdp_agents.networks.q_networks import JointQ, MultiPassQ


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

    def for_weights(self) -> Product:
        """The product that gives the gradient of the right matrix: leftᵀ @ gradient."""
        return Product(self.batch, self.inner, self.rows, self.columns)

    def for_inputs(self) -> Product:
        """The product that gives the gradient of the left matrix: gradient @ rightᵀ."""
        return Product(self.batch, self.rows, self.columns, self.inner)


def update_products(agent: PDQN) -> Counter[Product]:
    """Returns the products of one update, and how often each occurs.

    Args:
        agent: An agent with parameters and without a features extractor.
    """
    n = agent.batch_size
    actor_model, q_model = (agent.learner.networks[name].model for name in ("actor", "q"))
    actor, q, taken = actor_products(actor_model, n), q_products(q_model, n), single_pass_products(q_model, n)
    first = 2 if isinstance(q_model, MultiPassQ) else 1  # products in Q's first layer, the last of them with x
    passthrough = (
        [] if agent.passthrough is None else [Product(1, n, agent.observation_transform.size, actor_model.n_parameters)]
    )
    act = actor + passthrough

    found = (act + q) * (2 if agent.double_q else 1)  # the target, of the next observations
    found += taken + [each.for_weights() for each in taken] + [each.for_inputs() for each in taken[1:]]  # Q's gradient
    found += act + q + [each.for_inputs() for each in q[first - 1 :]]  # the gradient that reaches x
    found += [each.for_weights() for each in actor] + [each.for_inputs() for each in actor[1:]]  # the actor's gradient
    return Counter(found)


def actor_products(actor: ParameterActor, n: int) -> list[Product]:
    """Returns the products of the actor's Dense layers for n observations."""
    units = [layer.units for layer in (*actor.hidden, actor.out)]
    return _dense(n, [actor.hidden[0].kernel.shape[0], *units])


def q_products(q: JointQ, n: int) -> list[Product]:
    """Returns the products of the Q-network for n observations and their parameters: the values of all actions."""
    if not isinstance(q, MultiPassQ):
        return single_pass_products(q, n)
    n_actions, units = len(q.parameter_sizes), [layer.units for layer in q.hidden]
    return [
        Product(1, n, q.n_features, units[0]),
        Product(n_actions, n, max(q.parameter_sizes), units[0]),
        *_dense(n_actions * n, units),
        Product(n_actions, n, units[-1], 1),
    ]


def single_pass_products(q: JointQ, n: int) -> list[Product]:
    """Returns the products of one pass: all values of P-DQN's Q-network, one action's of the multi-pass."""
    units = [layer.units for layer in (*q.hidden, q.out)]
    return _dense(n, [q.n_features + sum(q.parameter_sizes), *units])


def _dense(n: int, widths: Sequence[int]) -> list[Product]:
    return [Product(1, n, inner, columns) for inner, columns in pairwise(widths)]


def operations(products: Counter[Product]) -> int:
    """Returns the floating-point operations of all products."""
    return sum(times * each.operations for each, times in products.items())


def microseconds_alone(products: Counter[Product]) -> float:
    """Returns how long all products take in NumPy with nothing around them, measured in a process of its own."""
    seconds = run_script("product_times.py", list(products))
    return 1e6 * sum(times * each for times, each in zip(products.values(), seconds, strict=True))

"""The learner: what an algorithm may declare, with updates that count and add."""

import numpy as np
import pytest
import tensorflow as tf

from pamdp_agents.learning.learner import Learner
from pamdp_agents.learning.optimizers import adam
from pamdp_agents.learning.parameters import get_parameters, set_parameters
from pamdp_agents.learning.train_state import Result, TrainState, UpdateRule


class Vector:
    """A network that is just its weights."""

    def __init__(self, *weights, has_target=True):
        self.weights, self.size, self.has_target, self.names = np.array(weights, "f"), len(weights), has_target, ["w"]

    def initial(self):
        return self.weights

    def split(self, flat):
        return [flat]

    def join(self, weights):
        return np.array(weights[0], "f")


def descend(state, batch, call):
    """Adam on network "a" down the batch's mean; the sum of the batch is added to the number "seen"."""
    a = adam(state.networks["a"], tf.reduce_mean(batch, 0), call.inputs["rate"])
    seen = state.numbers["seen"] + tf.reduce_sum(batch)
    return Result(TrainState(state.networks | {"a": a}, {"seen": seen}), {"first": batch[:, 0]}, batch[:, 1])


def draw(state, batch, call):
    """Network "b" becomes random numbers, its target stays."""
    drawn = tf.random.stateless_uniform([1], call.seed)
    b = state.networks["b"]._replace(weights=drawn, updates=state.networks["b"].updates + 1.0)
    return Result(state._replace(networks=state.networks | {"b": b}), {"drawn": drawn + 0 * batch[:, 0]})


def make_learner():
    rules = {
        "update": UpdateRule(descend, lambda rows: rows, 2, ("first",), ("rate",), gives_priorities=True),
        "draw": UpdateRule(draw, lambda rows: rows, 1, ("drawn",), ()),
    }
    networks = {"a": Vector(0.0, 0.0, has_target=False), "b": Vector(5.0)}
    return Learner(networks, rules, {"seen": np.zeros(())})


ROWS = np.array([[[1, 2], [3, 4], [5, 6]], [[-1, -2], [-3, -4], [-5, -6]]], "f")


def test_a_network_without_a_target_keeps_none():
    state = make_learner().unload()
    assert state.networks["a"].target.shape == (0,) and state.networks["b"].target.shape == (1,)
    assert "a_target" not in get_parameters(make_learner()) and "b_target" in get_parameters(make_learner())


def test_each_network_counts_its_own_updates_and_numbers_are_part_of_the_state():
    learner = make_learner()
    learner.train(ROWS, {"rate": 0.1})
    learner.train(np.zeros((1, 3, 1), "f"), {}, rule="draw")
    state = learner.unload()
    assert (state.networks["a"].updates, state.networks["b"].updates) == (2, 1)
    assert state.numbers["seen"] == 0
    learner.train(ROWS[:1], {"rate": 0.1})
    assert learner.unload().numbers["seen"] == 21


def test_priorities_come_out_in_the_order_of_the_rows_whatever_the_number_of_updates():
    for updates in (1, 2):
        metrics, priorities = make_learner().train(ROWS[:updates], {"rate": 0.1})
        np.testing.assert_array_equal(priorities, ROWS[:updates, :, 1])
        np.testing.assert_allclose(metrics, [np.mean(ROWS[:updates, :, 0])], atol=1e-6)
    metrics, priorities = make_learner().train(ROWS, {"rate": 0.1}, most=4)
    np.testing.assert_array_equal(priorities, [*ROWS[:, :, 1], [0] * 3, [0] * 3])
    assert make_learner().train(np.zeros((1, 3, 1), "f"), {}, rule="draw")[1] is None


def test_every_update_of_a_call_has_a_seed_of_its_own_and_the_same_seeds_draw_the_same():
    def drawn(seed, updates=1):
        return float(make_learner().train(np.zeros((updates, 2, 1), "f"), {}, seed, rule="draw")[0][0])

    alone = [drawn((3, i)) for i in (7, 8, 9)]
    assert len(set(alone)) == 3
    assert drawn((3, 7)) == alone[0] != drawn((4, 7))
    assert drawn((3, 7), updates=3) == pytest.approx(np.mean(alone), rel=1e-6)


def test_parameters_come_back_with_each_networks_own_count_and_the_numbers():
    learner, other = make_learner(), make_learner()
    learner.train(ROWS, {"rate": 0.1})
    learner.train(np.zeros((1, 3, 1), "f"), {}, rule="draw")
    saved = get_parameters(learner)
    assert (saved["a.optimizer"]["step"], saved["b.optimizer"]["step"]) == (2, 1)
    set_parameters(other, saved)
    np.testing.assert_array_equal(other.state, learner.state)


def test_where_tensorflow_lacks_what_it_does_not_document_the_public_call_does_the_same(monkeypatch):
    expected = make_learner()
    expected.train(ROWS, {"rate": 0.1})
    function = type(tf.function(lambda x: x).get_concrete_function(tf.TensorSpec(())))
    monkeypatch.delattr(function, "inference_fn")
    learner = make_learner()
    for _ in range(2):
        learner.train(ROWS, {"rate": 0.1})
    assert learner.unload().networks["a"].updates == 4
    expected.train(ROWS, {"rate": 0.1})
    np.testing.assert_array_equal(learner.state, expected.state)

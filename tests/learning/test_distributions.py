"""The distribution of hybrid actions, against numbers worked out by hand and against its own samples."""

import math

import numpy as np
import pytest
import tensorflow as tf

from pamdp_agents.learning.distributions import Head, HybridDistribution

NONE = slice(0, 0)
PARAMETERIZED = HybridDistribution(
    [2], 3, [Head("action", slice(0, 1), NONE), Head("parameters", NONE, slice(0, 3))], [[1, 0, 0], [0, 1, 1]]
)
INDEPENDENT = HybridDistribution(
    [2, 3, 3], 2, [Head("a", slice(0, 1), NONE), Head("b", slice(1, 3), NONE), Head("x", NONE, slice(0, 2))]
)
LOG3, TAU = math.log(3), 2 * math.pi
# Probabilities 1/4 and 3/4; means 0, 1, 2; standard deviations 1, 2, 1; value 9.
ROW = np.array([[0, LOG3, 0, 1, 2, 0, math.log(2), 0, 9]], "f")
# Probabilities (1/4, 3/4), (1/5, 1/5, 3/5), (1/3, 1/3, 1/3); means 1, −1; standard deviations 1, 2.
MANY = np.array([[0, LOG3, 0, 0, LOG3, 5, 5, 5, 1, -1, 0, math.log(2), 7]], "f")


def log_normal(x, mean, std):
    return -0.5 * ((x - mean) / std) ** 2 - math.log(std) - 0.5 * math.log(TAU)


def log_probs(distribution, row, k, x):
    return distribution.log_probs(tf.constant(row), tf.constant([k]), tf.constant([x], tf.float32)).numpy()[0]


def entropy_of(*probabilities):
    return -sum(p * math.log(p) for p in probabilities)


def test_of_a_parameterised_action_the_taken_ones_parameters_count():
    expected = [math.log(3 / 4), log_normal(2, 1, 2) + log_normal(2.5, 2, 1)]
    np.testing.assert_allclose(log_probs(PARAMETERIZED, ROW, [1], [50, 2, 2.5]), expected, rtol=1e-5)
    expected = [math.log(1 / 4), log_normal(0.5, 0, 1)]
    np.testing.assert_allclose(log_probs(PARAMETERIZED, ROW, [0], [0.5, -9, 9]), expected, rtol=1e-5)


def test_of_independent_parts_all_count():
    expected = [math.log(1 / 4), math.log(3 / 5) + math.log(1 / 3), log_normal(0, 1, 1) + log_normal(1, -1, 2)]
    np.testing.assert_allclose(log_probs(INDEPENDENT, MANY, [0, 2, 1], [0, 1]), expected, rtol=1e-5)


def test_entropies_by_hand():
    normal = 0.5 + 0.5 * math.log(TAU)
    # Of the parameters: 1/4 of action 0's, and 3/4 of action 1's, whose standard deviations are 2 and 1.
    expected = [entropy_of(1 / 4, 3 / 4), normal / 4 + 3 / 4 * (2 * normal + math.log(2))]
    np.testing.assert_allclose(PARAMETERIZED.entropies(tf.constant(ROW))[0], expected, rtol=1e-5)
    expected = [
        entropy_of(1 / 4, 3 / 4),
        entropy_of(1 / 5, 1 / 5, 3 / 5) + math.log(3),
        2 * normal + math.log(2),
    ]
    np.testing.assert_allclose(INDEPENDENT.entropies(tf.constant(MANY))[0], expected, rtol=1e-5)


@pytest.mark.parametrize("distribution, row", [(PARAMETERIZED, ROW), (INDEPENDENT, MANY)])
def test_the_mean_log_probability_of_samples_is_minus_the_entropy(distribution, row):
    rows = np.repeat(row, 40_000, 0)
    k, x = distribution.sample(rows, np.random.default_rng(0))
    drawn = distribution.log_probs(tf.constant(rows), tf.constant(k, tf.int32), tf.constant(x, tf.float32))
    entropies = distribution.entropies(tf.constant(row))[0]
    np.testing.assert_allclose(-drawn.numpy().mean(0), entropies, atol=0.02)


def test_samples_come_as_often_as_they_are_probable():
    k, x = INDEPENDENT.sample(np.repeat(MANY, 40_000, 0), np.random.default_rng(0))
    assert k.shape == (40_000, 3) and x.shape == (40_000, 2)
    for column, probabilities in zip(k.T, [(1 / 4, 3 / 4), (1 / 5, 1 / 5, 3 / 5), (1 / 3,) * 3], strict=True):
        expected = np.multiply(probabilities, len(column))
        seen = np.bincount(column, minlength=len(expected))
        assert ((seen - expected) ** 2 / expected).sum() < 13.8  # chi-square, two degrees of freedom: one in a thousand
    np.testing.assert_allclose(x.mean(0), [1, -1], atol=0.05)
    np.testing.assert_allclose(x.std(0), [1, 2], atol=0.05)


def test_the_best_is_the_most_probable_and_the_mean_in_numpy_and_in_tensorflow():
    for given in (MANY, tf.constant(MANY)):
        k, x = INDEPENDENT.best(given)
        np.testing.assert_array_equal(k, [[1, 2, 0]])
        np.testing.assert_array_equal(x, [[1, -1]])
    assert INDEPENDENT.value(MANY) == 7 and PARAMETERIZED.value(ROW) == 9


def test_spaces_of_one_kind_have_the_other_empty():
    numbers = HybridDistribution([], 1, [Head("x", NONE, slice(0, 1))])
    row = np.array([[2, 0, 0]], "f")
    k, x = numbers.sample(row, np.random.default_rng(0))
    assert k.shape == (1, 0) and x.shape == (1, 1)
    assert numbers.best(row)[0].shape == numbers.best(tf.constant(row))[0].shape == (1, 0)
    choices = HybridDistribution([3], 0, [Head("k", slice(0, 1), NONE)])
    k, x = choices.sample(np.zeros((4, 4), "f"), np.random.default_rng(0))
    assert k.shape == (4, 1) and x.shape == (4, 0)
    np.testing.assert_allclose(choices.log_probs(tf.zeros((1, 4)), tf.constant([[1]]), tf.zeros((1, 0))), [[-LOG3]])

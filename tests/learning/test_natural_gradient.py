"""The episodic natural gradient, by hand and against the gradient that it must be."""

import numpy as np
import pytest

from pamdp_agents.learning.divergence import DivergedError
from pamdp_agents.learning.natural_gradient import episodic_natural_gradient

ONES = np.ones((3, 1))


def test_two_parameters_by_hand():
    # Returns 3 + 2·ψ₁ − ψ₂, exactly: three equations of three unknowns.
    scores = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    np.testing.assert_allclose(episodic_natural_gradient(scores, ONES, np.array([5.0, 2.0, 4.0])), [2.0, -1.0])


def test_two_parameters_by_the_normal_equations():
    scores = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [-1.0, 0.0]])
    returns = np.array([1.0, 2.0, 0.0, 3.0])
    # For (a, b, c) of aψ₁ + bψ₂ + c: 3a + b + c = −2, a + 2b + 2c = 2 and a + 2b + 4c = 6. So c = 2, a + 2b = −2 and
    # 3a + b = −4.
    np.testing.assert_allclose(episodic_natural_gradient(scores, np.ones((4, 1)), returns), [-6 / 5, -2 / 5])


def test_it_is_the_natural_gradient_of_a_gaussian():
    # x ~ N(μ, σ²) and R = −(x − 1)²: the gradient is −2(μ − 1), Fisher's information is 1/σ².
    rng, mean, std = np.random.default_rng(0), 0.25, 0.1
    x = rng.normal(mean, std, 200_000)
    scores = ((x - mean) / std**2)[:, None]
    found = episodic_natural_gradient(scores, np.ones((len(x), 1)), -((x - 1) ** 2))
    assert found[0] == pytest.approx(-2 * (mean - 1) * std**2, rel=0.02)


def test_a_direction_that_no_episode_shows_is_none():
    scores = np.array([[1.0, 1.0, 0.0], [2.0, 2.0, 0.0], [0.0, 0.0, 0.0]])
    found = episodic_natural_gradient(scores, ONES, np.array([1.0, 2.0, 0.0]))
    np.testing.assert_allclose(found, [0.5, 0.5, 0.0], atol=1e-12)  # the shortest of those that fit
    scores[:, 1] *= 1 + 1e-9  # a difference of float32's rounding is no direction either
    np.testing.assert_allclose(episodic_natural_gradient(scores, ONES, np.array([1.0, 2.1, 0.0])), found, atol=0.1)


def test_returns_that_are_all_the_same_have_no_gradient():
    scores = np.random.default_rng(0).normal(size=(20, 3)) * 100
    assert episodic_natural_gradient(scores, np.ones((20, 1)), np.full(20, 0.2)).tolist() == [0.0] * 3


def test_numbers_that_are_not_finite_are_refused():
    with pytest.raises(DivergedError, match="returns"):
        episodic_natural_gradient(np.ones((3, 2)), ONES, np.array([1.0, np.inf, 0.0]))
    assert episodic_natural_gradient(np.zeros((3, 0)), ONES, np.ones(3)).shape == (0,)

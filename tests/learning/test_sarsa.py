"""Sarsa(λ) against steps worked out by hand."""

import numpy as np
import pytest

from pamdp_agents.learning.divergence import DivergedError
from pamdp_agents.learning.sarsa import SarsaLambda

A, B = np.array([1, 2], "f"), np.array([1, -1], "f")


def step(sarsa, features, k, reward, following, step_size=0.1, bounded=False):
    return sarsa.update(features, k, reward, 0.5, following, step_size, 0.8, bounded)


def test_two_steps_are_those_worked_out_by_hand():
    sarsa = SarsaLambda(2, np.array([1, 0.5], "f"))
    # δ = 1 − 0; traces of action 0: φ·(1, ½) = (1, 1), whose step is 0.1·1·(1, 1); then they fade to 0.5·0.8 of that.
    assert step(sarsa, A, 0, 1.0, (B, 1)) == 1.0
    np.testing.assert_allclose(sarsa.weights, [[0.1, 0.1], [0, 0]])
    np.testing.assert_allclose(sarsa.traces, [[0.4, 0.4], [0, 0]])
    # Q(B, 1) = 0, and the episode ends: δ = 2 − 0; traces (0.4, 0.4) and (1, −½).
    assert step(sarsa, B, 1, 2.0, None) == 2.0
    np.testing.assert_allclose(sarsa.weights, [[0.18, 0.18], [0.2, -0.1]], rtol=1e-6)
    # Q(A, 0) = 0.54 and Q(B, 1) = 0.3: δ = 0 + 0.5·0.3 − 0.54.
    sarsa.begin_episode()
    assert not sarsa.traces.any()
    assert step(sarsa, A, 0, 0.0, (B, 1)) == pytest.approx(-0.39)
    np.testing.assert_allclose(sarsa.values(B), [0 - 0.0, 0.3], atol=1e-6)
    np.testing.assert_allclose(sarsa.values(np.stack([A, B])), [[0.423, 0.0], [0.0, 0.3]], atol=1e-6)


def test_traces_of_an_action_taken_again_add_up():
    sarsa = SarsaLambda(1, np.ones(2, "f"))
    for _ in range(3):
        step(sarsa, A, 0, 0.0, (A, 0))
    np.testing.assert_allclose(sarsa.traces[0], 0.4 * A * (1 + 0.4 + 0.16), rtol=1e-6)


def test_a_bounded_step_removes_the_error_and_no_more():
    sarsa = SarsaLambda(2, np.ones(2, "f"))
    # φ·φ = 5, so that a step of 1/5 makes Q(A, 0) what it shall be.
    step(sarsa, A, 0, 3.0, None, step_size=1.0, bounded=True)
    assert sarsa.largest_step == pytest.approx(0.2)
    assert sarsa.values(A)[0] == pytest.approx(3.0)
    # φ(B)·φ(B) = 2: the bound 1/2 is larger, and bounds do not grow. Where Q of what follows counts, it is
    # |γ·e·φ′ − e·φ|: of A twice, 5 − 0.5·5 = 2.5.
    sarsa.begin_episode()
    step(sarsa, B, 0, 0.0, None, step_size=1.0, bounded=True)
    assert sarsa.largest_step == pytest.approx(0.2)
    other = SarsaLambda(1, np.ones(2, "f"))
    step(other, A, 0, 3.0, (A, 0), step_size=1.0, bounded=True)
    assert other.largest_step == pytest.approx(1 / 2.5)
    step(other, A, 0, 0.0, (A, 0), step_size=0.01, bounded=True)  # a smaller one is used as it is
    assert other.values(A)[0] == pytest.approx(6.0 + 0.01 * -3.0 * 7.0, rel=1e-5)


def test_weights_that_are_not_finite_change_nothing():
    sarsa = SarsaLambda(2, np.ones(2, "f"))
    step(sarsa, A, 1, 1.0, (B, 0))
    before = sarsa.weights.copy(), sarsa.traces.copy()
    for reward in (1e25, np.nan):
        with pytest.raises(DivergedError, match="TD error"), np.errstate(all="ignore"):
            step(sarsa, A, 1, reward, (B, 0), bounded=True)
    np.testing.assert_array_equal(sarsa.weights, before[0])
    np.testing.assert_array_equal(sarsa.traces, before[1])
    assert sarsa.largest_step == np.inf

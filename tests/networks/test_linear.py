"""The Fourier basis, linear-Gaussian policies and what they see of an observation, worked out by hand."""

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf

from pamdp_agents.networks.fourier_basis import FourierBasis, count_terms
from pamdp_agents.networks.linear_features import make_basis, read_linear_kwargs, seen_by_parameters
from pamdp_agents.networks.linear_gaussian import LinearGaussian
from pamdp_agents.spaces import ObservationTransform

BOX = gym.spaces.Box(np.array([0, -1, 10], "f"), np.array([4, 1, 10], "f"))


def basis_of(d, order, interactions):
    return FourierBasis(np.ones(d), np.zeros(d), np.arange(d), order, interactions)


def test_features_by_hand():
    basis = basis_of(2, 1, None)
    assert basis.frequencies.tolist() == [[0, 0], [1, 0], [0, 1], [1, 1]]
    np.testing.assert_allclose(basis.step_scales, [1, 1, 1, 1 / np.sqrt(2)])
    # cos 0, cos π/4, cos π/2, cos 3π/4
    np.testing.assert_allclose(basis(np.array([0.25, 0.5], "f")), [1, np.sqrt(0.5), 0, -np.sqrt(0.5)], atol=1e-6)


@pytest.mark.parametrize(
    "d, order, interactions, size", [(4, 6, None, 7**4), (8, 6, 2, 1 + 8 * 6 + 28 * 36), (9, 3, 1, 28), (0, 3, 2, 1)]
)
def test_there_is_one_feature_for_each_vector_of_numbers(d, order, interactions, size):
    basis = basis_of(d, order, interactions)
    assert basis.size == size == len(np.unique(basis.frequencies, axis=0))
    assert (basis.frequencies != 0).sum(1).max(initial=0) == min(d, interactions or d)
    assert basis.frequencies.max(initial=0) == (order if d else 0)
    assert not basis.frequencies[0].any()
    assert basis(np.zeros(d, "f")).tolist() == [1.0] * size


@pytest.mark.parametrize("scale", [True, False])
def test_observations_are_scaled_from_their_bounds_to_0_and_1(scale):
    transform = ObservationTransform(BOX, scale)
    basis = make_basis({"fourier_order": 1, "fourier_interactions": 1}, transform, 2)
    for given, u in (([0, -1, 10], [0, 0]), ([4, 1, 10], [1, 1]), ([1, 0, 10], [0.25, 0.5])):
        features = basis(transform(np.array(given, "f")))
        np.testing.assert_allclose(features[:3], [1, *np.cos(np.pi * np.array(u))], atol=1e-6)


def test_one_observation_many_and_tensors_give_the_same():
    transform = ObservationTransform(BOX)
    basis = make_basis({"fourier_order": 5, "fourier_observations": [2, 0]}, transform, 2)
    rows = transform.batch(np.random.default_rng(0).uniform(BOX.low, BOX.high, (7, 3)))
    features = basis(rows)
    np.testing.assert_allclose([basis(row) for row in rows], features, atol=1e-5)
    np.testing.assert_allclose(basis.in_tensorflow(tf.constant(rows)), features, atol=1e-5)
    changed = rows.copy()
    changed[:, 1] = 0.3  # which it does not see
    np.testing.assert_array_equal(basis(changed), features)


def test_what_a_basis_cannot_see_is_refused():
    unbounded = ObservationTransform(gym.spaces.Box(np.array([0, -np.inf, 0, -1e10], "f"), np.full(4, 1e10, "f")))
    with pytest.raises(ValueError, match=r"needs bounds .* numbers \[0, 1, 2, 3\] .*\"fourier_observations\": \[\]"):
        make_basis({}, unbounded, 2)
    with pytest.raises(ValueError, match=r"fourier_observations must be among 0\.\.2, .* got \[3\]"):
        make_basis({"fourier_observations": [3]}, ObservationTransform(BOX), 2)
    wide = ObservationTransform(gym.spaces.Box(0, 1, (200,)))
    for n_actions, most in ((2, "83,886"), (1000, "16,777")):
        message = f"fourier_order=9 and fourier_interactions=None make too many features of 200 .* more than {most}:"
        with pytest.raises(ValueError, match=message):
            make_basis({"fourier_order": 9, "fourier_interactions": None}, wide, n_actions)
    assert count_terms(200, 9, 200) == 10**200


@pytest.mark.parametrize(
    "given, error",
    [
        ({"net_arch": [8]}, "net_arch"),
        ({"fourier_order": 0}, "fourier_order"),
        ({"fourier_interactions": 1.5}, "fourier_interactions"),
        ({"fourier_observations": [0, 0]}, "different"),
        ({"fourier_observations": 3}, "fourier_observations"),
        ({"baseline_observations": [-1]}, "baseline_observations"),
        ({"parameter_observations": [[0], 1]}, "parameter_observations"),
        ({"parameter_observations": ["x"]}, "parameter_observations"),
        (3, "policy_kwargs"),
    ],
    ids=str,
)
def test_wrong_arguments_are_named(given, error):
    with pytest.raises((TypeError, ValueError), match=error):
        read_linear_kwargs("policy_kwargs", given)


def test_parameters_see_what_they_are_given():
    mask = np.array([[1, 1, 0], [0, 1, 1]], bool)  # the second parameter is of both actions
    assert seen_by_parameters({}, 2, mask).all()
    given = read_linear_kwargs("policy_kwargs", {"parameter_observations": [[0], []]})
    assert seen_by_parameters(given, 2, mask).tolist() == [[True, False], [True, False], [False, False]]
    assert seen_by_parameters({"parameter_observations": [1]}, 2, mask).tolist() == [[False, True]] * 3
    for wrong in ([[0]], [2]):
        with pytest.raises(ValueError, match="parameter_observations must be"):
            seen_by_parameters({"parameter_observations": wrong}, 2, mask)


def make_policy(trained=None):
    kernel, bias = np.array([[1, 0], [2, 1]], "f"), np.array([0.5, -1], "f")
    trained = np.ones((2, 3), bool) if trained is None else trained
    return LinearGaussian(kernel, bias, np.array([0.5, 2.0]), trained)


def test_means_and_scores_by_hand():
    policy, s = make_policy(), np.array([1, -1], "f")
    np.testing.assert_allclose(policy.mean(s), [-0.5, -2.0])
    np.testing.assert_allclose(policy.in_tensorflow(tf.constant([s, 2 * s])), policy.mean(np.stack([s, 2 * s])))
    # (x − μ)/σ² = (0.25/0.25, 4/4) = (1, 1), times [1, s]; of an action without the second parameter, its score is 0.
    x = np.array([-0.25, 2.0])
    np.testing.assert_allclose(policy.score(s, policy.mean(s), x, np.array([1, 1], bool)), [[1, 1, -1], [1, 1, -1]])
    np.testing.assert_allclose(policy.score(s, policy.mean(s), x, np.array([1, 0], bool)), [[1, 1, -1], [0, 0, 0]])


def test_a_score_is_the_gradient_of_the_log_probability():
    policy, rng, small = make_policy(), np.random.default_rng(0), 1e-3
    s, x = rng.normal(size=2).astype("f"), rng.normal(size=2)

    def log_probability(step):
        kernel, bias = policy.moved(step)
        return -0.5 * (((x - (s @ kernel + bias)) / policy.std) ** 2).sum()

    score = policy.score(s, policy.mean(s), x, np.ones(2, bool)).ravel()
    for i, unit in enumerate(np.eye(6) * small):
        assert (log_probability(unit) - log_probability(-unit)) / (2 * small) == pytest.approx(score[i], abs=1e-2)


def test_only_trained_weights_move():
    trained = np.array([[True, False, True], [True, False, False]])
    policy = make_policy(trained)
    assert policy.n_trained == 3
    np.testing.assert_array_equal(policy.trained_part(np.arange(12).reshape(2, 2, 3)), [[0, 2, 3], [6, 8, 9]])
    kernel, bias = policy.moved(np.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(bias, [1.5, 2.0])
    np.testing.assert_allclose(kernel, [[1, 0], [4, 1]])


def test_samples_have_the_standard_deviation_given():
    policy = make_policy()
    drawn = policy.sample(np.zeros((20_000, 2), "f"), np.random.default_rng(0))
    np.testing.assert_allclose(drawn.std(0), policy.std, rtol=0.02)
    np.testing.assert_allclose(drawn.mean(0), 0, atol=0.05)

"""Every strategy against numbers worked by hand."""

import numpy as np
import pytest
import tensorflow as tf

from pamdp_agents import strategies
from pamdp_agents.strategies import Chain, Inverting, StrategyContext

# Three actions with 2, 1 and 1 parameters; bounds [0, 10] but for the last one's [-1, 1].
LOW, HIGH = [0.0, 0.0, 0.0, -1.0], [10.0, 10.0, 10.0, 1.0]
MASK = [[True, True, False, False], [False, False, True, False], [False, False, False, True]]


def changed(strategy, gradient, x, td_error=(0.0,), action=(0,)):
    context = StrategyContext(
        x=tf.constant(x, tf.float32),
        low=tf.constant(LOW),
        high=tf.constant(HIGH),
        td_error=tf.constant(td_error, tf.float32),
        action=tf.constant(action, tf.int32),
        mask=tf.constant(MASK),
    )
    return strategies.get(strategy)(tf.constant(gradient, tf.float32), context).numpy()


def test_none_and_squashing_leave_the_gradient_as_it_is():
    gradient = [[2.0, -3.0, 0.0, 1.0]]
    for name in ("none", "squashing"):
        np.testing.assert_array_equal(changed(name, gradient, [[12.0, -1.0, 5.0, 0.0]], td_error=[-5.0]), gradient)


def test_only_squashing_asks_for_an_actor_that_ends_in_tanh():
    squashing = [name for name in strategies.STRATEGIES if getattr(strategies.get(name), "squashes", False)]
    assert squashing == ["squashing"]
    assert strategies.get(["zeroing", "squashing"]).squashes


@pytest.mark.parametrize(
    "x, g, expected",
    [
        (2.5, 4.0, 3.0),  # up: (10 − 2.5)/10 of it
        (2.5, -4.0, -1.0),  # down: (2.5 − 0)/10 of it
        (10.0, 4.0, 0.0),  # at the upper bound, outward: nothing
        (10.0, -4.0, -4.0),  # inward: all of it
        (0.0, -4.0, 0.0),
        (0.0, 4.0, 4.0),
        (12.0, 4.0, -0.8),  # beyond: turned round
        (-5.0, -4.0, 2.0),
        (5.0, 0.0, 0.0),
    ],
)
def test_inverting_scales_by_the_distance_to_the_bound_it_points_at(x, g, expected):
    result = changed("inverting", [[g, 0.0, 0.0, 0.0]], [[x, 5.0, 5.0, 0.0]])
    np.testing.assert_allclose(result, [[expected, 0.0, 0.0, 0.0]], rtol=1e-6)


def test_inverting_uses_each_parameters_own_bounds():
    result = changed("inverting", [[1.0, 1.0, -1.0, 1.0]], [[5.0, 0.0, 2.0, 0.5]])
    np.testing.assert_allclose(result, [[0.5, 1.0, -0.2, 0.25]], rtol=1e-6)


@pytest.mark.parametrize(
    "x, g, expected",
    [
        (10.0, 4.0, 0.0),
        (10.0, -4.0, -4.0),
        (11.0, 4.0, 0.0),
        (0.0, -4.0, 0.0),
        (0.0, 4.0, 4.0),
        (-1.0, -4.0, 0.0),
        (-1.0, 4.0, 4.0),
        (5.0, 4.0, 4.0),
        (9.999, 4.0, 4.0),
    ],
)
def test_zeroing_drops_what_points_outward_at_or_past_a_bound(x, g, expected):
    result = changed("zeroing", [[g, 0.0, 0.0, 0.0]], [[x, 5.0, 5.0, 0.0]])
    np.testing.assert_allclose(result, [[expected, 0.0, 0.0, 0.0]])


ROWS = {"gradient": [[1.0, -2.0, 3.0, 4.0]] * 4, "x": [[2.0, -0.5, 3.0, 0.5]] * 4}
OTHERS = [3.0, 4.0]  # the parameters that do not belong to action 0


@pytest.mark.parametrize(
    "strategy, expected",
    [
        ("sign_reversal", [[-0.1, 0.2], [1.0, -2.0], [1.0, -2.0], [-0.1, 0.2]]),
        ({"name": "sign_reversal", "factor": 0.5}, [[-0.5, 1.0], [1.0, -2.0], [1.0, -2.0], [-0.5, 1.0]]),
        ("selective_clipping", [[0.0, 0.0], [1.0, -2.0], [1.0, -2.0], [0.0, 0.0]]),
        ({"name": "selective_clipping", "threshold": -2.0}, [[0.0, 0.0], [1.0, -2.0], [1.0, -2.0], [1.0, -2.0]]),
        # g·x = (2, 1); times 0.9, 1, 1.1, 0.9
        ("pseudo_inverse", [[1.8, 0.9], [2.0, 1.0], [2.2, 1.1], [1.8, 0.9]]),
        ({"name": "pseudo_inverse", "factor": 1.0}, [[0.0, 0.0], [2.0, 1.0], [4.0, 2.0], [0.0, 0.0]]),
    ],
)
def test_td_error_rules_change_the_taken_actions_parameters_only(strategy, expected):
    result = changed(strategy, **ROWS, td_error=[-3.0, 0.0, 2.0, -1.0], action=[0] * 4)
    np.testing.assert_allclose(result, [row + OTHERS for row in expected], rtol=1e-6)


@pytest.mark.parametrize("name", ["sign_reversal", "selective_clipping", "pseudo_inverse"])
def test_td_error_rules_follow_each_rows_own_action(name):
    gradient, x = [[1.0, 1.0, 1.0, 1.0]] * 3, [[5.0, 5.0, 5.0, 0.5]] * 3
    result = changed(name, gradient, x, td_error=[-3.0] * 3, action=[0, 1, 2])
    np.testing.assert_array_equal(result != 1.0, MASK)


def test_a_chain_applies_its_strategies_left_to_right():
    gradient, x, td_error = [[4.0, 0.0, 0.0, 0.0]], [[2.5, 0.0, 0.0, 0.0]], [-1.0]
    # 4 → inverted 3 → reversed −0.3; the other way round 4 → −0.4 → inverted −0.1
    for first_to_last, expected in ((("inverting", "sign_reversal"), -0.3), (("sign_reversal", "inverting"), -0.1)):
        result = changed(strategies.chain(*first_to_last), gradient, x, td_error)
        np.testing.assert_allclose(result[0, 0], expected, rtol=1e-6)
        np.testing.assert_array_equal(changed(list(first_to_last), gradient, x, td_error), result)


def test_a_users_own_function_is_a_strategy():
    result = changed(lambda gradient, context: gradient + context.td_error[:, None], [[1.0] * 4], [[5.0] * 4], [2.0])
    np.testing.assert_array_equal(result, [[3.0] * 4])


@pytest.mark.parametrize(
    "identifier",
    [
        *strategies.STRATEGIES,
        {"name": "sign_reversal", "factor": 0.3},
        ["zeroing", {"name": "selective_clipping", "threshold": -0.5}],
        ["inverting", ["none", "pseudo_inverse"]],
    ],
)
def test_configurations_round_trip(identifier):
    strategy = strategies.get(identifier)
    config = strategies.serialize(strategy)
    assert strategies.get(config) == strategy
    assert strategies.serialize(strategies.get(config)) == config


def test_unequal_strategies_are_not_equal():
    assert strategies.get({"name": "sign_reversal", "factor": 0.3}) != strategies.get("sign_reversal")
    assert Chain("none") != Chain("zeroing")
    assert Inverting() == strategies.get("inverting")


@pytest.mark.parametrize(
    "identifier, error, message",
    [
        ("invertng", ValueError, "'invertng' is unknown; known: none, inverting, zeroing"),
        ({"name": "sign_reversal", "gain": 1}, ValueError, "gain"),
        ({"factor": 1}, ValueError, "None is unknown"),
        (3, TypeError, "got 3"),
        (Inverting, TypeError, "Inverting"),
    ],
)
def test_unknown_strategies_are_refused_with_what_is_known(identifier, error, message):
    with pytest.raises(error, match=message):
        strategies.get(identifier)


def test_a_function_has_no_configuration():
    with pytest.raises(TypeError, match="no configuration"):
        strategies.serialize(lambda gradient, context: gradient)
    with pytest.raises(TypeError, match="no configuration"):
        strategies.serialize(Chain("inverting", lambda gradient, context: gradient))

"""Actions of independent parts: canonical arrays to the environment's actions, and back; and which reading is meant."""

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, OneOf, Text, Tuple, flatten
from gymnasium.vector.utils import batch_space, iterate

from pamdp_agents.spaces import IndependentActionSpace, ParameterizedActionSpace
from pamdp_agents.spaces.layout_choice import read_actions

SPACES = {
    "discrete": Discrete(3, start=-1),
    "multi-discrete": MultiDiscrete([[2, 3], [4, 1]], start=[[0, 5], [-2, 0]]),
    "multi-binary": MultiBinary((2, 2)),
    "box": Box(np.array([-3.0, 0.0]), np.array([5.0, 1.0]), dtype=np.float64),
    "unbounded": Box(-np.inf, np.inf, (2,)),
    "half-bounded": Box(np.array([0.0, -np.inf], "f"), np.array([np.inf, 2.0], "f")),
    "integers": Box(-4, 9, (2, 2), np.int64),
    "number": Box(-1, 1, ()),
    "tuple": Tuple((Discrete(2), Discrete(3, start=2), Box(0, 10, (2,)))),
    "nested": Dict(
        {"gear": Discrete(4), "on": MultiBinary(3), "x": Dict({"a": Box(-1, 1, (2, 2)), "n": Box(0, 5, ())})}
    ),
    "box first": Tuple((Box(-1, 1, (1,)), Discrete(2), Box(0, 1, (0,)))),
}


def drawn(actions, n=40):
    rng = np.random.default_rng(0)
    k = np.stack([rng.integers(options, size=n) for options in actions.options], 1) if actions.options else None
    return (np.zeros((n, 0), int) if k is None else k), rng.normal(0, 1.5, (n, actions.parameter_size))


def flat(space, actions):
    return np.stack([flatten(space, action) for action in actions])


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_any_canonical_action_is_one_of_the_space_and_comes_back(space):
    actions = IndependentActionSpace(space)
    k, x = drawn(actions)
    given = actions.to_env_batch(k, x)
    assert len(given) == 40 and all(space.contains(action) for action in given)
    back_k, back_x = actions.from_env_batch(given)
    np.testing.assert_array_equal(back_k, k)
    np.testing.assert_allclose(
        flat(space, actions.to_env_batch(back_k, back_x)), flat(space, given), rtol=1e-6, atol=1e-5
    )
    inside = np.clip(x, (actions.low - actions.middle) / actions.half, (actions.high - actions.middle) / actions.half)
    tolerance = 0.51 / 6.5 if "int" in str(space) else 1e-5
    np.testing.assert_allclose(back_x, inside, atol=tolerance)


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_stacked_actions_are_the_same_as_vector_environments_take_them(space):
    actions = IndependentActionSpace(space)
    k, x = drawn(actions, 3)
    stacked = actions.to_env_stacked(k, x)
    batched = batch_space(space, 3)
    assert batched.contains(stacked), stacked
    np.testing.assert_array_equal(flat(space, iterate(batched, stacked)), flat(space, actions.to_env_batch(k, x)))


def test_bounds_are_scaled_and_what_has_none_is_as_it_is():
    actions = IndependentActionSpace(SPACES["tuple"])
    assert actions.options == (2, 3) and actions.parameter_size == 2
    [action] = actions.to_env_batch([[1, 2]], [[-1.0, 0.5]])
    assert action[:2] == (1, 4) and action[2].tolist() == [0.0, 7.5]
    [action] = IndependentActionSpace(SPACES["half-bounded"]).to_env_batch(np.zeros((1, 0)), [[-3.0, 1.5]])
    assert action.tolist() == [0.0, 1.5]
    wide = IndependentActionSpace(Box(-1e30, 1e30, (1,)))
    assert wide.to_env_batch(np.zeros((1, 0)), [[1.5]])[0].tolist() == [1.5]


def test_parts_have_names_of_their_own():
    space = Dict({"a": Dict({"b": Discrete(2)}), "a_b": Discrete(2), "größe": Box(0, 1, (1,))})
    names = [part.name for part in IndependentActionSpace(space).parts]
    assert names == ["a_b_0", "a_b_1", "gr_e_2"]
    assert [part.name for part in IndependentActionSpace(Discrete(2)).parts] == ["action"]
    assert [part.name for part in IndependentActionSpace(SPACES["nested"]).parts] == ["gear", "on", "x_a", "x_n"]


def test_what_is_no_action_is_refused():
    actions = IndependentActionSpace(SPACES["tuple"])
    for k, x in (([[1]], [[0, 0]]), ([[1, 1]], [[0]]), ([1, 1], [[0, 0]])):
        with pytest.raises(ValueError, match="shape"):
            actions.to_env_batch(k, x)
    with pytest.raises(ValueError, match="below"):
        actions.to_env_batch([[2, 0]], [[0, 0]])
    with pytest.raises(ValueError, match="NaN"):
        actions.to_env_batch([[0, 0]], [[0, np.nan]])
    with pytest.raises(ValueError, match="is not an action of"):
        actions.from_env_batch([(0, 9, np.zeros(2, "f"))])
    with pytest.raises(TypeError, match="Text"):
        IndependentActionSpace(Tuple((Discrete(2), Text(3))))
    with pytest.raises(TypeError, match="nothing to decide"):
        IndependentActionSpace(Box(0, 1, (0,)))
    with pytest.raises(ValueError, match=r"2\*\*53"):
        IndependentActionSpace(Box(-(2**60), 2**60, (1,), np.int64))


@pytest.mark.parametrize(
    "space, expected",
    [
        (Discrete(3), IndependentActionSpace),
        (Box(-1, 1, (2,)), IndependentActionSpace),
        (Tuple((Discrete(2), Tuple((Box(-1, 1, (1,)), Box(-1, 1, (2,)))))), ParameterizedActionSpace),
        (Dict({"k": Discrete(2), "x0": Box(-1, 1, (1,)), "x1": Box(-1, 1, (2,))}), ParameterizedActionSpace),
        (OneOf((Box(-1, 1, (1,)), Discrete(1))), ParameterizedActionSpace),
        (Tuple((Discrete(2), Discrete(2), Box(-1, 1, (1,)))), IndependentActionSpace),
        (Tuple((Discrete(2), MultiBinary(2))), IndependentActionSpace),
        (Dict({"a": Discrete(2), "b": Discrete(3), "x": Box(-1, 1, (1,))}), IndependentActionSpace),
    ],
    ids=str,
)
def test_one_choice_and_boxes_are_parameterised_and_all_else_is_independent(space, expected):
    assert isinstance(read_actions(space, None), expected)
    if not isinstance(space, OneOf):
        assert isinstance(read_actions(space, "independent"), IndependentActionSpace)


def test_what_can_be_read_in_two_ways_or_has_no_bounds_is_asked_for():
    for space in (Tuple((Discrete(3), Box(-1, 1, (2,)))), Dict({"k": Discrete(2), "x": Box(-np.inf, 1, (1,))})):
        with pytest.raises(ValueError, match='action_layout="independent"'):
            read_actions(space, None)
        assert isinstance(read_actions(space, "independent"), IndependentActionSpace)
    with pytest.raises(TypeError, match="OneOf"):
        read_actions(OneOf((Box(-1, 1, (1,)), Discrete(1))), "independent")

"""Which action spaces and actions are refused, asked about or warned of, and in what words."""

import warnings
from collections import OrderedDict

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, OneOf, Tuple
from small_boxes import HOP, LEAP, RUN, X, f32

from pamdp_agents.spaces import ParameterizedActionSpace


@pytest.mark.parametrize(
    "space",
    [
        MultiDiscrete([2, 3]),
        MultiBinary(3),
        Tuple((Discrete(2), Discrete(3))),
        Tuple((Discrete(2), Tuple((RUN, Discrete(3))))),
        Tuple((RUN, Discrete(1))),
        Tuple((RUN, HOP)),
        Tuple(()),
        Tuple((Discrete(1), Tuple(()))),
        Dict(a=Discrete(2), b=Discrete(3), c=RUN),
        Dict(a=RUN, b=HOP),
        OneOf((RUN, Discrete(2))),
        Tuple((Discrete(2), OneOf((RUN, HOP)))),
        spaces.Sequence(RUN),
        spaces.Text(3),
    ],
    ids=str,
)
def test_other_spaces_are_refused_with_the_accepted_layouts(space):
    with pytest.raises(TypeError) as error:
        ParameterizedActionSpace(space)
    assert str(space) in str(error.value)
    assert "Tuple(Discrete, Tuple(Box, ...))" in str(error.value)


@pytest.mark.parametrize(
    ("space", "component"),
    [
        (Tuple((Discrete(2), Tuple((RUN, Box(-np.inf, 1, (2,)))))), r"action_space\[1\]\[1\]"),
        (Dict(which=Discrete(2), a=RUN, kick=Box(0, np.inf)), r"action_space\['kick'\]"),
        (OneOf((Box(-np.inf, np.inf, dtype=np.int64), RUN)), r"action_space\[0\]"),
        (Box(-np.finfo(np.float32).max, np.finfo(np.float32).max), "action_space"),
    ],
    ids=str,
)
def test_unbounded_boxes_are_refused_by_name(space, component):
    with pytest.raises(ValueError, match=rf"{component} is unbounded.*bounded Box"):
        ParameterizedActionSpace(space)


def test_integers_too_wide_for_floats_are_refused():
    with pytest.raises(ValueError, match=r"2\*\*53"):
        ParameterizedActionSpace(Box(0, 2**60, dtype=np.int64))


@pytest.mark.parametrize(
    "space",
    [
        Tuple((Discrete(3), LEAP)),
        Tuple((Discrete(3), RUN, HOP)),
        Dict(a=Discrete(3), b=RUN),
        Dict(mode=Discrete(2), quantity=RUN, price=HOP),
        Dict(mode=Discrete(2), values=Dict(quantity=RUN, price=HOP)),
        Tuple((Discrete(2), Dict(quantity=RUN, price=HOP))),
        Dict(mode=Discrete(2), joint_0=RUN, joint_1=HOP),
        Dict(mode=Discrete(2), x1=RUN, x3=HOP),
        Dict(mode=Discrete(2), x0=RUN, params_1=HOP),
        Dict(OrderedDict(mode=Discrete(2), action_1=RUN, action_0=HOP)),
        Dict(mode=Discrete(2), rest=Discrete(1), run=RUN),
    ],
    ids=str,
)
def test_a_box_for_several_actions_needs_to_be_told_whose_it_is(space):
    with pytest.raises(ValueError, match=r"HybridActionWrapper\(env, parameter_sizes.*parameter_mask"):
        ParameterizedActionSpace(space)


def test_the_question_names_the_coordinates_in_their_order():
    with pytest.raises(ValueError) as error:
        ParameterizedActionSpace(Dict({"mode": Discrete(2), "quantity": LEAP, "price": HOP}))
    assert "['price'] (1), ['quantity'] (2)" in str(error.value)
    assert "[1, 2], if the k-th part is action k's" in str(error.value)


def test_boxes_beside_the_choice_are_one_for_each_action_with_a_warning():
    with pytest.warns(UserWarning, match=r"one Box for each discrete action.*parameter_sizes=\[1, 2\].*parameter_mask"):
        space = ParameterizedActionSpace(Tuple((Discrete(2), RUN, LEAP)))
    assert space.parameter_sizes == (1, 2)


@pytest.mark.parametrize(
    ("space", "arguments"),
    [
        (Tuple((Discrete(2), Tuple((RUN, LEAP)))), {}),
        (Tuple((Discrete(2), RUN, Discrete(1))), {}),
        (Tuple((Discrete(2), RUN, Box(0, 1, (0,)))), {}),
        (Tuple((Discrete(2), Tuple((RUN, HOP)), LEAP)), {}),
        (Tuple((Discrete(2), RUN, LEAP)), {"parameter_sizes": (1, 2)}),
        (Tuple((Discrete(2), RUN, LEAP)), {"parameter_mask": np.ones((2, 3))}),
        (Tuple((Discrete(1), RUN)), {}),
        (Tuple((Discrete(1), RUN, HOP)), {}),
        (Dict(mode=Discrete(2), values=Tuple((RUN, LEAP))), {}),
        (Dict({"mode": Discrete(2), "action 0": RUN, "action 1": LEAP}), {}),
        (Dict(mode=Discrete(1), a=RUN, b=LEAP), {}),
        (Dict(a=RUN, b=LEAP, c=Discrete(2)), {"parameter_sizes": (1, 2)}),
        (OneOf((RUN, LEAP)), {}),
    ],
    ids=str,
)
def test_a_layout_that_is_plain_or_told_is_taken_without_a_word(space, arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ParameterizedActionSpace(space, **arguments)


def test_bounds_so_wide_that_they_stand_for_none_are_warned_of():
    with pytest.warns(UserWarning, match=r"action_space\[1\]\[0\] is Box.*may stand for none"):
        ParameterizedActionSpace(Tuple((Discrete(2), Tuple((Box(-1e7, 1e7), RUN)))))


def test_many_actions_without_parameters_take_little_memory():
    space = ParameterizedActionSpace(Discrete(50_000))
    assert sum(part.nbytes for part in vars(space).values() if isinstance(part, np.ndarray)) < 1e6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"parameter_sizes": (1, 2)}, r"3 sizes.*got \(1, 2\)"),
        ({"parameter_sizes": (1, 1, 1)}, "add up to the 2 coordinates"),
        ({"parameter_sizes": (3, -1, 0)}, r"got \(3, -1, 0\)"),
        ({"parameter_mask": np.ones((2, 3))}, r"shape \(3, 2\).*got shape \(2, 3\)"),
        ({"parameter_mask": np.full((3, 2), 0.5)}, "bool array"),
        ({"parameter_sizes": (1, 1, 0), "parameter_mask": np.ones((3, 2))}, "give one"),
    ],
)
def test_arguments_that_do_not_fit_the_space_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ParameterizedActionSpace(Tuple((Discrete(3), LEAP)), **arguments)


@pytest.mark.parametrize("space", [RUN, Discrete(2), OneOf((RUN, HOP))], ids=str)
def test_arguments_are_refused_where_the_space_says_it_all(space):
    with pytest.raises(ValueError, match="leave them out"):
        ParameterizedActionSpace(space, parameter_sizes=(1,))


@pytest.mark.parametrize(
    "action",
    [
        None,
        1,
        (1,),
        (3, (f32(0), f32(0), f32(0, 0))),
        (-1, (f32(0), f32(0), f32(0, 0))),
        (1.0, (f32(0), f32(0), f32(0, 0))),
        (f32(1), (f32(0), f32(0), f32(0, 0))),
        (1, (f32(0), f32(0), f32(0))),
        (1, (f32(0), f32(0))),
        (1, (f32(31), f32(0), f32(0, 0))),
        (1, (f32(0), f32(np.nan), f32(0, 0))),
        (1, (f32(0), "kick", f32(0, 0))),
        {0: 1, 1: (f32(0), f32(0), f32(0, 0))},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:.*Casting input x to numpy array")
def test_an_action_outside_the_space_is_named_also_within_a_batch(action):
    space = ParameterizedActionSpace(Tuple((Discrete(3), Tuple((RUN, HOP, LEAP)))))
    assert not space.space.contains(action)
    with pytest.raises(ValueError) as alone:
        space.from_env(action)
    assert str(alone.value).startswith(f"{action!r} is not an action of Tuple(")
    good = space.to_env(0, X)
    with pytest.raises(ValueError) as among_others:
        space.from_env_batch([good, action, good])
    assert str(among_others.value).startswith(f"{action!r} is not an action of Tuple(")


@pytest.mark.parametrize(
    "action", [(2, f32(0)), (0, f32(0, 0)), (1, np.int64(1)), f32(0), (0, f32(0), f32(0))], ids=str
)
def test_an_action_outside_a_one_of_is_named(action):
    with pytest.raises(ValueError, match="is not an action of OneOf"):
        ParameterizedActionSpace(OneOf((RUN, Discrete(1)))).from_env(action)


@pytest.mark.parametrize(
    "action", [{"a": 0}, {"a": 0, "c": f32(0)}, (0, f32(0)), {"a": 0, "b": f32(0), "c": 0}], ids=str
)
def test_an_action_with_other_keys_is_named(action):
    with pytest.raises(ValueError, match=r"is not an action of Dict.*\['a', 'b'\]"):
        ParameterizedActionSpace(Dict(a=Discrete(1), b=RUN)).from_env(action)


@pytest.mark.parametrize("k", [3, -1, 0.5])
def test_a_discrete_action_that_does_not_exist_is_refused(k):
    with pytest.raises(ValueError, match=rf"one of 0..2 .*got {k}"):
        ParameterizedActionSpace(Discrete(3, start=1)).to_env(k, f32())


def test_parameters_of_the_wrong_shape_or_nan_are_refused():
    space = ParameterizedActionSpace(Tuple((Discrete(2), Tuple((RUN, HOP)))))
    with pytest.raises(ValueError, match=r"\(n, 2\).*\(1, 3\)"):
        space.to_env(0, f32(0, 0, 0))
    with pytest.raises(ValueError, match=r"\(n, 2\).*\(3,\).*\(1, 2\)"):
        space.to_env_batch([0, 1, 0], np.zeros((1, 2)))
    with pytest.raises(ValueError, match="discrete action 1 hold NaN"):
        space.to_env_batch([0, 1], np.array([[0, 0], [0, np.nan]]))

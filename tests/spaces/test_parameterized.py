"""ParameterizedActionSpace: every layout, there and back."""

import inspect
from collections import OrderedDict
from typing import NamedTuple

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.spaces import Box, Dict, Discrete, OneOf, Tuple
from gymnasium.vector.utils import batch_space, iterate
from hypothesis import given, settings
from hypothesis import strategies as st
from small_boxes import HOP, LEAP, RUN, X, f32

from pamdp_agents.spaces import ParameterizedActionSpace, SharedParameters

INT32 = {"dtype": np.int32} if "dtype" in inspect.signature(Discrete).parameters else {}  # older Gymnasiums: int64
PROPERTY = settings(derandomize=True, deadline=None, max_examples=80)


# Layouts drawn at random --------------------------------------------------------------------------------------------


class Case(NamedTuple):
    space: spaces.Space
    arguments: dict
    resolution: np.ndarray  # [P], how exactly the environment's dtype represents each parameter


DTYPES = [np.float16, np.float32, np.float64, np.int8, np.uint8, np.int32, np.bool_]


@st.composite
def boxes(draw):
    shape = draw(st.sampled_from([(0,), (1,), (3,), (), (2, 2), (2, 0)]))
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    size = int(np.prod(shape))
    if dtype.kind == "f":
        bound = st.floats(-100, 100, width=16)
    else:
        bound = st.integers(*{"b": (0, 1), "u": (0, 255), "i": (-128, 127)}[dtype.kind])
    ends = draw(st.lists(st.tuples(bound, bound), min_size=size, max_size=size))
    low = np.array([min(pair) for pair in ends], dtype=dtype).reshape(shape)
    high = np.array([max(pair) for pair in ends], dtype=dtype).reshape(shape)
    return Box(low, high, dtype=dtype)


NO_PARAMETERS = st.integers(-2, 2).map(lambda start: Discrete(1, start=start))
COMPONENT = boxes() | NO_PARAMETERS | st.lists(boxes() | NO_PARAMETERS, min_size=2, max_size=3).map(Tuple)


def resolutions(space):
    """For each coordinate of the space's boxes, depth first, the largest rounding of its dtype."""
    if isinstance(space, Tuple):
        return np.concatenate([resolutions(part) for part in space.spaces])
    if isinstance(space, Discrete):
        return np.zeros(0)
    largest = np.maximum(np.abs(space.low.astype(float)), np.abs(space.high.astype(float))).ravel()
    return largest * np.finfo(space.dtype).eps if space.dtype.kind == "f" else np.full(largest.size, 0.5)


@st.composite
def cases(draw):
    layout = draw(st.sampled_from(["nested", "flat", "sizes", "mask", "dict", "dict of dict", "one of", "none", "box"]))
    n = draw(st.integers(1, 4))
    discrete = Discrete(n, start=draw(st.integers(-3, 3)))
    if layout == "none":
        return Case(discrete, {}, np.zeros(0))
    if layout == "box":
        box = draw(boxes())
        return Case(box, {}, resolutions(box))
    if layout in ("sizes", "mask"):
        box = draw(boxes())
        size = int(np.prod(box.shape))
        space = draw(st.sampled_from([Tuple((discrete, box)), Dict(act=discrete, by=box), Dict(act=box, by=discrete)]))
        if layout == "sizes":
            cuts = sorted(draw(st.lists(st.integers(0, size), min_size=n - 1, max_size=n - 1)))
            return Case(space, {"parameter_sizes": np.diff([0, *cuts, size]).tolist()}, resolutions(box))
        mask = np.array(draw(st.lists(st.booleans(), min_size=n * size, max_size=n * size)), bool).reshape(n, size)
        shared = bool((mask.sum(0) > 1).any())
        resolution = resolutions(box)[mask.any(0)] if shared else np.tile(resolutions(box), (n, 1))[mask]
        return Case(space, {"parameter_mask": mask}, resolution)

    components = draw(st.lists(COMPONENT, min_size=n, max_size=n))
    # A Discrete entry of a flat Dict is its choice; and one Tuple beside one Discrete may stand for n boxes.
    if layout == "dict" or n == 1:
        components = [draw(boxes()) for _ in components]
    named = OrderedDict((f"parameters {k}", component) for k, component in enumerate(components))
    space = {
        "nested": lambda: Tuple((discrete, Tuple(components))),
        "flat": lambda: Tuple((discrete, *components)),
        "dict": lambda: Dict({"action": discrete, **named}),
        "dict of dict": lambda: Dict(values=Dict(named), which=discrete),
        "one of": lambda: OneOf(components),
    }[layout]()
    return Case(space, {}, resolutions(Tuple(components)))


def vector(action):
    """All numbers of an action in a row."""
    if isinstance(action, dict):
        action = tuple(action.values())
    if isinstance(action, tuple):
        return np.concatenate([vector(part) for part in action])
    return np.asarray(action, dtype=np.float64).ravel()


def draw_canonical(space, seed, n, reach=1.3):
    rng = np.random.default_rng(seed)
    return rng.integers(space.n, size=n), rng.uniform(-reach, reach, (n, space.parameter_size)).astype(np.float32)


@PROPERTY
@given(cases(), st.integers(0, 2**16))
def test_an_action_built_from_arrays_reads_back_as_the_arrays(case, seed):
    space = ParameterizedActionSpace(case.space, **case.arguments)
    k, x = draw_canonical(space, seed, 1)
    k_back, x_back = space.from_env(space.to_env(k[0], x[0]))
    assert k_back == k[0]
    assert x_back.dtype == np.float32 and x_back.shape == (space.parameter_size,)
    carried = space.high > space.low
    if isinstance(case.space, OneOf) or "parameter_mask" in case.arguments:
        carried &= space.mask[k[0]]
    expected = np.where(carried, np.clip(x[0], -1, 1), 0)
    tolerance = np.where(carried, case.resolution / np.where(carried, space.high - space.low, 1) * 2, 0) + 1e-6
    assert (np.abs(x_back - expected) <= tolerance).all()


@PROPERTY
@given(cases(), st.integers(0, 2**16))
def test_an_action_read_into_arrays_is_rebuilt_from_them(case, seed):
    space = ParameterizedActionSpace(case.space, **case.arguments)
    case.space.seed(seed)
    action = case.space.sample()
    rebuilt = space.to_env(*space.from_env(action))
    if "parameter_mask" in case.arguments:  # coordinates that k does not use went to the middle; from then on they stay
        action, rebuilt = rebuilt, space.to_env(*space.from_env(rebuilt))
    assert case.space.contains(rebuilt)
    np.testing.assert_allclose(vector(rebuilt), vector(action), rtol=1e-3, atol=2e-5)  # float16 keeps three digits


@PROPERTY
@given(cases(), st.integers(0, 2**16), st.sampled_from([1.0, 1e3, np.inf]))
def test_every_action_is_contained_in_the_space_however_far_outside_the_bounds(case, seed, reach):
    space = ParameterizedActionSpace(case.space, **case.arguments)
    k, x = draw_canonical(space, seed, 8)
    x = np.where(np.abs(x) > 1, np.sign(x) * reach, x)
    assert all(case.space.contains(action) for action in space.to_env_batch(k, x))


@PROPERTY
@given(cases(), st.integers(0, 2**16), st.integers(0, 7))
def test_batches_equal_single_actions(case, seed, n):
    space = ParameterizedActionSpace(case.space, **case.arguments)
    k, x = draw_canonical(space, seed, n)
    actions = space.to_env_batch(k, x)
    assert len(actions) == n
    singles = [space.to_env(*each) for each in zip(k, x, strict=True)]
    for action, single in zip(actions, singles, strict=True):
        np.testing.assert_array_equal(vector(action), vector(single))
    k_back, x_back = space.from_env_batch(actions)
    assert k_back.dtype == np.int32 and x_back.dtype == np.float32
    assert k_back.shape == (n,) and x_back.shape == (n, space.parameter_size)
    for row, single in enumerate(singles):
        k_single, x_single = space.from_env(single)
        assert k_back[row] == k_single
        np.testing.assert_array_equal(x_back[row], x_single)


@PROPERTY
@given(cases(), st.integers(0, 2**16), st.integers(1, 5))
def test_stacked_actions_are_what_gymnasium_makes_of_single_ones(case, seed, n):
    space = ParameterizedActionSpace(case.space, **case.arguments)
    k, x = draw_canonical(space, seed, n)
    stacked, batched = space.to_env_stacked(k, x), batch_space(case.space, n)
    assert batched.contains(stacked)
    singles = list(iterate(batched, stacked))
    for single, expected in zip(singles, space.to_env_batch(k, x), strict=True):
        np.testing.assert_array_equal(vector(single), vector(expected))


@PROPERTY
@given(cases())
def test_the_canonical_space_has_the_same_actions(case):
    space = ParameterizedActionSpace(case.space, **case.arguments)
    canonical = ParameterizedActionSpace(space.canonical_space)
    assert canonical.n == space.n
    assert canonical.parameter_sizes == space.parameter_sizes
    np.testing.assert_array_equal(canonical.mask, space.mask)
    np.testing.assert_allclose(canonical.low, space.low, rtol=1e-6)
    np.testing.assert_allclose(canonical.high, space.high, rtol=1e-6)
    assert canonical.canonical_space == space.canonical_space


# Worked by hand -----------------------------------------------------------------------------------------------------


def equal(action, expected):
    """Same nesting, same dtypes, same numbers."""
    if isinstance(expected, dict):
        return list(action) == list(expected) and all(equal(action[key], expected[key]) for key in expected)
    if isinstance(expected, tuple):
        return len(action) == len(expected) and all(map(equal, action, expected))
    same_kind = type(action) is type(expected) and action.dtype == expected.dtype and action.shape == expected.shape
    return same_kind and np.array_equal(action, expected)


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        (Tuple((Discrete(3), Tuple((RUN, HOP, LEAP)))), (np.int64(1), (f32(30), f32(540), f32(0, -5)))),
        (Tuple((Discrete(3, start=5), RUN, HOP, LEAP)), (np.int64(6), f32(30), f32(540), f32(0, -5))),
        (
            Tuple((Discrete(3), Dict(x0=RUN, x1=HOP, x2=LEAP))),
            (np.int64(1), {"x0": f32(30), "x1": f32(540), "x2": f32(0, -5)}),
        ),
        (
            Dict(action_1=RUN, action_2=HOP, action_3=LEAP, which=Discrete(3)),
            {"action_1": f32(30), "action_2": f32(540), "action_3": f32(0, -5), "which": np.int64(1)},
        ),
        (
            Dict(act=Discrete(3, start=-1, **INT32), parameters=Tuple((RUN, HOP, LEAP))),
            {"act": INT32.get("dtype", np.int64)(0), "parameters": (f32(30), f32(540), f32(0, -5))},
        ),
        (OneOf((RUN, HOP, LEAP)), (np.int64(1), f32(540))),
        (OneOf((RUN, Tuple((HOP, LEAP)))), (np.int64(1), (f32(540), f32(0, -5)))),
    ],
    ids=str,
)
def test_layouts_worked_by_hand(space, expected):
    canonical = ParameterizedActionSpace(space)
    action = canonical.to_env(1, X)
    assert equal(action, expected)
    k, x = canonical.from_env(expected)
    carried = canonical.mask[1] if isinstance(space, OneOf) else True
    assert k == 1
    np.testing.assert_array_equal(x, np.where(carried, X, 0))


def test_parameter_sizes_cut_one_box_into_consecutive_pieces():
    space = ParameterizedActionSpace(Tuple((Discrete(3), Box(0, 10, (3,)))), parameter_sizes=(2, 0, 1))
    assert space.parameter_sizes == (2, 0, 1)
    assert space.mask.tolist() == [[True, True, False], [False] * 3, [False, False, True]]
    assert equal(space.to_env(2, f32(-1, 0, 1)), (np.int64(2), f32(0, 5, 10)))


def test_parameter_mask_keeps_a_shared_coordinate_one_parameter():
    box = Box(np.array([0, 0, -4], np.float32), np.array([10, 100, 4], np.float32))
    space = ParameterizedActionSpace(Tuple((Discrete(3), box)), parameter_mask=[[1, 1, 0], [0, 0, 0], [0, 1, 1]])
    assert space.parameter_sizes == (2, 0, 2)
    assert (space.shared, space.parameter_size) == (True, 3)
    assert space.mask.tolist() == [[True, True, False], [False] * 3, [False, True, True]]
    assert space.low.tolist() == [0, 0, -4]
    assert space.high.tolist() == [10, 100, 4]
    x = f32(-1, -0.5, 1)
    assert equal(space.to_env(0, x), (np.int64(0), f32(0, 25, 0)))
    assert equal(space.to_env(1, x), (np.int64(1), f32(5, 50, 0)))
    assert equal(space.to_env(2, x), (np.int64(2), f32(5, 25, 4)))
    k, back = space.from_env((2, f32(9, 75, 4)))
    assert k == 2
    assert back.tolist() == [0, 0.5, 1]


def test_a_coordinate_of_no_action_is_no_parameter_and_stays_in_the_middle():
    space = ParameterizedActionSpace(Tuple((Discrete(2), Box(0, 10, (3,)))), parameter_mask=[[1, 0, 0], [1, 0, 1]])
    assert space.mask.tolist() == [[True, False], [True, True]]
    assert equal(space.to_env(1, f32(-1, 1)), (np.int64(1), f32(0, 5, 10)))


def test_a_mask_that_shares_nothing_has_the_parameters_action_by_action():
    space = ParameterizedActionSpace(Tuple((Discrete(2), LEAP)), parameter_mask=[[0, 1], [1, 0]])
    assert not space.shared
    assert space.mask.tolist() == [[True, False], [False, True]]
    assert equal(space.to_env(0, f32(1, -1)), (np.int64(0), f32(0, 10)))


def test_a_space_may_say_itself_what_is_shared():
    space = SharedParameters(Discrete(2, start=3), Box(0, 10, (2,)), [[1, 0], [1, 1]])
    canonical = ParameterizedActionSpace(space)
    assert canonical.parameter_sizes == (1, 2)
    action = canonical.to_env(0, f32(0, 1))
    assert equal(action, (np.int64(3), f32(5, 10))) and space.contains(action)
    assert canonical.from_env(action)[1].tolist() == [0, 1]
    with pytest.raises(ValueError, match="leave them out"):
        ParameterizedActionSpace(space, (1, 1))
    assert space != SharedParameters(Discrete(2, start=3), Box(0, 10, (2,)), [[1, 1], [1, 1]])
    assert space != Tuple(space.spaces) and Tuple(space.spaces) != space


@pytest.mark.parametrize("mask", [[[1, 0], [1, 0]], [[1, 1]], [1, 1]])
def test_a_mask_of_shared_parameters_must_fit(mask):
    with pytest.raises(ValueError, match=r"parameter_mask must be a bool array of shape \(2, 2\)"):
        SharedParameters(Discrete(2), LEAP, mask)


def test_parameter_mask_may_span_several_boxes():
    space = Dict(function=Discrete(3), minimap=Box(0, 64, (2,)), screen=Box(0, 84, (2,)))
    mask = [[0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1]]
    action = ParameterizedActionSpace(space, parameter_mask=mask).to_env(2, f32(-1, -1, 1, -1))
    assert equal(action, {"function": np.int64(2), "minimap": f32(32, 32), "screen": f32(84, 0)})


def test_one_box_needs_no_argument_when_there_is_one_discrete_action():
    space = ParameterizedActionSpace(Tuple((Discrete(1), LEAP)))
    assert space.parameter_sizes == (2,)
    assert equal(space.to_env(0, f32(1, 0)), (np.int64(0), f32(10, 0)))


def test_plain_discrete_has_no_parameters():
    space = ParameterizedActionSpace(Discrete(4, start=2))
    assert (space.n, space.parameter_sizes, space.parameter_size) == (4, (0, 0, 0, 0), 0)
    assert equal(space.to_env(3, f32()), np.int64(5))
    assert space.from_env(5)[0] == 3


def test_plain_box_is_one_action_given_as_the_array_alone():
    space = ParameterizedActionSpace(Box(np.zeros((2, 2)), np.full((2, 2), 8.0), dtype=np.float64))
    assert (space.n, space.parameter_sizes) == (1, (4,))
    assert equal(space.to_env(0, f32(-1, 0, 0.5, 1)), np.array([[0.0, 4.0], [6.0, 8.0]]))


def test_dict_boxes_are_numbered_in_the_dicts_own_order():
    plain = {"which": Discrete(2), "b": RUN, "a": HOP}
    assert ParameterizedActionSpace(Dict(plain), (1, 1)).high.tolist() == [720, 30]
    assert ParameterizedActionSpace(Dict(OrderedDict(plain)), (1, 1)).high.tolist() == [30, 720]


def test_discrete_of_one_in_the_place_of_a_box_means_no_parameters():
    space = ParameterizedActionSpace(Tuple((Discrete(2), Tuple((Discrete(1, start=7), RUN)))))
    assert space.parameter_sizes == (0, 1)
    assert equal(space.to_env(0, f32(0)), (np.int64(0), (np.int64(7), f32(15))))
    flat = ParameterizedActionSpace(Dict(x0=Discrete(1), x1=RUN, which=Discrete(2)))
    assert equal(flat.to_env(1, f32(0)), {"x0": np.int64(0), "x1": f32(15), "which": np.int64(1)})


def test_integers_are_rounded_to_the_nearest_and_stay_within_bounds():
    space = ParameterizedActionSpace(Box(0, 10, (4,), dtype=np.int32))
    assert equal(space.to_env(0, [-3, 0.09, 0.11, 2]), np.array([0, 5, 6, 10], dtype=np.int32))


def test_a_coordinate_with_equal_bounds_is_always_that_value_and_reads_as_zero():
    space = ParameterizedActionSpace(Box(np.array([0.1, 0]), np.array([0.1, 1]), dtype=np.float64))
    assert equal(space.to_env(0, [0.7, 1]), np.array([0.1, 1.0]))
    assert space.from_env(np.array([0.1, 1.0]))[1].tolist() == [0, 1]


def test_scale_and_unscale_are_inverse_on_arrays_of_any_leading_shape():
    space = ParameterizedActionSpace(Tuple((Discrete(3), Tuple((RUN, HOP, LEAP)))))
    values = np.array([[[30, 540, 0, -5]], [[15, 0, 10, 20]]])
    x = space.scale(values)
    assert x.dtype == np.float32
    assert x.tolist() == [[[1, 0.5, 0, -0.5]], [[0, -1, 1, 2]]]
    assert space.unscale(x).dtype == np.float64
    assert space.unscale(x).tolist() == values.tolist()


def test_compose_and_decompose_are_in_the_environments_units():
    space = ParameterizedActionSpace(Tuple((Discrete(3), Tuple((RUN, HOP, LEAP)))))
    action = space.compose(2, [3, 700, -11, 4])
    assert equal(action, (np.int64(2), (f32(3), f32(700), f32(-10, 4))))
    k, values = space.decompose(action)
    assert k == 2
    assert values.tolist() == [3, 700, -10, 4]


def test_an_action_may_miss_its_bounds_by_a_float32_rounding_only():
    space = ParameterizedActionSpace(Box(0.1, 0.3, (1,), dtype=np.float64))
    assert space.from_env(np.array([0.3]) * (1 + 1e-7))[1].tolist() == [1]
    with pytest.raises(ValueError, match="out of bounds"):
        space.from_env(np.array([0.3001]))


def test_spaces_are_equal_if_they_translate_alike():
    space = Tuple((Discrete(2), Box(0, 1, (2,))))
    assert ParameterizedActionSpace(space, (1, 1)) == ParameterizedActionSpace(space, [1, 1])
    assert ParameterizedActionSpace(space, (1, 1)) != ParameterizedActionSpace(space, (2, 0))
    assert ParameterizedActionSpace(space, (1, 1)) != ParameterizedActionSpace(space, parameter_mask=np.eye(2))
    swapped = np.eye(2)[::-1]
    assert ParameterizedActionSpace(space, parameter_mask=swapped) != ParameterizedActionSpace(
        space, parameter_mask=np.eye(2)
    )
    assert ParameterizedActionSpace(space, (1, 1)) != space
    assert "parameter_sizes=(2, 0)" in repr(ParameterizedActionSpace(space, (2, 0)))

"""ObservationTransform: flattening as Gymnasium does, scaling from bounds, telling one observation from several."""

import warnings
from collections import OrderedDict

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, OneOf, Text, Tuple
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array
from hypothesis import given, settings
from hypothesis import strategies as st

from pamdp_agents.spaces import ObservationTransform
from pamdp_agents.spaces.observed_ranges import warn_of_unseen

PROPERTY = settings(derandomize=True, deadline=None, max_examples=80)

LEAVES = st.sampled_from(
    [
        Box(-2, 6, (3,)),
        Box(0, 255, (2, 2), np.uint8),
        Box(-1, 1, (), np.float64),
        Box(-np.inf, np.inf, (2,)),
        Box(0, 0, (1,)),
        Box(0, 1, (0,)),
        Discrete(3, start=-1),
        MultiDiscrete([2, 3]),
        MultiDiscrete([[2, 3], [1, 2]], start=[[0, 5], [1, -1]]),
        MultiBinary(3),
        MultiBinary((2, 2)),
    ]
)


def compound(children):
    several = st.lists(children, min_size=1, max_size=3)
    return several.map(Tuple) | several.map(lambda parts: Dict({f"part {i}": part for i, part in enumerate(parts)}))


SPACES = LEAVES | compound(LEAVES | compound(LEAVES))


def sample(space, n):
    space.seed(n)
    return [space.sample() for _ in range(n)]


def stack(space, observations):
    """As Gymnasium's vector environments hand out observations."""
    return concatenate(space, observations, create_empty_array(space, len(observations)))


@PROPERTY
@given(SPACES)
def test_unscaled_observations_are_gymnasiums_flattened_ones(space):
    transform = ObservationTransform(space, scale=False)
    assert transform.size == spaces.flatdim(space)
    for observation in sample(space, 3):
        flat = transform(observation)
        assert flat.dtype == np.float32 and flat.shape == (transform.size,)
        np.testing.assert_array_equal(flat, spaces.flatten(space, observation).astype(np.float32))


@PROPERTY
@given(SPACES)
def test_bounded_components_are_scaled_to_minus_one_and_one_and_others_left(space):
    flat = spaces.flatten_space(space)
    for observation in sample(space, 3):
        raw = spaces.flatten(space, observation).astype(np.float64)
        scaled = ObservationTransform(space)(observation)
        for component in range(flat.shape[0]):
            low, high = float(flat.low[component]), float(flat.high[component])
            if np.isinf([low, high]).any():
                expected = raw[component]
            elif low == high:
                expected = 0
            else:
                expected = 2 * (raw[component] - low) / (high - low) - 1
                assert -1 <= scaled[component] <= 1
            assert scaled[component] == pytest.approx(expected, abs=1e-6)


@PROPERTY
@given(SPACES, st.integers(1, 4))
def test_batches_equal_single_observations_stacked_or_listed(space, n):
    transform = ObservationTransform(space)
    observations = sample(space, n)
    singles = np.array([transform(observation) for observation in observations]).reshape(n, transform.size)
    stacked = stack(space, observations)
    assert stacked in batch_space(space, n)
    for batch in (stacked, observations, tuple(observations)):
        rows = transform.batch(batch)
        assert rows.dtype == np.float32
        np.testing.assert_array_equal(rows, singles)


@PROPERTY
@given(SPACES, st.integers(1, 4))
def test_one_observation_is_told_from_a_batch(space, n):
    transform = ObservationTransform(space)
    observations = sample(space, n)
    assert not transform.is_batch(observations[0])
    assert transform.is_batch(observations)
    assert transform.is_batch(stack(space, observations))


@PROPERTY
@given(SPACES)
def test_no_observations_make_an_empty_batch(space):
    transform = ObservationTransform(space)
    assert transform.batch([]).shape == (0, transform.size)
    assert transform.batch(create_empty_array(space, 0)).shape == (0, transform.size)


def test_scaling_worked_by_hand():
    largest = np.finfo(np.float32).max
    low = np.array([0, -4, -np.inf, 0, -largest, 7], dtype=np.float32)
    high = np.array([10, 4, np.inf, np.inf, largest, 7], dtype=np.float32)
    transform = ObservationTransform(Box(low, high))
    assert transform(np.array([7.5, -4, 123, 123, 123, 7], np.float32)).tolist() == [0.5, -1, 123, 123, 123, 0]


def test_observations_outside_their_bounds_are_not_clipped():
    assert ObservationTransform(Box(0, 10, (2,)))(np.array([-5, 20])).tolist() == [-2, 3]


def test_without_scaling_values_are_kept():
    assert ObservationTransform(Box(0, 10, (2,)), scale=False)(np.array([-5, 20])).tolist() == [-5, 20]


def test_a_narrow_range_far_from_zero_keeps_its_precision():
    transform = ObservationTransform(Box(100_000, 100_001, (1,), np.float64))
    assert transform(np.array([100_000.123456])) == pytest.approx(-1 + 2 * 0.123456, abs=1e-6)


def test_images_are_flattened_and_scaled():
    transform = ObservationTransform(Box(0, 255, (2, 2, 1), np.uint8))
    assert transform(np.array([[[0], [255]], [[51], [204]]], np.uint8)).tolist() == pytest.approx([-1, 1, -0.6, 0.6])


def test_state_and_step_count_worked_by_hand():
    transform = ObservationTransform(Tuple((Box(0, 10, (2,)), Discrete(3))))
    assert transform((np.array([0, 5]), 1)).tolist() == [-1, 0, -1, 1, -1]
    assert transform.batch((np.array([[0, 5], [10, 5]]), np.array([1, 2]))).tolist() == [
        [-1, 0, -1, 1, -1],
        [1, 0, -1, -1, 1],
    ]


def test_dict_entries_are_in_the_dicts_own_order():
    parts = {"b": Box(0, 10, (1,)), "a": Box(0, 10, (1,))}
    observation = {"b": np.array([10]), "a": np.array([5])}
    assert ObservationTransform(Dict(parts))(observation).tolist() == [0, 1]
    assert ObservationTransform(Dict(OrderedDict(parts)))(observation).tolist() == [1, 0]


def test_a_tuple_of_arrays_is_stacked_and_a_list_of_tuples_is_not():
    transform = ObservationTransform(Tuple((Box(0, 2, (2,)), Box(0, 2, (2,)))))
    stacked = (np.array([[0, 0], [1, 1]]), np.array([[2, 2], [2, 2]]))
    listed = [(stacked[0][0], stacked[1][0]), (stacked[0][1], stacked[1][1])]
    assert transform.batch(stacked).tolist() == [[-1, -1, 1, 1], [0, 0, 1, 1]]
    assert transform.batch(listed).tolist() == [[-1, -1, 1, 1], [0, 0, 1, 1]]
    assert transform.batch(tuple(listed)).tolist() == [[-1, -1, 1, 1], [0, 0, 1, 1]]


@pytest.mark.parametrize(
    "space", [Text(3), OneOf((Box(0, 3, (2,)), Discrete(2))), Tuple((Text(2), Box(0, 1)))], ids=str
)
def test_spaces_without_stacked_form_are_flattened_one_by_one(space):
    transform = ObservationTransform(space, scale=False)
    observations = sample(space, 3)
    expected = [spaces.flatten(space, observation) for observation in observations]
    np.testing.assert_allclose([transform(observation) for observation in observations], expected, rtol=1e-6)
    np.testing.assert_allclose(transform.batch(observations), expected, rtol=1e-6)
    assert transform.is_batch(observations)
    assert not transform.is_batch(observations[0])


@pytest.mark.parametrize(
    ("space", "observation", "is_batch"),
    [
        (Discrete(4), 3, False),
        (Discrete(4), np.array(3), False),
        (Discrete(4), np.array([3]), True),
        (Discrete(4), [3, 1], True),
        (Box(0, 1, (2,)), [0.5, 0.5], False),
        (Box(0, 1, (2,)), [[0.5, 0.5]], True),
        (Box(0, 1, (2, 2)), np.zeros((2, 2)), False),
        (Box(0, 1, (2, 2)), np.zeros((0, 2, 2)), True),
        (Dict(a=Box(0, 1, (2,)), b=Discrete(2)), {"a": np.zeros(2), "b": 1}, False),
        (Dict(a=Box(0, 1, (2,)), b=Discrete(2)), {"a": np.zeros((5, 2)), "b": np.ones(5, int)}, True),
        (Tuple((Discrete(3), Discrete(3))), (1, 2), False),
        (Tuple((Discrete(3), Discrete(3))), (np.array([1, 0]), np.array([2, 2])), True),
    ],
)
def test_one_observation_and_batches_by_example(space, observation, is_batch):
    assert ObservationTransform(space).is_batch(observation) is is_batch


@pytest.mark.parametrize(
    ("space", "observation", "message"),
    [
        (Box(0, 1, (2,)), np.zeros(3), r"shape \(2,\).*Got shape \(3,\)"),
        (Box(0, 1, (2,)), np.zeros((4, 3)), r"shape \(2,\).*Got shape \(4, 3\)"),
        (Box(0, 1, (2,)), np.zeros((1, 1, 2)), r"shape \(2,\).*Got shape \(1, 1, 2\)"),
        (Discrete(3), np.zeros((2, 2), int), r"shape \(\).*Got shape \(2, 2\)"),
        (Tuple((Discrete(3), Box(0, 1, (2,)))), (1, np.zeros(3)), r"\[1\] of shape \(2,\).*Got .*shape \(3,\)"),
        (Dict(a=Discrete(3)), {"b": 1}, r"keys \['a'\], got"),
        (Tuple((Discrete(3), Discrete(3))), 1, "tuple of 2, got 1"),
    ],
    ids=str,
)
def test_other_shapes_are_refused_with_what_was_given_and_what_is_expected(space, observation, message):
    transform = ObservationTransform(space)
    with pytest.raises(ValueError, match=message):
        transform.is_batch(observation)
    with pytest.raises(ValueError, match=message):
        transform.batch(observation)
    with pytest.raises(ValueError):
        transform(observation)


def test_one_observation_is_not_taken_for_a_batch_nor_a_batch_for_one():
    transform = ObservationTransform(Box(0, 1, (2,)))
    with pytest.raises(ValueError, match=r"Expected a batch of observations .*Got shape \(2,\)"):
        transform.batch(np.zeros(2))
    with pytest.raises(ValueError, match=r"Expected an observation .*Got shape \(3, 2\)"):
        transform(np.zeros((3, 2)))


def test_entries_of_different_length_are_refused():
    transform = ObservationTransform(Dict(a=Discrete(2), b=Discrete(2)))
    with pytest.raises(ValueError, match=r"equally long; got \[2, 3\]"):
        transform.batch({"a": np.zeros(2, int), "b": np.zeros(3, int)})


@pytest.mark.parametrize("observation", [3, -1, 1.5])
def test_a_discrete_observation_outside_its_space_is_refused(observation):
    with pytest.raises(ValueError, match=r"observation\['a'\] must be in Discrete\(3\)"):
        ObservationTransform(Dict(a=Discrete(3)))({"a": observation})


@pytest.mark.parametrize(
    "space",
    [
        spaces.Sequence(Box(0, 1)),
        spaces.Graph(Box(0, 1), None),
        Tuple((Discrete(2), spaces.Sequence(Box(0, 1)))),
        Tuple(()),
    ],
    ids=str,
)
def test_spaces_that_do_not_flatten_are_refused(space):
    with pytest.raises(TypeError, match=r"vectors of one size.*TransformObservation"):
        ObservationTransform(space)


# Bounds that say little of the values -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "is_scaled"),
    [
        (-1e10, 1e10, False),
        (-1e7, 1e7, False),
        (0, 1e6, True),
        (0, 2.0**24, True),
        (0, 2.0**24 + 2, False),
        (1e9, 1e9 + 4, True),
        (-1.7e308, 1.7e308, False),
        (0, 1e38, False),
    ],
)
def test_bounds_too_far_apart_count_as_none(low, high, is_scaled):
    transform = ObservationTransform(Box(low, high, (1,), np.float64))
    middle = low / 2 + high / 2
    assert transform.scaled.tolist() == [is_scaled]
    assert transform(np.array([middle if is_scaled else 1.0])).tolist() == [0 if is_scaled else 1]


def test_each_component_has_its_own_bounds_or_none():
    transform = ObservationTransform(Box(np.array([-4, -1e10, 0], "f"), np.array([4, 1e10, 1e9], "f")))
    assert transform(np.array([2, 2, 2], "f")).tolist() == [0.5, 2, 2]
    assert transform.too_wide.tolist() == [False, True, True]
    assert not ObservationTransform(transform.space, scale=False).too_wide.any()


def test_without_a_widest_range_all_finite_bounds_are_bounds():
    transform = ObservationTransform(Box(-1e7, 1e7, (1,)), widest_range=None)
    assert transform(np.array([5e6], "f")).tolist() == [0.5]


@pytest.mark.parametrize("space", [Discrete(10**8), Dict(a=MultiDiscrete([2, 10**8]))], ids=str)
def test_one_hot_vectors_of_absurd_length_are_refused(space):
    with pytest.raises(ValueError, match=r"one-hot vector has 100,000,00\d numbers"):
        ObservationTransform(space)


def seen(space, *observations):
    transform = ObservationTransform(space)
    warn_of_unseen(transform, transform.batch(list(observations)))


def test_components_that_vanish_in_their_range_are_named():
    space = Dict(balance=Box(0, 1e6, (2,)), level=Box(0, 10, (1,)))
    observations = [{"balance": np.array([5, 9e5 + t], "f"), "level": np.array([t], "f")} for t in range(10)]
    with pytest.warns(
        UserWarning, match=r"observation\['balance'\]\[1\] of the observation.*between 900000 and 900009"
    ):
        seen(space, *observations)


def test_large_components_of_which_the_bounds_count_as_none_are_named():
    with pytest.warns(UserWarning, match=r"observation\[0\] of the observation is not scaled.*between -1e\+06 and 5"):
        seen(Box(-1e9, 1e9, (1,)), np.array([5], "f"), np.array([-1e6], "f"))


@pytest.mark.parametrize(
    ("space", "first", "last"),
    [
        (Box(0, 1e6, (1,)), 500, 500),  # constant: it would tell nothing in any range
        (Box(0, 1e6, (1,)), 0, 1e4),
        (Box(0, 255, (1,), np.uint8), 0, 1),
        (Box(-np.inf, np.inf, (1,)), 0, 1e6),  # as the environment says
        (Box(-1e10, 1e10, (1,)), -1, 1),
    ],
)
def test_other_observations_are_not_warned_of(space, first, last):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        seen(space, np.array([first], space.dtype), np.array([last], space.dtype))

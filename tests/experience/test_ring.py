"""The ring of transitions: what goes in comes out, the oldest goes first."""

import contextlib

import numpy as np
import pytest

from pamdp_agents.experience.ring import TransitionRing
from pamdp_agents.experience.transition import Transition, TransitionLayout


def filled(n, buffer_size=10, seed=0, at_once=1):
    """A buffer to which the transitions 0 … n − 1 were added, some at once."""
    buffer = TransitionRing(buffer_size, TransitionLayout(2, 3), np.random.default_rng(seed))
    for start in range(0, n, at_once):
        i = np.arange(start, min(start + at_once, n))
        s, x = np.tile(i, (2, 1)).T, np.tile(0.01 * i, (3, 1)).T
        buffer.store(Transition(s, i % 4, x, -i, s + 0.5, i % 2 == 0, {}))
    return buffer


def test_a_transition_comes_out_as_it_went_in():
    batch = filled(1).layout.unpack(filled(1).draw(1, 1)[0])
    assert [np.ravel(part).tolist() for part in batch[:-1]] == [[0, 0], [0], [0, 0, 0], [0], [0.5, 0.5], [1]]


def test_parts_stay_together():
    buffer = filled(10)
    batch = buffer.layout.unpack(buffer.draw(2, 50).reshape(100, -1))
    i = batch.s[:, 0]
    assert set(i) == set(range(10))
    np.testing.assert_array_equal(batch.k, i % 4)
    np.testing.assert_allclose(batch.x, np.tile(0.01 * i, (3, 1)).T, rtol=1e-6)
    np.testing.assert_array_equal(batch.r, -i)
    np.testing.assert_array_equal(batch.s2[:, 1], i + 0.5)
    np.testing.assert_array_equal(batch.discount, i % 2 == 0)


def test_the_oldest_go_when_it_is_full():
    buffer = filled(13)
    assert len(buffer) == 10
    assert set(buffer.draw(1, 500)[0, :, 0]) == set(range(3, 13))


@pytest.mark.parametrize("at_once", [3, 10, 25])
def test_adding_many_at_once_is_adding_one_after_the_other(at_once):
    for n in (7, 10, 30):
        one_by_one, together = filled(n), filled(n, at_once=at_once)
        np.testing.assert_array_equal(together.rows, one_by_one.rows)
        assert (together.pos, together.full) == (one_by_one.pos, one_by_one.full)


def test_only_stored_transitions_are_sampled():
    assert set(filled(3).draw(4, 100)[:, :, 0].ravel()) == {0, 1, 2}


def test_the_same_seed_draws_the_same_samples():
    np.testing.assert_array_equal(filled(10, seed=1).draw(2, 5), filled(10, seed=1).draw(2, 5))
    assert np.any(filled(10, seed=1).draw(2, 5) != filled(10, seed=2).draw(2, 5))


@pytest.mark.parametrize("n", [0, 4, 10, 13])
def test_a_restored_buffer_is_the_same(n):
    saved, restored = filled(n), filled(0)
    restored.restore(saved.state(), 4)
    assert (len(restored), restored.pos, restored.full) == (len(saved), saved.pos, saved.full)
    np.testing.assert_array_equal(restored.rows, saved.rows)


@pytest.mark.parametrize("n, size", [(4, 20), (10, 20), (13, 20), (13, 11), (10, 11)])
def test_a_smaller_buffer_goes_whole_into_a_larger_one(n, size):
    restored = filled(3, buffer_size=size)
    restored.restore(filled(n).state(), 4)
    expected = min(n, 10)
    assert (len(restored), restored.pos, restored.full) == (expected, expected, False)
    assert restored.rows[:expected, 0].tolist() == list(range(n - expected, n))  # the oldest first


@pytest.mark.parametrize("n, size", [(8, 5), (10, 5), (13, 9), (13, 1), (8, 8)])
def test_the_newest_of_a_larger_buffer_go_into_a_smaller_one_with_a_warning(n, size):
    restored, saved = filled(3, buffer_size=size), filled(n)
    with contextlib.nullcontext() if n == size else pytest.warns(UserWarning, match=f"newest {size} are kept"):
        restored.restore(saved.state(), 4)
    assert (len(restored), restored.pos, restored.full) == (size, 0, True)
    assert restored.rows[:, 0].tolist() == list(range(n - size, n))
    restored.store(Transition(*(np.full(shape, 0.5) for shape in ((1, 2), 1, (1, 3), 1, (1, 2), 1)), {}))
    assert restored.rows[0, 0] == 0.5  # in place of the oldest


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"position": np.array(1)}, "does not fit"),
        ({"position": np.array(-1), "full": np.array(True)}, "does not fit"),
        ({"position": np.array(8), "full": np.array(True)}, "does not fit"),
        ({"position": np.array([8, 8])}, "position of shape"),
        ({"position": np.array(8.0)}, "position of shape"),
        ({"full": np.array("no")}, "full of shape"),
        ({"s2": np.full((8, 2), np.nan, "f")}, "not finite"),
        ({"k": np.full((8, 1), 77, "f")}, r"not in 0\.\.3"),
        ({"k": np.full((8, 1), 0.5, "f")}, r"not in 0\.\.3"),
        ({"x": np.full((8, 3), 1e30, "f")}, "action-parameters"),
        ({"discount": np.full((8, 1), 5, "f")}, "discount"),
        ({"s": np.zeros((8, 2), "M8[s]")}, "float32"),
        ({"s": np.zeros((8, 2), complex)}, "float32"),
        ({"s": np.full((8, 2), "1")}, "float32"),
        ({"s": np.zeros((8, 3), "f")}, "other observation or action spaces"),
        ({"s": np.zeros(8, "f")}, "other observation or action spaces"),
        ({"more": np.zeros(8, "f")}, "other observation or action spaces"),
    ],
)
def test_a_damaged_buffer_is_refused_and_the_old_one_stays(changes, message):
    buffer = filled(2)
    with pytest.raises(ValueError, match=message):
        buffer.restore(filled(8).state() | changes, 4)
    np.testing.assert_array_equal(buffer.rows, filled(2).rows)
    assert (buffer.pos, buffer.full) == (2, False)


def test_a_buffer_of_other_spaces_is_refused():
    other = TransitionRing(10, TransitionLayout(3, 3), np.random.default_rng(0))
    with pytest.raises(ValueError, match="other observation or action spaces"):
        other.restore(filled(3).state(), 4)


def test_a_buffer_of_an_agent_that_stores_more_or_less_is_refused():
    more = TransitionRing(10, TransitionLayout(2, 3, {"scores": 4}), np.random.default_rng(0))
    for own, other in ((more, filled(3)), (filled(3), more)):
        with pytest.raises(ValueError, match="or by another agent"):
            own.restore(other.state(), 4)


def test_a_buffer_saved_with_whole_rows_and_terminated_is_read():
    saved = filled(7)
    rows = saved.rows[:7].copy()
    rows[:, -1] = 1 - rows[:, -1]
    restored = filled(0)
    restored.restore({"rows": rows, "position": np.array(7), "full": np.array(False)}, 4)
    np.testing.assert_array_equal(restored.rows, saved.rows)

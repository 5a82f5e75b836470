"""The replay buffer: what goes in comes out, the oldest goes first."""

import numpy as np
import pytest

from pamdp_agents.experience.replay import ReplayBuffer
from pamdp_agents.experience.transition import Transition, TransitionLayout


def filled(n, buffer_size=10, seed=0, at_once=1):
    """A buffer to which the transitions 0 … n − 1 were added, some at once."""
    buffer = ReplayBuffer(buffer_size, TransitionLayout(2, 3), np.random.default_rng(seed))
    for start in range(0, n, at_once):
        i = np.arange(start, min(start + at_once, n))
        s, x = np.tile(i, (2, 1)).T, np.tile(0.1 * i, (3, 1)).T
        buffer.add(Transition(s, i % 4, x, -i, s + 0.5, i % 2 == 0, {}))
    return buffer


def test_a_transition_comes_out_as_it_went_in():
    batch = filled(1).layout.unpack(filled(1).sample(1, 1)[0])
    assert [np.ravel(part).tolist() for part in batch[:-1]] == [[0, 0], [0], [0, 0, 0], [0], [0.5, 0.5], [1]]


def test_parts_stay_together():
    buffer = filled(10)
    batch = buffer.layout.unpack(buffer.sample(2, 50).reshape(100, -1))
    i = batch.s[:, 0]
    assert set(i) == set(range(10))
    np.testing.assert_array_equal(batch.k, i % 4)
    np.testing.assert_allclose(batch.x, np.tile(0.1 * i, (3, 1)).T, rtol=1e-6)
    np.testing.assert_array_equal(batch.r, -i)
    np.testing.assert_array_equal(batch.s2[:, 1], i + 0.5)
    np.testing.assert_array_equal(batch.discount, i % 2 == 0)


def test_the_oldest_go_when_it_is_full():
    buffer = filled(13)
    assert len(buffer) == 10
    assert set(buffer.sample(1, 500)[0, :, 0]) == set(range(3, 13))


@pytest.mark.parametrize("at_once", [3, 10, 25])
def test_adding_many_at_once_is_adding_one_after_the_other(at_once):
    for n in (7, 10, 30):
        one_by_one, together = filled(n), filled(n, at_once=at_once)
        np.testing.assert_array_equal(together.rows, one_by_one.rows)
        assert (together.position, together.full) == (one_by_one.position, one_by_one.full)


def test_only_stored_transitions_are_sampled():
    assert set(filled(3).sample(4, 100)[:, :, 0].ravel()) == {0, 1, 2}


def test_the_same_seed_draws_the_same_samples():
    np.testing.assert_array_equal(filled(10, seed=1).sample(2, 5), filled(10, seed=1).sample(2, 5))
    assert np.any(filled(10, seed=1).sample(2, 5) != filled(10, seed=2).sample(2, 5))


@pytest.mark.parametrize("n", [0, 4, 10, 13])
def test_a_restored_buffer_is_the_same(n):
    saved, restored = filled(n), filled(0)
    restored.restore(saved.state(), 4)
    assert (len(restored), restored.position, restored.full) == (len(saved), saved.position, saved.full)
    np.testing.assert_array_equal(restored.rows, saved.rows)


def test_a_buffer_of_other_spaces_or_size_is_refused():
    other = ReplayBuffer(10, TransitionLayout(3, 3), np.random.default_rng(0))
    with pytest.raises(ValueError, match="other observation or action spaces"):
        other.restore(filled(3).state(), 4)
    for change in ({"position": np.array(1)}, {"s2": np.full((3, 2), np.nan, "f")}):
        with pytest.raises(ValueError, match="does not fit"):
            filled(0).restore(filled(3).state() | change, 4)
    with pytest.raises(ValueError, match="buffer_size=5"):
        filled(0, buffer_size=5).restore(filled(8).state(), 4)
    buffer = filled(2)
    with pytest.raises(ValueError, match=r"discrete actions that are not in 0\.\.2"):
        buffer.restore(filled(8).state(), 3)
    np.testing.assert_array_equal(buffer.rows, filled(2).rows)  # as it was


def test_a_buffer_of_an_agent_that_stores_more_or_less_is_refused():
    more = ReplayBuffer(10, TransitionLayout(2, 3, {"scores": 4}), np.random.default_rng(0))
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

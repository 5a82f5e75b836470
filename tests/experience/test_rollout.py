"""The rollout buffer: advantages worked out by hand, orders of rows, and what a file holds of it."""

import numpy as np
import pytest

from pamdp_agents.experience.rollout import MOST_ROWS, RolloutBuffer
from pamdp_agents.learning.flat import FlatLayout

LAYOUT = FlatLayout({"s": (1,), "k": (1,), "x": (0,), "output": (2,)} | dict.fromkeys(RolloutBuffer.FOLLOWING, ()))


def filled(rewards, ended, played=None):
    """A buffer of one environment with these steps, whose observations are their numbers."""
    buffer = RolloutBuffer(len(rewards), 1, LAYOUT)
    played = [1] * len(rewards) if played is None else played
    for t, (reward, end, is_step) in enumerate(zip(rewards, ended, played, strict=True)):
        row = {"s": [[t]], "k": [[t % 2]], "x": np.zeros((1, 0)), "output": [[0, t]]}
        buffer.store(**row, reward=[reward], ended=[end], played=[is_step])
    return buffer


def test_advantages_and_returns_by_hand():
    # γ = 0.5, λ = 0.5, so γλ = 0.25. V = 1, 2, 3, 4, 5, and V = 6 of what follows the last step. Step 2 (of 0 … 4) ends
    # an episode. Errors: δ0 = 1 + 0.5·2 − 1 = 1, δ1 = 2 + 0.5·3 − 2 = 1.5, δ2 = 3 − 3 = 0, δ3 = 4 + 0.5·5 − 4 = 2.5,
    # δ4 = 5 + 0.5·6 − 5 = 3.
    buffer = filled([1, 2, 3, 4, 5], [0, 0, 1, 0, 0])
    buffer.finish(np.array([[1], [2], [3], [4], [5]]), np.array([6]), gamma=0.5, gae_lambda=0.5)
    advantages = [1 + 0.25 * 1.5, 1.5, 0, 2.5 + 0.25 * 3, 3]
    np.testing.assert_allclose(buffer.part("advantage")[:, 0], advantages)
    np.testing.assert_allclose(buffer.part("return")[:, 0], np.add(advantages, [1, 2, 3, 4, 5]))


def test_nothing_comes_through_a_step_that_only_reset():
    # The second step ends an episode, the third only resets: its reward and values count for nothing.
    buffer = filled([1, 2, 0, 4], [0, 1, 0, 0], played=[1, 1, 0, 1])
    buffer.finish(np.array([[1], [2], [100], [4]]), np.array([8]), gamma=0.5, gae_lambda=0.5)
    # δ0 = 1 + 0.5·2 − 1 = 1, δ1 = 2 − 2 = 0, δ3 = 4 + 0.5·8 − 4 = 4
    np.testing.assert_allclose(buffer.part("advantage")[:, 0], [1, 0, 0, 4])


def test_the_extremes_of_lambda_are_the_error_of_one_step_and_the_whole_return():
    rng = np.random.default_rng(0)
    rewards, values, last = rng.normal(size=6), rng.normal(size=(6, 1)), rng.normal(size=1)
    one_step, whole = filled(rewards, [0] * 6), filled(rewards, [0] * 6)
    one_step.finish(values, last, gamma=0.9, gae_lambda=0.0)
    whole.finish(values, last, gamma=0.9, gae_lambda=1.0)
    following = np.append(values[1:, 0], last)
    np.testing.assert_allclose(one_step.part("advantage")[:, 0], rewards + 0.9 * following - values[:, 0], atol=1e-6)
    returns = [sum(0.9 ** (i - t) * rewards[i] for i in range(t, 6)) + 0.9 ** (6 - t) * last[0] for t in range(6)]
    np.testing.assert_allclose(whole.part("return")[:, 0], returns, atol=1e-6)


def test_each_epoch_goes_once_through_what_was_played_in_an_order_of_its_own():
    buffer = filled(range(20), [0] * 20, played=[t % 5 != 3 for t in range(20)])
    orders = buffer.draw_orders(3, np.random.default_rng(0))
    assert orders.shape == (3, 20)
    played = [t for t in range(20) if t % 5 != 3]
    for order in orders:
        assert sorted(order[:16]) == played and sorted(order[16:]) == [3, 8, 13, 18]
    assert len({tuple(order) for order in orders}) == 3
    again = buffer.draw_orders(3, np.random.default_rng(0))
    np.testing.assert_array_equal(orders, again)
    packed = buffer.packed(orders)
    np.testing.assert_array_equal(packed[:, : LAYOUT.size], buffer.rows[:, 0])
    np.testing.assert_array_equal(packed[:, LAYOUT.size :].T, orders)


def test_part_of_a_rollout_comes_back_and_is_gone_on_with():
    buffer, other = filled([1, 2, 3], [0, 1, 0]), RolloutBuffer(5, 1, LAYOUT)
    other.rows[:3], other.pos = buffer.rows, 3
    back = RolloutBuffer.restored(other.state(), 5, LAYOUT, (2,))
    assert back.pos == 3 and not back.full
    np.testing.assert_array_equal(back.rows, other.rows)
    assert RolloutBuffer(5, 1, LAYOUT).state() == {}


@pytest.mark.parametrize(
    "name, change",
    [
        ("s", lambda part: part.astype(float)),
        ("s", lambda part: part[:, :, :0]),
        ("reward", lambda part: part * np.float32(np.nan)),
        ("k", lambda part: part + 2),
        ("k", lambda part: part + np.float32(0.5)),
        ("ended", lambda part: part + np.float32(0.5)),
    ],
)
def test_what_no_agent_stores_is_refused(name, change):
    state = filled([1, 2], [0, 1]).state()
    state[f"rollout_{name}"] = change(state[f"rollout_{name}"])
    with pytest.raises(ValueError, match=f"rollout_{name}"):
        RolloutBuffer.restored(state, 2, LAYOUT, (2,))


def test_a_rollout_of_more_rows_than_can_be_told_apart_is_refused():
    with pytest.raises(ValueError, match=f"n_steps={MOST_ROWS}"):
        RolloutBuffer(MOST_ROWS, 2, LAYOUT)

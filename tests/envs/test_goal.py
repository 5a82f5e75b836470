import math

import gymnasium as gym
import numpy as np
import pytest
from pamdp_envs import GoalEnv, NominalBox
from replayed_draws import recorded_episodes, replay

KICK_TO, SHOOT_LEFT, SHOOT_RIGHT = range(3)


def act(env: GoalEnv, k: int, *parameters: float) -> tuple:
    entries = [[0.0, 0.0], [0.0], [0.0]]
    entries[k] = list(parameters)
    return env.step((k, tuple(entries)))


@pytest.mark.parametrize(("features", "observation_key"), [(False, "observation"), (True, "features")])
def test_recorded_episodes_are_reproduced_with_every_draw_used(features, observation_key):
    assert replay(GoalEnv(features=features), recorded_episodes("goal"), observation_key) == 70


def test_spaces_are_the_published_layout():
    env = GoalEnv()
    choice, parameters = env.action_space.spaces
    assert choice.n == 3
    expected = [([0.0, -15.0], [40.0, 15.0]), ([-7.01], [7.01]), ([-7.01], [7.01])]
    for box, (low, high) in zip(parameters, expected, strict=True):
        assert box.dtype == np.float32
        np.testing.assert_array_equal(box.low, np.float32(low))
        np.testing.assert_array_equal(box.high, np.float32(high))
    player_low, player_high = [0, -15, -1, -1, -math.pi], [20, 15, 1, 1, math.pi]
    low = [*player_low, *player_low, 0, -15, -3, -3, -1, -1, -7.01]
    high = [*player_high, *player_high, 20, 15, 3, 3, 1, 1, 14.02]
    assert env.observation_space == NominalBox(np.array(low), np.array(high), dtype=np.float64)
    assert GoalEnv(features=False).observation_space.shape == (14,)


def test_the_recorded_episodes_hold_goals_and_misses():
    last_rewards = [episode["steps"][-1]["reward"] for episode in recorded_episodes("goal")]
    assert 0 < last_rewards.count(50) < len(last_rewards)


def test_a_goal_pays_50_and_is_a_success():
    env = GoalEnv(published_quirks=False)
    env.reset(seed=193)
    assert act(env, KICK_TO, 1.0, 11.0)[1:3] == (0.0, False)
    observation, reward, terminated, truncated, info = act(env, SHOOT_LEFT, 5.08)
    assert (reward, terminated, truncated, info["is_success"]) == (50.0, True, False, True)
    assert 20 <= observation[10] <= 22.44
    assert abs(observation[11]) <= 7.01
    assert observation in env.observation_space


def test_every_step_before_the_last_pays_nothing():
    env = GoalEnv()
    env.reset(seed=2)
    _, reward, terminated, _, info = act(env, KICK_TO, 2.0, 0.0)
    assert (reward, terminated, info["is_success"]) == (0.0, False, False)


def test_the_hundredth_step_truncates_without_simulating_and_pays_minus_the_distance_to_the_goal():
    env = GoalEnv(published_quirks=False)
    observation, _ = env.reset(seed=0)
    for _ in range(99):  # the player stays with the ball where it is
        observation, _, terminated, truncated, _ = act(env, KICK_TO, observation[0], observation[1])
        assert not terminated
        assert not truncated
    last, reward, terminated, truncated, info = act(env, KICK_TO, 0.0, 0.0)
    assert (terminated, truncated, info) == (False, True, {"substeps": 0, "is_success": False})
    np.testing.assert_array_equal(last, observation)
    assert abs(last[11]) < 7.01
    assert reward == pytest.approx(last[10] - 20)


def ball_after_kick_to(env_id: str, x: float, y: float) -> np.ndarray:
    env = gym.make(env_id)
    env.reset(seed=6)
    return act(env, KICK_TO, x, y)[0][10:12]


def test_kick_to_aims_at_x_x_as_published_in_v0_and_at_x_y_in_v1():
    assert np.linalg.norm(ball_after_kick_to("pamdp/Goal-v0", 7.0, -3.0) - (7.0, 7.0)) < 3
    assert np.linalg.norm(ball_after_kick_to("pamdp/Goal-v1", 7.0, -3.0) - (7.0, -3.0)) < 3


@pytest.mark.parametrize(
    ("ball", "published", "intended"),
    [
        ((12.0, 3.0), 8.0, 8.0),
        ((17.0, 11.01), 5.0, 5.0),
        ((17.0, -11.01), 5.0, 5.0),
        ((20.5, 8.01), 1.0, 1.0),
        ((23.0, 1.0), 0.0, 0.0),
        ((20.5, -8.01), 15.02, 1.0),
    ],
)
def test_goal_distance_differs_between_the_versions_only_behind_the_right_post(ball, published, intended):
    for quirks, expected in ((True, published), (False, intended)):
        env = GoalEnv(published_quirks=quirks)
        env.reset(seed=0)
        env._ball.x, env._ball.y = ball
        assert env._goal_distance() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("k", "beyond", "bound"),
    [(KICK_TO, (-5.0, 99.0), (0.0, 15.0)), (SHOOT_LEFT, (9.0,), (7.01,)), (SHOOT_RIGHT, (-1e9,), (-7.01,))],
)
def test_parameters_beyond_their_range_act_like_the_bound(k, beyond, bound):
    env = GoalEnv(published_quirks=False)
    env.reset(seed=4)
    clipped = act(env, k, *beyond)
    env.reset(seed=4)
    expected = act(env, k, *bound)
    np.testing.assert_array_equal(clipped[0], expected[0])
    assert clipped[1:] == expected[1:]


def test_the_two_shots_are_the_same_mechanically():
    env = GoalEnv()
    env.reset(seed=4)
    left = act(env, SHOOT_LEFT, 5.0)
    env.reset(seed=4)
    right = act(env, SHOOT_RIGHT, 5.0)
    np.testing.assert_array_equal(left[0], right[0])


def test_without_features_the_observation_is_the_first_14_numbers():
    full, plain = GoalEnv(), GoalEnv(features=False)
    np.testing.assert_array_equal(full.reset(seed=1)[0][:14], plain.reset(seed=1)[0])
    np.testing.assert_array_equal(act(full, SHOOT_LEFT, 1.0)[0][:14], act(plain, SHOOT_LEFT, 1.0)[0])

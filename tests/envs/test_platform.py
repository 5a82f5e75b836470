import gymnasium as gym
import numpy as np
import pytest
from pamdp_envs import PlatformEnv
from replayed_draws import recorded_episodes, replay

RUN, HOP, LEAP = range(3)
TO_THE_LAST_PLATFORM = (
    (HOP, 405.0),
    (RUN, 25.0),
    (RUN, 19.0),
    (HOP, 545.0),
    (RUN, 14.0),
    (HOP, 108.0),
    (RUN, 5.0),
    (HOP, 562.0),
)


def act(env: PlatformEnv, k: int, power: float) -> tuple:
    parameters = [0.0, 0.0, 0.0]
    parameters[k] = power
    return env.step((k, tuple(parameters)))


def test_recorded_episodes_are_reproduced_with_every_draw_used():
    assert replay(PlatformEnv(), recorded_episodes("platform"), "observation") == 189


def test_spaces_are_the_published_layout():
    env = PlatformEnv()
    choice, parameters = env.action_space.spaces
    assert choice.n == 3
    assert [(box.low.tolist(), box.high.tolist()) for box in parameters] == [
        ([0.0], [30.0]),
        ([0.0], [720.0]),
        ([0.0], [430.0]),
    ]
    assert all(box.dtype == np.float32 for box in parameters)
    assert env.observation_space == gym.spaces.Box(0.0, 1.0, (9,), np.float64)


def test_observations_of_random_play_stay_within_the_space():
    env = PlatformEnv()
    env.action_space.seed(3)
    observation, _ = env.reset(seed=3)
    for _ in range(800):
        assert observation in env.observation_space
        observation, _, terminated, _, _ = env.step(env.action_space.sample())
        if terminated:
            assert observation in env.observation_space
            observation, _ = env.reset()


def test_rewards_of_an_episode_add_up_to_the_share_of_the_way_covered():
    env = PlatformEnv()
    env.action_space.seed(0)
    first, _ = env.reset(seed=0)
    total, terminated = 0.0, False
    while not terminated:
        observation, reward, terminated, _, _ = env.step(env.action_space.sample())
        total += reward
    assert total == pytest.approx((observation[0] - first[0]) * 1055 / 1035)


def test_a_run_takes_twenty_substeps():
    env = PlatformEnv()
    env.reset(seed=0)
    _, reward, terminated, _, info = act(env, RUN, 5.0)
    assert reward > 0
    assert not terminated
    assert info == {"substeps": 20}


def test_a_perfect_episode_returns_one():
    env = PlatformEnv()
    env.reset(seed=0)
    outcomes = [act(env, k, power) for k, power in TO_THE_LAST_PLATFORM]
    assert not any(terminated for _, _, terminated, _, _ in outcomes)
    outcomes.append(act(env, HOP, 720.0))
    assert outcomes[-1][2]
    assert sum(reward for _, reward, _, _, _ in outcomes) == pytest.approx(1.0)


def test_a_run_over_the_edge_ends_in_the_gap_for_less_than_the_way_to_the_next_platform():
    env = PlatformEnv()
    env.reset(seed=0)
    for k, power in TO_THE_LAST_PLATFORM[:3]:
        act(env, k, power)
    observation, _, terminated, truncated, info = act(env, RUN, 30.0)
    assert terminated
    assert not truncated
    assert info["substeps"] < 20
    assert 250 < observation[0] * 1055 - 20 < 475


@pytest.mark.parametrize(("k", "beyond", "bound"), [(RUN, 99.0, 30.0), (HOP, 1e6, 720.0), (LEAP, -1.0, 0.0)])
def test_parameters_beyond_their_range_act_like_the_bound(k, beyond, bound):
    env = PlatformEnv()
    env.reset(seed=4)
    clipped = act(env, k, beyond)
    env.reset(seed=4)
    expected = act(env, k, bound)
    np.testing.assert_array_equal(clipped[0], expected[0])
    assert clipped[1:] == expected[1:]


def test_time_limit_truncates_after_200_steps():
    env = gym.make("pamdp/Platform-v0")
    env.reset(seed=0)
    for k, power in TO_THE_LAST_PLATFORM:  # where no enemy walks
        act(env, k, power)
    truncations = [act(env, RUN, 0.0)[3] for _ in range(200 - len(TO_THE_LAST_PLATFORM))]
    assert truncations[-1]
    assert not any(truncations[:-1])

"""Gymnasium's own wrappers work under and over the action wrappers, and agents learn through stacks of them."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, Tuple
from gymnasium.wrappers import (
    FlattenObservation,
    FrameStackObservation,
    NormalizeObservation,
    RecordEpisodeStatistics,
    RecordVideo,
    TimeLimit,
    TransformReward,
)

from pamdp_agents import MPDQN, FlattenHybridAction, HybridActionWrapper

both_wrappers = pytest.mark.parametrize("action_wrapper", [HybridActionWrapper, FlattenHybridAction])


class Tank(gym.Env):
    """Fill, drain or wait; each step pays what was moved. Its observation has two parts, its action a Dict's layout."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012  # Gymnasium's declaration
    observation_space = Dict(level=Box(-5.0, 15.0, (1,), np.float64), open=Discrete(2))
    action_space = Dict(
        which=Discrete(3, start=1), amount=Tuple((Box(0.0, 2.0, (1,)), Box(0.0, 1.0, (1,)), Discrete(1)))
    )

    def __init__(self, render_mode="rgb_array"):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.level, self.steps = self.np_random.uniform(2.0, 8.0), 0
        return self.observe(0), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        k, amount = action["which"], action["amount"]
        moved = {1: float(amount[0][0]), 2: -float(amount[1][0]), 3: 0.0}[int(k)]
        self.level += moved + self.np_random.normal(0.0, 0.1)
        self.steps += 1
        return self.observe(int(k == 2)), abs(moved), self.steps == 12, False, {}

    def observe(self, is_open):
        return {"level": np.clip([self.level], -5.0, 15.0), "open": np.int64(is_open)}

    def render(self):
        return np.full((32, 32, 3), int(10 * self.level) % 256, np.uint8)


def play(env, choose, n_steps=30):
    """Everything that the environment gives in some steps of whole episodes, with the actions that `choose` makes."""
    rng = np.random.default_rng(0)
    trace = [env.reset(seed=0)[0]]
    for _ in range(n_steps):
        *step, info = env.step(choose(rng))
        if "episode" in info:
            step += [info["episode"]["r"], info["episode"]["l"]]
        if step[2] or step[3]:
            step.append(env.reset()[0])
        trace.append(step)
    return trace


def assert_equal(ours, theirs):
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_equal(a, b)


STACKS = {
    "RecordEpisodeStatistics": RecordEpisodeStatistics,
    "TimeLimit": lambda env: TimeLimit(env, 5),
    "FlattenObservation": FlattenObservation,
    "NormalizeObservation": lambda env: NormalizeObservation(FlattenObservation(env)),
    "FrameStackObservation": lambda env: FrameStackObservation(FlattenObservation(env), 3),
    "TransformReward": lambda env: TransformReward(env, lambda reward: 10 * reward),
    "all of them": lambda env: TransformReward(
        FrameStackObservation(NormalizeObservation(FlattenObservation(RecordEpisodeStatistics(TimeLimit(env, 5)))), 2),
        lambda reward: -reward,
    ),
}


@both_wrappers
@pytest.mark.parametrize("stack", STACKS.values(), ids=STACKS)
def test_a_wrapper_of_gymnasiums_gives_the_same_under_over_and_without_an_action_wrapper(action_wrapper, stack):
    alone = action_wrapper(Tank())

    def flat(rng):
        return rng.uniform(-1, 1, 3 + 2).astype("f")

    def hybrid(rng):
        return int(rng.integers(3)), tuple(rng.random(size).astype("f") for size in (1, 1, 0))

    choose = flat if action_wrapper is FlattenHybridAction else hybrid
    without = play(stack(Tank()), lambda rng: alone.action(choose(rng)))
    over, under = stack(action_wrapper(Tank())), action_wrapper(stack(Tank()))
    assert over.action_space == under.action_space == alone.action_space
    assert over.observation_space == under.observation_space
    assert_equal(play(over, choose), without)
    assert_equal(play(under, choose), without)


@both_wrappers
@pytest.mark.parametrize("order", ["over", "under"])
def test_videos_are_recorded_over_and_under_an_action_wrapper(action_wrapper, order, tmp_path):
    def record(env):
        return RecordVideo(env, str(tmp_path / "videos"), episode_trigger=lambda episode: True)

    env = record(action_wrapper(Tank())) if order == "over" else action_wrapper(record(Tank()))
    env.reset(seed=0)
    env.action_space.seed(0)
    for _ in range(12):
        *_, terminated, truncated, _ = env.step(env.action_space.sample())
    assert terminated and not truncated
    env.close()
    assert (tmp_path / "videos/rl-video-episode-0.mp4").stat().st_size > 0


@pytest.mark.parametrize("action_wrapper", [None, HybridActionWrapper, FlattenHybridAction])
def test_an_agent_learns_through_every_wrapper_at_once(action_wrapper, tmp_path):
    env = RecordVideo(Tank(), str(tmp_path / "videos"), episode_trigger=lambda episode: episode == 1)
    env = STACKS["all of them"](env if action_wrapper is None else action_wrapper(env))
    agent = MPDQN("MlpPolicy", env, learning_starts=10, batch_size=4, policy_kwargs={"net_arch": [8]}, seed=0)
    agent.learn(25)
    env.close()
    assert agent._n_updates > 0
    assert agent.observation_transform.size == 6  # two observations of a level and two one-hot numbers
    assert [episode["l"] for episode in agent.ep_info_buffer] == [5] * 5, "TimeLimit ends episodes"
    assert all(episode["r"] >= 0 for episode in agent.ep_info_buffer), "statistics are those under TransformReward"
    stored = agent.replay_buffer.rows[:25, agent.row.places["r"]]
    assert (stored <= 0).all() and (stored < 0).any(), "the agent learns from the transformed rewards"
    assert (tmp_path / "videos/rl-video-episode-1.mp4").stat().st_size > 0

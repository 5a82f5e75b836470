"""The replay buffer's public side: transitions in the environment's units, stored as training's own, and read back."""

import copy
import io
from collections import OrderedDict
from unittest.mock import patch

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from pamdp_agents import MPDQN, PADDPG
from pamdp_agents.experience import ring

SMALL = {"policy_kwargs": {"net_arch": [8]}, "learning_starts": 5, "batch_size": 4, "buffer_size": 50, "seed": 0}

BOX = spaces.Box(-2, 6, (2,), np.float32)
NARROW = spaces.Box(1e5, 1e5 + 3, (1,), np.float64)
OBSERVATIONS = {
    "box": BOX,
    "unbounded": spaces.Box(-np.inf, np.inf, (2, 3), np.float64),
    "image": spaces.Box(0, 255, (4, 4, 1), np.uint8),
    "one point": spaces.Box(3, 3, (2,), np.float32),
    "discrete": spaces.Discrete(4, start=2),
    "multi": spaces.MultiDiscrete([3, 4], start=[1, 0]),
    "binary": spaces.MultiBinary(3),
    "dict": spaces.Dict({"a": BOX, "b": spaces.Tuple((spaces.Discrete(3), spaces.MultiBinary((2, 2))))}),
    "tuple": spaces.Tuple((BOX, spaces.Discrete(3))),
}
ACTIONS = {
    "tuple": spaces.Tuple((spaces.Discrete(2, start=5), spaces.Tuple((BOX, NARROW)))),
    "flat": spaces.Tuple((spaces.Discrete(2), BOX, spaces.Box(0, 9, (1,), np.int64))),
    "dict": spaces.Dict(OrderedDict(kind=spaces.Discrete(2), x0=BOX, x1=NARROW)),
    "one of": spaces.OneOf((BOX, NARROW, spaces.Discrete(1))),
    "box": spaces.Box(-1, 1, (2, 2), np.float32),
    "discrete": spaces.Discrete(3, start=1),
}


class Sampled(gym.Env):
    """Random observations, and rewards that count the steps."""

    def __init__(self, observation_space=BOX, action_space=ACTIONS["tuple"]):
        self.observation_space, self.action_space = copy.deepcopy((observation_space, action_space))
        self.observation_space.seed(0)
        self.action_space.seed(0)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        self.steps += 1
        return self.observation_space.sample(), float(self.steps), self.steps == 3, False, {}


def transitions(env, n):
    """Returns n random transitions, as the arguments of `add` for one each."""
    observe, act = env.observation_space.sample, env.action_space.sample
    return [(observe(), observe(), act(), float(i), i % 3 == 2, {"TimeLimit.truncated": i == 5}) for i in range(n)]


def assert_same(one, other, space):
    """Checks that two elements of a space are the same, its floats as far as scaled float32 goes."""
    if isinstance(space, spaces.Tuple | spaces.Dict):
        for key in range(len(space)) if isinstance(space, spaces.Tuple) else space:
            assert_same(one[key], other[key], space[key])
    elif isinstance(space, spaces.OneOf):
        assert one[0] == other[0]
        assert_same(one[1], other[1], space.spaces[one[0]])
    else:
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)
        assert np.asarray(one).dtype.kind == np.asarray(other).dtype.kind


def element(space, stacked, i):
    """Returns one of n stacked observations."""
    if isinstance(space, spaces.Tuple):
        return tuple(element(part, column, i) for part, column in zip(space, stacked, strict=True))
    if isinstance(space, spaces.Dict):
        return {key: element(part, stacked[key], i) for key, part in space.items()}
    return stacked[i]


@pytest.mark.parametrize(
    "observations, actions",
    [(name, "tuple") for name in OBSERVATIONS] + [("box", name) for name in ACTIONS if name != "tuple"],
)
def test_what_is_added_is_read_back_in_the_environments_units(observations, actions):
    env = Sampled(OBSERVATIONS[observations], ACTIONS[actions])
    policy = "MultiInputPolicy" if observations == "dict" else "MlpPolicy"
    buffer = MPDQN(policy, env, reward_scale=0.5, **SMALL).replay_buffer
    given = transitions(env, 7)
    for obs, after, action, reward, done, info in given[:4]:  # one by one, as a batch of one, and together
        buffer.add(obs, after, action, reward, done, info)
    columns = list(zip(*given[4:], strict=True))
    buffer.add(*(list(column) for column in columns[:3]), *map(np.array, columns[3:5]), list(columns[5]))
    assert (buffer.size(), len(buffer), buffer.pos, buffer.full) == (7, 7, 7, False)
    for i, (obs, after, action, reward, _, _) in enumerate(given):
        assert_same(element(env.observation_space, buffer.observations, i), obs, env.observation_space)
        assert_same(element(env.observation_space, buffer.next_observations, i), after, env.observation_space)
        assert_same(buffer.actions[i], action, env.action_space)
        assert env.action_space.contains(buffer.actions[i])
        assert buffer.rewards[i] == reward
    assert buffer.dones.tolist() == [0, 0, 1, 0, 0, 0, 0]  # the second end was a time limit's


@pytest.mark.parametrize("agent", [MPDQN, PADDPG])
def test_what_is_added_trains_as_what_was_lived(agent):
    env = Sampled()
    lived = agent("MlpPolicy", env, reward_scale=0.5, **SMALL).learn(9)
    buffer = lived.replay_buffer
    other = agent("MlpPolicy", Sampled(), reward_scale=0.5, **SMALL)
    other.replay_buffer.add(
        buffer.observations, buffer.next_observations, buffer.actions, buffer.rewards, buffer.dones, [{}] * 9
    )
    layout = buffer.layout
    parts = slice(0, layout.places["discount"].stop)
    np.testing.assert_allclose(other.replay_buffer.rows[:9, parts], buffer.rows[:9, parts], atol=1e-6)
    if agent is PADDPG:  # scores that mean the same action
        scores = other.replay_buffer.rows[:9, layout.places["scores"]]
        np.testing.assert_array_equal(scores.argmax(1), buffer.rows[:9, layout.places["k"].start])
    other.learn(20, reset_num_timesteps=False)
    assert other._n_updates == 15
    assert all(np.isfinite(weights).all() for weights in other.flat_weights().values())


def test_actions_of_vector_environments_are_taken_as_they_stack_them():
    env = Sampled()
    buffer = MPDQN("MlpPolicy", env, **SMALL).replay_buffer
    given = [env.action_space.sample() for _ in range(3)]
    stacked = (
        np.array([k for k, _ in given]),
        tuple(np.stack([boxes[i] for _, boxes in given]) for i in range(2)),
    )
    observations = np.zeros((3, 2), "f")
    buffer.add(observations, observations, stacked, np.zeros(3), np.zeros(3, bool), [{}] * 3)
    for own, other in zip(buffer.actions, given, strict=True):
        assert_same(own, other, env.action_space)


WRONG = {
    "obs": [np.zeros((1, 3)), np.full((1, 2), np.nan), np.full((1, 2), 1e40), "x", None],
    "next_obs": [np.zeros(2), np.zeros((2, 2)), np.full((1, 2), np.inf)],
    "action": [
        [(9, (np.zeros(2), np.full(1, 1e5)))],
        [(5, (np.full(2, 7.0), np.full(1, 1e5)))],
        [(5, (np.full(2, np.nan), np.full(1, 1e5)))],
        [],
        5,
        None,
        [None],
        (np.array([5]), (np.zeros((2, 2)), np.full((1, 1), 1e5))),
    ],
    "reward": [np.zeros(2), np.array([np.nan]), np.array([1e39]), ["1"], np.zeros((1, 2)), [None], [[1], [2, 3]]],
    "done": [np.zeros(2), [2], ["False"], [np.nan], None],
    "infos": [[], [{}, {}], {}, [None], None],
}


@pytest.mark.parametrize(
    "name, value", [pytest.param(name, v, id=f"{name}-{i}") for name, vs in WRONG.items() for i, v in enumerate(vs)]
)
def test_what_does_not_fit_is_refused_by_its_name_and_nothing_is_stored(name, value):
    buffer = MPDQN("MlpPolicy", Sampled(), **SMALL).replay_buffer
    right = {
        "obs": np.zeros((1, 2)),
        "next_obs": np.zeros((1, 2)),
        "action": [(5, (np.zeros(2), np.full(1, 1e5)))],
        "reward": np.zeros(1),
        "done": np.zeros(1, bool),
        "infos": [{}],
    }
    with pytest.raises((ValueError, TypeError), match=f"^{name}"):
        buffer.add(**right | {name: value})
    assert len(buffer) == 0
    buffer.add(**right)
    assert len(buffer) == 1


def test_samples_are_of_what_is_stored_and_do_not_change_training():
    agents = [MPDQN("MlpPolicy", Sampled(), **SMALL).learn(10) for _ in range(2)]
    samples = agents[0].replay_buffer.sample(30)
    assert samples.observations.shape == (30, 2) and len(samples.actions) == 30
    assert samples.rewards.shape == samples.dones.shape == (30, 1)
    assert set(samples.rewards.ravel().tolist()) == {1, 2, 3}
    np.testing.assert_array_equal(samples.dones, samples.rewards == 3)
    for agent in agents:
        agent.learn(20, reset_num_timesteps=False)
    np.testing.assert_array_equal(*(agent.replay_buffer.rows for agent in agents))
    with pytest.raises(ValueError, match="batch_size"):
        agents[0].replay_buffer.sample(0)
    agents[0].replay_buffer.reset()
    assert (len(agents[0].replay_buffer), agents[0].replay_buffer.pos) == (0, 0)
    with pytest.raises(ValueError, match="empty"):
        agents[0].replay_buffer.sample(1)


def test_extend_adds_one_after_the_other_and_the_oldest_go():
    env = Sampled()
    buffer = MPDQN("MlpPolicy", env, **SMALL | {"buffer_size": 5}).replay_buffer
    buffer.extend(*zip(*transitions(env, 7), strict=True))
    assert (buffer.full, buffer.pos, buffer.size(), buffer.buffer_size, buffer.n_envs) == (True, 2, 5, 5, 1)
    assert buffer.rewards.tolist() == [5, 6, 2, 3, 4]


def test_single_numbers_may_be_arrays_of_one_as_sb3_makes_them():
    class Plain(Sampled):
        def __init__(self):
            super().__init__(spaces.Discrete(4), spaces.Discrete(3))

    buffer, other = (MPDQN("MlpPolicy", Plain(), **SMALL).replay_buffer for _ in range(2))
    obs, after, action = (np.array(column)[:, None] for column in ([1, 2], [2, 3], [0, 2]))
    buffer.add(obs, after, action, np.ones((2, 1)), np.zeros((2, 1)), [{}] * 2)
    buffer.add(3, 0, np.array([1]), np.array([2.0]), np.array([True]), [{}])
    assert np.ravel(buffer.observations).tolist() == [1, 2, 3] and np.ravel(buffer.actions).tolist() == [0, 2, 1]
    assert buffer.rewards.tolist() == [1, 1, 2] and buffer.dones.tolist() == [0, 0, 1]
    drawn = buffer.sample(6)
    other.add(drawn.observations, drawn.next_observations, drawn.actions, drawn.rewards, drawn.dones, [{}] * 6)
    np.testing.assert_array_equal(other.rewards, drawn.rewards[:, 0])


@pytest.mark.parametrize(
    "observations, actions, settings, said",
    [
        (spaces.Box(-2, 7, (2,), np.float32), ACTIONS["box"], {}, "observation_scales"),
        (BOX, ACTIONS["box"], {"scale_observations": False}, "observation_scales"),
        (BOX, spaces.Box(-9, 9, (2, 2), np.float32), {}, "parameter_bounds"),
    ],
)
def test_transitions_that_were_scaled_otherwise_are_refused(observations, actions, settings, said):
    saved = MPDQN("MlpPolicy", Sampled(BOX, ACTIONS["box"]), **SMALL).learn(9).replay_state()
    agent = MPDQN("MlpPolicy", Sampled(observations, actions), **SMALL | settings)
    with pytest.raises(ValueError, match=said):
        agent.restore_replay(saved)
    assert len(agent.replay_buffer) == 0


def test_another_scale_of_rewards_is_that_of_all_that_is_stored(tmp_path):
    agent = MPDQN("MlpPolicy", Sampled(), reward_scale=0.5, **SMALL).learn(9)
    rewards, column = agent.replay_buffer.rewards, agent.row.places["r"].start
    agent.save(tmp_path / "agent", include=["replay_buffer"])
    agent.save_replay_buffer(tmp_path / "buffer")
    agent.reward_scale = 4.0
    other = MPDQN("MlpPolicy", Sampled(), reward_scale=4.0, **SMALL)
    other.load_replay_buffer(tmp_path / "buffer")
    for each in (agent, other, MPDQN.load(tmp_path / "agent", reward_scale=4.0)):
        np.testing.assert_array_equal(each.replay_buffer.rows[:9, column], rewards * 4)
        np.testing.assert_array_equal(each.replay_buffer.rewards, rewards)


def test_a_scale_that_stored_rewards_do_not_bear_is_refused():
    agent = MPDQN("MlpPolicy", Sampled(), **SMALL).learn(9)
    rows = agent.replay_buffer.rows.copy()
    with pytest.raises(ValueError, match=r"reward_scale=1e\+38 makes rewards"):
        agent.replay_buffer.rows[0, agent.row.places["r"]] = rows[0, agent.row.places["r"]] = 1e6
        agent.reward_scale = 1e38
    assert agent.reward_scale == agent.replay_buffer.reward_scale == 1.0
    np.testing.assert_array_equal(agent.replay_buffer.rows, rows)
    agent.save_replay_buffer(file := io.BytesIO())
    for wrong in (0.0, -1.0, np.nan, np.inf, [1.0], "1"):
        state = agent.replay_state() | {"reward_scale": np.array(wrong)}
        with pytest.raises(ValueError, match="the reward_scale"):
            agent.restore_replay(state)
    agent.load_replay_buffer(file)


def test_it_knows_the_number_of_environments():
    agent = MPDQN("MlpPolicy", gym.vector.SyncVectorEnv([Sampled] * 3), **SMALL)
    assert agent.replay_buffer.n_envs == 3
    agent.set_env(Sampled())
    assert agent.replay_buffer.n_envs == 1


def test_a_buffer_larger_than_what_is_available_warns():
    with (
        patch.object(ring, "available_memory", lambda: 1000),
        pytest.warns(UserWarning, match=r"buffer_size=50 .* GB of memory .* are available"),
    ):
        MPDQN("MlpPolicy", Sampled(), **SMALL)


def test_what_is_available_is_told():
    available = ring.available_memory()
    assert available is None or 0 < available < 2**60

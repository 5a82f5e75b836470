"""Agents on random spaces: each learns, is saved, loaded and acts as before, or is refused in a sentence."""

import io
import json
import random
import re
import warnings
from collections import Counter

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv

from pamdp_agents import MPDQN, PADDPG, PDQN, QPAMDP, SPDQN, HybridActionWrapper, HybridPPO

SMALL = {"policy_kwargs": {"net_arch": [4]}, "learning_starts": 6, "batch_size": 4, "buffer_size": 40, "seed": 0}


def random_shape(rng):
    return rng.choice([(), (0,), (1,), (2,), (3,), (2, 2), (1, 1, 2), (2, 0)])


def random_box(rng, finite):
    shape = rng.choice([(), (0,), (1,), (2,), (2, 2)]) if finite else random_shape(rng)
    dtype = rng.choice([np.float32, np.float64, np.float16, np.int64, np.uint8, np.int8])
    low, high = rng.choice(
        [(0, 1), (0, 100), (3, 3), (0, 7)] if dtype == np.uint8 else [(-1, 1), (-100, 5), (0, 1), (2, 2)]
    )
    if np.dtype(dtype).kind == "f":
        narrow = [(1e3, 1e3 + 1), (-1e-3, 1e-3)]
        unbounded = [(-np.inf, np.inf), (0, np.inf), (-1e4, 1e4)]
        low, high = rng.choice([(low, high), *narrow, *([] if finite else unbounded)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return spaces.Box(dtype(low), dtype(high), shape, dtype)


def random_leaf(rng):
    kind = rng.choice(["box", "box", "box", "discrete", "multi-discrete", "multi-binary"])
    if kind == "box":
        return random_box(rng, finite=False)
    if kind == "discrete":
        return spaces.Discrete(rng.randint(1, 6), start=rng.choice([0, 0, -2, 3]))
    if kind == "multi-discrete":
        return spaces.MultiDiscrete([rng.randint(1, 4) for _ in range(rng.randint(1, 3))])
    return spaces.MultiBinary(rng.choice([1, 3, (2, 2)]))


def random_observation_space(rng, depth=0):
    kind = rng.choice(["leaf", "leaf", "leaf", "dict", "tuple"]) if depth < 2 else "leaf"
    if kind == "leaf":
        return random_leaf(rng)
    parts = [random_observation_space(rng, depth + 1) for _ in range(rng.randint(1, 3))]
    return spaces.Tuple(parts) if kind == "tuple" else spaces.Dict({f"part {i}": part for i, part in enumerate(parts)})


def random_action_space(rng):
    n = rng.randint(1, 5)
    boxes = [random_box(rng, finite=True) for _ in range(n)]
    choice = spaces.Discrete(n, start=rng.choice([0, 0, 1, -3]))
    layouts = {
        "discrete": lambda: choice,
        "box": lambda: boxes[0],
        "nested tuple": lambda: spaces.Tuple((choice, spaces.Tuple(boxes))),
        "flat tuple": lambda: spaces.Tuple((choice, *boxes)),
        "dict": lambda: spaces.Dict({"k": choice} | {f"x{i}": box for i, box in enumerate(boxes)}),
        "one of": lambda: spaces.OneOf([*boxes, spaces.Discrete(1)]),
        "shared": lambda: spaces.Tuple((choice, spaces.Box(-1, 1, (3,)))),
    }
    layout = rng.choice([*layouts])
    return layout, layouts[layout]()


class Drawn(gym.Env):
    """Random observations and rewards; every action must be of its space."""

    def __init__(self, observation_space, action_space):
        self.observation_space, self.action_space = observation_space, action_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.steps = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        assert self.action_space.contains(action), f"{action} is not in {self.action_space}"
        self.steps += 1
        return self.observation_space.sample(), float(self.np_random.normal()), self.steps % 4 == 0, False, {}


def come_back(agent, env):
    """The agent from a file, in an environment: it acts as the one that was saved, and within the action space."""
    agent.save(file := io.BytesIO(), include=agent.saved_apart)
    loaded = type(agent).load(file)
    for _ in range(3):
        observation = env.observation_space.sample()
        action, other = (each.predict(observation, deterministic=True)[0] for each in (agent, loaded))
        assert repr(action) == repr(other)
        assert env.action_space.contains(action)
        assert env.action_space.contains(loaded.predict(observation)[0])
    loaded.set_env(env)
    return loaded


def try_one(seed):
    """Returns "works", or why the spaces are refused; what is neither raises."""
    rng = random.Random(seed)
    observation_space, (layout, action_space) = random_observation_space(rng), random_action_space(rng)
    agent_class, several = rng.choice([PDQN, MPDQN, SPDQN, PADDPG]), rng.random() < 0.25
    nested = isinstance(observation_space, spaces.Dict | spaces.Tuple)
    policy = rng.choice(["MlpPolicy", "MultiInputPolicy"]) if nested else "MlpPolicy"

    def make_env():
        env = Drawn(observation_space, action_space)
        if layout == "shared":
            n = action_space[0].n
            return HybridActionWrapper(env, parameter_mask=[[rng.random() < 0.6 for _ in range(3)] for _ in range(n)])
        return env

    one = make_env()
    try:
        env = SyncVectorEnv([lambda: one, lambda: Drawn(observation_space, one.action_space)]) if several else one
        if several and layout == "shared":
            env = one
        agent = agent_class(policy, env, **SMALL)
    except (TypeError, ValueError) as error:
        assert len(str(error)) > 20, error
        return f"refused: {error}"[:90]
    agent.learn(20)
    loaded = come_back(agent, one)
    np.testing.assert_array_equal(loaded.replay_buffer.rows, agent.replay_buffer.rows)
    loaded.learn(4, reset_num_timesteps=False)
    return "works"


def try_independent_parts(seed):
    """As `try_one`, with `HybridPPO` and actions of any parts."""
    rng = random.Random(seed)
    observation_space, action_space = random_observation_space(rng), random_observation_space(rng)
    settings = {"n_steps": 6, "batch_size": 6, "n_epochs": 1, "policy_kwargs": {"net_arch": [4]}, "seed": 0}
    one = Drawn(observation_space, action_space)
    try:
        agent = HybridPPO("MlpPolicy", one, action_layout=rng.choice([None, "independent"]), **settings)
    except (TypeError, ValueError) as error:
        assert len(str(error)) > 20, error
        return f"refused: {error}"[:90]
    agent.learn(12)
    come_back(agent, one)
    return "works"


def try_qpamdp(seed):
    """As `try_one`; what the Fourier basis cannot see for want of bounds is left out, as the error says."""
    rng = random.Random(seed)
    observation_space, (layout, action_space) = random_observation_space(rng), random_action_space(rng)
    env = Drawn(observation_space, action_space)
    if layout == "shared":
        masks = [[rng.random() < 0.6 for _ in range(3)] for _ in range(action_space[0].n)]
        env = HybridActionWrapper(env, parameter_mask=masks)
    settings = {"initial_action_episodes": 2, "n_rollouts": 2, "parameter_updates": 1, "action_episodes": 1, "seed": 0}
    features = {"fourier_order": 2}
    try:
        agent = QPAMDP("MlpPolicy", env, policy_kwargs=features, **settings)
    except (TypeError, ValueError) as error:
        advised = re.search(r'{"fourier_observations": (\[.*?\])}', str(error))
        if advised is None:
            assert len(str(error)) > 20, error
            return f"refused: {error}"[:90]
        features["fourier_observations"] = json.loads(advised[1])
        agent = QPAMDP("MlpPolicy", env, policy_kwargs=features, **settings)
    agent.learn(30)
    loaded = come_back(agent, env)
    loaded.learn(4, reset_num_timesteps=False)
    return "works"


def outcomes(seeds, try_one=try_one):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Counter(try_one(seed) for seed in seeds)


@pytest.mark.parametrize("seed", range(8))
def test_agents_on_random_spaces_work_or_say_why_not(seed):
    assert outcomes([seed]).total() == 1


@pytest.mark.parametrize("seed", range(3))
def test_hybrid_ppo_works_with_random_parts_of_actions_or_says_why_not(seed):
    assert outcomes([seed], try_independent_parts).total() == 1


def test_qpamdp_works_on_random_spaces():
    assert outcomes(range(20), try_qpamdp)["works"] >= 16


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1000, 1060, 10))
def test_hybrid_ppo_works_with_many_random_parts_of_actions(first):
    found = outcomes(range(first, first + 10), try_independent_parts)
    print(dict(found))
    assert found["works"] >= 6


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1000, 1320, 20))
def test_agents_on_many_random_spaces_work_or_say_why_not(first):
    found = outcomes(range(first, first + 20))
    print(dict(found))
    assert found["works"] >= 14

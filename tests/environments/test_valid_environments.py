"""What environments validly do is neither refused nor taken for another's mistake."""

import multiprocessing
import threading
import time

import gymnasium as gym
import keras
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import RecordEpisodeStatistics
from gymnasium.wrappers import vector as vector_wrappers
from toy_environments import Target

from pamdp_agents import PDQN
from pamdp_agents.evaluation import evaluate_policy

SMALL = {"policy_kwargs": {"net_arch": [4]}, "learning_starts": 5, "batch_size": 4, "buffer_size": 50, "seed": 0}


class Fixed(gym.Env):
    """Episodes of five steps that pay 1 each, with given observations and infos."""

    action_space = Target().action_space

    def __init__(self, space=None, observation=None, info=None):
        self.observation_space = spaces.Box(-1, 1, (2,)) if space is None else space
        self.observation = np.zeros(2, "f") if observation is None else observation
        self.info, self.steps = info or {}, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.observation, dict(self.info)

    def step(self, action):
        self.steps += 1
        return self.observation, 1.0, self.steps == 5, False, dict(self.info)


def learn(env):
    policy = "MultiInputPolicy" if isinstance(env.observation_space, spaces.Dict) else "MlpPolicy"
    return PDQN(policy, env, **SMALL).learn(12)


BYTES = spaces.Box(0, 255, (2,), np.uint8)
WHOLE = {
    "discrete": (spaces.Discrete(4), 2.0),
    "multi": (spaces.MultiDiscrete([3, 4]), np.array([1.0, 2.0])),
    "binary": (spaces.MultiBinary(2), np.array([1.0, 0.0])),
    "dict": (spaces.Dict(a=spaces.Discrete(3), b=BYTES), {"a": 1.0, "b": np.array([3.0, 4.0])}),
    "tuple": (spaces.Tuple((spaces.Discrete(3), spaces.Box(-1, 1, (1,)))), (np.float32(2), [0.5])),
}


@pytest.mark.parametrize("kind", WHOLE)
def test_whole_numbers_may_be_floats(kind):
    space, observation = WHOLE[kind]
    agent = learn(Fixed(space, observation))
    stacked = agent.get_env().reset()
    assert gym.spaces.utils.flatdim(space) == agent.observation_transform.size
    for part in stacked.values() if isinstance(stacked, dict) else stacked if isinstance(stacked, tuple) else [stacked]:
        assert len(part) == 1


def test_an_environment_may_have_processes_of_its_own():
    class Simulated(Fixed):
        processes = ()

        def reset(self, *, seed=None, options=None):
            for process in self.processes:
                process.terminate()
                process.join()
            self.processes = [multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,), daemon=True)]
            self.processes[0].start()
            return super().reset(seed=seed)

    env = Simulated()
    learn(env).learn(12)
    env.processes[0].terminate()


@pytest.mark.parametrize("key", [1, (1, 2), None])
def test_keys_of_infos_may_be_anything(key):
    assert learn(SyncVectorEnv([lambda: Fixed(info={key: True})] * 2)).num_timesteps == 12


def test_an_error_of_an_environments_own_is_its_own_also_within_a_library():
    class Broken(Fixed):
        def step(self, action):
            spaces.flatten(self.observation_space, np.array([object()]))

    class Outer(gym.Wrapper):
        def step(self, action):
            return self.env.step(self.action_space.spaces["nothing"])

    for env, kind in ((Broken(), TypeError), (Outer(Fixed()), TypeError)):
        with pytest.raises(kind) as caught:
            learn(env)
        assert "returned" not in str(caught.value) and "raised this" in caught.value.__notes__[-1]


@pytest.mark.parametrize("mode", AutoresetMode)
def test_recorded_vector_environments_are_evaluated_in_every_mode(mode):
    env = vector_wrappers.RecordEpisodeStatistics(SyncVectorEnv([Fixed] * 2, autoreset_mode=mode))
    assert evaluate_policy(learn(Fixed()), env, 3, warn=False) == (5.0, 0.0)


def test_an_environment_that_holds_a_recorded_one_is_not_recorded():
    class Holding(Fixed):
        def __init__(self):
            super().__init__()
            self.env = RecordEpisodeStatistics(Fixed())

    agent = learn(Fixed())
    assert evaluate_policy(agent, Holding(), 2, warn=False) == (5.0, 0.0)
    some = SyncVectorEnv([lambda: RecordEpisodeStatistics(Fixed()), Fixed])
    assert evaluate_policy(agent, some, 4, warn=False) == (5.0, 0.0)


def test_an_environment_made_by_its_id_may_have_the_recorders_key_for_itself(recwarn):
    gym.register("Own-v0", lambda: Fixed(info={"episode": 3}), disable_env_checker=True)
    try:
        assert evaluate_policy(learn(Fixed()), "Own-v0", 2) == (5.0, 0.0)
        assert not [warning for warning in recwarn if "RecordEpisodeStatistics" in str(warning.message)]
    finally:
        del gym.registry["Own-v0"]


def test_a_package_of_a_users_own_may_be_called_gym():
    own = type("Own", (Fixed,), {"__module__": "gym.my_simulator"})
    assert learn(own()).num_timesteps == 12


def test_agents_made_in_threads_leave_keras_as_it_was():
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    try:
        threads = [threading.Thread(target=learn, args=(Fixed(),)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert keras.config.floatx() == "float64"
    finally:
        keras.config.set_floatx(before)


@pytest.mark.parametrize("number", [10**400, -(10**400), 10**300, 1e300])
def test_numbers_of_a_recorder_may_be_of_any_size(number, tmp_path):
    agent = learn(Fixed(info={"episode": {"r": 1.0, "l": number, "t": number, "own": number}}))
    agent.save(tmp_path / "agent")
    assert PDQN.load(tmp_path / "agent").num_timesteps == 12

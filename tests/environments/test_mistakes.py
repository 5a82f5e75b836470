"""Mistakes of environments: each is an error that names environment, step and value, and nothing is lost."""

import decimal
import os

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from toy_environments import Target

import pamdp_agents
from pamdp_agents import MPDQN
from pamdp_agents.callbacks import BaseCallback
from pamdp_agents.evaluation import evaluate_policy
from pamdp_agents.spaces import ObservationTransform, ParameterizedActionSpace

SMALL = {"policy_kwargs": {"net_arch": [8]}, "learning_starts": 1000, "batch_size": 4, "buffer_size": 100, "seed": 0}
STEP = 7


class Careless(gym.Env):
    """Episodes of 5 steps; in step 7, and in the reset after it, something is wrong."""

    observation_space = Box(-1, 1, (2,))
    action_space = Target().action_space

    def __init__(self, in_step=None, in_reset=None, observation_space=None):
        self.in_step, self.in_reset, self.made = in_step, in_reset, 0
        self.observation_space = observation_space or self.observation_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        result = np.zeros(self.observation_space.shape, self.observation_space.dtype), {}
        return self.in_reset(result) if self.in_reset and self.made >= 5 else result

    def step(self, action):
        self.made, self.t = self.made + 1, self.t + 1
        result = np.zeros(self.observation_space.shape, self.observation_space.dtype), 1.0, self.t == 5, False, {}
        return self.in_step(result) if self.in_step and self.made == STEP else result


def put(index, value):
    """What changes one of a step's values."""
    return lambda result: (*result[:index], value, *result[index + 1 :])


def raising(error):
    def mistake(result):
        raise error

    return mistake


OBSERVATION, REWARD, TERMINATED, TRUNCATED, INFO = range(5)
STEPS = {
    "two rewards": (put(REWARD, np.array([1.0, 2.0])), "the reward .*1., 2.*not a number"),
    "no rewards": (put(REWARD, np.array([])), "the reward .* not a number"),
    "text": (put(REWARD, "1"), "the reward '1', which is not a number"),
    "an array of text": (put(REWARD, np.array("1")), "the reward .* not a number"),
    "complex": (put(REWARD, 1j), "the reward 1j, which is not a number"),
    "a dict": (put(REWARD, {}), "the reward {}, which is not a number"),
    "no reward": (put(REWARD, None), "the reward None, which is not a number"),
    "a huge integer": (put(REWARD, 10**400), "the reward 1000.*float32"),
    "nan": (put(REWARD, np.nan), "the reward nan, .*not a finite number"),
    "infinity": (put(REWARD, -np.inf), "the reward -inf, .*not a finite number"),
    "beyond float32": (put(REWARD, 1e39), r"the reward 1e\+39, .*float32"),
    "a text for an end": (put(TERMINATED, "False"), "terminated='False', which is neither True nor False"),
    "nan for an end": (put(TRUNCATED, np.nan), "truncated=nan, which is neither True nor False"),
    "two ends": (put(TERMINATED, np.array([True, False])), "terminated=array.* neither True nor False"),
    "2 for an end": (put(TRUNCATED, 2), "truncated=2, which is neither True nor False"),
    "a ragged observation": (put(OBSERVATION, [[1], [1, 2]]), r"the observation \[\[1\], \[1, 2\]\]"),
    "a text observation": (put(OBSERVATION, np.array(["a", "b"])), "the observation .*'a'"),
    "numbers as text": (put(OBSERVATION, ["1", "2"]), r"the observation \['1', '2'\]"),
    "objects": (put(OBSERVATION, np.array([0.1, None], object)), "the observation .*None"),
    "complex numbers": (put(OBSERVATION, np.array([1j, 0])), "the observation .*1.j"),
    "another shape": (put(OBSERVATION, np.zeros(3)), r"the observation .* shape \(2,\).*Got shape \(3,\)"),
    "no observation": (put(OBSERVATION, None), "the observation None"),
    "an observation of nan": (put(OBSERVATION, np.full(2, np.nan)), "observation that is not finite.*nan"),
    "an observation beyond float32": (
        put(OBSERVATION, np.array([1e39, 0])),
        r"observation .* beyond float32.*1.*e\+39",
    ),
    "four values": (lambda result: result[:4], "step must return .*old gym"),
    "six values": (lambda result: (*result, 1), r"step must return \(observation, reward, terminated"),
    "nothing": (lambda result: None, "returned None, but step must return"),
    "no info": (put(INFO, None), "the info None, which is not a dict"),
    "StopIteration": (raising(StopIteration()), "raised StopIteration"),
}
RESETS = {
    "nothing": (lambda result: None, r"returned None, but reset must return \(observation, info\)"),
    "None as observation": (lambda result: (None, {}), "the observation None from reset"),
    "no info": (lambda result: result[0], r"reset must return \(observation, info\).*old gym"),
    "three values": (lambda result: (*result, 1), r"reset must return \(observation, info\)"),
    "nan": (lambda result: (result[0] * np.nan, {}), "observation that is not finite"),
    "another shape": (lambda result: (np.zeros(3), {}), "the observation .* shape"),
    "StopIteration": (raising(StopIteration()), "raised StopIteration"),
}
# Where overflow is the mistake, NumPy warns of it as well.
pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")


def play_in_view(agent):
    view = agent.get_env()
    view.reset()
    for _ in range(10):
        view.step([agent.action_space.sample()])


PLAYED = {
    "learn": lambda agent: agent.learn(10),
    "evaluate_policy": lambda agent: evaluate_policy(agent, agent.env, 3, warn=False),
    "get_env": play_in_view,
}


@pytest.mark.parametrize("played", PLAYED)
@pytest.mark.parametrize("mistake", STEPS)
def test_a_steps_mistake_is_named_with_environment_step_and_value(mistake, played):
    in_step, message = STEPS[mistake]
    agent = MPDQN("MlpPolicy", Careless(in_step), **SMALL)
    with pytest.raises((TypeError, ValueError, RuntimeError), match=rf"(?s)environment Careless .*{message}.* step 7"):
        PLAYED[played](agent)
    if played == "learn":
        assert agent.num_timesteps == len(agent.replay_buffer) == 6
    agent.learn(3, reset_num_timesteps=False)


@pytest.mark.parametrize("played", PLAYED)
@pytest.mark.parametrize("mistake", RESETS)
def test_a_resets_mistake_after_an_episode_is_named(mistake, played, tmp_path):
    in_reset, message = RESETS[mistake]
    agent = MPDQN("MlpPolicy", Careless(in_reset=in_reset), **SMALL)
    expected = rf"(?s)environment Careless .*{message}.* the reset after step 5"
    with pytest.raises((TypeError, ValueError, RuntimeError), match=expected):
        PLAYED[played](agent)
    if played == "learn":
        assert agent.num_timesteps == len(agent.replay_buffer) == 5
    agent.save(tmp_path / "agent")
    assert MPDQN.load(tmp_path / "agent", env=Careless()).learn(3).num_timesteps == 3


@pytest.mark.parametrize(
    "reward",
    [np.array([2.0]), np.array(2), np.array([[2.0]]), [2.0], np.float32(2), np.int8(2), 2, decimal.Decimal(2)],
    ids=repr,
)
@pytest.mark.parametrize("played", PLAYED)
def test_exactly_one_number_is_a_reward_in_any_form(reward, played):
    agent = MPDQN("MlpPolicy", Careless(put(REWARD, reward)), **SMALL)
    PLAYED[played](agent)
    if played == "learn":
        np.testing.assert_array_equal(
            agent.replay_buffer.rows[:10, agent.row.places["r"]].ravel(), [1] * 6 + [2] + [1] * 3
        )


@pytest.mark.parametrize("end", [0, 1, np.bool_(True), np.array([True]), 1.0], ids=repr)
def test_what_equals_true_or_false_is_an_end(end):
    agent = MPDQN("MlpPolicy", Careless(put(TERMINATED, end)), **SMALL).learn(10)
    assert agent.replay_buffer.rows[6, agent.row.places["discount"]] == 1 - bool(end)


def test_a_reward_that_only_its_scale_makes_too_large_is_refused():
    agent = MPDQN("MlpPolicy", Careless(put(REWARD, 1e38)), **SMALL, reward_scale=10.0)
    with pytest.raises(ValueError, match=r"the reward 1e\+38, which times reward_scale=10 .* step 7"):
        agent.learn(10)
    assert agent.num_timesteps == 6 and np.isfinite(agent.replay_buffer.rows).all()
    agent.learn(3, reset_num_timesteps=False)


def test_what_an_environment_raises_itself_passes_with_a_note():
    agent = MPDQN("MlpPolicy", Careless(raising(KeyError("door"))), **SMALL)
    with pytest.raises(KeyError, match="door") as caught:
        agent.learn(10)
    assert "environment Careless raised this; this was at step 7" in caught.value.__notes__[0]


@pytest.mark.parametrize("space", [Discrete(3), MultiDiscrete([3, 2])], ids=str)
def test_whole_numbers_as_floats_are_discrete_observations_and_others_are_refused(space):
    whole, broken = np.ones(space.shape), np.full(space.shape, 1.5)
    observations = ObservationTransform(space)
    np.testing.assert_array_equal(observations(whole), observations(whole.astype(int)))
    agent = MPDQN("MlpPolicy", Careless(put(OBSERVATION, broken), observation_space=space), **SMALL)
    with pytest.raises(ValueError, match=r"(?s)environment Careless returned the observation .*1\.5.* step 7"):
        agent.learn(10)


def test_a_callback_that_raises_stop_iteration_is_understood():
    class Ending(BaseCallback):
        def _on_step(self):
            raise StopIteration

    with pytest.raises(RuntimeError, match=r"a callback .* raised StopIteration; .* return False"):
        MPDQN("MlpPolicy", Target(), **SMALL).learn(5, callback=Ending())


# -------------------------------------------------------------------- several environments


def vector(kind, in_step=None, in_reset=None):
    made = [Careless, lambda: Careless(in_step, in_reset)]
    return kind(made, autoreset_mode=AutoresetMode.SAME_STEP)


@pytest.mark.parametrize("kind", [SyncVectorEnv, AsyncVectorEnv])
@pytest.mark.parametrize(
    "mistake, message",
    [
        ("nan", r"\(number 1\) returned the reward nan"),
        ("beyond float32", r"\(number 1\) returned the reward 1e\+39"),
        ("an observation of nan", r"\(number 1\) returned an observation that is not finite"),
        ("complex", "float.*complex"),
        ("two rewards", "gymnasium.vector"),
        ("another shape", "shape"),
        ("four values", "not enough values to unpack"),
    ],
)
def test_a_mistake_of_one_of_several_is_named(kind, mistake, message):
    envs = vector(kind, STEPS[mistake][0])
    agent = MPDQN("MlpPolicy", envs, **SMALL)
    with pytest.raises((TypeError, ValueError, RuntimeError), match=rf"(?s)environment .*{message}.* step 13"):
        agent.learn(40)
    assert agent.num_timesteps == len(agent.replay_buffer) == 12
    agent.set_env(SyncVectorEnv([Careless] * 2))
    agent.learn(4, reset_num_timesteps=False)
    envs.close()


DEATHS = {
    "ends": (lambda result: os._exit(3), "exit code 3"),
    "is killed": (lambda result: os.kill(os.getpid(), 9), "signal 9"),
    "exits": (raising(SystemExit(4)), "exit code"),
    "raises": (raising(OSError("disk")), "OSError: disk"),
}


@pytest.mark.parametrize("where", ["step", "reset"])
@pytest.mark.parametrize("death", DEATHS)
def test_the_end_of_a_process_is_told_at_once_in_every_learn_until_other_environments_come(death, where):
    mistake, message = DEATHS[death]
    envs = vector(AsyncVectorEnv, **{f"in_{where}": mistake})
    agent = MPDQN("MlpPolicy", envs, **SMALL)
    lost = rf"environment .*\(number 1\) .*{message}.*set_env"
    with pytest.raises(RuntimeError, match=lost):
        agent.learn(40)
    for _ in range(2):
        with pytest.raises(RuntimeError, match=lost):
            agent.learn(4, reset_num_timesteps=False)
    with pytest.raises(RuntimeError, match="set_env"):
        evaluate_policy(agent, envs, 1, warn=False)
    envs.close()  # does not wait for answers that will not come
    before = agent.num_timesteps
    agent.set_env(SyncVectorEnv([Careless] * 2))
    assert agent.learn(4, reset_num_timesteps=False).num_timesteps == before + 4


# -------------------------------------------------------------------- other environments during training


class Switching(BaseCallback):
    def __init__(self, env, at, **how):
        super().__init__()
        self.given, self.at, self.how = env, at, how

    def _on_step(self):
        if self.n_calls == self.at:
            self.model.set_env(self.given, **self.how)
        return True


def test_set_env_in_a_callback_counts_from_the_next_step():
    first, second = Careless(), Careless()
    callback = Switching(second, at=3)
    agent = MPDQN("MlpPolicy", first, **SMALL).learn(10, callback=callback)
    assert (first.made, second.made, second.t) == (3, 7, 2)
    assert agent.env.envs[0] is callback.locals["env"].envs[0] is second
    assert agent.num_timesteps == len(agent.replay_buffer) == 10


def test_set_env_in_a_callback_may_give_another_number_of_environments():
    envs = SyncVectorEnv([Careless] * 3, autoreset_mode=AutoresetMode.SAME_STEP)
    settings = SMALL | {"learning_starts": 2, "action_noise": "ornstein_uhlenbeck"}
    agent = MPDQN("MlpPolicy", Careless(), **settings).learn(16, callback=Switching(envs, at=4))
    assert agent.num_timesteps == len(agent.replay_buffer) == 16
    assert len(agent.explorer.noises) == 3
    assert [env.made for env in envs.envs] == [4] * 3


def test_set_env_in_a_callback_goes_on_in_the_middle_of_an_episode():
    env = Careless()
    agent = MPDQN("MlpPolicy", env, **SMALL).learn(8, callback=Switching(env, at=3, force_reset=False))
    assert env.made == 8 and env.t == 3, "one reset, at the end of the first episode"
    assert [episode["l"] for episode in agent.ep_info_buffer] == [5]


# -------------------------------------------------------------------- unusual spaces


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("agent_name", ["PDQN", "MPDQN", "SPDQN", "PADDPG"])
def test_observations_of_size_0_are_learned_from_and_exported_with_every_activation(activation, agent_name, tmp_path):
    settings = SMALL | {"learning_starts": 4, "policy_kwargs": {"net_arch": [8, 8], "activation_fn": activation}}
    env = Careless(observation_space=Box(-1, 1, (0,)))
    agent = getattr(pamdp_agents, agent_name)("MlpPolicy", env, **settings).learn(8)
    action, _ = agent.predict(np.zeros(0), deterministic=True)
    assert agent.action_space.contains(action)
    agent.export(tmp_path / "policy")
    exported = tf.saved_model.load(str(tmp_path / "policy")).signatures["serving_default"]
    assert exported(observation=tf.zeros((3, 0)))["action"].numpy().tolist() == [action[0]] * 3


def test_bounds_beyond_float32_leave_sane_observations_as_they_are():
    space = Box(-1e300, 1e300, (2,), np.float64)
    np.testing.assert_array_equal(ObservationTransform(space)(np.array([0.5, -2.0])), np.array([0.5, -2.0], "f"))
    agent = MPDQN("MlpPolicy", Careless(put(OBSERVATION, np.array([1e300, 0])), observation_space=space), **SMALL)
    with pytest.raises(ValueError, match=r"beyond float32's .*1.e\+300.* step 7"):
        agent.learn(10)


def test_ranges_too_narrow_to_be_scaled_count_as_one_number():
    narrow = Box(0, 1e-310, (2,), np.float64)
    np.testing.assert_array_equal(ObservationTransform(narrow)(np.array([0, 1e-310])), np.zeros(2))
    actions = ParameterizedActionSpace(narrow)
    for value in (0.0, 1e-310):
        _, x = actions.from_env(np.full(2, value))
        assert np.isfinite(x).all() and (np.abs(x) <= 1).all()
    assert narrow.contains(actions.to_env(0, np.array([1.0, -np.inf])))


def of_old_gym(cls):
    """As if a class were of the package `gym`, which need not be installed."""
    return type(cls.__name__, (cls,), {"__module__": "gym.core"})


def test_what_is_of_the_old_gym_package_is_told_so():
    space = of_old_gym(type("Box", (), {}))()
    for name in ("observation_space", "action_space"):
        env = Careless()
        setattr(env, name, space)
        with pytest.raises(TypeError, match=rf"env.s {name} is of the old gym package.*gymnasium.spaces"):
            MPDQN("MlpPolicy", env, **SMALL)
    with pytest.raises(TypeError, match="action_space is of the old gym package"):
        ParameterizedActionSpace(space)
    with pytest.raises(TypeError, match="observation_space is of the old gym package"):
        ObservationTransform(space)
    old = of_old_gym(type("Old", (), {"num_envs": 2, "reset": None, "step": None}))()
    for give in (lambda: MPDQN("MlpPolicy", old, **SMALL), lambda: evaluate_policy(None, old, 1)):
        with pytest.raises(TypeError, match=r"env, Old, is of the old gym package.*gymnasium.spaces"):
            give()

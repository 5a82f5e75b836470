"""What programs for Stable-Baselines3 meet: neutral arguments, copies, `env`, `policy`, `q_values`."""

import copy
import io
import pickle
from collections import UserDict, UserList

import cloudpickle
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, Tuple
from toy_environments import Target

from pamdp_agents import MPDQN, PADDPG, PDQN
from pamdp_agents.callbacks import BaseCallback
from pamdp_agents.evaluation import evaluate_policy
from pamdp_agents.learning import compiled_update
from pamdp_agents.logger import configure

SMALL = {"learning_starts": 10, "batch_size": 4, "buffer_size": 500, "policy_kwargs": {"net_arch": [8]}, "seed": 0}
OBSERVATION = np.array([0.25, -0.5], np.float32)


def make(agent_class=MPDQN, **settings):
    return agent_class("MlpPolicy", Target(), **SMALL | settings)


@pytest.mark.parametrize(
    "neutral",
    [
        {"n_steps": 1},
        {"optimize_memory_usage": False},
        {"replay_buffer_class": None, "replay_buffer_kwargs": None},
        {"replay_buffer_kwargs": {}},
        {"use_sde": False, "sde_sample_freq": -1},
        {"target_update_interval": 1, "policy_delay": 1, "target_policy_noise": 0.0},
        {"_init_setup_model": True},
    ],
    ids=str,
)
def test_arguments_that_ask_for_nothing_are_taken(neutral):
    assert str(make(**neutral).settings()) == str(make().settings())


@pytest.mark.parametrize("asking", [{"use_sde": True}, {"target_update_interval": 2}], ids=str)
def test_arguments_that_ask_for_something_are_refused_by_name(asking):
    [name] = asking
    file = io.BytesIO()
    make().save(file)
    assert MPDQN.load(file, use_sde=False).gamma == 0.95
    with pytest.raises(ValueError, match=f"MPDQN takes {name}=.* only"):
        MPDQN.load(file, **asking)
    with pytest.raises(ValueError, match=f"MPDQN takes {name}=.* only"):
        make(**asking)


@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, lambda agent: pickle.loads(pickle.dumps(agent)), lambda a: cloudpickle.loads(cloudpickle.dumps(a))],
    ids=["deepcopy", "pickle", "cloudpickle"],
)
def test_a_copy_goes_on_as_the_agent_does(copied, tmp_path):
    agent = make(device="cpu", tensorboard_log=str(tmp_path))
    agent.set_logger(configure(None, []))
    agent.learn(40)
    twin = copied(agent)
    assert twin.device == "cpu"
    assert twin.tensorboard_log == str(tmp_path)
    assert twin.env is None and twin.num_timesteps == 40 and len(twin.replay_buffer) == 40
    for one in (agent, twin):
        env = Target()
        env.reset(seed=1)
        one.set_env(env)
        one.learn(20, reset_num_timesteps=False)
    for group, weights in agent.get_parameters().items():
        for name, value in weights.items():
            np.testing.assert_array_equal(twin.get_parameters()[group][name], value)


def test_an_agent_without_environment_can_be_copied():
    twin = copy.deepcopy(PDQN("MlpPolicy", None, gamma=0.5))
    assert type(twin) is PDQN and twin.gamma == 0.5


def test_settings_that_no_file_can_describe_travel_in_a_pickle():
    agent = make(learning_rate=lambda remaining: 0.5 * remaining)
    assert cloudpickle.loads(cloudpickle.dumps(agent)).lr_schedule(0.5) == 0.25


def test_env_is_a_vector_environment_in_callbacks_and_on_the_agent():
    seen = []

    class Look(BaseCallback):
        def _on_step(self):
            seen.append((self.model.env, self.training_env, self.locals["env"]))
            return True

    agent = make()
    agent.learn(3, callback=Look())
    assert all(env is agent.get_env() for envs in seen for env in envs)
    assert agent.env.num_envs == 1 and agent.env.reset().shape == (1, *OBSERVATION.shape)
    other = make()
    other.set_env(agent.env)  # as the environment within it
    assert other.env.envs[0] is agent.env.envs[0]


def test_policy_is_its_name_and_acts():
    agent = make()
    assert agent.policy == "MlpPolicy"
    expected = agent.predict(OBSERVATION, deterministic=True)
    assert str(agent.policy.predict(OBSERVATION, deterministic=True)) == str(expected)
    assert agent.policy.observation_space == agent.observation_space
    assert agent.policy.action_space == agent.action_space and agent.policy.device == "auto"
    assert evaluate_policy(agent.policy, Target(), 3, warn=False, seed=0) == evaluate_policy(
        agent, Target(), 3, warn=False, seed=0
    )


@pytest.mark.parametrize("agent_class", [PDQN, MPDQN])
@pytest.mark.parametrize("activation", ["relu", "gelu"], ids=["in NumPy", "compiled"])
def test_q_values_are_those_that_acting_compares(agent_class, activation):
    env = Target()
    env.action_space = Tuple((Discrete(2), Tuple((Box(-3.0, 5.0, (1,)), Box(0, 7, (2,), np.int64)))))
    settings = SMALL | {"policy_kwargs": {"net_arch": [8], "activation_fn": activation}}
    agent = agent_class("MlpPolicy", env, **settings)
    observations = np.random.default_rng(0).uniform(-1, 1, (5, 2)).astype(np.float32)
    values, parameters = agent.q_values(observations)
    assert values.shape == (5, 2) and [part.shape for part in parameters] == [(5, 1), (5, 2)]
    for i, (action, _) in enumerate(agent.predict(one, deterministic=True) for one in observations):
        k = int(action[0])
        assert k == values[i].argmax()
        np.testing.assert_allclose(action[1][k], parameters[k][i], rtol=1e-6)
    with np.errstate(all="raise"):
        one = agent.q_values(observations[2])
    np.testing.assert_allclose(one.values, values[2], rtol=1e-6)
    assert [part.shape for part in one.parameters] == [(1,), (2,)]
    assert not hasattr(PADDPG, "q_values")  # its critic gives one value to all of them


def test_dicts_lists_and_numbers_of_other_classes_are_taken_and_saved_as_plain_ones(tmp_path):
    settings = {
        "policy_kwargs": UserDict(net_arch=UserList([np.int64(8)])),
        "train_freq": UserList([np.int32(1), "step"]),
        "gamma": np.float64(0.5),
        "batch_size": np.array(4),
        "learning_rate": np.float64(0.01),
        "action_noise": UserDict(name="gaussian", sigma=np.float64(0.25)),
        "strategy": UserList(["zeroing", UserDict(name="sign_reversal", factor=np.float64(0.5))]),
        "double_q": np.True_,
    }
    make(**settings).save(tmp_path / "agent")
    loaded = MPDQN.load(tmp_path / "agent")
    assert (loaded.gamma, loaded.batch_size, loaded.learning_rate, loaded.double_q) == (0.5, 4, 0.01, True)
    assert loaded.policy_kwargs == {"net_arch": [8]} and loaded.round == (1, "step")


def test_part_of_the_weights_can_be_set():
    agent = make()
    before = agent.get_parameters()
    bias = before["q"]["hidden_0/bias"] + 1
    with pytest.raises(ValueError, match="missing"):
        agent.set_parameters({"q": {"hidden_0/bias": bias}})
    agent.set_parameters({"q": {"hidden_0/bias": bias}}, exact_match=False)
    after = agent.get_parameters()
    np.testing.assert_array_equal(after["q"]["hidden_0/bias"], bias)
    np.testing.assert_array_equal(after["q"]["hidden_0/kernel"], before["q"]["hidden_0/kernel"])


def test_equal_updates_are_compiled_once_and_other_ones_anew():
    def compiled(**settings):
        agent = make(**settings).learn(30)
        [(update, _)] = agent.learner._compiled.values()
        return update._public

    first = compiled()
    known = len(compiled_update._traced)
    # Neither the seed nor what is an input of the call makes another update.
    assert compiled(seed=5, gamma=0.5, learning_rate=0.1) is first
    assert len(compiled_update._traced) == known
    assert compiled(strategy="zeroing") is not first
    assert compiled(policy_kwargs={"net_arch": [9]}) is not first
    looping = {"train_freq": 3, "gradient_steps": 3}
    assert compiled(**looping) is compiled(**looping) is not first

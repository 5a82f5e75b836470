"""Bad input: each case a specific exception whose sentence says what was given and what to do."""

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
from toy_environments import Corridor, Target

from pamdp_agents import MPDQN, PDQN

SMALL = {"policy_kwargs": {"net_arch": [8]}, "learning_starts": 5, "batch_size": 4}


@pytest.mark.parametrize(
    "settings, error, message",
    [
        ({"batch_size": 0}, ValueError, "batch_size must be an integer of at least 1, got 0"),
        ({"batch_size": -3}, ValueError, "batch_size must be an integer of at least 1, got -3"),
        ({"buffer_size": 0}, ValueError, "buffer_size must be an integer of at least 1, got 0"),
        ({"buffer_size": "big"}, TypeError, "buffer_size must be an integer of at least 1, got 'big'"),
        ({"learning_starts": -1}, ValueError, "learning_starts must be an integer of at least 0, got -1"),
        ({"learning_rate": -1e-3}, ValueError, "learning_rate must be a finite number at least 0, got -0.001"),
        ({"learning_rate": float("nan")}, ValueError, "learning_rate must be a finite number at least 0, got nan"),
        ({"tau": 1.5}, ValueError, "tau must be a finite number at least 0 and at most 1, got 1.5"),
        ({"gamma": -0.1}, ValueError, "gamma must be a finite number at least 0 and at most 1, got -0.1"),
        ({"train_freq": 0}, ValueError, "train_freq must be an integer of at least 1, got 0"),
        ({"gradient_steps": -2}, ValueError, "gradient_steps must be an integer of at least -1, got -2"),
        ({"exploration_fraction": 0}, ValueError, "exploration_fraction must be"),
        ({"loss": "l1"}, ValueError, "loss must be one of 'mse', 'huber', got 'l1'"),
        ({"strategy": "inverse"}, ValueError, "'inverse' is unknown; known: none, inverting, zeroing, squashing"),
        ({"action_noise": "normal"}, ValueError, "'normal' is unknown; known: uniform, gaussian"),
        ({"device": "tpu"}, ValueError, "device must be 'auto', 'cpu', 'gpu' or one of"),
        ({"seed": -1}, ValueError, "seed must be an integer of at least 0 and at most 4294967295, got -1"),
        ({"seed": 2**33}, ValueError, "seed must be an integer of at least 0 and at most 4294967295, got 8589934592"),
        ({"policy": "LstmPolicy"}, ValueError, "policy must be one of 'MlpPolicy', .*, got 'LstmPolicy'"),
        ({"policy": "CnnPolicy"}, ValueError, "CnnPolicy .* needs observations that are images"),
        ({"policy_kwargs": {"netarch": [8]}}, ValueError, "policy_kwargs .*netarch.* must be among .*net_arch"),
        ({"policy_kwargs": {"net_arch": "64"}}, ValueError, "net_arch must be a list of .*, got '64'"),
        ({"policy_kwargs": {"net_arch": 64}}, ValueError, "net_arch must be a list of .*, got 64"),
        ({"policy_kwargs": {"net_arch": [1.5]}}, ValueError, "net_arch must be a list of .*, got \\[1.5\\]"),
        ({"policy_kwargs": {"net_arch": [0]}}, ValueError, "net_arch must be a list of .*, got \\[0\\]"),
        ({"policy_kwargs": {"net_arch": {"pi": [8]}}}, ValueError, "net_arch .*pi.*qf"),
        ({"passthrough": {"bias": [1.0]}}, ValueError, r"bias of shape \(4,\); got .* bias \(1,\)"),
        ({"passthrough": {"bias": [np.nan] * 4}}, ValueError, "passthrough must be finite"),
        ({"learning_rat": 1e-3}, TypeError, "learning_rat"),
        ({"double_q": "no"}, TypeError, "double_q must be True or False, got 'no'"),
        ({"scale_observations": 1}, TypeError, "scale_observations must be True or False, got 1"),
        ({"strategy": {"name": "sign_reversal", "factor": "big"}}, ValueError, "factor must be a number .*'big'"),
        ({"strategy": {"name": "sign_reversal", "factor": np.nan}}, ValueError, "factor must be a finite number"),
        ({"learning_rate": 10**400}, ValueError, "learning_rate must be a finite number at least 0"),
        (
            {"learning_rate": 1e308},
            ValueError,
            "learning_rate must be .* in float32, .* got 1e\\+308, which is infinity",
        ),
        (
            {"learning_rate": {"start": 1e-3, "end": 1e308}},
            ValueError,
            "end must be .* got 1e\\+308, which is infinity",
        ),
        ({"learning_rate": {"start": 1e-3, "end": -1}}, ValueError, "end must be a finite number at least 0, got -1"),
        ({"reward_scale": 1e-300}, ValueError, "reward_scale must be a number above 0 .* got 1e-300, which is 0 there"),
        ({"max_grad_norm": 1e308}, ValueError, "max_grad_norm must be .* got 1e\\+308, which is infinity"),
        ({"batch_size": 10**400}, ValueError, "batch_size must be .* at most 9007199254740992, got an integer of"),
        ({"stats_window_size": 10**30}, ValueError, "stats_window_size must be .* at most 9007199254740992, got 1000"),
        ({"train_freq": (1e300, "step")}, ValueError, "train_freq must be .* at most 9007199254740992, got 1e\\+300"),
        ({"exploration_schedule": {"start": 0.5, "end": 5}}, ValueError, "exploration_schedule.* at most 1, got 5.0"),
        ({"action_noise": {"name": "gaussian", "sigma": 1e308}}, ValueError, "sigma must be .* got 1e\\+308"),
        ({"action_noise": {"name": "ornstein_uhlenbeck", "theta": 2.1}}, ValueError, "theta must be .* at most 2"),
        ({"strategy": {"name": "pseudo_inverse", "factor": 1e308}}, ValueError, "factor must be .* at most 1000000.0"),
        ({"policy_kwargs": {"optimizer_kwargs": {"eps": 1e308}}}, ValueError, "epsilon must be .* got 1e\\+308"),
        ({"policy_kwargs": {"optimizer_kwargs": {"beta_1": 1 - 1e-10}}}, ValueError, "betas must be below 1"),
        ({"learning_rate": lambda _: -1.0}, ValueError, r"learning_rate\(progress_remaining=1\) must be .* got -1.0"),
        ({"learning_rate": lambda _: "x"}, TypeError, r"learning_rate\(progress_remaining=1\) must be a number"),
        ({"learning_rate": lambda: 1.0}, TypeError, "learning_rate must be .* a function of one number, the progress"),
        ({"learning_rate": "lin_1e-3"}, TypeError, "learning_rate must be .* a function of the progress that remains"),
        (
            {"actor_learning_rate": {"start": 1, "stop": 0}},
            ValueError,
            "actor_learning_rate as a dict takes start, end",
        ),
        ({"exploration_schedule": lambda _: 2.0}, ValueError, "exploration_schedule.* at most 1, got 2.0"),
        ({"train_freq": (1, "epoch")}, ValueError, "train_freq's unit must be one of 'step', 'episode', got 'epoch'"),
        ({"train_freq": (1, "step", 2)}, ValueError, r"train_freq must be a number of steps or \(number,"),
        ({"train_freq": (0, "step")}, ValueError, "train_freq must be an integer of at least 1, got 0"),
        ({"buffer_size": 10**15}, MemoryError, "buffer_size=1000000000000000 takes .* GB"),
        ({"n_steps": 10**15}, MemoryError, "n_steps=1000000000000000 takes .* GB"),
        ({"n_steps": 0}, ValueError, "n_steps must be an integer of at least 1, got 0"),
        ({"policy_kwargs": {"activation_fn": {"class_name": "relu"}}}, TypeError, "activation_fn must be the name"),
        (
            {"policy_kwargs": {"q_output_initializer": {"class_name": "function", "config": "os.system"}}},
            ValueError,
            "an initializer must be",
        ),
    ],
)
def test_wrong_settings_are_named_with_what_is_accepted(settings, error, message):
    with pytest.raises(error, match=message):
        MPDQN(**({"policy": "MlpPolicy", "env": Target()} | settings))


def with_action_space(space):
    env = Target()
    env.action_space = space
    return env


def test_unbounded_action_parameters_are_refused_with_the_reason():
    unbounded = gym.spaces.Tuple((gym.spaces.Discrete(1), gym.spaces.Box(-np.inf, 1, (1,))))
    with pytest.raises(ValueError, match=r"(?s)unbounded"):
        MPDQN("MlpPolicy", with_action_space(unbounded))


def test_unsupported_action_spaces_are_refused_with_those_accepted():
    with pytest.raises(TypeError, match=r"(?s)MultiDiscrete.*Tuple\(Discrete, Tuple\(Box"):
        MPDQN("MlpPolicy", with_action_space(gym.spaces.MultiDiscrete([2, 2])))


@pytest.mark.parametrize("env", [3, object(), Target])
def test_what_is_no_environment_is_refused(env):
    with pytest.raises(TypeError, match="env must be a Gymnasium environment or its id"):
        MPDQN("MlpPolicy", env)


def test_episodes_cannot_be_counted_over_several_environments():
    envs = gym.vector.SyncVectorEnv([Target] * 2)
    with pytest.raises(ValueError, match=r"train_freq=\(1, 'episode'\) .* needs one environment, but env has 2"):
        MPDQN("MlpPolicy", envs, train_freq=(1, "episode"))
    agent = MPDQN("MlpPolicy", Target(), train_freq=(1, "episode"))
    with pytest.raises(ValueError, match="env has 2"):
        agent.set_env(envs)
    assert agent.n_envs == 1 and isinstance(agent.env.envs[0], Target)


def test_a_gpu_that_is_not_there_is_replaced_by_the_cpu_with_a_warning():
    if tf.config.list_physical_devices("GPU"):
        assert MPDQN("MlpPolicy", Target(), device="cuda:0")._tf_device == "/GPU:0"
    else:
        with pytest.warns(UserWarning, match="device='cuda:0'.*no such device.*CPU") as caught:
            assert MPDQN("MlpPolicy", Target(), device="cuda:0")._tf_device == "/CPU:0"
        assert caught[0].filename == __file__  # the line of the user's


def test_an_environment_whose_reset_takes_no_seed_is_refused():
    class Old(Corridor):
        def reset(self):
            return np.zeros(1, "f"), {}

    with pytest.raises(TypeError, match=r"environment Old: reset\(seed=...\) must take a seed"):
        MPDQN("MlpPolicy", Old(), **SMALL).learn(5)


def test_an_environment_of_the_old_interface_is_refused():
    class OldReset(Corridor):
        def reset(self, *, seed=None, options=None):
            return super().reset(seed=seed)[0]

    class OldStep(Corridor):
        def step(self, action):
            observation, reward, terminated, _, info = super().step(action)
            return observation, reward, terminated, info

    class NoReward(Corridor):
        def step(self, action):
            observation, _, *rest = super().step(action)
            return observation, None, *rest

    for env, error, message in (
        (
            OldReset,
            TypeError,
            r"environment OldReset returned .* reset must return \(observation, info\).*old gym package",
        ),
        (
            OldStep,
            TypeError,
            r"(?s)environment OldStep returned .* step must return \(observation, reward, terminated, truncated, info.*"
            "old gym package",
        ),
        (NoReward, TypeError, "environment NoReward returned the reward None, which is not a number.* step 1"),
    ):
        with pytest.raises(error, match=message):
            MPDQN("MlpPolicy", env(), **SMALL).learn(5)


def test_nan_at_the_reset_after_an_episode_keeps_that_episode():
    class BrokenReset(Corridor):
        def reset(self, *, seed=None, options=None):
            observation, info = super().reset(seed=seed)
            return (observation * np.nan if self.total else observation), info

    agent = MPDQN("MlpPolicy", BrokenReset(length=3), seed=0, **SMALL)
    with pytest.raises(ValueError, match=r"not finite.*nan.*at the reset after step 3"):
        agent.learn(50)
    assert agent.num_timesteps == len(agent.replay_buffer) == 3


def test_a_strategy_that_returns_another_shape_is_refused():
    agent = MPDQN("MlpPolicy", Target(), strategy=lambda gradient, context: gradient[:, :1], **SMALL)
    with pytest.raises(ValueError, match=r"strategy must return a gradient of shape \(4, 4\), it returned \(4, 1\)"):
        agent.learn(10)


def test_what_could_not_be_saved_is_refused_before_training():
    env = Target()
    env.observation_space = gym.spaces.Text(5)
    with pytest.raises(TypeError, match="Text spaces cannot be saved"):
        MPDQN("MlpPolicy", env)

    class Vague(MPDQN):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)

    with pytest.raises(TypeError, match=r"Vague.__init__ must name its arguments"):
        Vague("MlpPolicy", Target())


@pytest.mark.parametrize("broken", ["reward", "observation"])
def test_nan_from_the_environment_is_named_with_its_step_and_nothing_is_lost(broken, tmp_path):
    agent = MPDQN("MlpPolicy", Corridor(broken_step=13, broken=broken), seed=0, **SMALL)
    with pytest.raises(ValueError, match=rf"environment Corridor returned .*{broken}.* step 13"):
        agent.learn(50)
    assert agent.num_timesteps == len(agent.replay_buffer) == 12
    assert np.isfinite(agent.replay_buffer.rows).all()
    agent.save(tmp_path / "agent")
    assert MPDQN.load(tmp_path / "agent").num_timesteps == 12


@pytest.mark.parametrize(
    "observation", [np.zeros(3), np.zeros((2, 3)), np.zeros((2, 2, 2)), 0.5, [np.zeros(2), np.zeros(3)]]
)
def test_observations_of_the_wrong_shape_are_refused(observation):
    agent = MPDQN("MlpPolicy", Target(), **SMALL)
    with pytest.raises(ValueError, match=r"(?s)(?i)shape.*\(2,\)"):
        agent.predict(observation)


def test_observations_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="observation must be finite"):
        MPDQN("MlpPolicy", Target(), **SMALL).predict(np.array([np.nan, 0]))


def test_learn_without_an_environment_says_how_to_give_one():
    with pytest.raises(RuntimeError, match="learn needs an environment"):
        PDQN("MlpPolicy", None).learn(10)


def test_an_agent_without_environment_can_be_given_one():
    agent = PDQN("MlpPolicy", None, **SMALL)
    for verb in (lambda: agent.predict(np.zeros(2)), lambda: agent.save("never"), lambda: agent.get_parameters()):
        with pytest.raises(RuntimeError, match="set_env"):
            verb()
    agent.set_env(Target())
    assert agent.learn(10).num_timesteps == 10


@pytest.mark.parametrize("total_timesteps", [0, -5, 1.5])
def test_learn_takes_a_positive_number_of_steps(total_timesteps):
    with pytest.raises((ValueError, TypeError), match="total_timesteps must be an integer of at least 1"):
        MPDQN("MlpPolicy", Target(), **SMALL).learn(total_timesteps)


def test_there_is_no_pretrained_agent_for_an_unknown_environment():
    with pytest.raises(FileNotFoundError, match=r"no pretrained MPDQN for 'CartPole-v1'"):
        MPDQN.from_pretrained("CartPole-v1")


@pytest.mark.parametrize("setting", ["batch_size", "gradient_steps"])
def test_batches_beyond_memory_are_refused_before_training(setting):
    agent = MPDQN("MlpPolicy", Target(), seed=0, **{setting: 10**13})
    with pytest.raises(MemoryError, match=f"{setting}=.* GB of memory at once, .*; choose fewer"):
        agent.learn(10)
    assert agent.num_timesteps == 0
    setattr(agent, setting, 1)
    agent.learn(10)

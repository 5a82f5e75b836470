"""What Stable-Baselines3's own tests demand of its agents, demanded of ours, on its environments."""

import copy
import io

import gymnasium as gym
import numpy as np
import pytest

from pamdp_agents import MPDQN, PADDPG

pytest.importorskip("stable_baselines3", reason="Stable-Baselines3 is not installed")

from stable_baselines3.common import envs as sb3_envs
from stable_baselines3.common.callbacks import BaseCallback, CheckpointCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.noise import NormalActionNoise, OrnsteinUhlenbeckActionNoise, VectorizedActionNoise
from stable_baselines3.common.vec_env import DummyVecEnv

SMALL = {"learning_starts": 20, "batch_size": 8, "buffer_size": 1000, "policy_kwargs": {"net_arch": [16]}, "seed": 0}
AGENTS = [MPDQN, PADDPG]


def weights(agent):
    return np.concatenate([w.ravel() for group in agent.get_parameters().values() for w in group.values()])


def test_an_identity_is_learned():
    env = sb3_envs.IdentityEnv(3, ep_length=20)
    settings = {"learning_starts": 100, "batch_size": 32, "exploration_fraction": 0.3, "gamma": 0.5, "seed": 0}
    agent = MPDQN("MlpPolicy", env, policy_kwargs={"net_arch": [32]}, **settings).learn(1500)
    assert evaluate_policy(agent, env, 5, warn=False, reward_threshold=18)[0] >= 18


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1", "pamdp/Platform-v0"])
@pytest.mark.parametrize("kind", AGENTS, ids=lambda kind: kind.__name__)
def test_two_runs_of_one_seed_are_the_same(kind, env_id):
    first, second = (kind("MlpPolicy", env_id, **SMALL).learn(60) for _ in range(2))
    np.testing.assert_array_equal(weights(first), weights(second))
    for agent in (first, second):
        agent.set_random_seed(3)
    env = gym.make(env_id)
    observations = list(
        np.random.default_rng(0).uniform(-0.1, 0.1, (5, *env.observation_space.shape)).astype(np.float32)
    )
    assert str([first.predict(each)[0] for each in observations]) == str(
        [second.predict(each)[0] for each in observations]
    )


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
@pytest.mark.parametrize("kind", AGENTS, ids=lambda kind: kind.__name__)
def test_predict_gives_actions_for_one_observation_and_for_those_of_a_vector_environment(kind, env_id):
    env, envs = gym.make(env_id), make_vec_env(env_id, n_envs=2)
    agent = kind("MlpPolicy", env, **SMALL)
    for deterministic in (True, False):
        action, state = agent.predict(env.reset(seed=0)[0], deterministic=deterministic)
        assert env.action_space.contains(action) and state is None
        actions, _ = agent.predict(envs.reset(), deterministic=deterministic)
        assert len(actions) == 2 and all(env.action_space.contains(each) for each in actions)
        assert len(envs.step(actions)[0]) == 2


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
@pytest.mark.parametrize("kind", AGENTS, ids=lambda kind: kind.__name__)
def test_plain_actions_are_checkpointed_loaded_and_trained_on(kind, env_id, tmp_path):
    agent = kind("MlpPolicy", env_id, **SMALL)
    agent.learn(60, callback=CheckpointCallback(30, str(tmp_path), "agent", save_replay_buffer=True))
    loaded = kind.load(tmp_path / "agent_60_steps", env=env_id)
    loaded.load_replay_buffer(tmp_path / "agent_replay_buffer_60_steps.pkl")
    assert loaded.num_timesteps == len(loaded.replay_buffer) == 60
    agent.set_parameters(tmp_path / "agent_60_steps")  # the last update came after it
    observation = agent.observation_space.sample()
    predicted = [str(each.predict(observation, deterministic=True)) for each in (agent, loaded)]
    assert predicted[0] == predicted[1]
    assert loaded.learn(20, reset_num_timesteps=False).num_timesteps == 80
    agent.set_parameters(tmp_path / "agent_30_steps")
    in_memory = io.BytesIO()
    loaded.save(in_memory)
    np.testing.assert_array_equal(weights(kind.load(in_memory)), weights(loaded))


@pytest.mark.parametrize(
    "policy, env",
    [
        ("MlpPolicy", sb3_envs.IdentityEnv(2)),
        ("MlpPolicy", sb3_envs.IdentityEnvBox()),
        ("CnnPolicy", sb3_envs.FakeImageEnv(screen_height=36, screen_width=36, n_channels=1, discrete=True)),
        ("CnnPolicy", sb3_envs.FakeImageEnv(screen_height=36, screen_width=36, n_channels=3, discrete=False)),
        ("MultiInputPolicy", sb3_envs.SimpleMultiObsEnv()),
        ("MultiInputPolicy", sb3_envs.SimpleMultiObsEnv(discrete_actions=False)),
        ("MultiInputPolicy", sb3_envs.BitFlippingEnv(3)),
    ],
    ids=["discrete", "box", "gray image", "image, box", "dict", "dict, box", "bits"],
)
def test_its_environments_are_learned_in_saved_and_evaluated(policy, env, tmp_path):
    settings = SMALL | {"policy_kwargs": {}, "learning_starts": 10}
    agent = MPDQN(policy, env, **settings).learn(16)
    agent.save(tmp_path / "agent")
    loaded = MPDQN.load(tmp_path / "agent", env=env)
    observation = loaded.get_env().reset()
    actions, _ = loaded.predict(observation, deterministic=True)
    assert str(actions) == str(agent.predict(observation, deterministic=True)[0])
    loaded.get_env().step(actions)


@pytest.mark.parametrize("sequence", ["list of observations", "observations with an axis"])
def test_batches_of_observations_may_be_lists(sequence):
    agent = MPDQN("MlpPolicy", "CartPole-v1", **SMALL)
    observations = [agent.observation_space.sample() * 0 for _ in range(3)]
    actions, _ = agent.predict(observations if "list" in sequence else np.stack(observations), deterministic=True)
    assert [int(action) for action in actions] == [int(agent.predict(observations[0], deterministic=True)[0])] * 3


def test_its_noises_become_ours():
    mean, sigma = np.zeros(3), 0.3 * np.ones(3)
    agent = MPDQN("MlpPolicy", "pamdp/Platform-v0", action_noise=NormalActionNoise(mean, sigma), **SMALL).learn(30)
    assert repr(agent.action_noise) == "GaussianNoise(sigma=0.3)"
    noise = OrnsteinUhlenbeckActionNoise(mean, sigma, theta=0.2, dt=0.25)
    agent.action_noise = VectorizedActionNoise(noise, 2)
    assert agent.action_noise.get_config() == pytest.approx({"theta": 0.05, "sigma": 0.15})
    draws, ours = np.random.default_rng(0), []
    for _ in range(3):
        ours.append(agent.action_noise.sample(draws, 3))
    theirs, draws = [np.zeros(3)], np.random.default_rng(0)
    for _ in range(3):
        theirs.append(theirs[-1] + 0.2 * (0 - theirs[-1]) * 0.25 + 0.3 * np.sqrt(0.25) * draws.standard_normal(3))
    np.testing.assert_allclose(ours, theirs[1:])
    with pytest.raises(ValueError, match="one sigma for all parameters"):
        agent.action_noise = NormalActionNoise(mean, np.array([0.1, 0.2, 0.3]))
    agent.action_noise = None
    assert not agent.action_noise.sample(draws, 3).any()


def test_a_callback_finds_what_it_finds_there(tmp_path):
    found = {}

    class Look(BaseCallback):
        def _on_step(self):
            assert self.model.get_env() is self.training_env is self.locals["env"] is self.model.env
            assert self.training_env.env_is_wrapped(gym.wrappers.TimeLimit) == [True]
            assert self.locals["replay_buffer"] is self.model.replay_buffer
            found.update(self.logger.name_to_value)
            found["action"] = self.model.policy.predict(self.locals["new_obs"][0], deterministic=True)[0]
            return True

    agent = MPDQN("MlpPolicy", "CartPole-v1", tensorboard_log=str(tmp_path), **SMALL)
    agent.learn(40, callback=Look(), tb_log_name="run")
    assert found["train/n_updates"] > 0 and np.isfinite(found["train/critic_loss"]) and found["action"] in (0, 1)
    assert [folder.name for folder in tmp_path.iterdir()] == ["run_1"]
    agent.learn(10, tb_log_name="run", reset_num_timesteps=False)
    assert [folder.name for folder in tmp_path.iterdir()] == ["run_1"] and agent.num_timesteps == 50
    agent.learn(10, tb_log_name="run")
    assert {folder.name for folder in tmp_path.iterdir()} == {"run_1", "run_2"} and agent.num_timesteps == 10


def test_a_policy_and_a_copy_are_evaluated_as_the_agent_is():
    env = DummyVecEnv([lambda: gym.make("CartPole-v1")])
    agent = MPDQN("MlpPolicy", env, **SMALL).learn(30)
    returns = []
    for acting in (agent, agent.policy, copy.deepcopy(agent)):
        env.seed(0)
        returns.append(evaluate_policy(acting, env, 3, warn=False))
    assert returns[0] == returns[1] == returns[2]


def test_settings_are_given_and_left_out_as_there(tmp_path):
    agent = MPDQN("MlpPolicy", "CartPole-v1", gamma=0.5, learning_rate=lambda remaining: remaining * 1e-3, **SMALL)
    agent.save(tmp_path / "agent", exclude=["gamma"])
    given = {"learning_rate": 0.0, "lr_schedule": lambda remaining: 0.0, "clip_range": 0.2}
    loaded = MPDQN.load(tmp_path / "agent", custom_objects=given)
    assert (loaded.gamma, loaded.learning_rate) == (0.95, 0.0)

"""Agents learn, act, count and repeat themselves as they should, in real environments on small budgets."""

import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from toy_environments import Corridor, Target

from pamdp_agents import MPDQN, PDQN
from pamdp_agents.strategies import STRATEGIES

SMALL = {"policy_kwargs": {"net_arch": [32]}, "learning_starts": 100, "batch_size": 32}


def same_parameters(one, other):
    return all(
        np.array_equal(weights, other[group][name]) for group, named in one.items() for name, weights in named.items()
    )


@pytest.mark.parametrize("agent_class", [PDQN, MPDQN])
def test_learns_the_best_action_and_its_parameter(agent_class):
    agent = agent_class(
        "MlpPolicy", Target(), seed=0, learning_rate=5e-3, actor_learning_rate=2e-3, gradient_steps=2, **SMALL
    ).learn(1500)
    for observation in np.random.default_rng(1).uniform(-1, 1, (20, 2)).astype("f"):
        (k, parameters), _ = agent.predict(observation, deterministic=True)
        assert k == 1
        assert float(parameters[1][0]) == pytest.approx(0.5, abs=0.2)


@pytest.mark.parametrize("strategy", [*sorted(STRATEGIES.keys() - {"chain"}), ["inverting", "sign_reversal"]], ids=str)
def test_every_strategy_trains_on_platform_without_nan(strategy):
    agent = PDQN("MlpPolicy", "pamdp/Platform-v0", strategy=strategy, seed=0, **SMALL).learn(160)
    assert all(np.isfinite(weights).all() for named in agent.get_parameters().values() for weights in named.values())
    assert agent._n_updates == 60


def test_a_users_function_reaches_the_gradient():
    frozen = MPDQN("MlpPolicy", Target(), strategy=lambda gradient, context: 0 * gradient, seed=0, **SMALL)
    before = frozen.get_parameters()
    after = frozen.learn(150).get_parameters()
    assert same_parameters({"actor": before["actor"]}, after)
    assert not same_parameters({"q": before["q"]}, after)


@pytest.mark.parametrize("steps", [500, pytest.param(5000, marks=pytest.mark.slow)])
def test_one_trace_of_the_update_in_a_learn_and_none_in_a_second(steps):
    agent = MPDQN("MlpPolicy", "pamdp/Platform-v0", seed=0, **SMALL)
    agent.learn(steps)
    assert agent.learner.traces == 1
    agent.learn(300)
    agent.learn(300, reset_num_timesteps=False)
    assert agent.learner.traces == 1


SCRIPT = """
import hashlib, sys
from pamdp_agents import MPDQN
agent = MPDQN("MlpPolicy", "pamdp/Platform-v0", seed=int(sys.argv[1]), learning_starts=100).learn(400)
print(hashlib.sha256(agent.learner.state.numpy().tobytes()).hexdigest())
"""


def test_the_same_seed_gives_the_same_weights_in_two_processes_and_another_seed_others():
    runs = [
        subprocess.run([sys.executable, "-c", SCRIPT, seed], capture_output=True, text=True, check=True).stdout.strip()
        for seed in ("3", "3", "4")
    ]
    assert len(runs[0]) == 64
    assert runs[0] == runs[1] != runs[2]


def test_the_same_seed_gives_the_same_weights_twice_in_one_process():
    one, two = (MPDQN("MlpPolicy", Target(), seed=5, **SMALL).learn(200) for _ in range(2))
    assert same_parameters(one.get_parameters(), two.get_parameters())


@pytest.mark.parametrize("truncate", [False, True])
def test_terminated_episodes_do_not_bootstrap_and_truncated_ones_do(truncate):
    agent = MPDQN(
        "MlpPolicy", Corridor(length=1, truncate=truncate), seed=0, gamma=0.5, tau=0.1, learning_rate=0.01, **SMALL
    ).learn(800)
    # Every step gives 1 and is the last; cut off, it goes on for ever: 1 + 0.5 + 0.25 + … = 2.
    start = np.full((1, 1), -1, "f")
    q = agent.networks["q"].in_numpy(agent.learner.weights()["q"])
    value = q(start, agent.acting.decide(start).x)[0, 0]
    assert value == pytest.approx(2.0 if truncate else 1.0, abs=0.1)


def test_the_stored_transition_holds_the_last_observation_not_the_next_episodes_first():
    agent = MPDQN("MlpPolicy", Corridor(length=3), seed=0, **SMALL).learn(7)
    batch = agent.row.unpack(agent.replay_buffer.rows[:7])
    position = 50 * (batch.s2[:, 0] + 1)
    np.testing.assert_allclose(position, [1, 2, 3, 1, 2, 3, 1], atol=1e-4)
    np.testing.assert_array_equal(batch.discount, [1, 1, 0, 1, 1, 0, 1])
    np.testing.assert_allclose(batch.s[1:, 0], np.where(batch.discount[:-1] == 0, -1, batch.s2[:-1, 0]), atol=1e-6)


def test_rewards_are_scaled_in_the_buffer_but_not_in_the_statistics():
    agent = MPDQN("MlpPolicy", Corridor(length=5), seed=0, reward_scale=0.02, **SMALL).learn(10)
    np.testing.assert_allclose(agent.replay_buffer.rows[:10, agent.row.places["r"]], 0.02)
    assert [(episode["r"], episode["l"]) for episode in agent.ep_info_buffer] == [(5.0, 5), (5.0, 5)]


def test_learn_counts_on_or_anew():
    agent = MPDQN("MlpPolicy", Corridor(), seed=0, **SMALL)
    assert agent.learn(12) is agent
    assert agent.num_timesteps == 12
    agent.learn(8, reset_num_timesteps=False)
    assert agent.num_timesteps == 20 and agent._episode_num == 4
    agent.learn(5)
    assert agent.num_timesteps == 5 and agent._episode_num == 1


def test_train_freq_and_gradient_steps_set_the_number_of_updates():
    agent = MPDQN("MlpPolicy", Corridor(), seed=0, train_freq=4, gradient_steps=3, **SMALL).learn(120)
    assert agent._n_updates == 3 * (120 - 100) // 4
    agent = MPDQN("MlpPolicy", Corridor(), seed=0, train_freq=4, gradient_steps=-1, **SMALL).learn(120)
    assert agent._n_updates == 4 * (120 - 100) // 4
    assert agent.learner.traces == 1


def test_the_logger_gets_the_update_metrics_and_the_rollout():
    records = []
    agent = MPDQN("MlpPolicy", Target(), seed=0, **SMALL)
    logger = agent.logger
    dump = logger.dump
    logger.dump = lambda step=0: (records.append(dict(logger.name_to_value)), dump(step))
    agent.set_logger(logger)
    agent.learn(160, log_interval=40)
    last = records[-1]
    for name in MPDQN.metric_names:
        assert np.isfinite(last[f"train/{name}"])
    assert last["train/strategy_changed_fraction"] > 0.5
    assert last["train/parameters_at_bound_fraction"] == 0
    assert 0 <= last["rollout/success_rate"] <= 1
    assert {"rollout/ep_rew_mean", "rollout/ep_len_mean", "rollout/exploration_rate", "time/fps"} <= set(last)


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
def test_plain_discrete_and_plain_box_environments_work(env_id):
    agent = MPDQN("MlpPolicy", env_id, seed=0, **SMALL).learn(150)
    env = gym.make(env_id)
    observation, _ = env.reset(seed=0)
    action, _ = agent.predict(observation, deterministic=True)
    assert env.action_space.contains(action)


def test_predict_gives_one_action_for_one_observation_and_a_list_for_many():
    agent = MPDQN("MlpPolicy", "pamdp/Platform-v0", seed=0)
    observations = np.random.default_rng(0).uniform(0, 1, (600, 9))
    actions, state = agent.predict(observations, deterministic=True)
    assert state is None and len(actions) == 600
    for i in (0, 300, 599):
        (k, parameters), _ = agent.predict(observations[i], deterministic=True)
        assert agent.action_space.contains((k, parameters))
        assert k == actions[i][0]
        np.testing.assert_allclose(np.concatenate(parameters), np.concatenate(actions[i][1]), rtol=1e-5)


def test_predict_explores_unless_deterministic():
    agent = MPDQN("MlpPolicy", "pamdp/Platform-v0", seed=0, exploration_initial_eps=1.0)
    observation = np.full(9, 0.5)
    assert len({agent.predict(observation)[0][0] for _ in range(50)}) == 3
    assert len({agent.predict(observation, deterministic=True)[0][0] for _ in range(50)}) == 1


def test_a_custom_activation_is_evaluated_by_tensorflow():
    import tensorflow as tf

    agent = MPDQN("MlpPolicy", Target(), seed=0, policy_kwargs={"activation_fn": tf.sin, "net_arch": [8]})
    observations = np.random.default_rng(0).uniform(-1, 1, (5, 2)).astype("f")
    k, x, _ = agent.acting.decide(observations)
    expected = agent.learner.networks["actor"].model(observations)
    np.testing.assert_allclose(x, expected, atol=1e-6)
    assert k.shape == (5,)


def test_tuned_settings_reach_the_agent_and_can_be_overridden():
    agent = MPDQN.tuned("pamdp/Goal-v0", seed=1, batch_size=64)
    assert (agent.gamma, agent.reward_scale, agent.batch_size, agent.seed) == (0.95, 0.02, 64, 1)
    assert agent.env_name == "pamdp/Goal-v0"
    with pytest.raises(KeyError, match=r"no tuned settings for 'CartPole-v1', only for pamdp/Platform-v0"):
        MPDQN.tuned("CartPole-v1")


def test_published_initial_parameters_of_platform():
    agent = MPDQN(
        "MlpPolicy",
        "pamdp/Platform-v0",
        passthrough={"bias": [2 * 3 / 30 - 1, 2 * 10 / 720 - 1, 2 * 400 / 430 - 1]},
        seed=0,
    )
    _, parameters = agent.predict(np.full(9, 0.5), deterministic=True)[0]
    np.testing.assert_allclose(np.concatenate(parameters), [3, 10, 400], atol=1)


def test_acting_for_somebody_does_not_move_the_training():
    """Predictions draw from their own generator, and from a copy of the noise."""
    noise = {"name": "ornstein_uhlenbeck", "sigma": 0.2}
    one, two = (MPDQN("MlpPolicy", Corridor(), action_noise=noise, seed=5, **SMALL).learn(103) for _ in range(2))
    for _ in range(10):
        one.predict(np.zeros((4, 1), "f"))
    for agent in (one, two):
        agent.learn(50, reset_num_timesteps=False)
    assert same_parameters(one.get_parameters(), two.get_parameters())
    np.testing.assert_array_equal(one.replay_buffer.rows, two.replay_buffer.rows)


def test_a_batch_is_explored_row_by_row():
    agent = MPDQN("MlpPolicy", Target(), seed=0, exploration_initial_eps=0.5)
    actions, _ = agent.predict(np.zeros((2000, 2), "f"))
    counts = np.bincount([k for k, _ in actions], minlength=3) / 2000
    assert sorted(counts)[:2] == pytest.approx([1 / 6, 1 / 6], abs=0.04)
    assert agent.predict(np.zeros((0, 2), "f"))[0] == []


def test_noise_is_added_to_predictions_at_epsilon_0_too():
    agent = MPDQN("MlpPolicy", Target(), seed=0, exploration_initial_eps=0.0, action_noise="gaussian")
    values = {float(np.concatenate(agent.predict(np.zeros(2, "f"))[0][1]).sum()) for _ in range(5)}
    assert len(values) == 5


def test_the_noise_starts_anew_with_a_new_episode_of_learn():
    agent = MPDQN("MlpPolicy", Corridor(), action_noise={"name": "ornstein_uhlenbeck", "sigma": 0.2}, seed=0, **SMALL)
    agent.learn(3)
    assert agent.action_noise.state is not None
    states = []
    sample = agent.action_noise.sample
    agent.action_noise.sample = lambda *args: (states.append(agent.action_noise.state), sample(*args))[1]
    agent.learn(1)
    assert states == [None]


@pytest.mark.parametrize("broken", ["reward", "observation"])
def test_training_goes_on_with_a_new_episode_after_an_error_of_the_environment(broken):
    agent = MPDQN("MlpPolicy", Corridor(length=20, broken_step=13, broken=broken), seed=0, **SMALL)
    with pytest.raises(ValueError, match="step 13"):
        agent.learn(50)
    agent.learn(5, reset_num_timesteps=False)
    batch = agent.row.unpack(agent.replay_buffer.rows[:17])
    np.testing.assert_allclose(50 * (batch.s2 - batch.s)[:, 0], 1, atol=1e-4)  # no step is joined to another episode's
    np.testing.assert_allclose(50 * (batch.s[12:, 0] + 1), range(5), atol=1e-4)


def test_set_random_seed_repeats_a_run():
    agent = MPDQN("MlpPolicy", Target(), seed=5, **SMALL)
    start = agent.get_parameters()
    runs = []
    for _ in range(2):
        agent.set_random_seed(9)
        agent.set_parameters(start)
        agent.replay_buffer.pos, agent.replay_buffer.full = 0, False
        runs.append(agent.learn(150).get_parameters())
    assert same_parameters(*runs)


def test_set_env_continues_in_the_middle_of_an_episode_or_starts_a_new_one():
    for force_reset, position in ((False, 4), (True, 1)):
        agent = MPDQN("MlpPolicy", Corridor(length=9), seed=0, **SMALL).learn(3)
        agent.set_env(agent.env.envs[0], force_reset=force_reset)
        agent.learn(1, reset_num_timesteps=False)
        assert agent.env.envs[0].position == position


def test_an_activation_with_a_familiar_name_is_still_the_users():
    import tensorflow as tf

    def relu(x):
        return -tf.nn.relu(x)

    agent = MPDQN("MlpPolicy", Target(), seed=0, policy_kwargs={"activation_fn": relu, "net_arch": [8]})
    observations = np.random.default_rng(0).uniform(-1, 1, (5, 2)).astype("f")
    np.testing.assert_allclose(
        agent.acting.decide(observations).x, agent.learner.networks["actor"].model(observations), atol=1e-6
    )

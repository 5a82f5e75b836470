"""Every agent learns: it counts its steps, repeats itself with a seed, and trains beside others as if it were alone."""

import inspect

import numpy as np
import pytest
from small_agents import PLATFORM, STEPS, Counting, Task, assert_learned, differences, make, observations, those_of

import pamdp_agents
from pamdp_agents import train_seeds
from pamdp_agents.strategies import STRATEGIES


def test_the_methods_take_what_stable_baselines3s_take(agent_class):
    for method, expected in {
        "learn": ["total_timesteps", "callback", "log_interval", "tb_log_name", "reset_num_timesteps", "progress_bar"],
        "predict": ["observation", "state", "episode_start", "deterministic"],
        "save": ["path", "exclude", "include"],
        "load": ["path", "env", "device", "custom_objects", "print_system_info", "force_reset"],
        "set_parameters": ["load_path_or_dict", "exact_match", "device"],
        "set_env": ["env", "force_reset"],
        "set_random_seed": ["seed"],
    }.items():
        names = [name for name in inspect.signature(getattr(agent_class, method)).parameters if name != "self"]
        assert names[: len(expected)] == expected, method


def test_learn_makes_so_many_steps_returns_the_agent_and_changes_its_weights(agent_class):
    env = Counting(Task())
    agent = make(agent_class, env)
    assert agent.num_timesteps == 0
    before = agent.get_parameters()
    assert agent.learn(STEPS) is agent
    assert agent.num_timesteps == env.made == STEPS
    assert_learned(agent, before)
    assert [(episode["l"], episode["r"] < 0) for episode in agent.ep_info_buffer] == [(7, True)] * (STEPS // 7)

    before = agent.get_parameters()
    agent.learn(16, reset_num_timesteps=False)
    assert (agent.num_timesteps, env.made) == (STEPS + 16, STEPS + 16)
    assert_learned(agent, before)
    agent.learn(24)
    assert (agent.num_timesteps, env.made) == (24, STEPS + 16 + 24)


@pytest.mark.parametrize("total", [0, -5, 1.5])
def test_learn_takes_a_positive_number_of_steps(agent_class, total):
    with pytest.raises((ValueError, TypeError), match="total_timesteps must be"):
        make(agent_class, Task()).learn(total)


def test_the_same_seed_gives_the_same_weights_and_another_others(agent_class, trained, trained_with_seed_1):
    again = make(agent_class, PLATFORM).learn(STEPS)
    assert differences(trained.get_parameters(), again.get_parameters()) == []
    ours, theirs = trained.get_parameters(), trained_with_seed_1.get_parameters()
    kernels = [
        f"{group}: {name}"
        for group, weights in ours.items()
        for name in weights
        if name.endswith("kernel") and "optimizer" not in group
    ]
    assert kernels and set(kernels) <= set(differences(ours, theirs))


def test_acting_for_somebody_does_not_change_the_training(agent_class):
    noise = those_of(agent_class, {"action_noise": {"name": "ornstein_uhlenbeck", "sigma": 0.2}})
    asked, left_alone = (make(agent_class, Task(), **noise).learn(24) for _ in range(2))
    rows = observations(asked.env, 4)
    for _ in range(5):
        asked.predict(rows)
        asked.predict(rows[0])
        asked.predict(rows, deterministic=True)
    for agent in (asked, left_alone):
        agent.learn(24, reset_num_timesteps=False)
    assert differences(asked.get_parameters(), left_alone.get_parameters()) == []
    assert [e["r"] for e in asked.ep_info_buffer] == [e["r"] for e in left_alone.ep_info_buffer]


def test_agents_trained_together_are_those_trained_alone(agent_class, trained, trained_with_seed_1):
    settings = {name: value for name, value in trained.settings().items() if name not in ("policy", "seed")}
    together = train_seeds(agent_class, PLATFORM, seeds=[0, 1], total_timesteps=STEPS, **settings)
    for one, other in zip(together, [trained, trained_with_seed_1], strict=True):
        assert type(one) is agent_class
        assert one.num_timesteps == STEPS
        others = other.get_parameters()
        for group, weights in one.get_parameters().items():
            for name, values in weights.items():  # one compiled call rounds as another one does, or nearly so
                np.testing.assert_allclose(
                    values, others[group][name], rtol=1e-4, atol=1e-6, err_msg=f"{group}: {name}"
                )
        assert [e["r"] for e in one.ep_info_buffer] == [e["r"] for e in other.ep_info_buffer]


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_trains_where_there_is_one_to_choose(agent_class, name):
    chosen = those_of(agent_class, {"strategy": ["inverting", "sign_reversal"] if name == "chain" else name})
    if not chosen:
        assert not hasattr(agent_class("MlpPolicy", None), "strategy")
        return
    agent = make(agent_class, PLATFORM, **chosen)
    before = agent.get_parameters()
    assert_learned(agent.learn(16), before)


def test_the_log_has_stable_baselines3s_keys(trained, log_rows):
    assert len(log_rows) > 2
    assert all(np.isfinite(value) for row in log_rows for value in row.values())
    last = log_rows[-1]
    returns, lengths = ([episode[key] for episode in trained.ep_info_buffer] for key in "rl")
    assert last["rollout/ep_rew_mean"] == pytest.approx(np.mean(returns))
    assert last["rollout/ep_len_mean"] == pytest.approx(np.mean(lengths))
    assert 0 < last["time/total_timesteps"] <= STEPS
    assert last["time/fps"] >= 0
    assert last["train/learning_rate"] == pytest.approx(trained.learning_rate)
    assert last["train/n_updates"] > 0
    if hasattr(trained, "replay_buffer"):  # a round after every step beyond learning_starts, but for the row's own
        assert last["train/n_updates"] == last["time/total_timesteps"] - trained.learning_starts - 1


def test_tuned_settings_are_there_for_the_bundled_domains(agent_class):
    untuned = agent_class("MlpPolicy", None).settings()
    for env_id in (PLATFORM, "pamdp/Goal-v0"):
        agent = agent_class.tuned(env_id, seed=3)
        assert (type(agent), agent.env_name, agent.seed) == (agent_class, env_id, 3)
        names = inspect.signature(agent_class).parameters.keys() - {"policy", "env", "seed"}
        assert any(agent.settings()[name] != untuned[name] for name in names), "nothing is tuned"
        assert agent_class.tuned(env_id, gamma=0.125).gamma == 0.125
    with pytest.raises(KeyError, match=f"{agent_class.__name__} has no tuned settings for 'CartPole-v1'"):
        agent_class.tuned("CartPole-v1")


def test_the_class_is_there_by_its_name(agent_class):
    assert agent_class.__name__ in pamdp_agents.__all__
    assert agent_class.__doc__

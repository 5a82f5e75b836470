"""`get_env()`: one Gymnasium environment seen through Stable-Baselines3's interface."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import TimeLimit
from toy_environments import Corridor, Numbered, Target

from pamdp_agents import MPDQN
from pamdp_agents.environments.single_as_vec_env import SingleVecEnv
from pamdp_agents.evaluation import evaluate_policy

SMALL = {"policy_kwargs": {"net_arch": [8]}, "learning_starts": 1000, "batch_size": 4, "seed": 0}


def test_the_loop_of_stable_baselines3s_readme_runs():
    model = MPDQN("MlpPolicy", "pamdp/Platform-v0", **SMALL)
    model.learn(total_timesteps=10)
    vec_env = model.get_env()
    obs = vec_env.reset()
    ends = []
    for _ in range(60):
        action, _ = model.predict(obs, deterministic=False)
        obs, reward, done, info = vec_env.step(action)
        assert obs.shape == (1, 9) and reward.shape == done.shape == (1,)
        ends += info if done[0] else []
    assert ends and all({"terminal_observation", "episode", "TimeLimit.truncated"} <= info.keys() for info in ends)
    assert vec_env.num_envs == 1


@pytest.mark.parametrize("as_dict", [False, True])
def test_an_episodes_end_gives_the_next_ones_first_observation_and_its_own_last(as_dict):
    view = SingleVecEnv(Numbered(7, 2, as_dict))
    action = view.action_space.sample()
    view.reset()
    outcomes = [view.step([action]) for _ in range(5)]  # episodes of 2 and 3 steps
    flat = [gym.spaces.flatten(view.observation_space, {k: v[0] for k, v in o.items()} if as_dict else o[0]).tolist()
            for o, *_ in outcomes]  # fmt: skip
    assert flat == [[7, 0, 1], [7, 1, 0], [7, 1, 1], [7, 1, 2], [7, 2, 0]]
    assert [bool(dones[0]) for _, _, dones, _ in outcomes] == [False, True, False, False, True]
    infos = [infos[0] for *_, infos in outcomes]
    last = [gym.spaces.flatten(view.observation_space, infos[i]["terminal_observation"]).tolist() for i in (1, 4)]
    assert last == [[7, 0, 2], [7, 1, 3]]
    assert [infos[i]["TimeLimit.truncated"] for i in (1, 4)] == [False, True]
    assert [(infos[i]["episode"]["r"], infos[i]["episode"]["l"]) for i in (1, 4)] == [(17.0, 2), (27.0, 3)]


def test_seeds_and_options_count_for_one_reset():
    class Optional(Target):
        def reset(self, *, seed=None, options=None):
            self.given = (seed, options)
            return super().reset(seed=seed)

    view = SingleVecEnv(Optional())
    view.seed(5)
    view.set_options({"level": 2})
    first = view.reset()
    assert view.envs[0].given == (5, {"level": 2})
    second = view.reset()
    assert view.envs[0].given == (None, None) and not np.array_equal(first, second)
    view.seed(5)
    view.step([view.action_space.sample()])  # the reset at the episode's end does not use the seed up
    assert view.envs[0].given == (None, None)
    np.testing.assert_array_equal(view.reset(), first)


def test_attributes_and_methods_of_the_environment_are_reached_through_its_wrappers():
    view = MPDQN("MlpPolicy", TimeLimit(Corridor(), 20), **SMALL).get_env()
    view.set_attr("length", 8)
    assert view.get_attr("length") == [8] and view.envs[0].unwrapped.length == 8
    assert view.has_attr("length") and not view.has_attr("width")
    assert view.env_method("reset", seed=1)[0][0] == 0
    assert view.env_is_wrapped(TimeLimit) == [True] and view.env_is_wrapped(gym.wrappers.RecordVideo) == [False]


def test_it_can_be_evaluated_in_and_trained_in():
    agent = MPDQN("MlpPolicy", Corridor(length=4), **SMALL)
    assert evaluate_policy(agent, agent.get_env(), 3, warn=False) == (4.0, 0.0)
    other = MPDQN("MlpPolicy", agent.get_env(), **SMALL).learn(9)
    assert [episode["l"] for episode in other.ep_info_buffer] == [4, 4]


def test_one_action_without_a_list_is_refused():
    view = SingleVecEnv(Target())
    view.reset()
    with pytest.raises(ValueError, match="actions must be a list of one action, as predict returns"):
        view.step(view.action_space.sample())


def test_what_reset_returns_is_not_taken_for_an_observation():
    agent = MPDQN("MlpPolicy", Target(), **SMALL)
    with pytest.raises(ValueError, match=r"reset\(\) returns \(observation, info\); pass the first"):
        agent.predict(agent.env.envs[0].reset())


def test_a_vector_environment_is_returned_as_it_is():
    envs = gym.vector.SyncVectorEnv([Target] * 2)
    agent = MPDQN("MlpPolicy", envs, **SMALL)
    assert agent.get_env() is agent.env is envs
    assert MPDQN("MlpPolicy", None).get_env() is None

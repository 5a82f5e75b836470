"""Info keys that recorders and vector environments use, and that environments use for things of their own."""

import types

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import RecordEpisodeStatistics, TimeLimit
from toy_environments import Corridor, Lives

from pamdp_agents import MPDQN
from pamdp_agents.callbacks import EvalCallback
from pamdp_agents.environments.gymnasium_vector import split_infos
from pamdp_agents.environments.recorded import has_recorder, read_flag, recorded_episode
from pamdp_agents.environments.single_as_vec_env import SingleVecEnv
from pamdp_agents.evaluation import evaluate_policy, play_episodes

SMALL = {"policy_kwargs": {"net_arch": [8]}, "learning_starts": 1000, "batch_size": 4, "seed": 0}

EPISODES = {
    "int": 3,
    "None": None,
    "text": "third",
    "array": np.arange(2),
    "list": [1, 2],
    "object": types.SimpleNamespace(r=1, l=2),
    "dict without r": {"number": 3},
    "dict without l": {"r": 1.0},
    "texts": {"r": "1", "l": "2"},
    "arrays": {"r": np.arange(2), "l": 2},
    "nothing": {"r": None, "l": None},
    "nan": {"r": np.nan, "l": 2},
    "inf": {"r": np.inf, "l": 2, "t": "late"},
    "nan length": {"r": 1.0, "l": np.nan},
}
OTHERS = {
    "_episode": 5,
    "is_success": "almost",
    "terminal_observation": "far away",
    "TimeLimit.truncated": np.arange(2),
    "final_info": 7,
    "_final_info": "x",
    "_key": np.arange(3),
}


class Talking(Corridor):
    """Puts keys of its own into every info."""

    def __init__(self, **keys):
        super().__init__(length=4)
        self.keys = keys

    def step(self, action):
        *result, _ = super().step(action)
        return *result, dict(self.keys)


ALL = [*({"episode": value} for value in EPISODES.values()), *({key: value} for key, value in OTHERS.items())]
IDS = [*(f"episode {name}" for name in EPISODES), *OTHERS]
VECTORS = {
    "single": lambda keys: Talking(**keys),
    **{mode.name: (lambda keys, mode=mode: SyncVectorEnv([lambda: Talking(**keys)] * 2, autoreset_mode=mode))
       for mode in AutoresetMode},
}  # fmt: skip


@pytest.fixture(scope="module")
def agent():
    return MPDQN("MlpPolicy", Corridor(4), **SMALL)


@pytest.mark.parametrize("keys", ALL, ids=IDS)
@pytest.mark.parametrize("make", VECTORS.values(), ids=VECTORS)
def test_what_is_not_a_recorders_is_left_alone_and_the_numbers_are_ours(agent, make, keys):
    assert evaluate_policy(agent, make(keys), 4, return_episode_rewards=True, warn=False) == ([4.0] * 4, [4] * 4)
    expected = [] if keys.get("is_success") is None else [False] * 4
    assert play_episodes(agent, make(keys), 4, warn=False).successes in ([], expected)


@pytest.mark.parametrize("keys", ALL, ids=IDS)
def test_in_training_too_and_the_file_can_be_loaded(keys, tmp_path):
    agent = MPDQN("MlpPolicy", Talking(**keys), **SMALL)
    infos = []
    agent.learn(9, callback=lambda locals_, globals_: infos.append(locals_["infos"][0]))
    assert [(episode["r"], episode["l"]) for episode in agent.ep_info_buffer] == [(4.0, 4)] * 2
    assert len(agent.ep_success_buffer) == 0
    assert all(infos[0][key] is value for key, value in keys.items()), "it ends no episode"
    agent.dump_logs()
    agent.save(tmp_path / "agent")
    loaded = MPDQN.load(tmp_path / "agent")
    assert [episode["l"] for episode in loaded.ep_info_buffer] == [4, 4]


@pytest.mark.parametrize("keys", ALL, ids=IDS)
def test_the_view_of_one_environment_gives_episodes_as_monitor_does(keys):
    view = SingleVecEnv(Talking(**keys))
    view.reset()
    infos = [view.step([view.action_space.sample()])[3][0] for _ in range(4)]
    assert (infos[-1]["episode"]["r"], infos[-1]["episode"]["l"]) == (4.0, 4)
    assert infos[-1]["TimeLimit.truncated"] is False and infos[-1]["terminal_observation"] == [4.0]
    assert all(infos[0][key] is value for key, value in keys.items() if key != "TimeLimit.truncated")


def test_an_eval_callback_has_our_numbers(agent, tmp_path):
    agent = MPDQN("MlpPolicy", Corridor(4), **SMALL)
    evaluation = EvalCallback(Talking(episode=3, is_success="x"), eval_freq=5, warn=False, verbose=0)
    agent.learn(5, callback=evaluation)
    assert evaluation.last_mean_reward == 4.0


def test_what_callbacks_add_to_the_buffer_is_saved_as_far_as_it_is_an_episode(tmp_path):
    agent = MPDQN("MlpPolicy", Corridor(4), **SMALL).learn(5)
    agent.ep_info_buffer.extend(
        [{"r": np.float32(2.0), "l": np.int64(3), "who": "me", "x": np.float64(0.5)}, {"r": np.nan, "l": 1}, {"a": 1}]
    )
    agent.ep_success_buffer.append(np.bool_(True))
    agent.save(tmp_path / "agent")
    loaded = MPDQN.load(tmp_path / "agent")
    assert list(loaded.ep_info_buffer)[1:] == [{"r": 2.0, "l": 3, "x": 0.5}]
    assert list(loaded.ep_success_buffer) == [True]


def test_what_a_recorder_says_besides_is_kept():
    agent = MPDQN("MlpPolicy", Talking(episode={"r": 9, "l": np.int32(2), "t": 0.5, "distance": 3.0}), **SMALL)
    agent.learn(5)
    assert list(agent.ep_info_buffer) == [{"r": 9.0, "l": 2, "t": 0.5, "distance": 3.0}]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, True), (np.bool_(False), False), (1, True), (np.float32(0), False), (np.array([True]), True)]
    + [(other, None) for other in (None, "True", {}, np.nan, np.arange(2), [1], object())],
)
def test_what_stands_for_a_truth_value(value, expected):
    assert read_flag(value) is expected


def test_numbers_of_a_recorder_may_be_of_numpy():
    episode = recorded_episode({"episode": {"r": np.array([2.5], np.float32), "l": np.int32(3), "t": np.float64(1)}})
    assert episode == {"r": 2.5, "l": 3, "t": 1.0} and {type(value) for value in episode.values()} == {float, int}


def test_keys_that_begin_with_an_underscore_are_no_masks_unless_they_are():
    infos = {"a": np.array([1, 0]), "_a": np.array([True, False]), "_own": np.array([3, 4])}
    infos |= {"__own": np.array([True, True])}
    assert split_infos(infos, 2) == [{"a": 1, "_own": 3}, {"_own": 4}]


def recorded():
    return RecordEpisodeStatistics(Corridor(4))


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (Corridor, False),
        (recorded, True),
        (lambda: TimeLimit(recorded(), 9), True),
        (lambda: RecordEpisodeStatistics(Corridor(), stats_key="mine"), False),
    ],
    ids=["none", "recorder", "inner recorder", "other key"],
)
@pytest.mark.parametrize("vector", [None, SyncVectorEnv, AsyncVectorEnv], ids=["single", "sync", "async"])
def test_a_recorder_is_found_also_in_other_processes(make, expected, vector):
    env = make() if vector is None else vector([make] * 2)
    assert has_recorder(env) is expected
    env.close()


@pytest.mark.parametrize("mode", AutoresetMode)
@pytest.mark.parametrize("vector", [SyncVectorEnv, AsyncVectorEnv])
def test_a_life_lost_is_no_episode_in_other_processes_either(agent, vector, mode):
    env = vector([lambda: Lives(recorded())] * 2, autoreset_mode=mode)
    assert evaluate_policy(agent, env, 4, return_episode_rewards=True) == ([4.0] * 4, [4] * 4)
    env.close()


def test_a_recorder_that_is_not_heard_is_no_endless_wait(agent, monkeypatch):
    monkeypatch.setattr("pamdp_agents.evaluation.MOST_UNCONFIRMED_ENDS", 20)

    class Silent(gym.Wrapper):
        def step(self, action):
            *result, _ = super().step(action)
            return *result, {}

    with pytest.raises(RuntimeError, match=r"ended 20 times in a row, but the wrapper that records"):
        evaluate_policy(agent, Silent(recorded()), 2)

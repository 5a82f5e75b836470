"""Every agent calls callbacks as Stable-Baselines3's agents do."""

import re

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from small_agents import DICT, PLATFORM, STEPS, VECTOR, Task, differences, make, make_collector, refuses_several

from pamdp_agents.callbacks import BaseCallback, CallbackList, CheckpointCallback, EvalCallback


class Recorder(BaseCallback):
    """Notes what happens to it, and what it can see; says stop at call `stop_at`."""

    def __init__(self, stop_at=None):
        super().__init__()
        self.events, self.stop_at, self.seen, self.steps = "", stop_at, [], []

    def _init_callback(self):
        self.events += "I"

    def _on_training_start(self):
        self.events += "T"
        self.total = self.locals["total_timesteps"]
        assert self.locals["self"] is self.model

    def _on_rollout_start(self):
        self.events += "R"

    def _on_step(self):
        self.events += "S"
        self.steps.append(self.num_timesteps)
        self.seen.append({name: self.locals[name] for name in ("new_obs", "actions", "rewards", "dones", "infos")})
        assert self.num_timesteps == self.model.num_timesteps
        return self.n_calls != self.stop_at

    def _on_rollout_end(self):
        self.events += "E"

    def _on_training_end(self):
        self.events += "X"


def test_they_are_called_in_stable_baselines3s_order(agent_class):
    recorder, inner = Recorder(), Recorder()
    make_collector(agent_class, Task()).learn(STEPS, callback=CallbackList([recorder, inner]))
    assert re.fullmatch("IT(RS+E)+X", recorder.events), recorder.events
    assert recorder.steps == list(range(1, STEPS + 1))
    assert recorder.total == STEPS
    assert inner.events == recorder.events


def test_each_learn_begins_and_ends_anew(agent_class):
    agent, recorder = make_collector(agent_class, Task()), Recorder()
    agent.learn(8, callback=recorder)
    agent.learn(8, callback=recorder, reset_num_timesteps=False)
    assert re.fullmatch("(IT(RS+E)+X){2}", recorder.events), recorder.events
    assert recorder.steps == list(range(1, 17))
    assert recorder.total == 16


@pytest.mark.parametrize("form", ["callback", "function", "list"])
def test_one_that_says_stop_stops_at_once(agent_class, form):
    agent, recorder = make_collector(agent_class, Task()), Recorder(stop_at=13)
    given = {
        "callback": recorder,
        "function": lambda locals_, globals_: agent.num_timesteps < 13,
        "list": [Recorder(), recorder],
    }[form]
    agent.learn(STEPS, callback=given)
    assert agent.num_timesteps == agent.env.envs[0].made == 13
    if form != "function":
        assert recorder.events.startswith("IT") and recorder.events.endswith("SX")
    agent.learn(11, reset_num_timesteps=False)  # a new learn goes on, also with a rollout under way
    assert agent.num_timesteps == 24


@pytest.mark.parametrize("n_envs", [1, 3])
@pytest.mark.parametrize("policy", ["MlpPolicy", "MultiInputPolicy"])
def test_they_see_what_the_environments_gave(agent_class, n_envs, policy):
    space = VECTOR if policy == "MlpPolicy" else DICT
    env = Task(space)
    if n_envs > 1:
        env = SyncVectorEnv([lambda: Task(space)] * n_envs, autoreset_mode=AutoresetMode.SAME_STEP)
        if refuses_several(agent_class, env):
            return
    recorder = Recorder()
    agent = make_collector(agent_class, env, policy).learn(24, callback=recorder)
    assert agent.n_envs == n_envs
    assert recorder.steps == list(range(n_envs, 25, n_envs))
    ends = 0
    for seen in recorder.seen:
        new_obs = seen["new_obs"]
        parts = [(new_obs, space)] if space is VECTOR else [(new_obs[key], space[key]) for key in space]
        for part, leaf in parts:
            assert np.shape(part) == (n_envs, *leaf.shape)
            assert all(leaf.contains(np.asarray(row, leaf.dtype)) for row in part)
        assert np.shape(seen["rewards"]) == np.shape(seen["dones"]) == (n_envs,)
        assert (np.asarray(seen["rewards"]) < 0).all()
        assert len(seen["infos"]) == n_envs
        for done, info in zip(seen["dones"], seen["infos"], strict=True):
            assert bool(done) == ("episode" in info)
            if done:
                assert info["episode"]["l"] == 7
                ends += 1
    assert ends == 24 // n_envs // 7 * n_envs


def test_evaluations_and_checkpoints_are_made_and_do_not_change_the_training(agent_class, trained, tmp_path):
    agent = make(agent_class, PLATFORM)
    at_24 = {}

    def remember(locals_, globals_):
        if agent.num_timesteps == 24:
            at_24.update(agent.get_parameters())

    evaluation = EvalCallback(
        PLATFORM,
        n_eval_episodes=2,
        eval_freq=24,
        log_path=tmp_path / "eval",
        best_model_save_path=tmp_path / "best",
        deterministic=False,
        verbose=0,
    )
    checkpoints = CheckpointCallback(24, tmp_path / "checkpoints", save_replay_buffer=True)
    agent.learn(STEPS, callback=[evaluation, checkpoints, remember])
    assert differences(agent.get_parameters(), trained.get_parameters()) == []

    with np.load(tmp_path / "eval" / "evaluations.npz") as saved:
        assert saved["timesteps"].tolist() == [24, 48]
        assert saved["results"].shape == saved["ep_lengths"].shape == (2, 2)
        assert saved["results"].mean(1).max() == pytest.approx(evaluation.best_mean_reward)
    assert agent_class.load(tmp_path / "best" / "best_model").num_timesteps in (24, 48)

    names = {f"rl_model_{n}_steps.zip" for n in (24, 48)}
    if hasattr(agent, "replay_buffer"):
        names |= {f"rl_model_replay_buffer_{n}_steps.npz" for n in (24, 48)}
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == names
    checkpoint = agent_class.load(tmp_path / "checkpoints" / "rl_model_24_steps")
    assert checkpoint.num_timesteps == 24
    assert differences(checkpoint.get_parameters(), at_24) == []
    assert differences(agent.get_parameters(), at_24)

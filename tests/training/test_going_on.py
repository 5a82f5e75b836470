"""Going on from a checkpoint that a callback wrote, or after an interruption, is as if nothing had been between."""

import contextlib
import copy

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from toy_environments import Numbered

from pamdp_agents import MPDQN, PADDPG
from pamdp_agents.callbacks import BaseCallback
from pamdp_agents.training import train_together

SMALL = {
    "policy_kwargs": {"net_arch": [8]},
    "batch_size": 4,
    "learning_starts": 10,
    "scale_observations": False,
    "seed": 0,
}
SETTINGS = {
    "every step": {},
    "every third step": {"train_freq": 3},
    "as many updates as steps": {"train_freq": 4, "gradient_steps": -1},
    "by episodes": {"train_freq": (2, "episode"), "gradient_steps": 3},
    "drifting noise": {"action_noise": "ornstein_uhlenbeck", "strategy": ["zeroing", "sign_reversal"]},
    "huber, schedules": {"loss": "huber", "double_q": True, "learning_rate": {"start": 0.1, "end": 0.0}},
}
THOROUGH = {
    f"{strategy}, {noise}, {freq}": {
        "strategy": strategy,
        "action_noise": noise,
        "train_freq": freq,
        "gradient_steps": n,
    }
    for strategy in ("none", "inverting", "squashing", "pseudo_inverse", "selective_clipping")
    for noise in ("uniform", "gaussian", "ornstein_uhlenbeck")
    for freq, n in ((1, 2), (5, 3), (7, -1))
}
END = 60


class Checkpoints(BaseCallback):
    """Saves the agent, and keeps copies of where its environment stands."""

    def __init__(self, folder, at):
        super().__init__()
        self.folder, self.at, self.envs = folder, at, {}

    def _on_step(self):
        n = self.num_timesteps
        if n in self.at:
            self.model.save(self.folder / str(n), include=["replay_buffer"])
            env = self.model.env
            self.envs[n] = copy.deepcopy(env if self.model.n_envs > 1 else env.envs[0])
        return True


def vector():
    return SyncVectorEnv([lambda i=i: Numbered(i) for i in range(3)], autoreset_mode=AutoresetMode.SAME_STEP)


def state(agent):
    weights = [w for group in agent.get_parameters().values() for w in group.values()]
    rows = agent.replay_buffer.rows[: len(agent.replay_buffer)]
    return [*weights, rows, np.array([agent.num_timesteps, agent._n_updates, agent._episode_num])]


def assert_same(one, other):
    for ours, theirs in zip(state(one), state(other), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def goes_on(make_env, settings, folder, kind=MPDQN, at=(23, 30, 45)):
    agent = kind("MlpPolicy", make_env(), **SMALL | settings)
    checkpoints = Checkpoints(folder, at)
    agent.learn(END, callback=checkpoints)
    assert checkpoints.envs.keys() == set(at)
    for n, env in checkpoints.envs.items():
        loaded = kind.load(folder / str(n), env=env, force_reset=False)
        loaded.learn(END - n, reset_num_timesteps=False)
        assert_same(agent, loaded)


@pytest.mark.parametrize("name", SETTINGS)
def test_from_a_checkpoint_of_a_callback_training_goes_on_bit_for_bit(name, tmp_path):
    goes_on(Numbered, SETTINGS[name], tmp_path)


@pytest.mark.parametrize("kind", [MPDQN, PADDPG], ids=["MPDQN", "PADDPG"])
@pytest.mark.parametrize("settings", [{}, {"train_freq": 2, "gradient_steps": -1}], ids=str)
def test_in_several_environments_too(settings, kind, tmp_path):
    goes_on(vector, settings, tmp_path, kind, at=(24, 30, 45))


@pytest.mark.slow
@pytest.mark.parametrize("name", THOROUGH)
def test_with_many_more_settings(name, tmp_path):
    goes_on(Numbered, THOROUGH[name], tmp_path)


@pytest.mark.parametrize("how", ["callback stops", "callback raises", "interrupt"])
def test_what_was_interrupted_goes_on_where_it_was(how):
    class Stop(BaseCallback):
        def _on_step(self):
            if self.num_timesteps != 31:
                return True
            if how == "callback stops":
                return False
            raise RuntimeError("stop") if how == "callback raises" else KeyboardInterrupt

    def run(callback):
        agent = MPDQN("MlpPolicy", Numbered(), train_freq=4, gradient_steps=-1, **SMALL)
        with contextlib.suppress(RuntimeError, KeyboardInterrupt):
            agent.learn(END, callback=callback)
        return agent

    agent = run(Stop())
    assert agent.num_timesteps == 31
    agent.learn(END - 31, reset_num_timesteps=False)
    assert_same(agent, run(None))


def test_a_new_run_begins_with_nothing_due():
    class Stop(BaseCallback):
        def _on_step(self):
            return self.num_timesteps < 31

    agent = MPDQN("MlpPolicy", Numbered(), train_freq=4, **SMALL).learn(END, callback=Stop())
    updates = agent._n_updates
    agent.learn(4)
    assert agent._n_updates == updates and agent.progress.round_timesteps is None


def test_a_count_of_steps_set_within_a_round_is_saved(tmp_path):
    class Reset(BaseCallback):
        def _on_step(self):
            if self.num_timesteps == 30:
                self.model.num_timesteps = 0
                self.model.save(tmp_path / "agent", include=["replay_buffer"])
                return False
            return True

    agent = MPDQN("MlpPolicy", Numbered(), train_freq=4, gradient_steps=-1, **SMALL).learn(END, callback=Reset())
    loaded = MPDQN.load(tmp_path / "agent", env=Numbered())
    assert loaded.num_timesteps == 0
    assert loaded.progress.state()["round"] == agent.progress.state()["round"] == [2, 2, 0]


def test_counts_of_a_round_that_do_not_fit_are_refused(tmp_path):
    agent = MPDQN("MlpPolicy", gym.make("CartPole-v1"), **SMALL)
    state = agent.progress.state()
    with pytest.raises(ValueError, match="round must"):
        agent.progress.restore(state | {"round": [5, -1, 0]})
    with pytest.raises(ValueError, match="due"):
        agent.progress.restore(state | {"due": -1})


@pytest.mark.parametrize("who", [0, 1, 2, 3])
def test_updates_of_agents_trained_together_are_made_once_after_an_interruption(who):
    class Interrupt(BaseCallback):
        def _on_step(self):
            if self.num_timesteps == 30 and self.model.seed == who:
                raise KeyboardInterrupt
            return True

    agents = [MPDQN("MlpPolicy", Numbered(), **SMALL | {"seed": seed}) for seed in range(4)]
    with pytest.raises(KeyboardInterrupt):
        train_together(agents, END, callback=lambda agent: Interrupt())
    for agent in agents:
        agent.learn(END - agent.num_timesteps, reset_num_timesteps=False)
        assert agent._n_updates == END - SMALL["learning_starts"]


def test_an_update_that_was_made_is_counted_though_the_next_one_is_interrupted():
    agent = MPDQN("MlpPolicy", Numbered(), train_freq=(30, "episode"), gradient_steps=-1, **SMALL)
    calls, train = [], agent.learner.train

    def interrupted(*arguments):
        calls.append(len(arguments[0]))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return train(*arguments)

    agent.learner.train = interrupted
    with pytest.raises(KeyboardInterrupt):
        agent.learn(80)
    assert agent._n_updates == calls[0] and agent.progress.due == agent.num_timesteps - calls[0] > 0
    agent.learn(1, reset_num_timesteps=False)
    assert agent._n_updates == agent.num_timesteps

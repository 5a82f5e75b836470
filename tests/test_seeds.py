"""Agents trained together are those trained alone."""

import gymnasium as gym
import numpy as np
import pytest
from environments import Corridor, Target

from pamdp_agents import MPDQN, PDQN
from pamdp_agents.callbacks import BaseCallback
from pamdp_agents.schedules import LinearSchedule
from pamdp_agents.seeds import train_seeds, train_together

SMALL = {"policy_kwargs": {"net_arch": [16]}, "learning_starts": 20, "batch_size": 8}


@pytest.mark.parametrize("agent_class", [PDQN, MPDQN])
@pytest.mark.parametrize("settings", [{}, {"train_freq": 4, "gradient_steps": 3}, {"gradient_steps": -1}], ids=str)
def test_each_agent_equals_the_one_trained_alone(agent_class, settings):
    settings = SMALL | settings | {"learning_rate": LinearSchedule(1e-3, 1e-4), "strategy": ["inverting", "zeroing"]}
    together = train_seeds(agent_class, "pamdp/Platform-v0", range(3), 220, **settings)
    for seed, agent in enumerate(together):
        alone = agent_class("MlpPolicy", "pamdp/Platform-v0", seed=seed, **settings).learn(220)
        np.testing.assert_allclose(agent.learner.state.numpy(), alone.learner.state.numpy(), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(agent.replay_buffer.rows[:220], alone.replay_buffer.rows[:220], atol=1e-4)
        assert agent._n_updates == alone._n_updates
        assert [e["r"] for e in agent.ep_info_buffer] == pytest.approx([e["r"] for e in alone.ep_info_buffer])


def test_an_agent_trained_together_is_saved_and_used_alone(tmp_path):
    one, two = train_seeds(MPDQN, Target, [5, 6], 60, **SMALL)
    one.save(tmp_path / "one")
    loaded = MPDQN.load(tmp_path / "one", env=Target())
    np.testing.assert_array_equal(loaded.learner.state.numpy(), one.learner.state.numpy())
    assert not np.array_equal(one.learner.state.numpy(), two.learner.state.numpy())
    before = two.learner.state.numpy()
    one.learn(20, reset_num_timesteps=False)
    assert one.num_timesteps == 80 and one._n_updates == 60
    np.testing.assert_array_equal(two.learner.state.numpy(), before)


def test_agents_saved_by_callbacks_in_the_middle_hold_their_own_weights(tmp_path):
    class Saving(BaseCallback):
        def _on_step(self):
            if self.num_timesteps == 50:
                self.model.save(tmp_path / str(self.model.seed))
            return True

    train_seeds(MPDQN, Target, [5, 6], 70, callback=lambda agent: Saving(), **SMALL)
    for seed in (5, 6):
        alone = MPDQN("MlpPolicy", Target(), seed=seed, **SMALL)
        alone.learn(70, callback=lambda locals_, _: locals_["self"].num_timesteps < 50)
        saved = MPDQN.load(tmp_path / str(seed))
        np.testing.assert_allclose(saved.learner.state.numpy(), alone.learner.state.numpy(), rtol=1e-4, atol=1e-6)


def test_an_agent_that_stops_early_keeps_its_weights_while_the_others_go_on():
    def stop_the_first(agent):
        return lambda locals_, _: agent.seed != 0 or agent.num_timesteps < 40

    agents = train_seeds(MPDQN, Target, range(3), 80, callback=stop_the_first, **SMALL)
    assert [agent.num_timesteps for agent in agents] == [40, 80, 80]
    stopped = MPDQN("MlpPolicy", Target(), seed=0, **SMALL).learn(80, callback=stop_the_first(agents[0]))
    alone = MPDQN("MlpPolicy", Target(), seed=0, **SMALL)
    alone.learn(80, callback=lambda locals_, _: alone.num_timesteps < 40)
    assert stopped.num_timesteps == 1  # the first is past its end already
    np.testing.assert_allclose(agents[0].learner.state.numpy(), alone.learner.state.numpy(), rtol=1e-4, atol=1e-6)


def test_each_agent_logs_its_own_curve(tmp_path):
    agents = train_seeds(MPDQN, Corridor, range(2), 40, tensorboard_log=str(tmp_path), **SMALL)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["MPDQN_1", "MPDQN_2"]
    assert all(agent._episode_num == 8 for agent in agents)


def test_an_error_of_one_environment_leaves_all_agents_whole():
    environments = iter([Corridor(), Corridor(broken_step=45), Corridor()])
    agents = [MPDQN("MlpPolicy", env, seed=seed, **SMALL) for seed, env in enumerate(environments)]
    with pytest.raises(ValueError, match="step 45"):
        train_together(agents, 80)
    for agent in agents:
        assert np.isfinite(agent.learner.state.numpy()).all()
        assert agent.num_timesteps in (44, 45)
        agent.learn(10)


def test_what_cannot_be_trained_together_is_refused():
    with pytest.raises(ValueError, match="at least one seed"):
        train_seeds(MPDQN, Target, [], 10)
    agents = [MPDQN("MlpPolicy", Target(), seed=seed, gamma=gamma, **SMALL) for seed, gamma in ((0, 0.9), (1, 0.8))]
    with pytest.raises(ValueError, match=r"differ in their seeds and environments only.*0\.8"):
        train_together(agents, 10)
    with pytest.raises(ValueError, match="give gradient_steps a number"):
        train_seeds(MPDQN, Target, [0], 10, train_freq=(1, "episode"), gradient_steps=-1)


def test_agents_may_have_several_environments_each():
    def make():
        return gym.vector.SyncVectorEnv([Target] * 2, autoreset_mode=gym.vector.AutoresetMode.SAME_STEP)

    agents = train_seeds(MPDQN, make, range(2), 60, gradient_steps=2, **SMALL)
    alone = MPDQN("MlpPolicy", make(), seed=1, gradient_steps=2, **SMALL).learn(60)
    np.testing.assert_allclose(agents[1].learner.state.numpy(), alone.learner.state.numpy(), rtol=1e-4, atol=1e-6)

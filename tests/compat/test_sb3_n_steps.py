"""N-step returns are those of SB3's NStepReplayBuffer, in its vector environments too."""

from functools import partial

import numpy as np
import pytest
from stable_baselines3.common.buffers import NStepReplayBuffer
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from toy_environments import Numbered

from pamdp_agents import MPDQN

SETTINGS = {"learning_starts": 1000, "buffer_size": 400, "policy_kwargs": {"net_arch": [8]}, "seed": 0}
SETTINGS |= {"scale_observations": False, "gamma": 0.9, "n_steps": 3}
GAMMA = 0.9


def sorted_rows(*columns):
    """The rows of columns next to each other, in an order that depends on nothing but them."""
    rows = np.column_stack([np.asarray(column, np.float64) for column in columns])
    return rows[np.lexsort(rows[:, :3].T)]


@pytest.mark.parametrize("n_envs", [1, 3])
def test_returns_are_those_of_sb3(n_envs):
    env = DummyVecEnv([partial(Numbered, label, 4) for label in range(n_envs)])
    agent = MPDQN("MlpPolicy", env, **SETTINGS)
    theirs = NStepReplayBuffer(400, agent.observation_space, env.action_space[0], n_envs=n_envs, n_steps=3, gamma=GAMMA)
    before = {}

    def copy_step(found, _):
        infos, after = found["infos"], found["new_obs"].copy()
        for i, info in enumerate(infos):
            after[i] = info.get("terminal_observation", after[i])
        start = before.get("obs", np.column_stack([range(n_envs), [0] * n_envs, [0] * n_envs]))
        actions = np.zeros((n_envs, 1))
        theirs.add(start, after, actions, found["rewards"], found["dones"], infos)
        before["obs"] = found["new_obs"].copy()

    agent.learn(18 * n_envs, callback=copy_step)  # whole episodes, of four and five steps
    found = [theirs._get_samples(np.arange(18)) for _ in range(60)]  # each draws environments for the 18 steps
    columns = [np.concatenate([np.asarray(getattr(one, name)) for one in found])
               for name in ("observations", "next_observations", "rewards", "dones", "discounts")]  # fmt: skip
    theirs_rows = np.unique(sorted_rows(*columns).round(5), axis=0)
    ours = agent.row.unpack(agent.replay_buffer.rows[: 18 * n_envs])
    dones = agent.replay_buffer.dones
    steps = ours.s2[:, 2] - ours.s[:, 2]
    discounts = np.where(dones, GAMMA**steps, GAMMA * ours.discount)  # SB3's of a real end is not used
    np.testing.assert_allclose(
        sorted_rows(ours.s, ours.s2, ours.r, dones, discounts), theirs_rows[np.lexsort(theirs_rows[:, :3].T)], atol=2e-5
    )


def test_rewards_that_are_normalised_when_they_are_sampled_are_refused():
    env = VecNormalize(make_vec_env(Numbered, n_envs=2), norm_reward=True)
    with pytest.raises(ValueError, match="n_steps=3 cannot be had with a VecNormalize of norm_reward=True"):
        MPDQN("MlpPolicy", env, **SETTINGS)
    agent = MPDQN("MlpPolicy", make_vec_env(Numbered, n_envs=2), **SETTINGS)
    plain = agent.get_env()
    with pytest.raises(ValueError, match="norm_reward"):
        agent.set_env(env)
    assert agent.get_env() is plain
    env.norm_reward = False
    agent = MPDQN("MlpPolicy", env, **SETTINGS | {"learning_starts": 10, "batch_size": 4}).learn(30)
    assert agent._n_updates == 10
    env.norm_reward = True
    with pytest.raises(ValueError, match="norm_reward"):
        agent.learn(30, reset_num_timesteps=False)

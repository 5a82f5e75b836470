"""N-step returns: what is stored of episodes of every kind of end, in every kind of environment."""

import io
from functools import partial

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from toy_environments import Corridor, Numbered

from pamdp_agents import MPDQN, PADDPG, PDQN
from pamdp_agents.training import train_together

SMALL = {"policy_kwargs": {"net_arch": [8]}, "batch_size": 4, "buffer_size": 200, "seed": 0, "gamma": 0.5}
SMALL |= {"scale_observations": False, "learning_starts": 1000, "n_steps": 3}

# Two episodes of rewards 1, 2, 3, …, one of four steps that ends by termination, one of five that is truncated; γ is
# 0.5. In the order of storing: time of s, return of 3 steps, time of s2, discount.
BY_HAND = [
    (0, 1 + 2 / 2 + 3 / 4, 3, 1 / 4),
    (1, 2 + 3 / 2 + 4 / 4, 4, 0),
    (2, 3 + 4 / 2, 4, 0),
    (3, 4, 4, 0),
    (0, 1 + 2 / 2 + 3 / 4, 3, 1 / 4),
    (1, 2 + 3 / 2 + 4 / 4, 4, 1 / 4),
    (2, 3 + 4 / 2 + 5 / 4, 5, 1 / 4),
    (3, 4 + 5 / 2, 5, 1 / 2),
    (4, 5, 5, 1),
]


def make(env, kind=PDQN, **settings):
    return kind("MlpPolicy", env, **SMALL | settings)


def stored(agent, label=0):
    """What is stored of an environment: (time of s, reward, time of s2, discount) of each transition."""
    batch = agent.row.unpack(agent.replay_buffer.rows[: len(agent.replay_buffer)])
    np.testing.assert_array_equal(batch.s[:, :2], batch.s2[:, :2])  # of one environment and one episode
    own = batch.s[:, 0] == label
    columns = batch.s[own, 2], batch.r[own], batch.s2[own, 2], batch.discount[own]
    return [tuple(map(float, row)) for row in zip(*columns, strict=True)]


def test_one_environment():
    agent = make(Numbered(0, 4)).learn(9)
    assert stored(agent) == BY_HAND
    assert len(agent.replay_buffer.returns) == 0 and agent.num_timesteps == 9


@pytest.mark.parametrize("mode", AutoresetMode, ids=str)
def test_every_autoreset_mode(mode):
    env = SyncVectorEnv([partial(Numbered, label, 4 - label % 2) for label in (0, 1)], autoreset_mode=mode)
    agent = make(env, PADDPG).learn(28)
    assert stored(agent)[:9] == BY_HAND
    # The other's rewards are larger by 1, its episodes have three and four steps; so it is ahead.
    assert stored(agent, 1)[:7] == [
        (0, 2 + 3 / 2 + 4 / 4, 3, 0),
        (1, 3 + 4 / 2, 3, 0),
        (2, 4, 3, 0),
        (0, 2 + 3 / 2 + 4 / 4, 3, 1 / 4),
        (1, 3 + 4 / 2 + 5 / 4, 4, 1 / 4),
        (2, 4 + 5 / 2, 4, 1 / 2),
        (3, 5, 4, 1),
    ]
    waiting = agent.replay_buffer.returns.counts
    assert len(agent.replay_buffer) + waiting.sum() == agent.num_timesteps and (waiting < 3).all()


@pytest.mark.parametrize("n_steps", [1, 2, 3, 4, 7])
def test_any_number_of_steps(n_steps):
    agent = make(Numbered(0, 4), n_steps=n_steps).learn(9)
    found = stored(agent)
    assert [row[0] for row in found] == [0, 1, 2, 3, 0, 1, 2, 3, 4]
    for (t, r, after, discount), length in zip(found, [4] * 4 + [5] * 5, strict=True):
        m = min(n_steps, length - t)
        assert r == sum(0.5**i * (t + 1 + i) for i in range(int(m)))
        assert after == t + m and discount == (0 if length == 4 and after == 4 else 0.5 ** (m - 1))


def test_the_update_discounts_what_follows_by_gamma_to_the_number_of_steps():
    """With weights of 0 but for the output's bias, every value is 1: the target is r + γ^m, or r at a real end."""
    agent = make(Numbered(0, 4)).learn(9)
    parameters = agent.get_parameters()
    zero = {name: np.zeros_like(value) for name, value in parameters["q_target"].items()}
    [bias] = [name for name in zero if name.endswith("bias") and zero[name].shape == (3,)]
    agent.set_parameters({"q_target": zero | {bias: np.ones(3, "f")}}, exact_match=False)
    batch = agent.row.unpack(np.array(agent.replay_buffer.rows[:9]))
    call = type("Call", (), {"inputs": {"gamma": agent.gamma}})
    target = agent.target(agent.learner.unload(), batch, call)
    bootstrap = [0.5**3, 0, 0, 0, 0.5**3, 0.5**3, 0.5**3, 0.5**2, 0.5]
    np.testing.assert_allclose(target, [row[1] + left for row, left in zip(BY_HAND, bootstrap, strict=True)], rtol=1e-6)


# -------------------------------------------------------------------- episodes that are left


def test_steps_of_an_episode_that_is_left_are_stored_as_if_it_had_been_cut_off():
    agent = make(Corridor(5)).learn(4)
    left = [(0, 1.75, 3, 1 / 4), (1, 1.75, 4, 1 / 4), (2, 1.5, 4, 1 / 2), (3, 1, 4, 1)]

    def found():
        batch = agent.row.unpack(agent.replay_buffer.rows[: len(agent.replay_buffer)])
        columns = batch.s[:, 0], batch.r, batch.s2[:, 0], batch.discount
        return [tuple(map(float, row)) for row in zip(*columns, strict=True)]

    assert found() == left[:2] and agent.replay_buffer.returns.counts.tolist() == [2]
    agent.learn(1)  # begins with a reset
    assert found() == left and agent.replay_buffer.returns.counts.tolist() == [1]
    agent.set_env(SyncVectorEnv([partial(Corridor, 5)] * 2))
    agent.learn(4, reset_num_timesteps=False)
    assert found() == [*left, (0, 1, 1, 1)] and agent.replay_buffer.returns.counts.tolist() == [2, 2]
    agent.learn(2, reset_num_timesteps=False)  # goes on
    assert found() == [*left, (0, 1, 1, 1), (0, 1.75, 3, 1 / 4), (0, 1.75, 3, 1 / 4)]


def test_environments_that_a_callback_gives_begin_anew():
    def change(found, _):
        if found["self"].num_timesteps == 4:
            found["self"].set_env(Numbered(1, 4))

    agent = make(Numbered(0, 5)).learn(10, callback=change)
    assert stored(agent)[2:] == [(2, 3 + 4 / 2, 4, 1 / 2), (3, 4, 4, 1)]
    assert stored(agent, 1)[:2] == [(0, 2 + 3 / 2 + 4 / 4, 3, 1 / 4), (1, 3 + 4 / 2 + 5 / 4, 4, 0)]


def test_an_interrupted_step_loses_nothing_that_was_made():
    class Broken(Numbered):
        left = 3

        def step(self, action):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
            return super().step(action)

    agent = make(Broken(0, 4))
    with pytest.raises(KeyboardInterrupt):
        agent.learn(9)
    assert (len(agent.replay_buffer), agent.replay_buffer.returns.counts.tolist()) == (0, [2])
    agent.learn(9, reset_num_timesteps=False)
    assert stored(agent)[:2] == [(0, 2, 2, 1 / 2), (1, 2, 2, 1)]


def test_another_environments_steps_are_not_gone_on_with():
    other = make(Numbered(7, 6)).learn(5)
    agent = make(Numbered(0, 4)).learn(1)
    agent.restore_replay(other.replay_state())
    agent.learn(8, reset_num_timesteps=False)
    assert len(stored(agent, 7)) == 5 and stored(agent, 7)[-1] == (4, 12, 5, 1)
    # Its own first step was replaced with the rest of the buffer.
    assert stored(agent) == [*BY_HAND[1:4], *BY_HAND[4:9]]


# -------------------------------------------------------------------- files


def test_what_waits_is_saved_with_the_replay_buffer(tmp_path):
    agent = make(Numbered(0, 4)).learn(7)
    agent.save_replay_buffer(tmp_path / "buffer")
    agent.save(tmp_path / "whole", include=["replay_buffer"])
    agent.save(tmp_path / "agent")
    assert len(agent.replay_buffer.returns) == 2
    alone = PDQN.load(tmp_path / "agent")
    assert len(alone.replay_buffer) == len(alone.replay_buffer.returns) == 0
    alone.load_replay_buffer(tmp_path / "buffer")
    for loaded in (alone, PDQN.load(tmp_path / "whole")):
        np.testing.assert_array_equal(loaded.replay_buffer.returns.rows, agent.replay_buffer.returns.rows)
        loaded.set_env(Numbered(0, 4))  # which begins anew
        loaded.learn(1, reset_num_timesteps=False)
        assert stored(loaded) == [*BY_HAND[:5], (1, 2 + 3 / 2, 3, 1 / 2), (2, 3, 3, 1)]


@pytest.mark.parametrize(
    "n_steps, expected",
    [
        (1, [(1, 2, 2, 1), (2, 3, 3, 1)]),
        (2, [(1, 2 + 3 / 2, 3, 1 / 2)]),
        (4, []),
    ],
)
def test_an_agent_of_another_number_of_steps_takes_what_waits(n_steps, expected):
    agent = make(Numbered(0, 4)).learn(7)
    other = make(Numbered(0, 4), n_steps=n_steps)
    other.restore_replay(agent.replay_state())
    assert stored(other)[5:] == expected
    assert len(other.replay_buffer.returns) == 2 - len(expected)


def test_what_waits_gets_the_scale_of_the_rewards(tmp_path):
    agent = make(Numbered(0, 4)).learn(7)
    agent.save_replay_buffer(file := io.BytesIO())
    agent.reward_scale = 4.0
    other = make(Numbered(0, 4), reward_scale=4.0)
    other.load_replay_buffer(file)
    for each in (agent, other):
        assert each.replay_buffer.returns.rows[:, each.row.places["r"]].ravel().tolist() == [8, 12]
    assert agent.learn(2, reset_num_timesteps=False).replay_buffer.rewards.tolist() == [row[1] for row in BY_HAND]
    other.replay_buffer.reset()
    other.learn(2)
    with pytest.raises(ValueError, match=r"reward_scale=1e\+38 makes rewards .* larger than float32 holds"):
        other.reward_scale = 1e38  # 2, the second of them, times 3
    assert other.reward_scale == 4.0 and other.replay_buffer.returns.rows[:, other.row.places["r"]].max() == 8


DAMAGED = [
    ({"waiting_counts": np.array([3])}, "does not fit"),
    ({"waiting_counts": np.array([3, -1])}, "does not fit"),
    ({"waiting_counts": np.array([2.0])}, "does not fit"),
    ({"waiting_counts": np.array(2)}, "does not fit"),
    ({"waiting_s": np.zeros((2, 4), "f")}, "other observation or action spaces"),
    ({"waiting_r": np.full((2, 1), np.nan, "f")}, "not finite"),
    ({"waiting_k": np.full((2, 1), 9, "f")}, "discrete actions"),
    ({"waiting_more": np.zeros((2, 1), "f")}, "other observation or action spaces"),
]


def test_damaged_files_are_refused_and_the_old_buffer_stays():
    state = make(Numbered(0, 4)).learn(7).replay_state()
    agent = make(Numbered(0, 4)).learn(2)
    for changes, message in DAMAGED:
        with pytest.raises(ValueError, match=message):
            agent.restore_replay(state | changes)
    with pytest.raises(KeyError, match="counts"):
        agent.restore_replay({name: part for name, part in state.items() if name != "waiting_counts"})
    assert (len(agent.replay_buffer), len(agent.replay_buffer.returns)) == (0, 2)
    assert stored(agent.learn(7, reset_num_timesteps=False)) == BY_HAND


# -------------------------------------------------------------------- with other settings


def test_another_gamma_is_that_of_returns_completed_from_then_on():
    agent = make(Numbered(0, 4)).learn(4)
    agent.gamma = 1.0
    assert stored(agent.learn(3, reset_num_timesteps=False))[:5] == [*BY_HAND[:4], (0, 6, 3, 1)]


def test_gamma_0_counts_the_first_reward_only():
    agent = make(Numbered(0, 4), gamma=0.0).learn(9)
    assert agent.replay_buffer.rewards.tolist() == [1, 2, 3, 4, 1, 2, 3, 4, 5]


def test_no_update_is_due_before_anything_is_stored():
    agent = make(Numbered(0, 40), n_steps=6, learning_starts=0).learn(8)
    assert (len(agent.replay_buffer), agent._n_updates) == (3, 3)


def test_rewards_whose_sum_is_beyond_float32_are_refused():
    class Large(Numbered):
        def step(self, action):
            return *super().step(action)[:1], 2e38, False, False, {}

    make(Large(), n_steps=1).learn(2)
    with pytest.raises(ValueError, match=r"2e\+38, which times n_steps=3 is not a finite number"):
        make(Large()).learn(2)
    with pytest.raises(ValueError, match=r"times reward_scale=0.9 and n_steps=3"):
        make(Large(), reward_scale=0.9).learn(2)


def test_what_is_added_by_hand_is_of_one_step():
    agent = make(Numbered(0, 4))
    s, s2 = np.array([[0, 0, 0.0]]), np.array([[0, 0, 1.0]])
    for _ in range(2):
        agent.replay_buffer.add(s, s2, [agent.action_space.sample()], [1.0], [False], [{}])
    assert stored(agent) == [(0, 1, 1, 1)] * 2
    agent.learn(1).replay_buffer.reset()
    assert len(agent.replay_buffer) == len(agent.replay_buffer.returns) == 0


def test_dones_are_real_ends_whatever_the_discount():
    agent = make(Numbered(0, 4), MPDQN).learn(9)
    assert agent.replay_buffer.dones.tolist() == [0, 1, 1, 1, 0, 0, 0, 0, 0]


def test_agents_trained_together_store_what_they_store_alone():
    agents = [make(Numbered(seed, 4), seed=seed, gradient_steps=0) for seed in (1, 2)]
    train_together(agents, 20)
    for agent in agents:
        alone = make(Numbered(agent.seed, 4), seed=agent.seed, gradient_steps=0).learn(20)
        np.testing.assert_array_equal(alone.replay_buffer.rows, agent.replay_buffer.rows)

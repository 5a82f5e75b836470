"""Training in several environments at once: every kind stores the same right transitions."""

from functools import partial

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from toy_environments import Corridor, Numbered, Target

from pamdp_agents import MPDQN
from pamdp_agents.callbacks import BaseCallback
from pamdp_agents.environments.gymnasium_vector import split_infos
from pamdp_agents.exploration import OrnsteinUhlenbeckNoise

SMALL = {"policy_kwargs": {"net_arch": [8]}, "batch_size": 4, "seed": 0}
MODES = list(AutoresetMode)


def numbered(n=3, as_dict=False):
    """Makers of environments whose episodes have lengths of their own."""
    return [partial(Numbered, label, 2 + label, as_dict) for label in range(n)]


def stored(agent):
    return agent.row.unpack(agent.replay_buffer.rows[: len(agent.replay_buffer)])


def assert_right_transitions(agent, n=3):
    """Every stored transition is one of Numbered's, and of each environment all are there, in order."""
    batch = stored(agent)
    for label in range(n):
        own = batch.s[:, 0] == label
        s, s2, r, discount = (part[own] for part in (batch.s, batch.s2, batch.r, batch.discount))
        np.testing.assert_array_equal(s2[:, 0], label)
        np.testing.assert_array_equal(s2[:, 1], s[:, 1])  # the episode
        np.testing.assert_array_equal(s2[:, 2], s[:, 2] + 1)
        np.testing.assert_array_equal(r, label + s2[:, 2])
        length = 2 + label + s[:, 1] % 2
        np.testing.assert_array_equal(discount, ~((s2[:, 2] == length) & (s[:, 1] % 2 == 0)))
        expected = [(e, t) for e in range(40) for t in range(2 + label + e % 2)][: len(s)]
        np.testing.assert_array_equal(s[:, 1:], expected)


@pytest.mark.parametrize("as_dict", [False, True], ids=["box", "dict"])
@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("vector_env", [SyncVectorEnv, AsyncVectorEnv])
def test_every_autoreset_mode_stores_the_transitions_of_the_environments(vector_env, mode, as_dict):
    envs = vector_env(numbered(as_dict=as_dict), autoreset_mode=mode)
    agent = MPDQN("MlpPolicy", envs, learning_starts=1000, scale_observations=False, **SMALL).learn(60)
    assert_right_transitions(agent)
    assert agent.num_timesteps == len(agent.replay_buffer) >= 60
    returns = {(episode["r"], episode["l"]) for episode in agent.ep_info_buffer}
    lengths = [(label, 2 + label + odd) for label in range(3) for odd in (0, 1)]
    assert returns == {(label * n + n * (n + 1) / 2, n) for label, n in lengths}
    envs.close()


def test_one_environment_stores_the_same_as_several():
    agent = MPDQN("MlpPolicy", Numbered(0, 2), learning_starts=1000, scale_observations=False, **SMALL).learn(30)
    assert_right_transitions(agent, n=1)
    assert len(agent.replay_buffer) == 30


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_recorder_around_the_environments_does_not_change_the_episodes_statistics(mode):
    episodes = []
    for wrap in (lambda envs: envs, RecordEpisodeStatistics):
        envs = wrap(SyncVectorEnv(numbered(), autoreset_mode=mode))
        agent = MPDQN("MlpPolicy", envs, learning_starts=1000, **SMALL).learn(40)
        episodes.append([(episode["r"], episode["l"]) for episode in agent.ep_info_buffer])
    assert episodes[0] == episodes[1]


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP], ids=str)
def test_episode_statistics_of_a_recorder_are_taken_over(mode):
    envs = RecordEpisodeStatistics(SyncVectorEnv(numbered(), autoreset_mode=mode))
    agent = MPDQN("MlpPolicy", envs, learning_starts=1000, **SMALL).learn(40)
    episodes = len(agent.ep_info_buffer)
    assert episodes == agent._episode_num
    assert [episode["r"] for episode in agent.ep_info_buffer] == list(envs.return_queue)[:episodes]
    assert agent.ep_success_buffer and all(agent.ep_success_buffer)


def test_processes_give_the_same_training_as_one_after_the_other():
    agents = []
    for vector_env in (SyncVectorEnv, AsyncVectorEnv):
        envs = vector_env([Target] * 2)
        agents.append(MPDQN("MlpPolicy", envs, learning_starts=20, **SMALL).learn(60))
        envs.close()
    np.testing.assert_array_equal(agents[0].learner.state.numpy(), agents[1].learner.state.numpy())
    np.testing.assert_array_equal(agents[0].replay_buffer.rows, agents[1].replay_buffer.rows)


def test_updates_are_made_while_other_processes_step_and_none_is_left_out():
    class Watched(AsyncVectorEnv):
        def step_async(self, actions):
            self.seen = [agent._n_updates]
            super().step_async(actions)

        def step_wait(self, **kwargs):
            self.seen.append(agent._n_updates)
            seen.append(tuple(self.seen))
            return super().step_wait(**kwargs)

    envs, seen = Watched([Target] * 2, autoreset_mode=AutoresetMode.SAME_STEP), []
    agent = MPDQN("MlpPolicy", envs, learning_starts=5, train_freq=2, gradient_steps=3, **SMALL)
    agent.learn(16)
    assert seen == [(0, 0)] * 4 + [(0, 3), (3, 3), (3, 6), (6, 6)]
    assert agent._n_updates == 9
    envs.close()


def test_make_vec_environments_get_seeds_of_their_own():
    envs = gym.make_vec("pamdp/Goal-v1", num_envs=2, vectorization_mode="sync")
    agent = MPDQN("MlpPolicy", envs, learning_starts=1000, **SMALL).learn(4)
    first = stored(agent).s[:2]
    assert not np.array_equal(first[0], first[1])
    again = MPDQN("MlpPolicy", gym.make_vec("pamdp/Goal-v1", 2, "sync"), learning_starts=1000, **SMALL).learn(4)
    np.testing.assert_array_equal(again.replay_buffer.rows, agent.replay_buffer.rows)


@pytest.mark.parametrize(
    "train_freq, gradient_steps, updates",
    [(1, 1, 20), (1, 3, 60), (1, -1, 60), ((2, "step"), -1, 60), (5, -1, 60), (5, 2, 8), (5, 0, 0)],
)
def test_train_freq_counts_steps_of_all_environments_and_minus_one_updates_once_a_transition(
    train_freq, gradient_steps, updates
):
    envs = SyncVectorEnv([Corridor] * 3, autoreset_mode=AutoresetMode.SAME_STEP)
    settings = {"train_freq": train_freq, "gradient_steps": gradient_steps, "learning_starts": 30}
    agent = MPDQN("MlpPolicy", envs, **settings, **SMALL).learn(90)
    assert agent._n_updates == updates
    assert agent.learner.traces == (updates > 0)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_minus_one_makes_one_update_for_each_transition_in_every_autoreset_mode(mode):
    envs = SyncVectorEnv([Target] * 4, autoreset_mode=mode)  # in NEXT_STEP, every second step only resets
    agent = MPDQN("MlpPolicy", envs, gradient_steps=-1, learning_starts=0, **SMALL).learn(40)
    assert agent._n_updates == agent.num_timesteps == 40
    assert agent.learner.traces == 1


@pytest.mark.parametrize("frequency", [1, 2])
def test_episodes_as_train_freq_update_at_their_ends_with_one_trace_whatever_their_lengths(frequency):
    counts = []
    env = Numbered(0, 3)  # episodes of 3, 4, 3, 4, … steps
    agent = MPDQN("MlpPolicy", env, train_freq=(frequency, "episode"), gradient_steps=-1, learning_starts=0, **SMALL)
    agent.learn(28, callback=lambda locals_, _: counts.append(agent._n_updates))
    at_ends = np.cumsum([3, 4] * 4)[frequency - 1 :: frequency]
    assert sorted(set(counts)) == [0, *at_ends[:-1]]
    assert agent._n_updates == 28
    assert agent.learner.traces == 1


def test_more_updates_than_fit_in_one_call_are_made_in_several():
    env = Corridor(length=100)
    agent = MPDQN("MlpPolicy", env, train_freq=(1, "episode"), gradient_steps=-1, learning_starts=0, **SMALL)
    agent.learn(100)
    assert agent._n_updates == 100 == agent.learner.unload().networks["q"].updates
    assert agent.learner.traces == 1
    fixed = MPDQN("MlpPolicy", Corridor(length=100), train_freq=100, gradient_steps=100, learning_starts=0, **SMALL)
    fixed.learn(100)
    # The batches are drawn in the same order, so it is the same training.
    np.testing.assert_allclose(fixed.learner.state.numpy(), agent.learner.state.numpy(), atol=1e-5)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_training_continues_where_the_environments_stand(mode, tmp_path):
    envs = SyncVectorEnv(numbered(), autoreset_mode=mode)
    settings = {"learning_starts": 1000, "scale_observations": False, "action_noise": "ornstein_uhlenbeck"} | SMALL
    agent = MPDQN("MlpPolicy", envs, **settings).learn(20)
    agent.save(tmp_path / "agent", include=["replay_buffer"])
    loaded = MPDQN.load(tmp_path / "agent", env=envs, force_reset=False)
    loaded.learn(20, reset_num_timesteps=False)
    assert_right_transitions(loaded)
    assert len(loaded.replay_buffer) >= 40
    with pytest.raises(ValueError, match="env has 2 environments, but to go on without a reset it must have 3"):
        MPDQN.load(tmp_path / "agent", env=SyncVectorEnv(numbered(2)), force_reset=False)


def test_environments_that_wait_for_a_reset_in_their_next_step_are_not_exchanged_for_others():
    envs = SyncVectorEnv([partial(Corridor, 2), partial(Corridor, 3)])
    agent = MPDQN("MlpPolicy", envs, learning_starts=1000, **SMALL).learn(4)
    same_step = SyncVectorEnv([Corridor] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
    with pytest.raises(ValueError, match=r"must reset in its next step .* environments \[0\]"):
        agent.set_env(same_step, force_reset=False)
    assert agent.env is envs
    agent.set_env(same_step)
    assert agent.env is same_step


def test_an_environment_that_is_refused_leaves_the_agent_as_it_was():
    envs = SyncVectorEnv([Corridor] * 3)
    agent = MPDQN("MlpPolicy", envs, learning_starts=1000, **SMALL).learn(6)
    with pytest.raises(ValueError, match="must have 3"):
        agent.set_env(SyncVectorEnv([Corridor] * 2), force_reset=False)
    assert agent.env is envs and agent.n_envs == 3
    fresh = MPDQN("MlpPolicy", None, train_freq=(1, "episode"), **SMALL)
    with pytest.raises(ValueError, match="needs one environment"):
        fresh.set_env(envs)
    fresh.set_env(Target())
    pictures = MPDQN("CnnPolicy", None, **SMALL)
    for _ in range(2):
        with pytest.raises(ValueError, match="CnnPolicy"):
            pictures.set_env(Target())


def test_an_agent_moves_from_several_environments_to_one_and_back(tmp_path):
    agent = MPDQN("MlpPolicy", SyncVectorEnv([Target] * 3), learning_starts=5, **SMALL).learn(30)
    agent.save(tmp_path / "agent")
    loaded = MPDQN.load(tmp_path / "agent", env=Target())
    assert loaded.n_envs == 1 and loaded.learn(10).num_timesteps == 10
    loaded.set_env(SyncVectorEnv([Target] * 2))
    assert loaded.n_envs == 2 and loaded.learn(10, reset_num_timesteps=False).num_timesteps == 20


def test_an_error_in_one_of_several_environments_stops_before_it_is_stored():
    envs = SyncVectorEnv([Corridor, partial(Corridor, broken_step=4)])
    agent = MPDQN("MlpPolicy", envs, learning_starts=1000, **SMALL)
    with pytest.raises(ValueError, match=r"Corridor \(number 1\) returned the reward nan,.* at step 7"):
        agent.learn(50)
    assert len(agent.replay_buffer) == agent.num_timesteps == 6
    agent.learn(10, reset_num_timesteps=False)
    assert agent.num_timesteps == 16


@pytest.mark.parametrize("where", ["step", "callback", "reset"])
def test_an_interrupted_training_leaves_an_agent_that_saves_and_goes_on(where, tmp_path):
    class Interrupted(Numbered):
        armed = True

        def interrupt(self, here):
            if here == where and self.armed and self.episode == 4:
                self.armed = False
                raise KeyboardInterrupt

        def step(self, action):
            result = super().step(action)
            self.interrupt("step")
            return result

        def reset(self, *, seed=None, options=None):
            result = super().reset(seed=seed)
            self.interrupt("reset")
            return result

    ended = []

    class Ending(BaseCallback):
        def _on_step(self):
            self.model.env.envs[0].interrupt("callback")
            return True

        def _on_training_end(self):
            ended.append(self.num_timesteps)

    agent = MPDQN("MlpPolicy", Interrupted(0, 2), learning_starts=5, scale_observations=False, **SMALL)
    with pytest.raises(KeyboardInterrupt):
        agent.learn(50, callback=Ending())
    assert ended
    agent.save(tmp_path / "agent", include=["replay_buffer"])
    loaded = MPDQN.load(tmp_path / "agent")
    np.testing.assert_array_equal(loaded.learner.state.numpy(), agent.learner.state.numpy())
    before = agent.num_timesteps
    agent.learn(20, reset_num_timesteps=False)
    assert agent.num_timesteps == before + 20
    batch = stored(agent)
    np.testing.assert_array_equal(batch.s2[:, 1], batch.s[:, 1])  # no step is joined to another episode's
    np.testing.assert_array_equal(batch.s2[:, 2], batch.s[:, 2] + 1)


def test_an_interrupted_step_of_other_processes_does_not_keep_them_from_a_reset():
    envs = AsyncVectorEnv([Corridor] * 2)
    agent = MPDQN("MlpPolicy", envs, learning_starts=1000, **SMALL).learn(4)
    envs.step_async(agent.parameterized_space.to_env_stacked([0, 0], np.zeros((2, 1))))  # and then, Ctrl-C
    agent.environments.observations = None
    agent.learn(4, reset_num_timesteps=False)
    assert agent.num_timesteps == 8
    envs.close()


def test_infos_of_the_vector_environment_as_a_whole_are_everyones():
    infos = {"count": 3, "name": "abc", "none": None, "each": np.array([1, 2]), "_own": np.array([False, True]),
             "own": np.array([0, 5]), "nested": {"a": 1.0, "b": np.array([6, 7])}}  # fmt: skip
    shared = {"count": 3, "name": "abc", "none": None}
    assert split_infos(infos, 2) == [
        shared | {"each": 1, "nested": {"a": 1.0, "b": 6}},
        shared | {"each": 2, "own": 5, "nested": {"a": 1.0, "b": 7}},
    ]


def test_a_callback_that_says_stop_stops_at_once_in_several_environments():
    envs = SyncVectorEnv([Corridor] * 4)
    agent = MPDQN("MlpPolicy", envs, learning_starts=0, train_freq=10, **SMALL)
    agent.learn(400, callback=lambda locals_, _: locals_["num_collected_steps"] < 3)
    assert agent.num_timesteps == 12 and agent._n_updates == 0


def test_callbacks_see_stable_baselines3s_locals():
    seen = {}
    envs = SyncVectorEnv([Target] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
    MPDQN("MlpPolicy", envs, learning_starts=100, **SMALL).learn(6, callback=lambda locals_, _: seen.update(locals_))
    assert seen["new_obs"].shape == (2, 2) and seen["rewards"].shape == seen["dones"].shape == (2,)
    assert len(seen["infos"]) == 2 and set(seen["infos"][0]) >= {"is_success", "episode"}
    single = {}
    MPDQN("MlpPolicy", Target(), learning_starts=100, **SMALL).learn(
        2, callback=lambda locals_, _: single.update(locals_)
    )
    assert single["new_obs"].shape == (1, 2) and len(single["actions"]) == len(single["infos"]) == 1
    assert {"self", "env", "total_timesteps", "callback", "log_interval", "tb_log_name"} <= seen.keys()
    assert isinstance(seen["callback"], BaseCallback)


def test_ornstein_uhlenbeck_noise_has_a_state_for_each_environment():
    envs = SyncVectorEnv([partial(Corridor, length=50)] * 2)
    noise = {"name": "ornstein_uhlenbeck", "sigma": 0.3}
    agent = MPDQN("MlpPolicy", envs, learning_starts=100, action_noise=noise, **SMALL).learn(20)
    states = [noise.state for noise in agent.explorer.noises]
    assert len(states) == 2 and not np.array_equal(*states)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_ornstein_uhlenbeck_noise_starts_from_0_in_every_episode(mode):
    class Noted(OrnsteinUhlenbeckNoise):
        def sample(self, rng, n_parameters):
            starts.append(self.state is None)
            return super().sample(rng, n_parameters)

    starts = []
    envs = SyncVectorEnv([partial(Corridor, 3)], autoreset_mode=mode)
    MPDQN("MlpPolicy", envs, learning_starts=100, action_noise=Noted(), **SMALL).learn(9)
    if mode is AutoresetMode.NEXT_STEP:
        del starts[3::4]  # drawn for the steps that only reset
    assert starts == [True, False, False] * 3

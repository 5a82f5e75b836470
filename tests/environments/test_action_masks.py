"""Environments that forbid discrete actions: no agent ever takes one that is forbidden, nor values it."""

import json
import re
from functools import partial

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from small_agents import make, refuses_several, those_of
from toy_environments import Gates, Target

from pamdp_agents import MPDQN, PADDPG, PDQN, SPDQN, HybridPPO, train_together
from pamdp_agents.agents import AGENTS, agent_class
from pamdp_agents.evaluation import evaluate_policy
from pamdp_agents.experience import PrioritizedReplayBuffer
from pamdp_agents.experiments import video
from pamdp_agents.learning.train_state import Call

AGENT_CLASSES = [agent_class(name) for name in AGENTS]
SMALL = {"policy_kwargs": {"net_arch": [8]}, "batch_size": 8, "buffer_size": 200, "learning_starts": 20, "seed": 0}
EXPLORING = {"exploration_initial_eps": 0.5, "exploration_final_eps": 0.5}


def vector(mode, n=3, **kwargs):
    return SyncVectorEnv([partial(Gates, **kwargs)] * n, autoreset_mode=mode)


def play(agent, env, deterministic=True):
    return evaluate_policy(agent, env, 4, deterministic, return_episode_rewards=True, warn=False)[1]


def next_masks(agent):
    rows = agent.replay_buffer.rows[: len(agent.replay_buffer)]
    return rows[:, agent.row.places["next_action_mask"]].astype(bool)


# -------------------------------------------------------------------- training


@pytest.mark.parametrize("where", ["method", "info", "both"])
@pytest.mark.parametrize("agent_class", AGENT_CLASSES)
def test_no_agent_takes_a_forbidden_action(agent_class, where):
    agent = make(agent_class, Gates(where), **those_of(agent_class, EXPLORING))
    agent.learn(200)  # the environment raises an error for a forbidden action
    assert agent.masked and agent._n_updates > 0
    for deterministic in (True, False):
        assert play(agent, Gates(where), deterministic) == [5] * 4


@pytest.mark.parametrize(
    "options",
    [{"n_policies": 2}, {"n_critics": 2, "double_q": True}, {"replay_buffer_class": PrioritizedReplayBuffer}],
    ids=["n_policies", "n_critics", "priorities"],
)
def test_options_forbid_actions_too(options):
    agent = MPDQN("MlpPolicy", Gates(), **SMALL | EXPLORING | options).learn(100)
    assert agent._n_updates == 80
    assert play(agent, Gates()) == [5] * 4
    actions, _ = agent.predict(np.zeros((3, 3), np.float32), deterministic=True, action_masks=np.eye(3))
    assert [k for k, _ in actions] == [0, 1, 2]


@pytest.mark.parametrize("where", ["method", "info"])
@pytest.mark.parametrize("mode", AutoresetMode)
def test_vector_environments_of_every_mode_forbid_actions(mode, where):
    agent = MPDQN("MlpPolicy", vector(mode, where=where), **SMALL | EXPLORING)
    if mode is AutoresetMode.SAME_STEP and where == "method":
        with pytest.warns(UserWarning, match="does not say which discrete actions were allowed at the end"):
            agent.learn(300)
    else:
        agent.learn(300)
    assert play(agent, vector(mode, where=where)) == [5] * 4


@pytest.mark.parametrize("n_steps", [1, 3])
@pytest.mark.parametrize("mode", [None, *AutoresetMode])
def test_what_is_allowed_after_a_transition_is_stored_with_it(mode, n_steps):
    env = Gates("info") if mode is None else vector(mode, where="info")
    agent = PDQN("MlpPolicy", env, n_steps=n_steps, **SMALL).learn(100)
    # The observation says what is allowed. After the end of an episode everything counts as allowed.
    rows = agent.replay_buffer.rows[: len(agent.replay_buffer)]
    seen = rows[:, agent.row.places["s2"]] > 0
    ended = rows[:, agent.row.places["discount"].start] == 0
    assert 0 < ended.sum() < len(rows)
    np.testing.assert_array_equal(next_masks(agent), seen | ended[:, None])


def test_the_targets_maximum_is_of_allowed_actions():
    agent = PDQN("MlpPolicy", Gates("info"), gamma=0.5, **SMALL).learn(30)
    batch = agent.row.unpack(agent.replay_buffer.rows[:30])
    networks = agent.acting.networks()
    values = networks["q"](batch.s2, networks["actor"](batch.s2))
    expected = batch.r + 0.5 * batch.discount * np.where(next_masks(agent)[:30], values, -np.inf).max(1)
    agent.learner.load(_online_as_target(agent.learner.unload()))
    target = _target(agent, 30)
    np.testing.assert_allclose(target, expected, rtol=1e-5, atol=1e-6)


def _online_as_target(state):
    networks = {name: each._replace(target=each.weights) for name, each in state.networks.items()}
    return state._replace(networks=networks)


def _target(agent, n):
    batch = agent.row.unpack(tf.constant(agent.replay_buffer.rows[:n]))
    state = agent.learner.unload()
    state = state._replace(networks=tf.nest.map_structure(tf.constant, state.networks))
    return agent.target(state, batch, Call(agent.current_inputs(), tf.constant([0, 0]))).numpy()


@pytest.mark.parametrize("where", ["method", "info"])
def test_environments_in_other_processes_forbid_actions(where):
    envs = AsyncVectorEnv([partial(Gates, where)] * 2)
    agent = PDQN("MlpPolicy", envs, **SMALL | EXPLORING).learn(60)
    assert agent.masked and agent.num_timesteps == 60
    envs.close()


def test_a_vector_environment_of_ones_own_gives_all_masks_at_once():
    class Own(gym.vector.VectorWrapper):
        """Hides what it is made of."""

        @property
        def unwrapped(self):
            return self

        def action_masks(self):
            return np.stack(self.env.call("action_masks"))

    agent = PDQN("MlpPolicy", Own(vector(AutoresetMode.NEXT_STEP)), **SMALL | EXPLORING).learn(60)
    assert agent.masked


@pytest.mark.parametrize("format", ["saved_model", "tflite"])
@pytest.mark.parametrize("agent_class", [PDQN, HybridPPO])
def test_an_exported_policy_takes_masks(agent_class, format, tmp_path):
    agent = make(agent_class, Gates()).learn(30)
    agent.export(tmp_path / "policy", format)
    observations, masks = np.random.default_rng(0).random((4, 3)).astype("f"), np.eye(3, dtype=bool)[[0, 1, 2, 1]]
    if format == "saved_model":
        policy = tf.saved_model.load(str(tmp_path / "policy")).policy
        description = tmp_path / "policy/assets.extra/policy.json"
        assert json.loads(description.read_text())["action_masks"] == "action_masks"
    else:
        runner = tf.lite.Interpreter(str(tmp_path / "policy.tflite")).get_signature_runner()

        def policy(observation, action_masks):
            return runner(observation=observation, action_masks=action_masks)

    np.testing.assert_array_equal(policy(observations, masks)["action"], masks.argmax(1))
    everything = np.asarray(policy(observations, np.ones_like(masks))["action"])
    assert [k for k, _ in agent.predict(observations, deterministic=True)[0]] == everything.tolist()


def test_a_video_shows_allowed_actions_only():
    agent, env = MPDQN("MlpPolicy", Gates("info"), **SMALL), Gates("info")
    ends = []
    list(video.play(agent, env, 20, None, False, 0, lambda *end: ends.append(end)))  # forbidden ones are errors
    assert [length for _, _, length in ends] == [5] * 4


def test_agents_trained_together_have_masks_all_or_none():
    class Free(gym.Wrapper):
        def has_wrapper_attr(self, name):
            return name != "action_masks" and super().has_wrapper_attr(name)

    envs = [Free(Gates("method", forgiving=True)), Gates()]
    agents = [MPDQN("MlpPolicy", env, **SMALL | {"seed": seed}) for seed, env in enumerate(envs)]
    with pytest.raises(ValueError, match=r"or none may, but agents \[1\] of 2 have them"):
        train_together(agents, 50)


def test_masks_cost_nothing_where_there_are_none():
    agent = PDQN("MlpPolicy", "pamdp/Platform-v0", **SMALL).learn(30)
    assert not agent.masked and "next_action_mask" not in agent.row.places


def test_agents_trained_together_forbid_actions_too():
    def make():
        return [MPDQN("MlpPolicy", Gates("info"), **SMALL | {"seed": seed}) for seed in (1, 2, 3)]

    agents, alone = make(), make()
    train_together(agents, 100)
    for agent, own in zip(agents, alone, strict=True):
        own.learn(100)
        for name, group in own.get_parameters().items():
            for part, values in group.items():
                np.testing.assert_array_equal(agent.get_parameters()[name][part], values)


# -------------------------------------------------------------------- predict


@pytest.mark.parametrize("agent_class", AGENT_CLASSES)
@pytest.mark.parametrize("deterministic", [True, False])
def test_predict_takes_masks(agent_class, deterministic):
    agent = make(agent_class, Gates())
    observation = np.zeros((3, 3), np.float32)
    masks = np.eye(3, dtype=bool)
    for _ in range(5):
        actions, _ = agent.predict(observation, deterministic=deterministic, action_masks=masks)
        assert [k for k, _ in actions] == [0, 1, 2]
        (k, _), _ = agent.predict(observation[0], deterministic=deterministic, action_masks=[0, 0, 1])
        assert k == 2
        (k, _), _ = agent.policy.predict(observation[0], deterministic=deterministic, action_masks=[0, 1, 0])
        assert k == 1


def test_a_policy_without_a_numpy_form_takes_masks():
    agent = PDQN("MlpPolicy", Gates(), **SMALL | {"policy_kwargs": {"net_arch": [8], "activation_fn": "gelu"}})
    actions, _ = agent.predict(np.zeros((3, 3), np.float32), deterministic=True, action_masks=np.eye(3))
    assert [k for k, _ in actions] == [0, 1, 2]
    agent.learn(40)


@pytest.mark.parametrize(
    ("masks", "error", "message"),
    [
        (
            [True, False],
            ValueError,
            "action_masks must be of shape (3,), one entry for each discrete action",
        ),
        ([0, 0, 0], ValueError, "action_masks must allow at least one discrete action for each observation"),
        ([0, 2, 0], TypeError, "action_masks must hold True and False (or 1 and 0), got [0, 2, 0]"),
        ("all", ValueError, "action_masks must be of shape (3,)"),
    ],
)
def test_wrong_masks_are_refused(masks, error, message):
    agent = PDQN("MlpPolicy", Gates(), **SMALL)
    with pytest.raises(error, match=re.escape(message)):
        agent.predict(np.zeros(3, np.float32), action_masks=masks)


# -------------------------------------------------------------------- mistakes of environments


class Wrong(gym.Wrapper):
    """Gates whose masks become something else at step 23."""

    def __init__(self, mask):
        super().__init__(Gates())
        self.steps, self.mask = 0, mask

    def step(self, action):
        self.steps += 1
        return self.env.step(action)

    def action_masks(self):
        return self.mask if self.steps == 23 else self.env.get_wrapper_attr("action_masks")()


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ([False] * 3, "allows no discrete action: its action mask holds nothing but False"),
        (
            [True] * 2,
            "gave the action mask [True, True], which is not 3 of True and False",
        ),
        (None, "gave the action mask None, which is not 3"),
        ([0.5, 1, 1], "gave the action mask [0.5, 1, 1], which is not 3"),
    ],
)
def test_a_wrong_mask_of_an_environment_is_named_and_the_agent_can_go_on(mask, message):
    agent = PDQN("MlpPolicy", Wrong(mask), **SMALL)
    with pytest.raises((ValueError, TypeError), match=re.escape(message) + ".*this was at step 23"):
        agent.learn(60)
    assert agent.num_timesteps == 22
    agent.set_env(Gates())
    assert agent.learn(30, reset_num_timesteps=False).num_timesteps == 52


class Late(gym.Wrapper):
    """Says which actions are allowed from the first step on only; or no longer from the second."""

    def __init__(self, first):
        super().__init__(Gates("info"))
        self.first = first

    def reset(self, **kwargs):
        observation, info = self.env.reset(**kwargs)
        return observation, info if self.first else {}

    def step(self, action):
        *result, info = self.env.step(action)
        return (*result, {} if self.first else info)


def test_masks_that_come_late_or_go_are_named():
    for first, message in ((False, "but not with its first observation"), (True, "as it did before")):
        with pytest.raises(ValueError, match=f"{message}.*this was at step 1"):
            PDQN("MlpPolicy", Late(first), **SMALL).learn(10)


def test_an_environment_that_begins_to_forbid_cannot_follow_one_that_does_not():
    class Free(gym.Wrapper):
        def has_wrapper_attr(self, name):
            return name != "action_masks" and super().has_wrapper_attr(name)

    agent = PDQN("MlpPolicy", Free(Gates("method", forgiving=True)), **SMALL).learn(30)
    agent.set_env(Gates())
    with pytest.raises(ValueError, match=r"gives action masks, and the transitions .*replay_buffer.reset\(\)"):
        agent.learn(10)
    agent.replay_buffer.reset()
    agent.learn(10)


# -------------------------------------------------------------------- files


def test_files_remember_masks(tmp_path):
    env = Gates("info")
    agent = PADDPG("MlpPolicy", env, **SMALL).learn(50)
    agent.save(tmp_path / "agent", include=["replay_buffer"])
    loaded = PADDPG.load(tmp_path / "agent", env=env, force_reset=False)
    assert loaded.masked and len(loaded.replay_buffer) == 50
    loaded.learn(30, reset_num_timesteps=False)
    agent.save_replay_buffer(tmp_path / "buffer")
    other = PADDPG("MlpPolicy", Gates("info"), **SMALL)
    other.load_replay_buffer(tmp_path / "buffer")
    other.learn(30)
    np.testing.assert_array_equal(next_masks(other)[:50], next_masks(agent))


@pytest.mark.parametrize("agent_class", AGENT_CLASSES)
def test_an_agent_from_a_file_goes_on_heeding_masks_in_the_middle_of_an_episode(agent_class, tmp_path):
    env = Gates()
    agent = make(agent_class, env).learn(24)
    agent.save(tmp_path / "agent")
    loaded = agent_class.load(tmp_path / "agent", env=env, force_reset=False)
    assert loaded.masked
    np.testing.assert_array_equal(loaded.environments.action_masks, [env.action_masks()])
    loaded.learn(40, reset_num_timesteps=False)


def test_a_damaged_replay_buffer_with_masks_leaves_an_agent_as_it_was():
    saved = PDQN("MlpPolicy", Gates("info"), **SMALL).learn(50).replay_state()
    agent = PDQN("MlpPolicy", Target(), **SMALL | {"scale_observations": False})
    other = PDQN("MlpPolicy", Target(), **SMALL | {"scale_observations": False})
    with pytest.raises(ValueError, match="replay buffer holds"):
        agent.restore_replay(saved)
    assert not agent.masked and "next_action_mask" not in agent.row.places
    np.testing.assert_array_equal(agent.learn(40).replay_buffer.rows, other.learn(40).replay_buffer.rows)
    assert agent._n_updates == 20


def test_transitions_that_are_added_say_what_is_allowed():
    agent = SPDQN("MlpPolicy", Gates("info"), **SMALL).learn(1)
    o, action = np.zeros(3, np.float32), agent.action_space.sample()
    agent.replay_buffer.add(o, o, action, 0.0, False, {"action_mask": [1, 0, 1]})
    agent.replay_buffer.add(o, o, action, 0.0, False, {})
    np.testing.assert_array_equal(next_masks(agent)[1:], [[True, False, True], [True] * 3])
    with pytest.raises(ValueError, match="action_mask must allow at least one"):
        agent.replay_buffer.add(o, o, action, 0.0, False, {"action_mask": [0, 0, 0]})
    agent.replay_buffer.add(o, o, action, 0.0, True, {"action_mask": [0, 0, 0]})  # nothing is done any more
    assert next_masks(agent)[-1].all()
    fresh = SPDQN("MlpPolicy", Gates("info"), **SMALL)
    with pytest.raises(ValueError, match="infos have action_mask, but the agent has not learned"):
        fresh.replay_buffer.add(o, o, action, 0.0, False, {"action_mask": [1, 0, 1]})
    assert not len(fresh.replay_buffer)


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 8])
@pytest.mark.parametrize("agent_class", AGENT_CLASSES)
def test_20_000_random_steps_hold_no_forbidden_action(agent_class, n):
    env = Gates("info") if n == 1 else vector(AutoresetMode.NEXT_STEP, n, where="info")
    if n > 1 and refuses_several(agent_class, env):
        return
    agent = make(agent_class, env, **those_of(agent_class, EXPLORING | {"train_freq": 10}))
    agent.learn(20_000)

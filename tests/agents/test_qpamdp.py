"""Q-PAMDP: its phases, what it learns from, how it goes on, and what it refuses."""

import copy
import io

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TransformReward
from toy_environments import Corridor, Gates, Numbered, Target

from pamdp_agents import QPAMDP, DivergedError, HybridActionWrapper, train_seeds
from pamdp_agents.callbacks import BaseCallback
from pamdp_agents.evaluation import evaluate_policy
from pamdp_agents.logger import configure

TINY = {"initial_action_episodes": 3, "parameter_updates": 2, "n_rollouts": 2, "action_episodes": 1, "seed": 0}
TINY |= {"policy_kwargs": {"fourier_order": 2}}


def make(env=None, policy="MlpPolicy", **settings):
    return QPAMDP(policy, Target() if env is None else env, **TINY | settings)


class Watch(BaseCallback):
    """Notes a value of the agent at each step."""

    def __init__(self, value):
        super().__init__()
        self.value, self.seen = value, []

    def _on_step(self):
        self.seen.append(self.value(self.model))
        return True


def test_it_learns_the_best_action_and_its_parameter():
    agent = QPAMDP(
        "MlpPolicy",
        Target(),
        seed=0,
        initial_action_episodes=200,
        parameter_updates=20,
        n_rollouts=20,
        action_episodes=50,
        temperature=0.3,
        parameter_std=0.2,
        policy_kwargs={"parameter_observations": []},
    )
    agent.learn(1500)
    for observation in np.random.default_rng(1).uniform(-1, 1, (20, 2)).astype("f"):
        (k, parameters), _ = agent.predict(observation, deterministic=True)
        assert k == 1
        assert float(parameters[1][0]) == pytest.approx(0.5, abs=0.15)


@pytest.mark.slow
def test_it_learns_platform_with_the_tuned_settings():
    agent = QPAMDP.tuned("pamdp/Platform-v0", seed=0).learn(20_000)
    assert evaluate_policy(agent, "pamdp/Platform-v0", 50, warn=False, seed=1)[0] > 0.6


def test_the_two_kinds_of_learning_take_turns():
    watch = Watch(lambda agent: (agent.cycle, agent.learns_parameters))
    agent = make().learn(13, callback=watch)  # episodes of one step
    assert watch.seen == [(0, False)] * 3 + [(0, True)] * 4 + [(1, False)] + [(1, True)] * 4 + [(2, False)]
    assert agent.progress.n_updates == 3 + 2 + 1 + 2 + 1
    assert agent.learn(1).cycle == 0  # counted anew


def test_each_kind_leaves_the_others_weights_alone():
    watch = Watch(lambda agent: (agent.learns_parameters, agent.get_parameters()))
    make().learn(13, callback=watch)
    for (learned_parameters, before), (_, after) in zip(watch.seen, watch.seen[1:], strict=False):
        same_q = np.array_equal(before["q"]["kernel"], after["q"]["kernel"])
        same_actor = np.array_equal(before["actor"]["bias"], after["actor"]["bias"])
        assert same_q if learned_parameters else same_actor


def test_the_softmax_cools_and_is_greedy_while_parameters_are_learned():
    watch = Watch(lambda agent: agent.softmax_temperature)
    make(temperature=2.0, temperature_decay=0.5).learn(10, callback=watch)
    assert watch.seen == [2.0, 1.0, 0.5, 0, 0, 0, 0, 2.0, 0, 0]

    agent = make(temperature=0.5, initial_action_episodes=10**6)
    agent.set_parameters({"q": {"kernel": agent.get_parameters()["q"]["kernel"] + [[0.0, 0.3, 0.6]]}}, False)
    rows = np.zeros((20_000, 2), "f")
    values = agent.sarsa.values(agent.basis(rows[0]))
    np.testing.assert_allclose(agent.acting.values(rows[:300]), np.tile(values, (300, 1)), atol=1e-6)
    counts = np.bincount([int(k) for k, _ in agent.predict(rows)[0]]) / len(rows)
    np.testing.assert_allclose(counts, np.exp(values / 0.5) / np.exp(values / 0.5).sum(), atol=0.02)
    agent.temperature = 0.0
    assert {int(k) for k, _ in agent.predict(rows[:50])[0]} == {int(values.argmax())}


def test_an_episode_of_sarsa_by_hand():
    # Five steps of reward 1, one action, one feature, the constant: w ← w + α·δ·trace, with γ = 1 and λ = 0.5.
    agent = make(
        Corridor(5),
        gamma=1.0,
        learning_rate=0.5,
        adaptive_step_size=False,
        policy_kwargs={"fourier_observations": []},
        initial_action_episodes=5,
    )
    agent.learn(5)
    w, trace = 0.0, 0.0
    for t in range(5):
        trace = 0.5 * trace + 1
        w += 0.5 * ((1 + w if t < 4 else 1) - w) * trace
    assert agent.get_parameters()["q"]["kernel"].item() == pytest.approx(w)


@pytest.mark.parametrize("truncate", [False, True])
def test_an_episode_that_was_cut_off_has_a_value_after_its_end(truncate):
    agent = make(
        Corridor(1, truncate=truncate),
        gamma=0.5,
        learning_rate=1.0,
        adaptive_step_size=False,
        policy_kwargs={"fourier_observations": []},
        initial_action_episodes=50,
    )
    agent.learn(40)
    assert agent.get_parameters()["q"]["kernel"].item() == pytest.approx(2.0 if truncate else 1.0, rel=1e-3)


class Substeps(gym.Wrapper):
    def step(self, action):
        *rest, info = super().step(action)
        return *rest, info | {"substeps": self.given}


@pytest.mark.parametrize("substeps, value", [(1, 1.5), (3, 1.125)])
def test_gamma_may_be_that_of_a_substep(substeps, value):
    env = Substeps(Corridor(2))
    env.given = substeps
    agent = make(
        env,
        gamma=0.5,
        discount_substeps=True,
        sarsa_lambda=0.0,
        learning_rate=0.3,
        adaptive_step_size=False,
        initial_action_episodes=500,
        policy_kwargs={"fourier_order": 100},  # enough to tell two states apart
    ).learn(400)
    assert agent.sarsa.values(agent.basis(np.array([-1], "f")))[0] == pytest.approx(value, abs=0.02)
    for given in (None, 0, float("inf"), "3"):
        env.given = given
        with pytest.raises(ValueError, match=r'discount_substeps=True needs .* info\["substeps"\], which is'):
            make(env, discount_substeps=True).learn(2)


def test_parameters_follow_the_natural_gradient_of_the_episodes():
    agent = make(initial_action_episodes=0, parameter_updates=1, n_rollouts=8, parameter_learning_rate=0.25)
    agent.set_parameters({"q": {"kernel": agent.get_parameters()["q"]["kernel"] + [[0.0, 1.0, 0.0]]}}, False)
    gathered = {}

    class Keep(BaseCallback):
        def _on_step(self):
            if len(agent.rollouts) == 8:
                gathered["scores"], gathered["first"], gathered["returns"] = agent.rollouts.stacked()
            return True

    before = agent.get_parameters()["actor"]
    agent.learn(8, callback=Keep())
    assert (gathered["first"] == 1).all() and gathered["first"].shape == (8, 1)
    design = np.concatenate([gathered["scores"].reshape(8, -1), gathered["first"]], axis=1)
    gradient = (np.linalg.pinv(design, rcond=1e-6) @ gathered["returns"])[:-1].reshape(4, 3)
    step = 0.25 * gradient / np.linalg.norm(gradient)
    after = agent.get_parameters()["actor"]
    np.testing.assert_allclose(after["bias"] - before["bias"], step[:, 0], atol=1e-6)
    np.testing.assert_allclose(after["kernel"] - before["kernel"], step[:, 1:].T, atol=1e-6)


def test_the_return_may_depend_on_the_first_observation():
    agent = make(initial_action_episodes=0, policy_kwargs={"baseline_observations": [1]})
    watch = Watch(lambda agent: agent.rollouts.state()["episode_features"][0])
    agent.learn(1, callback=watch)
    one, s, squared = watch.seen[0]
    assert one == 1 and s != 0 and squared == pytest.approx(s * s)


def test_first_parameters_are_those_given():
    bias = [0.1, -0.2, 0.3, 0.4]
    agent = make(initial_parameters={"bias": bias}, parameter_std=[0.1, 0.2, 0.3, 0.4])
    _, parameters = agent.predict(np.zeros(2, "f"), deterministic=True)[0]
    np.testing.assert_allclose(np.concatenate(parameters), bias, rtol=1e-6)
    drawn = np.array([np.concatenate(x) for _, x in agent.predict(np.zeros((5000, 2), "f"))[0]])
    np.testing.assert_allclose(drawn[:, :2].std(0), [0.1, 0.2], rtol=0.05)
    for wrong in ({"parameter_std": [0.1]}, {"initial_parameters": {"bias": [0.1]}}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            make(**wrong)


# -------------------------------------------------------------------- going on

CASES = {
    "terminated and cut off": (lambda: Numbered(1, 3), {}),
    "one step": (Target, {"n_rollouts": 3}),
    "adaptive": (lambda: Numbered(1, 3), {"policy_kwargs": {"fourier_order": 3, "baseline_observations": [2]}}),
}


@pytest.mark.parametrize("case", CASES)
def test_it_goes_on_bit_for_bit_from_every_step(case):
    make_env, settings = CASES[case]
    env = make_env()
    agent, kept = make(env, **settings), []

    class Keep(BaseCallback):
        def _on_step(self):
            agent.save(file := io.BytesIO())
            kept.append((file, copy.deepcopy(env)))
            return True

    agent.learn(40, callback=Keep())
    agent.save(file := io.BytesIO())
    assert agent.cycle > 0
    kept.append((file, copy.deepcopy(env)))
    for step, (file, its_env) in list(enumerate(kept, 1))[::3]:
        loaded = QPAMDP.load(file, env=its_env, force_reset=False)
        loaded.learn(60 - loaded.num_timesteps, reset_num_timesteps=False)
        if step == 1:
            first = loaded
        for group, weights in first.get_parameters().items():
            for name, value in weights.items():
                np.testing.assert_array_equal(value, loaded.get_parameters()[group][name], err_msg=f"{step} {name}")
        for name, value in first.collected_state().items():
            np.testing.assert_array_equal(value, loaded.collected_state()[name], err_msg=f"{step} {name}")
        own = {name: value for name, value in first.progress_state().items() if name != "ep_info_buffer"}
        theirs = loaded.progress_state()
        assert own == {name: theirs[name] for name in own}, step
    agent.learn(20, reset_num_timesteps=False)
    np.testing.assert_array_equal(agent.get_parameters()["q"]["kernel"], first.get_parameters()["q"]["kernel"])


def test_an_episode_that_is_broken_off_is_forgotten():
    agent = make(Numbered(1, 6), initial_action_episodes=0, n_rollouts=2).learn(3)
    assert agent.rollouts.state()["episode_sums"].tolist() == [1 + 2 + 3 + 3]  # the episode under way
    agent.set_env(Numbered(100, 6))
    agent.learn(1, reset_num_timesteps=False)
    assert agent.rollouts.state()["episode_sums"].tolist() == [101]

    agent = make(Numbered(1, 6)).learn(3)
    assert agent.sarsa.traces.any()
    agent.set_env(Numbered(1, 6))
    agent.learn(1, reset_num_timesteps=False)
    alone = make(Numbered(1, 6)).learn(1)
    np.testing.assert_array_equal((agent.sarsa.traces != 0).any(1), (alone.sarsa.traces != 0).any(1) | False)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda agent: QPAMDP.load(_file(agent))], ids=["copy", "file"])
def test_a_copy_has_all_of_it(copied):
    agent = make(Numbered(1, 3)).learn(17)
    other = copied(agent)
    for name, value in agent.collected_state().items():
        np.testing.assert_array_equal(value, other.collected_state()[name])
    assert (other.cycle, other.learns_parameters) == (agent.cycle, agent.learns_parameters)


def _file(agent):
    agent.save(file := io.BytesIO())
    file.seek(0)
    return file


@pytest.mark.parametrize(
    "name, change",
    [
        ("traces", lambda a: a[:1]),
        ("episode_scores", lambda a: a * np.nan),
        ("episode_sums", lambda a: a[:0]),
        ("next_k", lambda a: a + 7),
        ("next_features", lambda a: a.astype(float)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_whose_parts_do_not_fit_is_refused(name, change, monkeypatch):
    agent = make(Numbered(1, 3)).learn(2)
    state = agent.collected_state()
    monkeypatch.setattr(agent, "collected_state", lambda: state | {name: change(state[name])})
    with pytest.raises(ValueError, match=rf"damaged: .*{name}"):
        QPAMDP.load(_file(agent))


def test_what_diverges_leaves_the_agent_as_it_was():
    env = TransformReward(Numbered(1, 3), lambda reward: reward * 1e30)
    agent = make(env, initial_action_episodes=2, learning_rate=1.0)
    with pytest.raises(DivergedError, match=r"update 1, at step 1, .*learning_rate \(1\), parameter_learning_rate"):
        agent.learn(5)
    assert not agent.get_parameters()["q"]["kernel"].any()
    QPAMDP.load(_file(agent))
    agent = make(env, initial_action_episodes=0, normalize_gradient=False)
    with pytest.raises(DivergedError, match=r"actor:(kernel|bias)"):
        agent.learn(20)
    assert not agent.get_parameters()["actor"]["bias"].any()


# -------------------------------------------------------------------- where it learns


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_a_vector_environment_of_one_is_one(mode):
    alone = make(Numbered(1, 3)).learn(30)
    agent = make(SyncVectorEnv([lambda: Numbered(1, 3)], autoreset_mode=mode)).learn(30)
    assert agent.num_timesteps == 30
    if mode is AutoresetMode.SAME_STEP:  # in the other, what is drawn for a step that only resets is lost
        for group, weights in alone.get_parameters().items():
            for name, value in weights.items():
                np.testing.assert_array_equal(value, agent.get_parameters()[group][name])
    assert [e["l"] for e in agent.ep_info_buffer] == [e["l"] for e in alone.ep_info_buffer]


def test_seeds_are_trained_in_turns_and_each_as_if_alone():
    agents = train_seeds(QPAMDP, lambda: Numbered(1, 3), [0, 5], 30, **{k: v for k, v in TINY.items() if k != "seed"})
    for agent, seed in zip(agents, (0, 5), strict=True):
        alone = make(Numbered(1, 3), seed=seed).learn(30)
        np.testing.assert_array_equal(agent.get_parameters()["q"]["kernel"], alone.get_parameters()["q"]["kernel"])
        assert agent.num_timesteps == 30
    agent, alone = agents[1].learn(20, reset_num_timesteps=False), alone.learn(20, reset_num_timesteps=False)
    np.testing.assert_array_equal(agent.get_parameters()["q"]["kernel"], alone.get_parameters()["q"]["kernel"])


def test_parameters_that_actions_share_are_learned_once():
    class Price(gym.Env):
        observation_space = gym.spaces.Box(0, 1, (1,))
        action_space = gym.spaces.Tuple((gym.spaces.Discrete(2), gym.spaces.Box(0, 1, (2,))))

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            return np.zeros(1, "f"), {}

        def step(self, action):
            return np.zeros(1, "f"), float(action[1].sum()), True, False, {}

    env = HybridActionWrapper(Price(), parameter_mask=[[False, True], [True, True]])
    agent = make(env).learn(30)
    assert agent.get_parameters()["actor"]["bias"].shape == (2,)
    assert agent.get_parameters()["actor"]["bias"][1] > 0
    rows = np.linspace(0, 1, 9, dtype="f")[:, None]
    k, x, _ = agent.frozen_policy()(agent.observation_transform.batch(rows))
    actions = agent.parameterized_space.to_env_batch(k.numpy(), x.numpy())
    for one, other in zip(agent.predict(rows, deterministic=True)[0], actions, strict=True):
        assert one[0] == other[0]
        np.testing.assert_allclose(one[1], other[1], atol=1e-6)


def test_without_parameters_it_only_learns_actions():
    class Choice(Target):
        def __init__(self):
            self.action_space = gym.spaces.Discrete(3)

        def step(self, action):
            return super().step((action, [np.zeros(1), np.full(1, 0.5), np.zeros(2)]))

    agent = make(Choice(), temperature=0.2, initial_action_episodes=100).learn(150)
    assert agent.cycle == 0 and not agent.learns_parameters
    assert evaluate_policy(agent, Choice(), 20, warn=False)[0] == 1.0


def test_what_it_cannot_honour_is_refused_in_a_sentence():
    with pytest.raises(ValueError, match="env has 2 environments, but QPAMDP needs one: Sarsa"):
        make(SyncVectorEnv([Target] * 2))
    with pytest.raises(TypeError, match="strategy"):
        make(strategy="inverting")
    with pytest.raises(ValueError, match="policy must be one of 'MlpPolicy', 'MultiInputPolicy', got 'CnnPolicy'"):
        make(policy="CnnPolicy")
    with pytest.raises(ValueError, match="MultiInputPolicy needs a Dict or Tuple"):
        make(policy="MultiInputPolicy")
    with pytest.raises(ValueError, match=r"needs bounds .*numbers \[1\] .*fourier_observations"):
        make(gym.make("CartPole-v1"), policy_kwargs={"fourier_observations": [0, 1]})
    make(gym.make("CartPole-v1"), policy_kwargs={"fourier_observations": [0, 2]}).learn(20)


def test_the_log_tells_of_both_kinds_of_learning(tmp_path):
    agent = make()
    agent.set_logger(configure(tmp_path, []))
    agent.learn(8, log_interval=None)
    agent.dump_logs()
    rows = {}
    agent.logger.dump = lambda step: rows.update(agent.logger.name_to_value)
    agent.learn(4, log_interval=None, reset_num_timesteps=False)
    agent.dump_logs()
    assert {f"train/{name}" for name in (*agent.metric_names, *agent.rate_names, "n_updates")} - rows.keys() <= {
        "train/mean_td_error"  # no such update since the row before
    }
    assert (rows["train/cycle"], rows["train/learns_parameters"], rows["train/n_updates"]) == (1, 1, 8)


def test_the_softmax_is_over_the_allowed_actions():
    agent = make(Gates(), temperature=2.0)
    agent.set_parameters({"q": {"kernel": np.full((agent.basis.size, 3), [0.1, 0.3, 0.2], np.float32)}}, False)
    observation, n = np.zeros(3, np.float32), 20_000
    values = agent.acting.values(agent.observation_transform(observation)[None])[0]
    for mask in ([1, 0, 1], [1, 1, 0], [1, 1, 1], [0, 1, 0]):
        actions, _ = agent.predict(np.tile(observation, (n, 1)), action_masks=np.tile(mask, (n, 1)))
        weights = np.exp(values / 2.0) * mask
        drawn = np.bincount([k for k, _ in actions], minlength=3) / n
        np.testing.assert_allclose(drawn, weights / weights.sum(), atol=0.02)
        (k, _), _ = agent.predict(observation, deterministic=True, action_masks=mask)
        assert k == np.argmax(np.where(mask, values, -np.inf))


@pytest.mark.parametrize("where", ["method", "info"])
def test_sarsa_learns_from_actions_that_are_allowed_also_where_an_episode_is_cut_off(where):
    seen = []

    def watch(found, _):
        taken, env = found["self"]._steps.taken, found["env"].envs[0].unwrapped
        if taken is not None and taken.following is not None:
            # After the end of an episode the environment has begun another, of which nothing is drawn yet.
            allowed = found["infos"][0]["action_mask"] if where == "info" else env.mask if not taken.ended else None
            seen.append((taken.ended, allowed is None or allowed[taken.following.k]))
        return True

    make(Gates(where), temperature=100.0, initial_action_episodes=30).learn(120, callback=watch)
    assert sum(ended for ended, _ in seen) > 5 and len(seen) > 80
    assert all(allowed for _, allowed in seen)

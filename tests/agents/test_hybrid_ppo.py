"""HybridPPO: its losses worked out by hand, and what it does in training."""

import copy
import io
import math
import pickle

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from toy_environments import Numbered, Pictures, Target

from pamdp_agents import HybridActionWrapper, HybridPPO, train_together
from pamdp_agents.callbacks import BaseCallback
from pamdp_agents.learning.minibatches import Minibatch

SMALL = {"n_steps": 8, "batch_size": 8, "n_epochs": 2, "policy_kwargs": {"net_arch": [4]}, "seed": 0}
PARAMETERIZED = Tuple((Discrete(2), Tuple((Box(-1, 1, (1,)), Box(-1, 1, (2,))))))
INDEPENDENT = Dict({"gear": Discrete(2), "valve": MultiBinary(1), "x": Box(-1, 1, (2,))})


class Free(gym.Env):
    """Takes any action; episodes last 5 steps, every second one is cut off."""

    observation_space = Box(-1, 1, (2,))

    def __init__(self, action_space):
        self.action_space, self.episode = copy.deepcopy(action_space), 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.episode = 0, self.episode + 1
        return self.np_random.uniform(-1, 1, 2).astype("f"), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.t += 1
        ended, cut_off = self.t == 5, self.episode % 2 == 0
        observation = self.np_random.uniform(-1, 1, 2).astype("f")
        return observation, float(self.np_random.normal()), ended and not cut_off, ended and cut_off, {}


# -------------------------------------------------------------------- losses


def loss_of(agent, k, x, output, old_log_probs, advantage, returns):
    """The loss of a minibatch whose network gives `output`, and what is logged of it, by name."""
    agent.networks = {"policy": lambda weights, s: tf.constant(output, tf.float32)}
    n = len(output)
    parts = dict.fromkeys(agent.row.shapes, 0.0) | {
        "k": k,
        "x": x,
        "output": np.zeros_like(output),
        "advantage": advantage,
        "return": returns,
    }
    rows = np.zeros((n, agent.row.size), "f")
    for name, part in parts.items():
        rows[:, agent.row.places[name]] = np.reshape(part, (n, -1)) if np.ndim(part) else part
    minibatch = Minibatch(tf.constant(np.concatenate([rows, old_log_probs], 1), tf.float32), tf.ones(n))
    loss, metrics = agent.loss(
        tf.zeros(1), minibatch, {name: tf.constant(v) for name, v in agent.current_inputs().items()}
    )
    names = ["entropy_loss", "policy_gradient_loss", "value_loss", "approx_kl", "clip_fraction", "loss"]
    return float(loss), dict(zip(names, metrics.numpy().tolist(), strict=False))


LOG3 = math.log(3)
NORMAL = -0.5 * math.log(2 * math.pi)  # log-density of a standard normal at its mean
# π(k) = (1/4, 3/4), all means 0 and standard deviations 1, value 3.
OF_PARAMETERIZED = [[0, LOG3, *[0] * 3, *[0] * 3, 3]] * 2
# gear (1/4, 3/4), valve (1/2, 1/2), two standard normals, value 3.
OF_INDEPENDENT = [[0, LOG3, 0, 0, *[0] * 2, *[0] * 2, 3]] * 2


@pytest.mark.parametrize("layout", ["parameterized", "independent"])
@pytest.mark.parametrize("ratio", ["joint", "separate"])
def test_ratios_and_losses_by_hand(layout, ratio):
    is_parameterized = layout == "parameterized"
    agent = HybridPPO(
        "MlpPolicy",
        Free(PARAMETERIZED if is_parameterized else INDEPENDENT),
        ratio=ratio,
        clip_range=0.2,
        ent_coef=0.5,
        vf_coef=0.25,
        normalize_advantage=False,
        **SMALL,
    )
    if is_parameterized:
        # Row 0 took action 1 (3/4) and its two parameters at their means, row 1 action 0 (1/4) and its one.
        k, x, output = [[1], [0]], [[9, 0, 0], [0, 9, 9]], OF_PARAMETERIZED
        log_probs = np.array([[math.log(3 / 4), 2 * NORMAL], [math.log(1 / 4), NORMAL]])
        discrete, entropy = [0], (math.log(4) - 3 / 4 * LOG3) + (1 / 4 + 3 / 4 * 2) * (0.5 - NORMAL)
    else:
        k, x, output = [[1, 0], [0, 0]], [[0, 0], [0, 0]], OF_INDEPENDENT
        log_probs = np.array([[math.log(3 / 4), -math.log(2), 2 * NORMAL], [math.log(1 / 4), -math.log(2), 2 * NORMAL]])
        discrete, entropy = [0, 1], (math.log(4) - 3 / 4 * LOG3) + math.log(2) + 2 * (0.5 - NORMAL)
    # Row 0: the choice has become 1.5 times as probable, the numbers 0.9 times as dense; row 1: 0.85 and 1.1 times.
    old = log_probs.copy()
    old[:, 0] -= np.log([1.5, 0.85])
    old[:, -1] -= np.log([0.9, 1.1])
    assert len(discrete) + 1 == old.shape[1]
    loss, logged = loss_of(agent, k, x, output, old, advantage=[2.0, -1.0], returns=[4.0, 1.0])

    if ratio == "joint":  # 1.35, clipped to 1.2, with A = 2; and 0.935, which is within, with A = −1
        policy_loss, fraction = -(1.2 * 2 + 0.935 * -1) / 2, 1 / 2
    else:  # the choice: 1.5, clipped to 1.2; and 0.85. The numbers: 0.9 and 1.1
        policy_loss, fraction = -((1.2 * 2 + 0.9 * 2) + (0.85 * -1 + 1.1 * -1)) / 2, 1 / 4
    value_loss = ((4 - 3) ** 2 + (1 - 3) ** 2) / 2
    assert logged["policy_gradient_loss"] == pytest.approx(policy_loss, rel=1e-4)
    assert logged["value_loss"] == pytest.approx(value_loss, rel=1e-5)
    assert logged["entropy_loss"] == pytest.approx(-entropy, rel=1e-5)
    assert logged["clip_fraction"] == pytest.approx(fraction)
    assert logged["approx_kl"] == pytest.approx(
        ((1.35 - 1 - math.log(1.35)) + (0.935 - 1 - math.log(0.935))) / 2, rel=1e-3
    )
    assert loss == pytest.approx(policy_loss - 0.5 * entropy + 0.25 * value_loss, rel=1e-4)


def test_a_clipped_surrogate_has_no_gradient_and_the_parameters_of_others_never_have():
    agent = HybridPPO("MlpPolicy", Free(PARAMETERIZED), normalize_advantage=False, vf_coef=0.0, **SMALL)
    output = tf.Variable(OF_PARAMETERIZED, dtype=tf.float32)
    rows = np.zeros((2, agent.row.size + 2), "f")
    rows[:, agent.row.places["k"]] = [[1], [0]]
    rows[:, agent.row.places["x"]] = [[0.5, 0.5, 0.5]] * 2
    rows[:, agent.row.places["advantage"].start] = [1.0, 1.0]
    density = NORMAL - 0.125
    now = np.array([[math.log(3 / 4), 2 * density], [math.log(1 / 4), density]])
    rows[:, agent.row.size :] = now - np.log([[1.5, 1.0], [1.0, 1.0]])  # the first row's ratio is 1.5, with A > 0
    agent.networks = {"policy": lambda weights, s: output}
    with tf.GradientTape() as tape:
        minibatch = Minibatch(tf.constant(rows), tf.ones(2))
        loss, _ = agent.loss(tf.zeros(1), minibatch, {n: tf.constant(v) for n, v in agent.current_inputs().items()})
    gradient = tape.gradient(loss, output).numpy()
    np.testing.assert_array_equal(gradient[0], 0)
    # Row 1 took action 0: d log π(0)/d logits = (1 − 1/4, −3/4), d log π(x_0)/d mean = 0.5, with a weight of −1/2.
    np.testing.assert_allclose(gradient[1, :5], -0.5 * np.array([0.75, -0.75, 0.5, 0, 0]), atol=1e-6)


# -------------------------------------------------------------------- rollouts


def collect(agent, steps):
    """Lets an agent collect its next rollout, and returns what is due then."""
    return next(agent.start_learning(steps, None, None, None, True, False))


@pytest.mark.parametrize("mode", AutoresetMode)
def test_a_rollout_of_several_environments_has_each_ones_own_episodes(mode):
    # Episodes of 3 and 4 steps in turn, the longer ones cut off; rewards are the label plus the step in the episode.
    env = SyncVectorEnv([lambda i=i: Numbered(label=10 * i) for i in range(2)], autoreset_mode=mode)
    agent = HybridPPO("MlpPolicy", env, gamma=0.5, **SMALL | {"n_steps": 9, "batch_size": 9})
    assert collect(agent, 18) == 2
    buffer, transform = agent.rollout_buffer, agent.observation_transform
    places = np.rint(transform.to_env_stacked(buffer.part("s").reshape(18, -1))).reshape(9, 2, 3)
    played, ended, rewards = (buffer.part(name) for name in ("played", "ended", "reward"))
    expected = {
        AutoresetMode.NEXT_STEP: [(0, 0), (0, 1), (0, 2), None, (1, 0), (1, 1), (1, 2), (1, 3), None],
    }.get(mode, [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (1, 3), (2, 0), (2, 1)])
    for i in range(2):
        for t, place in enumerate(expected):
            assert played[t, i] == (place is not None)
            if place is None:
                continue
            episode, step = place
            assert places[t, i].tolist() == [10 * i, episode, step]
            assert ended[t, i] == (step == 2 + episode % 2)
            cut_off = place == (1, 3)
            last = transform(np.array([10 * i, 1, 4], float))[None]
            value = 0.5 * agent.values(last)[0] if cut_off else 0.0
            assert rewards[t, i] == pytest.approx(10 * i + step + 1 + value, rel=1e-5)
    assert agent.num_timesteps == played.sum()
    assert (buffer.part("advantage")[played == 0] == 0).all()


def test_decisions_come_after_the_updates_that_are_due_in_several_environments_too():
    class Weights(BaseCallback):
        def _on_training_start(self):
            self.seen = []

        def _on_rollout_start(self):
            self.seen.append(self.model.learner.weights()["policy"].copy())

        def _on_step(self):
            outputs = self.model.rollout_buffer.part("output")[-1]
            s = self.model.rollout_buffer.part("s")[-1]
            own = self.model.networks["policy"](tf.constant(self.seen[-1]), tf.constant(s))
            np.testing.assert_allclose(outputs, own, atol=1e-6)
            return True

    env = SyncVectorEnv([lambda: Free(PARAMETERIZED)] * 2)
    callback = Weights()
    HybridPPO("MlpPolicy", env, learning_rate=0.1, **SMALL).learn(48, callback)
    assert len(callback.seen) >= 3 and not np.array_equal(callback.seen[0], callback.seen[1])


# -------------------------------------------------------------------- files


class Save(BaseCallback):
    """Saves the agent, and a copy of its environment, at a step."""

    def __init__(self, step):
        super().__init__()
        self.step = step

    def _on_step(self):
        if self.num_timesteps == self.step:
            self.file, self.env = io.BytesIO(), copy.deepcopy(self.model.env.envs[0])
            self.model.save(self.file)
            self.file.seek(0)
        return True


@pytest.mark.parametrize("space", [PARAMETERIZED, INDEPENDENT], ids=["parameterised", "independent"])
@pytest.mark.parametrize("step", [11, 16])
def test_training_goes_on_bit_for_bit_from_within_a_rollout_and_from_its_end(space, step):
    save = Save(step)
    agent = HybridPPO("MlpPolicy", Free(space), **SMALL).learn(32, save)
    loaded = HybridPPO.load(save.file, env=save.env, force_reset=False)
    loaded.learn(32 - step, reset_num_timesteps=False)
    assert loaded.num_timesteps == agent.num_timesteps == 32
    assert loaded._n_updates == agent._n_updates == 8
    for name, own in agent.get_parameters()["policy"].items():
        np.testing.assert_array_equal(own, loaded.get_parameters()["policy"][name])


def test_a_rollout_under_way_begins_anew_with_other_episodes_and_says_so_of_another_length():
    save = Save(11)
    HybridPPO("MlpPolicy", Free(PARAMETERIZED), **SMALL).learn(16, save)
    loaded = HybridPPO.load(save.file, env=Free(PARAMETERIZED))
    assert loaded.rollout_buffer.pos == 3
    loaded.learn(8, reset_num_timesteps=False)
    assert loaded.num_timesteps == 19
    save.file.seek(0)
    with pytest.warns(UserWarning, match="rollout of n_steps=8"):
        other = HybridPPO.load(save.file, env=save.env, force_reset=False, n_steps=16)
    assert other.learn(16, reset_num_timesteps=False).num_timesteps == 27


def test_other_environments_within_a_rollout_begin_it_anew():
    class Swap(BaseCallback):
        def _on_step(self):
            if self.num_timesteps == 5:
                self.model.set_env(SyncVectorEnv([lambda: Free(PARAMETERIZED)] * 2))
            return True

    agent = HybridPPO("MlpPolicy", Free(PARAMETERIZED), **SMALL).learn(16, Swap())
    assert agent.n_envs == 2 and agent.rollout_buffer.n_envs == 2
    assert agent.num_timesteps >= 16 and agent._n_updates == 2


def test_an_agent_comes_back_from_every_moment_of_a_callback_and_as_a_copy():
    class SaveEverywhere(BaseCallback):
        def _save(self):
            self.model.save(file := io.BytesIO())
            file.seek(0)
            loaded, copied = HybridPPO.load(file), copy.deepcopy(self.model)
            for other in (loaded, copied):
                assert other.num_timesteps == self.model.num_timesteps
                np.testing.assert_array_equal(other.learner.weights()["policy"], self.model.learner.weights()["policy"])
            return True

        _on_training_start = _on_rollout_start = _on_step = _on_rollout_end = _on_training_end = _save

    agent = HybridPPO("MlpPolicy", Free(PARAMETERIZED), **SMALL).learn(16, SaveEverywhere())
    assert pickle.loads(pickle.dumps(agent)).num_timesteps == 16
    with pytest.raises(ValueError, match=r"include takes \[\]"):
        agent.save(io.BytesIO(), include=["replay_buffer"])


# -------------------------------------------------------------------- what is refused and said


def test_a_layout_that_can_be_read_in_two_ways_is_asked_for():
    ambiguous = Tuple((Discrete(3), Box(-1, 1, (2,))))
    with pytest.raises(ValueError, match=r'HybridActionWrapper.*action_layout="independent"'):
        HybridPPO("MlpPolicy", Free(ambiguous), **SMALL)
    independent = HybridPPO("MlpPolicy", Free(ambiguous), action_layout="independent", **SMALL)
    assert [head.name for head in independent.distribution.heads] == ["0", "1"]
    wrapped = HybridPPO("MlpPolicy", HybridActionWrapper(Free(ambiguous), parameter_sizes=[1, 1, 0]), **SMALL)
    assert wrapped.parameterized_space.parameter_sizes == (1, 1, 0)
    shared = HybridActionWrapper(Free(ambiguous), parameter_mask=[[1, 1], [0, 1], [0, 0]])
    agent = HybridPPO("MlpPolicy", shared, **SMALL)
    row = tf.zeros((3, agent.distribution.row.size))
    log_probs = agent.distribution.log_probs(row, tf.constant([[0], [1], [2]]), tf.zeros((3, 2)))
    np.testing.assert_allclose(log_probs[:, 1], np.array([2, 1, 0]) * NORMAL, rtol=1e-6)
    with pytest.raises(ValueError, match="HybridActionWrapper"):
        HybridPPO("MlpPolicy", Free(ambiguous), action_layout="parameterized", **SMALL)
    assert len(HybridPPO("MlpPolicy", Target(), **SMALL).distribution.options) == 1
    apart = HybridPPO("MlpPolicy", Target(), action_layout="independent", **SMALL)
    assert [head.name for head in apart.distribution.heads] == ["0", "1_0", "1_1", "1_2"]
    with pytest.raises(TypeError, match="not a parameterised action space"):
        HybridPPO("MlpPolicy", Free(MultiDiscrete([2, 2])), action_layout="parameterized", **SMALL)
    with pytest.raises(ValueError, match="action_layout must be one of"):
        HybridPPO("MlpPolicy", Free(ambiguous), action_layout="joint", **SMALL)


def test_what_cannot_be_honoured_is_refused_by_its_name():
    with pytest.raises(ValueError, match="strategies change a critic's gradient"):
        HybridPPO("MlpPolicy", None, strategy="inverting")
    for wrong in ({"batch_size": 1}, {"n_steps": 1}):
        with pytest.raises(ValueError, match="normalize_advantage needs"):
            HybridPPO("MlpPolicy", Free(PARAMETERIZED), **SMALL | wrong)
    HybridPPO("MlpPolicy", Free(PARAMETERIZED), normalize_advantage=False, **SMALL | {"batch_size": 1})
    with pytest.warns(UserWarning, match="batch_size=5 does not divide the 8 transitions"):
        HybridPPO("MlpPolicy", Free(PARAMETERIZED), **SMALL | {"batch_size": 5})
    with pytest.raises(ValueError, match="share_features_extractor"):
        HybridPPO("MlpPolicy", None, policy_kwargs={"share_features_extractor": False})
    with pytest.raises(ValueError, match='"vf"'):
        HybridPPO("MlpPolicy", None, policy_kwargs={"net_arch": {"pi": [4], "qf": [4]}})
    with pytest.raises(AttributeError, match="independent parts"):
        _ = HybridPPO("MlpPolicy", Free(INDEPENDENT), **SMALL).parameterized_space


def test_agents_trained_together_need_rollouts_of_one_size():
    one = HybridPPO("MlpPolicy", Free(INDEPENDENT), **SMALL)
    two = HybridPPO("MlpPolicy", SyncVectorEnv([lambda: Free(INDEPENDENT)] * 2), **SMALL)
    with pytest.raises(ValueError, match="as many transitions at once"):
        train_together([one, two], 16)


# -------------------------------------------------------------------- export


MIXED = Dict(
    {"gear": Discrete(3, start=1), "on": MultiBinary((2, 2)), "n": Box(-3, 9, (2,), np.int64), "x": Box(0, 5, ())}
)


@pytest.mark.parametrize(
    "space, format",
    [
        (MIXED, "saved_model"),
        (MIXED, "tflite"),
        (Box(-np.inf, np.inf, (2,)), "tflite"),
        (Discrete(3, start=-1), "tflite"),
    ],
    ids=["mixed", "mixed in TFLite", "unbounded", "discrete"],
)
def test_an_exported_policy_of_independent_parts_gives_the_actions_of_predict(tmp_path, space, format):
    agent = HybridPPO("MlpPolicy", Free(space), **SMALL)
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(size=w.shape) for name, w in agent.get_parameters()["policy"].items()}
    agent.set_parameters({"policy": weights}, exact_match=False)
    agent.export(tmp_path / "policy", format=format)
    rows = rng.uniform(-1, 1, (30, 2)).astype("f")
    if format == "tflite":
        outputs = tf.lite.Interpreter(str(tmp_path / "policy.tflite")).get_signature_runner()(observation=rows)
    else:
        policy = tf.saved_model.load(str(tmp_path / "policy")).signatures["serving_default"]
        outputs = {name: value.numpy() for name, value in policy(observation=tf.constant(rows)).items()}
    actions = agent.predict(rows, deterministic=True)[0]
    for name in space if isinstance(space, Dict) else [None]:
        expected = np.stack([action if name is None else action[name] for action in actions])
        np.testing.assert_allclose(outputs[f"action_{name}" if name else "action"], expected, atol=5e-5, err_msg=name)
        assert len(np.unique(expected)) > 1


def test_a_policy_that_acts_through_tensorflow_draws_numbers_too():
    small = {"policy_kwargs": {"features_extractor_kwargs": {"features_dim": 4}}}
    agent = HybridPPO("CnnPolicy", Seen(), **SMALL | small)
    action = agent.predict(agent.env.envs[0].reset()[0])[0]
    assert agent.action_space.contains(action)


class Seen(gym.Wrapper):
    """Pictures whose action is one unbounded box."""

    def __init__(self):
        super().__init__(Pictures())
        self.action_space = Box(-np.inf, np.inf, (2,))

"""HybridPPO on plain action spaces beside Stable-Baselines3's PPO: the same advantages, losses, gradients and steps."""

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf

from pamdp_agents import HybridPPO
from pamdp_agents.learning.minibatches import Minibatch

pytest.importorskip("stable_baselines3", reason="Stable-Baselines3 is not installed")

import stable_baselines3 as sb3
import torch
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

STEPS = 64
SPACES = {"discrete": gym.spaces.Discrete(3), "box": gym.spaces.Box(-1, 1, (2,))}
SETTINGS = {
    "n_steps": STEPS,
    "batch_size": STEPS,
    "learning_rate": 0.01,
    "gamma": 0.9,
    "gae_lambda": 0.8,
    "clip_range": 0.1,
    "clip_range_vf": 0.3,
    "ent_coef": 0.02,
    "vf_coef": 0.7,
    "seed": 0,
}


class Given(gym.Env):
    """What happens does not depend on the actions. Episodes last 5 or 7 steps; every second one is cut off."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (3,))

    def __init__(self, action_space):
        self.action_space, self.episode = action_space, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.episode = 0, self.episode + 1
        return self.np_random.normal(size=3).astype("f"), {}

    def step(self, action):
        self.t += 1
        ended, cut_off = self.t == 5 + 2 * (self.episode % 2), self.episode % 2 == 0
        observation, reward = self.np_random.normal(size=3).astype("f"), float(self.np_random.normal())
        return observation, reward, ended and not cut_off, ended and cut_off, {}


def copy_weights(theirs, ours, noise=None):
    """Gives our agent the weights of Stable-Baselines3's; with a generator, moves those of both first."""
    named = dict(theirs.policy.named_parameters())
    if noise is not None:
        with torch.no_grad():
            for parameter in named.values():
                parameter += torch.from_numpy(noise.normal(0, 0.1, tuple(parameter.shape)).astype("f"))
    ours.set_parameters({"policy": our_form({name: p.detach().numpy() for name, p in named.items()}, ours)}, False)


def our_form(arrays, ours):
    """What Stable-Baselines3 has for each of its parameters, by our names and in our shapes."""
    places = {"action_net": "action_net", "value_net": "value_net"}
    places |= {f"mlp_extractor.policy_net.{2 * i}": f"pi_{i}" for i in range(2)}
    places |= {f"mlp_extractor.value_net.{2 * i}": f"vf_{i}" for i in range(2)}
    given = {}
    for theirs, own in places.items():
        given[f"{own}/kernel"], given[f"{own}/bias"] = arrays[f"{theirs}.weight"].T, arrays[f"{theirs}.bias"]
    given["policy/log_std"] = arrays.get("log_std", np.zeros(0, "f"))
    assert given.keys() == set(ours.networks["policy"].names)
    return given


def pair(space, wrap=lambda env: env, **settings):
    """SB3's agent and ours with the same weights and the same rollout, after which both have moved alike."""
    settings = SETTINGS | settings
    theirs = sb3.PPO("MlpPolicy", wrap(Given(space)), device="cpu", **settings)
    ours = HybridPPO("MlpPolicy", wrap(Given(space)), **settings)
    copy_weights(theirs, ours)
    _, callback = theirs._setup_learn(STEPS, None, True, "PPO", False)
    theirs.collect_rollouts(theirs.env, callback, theirs.rollout_buffer, STEPS)
    next(ours.start_learning(STEPS, None, None, None, True, False))
    taken = theirs.rollout_buffer.actions
    ours.rollout_buffer.part("k" if isinstance(space, gym.spaces.Discrete) else "x")[...] = taken.reshape(STEPS, 1, -1)
    return theirs, ours


def rows_with_log_probs(ours):
    """The rollout as a minibatch, as the compiled update makes it."""
    rows = tf.constant(ours.rollout_buffer.rows.reshape(STEPS, -1))
    parts = ours.row.split(rows)
    log_probs = ours.distribution.log_probs(parts["output"], tf.cast(parts["k"], tf.int32), parts["x"])
    return parts, log_probs, Minibatch(tf.concat([rows, log_probs], 1), tf.ones(STEPS))


def normalized(env):
    return VecNormalize(DummyVecEnv([lambda: env]), gamma=SETTINGS["gamma"])


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("wrap", [lambda env: env, normalized], ids=["as it is", "normalised"])
def test_values_log_probabilities_advantages_and_returns_are_the_same(space, wrap):
    theirs, ours = pair(space, wrap)
    parts, log_probs, _ = rows_with_log_probs(ours)
    buffer = theirs.rollout_buffer
    np.testing.assert_allclose(parts["s"], buffer.observations[:, 0], atol=1e-6)
    np.testing.assert_allclose(ours.distribution.value(parts["output"]), buffer.values[:, 0], atol=1e-5)
    np.testing.assert_allclose(log_probs[:, 0], buffer.log_probs[:, 0], atol=1e-5)
    np.testing.assert_allclose(parts["reward"], buffer.rewards[:, 0], atol=1e-5)  # with the values of cut off episodes
    np.testing.assert_allclose(parts["advantage"], buffer.advantages[:, 0], atol=1e-5)
    np.testing.assert_allclose(parts["return"], buffer.returns[:, 0], atol=1e-5)


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("clip_range_vf", [None, 0.3], ids=["values free", "values clipped"])
def test_losses_and_gradients_are_the_same(space, clip_range_vf):
    theirs, ours = pair(space, n_epochs=1, max_grad_norm=1e9, clip_range_vf=clip_range_vf)
    copy_weights(theirs, ours, np.random.default_rng(3))  # so that ratios are not 1, and some are clipped
    theirs.policy.optimizer.step = lambda: None
    theirs.train()
    logged = theirs.logger.name_to_value
    gradients = our_form({name: p.grad.numpy() for name, p in theirs.policy.named_parameters()}, ours)

    _, _, minibatch = rows_with_log_probs(ours)
    weights = tf.constant(ours.learner.weights()["policy"])
    with tf.GradientTape() as tape:
        tape.watch(weights)
        loss, metrics = ours.loss(weights, minibatch, ours.current_inputs())
    gradient = ours.networks["policy"].split(tape.gradient(loss, weights).numpy())
    names = ("entropy_loss", "policy_gradient_loss", "value_loss", "approx_kl", "clip_fraction", "loss")
    for name, value in zip(names, metrics.numpy()[:6], strict=True):
        assert value == pytest.approx(logged[f"train/{name}"], abs=1e-5), name
    assert 0.1 < logged["train/clip_fraction"] < 0.9
    for name, own in zip(ours.networks["policy"].names, gradient, strict=True):
        np.testing.assert_allclose(own, gradients[name], atol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    "space, target_kl", [(SPACES["box"], None), (SPACES["discrete"], 0.001)], ids=["all epochs", "stopped"]
)
def test_epochs_lead_to_the_same_weights_and_log_the_same(space, target_kl):
    theirs, ours = pair(space, n_epochs=6, target_kl=target_kl)
    theirs.train()
    ours.train(6)
    given = our_form({name: p.detach().numpy() for name, p in theirs.policy.named_parameters()}, ours)
    for name, own in ours.get_parameters()["policy"].items():
        np.testing.assert_allclose(own, given[name], atol=1e-5, err_msg=name)
    ours.record_own(ours.logger)
    logged, expected = ours.logger.name_to_value, theirs.logger.name_to_value
    keys = {key for key in expected if key.startswith("train/")}
    assert {f"train/{name}" for name in ("approx_kl", "clip_range_vf", "explained_variance", "n_updates")} < keys
    assert keys <= logged.keys()
    for key in keys:
        assert logged[key] == pytest.approx(expected[key], abs=1e-4), key
    assert (logged["train/n_updates"] < 6) == (target_kl is not None)


def test_the_last_minibatch_of_an_epoch_is_what_is_left_and_each_is_normalised_for_itself(monkeypatch):
    theirs, ours = pair(SPACES["discrete"], n_epochs=2, batch_size=24)
    order = np.random.default_rng(5).permutation(STEPS)
    monkeypatch.setattr(np.random, "permutation", lambda n: order)
    monkeypatch.setattr(ours.rollout_buffer, "draw_orders", lambda epochs, rng: np.tile(order, (epochs, 1)))
    theirs.train()
    ours.train(2)
    given = our_form({name: p.detach().numpy() for name, p in theirs.policy.named_parameters()}, ours)
    for name, own in ours.get_parameters()["policy"].items():
        np.testing.assert_allclose(own, given[name], atol=2e-5, err_msg=name)


def test_the_defaults_and_the_names_of_the_settings_are_the_same():
    import inspect

    own, given = (inspect.signature(kind).parameters for kind in (HybridPPO, sb3.PPO))
    left_out = {"use_sde", "sde_sample_freq", "rollout_buffer_class", "rollout_buffer_kwargs", "_init_setup_model"}
    for name, parameter in given.items():
        if name in left_out:
            HybridPPO("MlpPolicy", None, **{name: parameter.default})  # asks for nothing
        else:
            assert own[name].default == parameter.default, name
    by_position = [name for name in given if name not in left_out][:14]
    assert list(own)[:14] == by_position


def test_the_first_weights_are_drawn_as_there():
    theirs = sb3.PPO("MlpPolicy", Given(SPACES["box"]), device="cpu", **SETTINGS)
    ours = HybridPPO("MlpPolicy", Given(SPACES["box"]), **SETTINGS)
    given = our_form({name: p.detach().numpy() for name, p in theirs.policy.named_parameters()}, ours)
    for name, own in ours.get_parameters()["policy"].items():
        assert own.shape == given[name].shape
        assert np.linalg.norm(own) == pytest.approx(np.linalg.norm(given[name]), rel=1e-4), name  # orthogonal: exact

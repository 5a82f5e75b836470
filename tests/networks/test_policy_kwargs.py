"""What `policy_kwargs` may hold, for every agent: read, acted on in every way, and back from a file."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces
from toy_environments import Pictures, Target

import pamdp_agents
from pamdp_agents import MPDQN
from pamdp_agents.agents import AGENTS, agent_class
from pamdp_agents.base.actor_critic import ActorCriticAgent
from pamdp_agents.learning.optimizers import Adam, adam
from pamdp_agents.learning.train_state import NetworkState
from pamdp_agents.spaces import ObservationTransform

SMALL = {"learning_starts": 5, "batch_size": 4, "buffer_size": 50, "seed": 0}


def make(policy_kwargs, kind=MPDQN, env=None, policy="MlpPolicy"):
    return kind(policy, env or Target(), policy_kwargs=policy_kwargs, **SMALL)


@pytest.mark.parametrize("name", [n for n in AGENTS.values() if issubclass(agent_class(n), ActorCriticAgent)])
@pytest.mark.parametrize("arch", [[], {"pi": [], "qf": [4]}], ids=["both", "actor"])
def test_a_linear_network_learns_acts_alike_in_numpy_and_tensorflow_and_comes_back(name, arch, tmp_path):
    kind = getattr(pamdp_agents, name)
    agent = make({"net_arch": arch}, kind).learn(12)
    assert [n for n in agent.get_parameters()["actor"] if "hidden" in n] == []
    rng = np.random.default_rng(0)
    weights = {n: network.initial() + rng.normal(0, 1, network.size) for n, network in agent.networks.items()}
    observations = rng.uniform(-1, 1, (7, agent.observation_transform.size)).astype(np.float32)
    x = agent.networks["actor"].in_numpy(weights["actor"].astype(np.float32))(observations)
    for network, inputs in (("actor", (observations,)), ("q", (observations, x))):
        flat = weights[network].astype(np.float32)
        expected = agent.networks[network](tf.constant(flat), *map(tf.constant, inputs))
        np.testing.assert_allclose(agent.networks[network].in_numpy(flat)(*inputs), expected, rtol=1e-4, atol=1e-5)
    agent.save(tmp_path / "agent")
    loaded = kind.load(tmp_path / "agent")
    assert loaded.policy_kwargs == agent.policy_kwargs == {"net_arch": arch}


def test_a_linear_multi_pass_network_gives_each_action_its_own_parameters_only():
    q = make({"net_arch": []}).networks["q"]
    flat, rng = tf.constant(q.initial()), np.random.default_rng(0)
    sizes = q.model.owners.sizes
    observation, x = (tf.constant(rng.uniform(-1, 1, (3, n)), tf.float32) for n in (q.model.n_features, sum(sizes)))
    values, owner = q(flat, observation, x), np.repeat(np.arange(len(sizes)), sizes)
    for k in range(len(sizes)):
        of_k = q(flat, observation, x * (owner == k).astype(np.float32), tf.fill([3], k))
        np.testing.assert_allclose(values[:, k], of_k, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("arch", [(8, 4), (np.int64(8), np.int32(4)), np.array([8, 4]), range(8, 0, -4)], ids=str)
def test_net_arch_may_be_any_list_of_integers(arch):
    assert make({"net_arch": arch}).policy_kwargs == {"net_arch": [8, 4]}
    assert make({"net_arch": {"pi": arch, "qf": arch}}).policy_kwargs == {"net_arch": {"pi": [8, 4], "qf": [8, 4]}}


def test_values_that_say_nothing_are_taken():
    neutral = {"share_features_extractor": False, "n_critics": 1, "features_extractor_class": None, "net_arch": None}
    nothing = {"optimizer_kwargs": None, "features_extractor_kwargs": None, "normalize_images": None}
    assert make(neutral | nothing).policy_kwargs == {}


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"share_features_extractor": True}, "share_features_extractor .*True"),
        ({"features_extractor_class": keras.Model}, "features_extractor_class .*features_extractor.: model"),
        ({"features_extractor_kwargs": {"features_dim": 8}}, "features_extractor_kwargs for MlpPolicy .*features_dim"),
        ({"optimizer_class": keras.optimizers.SGD}, "optimizer_class must be Adam .*SGD"),
        ({"optimizer_class": keras.optimizers.AdamW}, "optimizer_class must be Adam .*AdamW"),
        ({"optimizer_kwargs": {"lr": 1e-3}}, "optimizer_kwargs .*'lr'.* learning_rate"),
        ({"optimizer_kwargs": {"amsgrad": True}}, "optimizer_kwargs .*amsgrad"),
        ({"optimizer_kwargs": {"eps": 1e-8, "epsilon": 1e-8}}, "optimizer_kwargs .*epsilon"),
        ({"optimizer_kwargs": {"betas": 0.9}}, "betas.* two numbers"),
        ({"optimizer_kwargs": {"betas": (0.9, 1.0)}}, "betas must be below 1"),
    ],
    ids=lambda each: next(iter(each)) if isinstance(each, dict) else "",
)
def test_what_cannot_be_honoured_is_refused_by_name(given, names):
    with pytest.raises(ValueError, match=names):
        make(given)


def test_adams_settings_have_pytorchs_and_kerass_names():
    expected = Adam(0.5, 0.9, 1e-5, 0.01)
    assert Adam.read({"betas": (0.5, 0.9), "eps": 1e-5, "weight_decay": 0.01, "amsgrad": False}) == expected
    assert Adam.read({"beta_1": 0.5, "beta_2": np.float64(0.9), "epsilon": 1e-5, "weight_decay": 0.01}) == expected
    assert Adam.read(None) == Adam()


def test_adam_with_other_settings_worked_by_hand():
    start, gradient, rate = np.array([1.0, -2.0]), np.array([0.5, 0.25]), 0.1
    state = NetworkState(*(tf.constant(v, tf.float32) for v in (start, start, [0.0, 0.0], [0.0, 0.0], 0.0)))
    weights, first, second = start, np.zeros(2), np.zeros(2)
    for step in (1, 2):
        state = adam(state, tf.constant(gradient, tf.float32), tf.constant(rate), Adam(0.5, 0.8, 1e-3, 0.1))
        decayed = gradient + 0.1 * weights
        first, second = 0.5 * first + 0.5 * decayed, 0.8 * second + 0.2 * decayed**2
        weights = weights - rate * first / (1 - 0.5**step) / (np.sqrt(second / (1 - 0.8**step)) + 1e-3)
    np.testing.assert_allclose(state.weights, weights, rtol=1e-5)


def test_the_updates_use_adams_settings_and_a_file_keeps_them(tmp_path):
    plain, other = make({"net_arch": [4]}), make({"net_arch": [4], "optimizer_kwargs": {"betas": (0.5, 0.9)}})
    for agent in (plain, other):
        agent.learn(12)
    first, second = (agent.get_parameters()["q"]["output/kernel"] for agent in (plain, other))
    assert not np.array_equal(first, second)
    other.save(tmp_path / "agent")
    assert MPDQN.load(tmp_path / "agent").policy_kwargs == other.policy_kwargs


def test_images_are_left_as_they_are_where_normalize_images_is_false():
    images, vector = spaces.Box(0, 255, (36, 36, 3), np.uint8), spaces.Box(0, 4, (2,))
    transform = ObservationTransform(spaces.Dict(image=images, vector=vector), scale_images=False)
    row = transform({"image": np.full((36, 36, 3), 200, np.uint8), "vector": np.array([4, 0], np.float32)})
    np.testing.assert_array_equal(np.unique(row), [-1, 1, 200])


def test_the_policys_own_extractor_takes_arguments_and_a_file_keeps_them(tmp_path):
    given = {"net_arch": [4], "normalize_images": False, "features_extractor_kwargs": {"features_dim": np.int64(8)}}
    agent = make(given, env=Pictures(), policy="CnnPolicy")
    assert not agent.observation_transform.scaled.any()
    assert agent.get_parameters()["q"]["hidden_0/kernel"].shape[0] == 8 + agent.parameterized_space.parameter_size
    agent.save(tmp_path / "agent")
    loaded = MPDQN.load(tmp_path / "agent")
    assert loaded.policy_kwargs["features_extractor_kwargs"] == {"features_dim": 8}
    assert not loaded.observation_transform.scaled.any()

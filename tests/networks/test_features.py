"""The policies: images, dicts and the user's own Keras models, in the networks, in learning and in files."""

import json
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces
from toy_environments import Pictures, Target

from pamdp_agents import MPDQN, PDQN
from pamdp_agents.networks import keras_configs
from pamdp_agents.networks.features import CombinedExtractor, FeaturesExtractor, NatureCNN, is_image_space
from pamdp_agents.networks.models import FlatNetwork
from pamdp_agents.networks.parameter_actor import ParameterActor
from pamdp_agents.networks.q_networks import JointQ, MultiPassQ
from pamdp_agents.spaces import ObservationTransform

layers = keras.layers
SMALL = {"learning_starts": 50, "batch_size": 16, "buffer_size": 500, "exploration_fraction": 0.5}
IMAGE = spaces.Box(0, 255, (36, 36, 1), np.uint8)
SEEING = SMALL | {"policy_kwargs": {"net_arch": [32], "features_extractor": NatureCNN(IMAGE, 32)}}
VECTOR = spaces.Box(-1, 1, (4,))


def random_batch(space, n=3):
    space.seed(0)
    return ObservationTransform(space).batch([space.sample() for _ in range(n)])


def extractor(model, space):
    return FeaturesExtractor(keras_configs.serialize(model), ObservationTransform(space))


def kernels(agent, group):
    return {name: weight for name, weight in agent.get_parameters()[group].items() if name.endswith("kernel")}


# ------------------------------------------------------------------ images


@pytest.fixture(scope="module")
def seeing():
    """A trained agent whose extractor is as small as the environment allows."""
    return MPDQN("CnnPolicy", Pictures(), seed=0, **SEEING).learn(350)


def test_an_agent_learns_from_images(seeing):
    for side in (0, 1):
        assert seeing.predict(Pictures().observation(side), deterministic=True)[0][0] == side


def test_learning_moves_all_weights_of_both_extractors_and_their_targets(seeing):
    fresh = MPDQN("CnnPolicy", Pictures(), seed=0, **SEEING)
    for group in ("q", "q_target", "actor", "actor_target"):
        for name, kernel in kernels(seeing, group).items():
            assert np.any(kernel != kernels(fresh, group)[name]), (group, name)


def test_learning_from_images_traces_the_update_once_and_acting_once_for_any_number(seeing):
    env = Pictures()
    for n in (1, 2, 5):
        assert len(seeing.predict(np.stack([env.observation(0)] * n))[0]) == n
    assert seeing.learner.traces == 1
    assert seeing.acting._compiled["any"].experimental_get_tracing_count() == 1


def test_an_agent_with_images_comes_back_from_its_file(seeing, tmp_path):
    seeing.save(tmp_path / "agent")
    loaded = MPDQN.load(tmp_path / "agent")
    np.testing.assert_array_equal(loaded.learner.state.numpy(), seeing.learner.state.numpy())
    for side in (0, 1):
        picture = Pictures().observation(side)
        own, other = (agent.predict(picture, deterministic=True)[0] for agent in (seeing, loaded))
        assert own[0] == other[0]
        np.testing.assert_array_equal(np.concatenate(own[1]), np.concatenate(other[1]))


def test_cnn_policy_has_the_networks_of_the_nature_paper():
    agent = PDQN("CnnPolicy", Pictures((84, 84, 4)), buffer_size=10)
    assert [kernel.shape for kernel in kernels(agent, "q").values()] == [
        (8, 8, 4, 32),
        (4, 4, 32, 64),
        (3, 3, 64, 64),
        (7 * 7 * 64, 512),
        (512 + 2, 256),
        (256, 2),
    ]
    assert all("kernel" in name or "bias" in name for name in agent.get_parameters()["actor"])


def test_channels_first_and_last_are_told_apart_and_give_the_same_features():
    first, last = (NatureCNN(spaces.Box(0, 255, shape, np.uint8)) for shape in ((3, 36, 40), (36, 40, 3)))
    first.set_weights(last.get_weights())
    images = np.random.default_rng(0).uniform(-1, 1, (2, 36, 40, 3)).astype("f")
    np.testing.assert_allclose(first(images.transpose(0, 3, 1, 2)), last(images), atol=1e-5)
    with pytest.warns(UserWarning, match="taken for .height, width, channels."):
        NatureCNN(spaces.Box(0, 255, (40, 36, 37), np.uint8))


def test_images_are_what_sb3_takes_for_images():
    assert is_image_space(IMAGE) and is_image_space(spaces.Box(0, 255, (3, 5, 5), np.uint8))
    for space in (
        spaces.Box(0, 255, (36, 36), np.uint8),
        spaces.Box(0, 1, (36, 36, 1)),
        spaces.Box(0, 254, (36, 36, 1), np.uint8),
        spaces.Discrete(3),
    ):
        assert not is_image_space(space)


# ------------------------------------------------------------------ dicts


def test_an_agent_learns_from_a_dict_with_an_image():
    env = Pictures(turned=True)
    small = CombinedExtractor(env.observation_space, 32)
    settings = SMALL | {"policy_kwargs": {"net_arch": [64], "features_extractor": small}}
    agent = MPDQN("MultiInputPolicy", env, seed=0, **settings).learn(500)
    for side in (0, 1):
        for turned in (0, 1):
            assert agent.predict(env.observation(side, turned), deterministic=True)[0][0] == side ^ turned


def test_multi_input_policy_passes_vectors_on_and_images_through_a_cnn():
    env = Pictures(turned=True)
    agent = PDQN("MultiInputPolicy", env, buffer_size=10)
    assert kernels(agent, "q")["hidden_0/kernel"].shape == (256 + 1 + 2, 256)
    flat = agent.observation_transform(env.observation(0, 1))[None]
    model = agent.learner.networks["q"].model.features_extractor
    np.testing.assert_array_equal(model(flat).numpy()[:, 256:], [[1.0]])


@pytest.mark.parametrize(
    "space, n_features",
    [
        (spaces.Tuple((IMAGE, spaces.Discrete(3))), 256 + 3),
        (spaces.Dict({"in": spaces.Dict({"a/b": IMAGE, "x": VECTOR}), "m": spaces.MultiBinary((2, 2))}), 256 + 4 + 4),
        (spaces.Dict({"one": VECTOR}), 4),
    ],
    ids=["tuple", "nested", "no image"],
)
def test_tuples_nested_dicts_and_dicts_without_images_are_combined(space, n_features):
    assert extractor(CombinedExtractor(space), space)(random_batch(space)).shape == (3, n_features)


# ------------------------------------------------------------------ the networks


@pytest.mark.parametrize("q_class", [JointQ, MultiPassQ])
def test_the_dense_layers_get_the_features_and_the_passthrough_the_observation(q_class):
    s, mask = random_batch(VECTOR), [[1, 1, 0], [0, 0, 1]]
    model = keras.Sequential([layers.Dense(7, "tanh")])
    features = extractor(model, VECTOR)
    plain, own = q_class(7, mask, (16,)), q_class(4, mask, (16,), features_extractor=features)
    own.set_weights([*features.get_weights(), *plain.get_weights()])
    x = np.ones((3, 3), "f")
    np.testing.assert_allclose(own(s, x), plain(features(s), x), atol=1e-6)

    passthrough = {"weight": np.arange(12).reshape(3, 4) / 10}
    actor = ParameterActor(4, 3, (16,), passthrough=passthrough, features_extractor=features)
    actor.out.kernel.assign(tf.zeros((16, 3)))
    np.testing.assert_allclose(actor(s), s @ passthrough["weight"].T, atol=1e-6)


def test_multi_pass_with_an_extractor_equals_one_joint_pass_per_action_with_the_other_parameters_zeroed():
    mask = np.repeat(np.eye(4, dtype=bool), (2, 0, 1, 3), axis=1)
    s, x = random_batch(VECTOR), tf.random.stateless_normal((3, 6), (1, 2))
    features = extractor(keras.Sequential([layers.Dense(7, "tanh")]), VECTOR)
    multi, joint = (q(4, mask, (16, 8), "tanh", features_extractor=features) for q in (MultiPassQ, JointQ))
    joint.set_weights(multi.get_weights())
    with tf.GradientTape() as tape:
        tape.watch(x)
        values = multi(s, x)
    expected = np.stack([joint(s, x * mask[k]).numpy()[:, k] for k in range(4)], 1)
    np.testing.assert_allclose(values, expected, atol=1e-5)
    jacobian, own = tape.batch_jacobian(values, x).numpy(), mask
    assert np.all(jacobian[:, ~own] == 0)
    assert np.all(np.abs(jacobian[:, own]).max(0) > 0)


def test_a_flat_network_with_an_extractor_takes_all_weights_from_the_vector():
    s, x = random_batch(VECTOR), np.ones((3, 2), "f")
    features = extractor(keras.Sequential([layers.Dense(7, "tanh", name="mine"), layers.LayerNormalization()]), VECTOR)
    flat = FlatNetwork(MultiPassQ(4, np.eye(2), (16,), features_extractor=features))
    assert flat.names[:4] == ["features/0_kernel", "features/1_bias", "features/2_gamma", "features/3_beta"]
    np.testing.assert_allclose(flat(tf.constant(flat.initial()), s, x), flat.model(s, x), atol=1e-6)
    weights = flat.split(flat.initial())
    weights[0] = weights[0] + 1
    assert np.any(np.abs(flat(tf.constant(flat.join(weights)), s, x) - flat.model(s, x)) > 1e-3)


def test_dropout_does_nothing_and_recurrent_layers_work():
    space = spaces.Box(-1, 1, (5, 4))
    s = random_batch(space)
    features = extractor(keras.Sequential([layers.GRU(6), layers.Dropout(0.5)]), space)
    flat = FlatNetwork(ParameterActor(20, 2, (8,), features_extractor=features))
    weights = tf.constant(flat.initial())
    compiled = tf.function(lambda: flat(weights, s), jit_compile=True)
    np.testing.assert_allclose(compiled(), compiled(), atol=0)
    assert features(s).shape == (3, 6) and not np.any(features(s) == 0)


# ------------------------------------------------------------------ the user's own models


@keras.saving.register_keras_serializable("tests")
class Squares(keras.Model):
    """A subclass of Keras's Model, with a layer of its own."""

    def __init__(self, units=8, **kwargs):
        super().__init__(**kwargs)
        self.units, self.first = units, layers.Dense(units, "tanh")

    def call(self, inputs):
        return tf.square(self.first(inputs))

    def get_config(self):
        return super().get_config() | {"units": self.units}


def functional():
    inputs = keras.Input((2,))
    side = layers.Dense(8, "relu", kernel_initializer=keras.initializers.HeUniform())(inputs)
    return keras.Model(inputs, keras.ops.concatenate([side, inputs[:, :1] * 2], axis=-1))


def compiled():
    model = keras.Sequential([layers.Input((2,)), keras.Sequential([layers.Dense(8, keras.activations.elu)])])
    model.layers[0].compile("adam", "mse")
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize("make", [compiled, functional, lambda: Squares(16)])
def test_an_own_model_comes_back_from_its_file_without_trust(make, tmp_path):
    kwargs = {"features_extractor": make(), "net_arch": {"pi": [8], "qf": [16]}}
    agent = MPDQN("MlpPolicy", Target(), seed=0, policy_kwargs=kwargs, buffer_size=10)
    shapes = {group: kernels(agent, group)["output/kernel"].shape for group in ("actor", "q")}
    assert shapes == {"actor": (8, 4), "q": (16, 3)}
    agent.save(tmp_path / "agent")
    loaded = MPDQN.load(tmp_path / "agent", env=Target())
    observations = np.random.default_rng(0).uniform(-1, 1, (20, 2)).astype("f")
    for own, other in zip(
        agent.predict(observations, deterministic=True)[0],
        loaded.predict(observations, deterministic=True)[0],
        strict=True,
    ):
        assert own[0] == other[0]
        np.testing.assert_array_equal(np.concatenate(own[1]), np.concatenate(other[1]))
    loaded.save(tmp_path / "again")
    assert MPDQN.load(tmp_path / "again").config()[0] == agent.config()[0]


def test_each_network_has_its_own_weights_and_the_seed_decides_them():
    model = keras.Sequential([layers.Dense(8), layers.ReLU()])
    kwargs = {"features_extractor": model, "net_arch": [8]}
    one, two, other = (
        PDQN("MlpPolicy", Target(), seed=seed, policy_kwargs=kwargs, buffer_size=10) for seed in (0, 0, 1)
    )
    name = "features/0_kernel"
    np.testing.assert_array_equal(one.learner.state.numpy(), two.learner.state.numpy())
    assert not np.array_equal(kernels(one, "q")[name], kernels(one, "actor")[name])
    assert not np.array_equal(kernels(one, "q")[name], kernels(other, "q")[name])
    assert not model.built  # the user's model is only described


def test_parameters_go_from_one_agent_to_another_whatever_keras_called_the_layers():
    def agent(seed):
        model = keras.Sequential([layers.Dense(8, "relu"), layers.Dense(4)])
        kwargs = {"features_extractor": model, "net_arch": [8]}
        return PDQN("MlpPolicy", Target(), seed=seed, policy_kwargs=kwargs, buffer_size=10)

    one, two = agent(0), agent(1)
    assert not np.array_equal(one.learner.state.numpy(), two.learner.state.numpy())
    two.set_parameters(one.get_parameters())
    np.testing.assert_array_equal(one.learner.state.numpy(), two.learner.state.numpy())


def test_own_models_get_observations_in_their_own_shape_and_scaled():
    seen = []

    @keras.saving.register_keras_serializable("tests")
    class Looks(keras.Model):
        def call(self, inputs):
            seen.append(inputs)
            return tf.concat([tf.reshape(inputs["a"], (-1, 6)), inputs["b"][0]], 1)

    space = spaces.Dict({"a": spaces.Box(0, 10, (2, 3)), "b": spaces.Tuple([spaces.Discrete(2)])})
    features = extractor(Looks(), space)
    observation = {"a": np.full((2, 3), 10, "f"), "b": (1,)}
    features(ObservationTransform(space)(observation)[None])
    np.testing.assert_array_equal(seen[-1]["a"], np.ones((1, 2, 3)))
    np.testing.assert_array_equal(seen[-1]["b"][0], [[-1, 1]])  # one-hot, scaled from [0, 1] to [−1, 1]


# ------------------------------------------------------------------ errors


class Unregistered(Squares):
    pass


@keras.saving.register_keras_serializable("tests")
class WithoutConfig(keras.Model):
    def __init__(self, units=8, **kwargs):
        super().__init__(**kwargs)


@keras.saving.register_keras_serializable("tests")
class WithoutKwargs(keras.Model):
    def __init__(self, units=8):
        super().__init__()
        self.units = units

    def get_config(self):
        return super().get_config() | {"units": self.units}


def sequential(*parts):
    return keras.Sequential(list(parts))


@pytest.mark.parametrize(
    "model, error, message",
    [
        (lambda: Squares, TypeError, "features_extractor must be a Keras model .not a class."),
        (lambda: sequential(layers.Dense(3), layers.BatchNormalization()), ValueError, "moving_mean.* LayerNorm"),
        (lambda: sequential(layers.Dense(3, trainable=False)), ValueError, "dense.*/kernel, which is not trained"),
        (
            lambda: sequential(layers.Dense(3, kernel_regularizer="l2")),
            ValueError,
            "regularizers, constraints or losses",
        ),
        (lambda: sequential(layers.Dense(3, bias_constraint="non_neg")), ValueError, "regularizers, constraints"),
        (lambda: sequential(layers.Reshape((2, 1))), ValueError, r"one vector .* got \(2, 2, 1\) .* Flatten"),
        (lambda: sequential(layers.Input((5,)), layers.Dense(3)), ValueError, r"observations of shape \(None, 2\)"),
        (lambda: sequential(layers.Lambda(lambda x: x)), ValueError, "Lambda layer holds code, which is not saved"),
        (lambda: Unregistered(), ValueError, "'Unregistered' .* register it with @keras.saving.register_keras"),
        (lambda: sequential(Unregistered()), ValueError, "'Unregistered' .* register it with"),
        (lambda: WithoutConfig(16), ValueError, r"WithoutConfig must define get_config.* arguments \['units'\]"),
        (
            lambda: sequential(layers.TimeDistributed(WithoutConfig(16))),
            ValueError,
            "WithoutConfig must define get_conf",
        ),
        (lambda: WithoutKwargs(16), ValueError, r"no Keras model can be made .* must take \*\*kwargs"),
        (lambda: WithoutKwargs({1}), ValueError, "'without_kwargs.*' cannot be described by its configuration"),
    ],
)
def test_models_that_could_not_be_trained_or_saved_are_refused_at_once(model, error, message):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras's, of serialising a lambda
        with pytest.raises(error, match=message):
            PDQN("MlpPolicy", Target(), policy_kwargs={"features_extractor": model()}, buffer_size=10)


@pytest.mark.parametrize(
    "policy, env, message",
    [
        ("CnnPolicy", Target, "CnnPolicy .* needs observations that are images, .* got Box.*features_extractor"),
        ("CnnPolicy", lambda: Pictures(turned=True), "got Dict.* use .*MultiInputPolicy"),
        ("MultiInputPolicy", Pictures, "MultiInputPolicy .* needs a Dict or Tuple of observations, got Box"),
        ("CnnPolicy", lambda: Pictures((35, 50, 3)), r"at least 36×36 pixels, got 35×50 .*features_extractor"),
        ("CnnPolicy", lambda: Pictures((1, 50, 20)), r"at least 36×36 pixels, got 50×20 .*features_extractor"),
    ],
)
def test_a_policy_that_does_not_fit_the_observations_is_refused_with_the_one_that_does(policy, env, message):
    with pytest.raises(ValueError, match=message):
        PDQN(policy, env(), buffer_size=10)


def test_mlp_policy_still_flattens_everything():
    agent = PDQN("MlpPolicy", Pictures(turned=True), buffer_size=10)
    assert kernels(agent, "q")["hidden_0/kernel"].shape == (36 * 36 + 1 + 2, 256)
    assert json.loads(json.dumps(agent.config()[0]))["policy"] == "MlpPolicy"

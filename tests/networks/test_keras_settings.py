"""Agents in programs that have changed what Keras and TensorFlow do by default."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from toy_environments import Pictures, Target

from pamdp_agents import MPDQN, SPDQN

SMALL = {"policy_kwargs": {"net_arch": [4]}, "learning_starts": 5, "batch_size": 4, "buffer_size": 50, "seed": 0}
SETTINGS = {
    "floatx": (keras.config.set_floatx, "float64"),
    "dtype policy mixed": (keras.config.set_dtype_policy, "mixed_float16"),
    "dtype policy": (keras.config.set_dtype_policy, "bfloat16"),
    "image_data_format": (keras.config.set_image_data_format, "channels_first"),
}


@pytest.fixture
def world():
    """Lets a test change Keras's settings."""
    floatx, policy, image_format = keras.config.floatx(), keras.config.dtype_policy(), keras.config.image_data_format()
    yield
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)
    keras.config.set_image_data_format(image_format)


def weights(agent):
    return {f"{g}: {n}": w for g, ws in agent.get_parameters().items() for n, w in ws.items()}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("agent_class", [MPDQN, SPDQN])
def test_keras_settings_of_others_change_nothing(agent_class, setting, world):
    expected = weights(agent_class("MlpPolicy", Target(), **SMALL).learn(12))
    before_it = agent_class("MlpPolicy", Target(), **SMALL)
    change, value = SETTINGS[setting]
    change(value)
    after_it = agent_class("MlpPolicy", Target(), **SMALL)
    for agent in (before_it, after_it):
        for name, weight in weights(agent.learn(12)).items():
            assert weight.dtype == np.float32
            np.testing.assert_array_equal(weight, expected[name])
    if setting == "floatx":
        assert keras.config.floatx() == "float64"


@pytest.mark.parametrize("setting", SETTINGS)
def test_images_are_seen_alike_whatever_keras_is_set_to(setting, world):
    settings = SMALL | {"policy_kwargs": {"net_arch": [4], "features_extractor_kwargs": {"features_dim": 4}}}
    expected = weights(MPDQN("CnnPolicy", Pictures(), **settings))
    change, value = SETTINGS[setting]
    change(value)
    agent = MPDQN("CnnPolicy", Pictures(), **settings)
    assert all(np.array_equal(weight, expected[name]) for name, weight in weights(agent).items())
    agent.predict(agent.observation_space.sample(), deterministic=True)


def test_a_model_of_ones_own_in_another_dtype_is_refused_by_the_name_of_the_setting(world):
    keras.config.set_dtype_policy("mixed_float16")
    model = keras.Sequential([keras.layers.Dense(4)])
    with pytest.raises(ValueError, match=r"float16, but agents compute in float32.*set_dtype_policy"):
        MPDQN("MlpPolicy", Target(), policy_kwargs={"features_extractor": model})


def test_weights_have_the_same_names_within_a_name_scope():
    with keras.name_scope("outer"):
        assert "output/kernel" in MPDQN("MlpPolicy", Target(), **SMALL).get_parameters()["q"]


def test_without_eager_execution_one_sentence_says_so(tmp_path):
    agent = MPDQN("MlpPolicy", Target(), **SMALL)
    agent.save(tmp_path / "agent")
    with tf.Graph().as_default():
        for do in (
            lambda: MPDQN("MlpPolicy", Target()),
            lambda: agent.learn(1),
            lambda: MPDQN.load(tmp_path / "agent"),
        ):
            with pytest.raises(RuntimeError, match="eager execution"):
                do()


def test_numbers_that_fade_to_nothing_do_not_stop_acting_where_numpy_raises():
    agent = MPDQN("MlpPolicy", Target(), **SMALL)
    agent.set_parameters(
        {
            group: {name: weight * 0 + 1e-30 for name, weight in ws.items()}
            for group, ws in agent.get_parameters().items()
        }
    )
    observation = np.full(agent.observation_space.shape, 1e-15)
    with np.errstate(all="raise"):
        agent.predict(observation, deterministic=True)


def test_a_function_that_xla_cannot_compile_runs_without_it():
    from pamdp_agents.learning.compiled_update import CompiledUpdate

    def run(state, packed):
        printed = tf.strings.to_number(tf.strings.as_string(state))  # XLA has no texts
        return printed + packed, packed

    compiled = CompiledUpdate(run, (2,), (2,))
    compiled.packed[:] = [1, 2]
    with pytest.warns(UserWarning, match="without XLA.*enable_check_numerics"):
        state, _ = compiled(tf.constant([3.0, 4.0]))
    np.testing.assert_array_equal(state, [4, 6])
    np.testing.assert_array_equal(compiled(state)[0], [5, 8])


def test_another_backend_of_keras_is_refused_with_what_to_do():
    done = subprocess.run(
        [sys.executable, "-c", "from pamdp_agents import MPDQN"],
        capture_output=True,
        text=True,
        env=os.environ | {"KERAS_BACKEND": "jax", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert done.returncode
    last = done.stderr.strip().splitlines()[-1]
    assert "TensorFlow backend" in last and "KERAS_BACKEND=tensorflow" in last

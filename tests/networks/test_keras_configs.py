"""Configurations of Keras models: what Keras made comes back, and nothing that a file names is imported or run."""

import json
import sys
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.saving.serialization_lib import SafeModeScope
from toy_environments import Target

from pamdp_agents import PDQN
from pamdp_agents.files import SavedFileError
from pamdp_agents.networks import keras_configs

layers = keras.layers


@keras.saving.register_keras_serializable("tests")
def halved(x):
    return x / 2


def plain():
    return keras_configs.serialize(keras.Sequential([layers.Input((2,)), layers.Dense(3, "relu")]))


def in_a_layer(config):
    """A model with this configuration in place of a layer's activation."""
    whole = plain()
    whole["config"]["layers"][1]["config"]["activation"] = config
    return whole


def as_a_layer(config):
    whole = plain()
    whole["config"]["layers"].append(config)
    return whole


def entry(module, class_name, config=None, registered_name=None):
    return {
        "module": module,
        "class_name": class_name,
        "config": {} if config is None else config,
        "registered_name": registered_name,
    }


BARE = {"class_name": "__lambda__", "config": {"code": "e", "defaults": None, "closure": None}}
LAMBDA = entry("keras.layers", "Lambda", {"name": "l", "function": BARE})
HOSTILE = {
    "os.system": entry("os", "system", {"command": "true"}),
    "function of os": in_a_layer(entry("os", "function", "system", "system")),
    "planted module": entry("planted", "Planted"),
    "planted function": in_a_layer(entry("planted", "function", "run")),
    "planted layer": as_a_layer(entry("planted", "Planted", {"name": "p"})),
    "planted in build_config": plain() | {"build_config": {"input_shape": entry("planted", "Planted")}},
    "planted among inbound nodes": as_a_layer(
        entry("keras.layers", "Dense", {"units": 2})
        | {"name": "d", "inbound_nodes": [{"args": [entry("planted", "Planted")], "kwargs": {}}]}
    ),
    "Lambda": LAMBDA,
    "nested Lambda": as_a_layer(entry("keras", "Sequential", {"name": "s", "layers": [LAMBDA]})),
    "Lambda by its own module": entry("keras.src.layers.core.lambda_layer", "Lambda", LAMBDA["config"]),
    "Lambda without a module": as_a_layer({"class_name": "Lambda", "config": LAMBDA["config"]}),
    "Lambda of a function of Keras": as_a_layer(
        entry("keras.layers", "Lambda", {"function": entry("builtins", "function", "relu")})
    ),
    "bare lambda": in_a_layer(BARE),
    "lambda under a registered name": in_a_layer(BARE | {"module": None, "registered_name": "tests>halved"}),
    "old Lambda under a registered name": as_a_layer(
        {"class_name": "Lambda", "config": LAMBDA["config"], "registered_name": "tests>halved"}
    ),
    "Lambda under a registered name": as_a_layer(LAMBDA | {"registered_name": "tests>halved"}),
    "old layer without a module": as_a_layer({"class_name": "Dense", "config": {"units": 2}}),
    "typespec": in_a_layer({"class_name": "__typespec__", "spec_name": "P", "module": "planted", "config": []}),
    "SavedModel": as_a_layer(entry("keras.layers", "TFSMLayer", {"filepath": "planted"})),
    "Torch's pickle": as_a_layer(entry("keras.layers", "TorchModuleWrapper", {"module": "planted"})),
    "vocabulary file": as_a_layer(entry("keras.layers", "StringLookup", {"vocabulary": "/etc/passwd"})),
    "text file": as_a_layer(entry("keras.layers", "TextVectorization", {"vocabulary": "/etc/passwd"})),
    "download": in_a_layer(entry("keras.utils", "function", "get_file")),
    "loader": in_a_layer(entry("keras.models", "function", "load_model")),
    "unsafe mode": in_a_layer(entry("keras.config", "function", "enable_unsafe_deserialization")),
    "Keras's module that is not imported": entry("keras.src.layers.core.dense_test", "DenseTest"),
    "a module's name that would be imported": entry("numpy", "f2py"),
    "another package of Keras": entry("keras_hub.models", "Backbone"),
    "optimizer": entry("keras.optimizers", "Adam"),
    "numbers for names": {"module": 3, "class_name": 4, "config": 5},
}
WRONG = {
    "not a model": entry("keras.layers", "Dense", {"units": 3}),
    "no class": {"config": {}},
    "wrong arguments": as_a_layer(entry("keras.layers", "Dense", {"units": "many"})),
    "nothing": {},
}


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """A module on the path that leaves a file when it is imported."""
    mark = tmp_path / "mark"
    (tmp_path / "planted.py").write_text(f"open({str(mark)!r}, 'w')\nclass Planted: pass\ndef run(*args): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield mark
    assert "planted" not in sys.modules


@pytest.mark.parametrize("config", HOSTILE.values(), ids=HOSTILE)
def test_hostile_configurations_are_refused_and_nothing_is_imported_or_run(config, planted, monkeypatch):
    monkeypatch.setattr("os.system", lambda *args: pytest.fail("os.system was called"))
    before, text = set(sys.modules), json.dumps(config)
    for function in (keras_configs.check, keras_configs.deserialize):
        with pytest.raises(ValueError):
            function(config)
    assert json.dumps(config) == text
    assert set(sys.modules) == before
    assert not planted.exists()


@pytest.mark.parametrize("config", WRONG.values(), ids=WRONG)
def test_configurations_that_are_not_of_models_are_refused(config):
    with pytest.raises(ValueError, match="Keras model"):
        keras_configs.deserialize(config)


@pytest.mark.parametrize("config", ["planted layer", "nested Lambda", "SavedModel", "no class"])
def test_a_saved_agent_with_a_hostile_configuration_is_refused_and_runs_nothing(config, planted, tmp_path):
    model = keras.Sequential([layers.Dense(4)])
    PDQN("MlpPolicy", Target(), policy_kwargs={"features_extractor": model}, buffer_size=10).save(tmp_path / "agent")
    with zipfile.ZipFile(tmp_path / "agent.zip") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    data = json.loads(members["data.json"])
    data["settings"]["policy_kwargs"]["features_extractor"] = (HOSTILE | WRONG)[config]
    with zipfile.ZipFile(tmp_path / "agent.zip", "w") as archive:
        for name, content in (members | {"data.json": json.dumps(data)}).items():
            archive.writestr(name, content)
    with pytest.raises(SavedFileError):
        PDQN.load(tmp_path / "agent")
    assert not planted.exists()


def test_code_is_refused_even_where_keras_is_told_to_run_it():
    with SafeModeScope(False), pytest.raises(ValueError, match="Lambda layer holds code"):
        keras_configs.deserialize(HOSTILE["nested Lambda"])


def test_a_configuration_is_plain_json_and_makes_the_same_function():
    inputs = {"a": keras.Input((4, 3), name="a"), "b": keras.Input((2,), name="b")}
    a = layers.Bidirectional(layers.LSTM(4, kernel_initializer=keras.initializers.HeNormal(seed=1)))(inputs["a"])
    a = layers.Activation(halved)(layers.LayerNormalization()(a))
    model = keras.Model(inputs, keras.ops.concatenate([a, keras.ops.abs(inputs["b"])[:, :1] * 2], axis=-1))
    config = keras_configs.serialize(model)
    again = keras_configs.deserialize(json.loads(json.dumps(config)))
    again.set_weights(model.get_weights())
    values = {"a": tf.ones((5, 4, 3)), "b": -tf.ones((5, 2))}
    np.testing.assert_array_equal(again(values), model(values))


def test_classes_given_in_a_custom_object_scope_are_accepted():
    class Own(layers.Layer):
        def call(self, inputs):
            return 2 * inputs

    with keras.saving.custom_object_scope({"Own": Own}):
        config = keras_configs.serialize(keras.Sequential([layers.Input((2,)), Own()]))
        assert isinstance(keras_configs.deserialize(config).layers[0], Own)
    with pytest.raises(ValueError, match=r"'Own' .* register it"):
        keras_configs.deserialize(config)

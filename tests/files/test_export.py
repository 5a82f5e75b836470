"""An exported policy acts as its agent does, without the library."""

import json
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import gymnasium as gym
import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, OneOf, Tuple

from pamdp_agents import MPDQN, PADDPG, PDQN, SPDQN
from pamdp_agents.networks.q_networks import JointQ
from pamdp_agents.spaces import SharedParameters

FORMATS = {"saved_model": "", "tflite": ".tflite", "onnx": ".onnx"}


class Spaces(gym.Env):
    """Nothing but spaces."""

    def __init__(self, observation_space, action_space):
        self.observation_space, self.action_space = observation_space, action_space


def make(observation_space, action_space, agent_class=MPDQN, policy="MlpPolicy", **settings):
    """An agent with small networks whose parameters go beyond their bounds."""
    policy_kwargs = {"net_arch": [8], "actor_output_initializer": "glorot_normal", **settings.pop("policy_kwargs", {})}
    env = Spaces(observation_space, action_space)
    return agent_class(policy, env, seed=0, policy_kwargs=policy_kwargs, **settings)


def exported(agent, folder, format):
    agent.export(folder / "policy", format=format)
    return folder / f"policy{FORMATS[format]}"


def describe(path):
    if path.is_dir():
        return json.loads((path / "assets.extra" / "policy.json").read_text())
    if path.suffix == ".onnx":
        [entry] = onnx.load(path).metadata_props
        return json.loads(entry.value)
    return json.loads(zipfile.ZipFile(path).read("policy.json"))


def run(path, inputs):
    if path.is_dir():
        outputs = tf.saved_model.load(str(path)).signatures["serving_default"](
            **{name: tf.constant(values) for name, values in inputs.items()}
        )
        return {name: values.numpy() for name, values in outputs.items()}
    if path.suffix == ".onnx":
        session = onnxruntime.InferenceSession(path)
        return dict(zip((output.name for output in session.get_outputs()), session.run(None, inputs), strict=True))
    return tf.lite.Interpreter(str(path)).get_signature_runner()(**inputs)


def leaf(observation, path):
    """The part of an observation that a path such as "['arm'][0]" leads to."""
    return eval(f"observation{path}", {"observation": observation})


def check(agent, path, observations):
    """Runs an exported policy and compares all its actions with the agent's; returns its outputs."""
    inputs = {
        each["name"]: np.stack([leaf(observation, each["path"]) for observation in observations]).astype(each["dtype"])
        for each in describe(path)["inputs"]
    }
    outputs = run(path, inputs)
    predicted, _ = agent.predict(observations, deterministic=True)
    actions = agent.parameterized_space
    k, values = actions.decompose_batch(predicted)
    np.testing.assert_array_equal(outputs["action"], k + actions.start)
    assert outputs["action"].dtype == np.int32
    if not actions.parameter_size:
        assert outputs.keys() == {"action"}
        return outputs
    carried = actions.mask[k] if isinstance(agent.action_space, OneOf) else np.ones_like(values, bool)
    error = np.abs(outputs["parameters"] - values) * carried
    assert np.all(error <= 1e-5 * (actions.high - actions.low)), error.max(0) / (actions.high - actions.low)
    assert np.all((outputs["parameters"] >= actions.low) & (outputs["parameters"] <= actions.high))
    return outputs


# -------------------------------------------------------------------- the bundled agents


def visited(env, count):
    """Observations of episodes of random actions."""
    env.action_space.seed(0)
    observations = [env.reset(seed=0)[0]]
    while len(observations) < count:
        observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
        observations.append(env.reset()[0] if terminated or truncated else observation)
    return observations


@pytest.fixture(scope="module", params=[(MPDQN, "Platform"), (MPDQN, "Goal"), (PDQN, "Platform")], ids=str)
def pretrained(request):
    agent_class, name = request.param
    agent = agent_class.from_pretrained(gym.make(f"pamdp/{name}-v0", disable_env_checker=True))
    space = agent.observation_space
    space.seed(0)
    return agent, visited(agent.env.envs[0], 500) + [space.sample() for _ in range(500)]


@pytest.mark.parametrize("format", FORMATS)
def test_a_pretrained_agents_export_gives_its_actions(pretrained, format, tmp_path):
    agent, observations = pretrained
    outputs = check(agent, exported(agent, tmp_path, format), observations)
    assert len(np.unique(outputs["action"])) == agent.parameterized_space.n


NORM = {"layer_norm": True}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    "agent_class, options",
    [
        (MPDQN, {"n_policies": 3, "policy_kwargs": NORM | {"dueling": True}}),
        (SPDQN, {"n_policies": 2, "policy_kwargs": NORM}),
        (PADDPG, {"n_critics": 2, "policy_kwargs": NORM}),
    ],
    ids=["MPDQN", "SPDQN", "PADDPG"],
)
def test_options_of_networks_are_exported_too(agent_class, options, format, tmp_path):
    bounds = [Box(-1, 1, (2,)), Box(0, 5, (1,))]
    agent = make(Box(-1, 1, (3,)), Tuple((Discrete(2), Tuple(bounds))), agent_class, **options)
    agent.observation_space.seed(0)
    observations = [agent.observation_space.sample() for _ in range(200)]
    outputs = check(agent, exported(agent, tmp_path, format), observations)
    assert len(np.unique(outputs["action"])) == 2
    if agent_class is not PADDPG:
        assert len(np.unique(agent.acting.decide(np.float32(observations)).extras["policy"])) > 1


WITHOUT_THE_LIBRARY = """
import sys
import numpy as np
import tensorflow as tf

observations = np.load("observations.npy")
policy = tf.saved_model.load("saved_model").signatures["serving_default"]
lite = tf.lite.Interpreter("policy.tflite").get_signature_runner()
outputs = policy(observation=tf.constant(observations))
lite_outputs = lite(observation=observations.astype(np.float32))
assert not {"pamdp_agents", "pamdp_envs", "gymnasium"} & sys.modules.keys()
np.savez("outputs.npz", **{name: values.numpy() for name, values in outputs.items()})
np.savez("lite.npz", **lite_outputs)
"""


def test_a_fresh_process_with_nothing_but_tensorflow_runs_it(tmp_path):
    agent = MPDQN.from_pretrained("pamdp/Platform-v0")
    agent.export(tmp_path / "saved_model")
    agent.export(tmp_path / "policy", format="tflite")
    observations = visited(agent.env.envs[0], 1000)
    np.save(tmp_path / "observations.npy", observations)
    subprocess.run([sys.executable, "-c", WITHOUT_THE_LIBRARY], cwd=tmp_path, check=True)

    k, values = agent.parameterized_space.decompose_batch(agent.predict(observations, deterministic=True)[0])
    for file in ("outputs.npz", "lite.npz"):
        outputs = np.load(tmp_path / file)
        np.testing.assert_array_equal(outputs["action"], k)
        space = agent.parameterized_space
        assert np.all(np.abs(outputs["parameters"] - values) <= 1e-5 * (space.high - space.low))


# -------------------------------------------------------------------- spaces and settings


class NormalizingQ(JointQ):
    """Normalises the observation by statistics that are variables but not trainable weights."""

    def build_layers(self):
        super().build_layers()
        self.normalization = keras.layers.BatchNormalization()
        self.normalization.build((None, self.n_features))
        self.normalization.moving_mean.assign(np.linspace(-1, 1, self.n_features))

    def call(self, observation, x, k=None):
        return super().call(self.normalization(observation, training=False), x, k)


class Normalizing(PDQN):
    def _make_q(self, **kwargs):
        return NormalizingQ(self.observations.size, self.actions.parameter_sizes, **kwargs)


VECTOR = Box(-1, 1, (3,))
PLAIN = Tuple((Discrete(2), Tuple((Box(-1, 1, (2,)), Box(0, 100, (1,))))))
OBSERVATIONS = {
    "unbounded, narrow and constant components": Box(
        np.array([-np.inf, 0, 1e6, 5], "f"), np.array([np.inf, 1e-3, 1e6 + 1, 5], "f")
    ),
    "an image": Box(0, 255, (4, 3, 2), np.uint8),
    "a number": Box(-4, 4, ()),
    "a discrete one": Discrete(3, start=-1),
    "a nested dict": Dict(
        {
            "a b": MultiDiscrete([[2, 3]], start=[[0, 4]]),
            "a_b": MultiBinary((2, 2)),
            "rest": Tuple((Box(-1e3, 1e3, (2,), np.float64), Discrete(2, dtype=np.int32), Box(0, 9, (2,), np.int64))),
        }
    ),
}
ACTIONS = {
    "none without parameters, one shifted": Tuple((Discrete(3, start=5), Box(1, 2, (2,)), Discrete(1), Box(-9, 0, ()))),
    "a dict of matrices": Dict(
        OrderedDict(kind=Discrete(2), x0=Box(-1, 1, (2, 2), np.float64), x1=Box(0, 0.1, (1,), np.float64))
    ),
    "integers": Tuple((Discrete(2), Tuple((Box(-5, 5, (3,), np.int64), Box(0, 255, (1,), np.uint8))))),
    "equal bounds": Tuple((Discrete(2), Box(0.1, 0.1, (1,)), Box(0, 1, (0,)))),
    "one of": OneOf((Box(0, 1, (2,)), Discrete(1), Box(-2, 5, (1,)))),
    "shared": SharedParameters(Discrete(3, start=2), Box(-2, 5, (2,)), [[0, 1], [0, 0], [1, 1]]),
    "discrete": Discrete(4, start=-2),
    "box": Box(-2, 2, (3,)),
}
AGENTS = {
    **{f"observations: {name}": (space, PLAIN, {}) for name, space in OBSERVATIONS.items()},
    **{f"actions: {name}": (VECTOR, space, {}) for name, space in ACTIONS.items()},
    "joint": (VECTOR, PLAIN, {"agent_class": PDQN}),
    "joint, without parameters": (VECTOR, Discrete(3), {"agent_class": PDQN}),
    "not scaled": (Box(-3, 7, (3,)), PLAIN, {"scale_observations": False}),
    "squashed initial parameters": (
        VECTOR,
        PLAIN,
        {"strategy": "squashing", "passthrough": {"bias": [0.5, 2.0, -0.9], "weight": np.eye(3) / 2}},
    ),
    "a convolutional network": (Box(0, 255, (36, 36, 1), np.uint8), PLAIN, {"policy": "CnnPolicy"}),
    "pictures among others": (
        Dict(picture=Box(0, 255, (3, 36, 36), np.uint8), rest=Box(-1, 1, (2,))),
        PLAIN,
        {"policy": "MultiInputPolicy"},
    ),
    "weights that are not trained": (
        VECTOR,
        PLAIN,
        {"agent_class": Normalizing, "policy_kwargs": {"activation_fn": "silu"}},
    ),
}


@pytest.mark.parametrize("name", AGENTS)
def test_every_kind_of_space_and_setting_is_exported(name, tmp_path):
    observation_space, action_space, settings = AGENTS[name]
    agent = make(observation_space, action_space, **settings)
    observation_space.seed(0)
    observations = [observation_space.sample() for _ in range(100)]
    for format in FORMATS:
        path = exported(agent, tmp_path, format)
        outputs = check(agent, path, observations)
        assert any(len(np.unique(values, axis=0)) > 1 for values in outputs.values()), "all the same"
        check(agent, path, observations[:1])


def test_numbers_far_from_0_keep_their_precision_where_the_format_has_float64(tmp_path):
    far = Box(np.array([47.0, -1]), np.array([47.001, 1]), dtype=np.float64)
    for agent in (make(far, PLAIN), make(VECTOR, far)):
        observations = [agent.observation_space.sample() for _ in range(100)]
        for format in ("saved_model", "onnx"):
            check(agent, exported(agent, tmp_path, format), observations)
        with pytest.raises(ValueError, match=r"(observation|action)_space has a range so narrow .* float32"):
            agent.export(tmp_path / "refused", format="tflite")
    make(far, PLAIN, scale_observations=False).export(tmp_path / "policy", format="tflite")


def test_weights_are_those_at_the_time_of_the_export(tmp_path):
    agent = make(VECTOR, PLAIN)
    path, observations = exported(agent, tmp_path, "saved_model"), [VECTOR.sample() for _ in range(20)]
    before = check(agent, path, observations)
    agent.set_parameters(make(VECTOR, PLAIN, PDQN).get_parameters())
    agent.set_parameters({"actor": {n: w + 0.1 for n, w in agent.get_parameters()["actor"].items()}}, exact_match=False)
    np.testing.assert_array_equal(
        run(path, {"observation": np.stack(observations)})["parameters"], before["parameters"]
    )
    after = check(agent, exported(agent, tmp_path, "saved_model"), observations)
    assert not np.allclose(after["parameters"], before["parameters"])


# -------------------------------------------------------------------- the description


@pytest.mark.parametrize("format", FORMATS)
def test_the_description_tells_how_to_call_it_and_to_take_its_outputs_apart(format, tmp_path):
    boxes = {"x0": Box(0, 0.5, (2, 2), np.float64), "x1": Discrete(1), "x2": Box(-1, 1)}
    space = Dict(OrderedDict(kind=Discrete(3, start=1), **boxes))
    agent = make(OBSERVATIONS["a nested dict"], space)
    description = describe(exported(agent, tmp_path, format))
    number = "float32" if format == "tflite" else "float64"
    assert [tuple(each.values()) for each in description["inputs"]] == [
        ("observation_a_b_0", "['a b']", [1, 2], "int64"),
        ("observation_a_b_1", "['a_b']", [2, 2], "int8"),
        ("observation_rest_0_2", "['rest'][0]", [2], number),
        ("observation_rest_1_3", "['rest'][1]", [], "int32"),
        ("observation_rest_2_4", "['rest'][2]", [2], "int64"),
    ]
    assert description["actions"] == [
        {"action": 1, "parameters": [0, 4]},
        {"action": 2, "parameters": [4, 4]},
        {"action": 3, "parameters": [4, 5]},
    ]
    assert [tuple(each.values()) for each in description["boxes"]] == [
        ("['x0']", [0, 4], [2, 2], "float64"),
        ("['x2']", [4, 5], [1], "float32"),
    ]
    assert description["low"] == [0, 0, 0, 0, -1] and description["high"] == [0.5, 0.5, 0.5, 0.5, 1]


def test_the_description_tells_which_parameters_are_whose_where_actions_share_some(tmp_path):
    agent = make(VECTOR, ACTIONS["shared"])
    assert describe(exported(agent, tmp_path, "saved_model"))["actions"] == [
        {"action": 2, "parameter_indices": [1]},
        {"action": 3, "parameter_indices": []},
        {"action": 4, "parameter_indices": [0, 1]},
    ]


def test_infinite_bounds_are_null_in_the_description(tmp_path):
    unbounded = make(Box(-np.inf, np.inf, (2,)), PLAIN)
    space = describe(exported(unbounded, tmp_path, "tflite"))["observation_space"]
    assert space == {"type": "Box", "shape": [2], "dtype": "float32", "low": None, "high": None}


def test_tflite_files_hold_tflites_own_operations_alone(tmp_path):
    agent = make(OBSERVATIONS["a nested dict"], ACTIONS["integers"], policy_kwargs={"activation_fn": tf.math.erfc})
    with pytest.raises(ValueError, match=r"no operations of its own for tf.Erfc: .* another activation_fn"):
        agent.export(tmp_path / "policy", format="tflite")
    assert not list(tmp_path.iterdir())
    check(agent, exported(agent, tmp_path, "saved_model"), [agent.observation_space.sample() for _ in range(20)])


# -------------------------------------------------------------------- files and bad input


@pytest.fixture(scope="module")
def agent():
    return make(VECTOR, PLAIN)


@pytest.mark.parametrize("format", FORMATS)
def test_an_earlier_export_is_replaced_and_nothing_else_is_left(agent, format, tmp_path):
    for _ in range(2):
        path = exported(agent, tmp_path / "new", format)
        assert list((tmp_path / "new").iterdir()) == [path]
    check(agent, path, [VECTOR.sample()])


def test_a_folder_that_is_no_export_is_not_replaced(agent, tmp_path):
    (tmp_path / "work").mkdir()
    agent.export(tmp_path / "work")  # empty
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("years of work")
    for path in (other, other / "thesis.txt"):
        with pytest.raises(FileExistsError, match=r"other.* choose another path"):
            agent.export(path)
    assert (other / "thesis.txt").read_text() == "years of work"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "work"]


@pytest.mark.parametrize("format", ["saved_model", "tflite", "onnx"])
@pytest.mark.parametrize("name", ["valve_v1.2", "notes.txt", "agent.zip"])
def test_nothing_but_an_export_of_the_same_format_is_replaced(agent, tmp_path, format, name):
    agent.save(tmp_path / "valve_v1.2")
    agent.save(tmp_path / "agent")
    (tmp_path / "notes.txt").write_text("measured by hand")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    if name == "valve_v1.2":  # no name with a dot has a suffix
        agent.export(tmp_path / name, format=format)
        agent.export(tmp_path / name, format=format)
    else:
        with pytest.raises(FileExistsError, match=f"{name} is in the way"):
            agent.export(tmp_path / name, format=format)
    assert before.items() <= {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}.items()


def test_one_format_does_not_replace_another_nor_a_model_of_somebody_else(agent, tmp_path):
    for format, other in (("tflite", "onnx"), ("onnx", "tflite"), ("saved_model", "onnx")):
        agent.export(tmp_path / format / "policy.model", format=format)
        with pytest.raises(FileExistsError, match="is in the way"):
            agent.export(tmp_path / format / "policy.model", format=other)
    (tmp_path / "model.tflite").write_bytes(b"\0\0\0\0TFL3 a model of somebody else")
    with pytest.raises(FileExistsError, match="is in the way"):
        agent.export(tmp_path / "model", format="tflite")


@pytest.mark.parametrize("file", ["notes.txt", "variables/mine.npy", "assets.extra/mine.json", "assets/words.txt"])
def test_a_users_file_in_an_exported_folder_is_not_deleted(agent, tmp_path, file):
    agent.export(tmp_path / "policy")
    agent.export(tmp_path / "policy")
    (tmp_path / "policy" / file).write_text("mine")
    with pytest.raises(FileExistsError, match=f"{file} is in the way"):
        agent.export(tmp_path / "policy")
    assert (tmp_path / "policy" / file).read_text() == "mine"


def test_a_suffix_of_ones_own_is_kept(agent, tmp_path):
    agent.export(tmp_path / "policy.lite", format="tflite")
    assert [path.name for path in tmp_path.iterdir()] == ["policy.lite"]


def test_a_path_named_like_another_format_is_refused(agent, tmp_path):
    with pytest.raises(ValueError, match="named like a file of format 'tflite', but format is 'saved_model'"):
        agent.export(tmp_path / "policy.tflite")
    assert not any(tmp_path.iterdir())


def test_a_failing_export_leaves_the_earlier_one(agent, tmp_path, monkeypatch):
    path = exported(agent, tmp_path, "saved_model")
    files = sorted(tmp_path.rglob("*"))

    def full(self, *args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match=r"cannot write .*policy \(No space left on device\)"):
        agent.export(path)
    assert sorted(tmp_path.rglob("*")) == files


def test_bad_input_is_refused(agent, tmp_path):
    with pytest.raises(ValueError, match=r"format must be one of 'saved_model', 'tflite', 'onnx', got 'keras'"):
        agent.export(tmp_path / "policy", format="keras")
    with pytest.raises(RuntimeError, match="export needs an agent with an environment"):
        MPDQN("MlpPolicy", None).export(tmp_path / "policy")
    with pytest.raises(TypeError, match=r"unlike observation_space\['either'\], OneOf"):
        make(Dict({"either": OneOf((VECTOR, VECTOR)), "x": VECTOR}), PLAIN).export(tmp_path / "policy")
    diverged = make(VECTOR, PLAIN)
    diverged.learner.state *= np.nan
    with pytest.raises(ValueError, match="weights are not finite"):
        diverged.export(tmp_path / "policy")
    assert not list(tmp_path.iterdir())


def test_without_its_package_onnx_is_refused_with_the_extra_to_install(agent, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(ImportError, match=r"pip install \"pamdp-agents\[onnx\]\""):
        agent.export(tmp_path / "policy", format="onnx")

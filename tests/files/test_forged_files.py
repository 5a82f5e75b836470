"""Forged files: whatever is changed in one, loading it gives an agent or a SavedFileError, and takes little memory."""

import io
import json
import struct
import tracemalloc
import zipfile

import keras
import numpy as np
import pytest
from toy_environments import Numbered, Target

from pamdp_agents import MPDQN, QPAMDP
from pamdp_agents.files import SavedFileError
from pamdp_agents.files.archive import npz_bytes, read_npz
from pamdp_agents.networks import keras_configs

SMALL = {"policy_kwargs": {"net_arch": [4]}, "learning_starts": 5, "batch_size": 4, "buffer_size": 20, "seed": 0}
VALUES = [
    None, True, -1, 0, 1, 3, 10**9, 10**30, -(10**400), 1.5, 1e308, float("inf"), float("nan"), "", "x", "é\0",
    [], [1], [[1]], [10**9], {}, {"a": 1}, {"type": "Box"}, {"name": "gaussian", "sigma": -1},
    {"net_arch": [10**9] * 2},
    {"net_arch": [1] * 3000}, {"type": "Discrete", "n": 10**9, "start": 0, "dtype": "int64"},
    {"type": "Box", "shape": [10**9], "dtype": "float32", "low": 0, "high": 1},
]  # fmt: skip


def members_of(agent):
    file = io.BytesIO()
    agent.save(file, include=agent.saved_apart)
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def members():
    return members_of(MPDQN("MlpPolicy", Target(), **SMALL).learn(12))


@pytest.fixture(scope="module")
def members_of_qpamdp():
    settings = {"initial_action_episodes": 4, "n_rollouts": 3, "policy_kwargs": {"fourier_order": 2}, "seed": 0}
    return members_of(QPAMDP("MlpPolicy", Numbered(), **settings).learn(20))


def joined(members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def places(data, path=()):
    """Returns the paths of all that is in nested dicts and lists."""
    yield path
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield from places(value, (*path, key))


def forge_json(content, rng):
    data = json.loads(content)
    all_places = [path for path in places(data) if path]
    *path, last = all_places[rng.integers(len(all_places))]
    inner = data
    for key in path:
        inner = inner[key]
    if rng.random() < 0.2:
        del inner[last]
    else:
        inner[last] = VALUES[rng.integers(len(VALUES))]
    return json.dumps(data).encode()


def forge_arrays(content, rng):
    arrays = read_npz(content, "it")
    name = list(arrays)[rng.integers(len(arrays))]
    array = arrays[name]
    extreme = np.array([-5, 5, 77, 1e30, -1e30, 3e38, np.nan, np.inf])[rng.integers(8)]
    with np.errstate(all="ignore"):
        forged = [
            np.full_like(array, extreme, dtype=np.float32),
            array.astype(complex),
            array.astype(str),
            array.astype(bool),
            array.ravel()[:-1],
            array[None],
            np.zeros(0),
            np.array({"a": 1}, dtype=object),
        ][rng.integers(8)]
    if rng.random() < 0.2:
        del arrays[name]
        return npz_bytes(arrays)
    file = io.BytesIO()
    np.savez(file, **arrays | {name: forged})
    return file.getvalue()


def forge_bytes(content, rng):
    content = bytearray(content)
    for place in rng.integers(0, len(content), rng.integers(1, 9)):
        content[place] = rng.integers(256)
    return bytes(content[: rng.integers(len(content))]) if rng.random() < 0.3 else bytes(content)


def forged(members, rng):
    kind = rng.integers(4)
    if kind == 0:
        return joined(members | {"data.json": forge_json(members["data.json"], rng)})
    if kind == 3:
        return forge_bytes(joined(members), rng)
    name = ["arrays.npz", "replay_buffer.npz"][kind - 1 if "replay_buffer.npz" in members else 0]
    return joined(members | {name: forge_arrays(members[name], rng)})


@pytest.mark.filterwarnings("ignore:.*replay buffer|buffer_size")
@pytest.mark.parametrize("n", [40, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", [MPDQN, QPAMDP], ids=["MPDQN", "QPAMDP"])
def test_a_forged_file_is_refused_as_documented_or_trains(kind, members, members_of_qpamdp, n, record_property):
    members = members if kind is MPDQN else members_of_qpamdp
    rng, refused, loaded = np.random.default_rng(n), 0, 0
    for i in range(n):
        content = forged(members, rng)
        given = {"device": "cpu"} if i % 2 else {}
        try:
            agent = kind.load(io.BytesIO(content), **given)
        except SavedFileError:
            refused += 1
            continue
        loaded += 1
        resaved = io.BytesIO()
        agent.save(resaved, include=kind.saved_apart)
        kind.load(resaved)
    record_property("counts", (refused, loaded))
    print(f"{n} forged files: {refused} refused, {loaded} loaded, saved and loaded again")
    assert refused and loaded and refused + loaded == n


def overlapping():
    """Returns a zip of many members that are all the same bytes of the file."""
    body = b"\0" * 100_000
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 0, 0, 0, 0, len(body), len(body), 1, 0) + b"a" + body
    directory = b""
    for i in range(1000):
        name = f"{i}.npy".encode()
        directory += struct.pack(
            "<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, len(body), len(body), len(name), 0, 0, 0, 0, 0, 0
        )
        directory += name
    return local + directory + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1000, 1000, len(directory), len(local), 0)


def huge_array():
    """Returns an `.npz` whose one array says that it is far longer than it is."""
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2000000000,), }"
    array = b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header
    return joined({"s.npy": array})


def twice():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("s.npy", b"")
        archive.writestr("s.npy", b"")
    return file.getvalue()


def countless():
    return b"PK\1\2" * 30_000 + joined({"s.npy": b""})


@pytest.mark.parametrize("make", [overlapping, huge_array, twice, countless])
def test_a_file_that_would_take_much_memory_is_refused_before_it_does(make):
    content = make()
    tracemalloc.start()
    try:
        with pytest.raises(SavedFileError):
            read_npz(content, "it")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20e6


def box(*shape, dtype="float32", high=1.0):
    return {"type": "Box", "shape": shape, "dtype": dtype, "low": 0, "high": high}


def discrete(n):
    return {"type": "Discrete", "n": n, "start": 0, "dtype": "int64"}


def layer(name, **config):
    return {"module": "keras.layers", "class_name": name, "config": config, "registered_name": None}


def extracting(*layers):
    layers = [layer("InputLayer", batch_shape=[None, 2]), *layers]
    config = {"name": "own", "layers": layers}
    model = {"module": "keras", "class_name": "Sequential", "config": config, "registered_name": None}
    return kwargs(features_extractor=model)


def attention():
    observation = keras.Input((2,))
    repeated = keras.layers.RepeatVector(20_000)(observation)
    features = keras.layers.GlobalAveragePooling1D()(keras.layers.Attention()([repeated, repeated]))
    return kwargs(features_extractor=keras_configs.serialize(keras.Model(observation, features)))


def kwargs(**policy_kwargs):
    return lambda data: data["settings"]["policy_kwargs"].update(policy_kwargs)


def images(policy, space, **arguments):
    def change(data):
        data["observation_space"] = space
        data["settings"]["policy"] = policy
        data["settings"]["policy_kwargs"]["features_extractor_kwargs"] = arguments

    return change


IMAGE = box(36, 36, 1, dtype="uint8", high=255)
LARGE = {
    "wide": kwargs(net_arch=[8000, 8000]),
    "wide floats": kwargs(net_arch=[8000.0, 8000.0]),
    "deep": kwargs(net_arch=[1] * 3000),
    "deep floats": kwargs(net_arch={"pi": [4], "qf": [1.0] * 3000}),
    "dense": extracting(layer("Dense", units=10**9)),
    "dense after dense": extracting(*[layer("Dense", units=80)] * 20),
    "many layers": extracting(*[layer("Activation", activation="relu")] * 3000),
    "convolution": extracting(
        layer("Reshape", target_shape=[2, 1]),
        layer("Conv1D", filters=4, kernel_size=[10**8], padding="same"),
        layer("GlobalAveragePooling1D"),
    ),
    "repeated": extracting(layer("RepeatVector", n=10**9), layer("GlobalAveragePooling1D")),
    "attention": attention(),
    "cnn": images("CnnPolicy", IMAGE, features_dim=10**9),
    "large image": images("CnnPolicy", box(2000, 2000, 1, dtype="uint8", high=255)),
    "combined": images("MultiInputPolicy", {"type": "Dict", "spaces": [["a", IMAGE]]}, cnn_output_dim=10**6),
    "many images": images("MultiInputPolicy", {"type": "Tuple", "spaces": [IMAGE] * 300}),
    "critics": lambda data: data["settings"].update(n_critics=10**9),
    "critics as in SB3": lambda data: (data["settings"].pop("n_critics"), kwargs(n_critics=10**9)(data)),
    "actors": lambda data: data["settings"].update(n_policies=10**9),
    "several critics": lambda data: (
        data["settings"].update(n_critics=16),
        kwargs(net_arch={"pi": [4], "qf": [9, 9]})(data),
    ),
    "box": lambda data: data.update(observation_space=box(30_000_000)),
    "box below the largest image": lambda data: data.update(observation_space=box(1_000_000)),
    "discrete": lambda data: data.update(observation_space=discrete(10**8)),
    "parts": lambda data: data.update(observation_space={"type": "Tuple", "spaces": [box(0)] * 50_000}),
    "actions": lambda data: data.update(action_space=discrete(50_000)),
    "actions of no size": lambda data: data.update(action_space={"type": "OneOf", "spaces": [box(0)] * 50_000}),
}


@pytest.mark.parametrize("change", LARGE.values(), ids=LARGE)
def test_networks_larger_than_the_weights_in_the_file_are_not_made(members, change):
    data = json.loads(members["data.json"])
    change(data)
    content = joined(members | {"data.json": json.dumps(data)})
    tracemalloc.start()
    try:
        with pytest.raises(SavedFileError, match=r"asks for .* but holds"):
            MPDQN.load(io.BytesIO(content))
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("given", [{"device": "cpu"}, {"gamma": 0.5}], ids=str)
def test_it_is_the_same_error_whatever_is_given_to_load(members, given):
    data = json.loads(members["data.json"])
    LARGE["wide"](data)
    with pytest.raises(SavedFileError, match=r"asks for .* but holds"):
        MPDQN.load(io.BytesIO(joined(members | {"data.json": json.dumps(data)})), **given)


@pytest.mark.parametrize("version", [0, -3, True, 1.5, "2", None, float("inf"), [2]], ids=repr)
def test_a_format_version_is_a_number_from_1(members, version):
    data = json.loads(members["data.json"]) | {"format_version": version}
    with pytest.raises(SavedFileError, match="format_version"):
        MPDQN.load(io.BytesIO(joined(members | {"data.json": json.dumps(data)})))


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("q.optimizer:step", -1, "must not be negative"),
        ("q.optimizer:v/output/kernel", -1, "must not be negative"),
        ("q:output/kernel", 3e38, "diverged"),
        ("q.optimizer:m/output/kernel", 1e30, "diverged"),
    ],
)
def test_what_no_optimiser_has_is_refused(members, name, value, message):
    arrays = read_npz(members["arrays.npz"], "it")
    arrays[name] = np.full_like(arrays[name], value)
    with pytest.raises(SavedFileError, match=message):
        MPDQN.load(io.BytesIO(joined(members | {"arrays.npz": npz_bytes(arrays)})))


@pytest.mark.parametrize(
    "policy_kwargs",
    [{"fourier_order": 10**9}, {"fourier_order": 9, "fourier_interactions": 3}, {"fourier_observations": [0, 10**12]}],
    ids=str,
)
def test_features_beyond_the_weights_are_refused_before_they_are_made(members_of_qpamdp, policy_kwargs):
    data = json.loads(members_of_qpamdp["data.json"])
    data["settings"]["policy_kwargs"] = policy_kwargs
    content = joined(members_of_qpamdp | {"data.json": json.dumps(data)})
    tracemalloc.start()
    try:
        with pytest.raises(SavedFileError):
            QPAMDP.load(io.BytesIO(content))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20e6

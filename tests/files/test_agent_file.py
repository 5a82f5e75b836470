"""Saving and loading: the same agent comes back, training goes on bit for bit, and no file runs code or half-loads."""

import copy
import io
import json
import sys
import zipfile

import cloudpickle
import keras
import numpy as np
import pytest
from gymnasium import spaces
from toy_environments import Corridor, Target

from pamdp_agents import MPDQN, PDQN
from pamdp_agents.exploration import GaussianNoise
from pamdp_agents.files import SavedFileError
from pamdp_agents.files.archive import FORMAT_VERSION
from pamdp_agents.files.space_json import space_from_json, space_to_json

SMALL = {"policy_kwargs": {"net_arch": [16]}, "learning_starts": 50, "batch_size": 16, "buffer_size": 500}
NOISE = {"name": "ornstein_uhlenbeck", "sigma": 0.2}


@pytest.fixture(scope="module")
def trained():
    """An agent in the middle of an episode, with noise that remembers."""
    agent = MPDQN("MlpPolicy", "pamdp/Platform-v0", seed=0, action_noise=NOISE, **SMALL)
    return agent.learn(203)


@pytest.fixture
def saved(trained, tmp_path):
    trained.save(tmp_path / "agent")
    return tmp_path / "agent.zip"


def edited(path, member, change):
    """Rewrites one member of a saved file; a change that returns None leaves it out."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members[member] = change(members.get(member))
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            if content is not None:
                archive.writestr(name, content)


def edited_data(path, **changes):
    edited(path, "data.json", lambda content: json.dumps(json.loads(content) | changes))


def test_a_loaded_agent_predicts_identically(trained, saved):
    loaded = MPDQN.load(saved)
    observations = np.random.default_rng(0).uniform(0, 1, (50, 9))
    for own, other in zip(
        trained.predict(observations, deterministic=True)[0],
        loaded.predict(observations, deterministic=True)[0],
        strict=True,
    ):
        assert own[0] == other[0]
        np.testing.assert_array_equal(np.concatenate(own[1]), np.concatenate(other[1]))


def test_a_loaded_agent_has_the_settings_and_the_progress(trained, saved):
    loaded = MPDQN.load(saved)
    for name, value in trained.settings().items():
        if name != "action_noise":
            assert getattr(loaded, name) == value, name
    assert loaded.action_noise.get_config() == trained.action_noise.get_config()
    for name in ("num_timesteps", "exploration_rate", "_episode_num", "_n_updates", "ep_info_buffer"):
        assert getattr(loaded, name) == getattr(trained, name), name
    assert loaded.env is None


@pytest.mark.parametrize("together, seed", [(False, 0), (True, None)])
def test_training_continues_bit_for_bit(tmp_path, together, seed):
    agent = MPDQN(
        "MlpPolicy",
        "pamdp/Platform-v0",
        seed=seed,
        action_noise=NOISE,
        actor_loss_weighting="sum" if seed == 0 else "random_weighted",
        **SMALL,
    ).learn(203)
    while not agent.environments.episode_lengths[0]:
        agent.learn(1, reset_num_timesteps=False)
    # Now in the middle of an episode.
    agent.save(tmp_path / "agent", include=["replay_buffer"] if together else None)
    agent.save_replay_buffer(tmp_path / "replay")
    env = copy.deepcopy(agent.env.envs[0])

    agent.learn(100, reset_num_timesteps=False)
    loaded = MPDQN.load(tmp_path / "agent", env=env, force_reset=False)
    if not together:
        loaded.load_replay_buffer(tmp_path / "replay")
    loaded.learn(100, reset_num_timesteps=False)

    np.testing.assert_array_equal(loaded.learner.state.numpy(), agent.learner.state.numpy())
    np.testing.assert_array_equal(loaded.replay_buffer.rows, agent.replay_buffer.rows)
    assert [e["r"] for e in loaded.ep_info_buffer] == [e["r"] for e in agent.ep_info_buffer]


def test_a_suffix_is_added_and_folders_are_made_as_in_sb3(trained, tmp_path):
    trained.save(tmp_path / "new" / "folder" / "agent")
    trained.save(str(tmp_path / "other.sav"))
    assert [p.name for p in (tmp_path / "new" / "folder").iterdir()] == ["agent.zip"]
    assert MPDQN.load(tmp_path / "new" / "folder" / "agent.zip").num_timesteps == 203
    assert MPDQN.load(str(tmp_path / "other.sav")).num_timesteps == 203


def test_files_in_memory_work(trained):
    file = io.BytesIO()
    trained.save(file)
    file.seek(0)
    assert MPDQN.load(file).num_timesteps == 203


def test_settings_can_be_changed_on_load_and_left_out_on_save(trained, tmp_path):
    trained.save(tmp_path / "agent", exclude=["batch_size"])
    loaded = MPDQN.load(tmp_path / "agent", learning_rate=0.5, custom_objects={"tau": 0.25})
    assert (loaded.learning_rate, loaded.tau, loaded.batch_size) == (0.5, 0.25, 128)
    with pytest.raises(TypeError, match="learning_rat"):
        MPDQN.load(tmp_path / "agent", learning_rat=0.5)
    for name in ("batchsize", "policy"):
        with pytest.raises(ValueError, match="exclude takes settings that have a default"):
            trained.save(tmp_path / "agent", exclude=[name])


def test_parameters_can_be_read_and_written(trained, saved):
    fresh = MPDQN("MlpPolicy", "pamdp/Platform-v0", seed=1, **SMALL)
    fresh.set_parameters(trained.get_parameters())
    np.testing.assert_array_equal(fresh.learner.state.numpy(), trained.learner.state.numpy())
    fresh = MPDQN("MlpPolicy", "pamdp/Platform-v0", seed=1, **SMALL)
    fresh.set_parameters(saved)
    np.testing.assert_array_equal(fresh.learner.state.numpy(), trained.learner.state.numpy())


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda p: p.pop("q"), r"missing: \['q'\]"),
        (lambda p: p.update(critic={}), r"unknown: \['critic'\]"),
        (lambda p: p["q"].pop("output/bias"), "'q' have the shapes"),
        (lambda p: p["q"].update({"output/bias": np.zeros(7)}), r"\(7,\)"),
    ],
)
def test_wrong_parameters_are_refused_and_change_nothing(trained, change, message):
    parameters = trained.get_parameters()
    change(parameters)
    before = trained.learner.state.numpy().copy()
    with pytest.raises(ValueError, match=message):
        trained.set_parameters(parameters)
    np.testing.assert_array_equal(trained.learner.state.numpy(), before)


# ------------------------------------------------------------------ damaged files


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no saved agent at .*nothing\.zip"):
        MPDQN.load(tmp_path / "nothing")


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_refused(saved, fraction):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(fraction * len(content))])
    with pytest.raises(SavedFileError, match="damaged or was cut short"):
        MPDQN.load(saved)


def test_a_file_that_is_no_zip_is_refused(tmp_path):
    (tmp_path / "agent.zip").write_text("hello")
    with pytest.raises(SavedFileError, match="not a whole zip file"):
        MPDQN.load(tmp_path / "agent.zip")


def test_flipped_bits_are_noticed(saved):
    whole = saved.read_bytes()
    middle = whole.index(b"arrays.npz") + 2000
    for position in range(middle, len(whole) - 2000, len(whole) // 40):
        content = bytearray(whole)
        content[position] ^= 0xFF
        saved.write_bytes(content)
        with pytest.raises(SavedFileError, match="damaged"):
            MPDQN.load(saved)


@pytest.mark.parametrize("member", ["data.json", "arrays.npz"])
def test_a_missing_member_is_named(saved, member):
    edited(saved, member, lambda content: None)
    with pytest.raises(SavedFileError, match=f"has no {member}"):
        MPDQN.load(saved)


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b'{"format_version": 1}', b"\xff\xfe"])
def test_damaged_json_is_refused(saved, content):
    edited(saved, "data.json", lambda _: content)
    with pytest.raises(SavedFileError, match="damaged"):
        MPDQN.load(saved)


@pytest.mark.parametrize("key", ["settings", "objects", "observation_space", "action_space", "progress", "agent"])
@pytest.mark.parametrize("value", [None, 3, "x", [1], [[1]], {"type": "Box"}, {"a": 1}], ids=repr)
def test_tampered_entries_are_refused(saved, key, value):
    edited_data(saved, **{key: value})
    with pytest.raises(SavedFileError):
        MPDQN.load(saved)


@pytest.mark.parametrize(
    "key, name, value",
    [
        ("settings", "tau", 5),
        ("settings", "stats_window_size", 10**30),
        ("settings", "learning_rate", 10**400),
        ("settings", "buffer_size", 10**15),
        ("settings", "policy_kwargs", {"activation_fn": "zzz"}),
        (
            "settings",
            "policy_kwargs",
            {"activation_fn": {"module": "os", "class_name": "function", "config": "system"}},
        ),
        ("settings", "policy_kwargs", {"q_output_initializer": {"module": "os", "class_name": "system"}}),
        ("settings", "action_noise", {"name": "gaussian", "sigma": "x"}),
        ("action_space", "type", "MultiBinary"),
        ("observation_space", "shape", [10**30]),
        ("progress", "num_timesteps", "x"),
        ("progress", "num_timesteps", -50),
        ("progress", "exploration_rate", float("nan")),
        ("progress", "noise", [0.0] * 4),
        ("progress", "noise", 3),
        ("progress", "rng", [{"state": 10**60}] * 3),
        ("progress", "ep_info_buffer", [3]),
    ],
    ids=str,
)
def test_tampered_values_are_refused(saved, key, name, value):
    with zipfile.ZipFile(saved) as archive:
        entry = json.loads(archive.read("data.json"))[key]
    edited_data(saved, **{key: entry | {name: value}})
    with pytest.raises(SavedFileError, match="damaged"):
        MPDQN.load(saved)


def test_a_file_that_names_unknown_classes_is_refused_for_that_and_nothing_is_imported(saved):
    seed = {"module": "antigravity", "class_name": "x", "config": {}}
    with zipfile.ZipFile(saved) as archive:
        settings = json.loads(archive.read("data.json"))["settings"]
    settings["policy_kwargs"] = {"q_output_initializer": {"class_name": "RandomNormal", "config": {"seed": seed}}}
    edited_data(saved, settings=settings)
    with pytest.raises(SavedFileError, match="names what this program does not know: 'x' of module 'antigravity'"):
        MPDQN.load(saved)
    assert "antigravity" not in sys.modules


def test_deeply_nested_json_is_refused(saved):
    edited(saved, "data.json", lambda _: b"[" * 100_000)
    with pytest.raises(SavedFileError, match="damaged"):
        MPDQN.load(saved)


def test_compressed_members_are_refused_since_they_could_unpack_to_anything(saved):
    with zipfile.ZipFile(saved) as archive:
        data = archive.read("data.json")
    with zipfile.ZipFile(saved, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.json", data)
        archive.writestr("arrays.npz", bytes(10**6))
    with pytest.raises(SavedFileError, match="compressed"):
        MPDQN.load(saved)


@pytest.mark.parametrize("name", ["q:output/kernel", "actor.optimizer:step", "last_observation", "episode_returns"])
def test_numbers_that_are_not_finite_are_refused(saved, name):
    def poisoned(content):
        with np.load(io.BytesIO(content)) as arrays:
            arrays = {key: np.full_like(array, np.nan) if key == name else array for key, array in arrays.items()}
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        return buffer.getvalue()

    edited(saved, "arrays.npz", poisoned)
    with pytest.raises(SavedFileError, match="finite"):
        MPDQN.load(saved)


@pytest.mark.parametrize(
    "name, value",
    [
        ("pending_resets", np.zeros(1)),
        ("last_observation", np.zeros((1, 9), np.float64)),
        ("episode_returns", np.zeros(1, int)),
        ("episode_lengths", np.array([-1])),
        ("last_stored_observation", np.zeros((2, 9), "f")),
    ],
    ids=str,
)
def test_where_the_environments_stand_is_checked(saved, name, value):
    def changed(content):
        with np.load(io.BytesIO(content)) as arrays:
            arrays = dict(arrays) | {name: value}
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        return buffer.getvalue()

    edited(saved, "arrays.npz", changed)
    with pytest.raises(SavedFileError, match=f"damaged.*{name}"):
        MPDQN.load(saved)


def test_what_the_caller_gives_is_not_blamed_on_the_file(saved):
    with pytest.raises(ValueError, match="tau must be a finite number at least 0 and at most 1, got 7") as caught:
        MPDQN.load(saved, tau=7)
    assert not isinstance(caught.value, SavedFileError)
    with pytest.raises(TypeError, match="path must be a path or a binary file that is open"):
        MPDQN.load(b"abc")


def reshaped(content):
    with np.load(io.BytesIO(content)) as arrays:
        arrays = {name: np.zeros((3, 3), "f") if name == "q:output/kernel" else a for name, a in arrays.items()}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def test_weights_of_the_wrong_shape_are_refused(saved):
    edited(saved, "arrays.npz", reshaped)
    with pytest.raises(SavedFileError, match=r"output/kernel.*\(3, 3\)"):
        MPDQN.load(saved)


def test_another_environments_spaces_are_refused(saved):
    with pytest.raises(ValueError, match=r"(?s)env's observation space is .*17.*this agent was made for .*9"):
        MPDQN.load(saved, env="pamdp/Goal-v1")
    env = Target()
    env.action_space = spaces.Box(-1, 1, (2,))
    with pytest.raises(ValueError, match="env's action space is Box"):
        PDQN("MlpPolicy", Target(), **SMALL).set_env(env)


def test_settings_that_no_longer_exist_are_named_with_what_to_do(saved):
    with zipfile.ZipFile(saved) as archive:
        settings = json.loads(archive.read("data.json"))["settings"]
    edited_data(saved, settings=settings | {"momentum": 0.9}, versions={"pamdp-agents": "0.0.9"})
    with pytest.raises(
        SavedFileError, match=r"settings \['momentum'\], which MPDQN does not have .* 0\.0\.9; load it with"
    ):
        MPDQN.load(saved)


def test_a_newer_format_is_refused_with_the_version_to_install(saved):
    edited_data(saved, format_version=FORMAT_VERSION + 1, versions={"pamdp-agents": "9.9"})
    with pytest.raises(SavedFileError, match=r"format version 3, .* pamdp-agents 9\.9; upgrade"):
        MPDQN.load(saved)


def test_another_agents_file_is_refused_with_the_class_to_use(saved):
    with pytest.raises(SavedFileError, match=r"load it with MPDQN\.load"):
        PDQN.load(saved)


class Planted:
    """Unpickling this makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("declared", [False, True])
def test_a_planted_pickle_does_not_run(saved, tmp_path, declared):
    planted = tmp_path / "planted"
    edited(saved, "objects.pkl", lambda _: cloudpickle.dumps({"strategy": Planted(planted)}))
    if declared:
        edited_data(saved, objects=["strategy"])
        with pytest.raises(SavedFileError, match="trust=True"):
            MPDQN.load(saved)
        MPDQN.load(saved, custom_objects={"strategy": "zeroing"})
    else:
        MPDQN.load(saved)
    assert not planted.exists()


def test_pickled_arrays_do_not_run(saved, tmp_path):
    planted = tmp_path / "planted"
    buffer = io.BytesIO()
    np.savez(buffer, **{"q:output/kernel": np.array([Planted(planted)], dtype=object)})
    edited(saved, "arrays.npz", lambda _: buffer.getvalue())
    with pytest.raises(SavedFileError, match="damaged"):
        MPDQN.load(saved)
    assert not planted.exists()


def test_a_users_own_strategy_is_saved_and_loaded_only_with_trust(tmp_path):
    agent = MPDQN("MlpPolicy", Target(), strategy=lambda gradient, context: 2 * gradient, seed=0, **SMALL)
    agent.save(tmp_path / "agent")
    with pytest.raises(SavedFileError, match=r"\['strategy'\] as pickled Python objects"):
        MPDQN.load(tmp_path / "agent")
    assert MPDQN.load(tmp_path / "agent", trust=True).strategy(3.0, None) == 6.0
    replaced = MPDQN.load(tmp_path / "agent", custom_objects={"strategy": agent.strategy})
    assert replaced.strategy is agent.strategy


def test_paths_and_keras_objects_need_no_trust(tmp_path):
    initializer = keras.initializers.RandomNormal(stddev=0.5, seed=3)
    agent = MPDQN(
        "MlpPolicy",
        Target(),
        tensorboard_log=tmp_path / "logs",
        policy_kwargs={"net_arch": [8], "q_output_initializer": initializer},
    )
    agent.save(tmp_path / "agent")
    loaded = MPDQN.load(tmp_path / "agent")
    assert loaded.tensorboard_log is None  # a file does not say where to write
    again = MPDQN.load(tmp_path / "agent", tensorboard_log=tmp_path / "logs")
    assert again.tensorboard_log == str(tmp_path / "logs")
    assert loaded.policy_kwargs["q_output_initializer"]["config"] == {"mean": 0.0, "stddev": 0.5, "seed": 3}


def test_a_seed_given_to_load_is_used(saved):
    one, two, saved_one = MPDQN.load(saved, seed=7), MPDQN.load(saved, seed=7), MPDQN.load(saved)
    draws = [agent._explore_rng.random() for agent in (one, two, saved_one)]
    assert draws[0] == draws[1] != draws[2]


def test_a_noise_object_is_saved_as_its_configuration(tmp_path):
    MPDQN("MlpPolicy", Target(), action_noise=GaussianNoise(0.3), seed=0, **SMALL).save(tmp_path / "agent")
    assert MPDQN.load(tmp_path / "agent").action_noise.sigma == 0.3


# ------------------------------------------------------------------ writing


def test_a_path_that_cannot_be_written_says_so_and_leaves_nothing(trained, tmp_path):
    (tmp_path / "file").write_text("here")
    with pytest.raises(OSError, match="choose a path in a folder you may write to"):
        trained.save(tmp_path / "file" / "agent")
    (tmp_path / "folder.zip").mkdir()
    with pytest.raises(OSError, match="cannot write"):
        trained.save(tmp_path / "folder")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.zip"]
    assert list((tmp_path / "folder.zip").iterdir()) == []


def test_saving_again_replaces_the_file_and_leaves_no_other(trained, saved):
    trained.save(saved)
    assert [p.name for p in saved.parent.iterdir()] == ["agent.zip"]


def test_a_replay_buffer_of_another_agent_or_a_damaged_one_is_refused(trained, tmp_path):
    trained.save_replay_buffer(tmp_path / "replay")
    other = MPDQN("MlpPolicy", Corridor(), seed=0, **SMALL)
    with pytest.raises(ValueError, match="other observation or action spaces"):
        other.load_replay_buffer(tmp_path / "replay")
    (tmp_path / "replay.npz").write_bytes((tmp_path / "replay.npz").read_bytes()[:100])
    with pytest.raises(SavedFileError, match="damaged"):
        trained.load_replay_buffer(tmp_path / "replay")
    with pytest.raises(FileNotFoundError, match=r"nothing\.npz"):
        trained.load_replay_buffer(tmp_path / "nothing")


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(-1, 1, (2, 3)),
        spaces.Box(0, 255, (4, 4, 3), np.uint8),
        spaces.Box(np.array([-np.inf, 0.1]), np.array([1.0, np.inf]), dtype=np.float64),
        spaces.Box(0, 1, (0,)),
        spaces.Discrete(5, start=-2),
        spaces.MultiDiscrete([2, 3]),
        spaces.MultiBinary(4),
        spaces.Dict({"b": spaces.Discrete(2), "a": spaces.Box(0, 1, (1,))}),
        spaces.Tuple([spaces.Discrete(2), spaces.Tuple([spaces.Box(0, 1, (1,)), spaces.Box(0, 3, (2,))])]),
        spaces.OneOf([spaces.Discrete(1), spaces.Box(0, 1, (2,))]),
    ],
    ids=str,
)
def test_spaces_round_trip_through_json(space):
    restored = space_from_json(json.loads(json.dumps(space_to_json(space))))
    assert restored == space
    assert restored.dtype == space.dtype


def test_a_dict_of_observations_may_have_tuples_as_keys():
    space = spaces.Dict([(("camera", 1), spaces.Box(0, 1, (2,))), (("camera", 2), spaces.Discrete(2))])
    assert space_from_json(json.loads(json.dumps(space_to_json(space)))) == space
    with pytest.raises(TypeError, match="keys must be texts, numbers or tuples of these"):
        space_to_json(spaces.Dict([(frozenset("a"), spaces.Discrete(2))]))

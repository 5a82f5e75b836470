"""Every agent's files: the same agent comes back, training goes on bit for bit, and no file runs code or half-loads."""

import copy
import io
import json
import os
import zipfile

import cloudpickle
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from small_agents import (
    DICT,
    PLATFORM,
    STEPS,
    Task,
    differences,
    make,
    numbers,
    observations,
    refuses_several,
    those_of,
)

import pamdp_agents
from pamdp_agents.agents import AGENTS


@pytest.fixture
def saved(varied, tmp_path):
    varied.save(tmp_path / "agent")
    return tmp_path / "agent.zip"


def edited(path, **members):
    """Replaces members of a saved file, `data` by its changes and the others by their content."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    content["data.json"] = json.dumps(json.loads(content["data.json"]) | members.pop("data", {}))
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in (content | {name.replace("_", "."): value for name, value in members.items()}).items():
            archive.writestr(name, value)


def stored(agent, folder):
    """The content of the replay buffer."""
    agent.save_replay_buffer(folder / "stored")
    with np.load(folder / "stored.npz") as arrays:
        return dict(arrays)


def test_a_loaded_agent_predicts_identically(agent_class, varied, saved):
    loaded = agent_class.load(saved)
    rows = observations(varied)
    for deterministic in (True, False):
        ours, theirs = (
            agent.predict(rows, deterministic=deterministic)[0] for agent in (agent_class.load(saved), loaded)
        )
        np.testing.assert_array_equal([numbers(action) for action in ours], [numbers(action) for action in theirs])
    actions = [[numbers(a) for a in agent.predict(rows, deterministic=True)[0]] for agent in (varied, loaded)]
    np.testing.assert_array_equal(*actions)


def test_a_loaded_agent_has_the_weights_and_the_progress(agent_class, trained, tmp_path):
    trained.save(tmp_path / "agent")
    loaded = agent_class.load(tmp_path / "agent")
    assert type(loaded) is agent_class
    assert differences(loaded.get_parameters(), trained.get_parameters()) == []
    assert loaded.num_timesteps == trained.num_timesteps == STEPS
    assert list(loaded.ep_info_buffer) == list(trained.ep_info_buffer)
    assert (loaded.observation_space, loaded.action_space) == (trained.observation_space, trained.action_space)
    assert loaded.env is None


@pytest.mark.parametrize("n_envs, together", [(1, True), (3, False)], ids=["one file", "three environments, two files"])
def test_training_goes_on_bit_for_bit(agent_class, tmp_path, n_envs, together):
    env = Task(DICT)
    if n_envs > 1:
        env = SyncVectorEnv([lambda: Task(DICT)] * n_envs, autoreset_mode=AutoresetMode.SAME_STEP)
        if refuses_several(agent_class, env):
            return
    noise = those_of(agent_class, {"action_noise": {"name": "ornstein_uhlenbeck", "sigma": 0.2}})
    agent = make(agent_class, env, "MultiInputPolicy", learning_rate={"start": 1e-2, "end": 0.0}, **noise).learn(STEPS)
    has_buffer = hasattr(agent, "replay_buffer")
    agent.save(tmp_path / "agent", include=["replay_buffer"] if has_buffer and together else None)
    if has_buffer:
        agent.save_replay_buffer(tmp_path / "replay")
    env = copy.deepcopy(agent.env if n_envs > 1 else agent.env.envs[0])  # in the middle of episodes

    agent.learn(24, reset_num_timesteps=False)
    loaded = agent_class.load(tmp_path / "agent", env=env, force_reset=False)
    if has_buffer and not together:
        loaded.load_replay_buffer(tmp_path / "replay")
    loaded.learn(24, reset_num_timesteps=False)

    assert loaded.num_timesteps == agent.num_timesteps == STEPS + 24
    assert differences(loaded.get_parameters(), agent.get_parameters()) == []
    assert [(e["r"], e["l"]) for e in loaded.ep_info_buffer] == [(e["r"], e["l"]) for e in agent.ep_info_buffer]
    if has_buffer:
        ours, theirs = stored(agent, tmp_path), stored(loaded, tmp_path)
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            np.testing.assert_array_equal(value, theirs[name], err_msg=name)


def test_without_its_replay_buffer_training_goes_on_too(agent_class, trained, tmp_path):
    trained.save(tmp_path / "agent")
    loaded = agent_class.load(tmp_path / "agent", env=PLATFORM).learn(24, reset_num_timesteps=False)
    assert loaded.num_timesteps == STEPS + 24
    assert differences(loaded.get_parameters(), trained.get_parameters())


def test_open_files_and_paths_of_any_suffix_are_taken(agent_class, varied, tmp_path):
    file = io.BytesIO()
    varied.save(file)
    with open(tmp_path / "opened", "wb") as opened:
        varied.save(opened)
    varied.save(str(tmp_path / "new" / "folder" / "agent"))
    varied.save(tmp_path / "other.sav")
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["agent.zip"]
    file.seek(0)
    with open(tmp_path / "opened", "rb") as opened:
        for source in (
            file,
            opened,
            tmp_path / "new/folder/agent",
            tmp_path / "new/folder/agent.zip",
            str(tmp_path / "other.sav"),
        ):
            loaded = agent_class.load(source)
            assert differences(loaded.get_parameters(), varied.get_parameters()) == []


# -------------------------------------------------------------------- what is refused


def test_a_file_of_another_agent_is_refused_with_the_class_to_use(agent_class, agent_name, saved):
    others = [getattr(pamdp_agents, name) for name in AGENTS.values() if name != agent_class.__name__]
    assert others
    for other in others:
        with pytest.raises(
            ValueError, match=rf"class {agent_class.__name__}: load it with {agent_class.__name__}\.load"
        ):
            other.load(saved)


def test_another_environments_spaces_are_refused(agent_class, saved):
    with pytest.raises(ValueError, match=r"(?s)env's observation space is .* this agent was made for"):
        agent_class.load(saved, env=Task())


def test_a_missing_or_damaged_file_is_named(agent_class, saved, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.zip"):
        agent_class.load(tmp_path / "nothing")
    content = saved.read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"hello", content.replace(b'"progress"', b'"processs"')):
        (tmp_path / "damaged.zip").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"damaged"):
            agent_class.load(tmp_path / "damaged.zip")


class Planted:
    """Unpickling this makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_planted_pickle_runs_only_with_trust(agent_class, saved, tmp_path):
    planted = tmp_path / "planted"
    edited(saved, objects_pkl=cloudpickle.dumps({"learning_rate": Planted(planted)}))
    agent_class.load(saved)
    edited(saved, data={"objects": ["learning_rate"]})
    with pytest.raises(ValueError, match=r"learning_rate.*trust=True"):
        agent_class.load(saved)
    agent_class.load(saved, custom_objects={"learning_rate": 1e-3})
    assert not planted.exists()
    with pytest.raises((ValueError, TypeError)):  # what is planted is no learning rate
        agent_class.load(saved, trust=True)
    assert planted.exists()  # or the lines above would show nothing


def test_pickled_arrays_do_not_run_with_or_without_trust(agent_class, varied, saved, tmp_path):
    group = next(iter(varied.get_parameters()))
    arrays = io.BytesIO()
    np.savez(arrays, **{f"{group}:output/kernel": np.array([Planted(tmp_path / "planted")], dtype=object)})
    edited(saved, arrays_npz=arrays.getvalue())
    for trust in (False, True):
        with pytest.raises(ValueError, match="damaged"):
            agent_class.load(saved, trust=trust)
    assert not (tmp_path / "planted").exists()


def test_a_replay_buffer_of_other_spaces_is_refused_where_there_is_one(agent_class, trained, tmp_path):
    if not hasattr(trained, "replay_buffer"):
        with pytest.raises(ValueError, match=r"replay.buffer"):
            trained.save(tmp_path / "agent", include=["replay_buffer"])
        return
    trained.save_replay_buffer(tmp_path / "replay")
    with pytest.raises(ValueError, match="other observation or action spaces"):
        make(agent_class, Task()).load_replay_buffer(tmp_path / "replay")


# -------------------------------------------------------------------- weights


def test_parameters_can_be_taken_and_given(agent_class, varied, saved):
    given = varied.get_parameters()
    assert all(isinstance(value, np.ndarray) for weights in given.values() for value in weights.values())
    for source in (given, saved):
        fresh = make(agent_class, PLATFORM, seed=1)
        assert differences(fresh.get_parameters(), given)
        fresh.set_parameters(source)
        assert differences(fresh.get_parameters(), given) == []
    rows = observations(varied)
    actions = [[numbers(a) for a in agent.predict(rows, deterministic=True)[0]] for agent in (varied, fresh)]
    np.testing.assert_array_equal(*actions)
    for value in given.values():  # a copy: what is done to it does not reach the agent
        for array in value.values():
            array[...] = 7
    assert differences(varied.get_parameters(), given)


def test_wrong_parameters_are_refused_and_change_nothing(agent_class, varied):
    before = varied.get_parameters()

    def first(parameters):
        group = next(iter(parameters))
        return group, next(iter(parameters[group]))

    def reshaped(parameters):
        group, name = first(parameters)
        parameters[group][name] = np.zeros((3, 3, 3), "f")

    def not_finite(parameters):
        group, name = first(parameters)
        parameters[group][name] *= np.nan

    for change, message in (
        (reshaped, r"\(3, 3, 3\)"),
        (not_finite, "finite"),
        (lambda parameters: parameters[first(parameters)[0]].pop(first(parameters)[1]), "shapes"),
        (lambda parameters: parameters.pop(first(parameters)[0]), "missing"),
        (lambda parameters: parameters.update(nonsense={}), "unknown.*nonsense"),
    ):
        parameters = varied.get_parameters()
        # Changes the last group too, which must not be taken over either.
        last = list(parameters)[-1]
        parameters[last] = {name: value + 1 for name, value in parameters[last].items()}
        change(parameters)
        with pytest.raises(ValueError, match=message):
            varied.set_parameters(parameters)
        assert differences(varied.get_parameters(), before) == []

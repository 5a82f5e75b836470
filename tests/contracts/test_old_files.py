"""Files of earlier versions go on loading, acting and training as they did; tests/data/saved_by_0_1_0 says which."""

import hashlib
import json
import platform
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from small_agents import PLATFORM, numbers

import pamdp_agents

FOLDER = Path(__file__).parents[1] / "data" / "saved_by_0_1_0"
RECORDED = json.loads((FOLDER / "recorded.json").read_text())


def machine():
    """What the last bits depend on, as the README's program notes it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = [*cpuinfo.read_text().splitlines(), ""] if cpuinfo.is_file() else [""]
    first = lines[: lines.index("")]
    kept = sorted(line for line in first if line.startswith(("model", "cpu family", "stepping", "flags")))
    processor = hashlib.sha256("\n".join(kept).encode()).hexdigest()
    return [processor, platform.python_version(), np.__version__, tf.__version__]


def settings_in(file):
    with zipfile.ZipFile(file) as archive:
        return json.loads(archive.read("data.json"))["settings"]


@pytest.fixture(scope="module", params=list(RECORDED["agents"]))
def old(request):
    """The class of an agent, its file, and what was recorded of it."""
    name = request.param
    return getattr(pamdp_agents, name), FOLDER / f"{name.lower()}.zip", RECORDED["agents"][name]


def test_an_old_file_has_its_settings_and_progress(old):
    agent_class, file, _ = old
    agent = agent_class.load(file)
    assert agent.num_timesteps == 60
    assert sum(episode["l"] for episode in agent.ep_info_buffer) in (58, 59)
    for name, value in settings_in(file).items():
        if value is None or (isinstance(value, bool | int | float | str) and name != "device"):
            assert agent.settings()[name] == value, name
    again = agent_class.load(file, learning_rate=0.5)
    assert again.learning_rate == 0.5


def test_an_old_agent_acts_as_it_did(old):
    agent_class, file, recorded = old
    agent = agent_class.load(file)
    observations = np.array(RECORDED["observations"], agent.observation_space.dtype)
    actions, _ = agent.predict(observations, deterministic=True)
    actions, expected = np.array([numbers(action) for action in actions]), np.array(recorded["actions"])
    np.testing.assert_array_equal(actions[:, 0], expected[:, 0])
    assert len(set(expected[:, 0])) > 1
    np.testing.assert_allclose(actions, expected, rtol=1e-6)


def test_an_old_agent_goes_on_training_as_it_did(old):
    agent_class, file, recorded = old
    agent = agent_class.load(file, env=PLATFORM)
    before = agent.get_parameters()
    agent.learn(30, reset_num_timesteps=False)
    assert agent.num_timesteps == 90
    after = agent.get_parameters()
    for group, weights in recorded["weights_after"].items():
        assert after[group].keys() == weights.keys()
        for name, value in weights.items():
            assert not np.allclose(before[group][name], value, rtol=1e-5, atol=1e-6), "this would show nothing"
            np.testing.assert_allclose(after[group][name], value, rtol=1e-5, atol=1e-6, err_msg=f"{group}: {name}")
    if machine() == RECORDED["machine"]:  # another rounds differently
        everything = b"".join(w.tobytes() for _, named in sorted(after.items()) for _, w in sorted(named.items()))
        assert hashlib.sha256(everything).hexdigest() == recorded["sha256_after"]


def test_an_old_replay_buffer_loads_from_a_file_of_its_own(tmp_path):
    file = FOLDER / "pdqn.zip"
    with_its_own = pamdp_agents.PDQN.load(file)
    other = pamdp_agents.PDQN(env=PLATFORM, **settings_in(file))
    other.load_replay_buffer(FOLDER / "pdqn_replay")
    with_its_own.save_replay_buffer(tmp_path / "one")
    other.save_replay_buffer(tmp_path / "other")
    with np.load(tmp_path / "one.npz") as one, np.load(tmp_path / "other.npz") as two:
        assert one.keys() == two.keys()
        assert max(value.size for value in one.values()) >= 60 * 9  # 60 transitions
        for name, value in one.items():
            np.testing.assert_array_equal(value, two[name], err_msg=name)

"""Files are whole or not there, links and modes stay, and what killed writers left is removed."""

import errno
import io
import os
import stat
import subprocess
import sys

import numpy as np
import pytest
from toy_environments import Target

from pamdp_agents import MPDQN
from pamdp_agents.files import SavedFileError, atomic
from pamdp_agents.files.atomic import write_bytes, write_file, write_folder
from pamdp_agents.files.streams import with_suffix

SMALL = {"policy_kwargs": {"net_arch": [4]}, "learning_starts": 5, "batch_size": 4, "buffer_size": 20, "seed": 0}


@pytest.fixture(scope="module")
def agent():
    return MPDQN("MlpPolicy", Target(), **SMALL).learn(12)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def killed(code, *arguments):
    """Runs a program that kills itself."""
    program = f"import os, signal, sys\nfrom pathlib import Path\nfrom pamdp_agents.files import atomic\n{code}"
    done = subprocess.run([sys.executable, "-c", program, *map(str, arguments)], capture_output=True)
    assert done.returncode < 0, done.stderr.decode()


DIE = "os.kill(os.getpid(), signal.SIGKILL)"


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
def test_what_a_killed_writer_left_is_removed_by_the_next_and_a_living_ones_is_not(tmp_path):
    path = tmp_path / "agent.zip"
    killed(f"atomic.os.replace = lambda *_: {DIE}\natomic.write_bytes(Path(sys.argv[1]), b'half')", path)
    [left] = names(tmp_path)
    assert left.startswith(".agent.zip.")
    living = left.rpartition("-")[0].rpartition("-")[0] + f"-{os.getppid()}-0"
    (tmp_path / living).write_bytes(b"")
    (tmp_path / ".agent.zip.backup").write_bytes(b"the user's")
    write_bytes(path, b"whole")
    assert names(tmp_path) == sorted([".agent.zip.backup", "agent.zip", living])
    assert path.read_bytes() == b"whole"


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
def test_a_folder_that_a_killed_writer_had_moved_away_is_not_lost(tmp_path):
    path = tmp_path / "policy"
    write_folder(path, lambda folder: (folder / "old.txt").write_text("old"))
    code = f"""
rename = os.rename
atomic.os.rename = lambda one, two: rename(one, two) if one == Path(sys.argv[1]) else {DIE}
atomic.write_folder(Path(sys.argv[1]), lambda folder: None)
"""
    for put_back in (atomic.restore_folder, lambda path: write_bytes(path.with_name("other"), b"")):
        killed(code, path)
        assert not path.exists()
        put_back(path)
        assert (path / "old.txt").read_text() == "old"
    assert names(tmp_path) == ["other", "policy"]


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
def test_any_writer_to_a_folder_removes_what_others_left_there(tmp_path):
    """Checkpoints have another name each time."""
    dying = f"atomic.os.replace = lambda *_: {DIE}\nplace = Path(sys.argv[1])\n"
    for name, write in (
        ("step_50.zip", "atomic.write_bytes(place, b'half')"),
        ("é" * 127, "atomic.write_bytes(place, b'half')"),
        ("two\nlines", "atomic.write_bytes(place, b'half')"),
        ("curve.png", "atomic.write_file(place, lambda file: file.write_text('half'))"),
    ):
        killed(dying + write, tmp_path / name)
        [left] = names(tmp_path)
        assert left.startswith(".")
        write_bytes(tmp_path / "step_100.zip", b"whole")
        assert names(tmp_path) == ["step_100.zip"]
        (tmp_path / "step_100.zip").unlink()


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, OSError("ffmpeg has ended")])
def test_a_file_that_something_else_could_not_write_is_that_of_before(tmp_path, error):
    def write(file):
        file.write_bytes(b"half")
        raise error

    path = tmp_path / "new" / "video.mp4"
    for before in ([], ["video.mp4"]):
        with pytest.raises(error if isinstance(error, type) else OSError) as raised:
            write_file(path, write)
        if not isinstance(error, type):
            assert str(raised.value).startswith(f"cannot write {path} (ffmpeg has ended)")
        assert names(path.parent) == before
        write_file(path, lambda file: file.write_bytes(b"whole"))
    assert path.read_bytes() == b"whole"


@pytest.mark.skipif(os.name != "posix", reason="links and modes")
def test_links_and_modes_stay_where_something_else_writes(tmp_path):
    target, link = tmp_path / "real.png", tmp_path / "curve.png"
    target.write_bytes(b"old")
    target.chmod(0o600)
    link.symlink_to(target)
    written = []
    write_file(link, lambda file: written.append((file.name, file.parent.stat().st_mode)) or file.write_bytes(b"new"))
    [(name, mode)] = written
    assert name == "curve.png" and stat.S_IMODE(mode) == 0o700, "nobody else reads it meanwhile"
    assert link.is_symlink() and target.read_bytes() == b"new"
    assert target.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_write_stays_an_interrupt_and_leaves_nothing(tmp_path, monkeypatch, interrupt, before):
    replace = os.replace

    def interrupted(*arguments):
        if not before:
            replace(*arguments)
        raise interrupt

    monkeypatch.setattr(atomic.os, "replace", interrupted)
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(interrupt):
        write_bytes(tmp_path / "file", b"new")
    assert names(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == (b"old" if before else b"new")


def test_a_full_disk_is_named_and_the_old_file_stays(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic.os, "replace", full)
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(OSError, match=r"cannot write .*file .*No space left"):
        write_bytes(tmp_path / "file", b"new")
    assert (names(tmp_path), (tmp_path / "file").read_bytes()) == (["file"], b"old")


@pytest.mark.skipif(os.name != "posix", reason="links and modes")
def test_links_and_modes_stay(tmp_path):
    target, link = tmp_path / "real" / "agent.zip", tmp_path / "agent.zip"
    target.parent.mkdir()
    target.write_bytes(b"old")
    target.chmod(0o600)
    link.symlink_to(target)
    write_bytes(link, b"new")
    assert link.is_symlink() and target.read_bytes() == b"new"
    assert target.stat().st_mode & 0o777 == 0o600
    write_bytes(tmp_path / "fresh", b"")
    (tmp_path / "plain").write_bytes(b"")
    assert (tmp_path / "fresh").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("name", ["a" * 251, "a" * 255, "é" * 127], ids=["251", "255", "accents"])
def test_names_may_be_as_long_as_the_system_lets_them(tmp_path, name):
    write_bytes(tmp_path / name, b"whole")
    assert names(tmp_path) == [name]


@pytest.mark.parametrize(
    "name, file",
    [
        ("agent", "agent.zip"),
        ("v1.2", "v1.2.zip"),
        ("a.b.zip", "a.b.zip"),
        ("lr0.001", "lr0.001.zip"),
        ("x.best", "x.best"),
    ],
)
def test_any_name_is_loaded_by_the_name_it_was_saved_by(agent, tmp_path, name, file):
    (tmp_path / "v1.2").write_bytes(b"another file of the user's")
    agent.save(tmp_path / name)
    assert names(tmp_path) == sorted({"v1.2", file})
    assert MPDQN.load(tmp_path / name).num_timesteps == 12
    agent.save_replay_buffer(tmp_path / name)
    agent.load_replay_buffer(tmp_path / name)
    assert (tmp_path / "v1.2").read_bytes() == b"another file of the user's"


@pytest.mark.parametrize("path", [None, 3, b"agent", ["agent"], "", ".", "..", "a/..", "a\0b"], ids=repr)
def test_what_names_no_file_is_refused_by_every_method(agent, path):
    calls = (agent.save, MPDQN.load, agent.set_parameters, agent.save_replay_buffer, agent.load_replay_buffer)
    for call in (*calls, agent.export):
        with pytest.raises((TypeError, ValueError), match="path must"):
            call(path)


def test_a_suffix_begins_with_a_letter():
    given = ("agent", "v1.2", "v1.2b", "a.zip", "a.pkl", ".hidden", "a.")
    assert [with_suffix(name, ".zip").name for name in given] == [
        "agent.zip",
        "v1.2.zip",
        "v1.2b.zip",
        "a.zip",
        "a.pkl",
        ".hidden.zip",
        "a..zip",
    ]


class Stream(io.RawIOBase):
    """A file that cannot be moved in, such as a pipe."""

    def __init__(self, content):
        self._file = io.BytesIO(content)

    def readable(self):
        return True

    def readinto(self, buffer):
        return self._file.readinto(buffer)


def test_what_a_stream_takes_in_parts_is_written_whole(agent):
    class Raw(io.RawIOBase):
        def writable(self):
            return True

        def write(self, part):
            taken.extend(bytes(part)[:1000])
            return min(len(part), 1000)

    taken, whole = bytearray(), io.BytesIO()
    agent.save_replay_buffer(Raw())
    agent.save_replay_buffer(whole)
    assert len(taken) == len(whole.getvalue()) > 1000
    MPDQN("MlpPolicy", Target(), **SMALL).load_replay_buffer(io.BytesIO(taken))


def test_open_files_need_no_seek(agent, tmp_path):
    file, replay = io.BytesIO(), io.BytesIO()
    agent.save(file)
    agent.save_replay_buffer(replay)
    loaded = MPDQN.load(file)
    loaded.load_replay_buffer(replay)
    np.testing.assert_array_equal(loaded.replay_buffer.rows, agent.replay_buffer.rows)
    loaded.set_parameters(file)
    assert MPDQN.load(Stream(file.getvalue())).num_timesteps == 12
    loaded.load_replay_buffer(Stream(replay.getvalue()))
    with (tmp_path / "both").open("w+b") as disk:
        agent.save_replay_buffer(disk)
        loaded.load_replay_buffer(disk)
    assert len(loaded.replay_buffer) == 12


def test_files_of_text_and_closed_ones_are_refused(agent, tmp_path):
    closed = io.BytesIO()
    closed.close()
    for file, kind in ((io.StringIO(), TypeError), (closed, ValueError)):
        for call in (agent.save, MPDQN.load, agent.save_replay_buffer, agent.load_replay_buffer):
            with pytest.raises(kind, match=r"binary mode|closed"):
                call(file)


def test_a_diverged_agent_is_saved_and_called_diverged_on_load(tmp_path):
    agent = MPDQN("MlpPolicy", Target(), **SMALL)
    agent.learner.state = agent.learner.state * np.float32(np.nan)
    agent.save(tmp_path / "agent")
    with pytest.raises(SavedFileError, match="training has diverged"):
        MPDQN.load(tmp_path / "agent")

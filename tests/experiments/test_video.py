"""Videos and pictures are whole or not there, and an interruption keeps the frames until then."""

import os
import subprocess
import sys

import imageio.v3 as imageio
import numpy as np
import pytest

from pamdp_agents.experiments.plots import draw_learning_curve
from pamdp_agents.experiments.video import write_video

TABLE = "time/total_timesteps,rollout/ep_rew_mean\n10,1\n20,2\n"


def frames(count, stop=None):
    rng = np.random.default_rng(0)
    for _ in range(count):
        yield rng.integers(0, 255, (64, 64, 3), np.uint8)
    if stop is not None:
        raise stop


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", ["video.gif", "video.mp4"])
@pytest.mark.parametrize("stop", [KeyboardInterrupt(), RuntimeError("the environment broke")], ids=["ctrl-c", "error"])
def test_what_there_is_until_an_interruption_is_a_whole_video(tmp_path, name, stop):
    with pytest.raises(type(stop)):
        write_video(tmp_path / name, frames(5, stop), 30)
    assert names(tmp_path) == [name]
    assert len(list(imageio.imiter(tmp_path / name))) == 5


@pytest.mark.parametrize("name", ["video.gif", "video.mp4"])
def test_without_frames_there_is_no_video(tmp_path, name):
    (tmp_path / name).write_bytes(b"old")
    with pytest.raises(ValueError, match="there are no frames"):
        write_video(tmp_path / name, [], 30)
    with pytest.raises(RuntimeError, match="broke at once"):
        write_video(tmp_path / name, frames(0, RuntimeError("broke at once")), 30)
    assert (names(tmp_path), (tmp_path / name).read_bytes()) == ([name], b"old")


@pytest.mark.skipif(os.name != "posix", reason="limits the size of files")
@pytest.mark.parametrize("name", ["video.gif", "video.mp4"])
@pytest.mark.parametrize("count", [2, 100])
def test_a_video_that_does_not_fit_leaves_that_of_before(tmp_path, name, count):
    (tmp_path / name).write_bytes(b"old")
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "import numpy as np\n"
        "from pamdp_agents.experiments.video import write_video\n"
        "frames = np.random.default_rng(0).integers(0, 255, (int(sys.argv[2]), 64, 64, 3), np.uint8)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try:\n"
        "    write_video(Path(sys.argv[1]), frames, 30)\n"
        "except OSError as error:\n"
        "    print(error)\n"
    )
    arguments = [str(tmp_path / name), str(count)]
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    assert "cannot write" in done.stdout
    assert (names(tmp_path), (tmp_path / name).read_bytes()) == ([name], b"old")


@pytest.mark.parametrize("given, written", [("curve.svg", "curve.svg"), ("curve", "curve.png")])
def test_a_picture_that_cannot_be_drawn_leaves_that_of_before(tmp_path, monkeypatch, given, written):
    from matplotlib.figure import Figure

    def half(self, file, **options):
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    (tmp_path / "progress.csv").write_text(TABLE)
    draw_learning_curve(tmp_path / "progress.csv", tmp_path / given, "title")
    whole = (tmp_path / written).read_bytes()
    assert b"svg" in whole[:100] if given.endswith("svg") else whole.startswith(b"\x89PNG")
    monkeypatch.setattr(Figure, "savefig", half)
    with pytest.raises(OSError, match=r"cannot write .*curve\..* \(No space left on device\)"):
        draw_learning_curve(tmp_path / "progress.csv", tmp_path / given, "title")
    assert names(tmp_path) == sorted([written, "progress.csv"])
    assert (tmp_path / written).read_bytes() == whole

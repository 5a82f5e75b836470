"""Processes that write one kind of file over and over until they are killed, and checks of what they leave.

All come from one server that has imported TensorFlow, so that each starts at once. Every write has a version, a number
that counts up, which the written content tells: `check` finds it in what is there.
"""

import contextlib
import csv
import itertools
import multiprocessing
import os
import random
import re
import signal
import sys
import time
import warnings
import zipfile
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import gymnasium as gym
import imageio.v3 as imageio
import numpy as np
import pytest
from pamdp_envs import RecordSubsteps
from toy_environments import Target

from pamdp_agents import MPDQN
from pamdp_agents.callbacks import CallbackList, CheckpointCallback, ConvertCallback, EvalCallback
from pamdp_agents.cli.main import main
from pamdp_agents.experiments.plots import draw_learning_curve
from pamdp_agents.experiments.video import write_video
from pamdp_agents.files.atomic import restore_folder

SMALL = {"policy_kwargs": {"net_arch": [8]}, "learning_starts": 5, "batch_size": 4, "buffer_size": 30, "seed": 0}
FOREVER = 1_000_000_000

Step = Callable[[int], None]
"""Called with the version before it is written, or after."""


# -------------------------------------------------------------------- agents and replay buffers


def versioned(version: int) -> MPDQN:
    """An agent large enough that writing it takes a while, whose weights and steps are those of a version."""
    agent = MPDQN("MlpPolicy", Target(), policy_kwargs={"net_arch": [128, 128]}, seed=0)
    set_version(agent, version)
    return agent


def set_version(agent: MPDQN, version: int) -> None:
    rng = np.random.default_rng(version)
    parameters = agent.get_parameters()
    for group, arrays in parameters.items():
        lowest = 0 if group.endswith(".optimizer") else -0.5  # its squares are not negative
        for name, array in arrays.items():
            arrays[name] = (lowest + rng.random(array.shape)).astype(array.dtype)
    agent.set_parameters(parameters)
    agent.num_timesteps = version


def write_agents(folder: Path, first: int, begin: Step, done: Step) -> None:
    agent = versioned(first)
    for version in itertools.count(first):
        set_version(agent, version)
        begin(version)
        agent.save(folder / "agent")
        done(version)


def check_agent(folder: Path, first: int, last: int) -> int:
    found = MPDQN.load(folder / "agent")
    expected = versioned(found.num_timesteps).get_parameters()
    for group, arrays in found.get_parameters().items():
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, expected[group][name])
    return found.num_timesteps


def write_replay(folder: Path, first: int, begin: Step, done: Step) -> None:
    agent = MPDQN("MlpPolicy", Target(), buffer_size=5000, seed=0)
    observations, actions = np.zeros((5000, 2), "f"), [agent.action_space.sample()] * 5000
    for version in itertools.count(first):
        agent.replay_buffer.add(
            observations, observations, actions, np.full(5000, version), np.ones(5000, bool), [{}] * 5000
        )
        begin(version)
        agent.save_replay_buffer(folder / "replay")
        done(version)


def check_replay(folder: Path, first: int, last: int) -> int:
    agent = MPDQN("MlpPolicy", Target(), buffer_size=5000, seed=0)
    agent.load_replay_buffer(folder / "replay")
    [version] = set(agent.replay_buffer.rewards.ravel().tolist())
    assert len(agent.replay_buffer) == 5000
    return int(version)


# -------------------------------------------------------------------- callbacks of a training


def train_around(first: int, begin: Step, done: Step, writing: object) -> None:
    """Trains for ever; the version of each step's write is `first`, and one more with every step."""

    def tell(step: Step) -> ConvertCallback:
        return ConvertCallback(lambda locals_, globals_: step(first + agent.num_timesteps - 1))

    agent = MPDQN("MlpPolicy", Target(), **SMALL)
    agent.learn(FOREVER, CallbackList([tell(begin), writing, tell(done)]))


def write_checkpoints(folder: Path, first: int, begin: Step, done: Step) -> None:
    train_around(first, begin, done, CheckpointCallback(1, folder, f"from{first}", save_replay_buffer=True))


def check_checkpoints(folder: Path, first: int, last: int) -> int:
    steps: dict[str, list[int]] = {"": [], "replay_buffer_": []}
    for path in folder.glob("from*"):
        start, kind, step = re.fullmatch(r"from(\d+)_(replay_buffer_)?(\d+)_steps\.\w+", path.name).groups()
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
        if int(start) == first:
            steps[kind or ""].append(int(step))
    for numbers in steps.values():  # none is lost
        assert sorted(numbers) == list(range(1, len(numbers) + 1))
    newest = len(steps["replay_buffer_"])
    agent = MPDQN.load(folder / f"from{first}_{newest}_steps", env=Target())
    agent.load_replay_buffer(folder / f"from{first}_replay_buffer_{newest}_steps")
    assert agent.num_timesteps == newest and len(agent.replay_buffer) == min(newest, 30)
    agent.learn(3, reset_num_timesteps=False)
    assert agent.num_timesteps == newest + 3
    return first + newest - 1


class Improving(Target):
    """Every episode returns one more than the one before."""

    def __init__(self, first: int) -> None:
        super().__init__()
        self.reward = first - 1

    def step(self, action: object) -> tuple:
        self.reward += 1
        return np.zeros(2, "f"), float(self.reward), True, False, {}


def write_evaluations(folder: Path, first: int, begin: Step, done: Step) -> None:
    callback = EvalCallback(
        Improving(first),
        n_eval_episodes=1,
        eval_freq=1,
        log_path=folder,
        best_model_save_path=folder,
        verbose=0,
        warn=False,
    )
    train_around(first, begin, done, callback)


def check_evaluations(folder: Path, first: int, last: int) -> int:
    with np.load(folder / "evaluations.npz") as evaluations:
        results, timesteps = evaluations["results"], evaluations["timesteps"]
    np.testing.assert_array_equal(results, np.arange(first, first + len(results))[:, None])
    np.testing.assert_array_equal(timesteps, np.arange(1, len(results) + 1))
    # Every evaluation is the best so far: its agent is kept before it is noted.
    best = MPDQN.load(folder / "best_model")
    assert best.num_timesteps - len(results) in (0, 1)
    return int(results[-1, 0])


# -------------------------------------------------------------------- exports


def write_exports(format: str) -> Callable[..., None]:
    def write(folder: Path, first: int, begin: Step, done: Step) -> None:
        agent = versioned(first)
        for version in itertools.count(first):
            set_version(agent, version)
            begin(version)
            agent.export(folder / "policy", format=format)
            done(version)

    return write


def run_saved_model(folder: Path, observation: np.ndarray) -> np.ndarray:
    import tensorflow as tf

    restore_folder(folder / "policy")  # as the next export does, after a kill between its two renames
    assert (folder / "policy" / "assets.extra" / "policy.json").is_file()
    return tf.saved_model.load(str(folder / "policy")).policy(observation)["parameters"].numpy()


def run_tflite(folder: Path, observation: np.ndarray) -> np.ndarray:
    import tensorflow as tf

    with zipfile.ZipFile(folder / "policy.tflite") as archive:
        assert archive.testzip() is None and archive.namelist() == ["policy.json"]
    runner = tf.lite.Interpreter(str(folder / "policy.tflite")).get_signature_runner()
    return runner(observation=observation)["parameters"]


def run_onnx(folder: Path, observation: np.ndarray) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / "policy.onnx")
    return session.run(["parameters"], {"observation": observation})[0]


def check_exports(run: Callable[[Path, np.ndarray], np.ndarray]) -> Callable[..., int]:
    def check(folder: Path, first: int, last: int) -> int:
        observation = np.array([[0.3, -0.6]], "f")
        found = run(folder, observation)
        for version in (last, last - 1):
            agent = versioned(version)
            actions, _ = agent.predict(observation, deterministic=True)
            if np.allclose(agent.parameterized_space.decompose_batch(actions)[1], found, rtol=0, atol=1e-4):
                return version
        raise AssertionError(f"the exported policy is neither version {last - 1} nor {last}: it gives {found}")

    return check


# -------------------------------------------------------------------- pictures and videos


def write_table(folder: Path) -> Path:
    table = folder.with_name(f"{folder.name}.csv")
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([["time/total_timesteps", "rollout/ep_rew_mean"], [10, 1.0], [20, 2.0], [30, 1.5]])
    return table


def write_pictures(folder: Path, first: int, begin: Step, done: Step) -> None:
    table = write_table(folder)
    for version in itertools.count(first):
        begin(version)
        draw_learning_curve(table, folder / "curve.png", f"version {version}")
        done(version)


def check_picture(folder: Path, first: int, last: int) -> int:
    found = (folder / "curve.png").read_bytes()
    for version in (last, last - 1):
        expected = folder.with_name("expected.png")
        draw_learning_curve(write_table(folder), expected, f"version {version}")
        if expected.read_bytes() == found:
            return version
    raise AssertionError(f"the picture is neither version {last - 1} nor {last}")


FRAMES = 20


def brightness(version: int) -> int:
    return 20 + 40 * (version % 6)


def draw(version: int) -> np.ndarray:
    frame = np.full((64, 64, 3), brightness(version), np.uint8)
    frame[::2] += np.random.default_rng(version).integers(
        0, 5, frame[::2].shape, np.uint8
    )  # so that it takes some space
    return frame


def write_videos(name: str) -> Callable[..., None]:
    def write(folder: Path, first: int, begin: Step, done: Step) -> None:
        for version in itertools.count(first):
            frames = [draw(version)] * FRAMES
            begin(version)
            write_video(folder / name, frames, 30)
            done(version)

    return write


class Drawn(Target):
    """Shows one version, one frame a step."""

    metadata = {"render_modes": ["rgb_array_list"], "render_fps": 30}  # noqa: RUF012  # Gymnasium's name

    def __init__(self, version: int) -> None:
        super().__init__()
        self.render_mode, self.version = "rgb_array_list", version

    def render(self) -> list[np.ndarray]:
        return [draw(self.version)]


def write_recordings(folder: Path, first: int, begin: Step, done: Step) -> None:
    gym.logger.min_level = gym.logger.ERROR  # it warns of a folder that is there
    warnings.simplefilter("ignore")
    for version in itertools.count(first):
        env = RecordSubsteps(Drawn(version), str(folder), episode_trigger=lambda episode: True)
        env.reset()
        for _ in range(FRAMES - 1):
            env.step((0, ()))
        begin(version)
        env.close()
        done(version)


def check_videos(name: str) -> Callable[..., int]:
    def check(folder: Path, first: int, last: int) -> int:
        frames = np.stack(list(imageio.imiter(folder / name)))
        # Equal frames of a GIF are one that stays longer.
        assert len(frames) == (1 if name.endswith("gif") else FRAMES)
        [version] = [v for v in (last, last - 1) if np.all(np.abs(frames[:, 1::2] - float(brightness(v))) < 12)]
        return version

    return check


# -------------------------------------------------------------------- processes and kills


class Writer(NamedTuple):
    """One kind of file.

    Attributes:
        write: Writes versions from `first` on to a folder for ever, and calls `begin` and `done` around each.
        check: Loads what is in the folder and returns its version; given the first of the process that wrote it and the
            last that was begun.
    """

    write: Callable[[Path, int, Step, Step], None]
    check: Callable[[Path, int, int], int]


WRITERS = {
    "agent": Writer(write_agents, check_agent),
    "replay": Writer(write_replay, check_replay),
    "checkpoint": Writer(write_checkpoints, check_checkpoints),
    "evaluation": Writer(write_evaluations, check_evaluations),
    "saved_model": Writer(write_exports("saved_model"), check_exports(run_saved_model)),
    "tflite": Writer(write_exports("tflite"), check_exports(run_tflite)),
    "onnx": Writer(write_exports("onnx"), check_exports(run_onnx)),
    "picture": Writer(write_pictures, check_picture),
    "gif": Writer(write_videos("video.gif"), check_videos("video.gif")),
    "mp4": Writer(write_videos("video.mp4"), check_videos("video.mp4")),
    "recording": Writer(write_recordings, check_videos("rl-video-episode-0.mp4")),
}


def start_server() -> multiprocessing.context.ForkServerContext:
    """Returns what starts processes; the first waits for the server, which imports TensorFlow."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tensorflow", __name__])
    with pytest.MonkeyPatch.context() as patch:
        # The server of Python 3.11 and 3.12 imports from there only.
        patch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
        multiprocessing.forkserver.ensure_running()
    return context


def _write(kind: str, folder: Path, first: int, die_at: int, pipe: Connection) -> None:
    """What a process does: tells its versions, and when it first touches the folder for one.

    It waits after the first version, and before it touches the folder for the third.

    Args:
        kind: Of `WRITERS`.
        folder: Where it writes.
        first: The first version.
        die_at: The process kills itself right after the operation of this number in the folder while it writes the
            second version: a file that it opened is there, and empty; 0: never.
        pipe: To the process that kills.
    """
    state = {"version": first, "touched": True, "operations": 0}

    def begin(version: int) -> None:
        state.update(version=version, touched=False)
        pipe.send(("begin", version, time.monotonic()))

    def done(version: int) -> None:
        state["touched"] = True
        pipe.send(("done", version, time.monotonic()))
        if version == first:
            pipe.recv()

    def watch(event: str, arguments: tuple) -> None:
        if not arguments or not (event == "open" or event.startswith("os.")):
            return
        if not isinstance(arguments[0], str | Path) or not str(arguments[0]).startswith(str(folder)):
            return
        if not state["touched"]:
            state["touched"] = True
            pipe.send(("touch", state["version"], time.monotonic()))
            if state["version"] == first + 2:
                pipe.recv()  # that the kill comes in the short time of writing, however late it was told
        if state["version"] > first:
            state["operations"] += 1
            if state["operations"] == die_at:
                # The operation is still to come: what is called or returns after it is noticed next.
                sys.setprofile(lambda *_: os.kill(os.getpid(), signal.SIGKILL))

    sys.addaudithook(watch)
    WRITERS[kind].write(folder, first, begin, done)


class Writing:
    """A process that writes, and what it said."""

    def __init__(self, context: multiprocessing.context.BaseContext, kind: str, folder: Path, first: int, die_at: int):
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=_write, args=(kind, folder, first, die_at, other), daemon=True)
        self.process.start()
        other.close()
        self.times: dict[tuple[str, int], float] = {}

    def wait_for(self, what: str, version: int = 0) -> float:
        """Waits until it says so of this version or a later one; returns the time it said."""
        while True:
            said, number, moment = self.pipe.recv()
            self.times[said, number] = moment
            if said == what and number >= version:
                return moment

    def wait_for_end(self) -> tuple[int, int]:
        """Waits for its end; returns the last version that was done, and the last that was begun."""
        with contextlib.suppress(EOFError, OSError):  # OSError: it was saying something
            self.wait_for("nothing that is ever said")
        self.process.join()
        assert self.process.exitcode == -signal.SIGKILL
        return tuple(max(version for said, version in self.times if said == what) for what in ("done", "begin"))


class Kill(NamedTuple):
    """What a kill left: the version that was under way is there or the one before; hidden names, or none."""

    new: bool
    unfinished: bool


def hidden(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.startswith(".")]


def kill_writers(context: object, kind: str, folder: Path, rng: random.Random, n_kills: int) -> list[Kill]:
    """Kills one process after another at random moments, and checks what each leaves."""
    kills: list[Kill] = []
    first = 1
    for _ in range(n_kills):
        writing = begin_writing(context, kind, folder, first, 0)
        writing.pipe.send("go on")
        ended = writing.wait_for("done", first + 1)
        while_writing = rng.random() < 2 / 3
        if while_writing:
            writing.wait_for("touch", first + 2)
        writing.pipe.send("go on")
        if not while_writing:
            writing.wait_for("begin", first + 2)
        duration = ended - writing.times["touch" if while_writing else "begin", first + 1]
        until = time.monotonic() + rng.uniform(0, 1.1 * duration)
        while time.monotonic() < until:
            pass  # sleeping is not as exact
        writing.process.kill()
        kills.append(check_left(kind, folder, first, *writing.wait_for_end()))
        first = writing_after(writing)
    finish(context, kind, folder, first)
    return kills


def kill_after_every_operation(context: object, kind: str, folder: Path) -> list[Kill]:
    """Kills one process after its first operation in the folder, one after its second, and so on through a write."""
    kills: list[Kill] = []
    first = 1
    for die_at in itertools.count(1):
        writing = begin_writing(context, kind, folder, first, die_at)
        writing.pipe.send("go on")
        writing.pipe.send("go on")  # if there is a third version
        done, begun = writing.wait_for_end()
        kills.append(check_left(kind, folder, first, done, begun))
        if begun > first + 1:  # that write had no more operations
            break
        first = writing_after(writing)
    finish(context, kind, folder, begun + 1)
    return kills


def begin_writing(context: object, kind: str, folder: Path, first: int, die_at: int) -> Writing:
    """Starts a process, waits for its first write, and checks that it removed what the one before it left."""
    writing = Writing(context, kind, folder, first, die_at)
    writing.wait_for("done", first)
    assert hidden(folder) == []
    return writing


def writing_after(writing: Writing) -> int:
    return max(version for _, version in writing.times) + 1


def finish(context: object, kind: str, folder: Path, first: int) -> None:
    writing = begin_writing(context, kind, folder, first, 0)
    writing.process.kill()
    writing.wait_for_end()


def check_left(kind: str, folder: Path, first: int, done: int, begun: int) -> Kill:
    unfinished = bool(hidden(folder))
    assert begun - done in (0, 1)
    version = WRITERS[kind].check(folder, first, begun)
    assert done <= version <= begun, f"version {done} was written, {begun} begun, and {version} is there"
    return Kill(version > done, unfinished)


# -------------------------------------------------------------------- the command line


def _command_line(arguments: list[str], output: Path) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
    with output.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.exit(main(arguments))


def start_command(context: object, arguments: list[str], output: Path) -> multiprocessing.Process:
    """Starts the command line in a process of its own, its output in a file."""
    output.touch()
    process = context.Process(target=_command_line, args=(arguments, output), daemon=True)
    process.start()
    return process

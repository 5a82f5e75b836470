"""Playing episodes with a trained agent, and writing what is seen to a GIF or an MP4."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from pamdp_agents.environments.adapt import adapt
from pamdp_agents.evaluation import Policy, allowed
from pamdp_agents.files.atomic import write_file

Frame = NDArray[np.uint8]

FORMATS = (".gif", ".mp4")


def play(
    agent: Policy,
    env: gym.Env,
    n_timesteps: int | None,
    n_episodes: int | None,
    deterministic: bool,
    seed: int | None,
    on_episode: Callable[[int, float, int], Any],
) -> Iterator[Frame]:
    """Plays episodes, step by step as frames are asked for.

    Args:
        agent: What acts.
        env: Where; with render mode `"rgb_array_list"` every frame is yielded, with `"human"` the environment shows
            itself and there are none.
        n_timesteps: Environment steps to make, None for no limit.
        n_episodes: Episodes to play, None for no limit.
        deterministic: Whether to act without exploration.
        seed: Of the first reset.
        on_episode: Called at every episode's end with its number from 1, its return and its length in steps.

    Yields:
        Frames, uint8 [height, width, 3].
    """
    environment = adapt(env)
    observation = environment.reset(seed)
    episode, episode_return, episode_length, steps = 1, 0.0, 0, 0
    while steps != n_timesteps:
        action, _ = agent.predict(observation, deterministic=deterministic, **allowed(agent, environment))
        outcome = environment.step([action])
        observation = outcome.observations
        steps += 1
        episode_return += float(outcome.rewards[0])
        episode_length += 1
        if env.render_mode == "rgb_array_list":
            frames: Any = env.render()  # before a reset, which drops them
            yield from frames
        if outcome.terminated[0] or outcome.truncated[0]:
            on_episode(episode, episode_return, episode_length)
            if episode == n_episodes:
                return
            observation = environment.reset_ended()
            episode, episode_return, episode_length = episode + 1, 0.0, 0


def write_video(path: Path, frames: Iterable[Frame], fps: int) -> int:
    """Writes frames to a file, which is whole or not there; what there is until an interruption is written too.

    Args:
        path: The file, which ends in `.gif` or `.mp4`.
        frames: Of equal size, uint8 [height, width, 3].
        fps: Frames per second. A GIF has at most 50: it counts time in hundredths of a second, and players slow down
            what is faster.

    Returns:
        The number of frames.

    Raises:
        ImportError: imageio, or the ffmpeg that it needs for an MP4, is not installed.
        OSError: The file cannot be written.
        ValueError: There are no frames.
    """
    import imageio.v2 as imageio

    options: dict[str, Any]
    if path.suffix == ".gif":
        # Frames wait in memory until the end, as 256 colours (bits=8) in a quarter of the space.
        options = {"duration": max(20, 10 * round(100 / fps)), "loop": 0, "bits": 8}
    else:
        # The pixel format takes even sizes only.
        options = {"format": "FFMPEG", "fps": fps, "macro_block_size": 2}
    count = 0
    stops: list[BaseException] = []

    def write(file: Path) -> None:
        nonlocal count
        writer: Any = imageio.get_writer(file, **options)
        with writer:
            try:
                for frame in _until_stop(frames, stops):
                    writer.append_data(frame)
                    count += 1
            except KeyboardInterrupt as interrupt:
                stops.append(interrupt)
        if count and file.suffix == ".mp4" and _frames_in(file) != count:  # ffmpeg does not tell how it ended
            raise OSError(errno.ENOSPC, "ffmpeg could not write all of it; the disk may be full")
        if not count:
            raise stops[0] if stops else ValueError(f"there are no frames for {path}: the environment drew none")

    write_file(path, write)
    if stops:
        raise stops[0]
    return count


def _frames_in(file: Path) -> int | None:
    """Returns the number of frames in a video; None if it cannot be read."""
    import imageio.v2 as imageio

    try:
        reader: Any = imageio.get_reader(file, format="FFMPEG")
        with reader:
            return reader.count_frames()
    except (OSError, RuntimeError):  # imageio has no errors of its own
        return None


def _until_stop(frames: Iterable[Frame], stops: list[BaseException]) -> Iterator[Frame]:
    """Yields frames until playing is interrupted or fails, which is added to `stops`."""
    try:
        yield from frames
    except (Exception, KeyboardInterrupt) as error:
        stops.append(error)

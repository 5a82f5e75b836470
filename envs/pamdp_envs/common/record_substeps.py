"""Gymnasium's video recorder, with every substep in the video."""

from __future__ import annotations

import os
import shutil
from typing import Any

import gymnasium as gym


class RecordSubsteps(gym.wrappers.RecordVideo):
    """`gymnasium.wrappers.RecordVideo` for environments whose step has several frames.

    Gymnasium's own wrapper records one frame per step, so a jump would be seen only where it ends. This one
    records all the frames that a step of a `"rgb_array_list"` environment has. Arguments and files are those
    of `RecordVideo`, and like it this needs moviepy (`pip install "gymnasium[other]"`). Unlike there, a video is
    whole or not there: until then it is in a hidden folder of its name, which the next one of that name replaces.

    Args:
        env: the environment, made with `render_mode="rgb_array_list"`.
        *args: passed on to `RecordVideo`.
        **kwargs: passed on to `RecordVideo`.

    Raises:
        ValueError: the environment has another render mode.

    Example:
        >>> import gymnasium as gym
        >>> from pamdp_envs import RecordSubsteps
        >>> env = gym.make("pamdp/Platform-v0", render_mode="rgb_array_list")
        >>> env = RecordSubsteps(env, "videos", episode_trigger=lambda episode: True)
    """

    def __init__(self, env: gym.Env[Any, Any], *args: Any, **kwargs: Any) -> None:
        if env.render_mode != "rgb_array_list":
            raise ValueError(
                f"RecordSubsteps needs an environment made with render_mode='rgb_array_list'; its render mode is "
                f"{env.render_mode!r}."
            )
        super().__init__(env, *args, **kwargs)

    def _capture_frame(self) -> None:
        frames = self.env.render()
        assert isinstance(frames, list)
        self.recorded_frames += frames

    def stop_recording(self) -> None:
        """Stop current recording and saves the video, whole or not at all."""
        folder, name = self.video_folder, self._video_name
        unfinished = os.path.join(folder, f".{name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)  # of a process that was killed
        os.mkdir(unfinished)
        self.video_folder = unfinished
        try:
            super().stop_recording()
            for video in os.listdir(unfinished):  # none, if there were no frames
                os.replace(os.path.join(unfinished, video), os.path.join(folder, video))
        finally:
            self.video_folder = folder
            shutil.rmtree(unfinished, ignore_errors=True)

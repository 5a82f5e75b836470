"""Arrays and figures as the encoded pictures that TensorBoard shows."""

from __future__ import annotations

import io
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pamdp_agents.logger.values import as_array

Pixels = NDArray[np.uint8]


def read_image(image: Any, dataformats: str) -> Pixels:
    """Returns the image of an `Image`, uint8 [height, width, channels]; several as one, at most 8 in a row.

    Raises:
        ValueError: `dataformats` are not the axes of the image, or it has no or more than 4 channels.
    """
    array, axes = as_array(image), dataformats.upper()
    known = {"H", "W"} <= set(axes) <= set("NCHW") and len(set(axes)) == len(axes)
    if not known or array.ndim != len(axes):
        raise ValueError(
            f"dataformats must be a letter of NCHW for each axis of the image, got {dataformats!r} for the shape "
            f"{array.shape}"
        )
    array = array.transpose([axes.index(axis) for axis in "NHWC" if axis in axes])
    array = array if "C" in axes else array[..., None]
    array = array if "N" in axes else array[None]
    return _tile(_as_pixels(array)[:, None], columns=8)[0]


def read_video(frames: Any) -> Pixels:
    """Returns the frames of a `Video`, uint8 [time, height, width, channels]; several videos side by side.

    Raises:
        ValueError: They are not [n, time, channels, height, width], or have no or more than 4 channels.
    """
    array = as_array(frames)
    if array.ndim != 5:
        raise ValueError(f"frames must be [n, time, channels, height, width], got the shape {array.shape}")
    videos = _as_pixels(array.transpose(0, 1, 3, 4, 2))
    return _tile(videos, columns=int(np.ceil(np.sqrt(len(videos)))))


def figure_to_png(figure: Any, close: bool) -> bytes:
    """Returns the picture of a Matplotlib figure.

    Args:
        figure: The figure.
        close: Close it afterwards.
    """
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    pyplot = sys.modules.get("matplotlib.pyplot")  # which keeps the figures that were made through it
    if close and pyplot is not None:
        pyplot.close(figure)
    return picture.getvalue()


def frames_to_gif(frames: Pixels, fps: float) -> bytes:
    """Returns a GIF that repeats.

    Args:
        frames: uint8 [time, height, width, channels].
        fps: Frames per second; above 50, 50: players slow down what is faster.

    Raises:
        ImportError: imageio is not installed.
    """
    import imageio.v2 as imageio

    video = io.BytesIO()
    pictures = [frame[..., 0] if frame.shape[-1] == 1 else frame for frame in frames]
    imageio.mimwrite(video, pictures, format="GIF", duration=max(20, 10 * round(100 / fps)), loop=0)
    return video.getvalue()


def _as_pixels(array: NDArray[Any]) -> Pixels:
    """Returns numbers [..., channels] as pixels."""
    if array.size == 0 or array.shape[-1] > 4:
        raise ValueError(f"pictures must have 1 to 4 channels and no empty axis, got [..., channels] = {array.shape}")
    scale = 255 if array.dtype.kind in "fb" else 1
    return np.clip(np.nan_to_num(array * scale), 0, 255).astype(np.uint8)


def _tile(videos: Pixels, columns: int) -> Pixels:
    """Returns videos [n, time, height, width, channels] as one, so many in a row at most."""
    n, time, height, width, channels = videos.shape
    columns = min(n, columns)
    rows = -(-n // columns)
    tiles = np.zeros((rows * columns, *videos.shape[1:]), np.uint8)
    tiles[:n] = videos
    grid = tiles.reshape(rows, columns, time, height, width, channels).transpose(2, 0, 3, 1, 4, 5)
    return grid.reshape(time, rows * height, columns * width, channels)

"""What can be recorded besides numbers and texts: pictures, hyperparameters, arrays of any library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Figure:
    """A Matplotlib figure, for TensorBoard.

    Args:
        figure: The `matplotlib.figure.Figure`.
        close: Close it once it is written.
    """

    def __init__(self, figure: Any, close: bool) -> None:
        self.figure = figure
        self.close = close


class Image:
    """An image, for TensorBoard.

    Args:
        image: An array or tensor: uint8, other integers in 0..255, or floats in [0, 1].
        dataformats: What its axes are, a letter each: H height, W width, C channels (1 to 4; none: grey), N several
            images, which become one; such as `"HWC"`, which Gymnasium's environments render.
    """

    def __init__(self, image: Any, dataformats: str) -> None:
        self.image = image
        self.dataformats = dataformats


class Video:
    """A video, for TensorBoard, which shows it as a GIF. Writing it needs `pip install "pamdp-agents[video]"`.

    Args:
        frames: An array or tensor [n, time, channels, height, width], of numbers as in `Image`. Its n videos become
            one.
        fps: Frames per second, above 0.
    """

    def __init__(self, frames: Any, fps: float) -> None:
        self.frames = frames
        self.fps = fps


class HParam:
    """Hyperparameters, for TensorBoard's tab HPARAMS. Writing them needs `pip install "pamdp-agents[tensorboard]"`.

    Args:
        hparam_dict: Hyperparameters by name: numbers, texts or booleans; None is left out, and of all else the text is
            shown.
        metric_dict: Recorded keys that TensorBoard is to show beside them, with any numbers: it shows what is recorded
            by these keys. At least one.

    Raises:
        ValueError: `metric_dict` is empty.
    """

    def __init__(self, hparam_dict: Mapping[str, Any], metric_dict: Mapping[str, float]) -> None:
        if not metric_dict:
            raise ValueError("metric_dict must name at least one recorded key, or TensorBoard shows no hyperparameters")
        self.hparam_dict = hparam_dict
        self.metric_dict = metric_dict


class FormatUnsupportedError(NotImplementedError):
    """An output cannot hold a value that it was not told to leave out.

    Args:
        unsupported_formats: The output's names, such as `["stdout", "log"]`.
        value_description: What the value is.
    """

    def __init__(self, unsupported_formats: Sequence[str], value_description: str) -> None:
        names = tuple(unsupported_formats)
        excluded = names if len(names) > 1 else names[0]
        super().__init__(
            f"{' and '.join(names)} cannot hold the {value_description}; leave it out there, "
            f"record(..., exclude={excluded!r})"
        )


_ATTRIBUTES = {
    "Figure": {"figure", "close"},
    "Image": {"image", "dataformats"},
    "Video": {"frames", "fps"},
    "HParam": {"hparam_dict", "metric_dict"},
}


def special_kind(value: Any) -> str | None:
    """Returns "Figure", "Image", "Video" or "HParam" if a value is one of these, also of Stable-Baselines3's.

    They are told by name and attributes: other libraries have classes of these names, too.
    """
    for cls in type(value).__mro__:
        attributes = _ATTRIBUTES.get(cls.__name__)
        if attributes and attributes <= getattr(value, "__dict__", {}).keys():
            return cls.__name__
    return None


def plain(value: Any) -> Any:
    """Returns an array or tensor of any library as NumPy's, of one element as the number itself; all else as it is."""
    if isinstance(value, str) or not hasattr(value, "__array__"):
        return value
    array = as_array(value)
    if array.size != 1:
        return array
    return float(array.item()) if array.dtype.kind == "f" else array.item()  # of a long double, item() is one


def as_array(value: Any) -> NDArray[Any]:
    """Returns an array, tensor or list as NumPy's array."""
    if hasattr(value, "detach"):  # PyTorch's, which may need gradients, or be on another device
        value = value.detach().cpu()
    if hasattr(value, "numpy"):
        try:
            value = value.numpy()
        except TypeError:  # PyTorch's of a type that NumPy has not
            value = value.tolist()
    if isinstance(value, list | tuple):
        return np.asarray([plain(each) for each in value])
    array = np.asarray(value)
    is_foreign = array.dtype.kind == "V" and array.dtype.names is None  # bfloat16 and its like
    return array.astype(np.float32) if is_foreign else array


def as_numbers(value: Any) -> NDArray[np.float64] | None:
    """Returns the numbers in an array or list, of any shape; None if it is none, or holds other things."""
    is_sequence = isinstance(value, Sequence) and not isinstance(value, str | bytes)
    if not (is_sequence or isinstance(value, np.ndarray)):
        return None
    try:
        array = as_array(value)
    except ValueError:  # lists of unequal lengths
        return None
    return array.astype(np.float64) if array.dtype.kind in "biuf" else None

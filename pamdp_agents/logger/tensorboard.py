"""TensorBoard's event files."""

from __future__ import annotations

import numbers
import struct
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pamdp_agents.logger.pictures import figure_to_png, frames_to_gif, read_image, read_video
from pamdp_agents.logger.values import as_numbers, plain, special_kind
from pamdp_agents.logger.writers import Excluded, KVWriter, Values, filter_excluded_keys


class TensorBoardOutputFormat(KVWriter):
    """A TensorBoard event file. Writing it needs TensorFlow only; viewing it, `pip install tensorboard`.

    Numbers become scalars, texts texts, arrays, tensors and lists of numbers histograms of what is finite in them, and
    figures, images, videos and hyperparameters what they are. For what TensorBoard has nothing, or a package is
    missing, there is a warning, once for each key.

    Args:
        folder: The folder to write the event file to.

    Attributes:
        writer: TensorFlow's writer: `with output.writer.as_default(): tf.summary.…` writes to the same file.
    """

    def __init__(self, folder: str | Path) -> None:
        import tensorflow as tf  # here, so that a logger without TensorBoard starts at once

        self._tf = tf
        self.writer = tf.summary.create_file_writer(str(folder))
        self._warned: set[str] = set()

    def write(self, key_values: Values, key_excluded: Excluded, step: int = 0) -> None:
        """Writes one event with all values.

        Raises:
            ValueError: The axes of an image or video are not what they should be.
            RuntimeError: The event file was closed.
        """
        row = filter_excluded_keys(key_values, key_excluded, "tensorboard")
        # `tf.summary.scalar` would need the tensorboard package; the event itself does not.
        event = self._tf.compat.v1.Summary()
        for key, value in row.items():
            if value is not None:
                event.MergeFromString(self._summary(key, value))
        with self.writer.as_default():
            self._tf.summary.experimental.write_raw_pb(event.SerializeToString(), step=int(step))
        self.writer.flush()

    def close(self) -> None:
        """Closes the event file."""
        self.writer.close()

    def _summary(self, key: str, value: Any) -> bytes:
        """Returns what TensorBoard has for a value, serialised; nothing, with a warning, if there is nothing."""
        if kind := special_kind(value):
            return self._special(key, value, kind)
        value = plain(value)
        if isinstance(value, str):
            metadata = self._tf.compat.v1.SummaryMetadata(plugin_data={"plugin_name": "text"})
            return self._value(tag=key, metadata=metadata, tensor=self._tf.make_tensor_proto(value))
        if isinstance(value, numbers.Real):
            try:
                return self._value(tag=key, simple_value=float(value))
            except OverflowError:
                return self._warn(key, "it is larger than a float can be")
        values = as_numbers(value)
        if values is None:
            return self._warn(key, f"TensorBoard has nothing for a {type(value).__name__}")
        if not np.isfinite(values).any():
            return self._warn(key, "there is no finite number in it to make a histogram of")
        return self._tf.raw_ops.HistogramSummary(tag=key, values=values[np.isfinite(values)]).numpy()

    def _special(self, key: str, value: Any, kind: str) -> bytes:
        special: dict[str, Callable[[str, Any], bytes]] = {
            "Figure": self._figure,
            "Image": self._image,
            "Video": self._video,
            "HParam": self._hyperparameters,
        }
        try:
            return special[kind](key, value)
        except ImportError as error:
            extra = {"Video": "video", "HParam": "tensorboard"}[kind]
            return self._warn(key, f'a {kind} needs more packages: pip install "pamdp-agents[{extra}]" ({error})')
        except ValueError as error:
            raise ValueError(f"The {kind} recorded as {key!r}: {error}") from error

    def _figure(self, key: str, value: Any) -> bytes:
        png = figure_to_png(value.figure, value.close)
        width, height = struct.unpack(">II", png[16:24])  # where every PNG has them
        return self._picture(key, (height, width, 4), png)

    def _image(self, key: str, value: Any) -> bytes:
        pixels = read_image(value.image, value.dataformats)
        return self._picture(key, pixels.shape, self._tf.io.encode_png(pixels).numpy())

    def _video(self, key: str, value: Any) -> bytes:
        if not value.fps > 0:
            raise ValueError(f"fps must be above 0, got {value.fps}")
        frames = read_video(value.frames)
        return self._picture(key, frames.shape[1:], frames_to_gif(frames, value.fps))

    def _hyperparameters(self, key: str, value: Any) -> bytes:
        from tensorboard.plugins.hparams import api

        given: Mapping[str, Any] = {name: plain(each) for name, each in value.hparam_dict.items() if each is not None}
        known = bool | int | float | str
        shown = {name: each if isinstance(each, known) else str(each) for name, each in given.items()}
        experiment = api.hparams_config_pb([api.HParam(name) for name in shown], [*map(api.Metric, value.metric_dict)])
        return b"".join(part.SerializeToString() for part in (experiment, api.hparams_pb(shown)))

    def _picture(self, key: str, shape: tuple[int, ...], encoded: bytes) -> bytes:
        height, width, channels = shape
        picture = self._tf.compat.v1.Summary.Image(
            height=height, width=width, colorspace=channels, encoded_image_string=encoded
        )
        return self._value(tag=key, image=picture)

    def _value(self, **what: Any) -> bytes:
        v1 = self._tf.compat.v1
        return v1.Summary(value=[v1.Summary.Value(**what)]).SerializeToString()

    def _warn(self, key: str, why: str) -> bytes:
        if key not in self._warned:
            self._warned.add(key)
            warnings.warn(f"{key!r} is not in TensorBoard's log: {why}", UserWarning, stacklevel=2)
        return b""

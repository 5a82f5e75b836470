"""How an exported policy is written: a SavedModel folder, a TFLite file or an ONNX file."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from pamdp_agents.files.atomic import with_suffix, write_bytes, write_folder

DESCRIPTION = "policy.json"


def _write_saved_model(path: Path, module: tf.Module, description: str) -> None:
    def write(folder: Path) -> None:
        tf.saved_model.save(module, str(folder), signatures=module.policy.get_concrete_function())
        (folder / "assets.extra").mkdir()  # where TensorFlow has others put their files
        (folder / "assets.extra" / DESCRIPTION).write_text(description, encoding="utf-8")

    write_folder(path, write, marker="saved_model.pb")


def _write_tflite(path: Path, module: tf.Module, description: str) -> None:
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.policy.get_concrete_function()], module)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    try:
        content = converter.convert()
    except Exception as error:  # the converter's own class is not public
        missing = sorted(set(re.findall(r"'(tf\.\w+)' op is neither", str(error))))
        raise ValueError(
            f"TFLite has no operations of its own for {', '.join(missing) or 'a part of this policy'}: export another "
            "format, or train with another activation_fn"
        ) from error
    # A zip archive behind the model is how TFLite files carry others: readers of the model stop before it.
    buffer = io.BytesIO(content)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(DESCRIPTION, description)
    write_bytes(with_suffix(path, ".tflite"), buffer.getvalue())


def _write_onnx(path: Path, module: tf.Module, description: str) -> None:
    try:
        import onnx
        import tf2onnx
    except ImportError as error:
        raise ImportError(
            "format='onnx' needs tf2onnx: pip install \"pamdp-agents[onnx]\", or choose another format"
        ) from error
    model, _ = tf2onnx.convert.from_function(module.policy, input_signature=module.policy.input_signature)
    onnx.helper.set_model_props(model, {DESCRIPTION: description})
    write_bytes(with_suffix(path, ".onnx"), model.SerializeToString())


WRITERS: dict[str, Callable[[Path, tf.Module, str], None]] = {
    "saved_model": _write_saved_model,
    "tflite": _write_tflite,
    "onnx": _write_onnx,
}

"""How an exported policy is written: a SavedModel folder, a TFLite file or an ONNX file."""

from __future__ import annotations

import errno
import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf

from pamdp_agents.files.atomic import restore_folder, write_bytes, write_folder

DESCRIPTION = "policy.json"

# What a SavedModel of ours holds; all else in such a folder is the user's.
_SAVED_MODEL = re.compile(
    r"(saved_model\.pb|fingerprint\.pb|variables|variables/variables\.(index|data-\d+-of-\d+)|assets|assets\.extra|"
    rf"assets\.extra/{re.escape(DESCRIPTION)})"
)


class Format(NamedTuple):
    """How one format is written.

    Attributes:
        suffix: Of its files; empty for a folder.
        find_foreign: Returns what is at a path that is no policy exported in this format, for an error; None if nothing
            is in the way.
        write: Writes a policy, given the path, the module and the description.
    """

    suffix: str
    find_foreign: Callable[[Path], str | None]
    write: Callable[[Path, tf.Module, str], None]


def check_free(path: Path, name: str, format: Format) -> None:
    """Checks that an export would replace nothing but an earlier one of the same format.

    Args:
        path: Where it would be written.
        name: The format's name.
        format: The format.

    Raises:
        FileExistsError: Something else is in the way.
    """
    if not format.suffix:
        restore_folder(path)
    if (foreign := format.find_foreign(path)) is not None:
        raise FileExistsError(
            errno.EEXIST,
            f"{foreign} is in the way, which no export of format {name!r} wrote: choose another path than {path}",
        )


def _foreign_to_saved_model(path: Path) -> str | None:
    if not path.is_dir():
        return str(path) if path.exists() else None
    found = {each.relative_to(path).as_posix() for each in path.rglob("*")}
    if foreign := sorted(each for each in found if not _SAVED_MODEL.fullmatch(each)):
        return str(path / foreign[0])
    whole = {"saved_model.pb", f"assets.extra/{DESCRIPTION}"} <= found
    return None if whole or not found else str(path)


def _write_saved_model(path: Path, module: tf.Module, description: str) -> None:
    def write(folder: Path) -> None:
        try:
            tf.saved_model.save(module, str(folder), signatures=module.policy.get_concrete_function())
        except tf.errors.OpError as error:  # what the system says comes as TensorFlow's own classes
            raise OSError(errno.EIO, error.message) from error
        (folder / "assets.extra").mkdir()  # where TensorFlow has others put their files
        (folder / "assets.extra" / DESCRIPTION).write_text(description, encoding="utf-8")

    write_folder(path, write)


def _foreign_to_tflite(path: Path) -> str | None:
    if not path.exists():
        return None
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            file.seek(4)
            ours = file.read(4) == b"TFL3" and archive.namelist() == [DESCRIPTION]
    except (OSError, zipfile.BadZipFile):
        ours = False
    return None if ours else str(path)


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
    write_bytes(path, buffer.getvalue())


def _foreign_to_onnx(path: Path) -> str | None:
    if not path.exists():
        return None
    try:
        import onnx

        keys = {each.key for each in onnx.load_model_from_string(path.read_bytes()).metadata_props}
    except ImportError:  # the writer says what is missing
        return None
    except Exception:  # no ONNX file: protobuf's own class is not public
        keys = set()
    return None if DESCRIPTION in keys else str(path)


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
    write_bytes(path, model.SerializeToString())


FORMATS = {
    "saved_model": Format("", _foreign_to_saved_model, _write_saved_model),
    "tflite": Format(".tflite", _foreign_to_tflite, _write_tflite),
    "onnx": Format(".onnx", _foreign_to_onnx, _write_onnx),
}

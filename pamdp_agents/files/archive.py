"""The file an agent is saved in: a zip of JSON and NumPy arrays, and how Gymnasium spaces become JSON.

Members:

* `data.json`: format version, library versions, the agent's class, its settings, its spaces and its progress;
* `arrays.npz`: weights, targets, optimiser moments, the last observation;
* `replay_buffer.npz`: only if asked for (`save(..., include=["replay_buffer"])`);
* `objects.pkl`: only if a setting is an object that JSON cannot hold, such as a user's own strategy.

A file from the internet must not run code, so the pickle is read only by a caller who says that it trusts the file.
"""

from __future__ import annotations

import importlib.metadata
import io
import json
import math
import os
import platform
import zipfile
from collections.abc import Mapping, Sequence
from typing import IO, Any

import cloudpickle
import numpy as np

from pamdp_agents.files.streams import read_content

FORMAT_VERSION = 2  # 2: a replay buffer is saved by its parts, and holds `discount`

MEMBERS = ("data.json", "arrays.npz", "replay_buffer.npz", "objects.pkl")


MOST_MEMBERS = 10_000  # of one zip file and those in it: an agent has a few for each of its layers


class SavedFileError(ValueError):
    """A saved file is damaged, incomplete, of a newer format, or holds another agent."""


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that a saved agent depends on."""
    packages = ("pamdp-agents", "tensorflow", "keras", "gymnasium", "numpy", "cloudpickle")
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in packages}


def npz_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Returns arrays as the bytes of an `.npz` file."""
    if objects := [name for name, array in arrays.items() if np.asarray(array).dtype.hasobject]:
        raise ValueError(f"arrays of Python objects cannot be saved: {objects}")  # NumPy before 2.1 would pickle them
    buffer = io.BytesIO()
    members: dict[str, Any] = dict(arrays)
    np.savez(buffer, **members)
    return buffer.getvalue()


def read_npz(content: bytes, name: str) -> dict[str, np.ndarray]:
    """Returns the arrays in the bytes of an `.npz` file; never unpickles.

    Raises:
        SavedFileError: The bytes are not such a file, or hold Python objects.
    """
    try:
        members = _read_members(content)
        return {member.removesuffix(".npy"): _read_npy(array) for member, array in members.items()}
    except Exception as error:  # damaged bytes make zipfile and NumPy raise a dozen kinds
        raise SavedFileError(f"{name} is damaged or not made by this library: {error!r}") from error


def _read_members(content: bytes, names: Sequence[str] | None = None) -> dict[str, bytes]:
    """Returns the members of a zip file, or those named.

    Members are stored, not compressed: floats compress badly, and so no small file can unpack to a huge one. Nor can
    one whose members overlap: together they may not be longer than the file.
    """
    if content.count(b"PK\x01\x02") > MOST_MEMBERS:  # zipfile reads the whole list at once
        raise ValueError(f"it has more than {MOST_MEMBERS} members")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        if len({info.filename for info in members}) < len(members):
            raise ValueError("it has two members of one name")
        for info in members:
            if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
                raise ValueError(f"its member {info.filename} is compressed")
        if sum(info.file_size for info in members) > len(content):
            raise ValueError("its members are longer than the file")
        return {info.filename: archive.read(info) for info in members if names is None or info.filename in names}


def _read_npy(content: bytes) -> np.ndarray:
    """Returns the array in the bytes of an `.npy` file: plain numbers, of as many bytes as its shape says.

    NumPy's own reader makes room for the shape first, however little follows.
    """
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
    shape, fortran_order, dtype = read_header(file)
    if dtype.kind not in "biuf" or dtype.hasobject:
        raise ValueError(f"it holds an array of type {dtype}, which is no plain number")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(content) - file.tell():
        raise ValueError(f"it holds {len(content) - file.tell()} bytes for an array of type {dtype} and shape {shape}")
    flat = np.frombuffer(content, dtype, math.prod(shape), file.tell())
    return flat.reshape(shape, order="F" if fortran_order else "C").copy()


class Archive:
    """What a saved agent's file holds.

    Attributes:
        data: The content of `data.json`.
        arrays: The content of `arrays.npz`.
        replay_buffer: The content of `replay_buffer.npz`, or None.
        objects: The pickled settings by name, as bytes, or None.
    """

    def __init__(
        self,
        data: dict[str, Any],
        arrays: dict[str, np.ndarray],
        replay_buffer: dict[str, np.ndarray] | None = None,
        objects: bytes | None = None,
    ):
        self.data, self.arrays, self.replay_buffer, self.objects = data, arrays, replay_buffer, objects

    @property
    def made_by(self) -> str:
        """The version of this library that wrote the file."""
        return _read_made_by(self.data)

    def to_bytes(self) -> bytes:
        """Returns the file's content."""
        buffer = io.BytesIO()
        header = {"format_version": FORMAT_VERSION, "versions": versions()}
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr("data.json", json.dumps(header | self.data, indent=2, default=_plain))
            archive.writestr("arrays.npz", npz_bytes(self.arrays))
            if self.replay_buffer is not None:
                archive.writestr("replay_buffer.npz", npz_bytes(self.replay_buffer))
            if self.objects is not None:
                archive.writestr("objects.pkl", self.objects)
        return buffer.getvalue()

    @classmethod
    def read(cls, source: str | os.PathLike | IO[bytes]) -> Archive:
        """Reads a file, given its path (`.zip` may be left out) or an open binary file.

        Raises:
            FileNotFoundError: There is no such file.
            SavedFileError: It is damaged, incomplete or of a newer format.
        """
        name, content = read_content(source, ".zip", "agent")
        try:
            members = _read_members(content, MEMBERS)
        except Exception as error:  # damaged bytes make zipfile raise a dozen kinds
            raise SavedFileError(f"{name} is not a whole zip file ({error}): it is damaged or was cut short") from error
        missing = [member for member in ("data.json", "arrays.npz") if member not in members]
        if missing:
            raise SavedFileError(
                f"{name} has no {' and no '.join(missing)}: it is damaged or was cut short, or is no saved agent"
            )
        try:
            data = json.loads(members["data.json"])
            version = data["format_version"]
            if type(version) is not int or version < 1:
                raise ValueError(f"format_version must be an integer of at least 1, got {version!r}")
            made_by = _read_made_by(data)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise SavedFileError(f"data.json in {name} is damaged: {error!r}") from error
        if version > FORMAT_VERSION:
            raise SavedFileError(
                f"{name} has format version {version}, this library reads up to {FORMAT_VERSION}: it was saved by "
                f"pamdp-agents {made_by}; upgrade to that version or a later one"
            )
        replay_buffer = members.get("replay_buffer.npz")
        return cls(
            data,
            read_npz(members["arrays.npz"], f"arrays.npz in {name}"),
            None if replay_buffer is None else read_npz(replay_buffer, f"replay_buffer.npz in {name}"),
            members.get("objects.pkl"),
        )


def _read_made_by(data: dict[str, Any]) -> str:
    """Returns the version of this library that wrote a `data.json`."""
    return dict(data.get("versions", {})).get("pamdp-agents", "unknown")


def is_plain(value: Any) -> bool:
    """Whether JSON can hold the value."""
    try:
        json.dumps(value, default=_plain)
    except TypeError:
        return False
    return True


def pickle_objects(objects: dict[str, Any]) -> bytes:
    """Returns settings that JSON cannot hold as bytes."""
    return cloudpickle.dumps(objects)


def unpickle_objects(content: bytes) -> dict[str, Any]:
    """Reads what `pickle_objects` wrote; runs whatever code the file asks for.

    Raises:
        SavedFileError: The bytes cannot be read.
    """
    try:
        return dict(cloudpickle.loads(content))
    except Exception as error:
        raise SavedFileError(f"objects.pkl cannot be read: {error!r}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is not JSON")

"""Files and folders that are written whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any


def with_suffix(path: str | os.PathLike, suffix: str) -> Path:
    """Returns the path, with the suffix added if it has none (as Stable-Baselines3 does)."""
    path = Path(path)
    return path if path.suffix else path.with_name(path.name + suffix)


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all: to a temporary name beside it, then moved into place.

    Raises:
        OSError: The folder cannot be made or written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise type(error)(
            error.errno, f"cannot write {path} ({error.strerror}); choose a path in a folder you may write to"
        ) from error


def write_folder(path: Path, write: Callable[[Path], None], marker: str) -> None:
    """Writes a folder whole or not at all: to a temporary name beside it, then moved into place.

    Args:
        path: The folder. One of the same kind that is already there is replaced.
        write: Fills the folder it is given.
        marker: A file that folders of this kind have.

    Raises:
        FileExistsError: Something else is at `path` already.
        OSError: The folder cannot be made or written to.
    """
    if path.exists() and not (path / marker).is_file() and not (path.is_dir() and not any(path.iterdir())):
        raise FileExistsError(
            errno.EEXIST, f"{path} exists and is neither empty nor a folder with {marker}: choose another path"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as temporary:
            new, old = Path(temporary, "new"), Path(temporary, "old")
            new.mkdir()
            write(new)
            if path.exists():  # a folder cannot be moved onto another
                os.rename(path, old)
            try:
                os.rename(new, path)
            except OSError:
                if old.exists():
                    os.rename(old, path)
                raise
    except OSError as error:
        raise type(error)(
            error.errno, f"cannot write {path} ({error.strerror}); choose a path in a folder you may write to"
        ) from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_json(path: Path, content: dict[str, Any] | list[Any]) -> None:
    """Writes a JSON file, whole or not at all.

    Raises:
        OSError: The file cannot be written.
    """
    write_bytes(path, (json.dumps(content, indent=2) + "\n").encode())

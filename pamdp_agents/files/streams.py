"""Where files are written to and read from: paths, to which a suffix is added, or binary files that are open."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from typing import IO, Any

from pamdp_agents.files.atomic import write_bytes

_SUFFIX = re.compile(r"\.[A-Za-z][A-Za-z0-9]*")


def with_suffix(path: str | os.PathLike, suffix: str) -> Path:
    """Returns the path, with the suffix added if it has none (as Stable-Baselines3 does).

    What stands behind the last dot is a suffix if it begins with a letter: `"agent_v1.2"` has none.

    Raises:
        TypeError: It is not a path.
        ValueError: It does not name a file.
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path must be a path, got {path!r}")
    given, path = path, Path(path)
    if path.name in ("", "..") or "\0" in str(path):
        raise ValueError(f"path must name a file, such as 'agent{suffix}', got {os.fspath(given)!r}")
    return path if _SUFFIX.fullmatch(path.suffix) else path.with_name(path.name + suffix)


def write_content(target: str | os.PathLike | IO[bytes], content: bytes, suffix: str) -> None:
    """Writes a file: whole or not at all if it is given by its path.

    Args:
        target: Its path, to which the suffix is added if it has none; or a binary file open for writing.
        content: What is written.
        suffix: Such as `".zip"`.

    Raises:
        TypeError: It is neither a path nor a binary file.
        ValueError: The path does not name a file, or the file is closed.
        OSError: It cannot be written.
    """
    if isinstance(target, str | os.PathLike):
        write_bytes(with_suffix(target, suffix), content)
        return
    _check_file(target, "write")
    try:
        if isinstance(target, io.RawIOBase):  # which may take a part at a time
            buffered = io.BufferedWriter(target)
            buffered.write(content)
            buffered.detach()  # writes what is left, and leaves the file open
        else:
            target.write(content)
    except TypeError as error:  # a file of text
        raise TypeError(f"path must be a path or a file open for writing in binary mode: {error}") from error


def read_content(source: str | os.PathLike | IO[bytes], suffix: str, what: str) -> tuple[str, bytes]:
    """Returns a file's name, for error messages, and its content.

    Args:
        source: Its path, of which the suffix may be left out; or a binary file open for reading, which is read from its
            start if it can be moved there, else from where it stands.
        suffix: Such as `".zip"`.
        what: What should be in it, for error messages.

    Raises:
        FileNotFoundError: There is no such file.
        TypeError: It is neither a path nor a binary file.
        ValueError: The path does not name a file, or the file is closed.
        OSError: It cannot be read.
    """
    if isinstance(source, str | os.PathLike):
        place, exactly = with_suffix(source, suffix), Path(source)
        file = place if place.is_file() else exactly  # first where a file of this name is saved
        if not file.is_file():
            raise FileNotFoundError(f"there is no saved {what} at {place}")
        return str(file), file.read_bytes()
    _check_file(source, "read")
    if _is_seekable(source):
        source.seek(0)
    content = source.read()
    if not isinstance(content, bytes):
        raise TypeError(
            "path must be a path or a file open for reading in binary mode, got one that gives "
            f"{type(content).__name__}"
        )
    return f"the file {getattr(source, 'name', 'given')}", content


def _check_file(file: Any, method: str) -> None:
    if not hasattr(file, method):
        raise TypeError(f"path must be a path or a binary file that is open, got {file!r}")


def _is_seekable(file: Any) -> bool:
    return file.seekable() if hasattr(file, "seekable") else hasattr(file, "seek")

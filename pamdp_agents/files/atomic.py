"""Files and folders that are written whole or not at all.

What is written goes to a temporary name beside its place, which says which process writes it, and is then moved there.
A process that is killed leaves its temporary name behind; the next writer to the same folder removes it.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import itertools
import json
import os
import platform
import re
import shutil
import stat
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_OLD = "old"  # in a temporary folder, where the folder waits that is to be replaced

_counter = itertools.count()
_in_use: set[str] = set()  # temporary names of this process, for those of an earlier one may have the same number


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all: to a temporary name beside it, then moved into place.

    A symbolic link stays one, and what it points to is written; a file that is there already keeps its mode.

    Raises:
        OSError: The folder cannot be made or written to.
    """
    with _named(path), _temporary(path) as (place, temporary):
        mode = _mode(place)
        # For a new file 0666, of which the system takes the umask.
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666 if mode is None else mode | 0o200)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        if mode is not None:
            os.chmod(temporary, mode)
        os.replace(temporary, place)


def write_file(path: Path, write: Callable[[Path], None]) -> None:
    """Lets something else write a file, whole or not at all: in a temporary folder, then moved into place.

    A symbolic link stays one, and what it points to is written; a file that is there already keeps its mode.

    Args:
        path: The file.
        write: Writes the file it is given, which has the same name, and does not leave it open.

    Raises:
        OSError: The file cannot be written.
    """
    with _named(path), _temporary(path) as (place, temporary):
        mode = _mode(place)
        temporary.mkdir(mode=0o700)  # for what the file may not be read by, either
        written = temporary / path.name
        write(written)
        if mode is not None:
            os.chmod(written, mode)
        os.replace(written, place)


def write_folder(path: Path, write: Callable[[Path], None]) -> None:
    """Writes a folder whole or not at all: to a temporary name beside it, then moved into place.

    Args:
        path: The folder. One that is already there is replaced: whether it may be is the caller's to check.
        write: Fills the folder it is given.

    Raises:
        OSError: The folder cannot be made or written to.
    """
    with _named(path), _temporary(path) as (place, temporary):
        new, old = temporary / "new", temporary / _OLD
        new.mkdir(parents=True)
        old.mkdir()
        write(new)
        try:
            if place.exists():  # a folder cannot be moved onto another
                os.rename(place, old / place.name)
            os.rename(new, place)
        except BaseException:
            _put_back(temporary)
            raise


def restore_folder(path: Path) -> None:
    """Puts a folder back that a killed `write_folder` had moved away and not yet replaced, if there is one."""
    parent = Path(os.path.realpath(path)).parent
    if parent.is_dir():
        _remove_leftovers(parent)


def write_json(path: Path, content: dict[str, Any] | list[Any]) -> None:
    """Writes a JSON file, whole or not at all.

    Raises:
        OSError: The file cannot be written.
    """
    write_bytes(path, (json.dumps(content, indent=2) + "\n").encode())


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Lets errors of the system say which file was to be written."""
    try:
        yield
    except OSError as error:
        text = f"cannot write {path} ({error.strerror or error}); choose a path in a folder you may write to"
        raise type(error)(
            *([text] if error.errno is None else [error.errno, text])
        ) from error  # other programs' have none


@contextlib.contextmanager
def _temporary(path: Path) -> Iterator[tuple[Path, Path]]:
    """Gives the place that a path leads to, and a temporary name beside it, of which nothing is there afterwards."""
    place = Path(os.path.realpath(path))
    place.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(place.parent)
    # Cut short: names may have 255 bytes, and the temporary one may not be too long where the place's is not.
    shortened = place.name.encode(errors="surrogateescape")[:100].decode(errors="ignore")
    temporary = place.with_name(f".{shortened}.{_machine()}-{os.getpid()}-{next(_counter)}")
    _in_use.add(temporary.name)
    try:
        yield place, temporary
    finally:
        try:
            _remove(temporary)
        finally:
            _in_use.discard(temporary.name)


@functools.cache
def _machine() -> str:
    """Returns what stands for this machine in temporary names.

    Folders may be shared, and only here can be told whether the process still runs. Containers that have the same name
    do not see each other's processes.
    """
    try:
        processes = os.readlink("/proc/self/ns/pid")
    except OSError:
        processes = ""
    return f"pamdp{zlib.crc32((platform.node() + processes).encode(errors='surrogateescape')):08x}"


def _mode(place: Path) -> int | None:
    """Returns the mode of a file, None if there is none."""
    try:
        return stat.S_IMODE(place.stat().st_mode)
    except FileNotFoundError:
        return None


def _remove_leftovers(folder: Path) -> None:
    """Removes what killed processes left in a folder, whatever they wrote; what they had moved away is put back."""
    temporary_name = re.compile(rf"\..*\.{_machine()}-(\d+)-\d+", re.DOTALL)
    for name in os.listdir(folder):
        match = temporary_name.fullmatch(name)
        if match and name not in _in_use and not _runs(int(match[1])):
            with contextlib.suppress(OSError):  # another writer may be removing it, too
                _put_back(folder / name)
                _remove(folder / name)


def _runs(pid: int) -> bool:
    """Whether another process of this number runs, as far as can be told."""
    if os.name != "posix":  # elsewhere the signal 0 is not harmless
        return True
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _put_back(temporary: Path) -> None:
    """Moves a folder that was moved away back to its place, unless another is there by now."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for old in (temporary / _OLD).iterdir():
            place = temporary.with_name(old.name)
            if not place.exists():
                os.rename(old, place)


def _remove(temporary: Path) -> None:
    """Removes a file or a folder; nothing may be there."""
    try:
        os.unlink(temporary)
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno not in (errno.EISDIR, errno.EPERM, errno.EACCES):
            raise
        shutil.rmtree(temporary)

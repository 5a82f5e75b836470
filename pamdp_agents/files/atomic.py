"""Files and folders that are written whole or not at all.

What is written goes to a temporary name beside its place, which says whose it is and which process writes it, and is
then moved there. A process that is killed leaves its temporary name behind; the next writer to the same place removes
it.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import platform
import shutil
import stat
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_counter = itertools.count()
_in_use: set[str] = set()  # temporary names of this process, for those of an earlier one may have the same number


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all: to a temporary name beside it, then moved into place.

    A symbolic link stays one, and what it points to is written; a file that is there already keeps its mode.

    Raises:
        OSError: The folder cannot be made or written to.
    """
    with _named(path):
        place = Path(os.path.realpath(path))
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            mode = stat.S_IMODE(place.stat().st_mode)
        except FileNotFoundError:
            mode = None
        with _temporary(place) as temporary:
            # For a new file 0666, of which the system takes the umask.
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666 if mode is None else mode | 0o200)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            if mode is not None:
                os.chmod(temporary, mode)
            os.replace(temporary, place)


def write_folder(path: Path, write: Callable[[Path], None]) -> None:
    """Writes a folder whole or not at all: to a temporary name beside it, then moved into place.

    Args:
        path: The folder. One that is already there is replaced: whether it may be is the caller's to check.
        write: Fills the folder it is given.

    Raises:
        OSError: The folder cannot be made or written to.
    """
    with _named(path):
        place = Path(os.path.realpath(path))
        place.parent.mkdir(parents=True, exist_ok=True)
        with _temporary(place) as temporary:
            new, old = temporary / "new", temporary / "old"
            new.mkdir(parents=True)
            write(new)
            try:
                if place.exists():  # a folder cannot be moved onto another
                    os.rename(place, old)
                os.rename(new, place)
            except BaseException:
                _put_back(temporary, place)
                raise


def restore_folder(path: Path) -> None:
    """Puts a folder back that a killed `write_folder` had moved away and not yet replaced, if there is one."""
    place = Path(os.path.realpath(path))
    if place.parent.is_dir():
        _remove_leftovers(place)


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
        raise type(error)(
            error.errno, f"cannot write {path} ({error.strerror}); choose a path in a folder you may write to"
        ) from error


@contextlib.contextmanager
def _temporary(place: Path) -> Iterator[Path]:
    """Gives a temporary name beside a place, of which nothing is there afterwards."""
    _remove_leftovers(place)
    temporary = place.with_name(f"{_prefix(place)}{os.getpid()}-{next(_counter)}")
    _in_use.add(temporary.name)
    try:
        yield temporary
    finally:
        try:
            _remove(temporary)
        finally:
            _in_use.discard(temporary.name)


def _prefix(place: Path) -> str:
    """Returns how all temporary names of this machine for a place begin.

    The place's name is cut short: names may have 255 bytes, and the temporary one may not be too long where the place's
    is not. Which machine it was matters in a shared folder: only here can be told whether the process still runs.
    """
    shortened = place.name.encode(errors="surrogateescape")[:100].decode(errors="ignore")
    name, machine = (zlib.crc32(text.encode(errors="surrogateescape")) for text in (place.name, platform.node()))
    return f".{shortened}.{name:08x}-{machine:08x}-"


def _remove_leftovers(place: Path) -> None:
    """Removes what killed processes left beside a place; the folder that was there before is put back first."""
    prefix = _prefix(place)
    for name in os.listdir(place.parent):
        if not name.startswith(prefix) or name in _in_use:
            continue
        pid = name.removeprefix(prefix).partition("-")[0]
        if pid.isdecimal() and not _runs(int(pid)):
            leftover = place.with_name(name)
            with contextlib.suppress(OSError):  # another writer may be removing it, too
                _put_back(leftover, place)
                _remove(leftover)


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


def _put_back(temporary: Path, place: Path) -> None:
    """Moves a folder that was moved away back to its place, unless another is there by now."""
    old = temporary / "old"
    if old.is_dir() and not place.exists():
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

"""How much memory is available, as far as the system says it without further packages."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

# The limit of a container and what it uses of it: control groups of version 2, then of version 1.
_CONTAINER = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        "/sys/fs/cgroup/memory/memory.stat",
    ),
)


def available_memory() -> int | None:
    """Returns the bytes of memory that new programs can have, also within a container; None if it is not known."""
    found = []
    with contextlib.suppress(OSError, ValueError, AttributeError):
        meminfo = Path("/proc/meminfo")
        if meminfo.is_file():
            match = re.search(r"^MemAvailable:\s+(\d+) kB", meminfo.read_text(), re.MULTILINE)
            found.append(1024 * int(match[1]) if match else os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
        else:
            found.append(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for limit, used, statistics in _CONTAINER:
        with contextlib.suppress(OSError, ValueError):  # no such limit is the text "max"
            # What files of the disk take of it is given back when it is needed.
            cache = re.search(r"^inactive_file (\d+)$", Path(statistics).read_text(), re.MULTILINE)
            taken = int(Path(used).read_text()) - (int(cache[1]) if cache else 0)
            found.append(max(int(Path(limit).read_text()) - taken, 0))
    return min(found, default=None)

"""Whether there is a screen for windows."""

from __future__ import annotations

import os
import sys


def has_display() -> bool:
    """Returns whether windows can be seen. Without a display, pygame draws where nobody looks, or the process dies."""
    try:
        import pygame

        pygame.display.init()
        return pygame.display.get_driver() not in ("offscreen", "dummy") or "SDL_VIDEODRIVER" in os.environ
    except ImportError:  # the environment may draw otherwise
        return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    except RuntimeError:  # pygame's own errors are of this kind
        return False

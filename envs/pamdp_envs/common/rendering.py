"""From poses to frames: drawing in world units, and Gymnasium's render modes over every substep.

Import this only to render: it needs pygame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from gymnasium.error import DependencyNotInstalled
from numpy.typing import NDArray

try:
    import pygame
except ImportError as error:
    raise DependencyNotInstalled(
        'pygame is not installed, run `pip install "pamdp-agents[render]"` to render environments.'
    ) from error

Pose = tuple[float, ...]  # what a picture needs to know of the world at one moment
Frame = NDArray[np.uint8]
Color = tuple[int, int, int]
Point = tuple[float, float]

SMOOTHING = 2  # pictures are drawn this many times larger and scaled down, which smooths every edge


class Canvas:
    """A surface to draw on in world units, with y upwards.

    Args:
        size: width and height of a frame in pixels.
        scale: pixels of a frame per world unit.
        origin: world coordinates of the frame's lower-left corner.
    """

    def __init__(self, size: tuple[int, int], scale: float, origin: Point) -> None:
        self.surface = pygame.Surface((size[0] * SMOOTHING, size[1] * SMOOTHING), depth=32)
        self.width, self.height = size[0] / scale, size[1] / scale
        self.left, self.bottom = origin
        self._scale = scale * SMOOTHING

    def _pixel(self, x: float, y: float) -> Point:
        return (x - self.left) * self._scale, (self.bottom + self.height - y) * self._scale

    def rectangle(self, x: float, y: float, width: float, height: float, color: Color, *, radius: float = 0.0) -> None:
        """Fills a rectangle given by its lower-left corner, with rounded corners if `radius` > 0."""
        left, top = self._pixel(x, y + height)
        right, bottom = self._pixel(x + width, y)
        area = pygame.Rect(round(left), round(top), round(right) - round(left), round(bottom) - round(top))
        pygame.draw.rect(self.surface, color, area, border_radius=round(radius * self._scale))

    def circle(self, x: float, y: float, radius: float, color: Color, *, line: float = 0.0) -> None:
        """Fills a circle, or draws its outline if `line`, the outline's thickness, is > 0."""
        thickness = max(1, round(line * self._scale)) if line else 0
        pygame.draw.circle(self.surface, color, self._pixel(x, y), radius * self._scale, thickness)

    def ellipse(self, x: float, y: float, width: float, height: float, color: Color) -> None:
        """Fills an ellipse given by its centre."""
        left, top = self._pixel(x - width / 2, y + height / 2)
        area = pygame.Rect(left, top, width * self._scale, height * self._scale)
        pygame.draw.ellipse(self.surface, color, area)

    def polygon(self, points: Sequence[Point], color: Color) -> None:
        """Fills a polygon."""
        pygame.draw.polygon(self.surface, color, [self._pixel(x, y) for x, y in points])

    def line(self, start: Point, end: Point, thickness: float, color: Color) -> None:
        """Draws a straight line with round ends."""
        (x1, y1), (x2, y2) = self._pixel(*start), self._pixel(*end)
        width = max(1.0, thickness * self._scale)
        across = pygame.Vector2(y1 - y2, x2 - x1)
        if across.length() > 0:
            across.scale_to_length(width / 2)
            dx, dy = across
            corners = [(x1 + dx, y1 + dy), (x2 + dx, y2 + dy), (x2 - dx, y2 - dy), (x1 - dx, y1 - dy)]
            pygame.draw.polygon(self.surface, color, corners)
        for point in ((x1, y1), (x2, y2)):
            pygame.draw.circle(self.surface, color, point, width / 2)


class Picture(NamedTuple):
    """How an environment looks.

    Attributes:
        size: width and height of a frame in pixels, multiples of 16 as video codecs like them.
        scale: pixels per world unit.
        origin: world coordinates of the lower-left corner.
        draw_background: draws what never moves, once.
        draw: draws what moves, for every frame.
    """

    size: tuple[int, int]
    scale: float
    origin: Point
    draw_background: Callable[[Canvas], None]
    draw: Callable[[Canvas, Pose], None]


class Screen:
    """Turns the poses of one environment into what its render mode asks for.

    Args:
        render_mode: `"human"` shows every pose in a window, `"rgb_array"` draws the latest on request, and
            `"rgb_array_list"` draws all since the last request or reset.
        picture: what to draw.
        fps: poses per second in a window.
    """

    def __init__(self, render_mode: str, picture: Picture, fps: int) -> None:
        self._mode = render_mode
        self._picture = picture
        self._fps = fps
        self._canvas = Canvas(picture.size, picture.scale, picture.origin)
        picture.draw_background(self._canvas)
        self._background = self._canvas.surface.copy()
        self._poses: list[Pose] = []
        self._window: pygame.Surface | None = None
        self._clock = pygame.time.Clock()

    def start(self, pose: Pose) -> None:
        """Forgets earlier poses and shows the first of an episode."""
        self._poses.clear()
        self.show(pose)

    def show(self, pose: Pose) -> None:
        """Takes the pose after one substep."""
        if self._mode != "rgb_array_list":
            self._poses.clear()
        self._poses.append(pose)
        if self._mode == "human":
            self._present(pose)

    def render(self) -> Frame | list[Frame] | None:
        """Returns what `Env.render` does: one frame, the frames since the last call, or None for a window."""
        if self._mode == "human":
            self._present(self._poses[-1])
            return None
        if self._mode == "rgb_array":
            return self._frame(self._poses[-1])
        frames = [self._frame(pose) for pose in self._poses]
        self._poses.clear()
        return frames

    def close(self) -> None:
        """Closes the window, if there is one."""
        if self._window is not None:
            pygame.display.quit()
            self._window = None

    def _draw(self, pose: Pose) -> pygame.Surface:
        self._canvas.surface.blit(self._background, (0, 0))
        self._picture.draw(self._canvas, pose)
        return pygame.transform.smoothscale(self._canvas.surface, self._picture.size)

    def _frame(self, pose: Pose) -> Frame:
        width, height = self._picture.size
        pixels = np.frombuffer(pygame.image.tobytes(self._draw(pose), "RGB"), dtype=np.uint8)
        return pixels.reshape(height, width, 3).copy()  # a copy because the buffer is read-only

    def _present(self, pose: Pose) -> None:
        if self._window is None:
            pygame.display.init()
            self._window = pygame.display.set_mode(self._picture.size)
        self._window.blit(self._draw(pose), (0, 0))
        pygame.event.pump()
        self._clock.tick(self._fps)
        pygame.display.flip()

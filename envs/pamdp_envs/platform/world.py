"""Platform: run, hop and leap over three platforms, past two enemies, to the right edge of the world."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pamdp_envs.common.env import clip

DT = 0.05  # time of one substep
NOISE = 0.5 * DT  # standard deviation of the noise on a speed in one substep
WORLD_WIDTH = 1035.0
GROUND = 40.0  # height of every platform's top
WIDTH, HEIGHT = 20.0, 30.0  # of the player and of an enemy; positions are lower-left corners
GRAVITY = 9.8
RUN, HOP, LEAP = range(3)
TAKE_OFF_SPEED = {HOP: 35.0, LEAP: 25.0}
RUN_TIME = 1.0
ENEMY_SPEED = 30.0


class Ledge(NamedTuple):
    """A platform of the world: its left edge and its width."""

    x: float
    width: float


LEDGES = (Ledge(0.0, 250.0), Ledge(475.0, 275.0), Ledge(985.0, 50.0))

# For the player on each platform or in the gap after it: the platform's width, the next one's, the gap
# between them, the platform's left edge, and the difference in height, which is 0 here.
STRETCHES = ((250.0, 275.0, 225.0, 0.0, 0.0), (275.0, 50.0, 235.0, 475.0, 0.0), (50.0, 0.0, 0.0, 985.0, 0.0))
SHIFT = np.array([20.0, 0.0, 0.0, ENEMY_SPEED, 0.0, 0.0, 0.0, 0.0, 0.0])
SCALE = np.array([1055.0, 100.0, WORLD_WIDTH, 2 * ENEMY_SPEED, 275.0, 275.0, 235.0, WORLD_WIDTH, 1.0])


class Player:
    """The player's position and velocity, in units and units per second."""

    __slots__ = ("vx", "vy", "x", "y")

    def __init__(self) -> None:
        self.x, self.y, self.vx, self.vy = 0.0, GROUND, 0.0, 0.0

    def on_ledge(self) -> bool:
        """Returns whether the player stands on a platform."""
        x = self.x
        return self.y == GROUND and any(-WIDTH <= x - ledge.x <= ledge.width for ledge in LEDGES)

    def accelerate(self, ax: float, ay: float, rng: np.random.Generator) -> None:
        """Changes the velocity for one substep; the forward speed loses a random amount, but not its sign."""
        ax = clip(ax, -600.0, 600.0)
        ay = clip(ay, -4000.0, 4000.0)
        self._push(ax, ay, rng)

    def fall(self, rng: np.random.Generator) -> None:
        """Changes the velocity for one substep in the air."""
        self._push(0.0, -GRAVITY, rng)

    def _push(self, ax: float, ay: float, rng: np.random.Generator) -> None:
        # Here and in `move`, clipping is written out: with calls of `clip`, a step took a tenth longer.
        vx = self.vx + ax * DT - abs(rng.normal(0.0, NOISE))
        vy = self.vy + ay * DT
        self.vx = 0.0 if vx < 0.0 else 100.0 if vx > 100.0 else vx
        self.vy = -200.0 if vy < -200.0 else 200.0 if vy > 200.0 else vy

    def jump(self, distance: float, take_off_speed: float, rng: np.random.Generator) -> None:
        """Takes off at the forward speed that covers `distance` during the flight, less some noise."""
        flight_time = 2 * take_off_speed / GRAVITY + 1
        speed_gain = clip(distance / flight_time - self.vx, -600.0, 200.0 - take_off_speed)
        noise_x, noise_y = rng.normal(0.0, 1.0, size=2)
        self.accelerate((speed_gain - abs(float(noise_x))) / DT, (take_off_speed - abs(float(noise_y))) / DT, rng)

    def move(self) -> None:
        """Advances one substep."""
        x = self.x + self.vx * DT
        self.x = 0.0 if x < 0.0 else WORLD_WIDTH if x > WORLD_WIDTH else x
        self.y += self.vy * DT
        self.vx *= 0.99

    def land_on(self, ledge: Ledge) -> None:
        """If inside a platform, leaves it by the nearer side: its top or bottom, or one of its walls."""
        x, y, left, right = self.x, self.y, ledge.x - WIDTH, ledge.x + ledge.width
        if not (left < x < right and -HEIGHT < y < GROUND):
            return
        new_x, new_y = x, y
        if x < ledge.x:
            new_x = left
        elif x > right - WIDTH:
            new_x = right
        if y < 0.0:
            new_y = -HEIGHT
        elif y > GROUND - HEIGHT:
            new_y = GROUND
        if new_x == x or (new_y != y and abs(x - new_x) >= abs(y - new_y)):
            self.y, self.vy = new_y, 0.0
        else:
            self.x = new_x
        self.vx = 0.0

    def touches(self, enemy: Enemy) -> bool:
        """Returns whether the player and an enemy overlap."""
        return -WIDTH < self.x - enemy.x < WIDTH and -HEIGHT < self.y - GROUND < HEIGHT


class Enemy:
    """An enemy that patrols one platform: its position and its forward speed."""

    __slots__ = ("dx", "left", "right", "x")

    def __init__(self, ledge: Ledge) -> None:
        self.left, self.right = ledge.x, ledge.x + ledge.width - WIDTH
        self.x, self.dx = self.right, -ENEMY_SPEED

    def move(self, rng: np.random.Generator) -> None:
        """Advances one substep, turning round at the platform's ends."""
        left, right = self.left, self.right
        if not left < self.x < right:
            self.dx = -self.dx
        dx = self.dx + rng.normal(0.0, NOISE)
        self.dx = dx = -ENEMY_SPEED if dx < -ENEMY_SPEED else ENEMY_SPEED if dx > ENEMY_SPEED else dx
        x = self.x + dx * DT
        self.x = left if x < left else right if x > right else x

"""Platform for many environments at once: the arithmetic of `PlatformEnv`, in NumPy."""

from __future__ import annotations

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.lib.stride_tricks import sliding_window_view

from pamdp_envs.common.draws import Array
from pamdp_envs.common.vector_env import ParameterizedVectorEnv, SimulatedStep, clip
from pamdp_envs.platform.env import PlatformEnv
from pamdp_envs.platform.world import (
    DT,
    ENEMY_SPEED,
    GRAVITY,
    GROUND,
    HEIGHT,
    HOP,
    LEAP,
    LEDGES,
    NOISE,
    RUN,
    SCALE,
    SHIFT,
    STRETCHES,
    TAKE_OFF_SPEED,
    WIDTH,
    WORLD_WIDTH,
)

RUN_SUBSTEPS = 20  # RUN_TIME, counted down by DT
MOST_SUBSTEPS = 150  # more than any action takes: the highest hop flies 2 · 35 / (9.8 · DT) substeps
STARTS = np.array([ledge.x for ledge in LEDGES])
WIDTHS = np.array([ledge.width for ledge in LEDGES])
PATROLS = np.array([(ledge.x, ledge.x + ledge.width - WIDTH) for ledge in LEDGES[:2]]).T  # left and right ends
TAKE_OFF = np.array([0.0, TAKE_OFF_SPEED[HOP], TAKE_OFF_SPEED[LEAP]])


class PlatformVectorEnv(ParameterizedVectorEnv):
    """n `PlatformEnv`s in NumPy: what each does, and its random numbers, are those of the scalar environment.

    `gymnasium.make_vec("pamdp/Platform-v0", num_envs=n)` makes it. Spaces, rewards, ends of episodes and infos are
    described in `PlatformEnv`; it does not render.

    A step computes the paths of all players for as long as their actions can take, then those of the enemies, and
    then finds the substep that was the last of each.

    Args:
        num_envs: number of environments n, at least 1.
        max_episode_steps: truncate an episode after this many steps; None or -1 for no limit.
        render_mode: must be None.
        autoreset_mode: a `gymnasium.vector.AutoresetMode` or its value.

    Raises:
        ValueError: an argument is not as described.
    """

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = 200,
        render_mode: str | None = None,
        autoreset_mode: str | AutoresetMode = "NextStep",
    ) -> None:
        super().__init__(PlatformEnv(), num_envs, max_episode_steps, render_mode, autoreset_mode, "standard_normal")
        self._x, self._vx = np.zeros((2, num_envs))  # the player stands at y = GROUND between steps
        self._enemy_x, self._enemy_dx = np.zeros((2, 2, num_envs))

    def _restart(self, envs: Array) -> None:
        self._x[envs] = self._vx[envs] = 0.0
        self._enemy_x[:, envs] = PATROLS[1][:, None]
        self._enemy_dx[:, envs] = -ENEMY_SPEED

    def _observe(self, envs: Array) -> Array:
        x = self._x[envs]
        second = (x > LEDGES[1].x).astype(int)
        stretch = (x[:, None] >= STARTS[1:]).sum(axis=1)
        moving = [x, self._vx[envs], self._enemy_x[second, envs], self._enemy_dx[second, envs]]
        return (np.column_stack([*moving, np.array(STRETCHES)[stretch]]) + SHIFT) / SCALE

    def _simulate(self, envs: Array, k: Array, parameters: Array) -> SimulatedStep:
        # Jumps first: they take longer. Off its ledge, as after a run that ended there, a player only falls.
        jumping = (k != RUN) & ~is_off(self._x[envs], ledge_of(self._x[envs]))
        order = np.argsort(~jumping, kind="stable")
        envs, k, power = envs[order], k[order], parameters[order, 0]
        columns, n, jumps = np.arange(len(envs)), len(envs), int(np.count_nonzero(jumping))

        # Each substep draws for the player, then for the enemy; before the first, a jump draws two numbers more.
        noise = np.empty((2 * MOST_SUBSTEPS, n))
        shock = self._draw(envs[:jumps], 2 + 2 * MOST_SUBSTEPS)
        np.multiply(shock[2:], NOISE, out=noise[:, :jumps])
        np.multiply(self._draw(envs[jumps:], 2 * RUN_SUBSTEPS), NOISE, out=noise[: 2 * RUN_SUBSTEPS, jumps:])
        loss = np.abs(noise[::2])

        # Row t is the state before substep t. Rows after a column's last substep have no meaning.
        x, vx, enemy_x, enemy_dx = paths = np.zeros((4, MOST_SUBSTEPS + 1, n))
        paths[:2, 0] = self._x[envs], self._vx[envs]
        y = fly(x[:, :jumps], vx[:, :jumps], k[:jumps], power[:jumps], shock[:2], loss[:, :jumps])
        off_ledge = run(x[:, jumps:], vx[:, jumps:], power[jumps:], loss[:, jumps:])
        length = len(y)
        before, after = x[:length], x[1 : length + 1]
        self._walk(envs, before, enemy_x, enemy_dx, noise[1::2], jumps)

        # A column's last substep is the first in which the player finishes, touches an enemy, lands or is off a ledge.
        second = before > LEDGES[1].x  # the second enemy is the one that moves
        met = enemy_x[1 : length + 1]
        still = np.where(second, met, self._enemy_x[1, envs])  # the first, when still, is far away
        touches = (np.abs(after - met) < WIDTH) | (np.abs(after - still) < WIDTH)
        touches[:, :jumps] &= y - GROUND < HEIGHT
        terminal = touches | (after >= WORLD_WIDTH)
        terminal[:RUN_SUBSTEPS, jumps:] |= off_ledge
        ends = terminal.copy()
        ends[:, :jumps] |= y < GROUND
        ends[RUN_SUBSTEPS - 1, jumps:] = True
        last = ends.argmax(axis=0)
        terminated = terminal[last, columns]

        end_x, end_vx = after[last, columns], vx[last + 1, columns]
        landing = np.flatnonzero(y[last[:jumps], columns[:jumps]] < GROUND)
        end_x[landing], end_vx[landing], fallen = land(end_x[landing], end_vx[landing], y[last[landing], landing])
        terminated[landing] |= fallen

        moved = second[last, columns].astype(int)
        changed = np.flatnonzero(moved > second[0])
        change = second[:, changed].argmax(axis=0)
        self._enemy_x[0, envs[changed]] = enemy_x[change, changed]
        self._enemy_dx[0, envs[changed]] = enemy_dx[change, changed]
        self._enemy_x[moved, envs] = enemy_x[last + 1, columns]
        self._enemy_dx[moved, envs] = enemy_dx[last + 1, columns]
        self._x[envs], self._vx[envs] = end_x, end_vx
        substeps = last + 1
        self._draws.use(envs, 2 * substeps + 2 * (columns < jumps))
        rewards = (end_x - x[0]) / WORLD_WIDTH
        back = np.argsort(order)
        return rewards[back], terminated[back], np.zeros(n, dtype=np.bool_), {"substeps": substeps[back]}

    def _draw(self, envs: Array, count: int) -> Array:
        """Returns the next `count` standard normals of each of `envs`, (count, m), which do not count as used yet."""
        return sliding_window_view(self._draws.numbers, count)[self._draws.ahead(envs, count)].T

    def _walk(self, envs: Array, player_x: Array, x: Array, dx: Array, noise: Array, jumps: int) -> None:
        """Fills in the paths of the enemies that move: the first, or the second once the player is past x = 475."""
        second = player_x > LEDGES[1].x
        second[RUN_SUBSTEPS:, jumps:] = second[RUN_SUBSTEPS - 1, jumps:]
        moving = second[0].astype(int)
        x[0], dx[0] = self._enemy_x[moving, envs], self._enemy_dx[moving, envs]
        left, right = PATROLS[:, moving]
        changed = np.flatnonzero(second[-1] & ~second[0])
        changes = second[:, changed].argmax(axis=0)
        times = set(changes.tolist())
        now, now_dx = x[0], dx[0]
        for t in range(len(player_x)):
            if t == RUN_SUBSTEPS:  # runs are over
                x, dx, noise, left, right, now, now_dx = (
                    rows[..., :jumps] for rows in (x, dx, noise, left, right, now, now_dx)
                )
            if t in times:
                columns = changed[changes == t]
                now, now_dx = now.copy(), now_dx.copy()
                now[columns] = self._enemy_x[1, envs[columns]]
                now_dx[columns] = self._enemy_dx[1, envs[columns]]
                left[columns], right[columns] = PATROLS[:, 1]
            turning = (now <= left) | (now >= right)
            next_x, next_dx = x[t + 1], dx[t + 1]
            np.add(np.where(turning, -now_dx, now_dx), noise[t], out=next_dx)
            np.maximum(next_dx, -ENEMY_SPEED, out=next_dx)
            np.minimum(next_dx, ENEMY_SPEED, out=next_dx)
            np.multiply(next_dx, DT, out=next_x)
            np.add(now, next_x, out=next_x)
            np.maximum(next_x, left, out=next_x)
            np.minimum(next_x, right, out=next_x)
            now, now_dx = next_x, next_dx


def fly(x: Array, vx: Array, k: Array, distance: Array, shock: Array, loss: Array) -> Array:
    """Fills in the paths of players that jump, from their first rows on.

    Returns:
        The height after each substep, of shape (substeps until the last has landed, players).
    """
    take_off = TAKE_OFF[k]
    flight_time = 2 * take_off / GRAVITY + 1
    speed_gain = clip(distance / flight_time - vx[0], -600.0, 200.0 - take_off)
    ax = clip((speed_gain - np.abs(shock[0])) / DT, -600.0, 600.0)
    ay = clip((take_off - np.abs(shock[1])) / DT, -4000.0, 4000.0)
    rise = np.full((MOST_SUBSTEPS, len(k)), -GRAVITY * DT)
    rise[0] = clip(ay * DT, -200.0, 200.0)
    rise = np.add.accumulate(rise) * DT
    rise[0] += GROUND
    y = np.add.accumulate(rise)
    length = max(np.argmax(y < GROUND, axis=0).max(initial=0) + 1, RUN_SUBSTEPS)

    speed = clip(vx[0] + ax * DT - loss[0], 0.0, 70.0)
    for t in range(length):
        if t > 0:
            speed = np.maximum(vx[t] - loss[t], 0.0)
        np.multiply(speed, DT, out=x[t + 1])
        np.multiply(speed, 0.99, out=vx[t + 1])
    np.add.accumulate(x, out=x)
    np.minimum(x, WORLD_WIDTH, out=x)
    return y[:length]


def run(x: Array, vx: Array, power: Array, loss: Array) -> Array:
    """Fills in the paths of players that run, from their first rows on.

    Returns:
        Whether the player had left its platform before each substep, of shape (20, players).
    """
    ledge = ledge_of(x[0])
    gain = clip(power / DT, -600.0, 600.0) * DT
    off = np.empty((RUN_SUBSTEPS, len(power)), dtype=np.bool_)
    for t in range(RUN_SUBSTEPS):
        off[t] = is_off(x[t], ledge)
        speed = clip(np.where(off[t], vx[t], vx[t] + gain) - loss[t], 0.0, 70.0)
        x[t + 1] = np.minimum(x[t] + speed * DT, WORLD_WIDTH)
        vx[t + 1] = speed * 0.99
    x[RUN_SUBSTEPS + 1 :] = x[RUN_SUBSTEPS]
    return off


def land(x: Array, vx: Array, y: Array) -> tuple[Array, Array, Array]:
    """Lets players come down to `y`, just below the ground: on a platform, against its wall, or into a gap.

    Returns:
        Their x and forward speed, and which of them are still below the ground.
    """
    fallen = np.ones(len(x), dtype=np.bool_)
    for ledge in LEDGES:
        left, right = ledge.x - WIDTH, ledge.x + ledge.width
        inside = (left < x) & (x < right)
        pushed = np.where(x < ledge.x, left, np.where(x > right - WIDTH, right, x))
        on_top = inside & ((pushed == x) | (np.abs(x - pushed) >= np.abs(y - GROUND)))
        x, vx = np.where(inside & ~on_top, pushed, x), np.where(inside, 0.0, vx)
        fallen &= ~on_top
    return x, vx, fallen


def ledge_of(x: Array) -> Array:
    """Returns the index of the platform that a player at ground level is on or has just left."""
    return (x >= STARTS[1:, None] - WIDTH).sum(axis=0)


def is_off(x: Array, ledge: Array) -> Array:
    """Returns whether a player has left a platform at its right end."""
    return x - STARTS[ledge] > WIDTHS[ledge]

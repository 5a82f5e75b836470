"""Platform as a Gymnasium environment."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from pamdp_envs.common.env import Action, Observation, ParameterizedEnv, clip
from pamdp_envs.platform.world import (
    DT,
    GROUND,
    LEDGES,
    RUN,
    RUN_TIME,
    SCALE,
    SHIFT,
    STRETCHES,
    TAKE_OFF_SPEED,
    WORLD_WIDTH,
    Enemy,
    Player,
)


class PlatformEnv(ParameterizedEnv):
    """Run, hop and leap to the right edge of the world.

    ## Description

    The Platform domain of Masson, Ranchod & Konidaris (2016). The player starts at the left end of the world
    and has to reach its right edge, over three platforms with a gap after the first and the second, on each
    of which an enemy walks to and fro. It runs, or it jumps: a *hop* gets over an enemy, a *leap* gets over a
    gap, and how far each carries is for the agent to choose.

    One step of the environment is one whole action, simulated in substeps of 0.05 s until the player has
    settled: a run lasts one second, a jump until the player stands on a platform again.

    ## Action Space

    `Tuple(Discrete(3), Tuple(Box(1), Box(1), Box(1)))`: which action, and the parameters of all three, of
    which only the chosen action's is used. `step((1, ([0.0], [300.0], [0.0])))` hops. Parameters are clipped
    to their range.

    | k | Action | Parameter                                  | Min | Max |
    |---|--------|--------------------------------------------|-----|-----|
    | 0 | run    | gain of speed in each substep              | 0   | 30  |
    | 1 | hop    | distance aimed at, in a high flight        | 0   | 720 |
    | 2 | leap   | distance aimed at, in a low flight         | 0   | 430 |

    ## Observation Space

    `Box(0, 1, (9,), float64)`. Each number is scaled to [0, 1] from the range given. The *enemy* is the one
    of the second platform once x > 475, and the one of the first before that.

    | Num | Observation                                            | Min | Max  |
    |-----|--------------------------------------------------------|-----|------|
    | 0   | player's x                                             | -20 | 1035 |
    | 1   | player's forward speed                                 | 0   | 100  |
    | 2   | enemy's x                                              | 0   | 1035 |
    | 3   | enemy's speed                                          | -30 | 30   |
    | 4   | width of the platform the player is on, or has left    | 0   | 275  |
    | 5   | width of the next platform                             | 0   | 275  |
    | 6   | width of the gap between them                          | 0   | 235  |
    | 7   | left edge of the platform the player is on             | 0   | 1035 |
    | 8   | difference in height to the next platform (always 0)   | 0   | 1    |

    ## Rewards

    The way covered in the step as a share of the whole: (x after − x before) / 1035. A perfect episode
    returns 1.

    ## Starting State

    The player stands at the left edge of the world, each enemy at the right end of its platform, walking
    left. The start is the same in every episode; speeds are noisy from then on.

    ## Episode End

    1. Termination: the player reaches the right edge, falls below the platforms, or touches an enemy.
    2. Truncation: after 200 steps (by `gymnasium.make`'s time limit).

    `info["substeps"]` is the number of substeps (int) that the step took.

    ## Arguments

    | Parameter     | Type    | Default | Description                                    |
    |---------------|---------|---------|------------------------------------------------|
    | `render_mode` | **str** | `None`  | `"human"`, `"rgb_array"` or `"rgb_array_list"` |

    Every substep is a frame: `"human"` shows them all, `"rgb_array_list"` returns them all, and
    `RecordSubsteps` writes them all into a video.

    ## Version History

    * v0: the dynamics of the published results, to the last digit.

    ## References

    Masson, W., Ranchod, P., & Konidaris, G. (2016). Reinforcement Learning with Parameterized Actions.
    Proceedings of the AAAI Conference on Artificial Intelligence, 30(1).
    """

    _player: Player
    _enemies: tuple[Enemy, Enemy]

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(("run", "hop", "leap"), (((0.0, 30.0),), ((0.0, 720.0),), ((0.0, 430.0),)))
        self.observation_space = spaces.Box(0.0, 1.0, (9,), dtype=np.float64)
        if render_mode is not None:
            from pamdp_envs.platform.picture import PICTURE  # needs pygame, which is an extra

            self._open_screen(render_mode, PICTURE)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Puts the player and the enemies at their starts; nothing is drawn at random."""
        self._start(seed)
        self._player = Player()
        self._enemies = Enemy(LEDGES[0]), Enemy(LEDGES[1])
        if self._screen is not None:
            self._screen.start(self._pose())
        return self._observation(), {}

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Acts, then simulates until the player has settled again."""
        k, (power,) = self._read_action(action)
        player, (first, second), rng = self._player, self._enemies, self.np_random
        screen = self._screen
        start_x = player.x
        countdown = RUN_TIME
        substeps = 0
        while True:
            if player.on_ledge():
                if k == RUN:
                    player.accelerate(power / DT, 0.0, rng)
                else:
                    player.jump(power, TAKE_OFF_SPEED[k], rng)
                player.vx = clip(player.vx, 0.0, 70.0)
            else:
                player.fall(rng)
            enemy = second if player.x > LEDGES[1].x else first
            player.move()
            enemy.move(rng)
            if player.y < GROUND:
                for ledge in LEDGES:
                    player.land_on(ledge)
            substeps += 1
            if screen is not None:
                screen.show(self._pose())
            finished = player.x >= WORLD_WIDTH
            terminated = finished or player.y < GROUND or player.touches(first) or player.touches(second)
            countdown -= DT
            if terminated or (countdown <= 0.0 if k == RUN else player.on_ledge()):
                break
        reward = (player.x - start_x) / WORLD_WIDTH
        return self._observation(), reward, terminated, False, {"substeps": substeps}

    def _pose(self) -> tuple[float, ...]:
        first, second = self._enemies
        return self._player.x, self._player.y, first.x, first.dx, second.x, second.dx

    def _observation(self) -> Observation:
        player = self._player
        enemy = self._enemies[player.x > LEDGES[1].x]
        stretch = sum(player.x >= ledge.x for ledge in LEDGES[1:])
        raw = np.array([player.x, player.vx, enemy.x, enemy.dx, *STRETCHES[stretch]])
        return (raw + SHIFT) / SCALE

"""Robot Soccer Goal as a Gymnasium environment."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pamdp_envs.common.env import Action, Observation, ParameterizedEnv, clip
from pamdp_envs.common.nominal_box import NominalBox
from pamdp_envs.goal.pitch import (
    BALL,
    GOAL_AREA,
    GOAL_LINE,
    HALF_WIDTH,
    KICK_TO,
    KICKABLE,
    POST,
    TIME_LIMIT,
    Body,
    Player,
    goal_distance,
    play,
)

PLAYER_SHIFT, PLAYER_SCALE = (0.0, HALF_WIDTH, 1.0, 1.0, math.pi), (GOAL_LINE, 30.0, 2.0, 2.0, 2 * math.pi)
BALL_SHIFT, BALL_SCALE = (0.0, HALF_WIDTH, 3.0, 3.0), (GOAL_LINE, 30.0, 6.0, 6.0)
LOW = -np.array([*PLAYER_SHIFT, *PLAYER_SHIFT, *BALL_SHIFT])
HIGH = LOW + np.array([*PLAYER_SCALE, *PLAYER_SCALE, *BALL_SCALE])
# The shadow's upper bound is twice the post's y, as in the published features.
FEATURES_LOW, FEATURES_HIGH = np.array([-1.0, -1.0, -POST]), np.array([1.0, 1.0, 2 * POST])


class GoalEnv(ParameterizedEnv):
    """Kick the ball towards the goal and shoot past the goalie.

    ## Description

    The Robot Soccer Goal domain of Masson, Ranchod & Konidaris (2016). A player at the half-way line has the
    ball and has to score past a goalie, which follows the ball, cuts off its path to the goal, and catches
    whatever comes within its reach. The player dribbles with *kick-to* and finishes with a *shot*.

    One step of the environment is one whole action, simulated in substeps: a kick-to until the player has
    reached the ball again and the ball has come to rest, a shot until the end of the episode.

    ## Action Space

    `Tuple(Discrete(3), Tuple(Box(2), Box(1), Box(1)))`: which action, and the parameters of all three, of
    which only the chosen action's are used. `step((0, ([12.0, 3.0], [0.0], [0.0])))` kicks to (12, 3).
    Parameters are clipped.

    | k | Action           | Parameter                      | Min   | Max  |
    |---|------------------|--------------------------------|-------|------|
    | 0 | kick-to          | x of the target                | 0     | 40   |
    |   |                  | y of the target                | -15   | 15   |
    | 1 | shoot-goal-left  | y of the target on the goal    | -7.01 | 7.01 |
    | 2 | shoot-goal-right | y of the target on the goal    | -7.01 | 7.01 |

    The two shots differ in name only: agents give each its own parameter.

    ## Observation Space

    `NominalBox((17,), float64)`, or `(14,)` with `features=False`, unscaled. The bounds are those that agents
    scale by; the last observation of an episode may lie outside (the ball in the net or off the pitch), and
    so may an orientation.

    | Num   | Observation                                                        | Min       | Max    |
    |-------|--------------------------------------------------------------------|-----------|--------|
    | 0, 1  | player's x and y                                                   | 0, -15    | 20, 15 |
    | 2, 3  | player's velocity                                                  | -1        | 1      |
    | 4     | player's orientation (radians)                                     | -π        | π      |
    | 5, 6  | goalie's x and y                                                   | 0, -15    | 20, 15 |
    | 7, 8  | goalie's velocity                                                  | -1        | 1      |
    | 9     | goalie's orientation (radians)                                     | -π        | π      |
    | 10, 11| ball's x and y                                                     | 0, -15    | 20, 15 |
    | 12, 13| ball's velocity                                                    | -3        | 3      |
    | 14, 15| direction from the goalie to the ball, a unit vector               | -1        | 1      |
    | 16    | y at which the line from ball to goalie meets the goal line        | -7.01     | 14.02  |

    The last three are the features that the published agents append. Number 16 is clipped to its bounds, of
    which the upper is twice the post's y, as published.

    ## Rewards

    50 for a goal; minus the distance from the ball to the goal if the episode ends otherwise; 0 until then.

    ## Starting State

    The player stands on the half-way line at a random y in [-15, 15], faces the goal's centre and has the
    ball at its feet. The goalie stands at the edge of the goal area between the ball and the goal's centre,
    and faces the ball.

    ## Episode End

    1. Termination: the ball is in the net, in the goalie's reach, or off the pitch.
    2. Truncation: on step 100, which is not simulated; its reward is minus the distance from the ball to the
       goal.

    `info["substeps"]` is the number of substeps (int) that the step took, `info["is_success"]` whether it
    scored.

    ## Arguments

    | Parameter          | Type     | Default | Description                                            |
    |--------------------|----------|---------|--------------------------------------------------------|
    | `features`         | **bool** | `True`  | append three features to the 14 numbers of the state   |
    | `published_quirks` | **bool** | `True`  | behave as the published code (v0) or as described (v1) |
    | `render_mode`      | **str**  | `None`  | `"human"`, `"rgb_array"` or `"rgb_array_list"`         |

    Every substep is a frame: `"human"` shows them all, `"rgb_array_list"` returns them all, and
    `RecordSubsteps` writes them all into a video.

    ## Version History

    * v1: kick-to aims at (x, y), and the distance of a ball beyond the goal line at the right of the goal
      (y < -7.01) is -7.01 - y.
    * v0: the dynamics of the published results, with two slips of their code: kick-to aims at (x, x), its
      second parameter being ignored, and the distance of a ball beyond the goal line at the right of the goal
      is 7.01 - y.

    `gymnasium.make` notes that v1 is newer; to compare with published results, use v0 all the same.

    ## References

    Masson, W., Ranchod, P., & Konidaris, G. (2016). Reinforcement Learning with Parameterized Actions.
    Proceedings of the AAAI Conference on Artificial Intelligence, 30(1).
    """

    _player: Player
    _goalie: Player
    _ball: Body
    _time: int

    def __init__(self, published_quirks: bool = True, features: bool = True, render_mode: str | None = None) -> None:
        super().__init__(
            ("kick-to", "shoot-goal-left", "shoot-goal-right"),
            (((0.0, 40.0), (-HALF_WIDTH, HALF_WIDTH)), ((-POST, POST),), ((-POST, POST),)),
        )
        if features:
            low, high = np.append(LOW, FEATURES_LOW), np.append(HIGH, FEATURES_HIGH)
        else:
            low, high = LOW, HIGH
        self.observation_space = NominalBox(low, high, dtype=np.float64)
        self._published_quirks = published_quirks
        self._features = features
        if render_mode is not None:
            from pamdp_envs.goal.picture import PICTURE  # needs pygame, which is an extra

            self._open_screen(render_mode, PICTURE)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Puts the player, with the ball at its feet, at a random place of the half-way line."""
        self._start(seed)
        self._time = 0
        player = Player(0.0, float(self.np_random.uniform(-HALF_WIDTH, HALF_WIDTH)))
        angle = player.orientation = player.angle_to(GOAL_LINE, 0.0)
        reach = KICKABLE - 1e-12
        ball_x, ball_y = player.x + reach * math.cos(angle), player.y + reach * math.sin(angle)
        ball = Body(ball_x, ball_y, BALL)
        slope = -ball.y / (GOAL_LINE - ball.x)
        goalie_x = GOAL_LINE - GOAL_AREA
        goalie = Player(goalie_x, slope * goalie_x + (ball.y - slope * ball.x))
        goalie.orientation = goalie.angle_to(ball.x, ball.y)
        self._player, self._goalie, self._ball = player, goalie, ball
        if self._screen is not None:
            self._screen.start(self._pose())
        return self._observation(), {}

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Acts, then simulates until the ball is the player's again, or for a shot until the episode's end."""
        k, parameters = self._read_action(action)
        player, goalie, ball = self._player, self._goalie, self._ball
        screen = self._screen
        self._time += 1
        if self._time == TIME_LIMIT:
            if screen is not None:
                screen.show(self._pose())
            info = {"substeps": 0, "is_success": False}
            return self._observation(), -self._goal_distance(), False, True, info
        if k == KICK_TO:
            target_x, target_y = parameters
            if self._published_quirks:
                target_y = target_x
        else:
            target_x, target_y = GOAL_LINE + ball.size, parameters[0]
        show = None if screen is None else lambda: screen.show(self._pose())
        substeps, terminated, is_success = play(
            player, goalie, ball, target_x, target_y, k != KICK_TO, self.np_random, show
        )
        reward = 50.0 if is_success else -self._goal_distance() if terminated else 0.0
        info = {"substeps": substeps, "is_success": is_success}
        return self._observation(), reward, terminated, False, info

    def _pose(self) -> tuple[float, ...]:
        player, goalie, ball = self._player, self._goalie, self._ball
        return (player.x, player.y, player.orientation, goalie.x, goalie.y, goalie.orientation, ball.x, ball.y)

    def _goal_distance(self) -> float:
        return goal_distance(self._ball.x, self._ball.y, self._published_quirks)

    def _observation(self) -> Observation:
        state = []
        for player in (self._player, self._goalie):
            state += [player.x, player.y, player.vx, player.vy, player.orientation]
        ball, goalie = self._ball, self._goalie
        state += [ball.x, ball.y, ball.vx, ball.vy]
        if self._features:
            dx, dy = ball.x - goalie.x, ball.y - goalie.y
            distance = math.sqrt(dx * dx + dy * dy) or 1.0
            state += [dx / distance, dy / distance, self._shadow(dx, dy)]
        return np.array(state)

    def _shadow(self, dx: float, dy: float) -> float:
        """Returns where the line from the ball through the goalie meets the goal line."""
        if dx == 0:
            return -POST if dy > 0 else POST
        slope = dy / dx
        y = self._goalie.y + slope * (GOAL_LINE - self._goalie.x)
        return clip(y, -POST, 2 * POST)

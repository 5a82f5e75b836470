"""Robot Soccer Goal: one player, one goalie; kick the ball towards the goal, then shoot past the goalie."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from pamdp_envs.common.draws import UniformDraws
from pamdp_envs.common.env import Action, Observation, ParameterizedEnv, clip
from pamdp_envs.common.nominal_box import NominalBox

GOAL_LINE = 20.0  # x of the goal line; the half pitch is x in [0, 20]
HALF_WIDTH = 15.0  # the pitch is y in [-15, 15]
POST = 7.01  # the goal mouth is |y| <= 7.01
NET_DEPTH = 2.44
GOAL_AREA = 5.5  # length of the goal area
KICKABLE = 1.6  # the player kicks the ball from this distance
CATCHABLE = 2.0  # the goalie catches the ball from this distance
INERTIA = 5.0
TIME_LIMIT = 100
KICK_TO, SHOOT_LEFT, SHOOT_RIGHT = range(3)

PLAYER_SHIFT, PLAYER_SCALE = (0.0, HALF_WIDTH, 1.0, 1.0, math.pi), (GOAL_LINE, 30.0, 2.0, 2.0, 2 * math.pi)
BALL_SHIFT, BALL_SCALE = (0.0, HALF_WIDTH, 3.0, 3.0), (GOAL_LINE, 30.0, 6.0, 6.0)
LOW = -np.array([*PLAYER_SHIFT, *PLAYER_SHIFT, *BALL_SHIFT])
HIGH = LOW + np.array([*PLAYER_SCALE, *PLAYER_SCALE, *BALL_SCALE])
# The shadow's upper bound is twice the post's y, as in the published features.
FEATURES_LOW, FEATURES_HIGH = np.array([-1.0, -1.0, -POST]), np.array([1.0, 1.0, 2 * POST])


def norm_angle(angle: float) -> float:
    """The same angle within [−π, π]."""
    while angle > math.pi:
        angle -= 2 * math.pi
    while angle < -math.pi:
        angle += 2 * math.pi
    return angle


def goal_distance(x: float, y: float, published_quirks: bool) -> float:
    """Distance of a ball at (x, y) to the goal mouth."""
    if x < GOAL_LINE:
        if abs(y) <= POST:
            return GOAL_LINE - x
        return math.hypot(GOAL_LINE - x, abs(y) - POST)
    if y < -POST:
        return POST - y if published_quirks else -POST - y
    return max(y - POST, 0.0)


class Kind(NamedTuple):
    """What sets players and the ball apart."""

    size: float
    rand: float  # relative size of the noise on an acceleration
    limit: float  # of each component of the acceleration and of the velocity
    rate: float  # acceleration per unit of power
    decay: float  # of the velocity


PLAYER = Kind(size=0.9, rand=0.1, limit=1.0, rate=0.006, decay=0.4)
BALL = Kind(size=0.4, rand=0.05, limit=2.7, rate=0.027, decay=0.94)


class Body:
    """A player or the ball: position, velocity, orientation (radians), and how they change in a substep."""

    __slots__ = ("decay", "limit", "orientation", "rand", "rate", "size", "vx", "vy", "x", "y")

    def __init__(self, x: float, y: float, kind: Kind) -> None:
        self.x, self.y, self.vx, self.vy, self.orientation = x, y, 0.0, 0.0, 0.0
        self.size, self.rand, self.limit, self.rate, self.decay = kind

    def accelerate(self, power: float, angle: float, rng: UniformDraws) -> None:
        """Push in a direction; the direction and the push are noisy."""
        angle *= 1 + rng.uniform(-self.rand, self.rand)
        noise = self.rand * self.speed()
        noise_x, noise_y = rng.uniform(-noise, noise, size=2)
        push, limit = power * self.rate, self.limit
        ax = clip(push * math.cos(angle) + float(noise_x), -limit, limit)
        ay = clip(push * math.sin(angle) + float(noise_y), -limit, limit)
        self.vx = clip(self.vx + ax, -limit, limit)
        self.vy = clip(self.vy + ay, -limit, limit)

    def move(self) -> None:
        """Advance one substep."""
        self.x += self.vx
        self.y += self.vy
        self.vx *= self.decay
        self.vy *= self.decay

    def speed(self) -> float:
        """Length of the velocity."""
        return math.sqrt(self.vx * self.vx + self.vy * self.vy)

    def distance(self, other: Body) -> float:
        """Distance between the centres."""
        dx, dy = other.x - self.x, other.y - self.y
        return math.sqrt(dx * dx + dy * dy)

    def angle_to(self, x: float, y: float) -> float:
        """Direction of a point."""
        return math.atan2(y - self.y, x - self.x)

    def bounce_off(self, other: Body) -> None:
        """If two bodies overlap, push both apart and reverse both velocities."""
        distance = self.distance(other)
        if distance >= self.size + other.size:
            return
        overlap = (self.size + other.size - distance) / 2
        there, back = self.angle_to(other.x, other.y), other.angle_to(self.x, self.y)
        self.x += overlap * math.cos(back)
        self.y += overlap * math.sin(back)
        other.x += overlap * math.cos(there)
        other.y += overlap * math.sin(there)
        self.vx, self.vy, other.vx, other.vy = -self.vx, -self.vy, -other.vx, -other.vy


class Player(Body):
    """The player or the goalie."""

    __slots__ = ()

    def __init__(self, x: float, y: float) -> None:
        super().__init__(x, y, PLAYER)

    def kick_to(self, x: float, y: float, ball: Body, rng: UniformDraws) -> None:
        """Kick the ball so that it would come to rest at a point; if it is out of reach, go to it instead."""
        distance = self.distance(ball)
        angle = norm_angle(self.angle_to(ball.x, ball.y) - self.orientation)
        if distance > KICKABLE:
            if abs(angle) < math.pi / 8:
                self.accelerate(10.0, self.orientation, rng)
            else:
                self.orientation += angle / (1 + INERTIA * self.speed())
            return
        ax = (1 - ball.decay) * (x - self.x) - ball.vx
        ay = (1 - ball.decay) * (y - self.y) - ball.vy
        # A kick is weaker the further the ball is, in angle and in distance.
        weight = 1 - 0.25 * abs(angle) / math.pi - 0.25 * distance / KICKABLE
        power = math.sqrt(ax * ax + ay * ay) / (weight * ball.rate)
        power = clip(power, -100.0, 100.0) * weight
        ball.accelerate(power, self.orientation + (math.atan2(ay, ax) - self.orientation), rng)

    def guard(self, ball: Body, rng: UniformDraws) -> None:
        """As the goalie: cut off a ball that rolls towards the goal, else follow it."""
        end_x, end_y = ball.x + ball.vx / (1 - ball.decay), ball.y + ball.vy / (1 - ball.decay)
        dx, dy = end_x - ball.x, end_y - ball.y
        slope = dy / dx if dx != 0 else 0.0
        offset = ball.y - slope * ball.x
        if end_x > GOAL_LINE and abs(GOAL_LINE * slope + offset) <= POST + CATCHABLE and slope != 0:
            across = -1 / slope  # the slope of the perpendicular from the goalie to the ball's path
            x = (self.y - across * self.x - offset) / (slope - across)
            angle = self.angle_to(x, slope * x + offset)
            self.accelerate(20.0, angle, rng)
            self.orientation = angle
        else:
            self.orientation = self.angle_to(end_x, end_y)
            self.accelerate(8.0, self.orientation, rng)


def play(
    player: Player,
    goalie: Player,
    ball: Body,
    target_x: float,
    target_y: float,
    shot: bool,
    rng: UniformDraws,
    show: Callable[[], None] | None = None,
) -> tuple[int, bool, bool]:
    """Simulate a kick to a target until the ball is the player's again, or a shot until the episode's end.

    Args:
        player: the player.
        goalie: the goalie.
        ball: the ball; all three move.
        target_x: x of the target.
        target_y: y of the target.
        shot: whether the kick is a shot.
        rng: where the random numbers come from.
        show: is called after each substep.

    Returns:
        The number of substeps, whether the episode is over, and whether by a goal.
    """
    substeps = 0
    while True:
        player.kick_to(target_x, target_y, ball, rng)
        goalie.guard(ball, rng)
        player.move()
        goalie.move()
        ball.move()
        player.bounce_off(goalie)
        player.bounce_off(ball)
        goalie.bounce_off(ball)
        substeps += 1
        if show is not None:
            show()
        if GOAL_LINE <= ball.x <= GOAL_LINE + NET_DEPTH and abs(ball.y) <= POST:
            return substeps, True, True
        # The goalie catches every ball in reach, but the published code draws for it, so the draw is part of the
        # random sequence.
        rng.random()
        in_pitch = 0.0 <= ball.x <= GOAL_LINE and abs(ball.y) <= HALF_WIDTH
        if goalie.distance(ball) < CATCHABLE or not in_pitch:
            return substeps, True, False
        if not shot and player.distance(ball) <= KICKABLE and ball.speed() <= 0.1:
            return substeps, False, False


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
            from pamdp_envs.goal_picture import PICTURE  # needs pygame, which is an extra

            self._open_screen(render_mode, PICTURE)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Put the player, with the ball at its feet, at a random place of the half-way line."""
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
        """Act, then simulate until the ball is the player's again, or for a shot until the episode's end."""
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
        """Where the line from the ball through the goalie meets the goal line."""
        if dx == 0:
            return -POST if dy > 0 else POST
        slope = dy / dx
        y = self._goalie.y + slope * (GOAL_LINE - self._goalie.x)
        return clip(y, -POST, 2 * POST)

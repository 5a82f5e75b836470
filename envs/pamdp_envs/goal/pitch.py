"""Robot Soccer Goal: one player, one goalie; kick the ball towards the goal, then shoot past the goalie."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from pamdp_envs.common.draws import UniformDraws
from pamdp_envs.common.env import clip

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


class Kind(NamedTuple):
    """What sets players and the ball apart."""

    size: float
    rand: float  # relative size of the noise on an acceleration
    limit: float  # of each component of the acceleration and of the velocity
    rate: float  # acceleration per unit of power
    decay: float  # of the velocity


PLAYER = Kind(size=0.9, rand=0.1, limit=1.0, rate=0.006, decay=0.4)
BALL = Kind(size=0.4, rand=0.05, limit=2.7, rate=0.027, decay=0.94)


def norm_angle(angle: float) -> float:
    """Returns the same angle within [−π, π]."""
    while angle > math.pi:
        angle -= 2 * math.pi
    while angle < -math.pi:
        angle += 2 * math.pi
    return angle


def goal_distance(x: float, y: float, published_quirks: bool) -> float:
    """Returns the distance of a ball at (x, y) to the goal mouth."""
    if x < GOAL_LINE:
        if abs(y) <= POST:
            return GOAL_LINE - x
        return math.hypot(GOAL_LINE - x, abs(y) - POST)
    if y < -POST:
        return POST - y if published_quirks else -POST - y
    return max(y - POST, 0.0)


class Body:
    """A player or the ball: position, velocity, orientation (radians), and how they change in a substep."""

    __slots__ = ("decay", "limit", "orientation", "rand", "rate", "size", "vx", "vy", "x", "y")

    def __init__(self, x: float, y: float, kind: Kind) -> None:
        self.x, self.y, self.vx, self.vy, self.orientation = x, y, 0.0, 0.0, 0.0
        self.size, self.rand, self.limit, self.rate, self.decay = kind

    def accelerate(self, power: float, angle: float, rng: UniformDraws) -> None:
        """Pushes in a direction; the direction and the push are noisy."""
        angle *= 1 + rng.uniform(-self.rand, self.rand)
        noise = self.rand * self.speed()
        noise_x, noise_y = rng.uniform(-noise, noise, size=2)
        push, limit = power * self.rate, self.limit
        ax = clip(push * math.cos(angle) + float(noise_x), -limit, limit)
        ay = clip(push * math.sin(angle) + float(noise_y), -limit, limit)
        self.vx = clip(self.vx + ax, -limit, limit)
        self.vy = clip(self.vy + ay, -limit, limit)

    def move(self) -> None:
        """Advances one substep."""
        self.x += self.vx
        self.y += self.vy
        self.vx *= self.decay
        self.vy *= self.decay

    def speed(self) -> float:
        """Returns the length of the velocity."""
        return math.sqrt(self.vx * self.vx + self.vy * self.vy)

    def distance(self, other: Body) -> float:
        """Returns the distance between the centres."""
        dx, dy = other.x - self.x, other.y - self.y
        return math.sqrt(dx * dx + dy * dy)

    def angle_to(self, x: float, y: float) -> float:
        """Returns the direction of a point."""
        return math.atan2(y - self.y, x - self.x)

    def bounce_off(self, other: Body) -> None:
        """If two bodies overlap, pushes both apart and reverses both velocities."""
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
        """Kicks the ball so that it would come to rest at a point; if it is out of reach, goes to it instead."""
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
        """As the goalie: cuts off a ball that rolls towards the goal, else follows it."""
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
    """Simulates a kick to a target until the ball is the player's again, or a shot until the episode's end.

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

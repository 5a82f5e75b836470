"""The substeps of Robot Soccer Goal for many environments at once: the arithmetic of `pitch.Body` and `pitch.Player`.

`bodies`, of shape (4, 3, m), holds x, y, vx and vy of the player (0), the goalie (1) and the ball (2) of m
environments, and `facing`, (2, m), the orientations of player and goalie; functions change them in place. `draws` are
random numbers from [0, 1), and `at`, (m,), is where in it the next one of each environment is.
"""

from __future__ import annotations

import math

import numpy as np

from pamdp_envs.common.draws import Array
from pamdp_envs.common.vector_env import clip
from pamdp_envs.goal.pitch import BALL, CATCHABLE, GOAL_LINE, HALF_WIDTH, INERTIA, KICKABLE, PLAYER, POST

MOST_DRAWS = 7  # that a substep uses: 3 of the player, 3 of the goalie, 1 for the catch
GLIDE = 16  # substeps in a glide
DECAY = np.array([[PLAYER.decay], [PLAYER.decay], [BALL.decay]])
PAIRS = ((0, 1, PLAYER.size + PLAYER.size), (0, 2, PLAYER.size + BALL.size), (1, 2, PLAYER.size + BALL.size))
CONTACT = np.array([[contact] for _, _, contact in PAIRS])
# Something may come of it when a distance is no more than this, or the ball this far from the pitch's centre.
CLOSE = np.array([[PLAYER.size + PLAYER.size], [KICKABLE], [CATCHABLE]])
CENTRE, HALF = np.array([[GOAL_LINE / 2], [0.0]]), np.array([[GOAL_LINE / 2], [HALF_WIDTH]])
PUSH = np.array([[10.0 * PLAYER.rate], [8.0 * PLAYER.rate]])  # of a player on its way, and of a goalie
CUT_OFF_PUSH = 20.0 * PLAYER.rate
PLACES = np.array([[[0], [3]], [[1], [4]], [[2], [5]]])  # of their three random numbers among those of a substep


def kick(bodies: Array, facing: Array, target: Array, i: Array, draws: Array, at: Array) -> None:
    """Lets the players of environments i kick the ball so that it would come to rest at their targets, (2, m)."""
    player, ball = bodies[:, 0, i], bodies[:, 2, i]
    way = ball[:2] - player[:2]
    angle = norm_angle(atan2(way) - facing[0, i])
    push = (1 - BALL.decay) * (target[:, i] - player[:2]) - ball[2:]
    weight = 1 - 0.25 * np.abs(angle) / math.pi - 0.25 * length(way) / KICKABLE
    power = clip(length(push) / (weight * BALL.rate), -100.0, 100.0) * weight
    angle = facing[0, i] + (atan2(push) - facing[0, i])
    numbers = draws[at[i] + np.arange(3)[:, None]]
    angle *= uncertain(numbers[0], BALL.rand)
    change = pushes(ball[2:], power * BALL.rate, angle, BALL.rand, numbers[1:])
    bodies[2:, 2, i] = clip(ball[2:] + clip(change, -BALL.limit, BALL.limit), -BALL.limit, BALL.limit)


def act(bodies: Array, facing: Array, near: Array, draws: Array, at: Array) -> Array:
    """Lets players that are not `near` the ball go to it, and goalies guard; returns where the draws go on."""
    ball = bodies[:, 2]
    aim = ball[:2] + ball[2:] / (1 - BALL.decay)  # where the ball would come to rest
    push = PUSH
    coming = aim[0] > GOAL_LINE
    if np.count_nonzero(coming):  # several times faster than `coming.any()`
        i = np.flatnonzero(coming)
        slope, offset, on_goal = course(ball[:2, i], aim[:, i])
        i, slope, offset = i[on_goal], slope[on_goal], offset[on_goal]
        across = -1 / slope  # the slope of the perpendicular from the goalie to the ball's path
        goalie_x, goalie_y = bodies[:2, 1, i]
        x = (goalie_y - across * goalie_x - offset) / (slope - across)
        aim[0, i], aim[1, i] = x, slope * x + offset
        push = np.repeat(PUSH, len(at), axis=1)
        push[1, i] = CUT_OFF_PUSH

    way = np.empty((2, 2, len(at)))
    np.subtract(ball[:2], bodies[:2, 0], out=way[:, 0])
    np.subtract(aim, bodies[:2, 1], out=way[:, 1])
    to_ball, facing[1] = atan2(way)
    turn = norm_angle(to_ball - facing[0])
    turning = np.abs(turn) >= math.pi / 8
    turning &= ~near
    places = at + PLACES
    at = at + 6
    if np.count_nonzero(turning):
        facing[0, turning] += turn[turning] / (1 + INERTIA * length(bodies[2:, 0, turning]))
        places[:, 1, turning] -= 3
        at[turning] -= 3
    # Players are too slow for the limits of acceleration and velocity to matter.
    numbers = draws[places]
    change = pushes(bodies[2:, :2], push, facing * uncertain(numbers[0], PLAYER.rand), PLAYER.rand, numbers[1:])
    change[:, 0] *= ~(turning | near)
    bodies[2:, :2] += change
    return at


def glide(bodies: Array, facing: Array, near: Array, draws: Array, at: Array) -> Array:
    """Advances by up to 16 substeps in which players and goalies only follow the ball.

    All are simulated without a look at what happens; then those substeps count in which nothing did.

    Returns:
        How many substeps count of each, (m,): those before the first in which anything else may happen.
    """
    numbers = draws[at + (PLACES[:, None] + MOST_DRAWS * np.arange(GLIDE)[:, None, None])]
    uncertainty = uncertain(numbers[0], PLAYER.rand)
    path = np.empty((4, 3, GLIDE + 1, len(at)))
    path[:, :, 0] = bodies
    path[2:, 2, 1:] = BALL.decay
    np.multiply.accumulate(path[2:, 2], axis=1, out=path[2:, 2])
    path[:2, 2, 1:] = path[2:, 2, :-1]
    np.add.accumulate(path[:2, 2], axis=1, out=path[:2, 2])
    balls = path[:2, 2, :-1]
    aims = balls + path[2:, 2, :-1] / (1 - BALL.decay)
    ends = np.stack([balls, aims], axis=2)  # of the ways of player and goalie in each substep

    players, heading, angles = bodies[:, :2].copy(), facing.copy(), np.empty((2, GLIDE, len(at)))
    position, velocity = players[:2], players[2:]
    for t in range(GLIDE):
        angles[:, t] = angle = atan2(ends[:, t] - position)
        heading[1] = angle[1]
        velocity += pushes(velocity, PUSH, heading * uncertainty[t], PLAYER.rand, numbers[1:, t])
        position += velocity
        velocity *= PLAYER.decay
        path[:, :2, t + 1] = players

    after = path[:, :, 1:]
    other = np.abs(norm_angle(angles[0] - facing[0])) >= math.pi / 8
    other |= course(balls, aims)[2]
    other |= (distances(after) <= CLOSE[..., None]).any(axis=0)
    other |= (np.abs(after[:2, 2] - CENTRE[..., None]) >= HALF[..., None]).any(axis=0)
    other[0] |= near
    count = np.where(other.any(axis=0), other.argmax(axis=0), GLIDE)
    columns = np.arange(len(at))
    bodies[...] = path[:, :, count, columns]
    facing[1] = np.where(count > 0, angles[1, count - 1, columns], facing[1])
    return count


def course(ball: Array, aim: Array) -> tuple[Array, Array, Array]:
    """Returns slope and offset of the lines from balls to where they would rest, and whether the goalie cuts in."""
    coming = aim[0] > GOAL_LINE
    dx, dy = aim - ball
    slope = dy / np.where(coming, dx, 1.0)
    offset = ball[1] - slope * ball[0]
    return slope, offset, coming & (np.abs(GOAL_LINE * slope + offset) <= POST + CATCHABLE) & (slope != 0)


def uncertain(numbers: Array, rand: float) -> Array:
    """Returns what angles are multiplied by, given random numbers from [0, 1)."""
    return 1 + (2 * rand * numbers - rand)


def pushes(velocity: Array, push: Array, angle: Array, rand: float, numbers: Array) -> Array:
    """Returns noisy changes of velocity, (2, …), by pushes at angles, given two numbers in [0, 1) for each, (2, …)."""
    noise = rand * length(velocity)
    change = np.empty(velocity.shape)
    np.cos(angle, out=change[0])
    np.sin(angle, out=change[1])
    change *= push
    change += (noise + noise) * numbers - noise
    return change


def move(bodies: Array) -> tuple[Array, bool]:
    """Advances all bodies, and lets them bounce off each other.

    Returns:
        Their `distances`, and whether any are so close that something may come of it.
    """
    position, velocity = bodies[:2], bodies[2:]
    position += velocity
    velocity *= DECAY
    apart = distances(bodies)
    alert = bool(np.count_nonzero(apart <= CLOSE))
    if alert and np.count_nonzero(touching := apart < CONTACT):
        i = np.flatnonzero(touching.any(axis=0))
        close = bodies[:, :, i]
        for one, other, contact in PAIRS:
            bounce(close, one, other, contact)
        bodies[:, :, i], apart[:, i] = close, distances(close)
    return apart, alert


def bounce(bodies: Array, one: int, other: int, contact: float) -> None:
    """Pushes two bodies apart, where they overlap, and reverses both velocities."""
    there, back = bodies[:2, other] - bodies[:2, one], bodies[:2, one] - bodies[:2, other]
    distance = length(there)
    i = np.flatnonzero(distance < contact)
    overlap = (contact - distance[i]) / 2
    for body, way in ((one, back), (other, there)):
        angle = atan2(way[:, i])
        bodies[0, body, i] += overlap * np.cos(angle)
        bodies[1, body, i] += overlap * np.sin(angle)
        bodies[2:, body, i] *= -1.0


def distances(bodies: Array) -> Array:
    """Returns the distances from player to goalie, player to ball and goalie to ball, (3, m)."""
    between = np.empty((2, *bodies.shape[1:]))
    np.subtract(bodies[:2, 1:], bodies[:2, :1], out=between[:, :2])
    np.subtract(bodies[:2, 2], bodies[:2, 1], out=between[:, 2])
    return length(between)


def length(vectors: Array) -> Array:
    """Returns the lengths of vectors (x, y), (2, …)."""
    squares = vectors * vectors
    return np.sqrt(squares[0] + squares[1])


def atan2(vectors: Array) -> Array:
    """Returns angles of vectors (x, y), (2, …), to the last digit, where `numpy.arctan2` differs on some machines."""
    x, y = vectors.reshape(2, -1).tolist()
    return np.array(list(map(math.atan2, y, x))).reshape(vectors.shape[1:])


def norm_angle(angle: Array) -> Array:
    """Returns the same angles within [−π, π]."""
    while np.count_nonzero(np.abs(angle) > math.pi):
        angle = np.where(angle > math.pi, angle - 2 * math.pi, np.where(angle < -math.pi, angle + 2 * math.pi, angle))
    return angle

"""What the Goal environments look like, from above."""

from __future__ import annotations

import math

from pamdp_envs.common.rendering import Canvas, Color, Picture, Point, Pose
from pamdp_envs.goal.pitch import GOAL_AREA, GOAL_LINE, HALF_WIDTH, NET_DEPTH, POST

SIZE = (512, 640)  # of a frame in pixels
SCALE = 19.0  # pixels per unit
ORIGIN = (-2.0, -SIZE[1] / SCALE / 2)  # of the frame, its lower-left corner
GOAL_AREA_HALF_WIDTH = 9.16
LINE = 0.14
DARK_GRASS, LIGHT_GRASS, SURROUND = (62, 142, 72), (72, 156, 80), (52, 124, 64)
SHADOW = (44, 108, 56)
CHALK = (244, 250, 244)
NET, NET_GROUND = (206, 220, 208), (58, 128, 68)
POSTS = (255, 255, 255)
PLAYER, PLAYER_DARK = (216, 58, 58), (150, 30, 38)
GOALIE, GOALIE_DARK = (246, 196, 48), (176, 128, 16)
SKIN, HAIR, BOOT = (244, 204, 166), (72, 46, 32), (34, 36, 44)
BALL, BALL_PATCH = (252, 252, 252), (40, 40, 48)


def draw_background(canvas: Canvas) -> None:
    """Draws the half pitch with its markings, and the goal."""
    canvas.rectangle(canvas.left, canvas.bottom, canvas.width, canvas.height, SURROUND)
    stripes = 8
    for i in range(stripes):
        color = LIGHT_GRASS if i % 2 else DARK_GRASS
        canvas.rectangle(i * GOAL_LINE / stripes, -HALF_WIDTH, GOAL_LINE / stripes, 2 * HALF_WIDTH, color)
    canvas.circle(0, 0, 4.0, CHALK, line=LINE)
    canvas.circle(0, 0, 0.3, CHALK)
    canvas.rectangle(canvas.left, -5, -canvas.left, 10, SURROUND)  # the other half of the centre circle
    _draw_outline(canvas, 0, -HALF_WIDTH, GOAL_LINE, 2 * HALF_WIDTH)
    _draw_outline(canvas, GOAL_LINE - GOAL_AREA, -GOAL_AREA_HALF_WIDTH, GOAL_AREA, 2 * GOAL_AREA_HALF_WIDTH)
    canvas.rectangle(GOAL_LINE + LINE / 2, -POST, NET_DEPTH, 2 * POST, NET_GROUND)
    for i in range(1, 6):
        x = GOAL_LINE + i * NET_DEPTH / 5
        canvas.line((x, -POST), (x, POST), 0.05, NET)
    for i in range(29):
        y = -POST + i * 2 * POST / 28
        canvas.line((GOAL_LINE, y), (GOAL_LINE + NET_DEPTH, y), 0.05, NET)
    canvas.line((GOAL_LINE, -POST), (GOAL_LINE + NET_DEPTH, -POST), 0.16, NET)
    canvas.line((GOAL_LINE, POST), (GOAL_LINE + NET_DEPTH, POST), 0.16, NET)
    canvas.line((GOAL_LINE + NET_DEPTH, -POST), (GOAL_LINE + NET_DEPTH, POST), 0.16, NET)
    for y in (-POST, POST):
        canvas.circle(GOAL_LINE, y, 0.28, POSTS)


def draw(canvas: Canvas, pose: Pose) -> None:
    """Draws the player, the goalie and the ball.

    Args:
        canvas: where to draw.
        pose: (player x, y, orientation, goalie x, y, orientation, ball x, y).
    """
    x, y, orientation, goalie_x, goalie_y, goalie_orientation, ball_x, ball_y = pose
    _draw_person(canvas, x, y, orientation, PLAYER, PLAYER_DARK)
    _draw_person(canvas, goalie_x, goalie_y, goalie_orientation, GOALIE, GOALIE_DARK)
    _draw_ball(canvas, ball_x, ball_y)


def _draw_outline(canvas: Canvas, x: float, y: float, width: float, height: float) -> None:
    corners = [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
    for start, end in zip(corners, corners[1:] + corners[:1], strict=True):
        canvas.line(start, end, LINE, CHALK)


def _draw_person(canvas: Canvas, x: float, y: float, orientation: float, shirt: Color, rim: Color) -> None:
    cos, sin = math.cos(orientation), math.sin(orientation)

    def at(ahead: float, left: float) -> Point:
        return x + ahead * cos - left * sin, y + ahead * sin + left * cos

    (left_x, left_y), (right_x, right_y) = at(0.1, 0.55), at(0.1, -0.55)
    canvas.line((left_x + 0.2, left_y - 0.2), (right_x + 0.2, right_y - 0.2), 0.95, SHADOW)
    for side in (-1, 1):
        canvas.line(at(0.1, 0.32 * side), at(0.72, 0.32 * side), 0.34, BOOT)
        canvas.line(at(0.0, 0.72 * side), at(0.42, 0.86 * side), 0.26, SKIN)
    canvas.line(at(0, -0.5), at(0, 0.5), 0.86, rim)
    canvas.line(at(0, -0.5), at(0, 0.5), 0.7, shirt)
    canvas.circle(*at(0.06, 0), 0.4, SKIN)
    canvas.circle(*at(-0.04, 0), 0.37, HAIR)


def _draw_ball(canvas: Canvas, x: float, y: float) -> None:
    canvas.circle(x + 0.12, y - 0.12, 0.4, SHADOW)
    canvas.circle(x, y, 0.4, BALL_PATCH)
    canvas.circle(x, y, 0.36, BALL)
    canvas.circle(x, y, 0.13, BALL_PATCH)
    for i in range(5):
        angle = 2 * math.pi * i / 5 + x  # turns as it rolls
        canvas.circle(x + 0.29 * math.cos(angle), y + 0.29 * math.sin(angle), 0.07, BALL_PATCH)


PICTURE = Picture(SIZE, SCALE, ORIGIN, draw_background, draw)

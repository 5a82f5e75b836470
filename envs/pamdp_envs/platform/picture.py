"""What the Platform environment looks like."""

from __future__ import annotations

from pamdp_envs.common.rendering import Canvas, Color, Picture, Pose
from pamdp_envs.platform.world import GROUND, HEIGHT, LEDGES, WIDTH, WORLD_WIDTH

SIZE = (960, 256)  # of a frame in pixels
SCALE = 0.875  # pixels per unit
ORIGIN = (-31.0, -25.0)  # of the frame, its lower-left corner
SKY_TOP, SKY_BOTTOM = (112, 184, 240), (226, 243, 252)
SUN = (255, 236, 160)
CLOUD = (250, 253, 255)
FAR_HILL, NEAR_HILL = (176, 214, 196), (146, 197, 164)
WATER, WAVE = (58, 134, 190), (92, 164, 214)
EARTH, STONE = (140, 94, 62), (118, 76, 50)
GRASS, BLADES = (96, 176, 72), (126, 202, 96)
POLE, FLAG = (96, 84, 80), (236, 180, 40)
SHIRT, TROUSERS, SKIN, HAIR = (44, 92, 200), (34, 48, 92), (246, 206, 166), (92, 58, 36)
ENEMY, ENEMY_DARK = (200, 56, 66), (132, 28, 44)
WHITE, BLACK = (255, 255, 255), (30, 30, 40)


def draw_background(canvas: Canvas) -> None:
    """Draws sky, hills, water and the three platforms."""
    _draw_sky(canvas)
    for x, y, radius in ((90.0, -190.0, 330.0), (520.0, -300.0, 430.0), (930.0, -210.0, 350.0)):
        canvas.circle(x, y, radius, FAR_HILL)
    for x, y, radius in ((310.0, -270.0, 360.0), (740.0, -360.0, 440.0), (1060.0, -190.0, 290.0)):
        canvas.circle(x, y, radius, NEAR_HILL)
    canvas.rectangle(canvas.left, canvas.bottom, canvas.width, 12 - canvas.bottom, WATER)
    for row, y in enumerate((9.0, 0.0, -9.0)):
        for i in range(round(canvas.width / 36) + 2):
            canvas.ellipse(canvas.left + i * 36 + row % 2 * 18, y, 20, 2.5, WAVE)
    for ledge in LEDGES:
        _draw_ledge(canvas, ledge.x, ledge.width)
    canvas.rectangle(WORLD_WIDTH + 6, GROUND, 3, 74, POLE, radius=1.5)
    canvas.polygon([(WORLD_WIDTH + 6, 112), (WORLD_WIDTH + 6, 88), (WORLD_WIDTH - 22, 100)], FLAG)


def draw(canvas: Canvas, pose: Pose) -> None:
    """Draws the player and the two enemies.

    Args:
        canvas: where to draw.
        pose: (player x, player y, enemy 1 x, its speed, enemy 2 x, its speed).
    """
    x, y, *enemies = pose
    _draw_enemy(canvas, enemies[0], enemies[1])
    _draw_enemy(canvas, enemies[2], enemies[3])
    _draw_player(canvas, x, y)


def _draw_sky(canvas: Canvas) -> None:
    bands = 80
    height = canvas.height / bands
    for i in range(bands):
        share = i / (bands - 1)
        color: Color = (
            round(SKY_BOTTOM[0] + share * (SKY_TOP[0] - SKY_BOTTOM[0])),
            round(SKY_BOTTOM[1] + share * (SKY_TOP[1] - SKY_BOTTOM[1])),
            round(SKY_BOTTOM[2] + share * (SKY_TOP[2] - SKY_BOTTOM[2])),
        )
        canvas.rectangle(canvas.left, canvas.bottom + i * height, canvas.width, height + 1, color)
    canvas.circle(890, 212, 24, SUN)
    for x, y, size in ((150, 205, 1.0), (425, 232, 0.7), (680, 200, 1.1)):
        for dx, dy, radius in ((-26, 0, 13), (-8, 8, 18), (14, 4, 16), (30, -1, 11)):
            canvas.circle(x + dx * size, y + dy * size, radius * size, CLOUD)
        canvas.rectangle(x - 38 * size, y - 13 * size, 78 * size, 14 * size, CLOUD, radius=7 * size)


def _draw_ledge(canvas: Canvas, x: float, width: float) -> None:
    canvas.rectangle(x, canvas.bottom, width, GROUND - canvas.bottom, EARTH, radius=5)
    for i in range(int(width / 23)):
        stone_y = canvas.bottom + 8 + 17 * i % 40
        if i * 23 + 19 < width:
            canvas.rectangle(x + 7 + i * 23, stone_y, 11, 5, STONE, radius=2.5)
    canvas.rectangle(x, GROUND - 9, width, 9, GRASS, radius=4)
    canvas.rectangle(x + 2, GROUND - 3, width - 4, 3, BLADES, radius=1.5)


def _draw_player(canvas: Canvas, x: float, y: float) -> None:
    middle = x + WIDTH / 2
    if y > GROUND:  # in the air: arms up, legs spread
        feet = ((-6.0, 3.0), (8.0, 4.0))
        hands = ((-9.0, 21.0), (9.5, 22.0))
    else:
        feet = ((-4.0, 1.5), (4.0, 1.5))
        hands = ((-7.5, 9.0), (7.5, 9.0))
    for dx, dy in feet:
        canvas.line((middle + dx * 0.4, y + 9), (middle + dx, y + dy), 4.2, TROUSERS)
    for dx, dy in hands:
        canvas.line((middle + dx * 0.5, y + 15), (middle + dx, y + dy), 3.2, SKIN)
    canvas.rectangle(middle - 6, y + 7, 12, 11, SHIRT, radius=4)
    canvas.circle(middle, y + 23, 7, SKIN)
    canvas.ellipse(middle - 1, y + 27.2, 12, 5.6, HAIR)
    canvas.ellipse(middle + 3.4, y + 23.2, 2.2, 3.2, BLACK)


def _draw_enemy(canvas: Canvas, x: float, speed: float) -> None:
    middle, ahead = x + WIDTH / 2, 1.0 if speed > 0 else -1.0
    for dx in (-5.5, 5.5):
        canvas.ellipse(middle + dx + ahead, GROUND + 2.5, 9, 5, ENEMY_DARK)
    for dx in (-7.0, 0.0, 7.0):
        canvas.polygon(
            [
                (middle + dx - 3.5, GROUND + 22),
                (middle + dx, GROUND + HEIGHT),
                (middle + dx + 3.5, GROUND + 22),
            ],
            ENEMY_DARK,
        )
    canvas.rectangle(x, GROUND + 3, WIDTH, 23, ENEMY, radius=9)
    for dx in (-3.5, 3.5):
        eye = middle + dx + 2.5 * ahead
        canvas.circle(eye, GROUND + 17, 3, WHITE)
        canvas.circle(eye + ahead, GROUND + 16.6, 1.5, BLACK)
        canvas.line((eye - 2.6, GROUND + 20 + dx / 3.5), (eye + 2.6, GROUND + 20 - dx / 3.5), 1.4, ENEMY_DARK)
    canvas.rectangle(middle + 2.5 * ahead - 5, GROUND + 8, 10, 2.6, ENEMY_DARK, radius=1.3)


PICTURE = Picture(SIZE, SCALE, ORIGIN, draw_background, draw)

"""Draw the pictures of the bundled environments: one jump and one goal, each with its substeps in one image.

Run it as `python examples/render_pictures.py docs/images`.
"""

import argparse
from pathlib import Path

import gymnasium as gym
import numpy as np
import pamdp_envs
import pygame

gym.register_envs(pamdp_envs)


def play(env_id: str, seed: int, actions: list[tuple]) -> tuple[list[np.ndarray], int]:
    """Take the actions and return the frames of all their substeps, with the number of the last action's."""
    env = gym.make(env_id, render_mode="rgb_array_list")
    env.reset(seed=seed)
    for action in actions:
        info = env.step(action)[4]
    frames = env.render()
    env.close()
    return frames, info["substeps"]


def overlay(frames: list[np.ndarray], last: int, every: int) -> np.ndarray:
    """The last frame, with each `every`-th of the `last` ones shining through where something moved."""
    still = np.median(frames[::5], axis=0)  # without what moves
    picture = still
    for frame in frames[-last::every]:
        moved = np.any(frame != still, axis=-1, keepdims=True)
        picture = np.where(moved, 0.6 * picture + 0.4 * frame, picture)
    moved = np.any(frames[-1] != still, axis=-1, keepdims=True)
    return np.where(moved, frames[-1], picture).astype(np.uint8)


def save(picture: np.ndarray, path: Path) -> None:
    pygame.image.save(pygame.surfarray.make_surface(picture.swapaxes(0, 1)), path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where to write platform.png and goal.png")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)

    hops_and_runs = [(1, 405.0), (0, 25.0), (0, 19.0), (1, 545.0)]
    jump = play("pamdp/Platform-v0", 0, [(k, (power, power, power)) for k, power in hops_and_runs])
    save(overlay(*jump, every=12), folder / "platform.png")

    dribble, shot = (0, ((1.0, 8.0), 0.0, 0.0)), (1, ((0.0, 0.0), 4.36, 0.0))
    goal = play("pamdp/Goal-v1", 771, [dribble, shot])
    save(overlay(*goal, every=5), folder / "goal.png")


if __name__ == "__main__":
    main()

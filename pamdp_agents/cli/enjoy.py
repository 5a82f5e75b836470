"""`pamdp-agents enjoy`."""

from __future__ import annotations

import argparse
import os

from pamdp_agents.cli.common import CommandError, open_trained

VIDEO_EPISODES = 3


def enjoy(args: argparse.Namespace) -> int:
    """Shows a trained agent in a window, or writes a video of it, and returns the exit code.

    Raises:
        CommandError: There is no screen for a window, or the video cannot be written.
    """
    from pamdp_agents.experiments import video

    if args.output is not None and args.output.suffix not in video.FORMATS:
        raise CommandError(f"--output must end in {' or '.join(video.FORMATS)}, got {args.output}")
    if args.n_timesteps is None and args.n_episodes is None:
        args.n_timesteps, args.n_episodes = (1000, None) if args.output is None else (None, VIDEO_EPISODES)
    if args.output is None:
        _check_display()
    with open_trained(args, render_mode="human" if args.output is None else "rgb_array_list") as (agent, env):
        frames = video.play(
            agent, env, args.n_timesteps, args.n_episodes, args.deterministic, args.seed, _print_episode
        )
        if args.output is None:
            for _ in frames:
                pass  # the window is the environment's
            return 0
        try:
            n_frames = video.write_video(args.output, frames, env.metadata.get("render_fps", 30))
        except ImportError as error:
            raise CommandError('videos need imageio and ffmpeg: pip install "pamdp-agents[video]"') from error
    print(f"{n_frames} frames in {args.output}")
    return 0


def _print_episode(number: int, episode_return: float, length: int) -> None:
    print(f"episode {number}: return {episode_return:.3f}, {length} steps", flush=True)


def _check_display() -> None:
    """Refuses a window where there is no screen for it; without one, pygame draws where nobody sees it, or crashes."""
    try:
        import pygame

        pygame.display.init()
        hidden = pygame.display.get_driver() in ("offscreen", "dummy") and "SDL_VIDEODRIVER" not in os.environ
    except ImportError:
        return  # the environment may not need it, and says so if it does
    except RuntimeError:  # pygame's own errors are of this kind
        hidden = True
    if hidden:
        raise CommandError("there is no display for a window; write a video with --output FILE.gif or FILE.mp4")

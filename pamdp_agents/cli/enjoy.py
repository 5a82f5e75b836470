"""`pamdp-agents enjoy`."""

from __future__ import annotations

import argparse

from pamdp_agents.cli.common import CommandError, open_trained
from pamdp_agents.experiments.display import has_display

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
    if "render_mode" in dict(args.env_kwargs):
        raise CommandError("--env-kwargs: render_mode is up to enjoy: a window, or a video with --output")
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
    if not has_display():
        raise CommandError("there is no display for a window; write a video with --output FILE.gif or FILE.mp4")

import subprocess
import sys
import warnings
from itertools import pairwise
from pathlib import Path

import gymnasium as gym
import numpy as np
import pamdp_envs
import pytest
from gymnasium.utils.env_checker import check_env
from pamdp_envs import GoalEnv, PlatformEnv, RecordSubsteps

gym.register_envs(pamdp_envs)

IDS = ["pamdp/Platform-v0", "pamdp/Goal-v0", "pamdp/Goal-v1"]
SHAPES = {"pamdp/Platform-v0": (256, 960, 3), "pamdp/Goal-v0": (640, 512, 3), "pamdp/Goal-v1": (640, 512, 3)}
RUN = (0, ([20.0], [0.0], [0.0]))
KICK = (0, ([6.0, 2.0], [0.0], [0.0]))


@pytest.fixture(autouse=True)
def no_display(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


@pytest.mark.parametrize("env_id", IDS)
def test_gymnasiums_checker_is_content_with_every_render_mode(env_id):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(gym.make(env_id, render_mode="rgb_array").unwrapped)
    messages = [str(warning.message) for warning in caught]
    assert not [message for message in messages if "render" in message.lower()]
    assert gym.make(env_id).metadata["render_modes"] == ["human", "rgb_array", "rgb_array_list"]


@pytest.mark.parametrize("env_id", IDS)
def test_rgb_array_gives_one_frame_of_the_present(env_id):
    env = gym.make(env_id, render_mode="rgb_array")
    env.reset(seed=0)
    before = env.render()
    assert before.shape == SHAPES[env_id]
    assert before.dtype == np.uint8
    np.testing.assert_array_equal(before, env.render())
    env.step(RUN if "Platform" in env_id else KICK)
    assert not np.array_equal(before, env.render())


@pytest.mark.parametrize(("env_class", "action"), [(PlatformEnv, RUN), (GoalEnv, KICK)])
def test_rgb_array_list_gives_the_start_and_every_substep_since_the_last_call(env_class, action):
    env = env_class(render_mode="rgb_array_list")
    env.reset(seed=0)
    first = env.step(action)[4]["substeps"]
    second = env.step(action)[4]["substeps"]
    frames = env.render()
    assert len(frames) == 1 + first + second
    for earlier, later in pairwise(frames[:10]):
        assert not np.array_equal(earlier, later)
    assert env.render() == []
    third = env.step(action)[4]["substeps"]
    assert len(env.render()) == third
    env.step(action)
    env.reset()
    assert len(env.render()) == 1


def test_the_last_frame_of_a_list_is_the_frame_of_the_present():
    listing, present = PlatformEnv(render_mode="rgb_array_list"), PlatformEnv(render_mode="rgb_array")
    for env in (listing, present):
        env.reset(seed=0)
        env.step(RUN)
    np.testing.assert_array_equal(listing.render()[-1], present.render())


def test_the_unsimulated_last_step_of_goal_still_has_a_frame():
    env = GoalEnv(published_quirks=False, render_mode="rgb_array_list")
    observation, _ = env.reset(seed=0)
    for _ in range(99):
        observation, _, _, _, _ = env.step((0, (observation[:2], 0.0, 0.0)))
    assert len(env.render()) > 99
    truncated = env.step((0, ([0.0, 0.0], 0.0, 0.0)))[3]
    assert truncated
    assert len(env.render()) == 1


@pytest.mark.parametrize(("env_class", "action"), [(PlatformEnv, RUN), (GoalEnv, KICK)])
def test_human_mode_shows_every_substep_in_a_window_that_close_closes(env_class, action, monkeypatch):
    import pygame

    flips = []
    env = env_class(render_mode="human")
    monkeypatch.setattr(pygame.display, "flip", lambda: flips.append(pygame.display.get_surface().get_size()))
    env.reset(seed=0)
    substeps = env.step(action)[4]["substeps"]
    assert len(flips) == 1 + substeps
    assert env.render() is None
    env.close()
    assert not pygame.display.get_init()
    env.close()


@pytest.mark.parametrize("env_class", [PlatformEnv, GoalEnv])
def test_rendering_changes_nothing_in_the_episode(env_class):
    plain, rendered = env_class(), env_class(render_mode="rgb_array_list")
    plain.action_space.seed(0)
    plain.reset(seed=0)
    rendered.reset(seed=0)
    for _ in range(3):
        action = plain.action_space.sample()
        np.testing.assert_array_equal(plain.step(action)[0], rendered.step(action)[0])


def test_render_collection_gets_a_frame_per_step():
    env = gym.wrappers.RenderCollection(gym.make("pamdp/Platform-v0", render_mode="rgb_array"))
    env.reset(seed=0)
    env.step(RUN)
    assert len(env.render()) == 2


def test_render_without_a_render_mode_warns_and_returns_nothing():
    env = PlatformEnv()
    env.reset(seed=0)
    with pytest.warns(UserWarning, match="render_mode="):
        assert env.render() is None


def test_an_unknown_render_mode_is_refused_with_the_accepted_ones():
    with pytest.raises(ValueError, match=r"'human', 'rgb_array', 'rgb_array_list'.*got 'ansi'"):
        GoalEnv(render_mode="ansi")


@pytest.mark.parametrize("env_id", IDS)
def test_missing_pygame_is_named_with_the_extra_that_installs_it(env_id):
    code = (
        "import sys; sys.modules['pygame'] = None\n"
        "import gymnasium, pamdp_envs\n"
        f"gymnasium.make('{env_id}').reset()\n"
        "try:\n"
        f"    gymnasium.make('{env_id}', render_mode='rgb_array')\n"
        "except gymnasium.error.DependencyNotInstalled as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "pamdp-agents[render]"' in done.stdout


def test_record_substeps_refuses_a_render_mode_with_one_frame_per_step(tmp_path):
    with pytest.raises(ValueError, match=r"rgb_array_list.*'rgb_array'"):
        RecordSubsteps(gym.make("pamdp/Platform-v0", render_mode="rgb_array"), str(tmp_path / "videos"))


def test_a_recorded_video_is_whole_or_that_of_before(tmp_path, monkeypatch):
    from moviepy.video.io.ImageSequenceClip import ImageSequenceClip

    def half(self, path, **options):
        Path(path).write_bytes(b"half")
        raise OSError("ffmpeg has ended")

    videos = tmp_path / "videos"
    left = videos / ".rl-video-episode-0.unfinished"
    left.mkdir(parents=True)
    (left / "rl-video-episode-0.mp4").write_bytes(b"of a process that was killed")
    env = gym.make("pamdp/Platform-v0", render_mode="rgb_array_list")
    with pytest.warns(UserWarning, match="Overwriting existing videos"):
        env = RecordSubsteps(env, str(videos), episode_trigger=lambda episode: True)
    env.reset(seed=0)
    env.stop_recording()
    assert [path.name for path in videos.iterdir()] == ["rl-video-episode-0.mp4"]
    whole = (videos / "rl-video-episode-0.mp4").read_bytes()
    env.start_recording("rl-video-episode-0")
    env.step(RUN)
    monkeypatch.setattr(ImageSequenceClip, "write_videofile", half)
    with pytest.raises(OSError, match="ffmpeg has ended"):
        env.stop_recording()
    assert [path.name for path in videos.iterdir()] == ["rl-video-episode-0.mp4"]
    assert (videos / "rl-video-episode-0.mp4").read_bytes() == whole


def test_a_recorded_video_holds_every_substep(tmp_path):
    import moviepy

    env = gym.make("pamdp/Platform-v0", render_mode="rgb_array_list")
    env = RecordSubsteps(env, str(tmp_path / "videos"), episode_trigger=lambda episode: True)
    env.reset(seed=0)
    substeps = env.step(RUN)[4]["substeps"] + env.step(RUN)[4]["substeps"]
    env.close()
    (video,) = (tmp_path / "videos").glob("*.mp4")
    with moviepy.VideoFileClip(str(video)) as clip:
        assert round(clip.duration * clip.fps) == 1 + substeps
        assert clip.fps == env.metadata["render_fps"]

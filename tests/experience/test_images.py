"""Images in the replay buffer: bytes, and those that are the same once; what comes out is what went in, to the bit."""

import contextlib
import io
from functools import partial

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from toy_environments import Film, Numbered

from pamdp_agents import MPDQN, PDQN
from pamdp_agents.experience.images import ImageCodec, Images, SharedImages
from pamdp_agents.spaces import ObservationTransform

SMALL = {"policy_kwargs": {"net_arch": [8]}, "batch_size": 4, "buffer_size": 50, "seed": 0, "learning_starts": 1000}
IMAGE = gym.spaces.Box(0, 255, (5, 7), np.uint8)
ODD = gym.spaces.Box(3, 200, (2, 2, 2), np.uint8)
SPACES = {
    "image": IMAGE,
    "bounds of its own": ODD,
    "two and a vector": gym.spaces.Dict(a=IMAGE, b=gym.spaces.Box(-1, 1, (3,)), c=ODD),
}


def make(env=None, kind=PDQN, **settings):
    env = env or Film(0, 4)
    is_dict = isinstance(getattr(env, "single_observation_space", env.observation_space), gym.spaces.Dict)
    return kind("MultiInputPolicy" if is_dict else "MlpPolicy", env, **SMALL | settings)


def several(mode, as_dict=False):
    return SyncVectorEnv([partial(Film, label, 2 + label, as_dict) for label in range(3)], autoreset_mode=mode)


def assert_same_transitions(one, other):
    assert (len(one), one.pos, one.full) == (len(other), other.pos, other.full)
    for name in one.layout.places:
        np.testing.assert_array_equal(one.part(name), other.part(name), err_msg=name)
    indices = np.arange(len(one))[::-1]
    np.testing.assert_array_equal(one.take(indices), other.take(indices))


# -------------------------------------------------------------------- bytes


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("scaling", [{}, {"scale": False}, {"scale_images": False}], ids=str)
def test_bytes_are_the_scaled_observations_again(space, scaling):
    transform = ObservationTransform(space, **scaling)
    codec = ImageCodec(transform)
    space.seed(0)
    rows = transform.batch([space.sample() for _ in range(20)])
    images, out = codec.encode(rows), np.full_like(rows, np.nan)
    assert images.dtype == np.uint8 and images.shape == (20, codec.size)
    assert codec.size + len(codec.others) == rows.shape[1]
    codec.decode(images, rows[:, codec.others], out)
    np.testing.assert_array_equal(out, rows)


def test_what_is_no_image_is_left_as_it_is():
    for space in (
        gym.spaces.Box(0, 255, (9,), np.uint8),
        gym.spaces.Box(0, 255, (3, 3), np.float32),
        gym.spaces.Box(np.zeros((2, 2), np.uint8), np.array([[1, 2], [3, 4]], np.uint8)),  # scaled each in its own way
        gym.spaces.Box(7, 7, (2, 2), np.uint8),
        gym.spaces.Discrete(5),
    ):
        assert ImageCodec(ObservationTransform(space)).size == 0


@pytest.mark.parametrize("wrong", [0.5, -1, 256])
def test_an_image_that_is_none_is_refused_and_nothing_is_stored(wrong):
    class Wrong(Film):
        def observe(self):
            image = super().observe().astype(np.float32)
            image[0, 2] = wrong if self.t == 2 else 0
            return image

    agent = make(Wrong())
    with pytest.raises(ValueError, match=r"is of uint8, but an image was not of whole numbers from 0 to 255"):
        agent.learn(5)
    assert len(agent.replay_buffer) == 1


def test_a_wrong_image_that_is_added_is_refused():
    buffer = make().replay_buffer
    with pytest.raises(ValueError, match="whole numbers from 0 to 255"):
        buffer.add(np.full((2, 3), 0.5), np.zeros((2, 3)), buffer.action_space.sample(), 0.0, False, {})
    assert len(buffer) == 0


def test_a_buffer_of_images_takes_a_quarter_and_then_an_eighth_of_the_memory():
    whole = 2 * 4 * 6 * 500  # two observations of 6 float32 for each transition
    images = make(buffer_size=500).replay_buffer.images
    assert images.before.nbytes + images.after.nbytes == whole / 4
    images = make(Film(0, 100), buffer_size=500, optimize_memory_usage=True).learn(700).replay_buffer.images
    assert images.before.nbytes == whole / 8
    assert len(images.after) == 16  # room for five ends of episodes, and the newest


# -------------------------------------------------------------------- once


def test_images_kept_once_are_those_kept_twice():
    rng = np.random.default_rng(0)
    for n, n_envs in ((7, 1), (7, 3), (3, 3), (4, 3), (40, 4)):
        twice, once = Images(n, 2), SharedImages(n, 2)
        current, pos, stored = rng.integers(0, 256, (n_envs, 2), np.uint8), 0, 0
        for _ in range(200):
            envs = np.flatnonzero(rng.random(n_envs) < 0.8)[: n - pos]
            after = rng.integers(0, 256, (len(envs), 2), np.uint8)
            places = np.arange(pos, pos + len(envs))
            for images in (twice, once):
                images.write(places, current[envs], after, envs)
            current[envs] = after
            ended = envs[rng.random(len(envs)) < 0.2]
            current[ended] = rng.integers(0, 256, (len(ended), 2), np.uint8)
            pos, stored = (pos + len(envs)) % n, min(stored + len(envs), n)
            np.testing.assert_array_equal(once.before, twice.before)
            np.testing.assert_array_equal(once.read_after(np.arange(stored)), twice.after[:stored])
            assert len(once.after) <= n


@pytest.mark.parametrize("mode", AutoresetMode, ids=str)
def test_every_autoreset_mode(mode):
    agents = [make(several(mode, True), buffer_size=17, optimize_memory_usage=once).learn(50) for once in (False, True)]
    twice, once = (agent.replay_buffer for agent in agents)
    assert_same_transitions(twice, once)
    before, t = once.observations, once.next_observations["place"].round()[:, 1]
    ends = t == 2 + before["image"][:, 0, 0] + before["place"].round()[:, 0] % 2
    assert (once.images.after_at < 0).sum() <= ends.sum() + 3  # and after the newest step of each environment


def test_training_is_the_same_however_images_are_kept():
    settings = {"learning_starts": 20, "replay_buffer_class": "PrioritizedReplayBuffer", "buffer_size": 31}
    one, other = (
        make(several(AutoresetMode.SAME_STEP), optimize_memory_usage=once, **settings).learn(60)
        for once in (False, True)
    )
    np.testing.assert_array_equal(np.asarray(one.learner.state), np.asarray(other.learner.state))
    assert other.replay_buffer.sample(9).next_observations.shape == (9, 2, 3)


def test_with_returns_of_several_steps_images_are_bytes_too():
    film, numbered = (make(env, n_steps=3, gamma=0.5).learn(9).replay_buffer for env in (Film(0, 4), Numbered(0, 4)))
    assert film.images is not None
    np.testing.assert_array_equal(film.rewards, numbered.rewards)
    np.testing.assert_allclose(film.next_observations[:, 0, 2], numbered.next_observations[:, 2], atol=1e-3)


# -------------------------------------------------------------------- files


@pytest.mark.parametrize("of, to, size", [(False, True, 20), (True, False, 12), (True, True, 60), (True, True, 20)])
def test_a_file_goes_into_a_buffer_of_another_size_that_keeps_images_otherwise(of, to, size):
    agent = make(several(AutoresetMode.SAME_STEP), buffer_size=20, optimize_memory_usage=of).learn(30)
    agent.save_replay_buffer(file := io.BytesIO())
    other = make(several(AutoresetMode.SAME_STEP), buffer_size=size, optimize_memory_usage=to)
    with pytest.warns(UserWarning, match="newest 12") if size == 12 else contextlib.nullcontext():
        other.load_replay_buffer(file)
    own, theirs, n = agent.replay_buffer, other.replay_buffer, min(size, 20)
    newest = (theirs.pos - 1 - np.arange(n)) % size
    np.testing.assert_array_equal(own.take((own.pos - 1 - np.arange(n)) % 20), theirs.take(newest))
    if to:
        assert (theirs.images.after_at[newest] < 0).sum() < 12
    if size == 20:  # the same ring, which goes on in the same way
        other.restore_progress(agent.progress_state())
        for each in (agent, other):
            each.set_env(several(AutoresetMode.SAME_STEP))
            each.learn(10)
        assert_same_transitions(own, theirs)


def test_a_file_of_before_with_images_as_float32_is_read():
    agent = make(Film(0, 4, True)).learn(9)
    buffer, state = agent.replay_buffer, agent.replay_state()
    before = {name: part for name, part in state.items() if "images" not in name}
    before |= {name: buffer.part(name) for name in ("s", "s2")}
    other = make(Film(0, 4, True), optimize_memory_usage=True)
    other.restore_replay(before)
    assert_same_transitions(other.replay_buffer, buffer)
    before["s"][0, 2] = 0.1234
    with pytest.raises(ValueError, match="whole numbers"):
        other.restore_replay(before)
    assert_same_transitions(other.replay_buffer, buffer)


def test_damaged_images_are_refused_and_the_old_buffer_stays():
    state = make(optimize_memory_usage=True).learn(9).replay_state()
    m, agent = len(state["s2_images"]), make()
    for changes in (
        {"s_images": np.zeros((9, 6), "f")},
        {"s_images": np.zeros((8, 6), np.uint8)},
        {"s2_images": np.zeros((m, 5), np.uint8)},
        {"s2_images": np.zeros((m - 1, 6), np.uint8)},
        {"s2_images_at": np.zeros(8, np.int64)},
        {"s2_images_at": np.zeros(9)},
        {"s2_images_at": np.full(9, 9)},
        {"s2_images_at": np.full(9, -1 - m)},
        {"more": np.zeros(9)},
    ):
        with pytest.raises(ValueError, match="replay buffer"):
            agent.restore_replay(state | changes)
    with pytest.raises(KeyError, match="s2_images"):
        agent.restore_replay({name: part for name, part in state.items() if name != "s2_images"})
    assert len(agent.replay_buffer) == 0
    with pytest.raises(ValueError, match="another agent"):
        make(Numbered()).restore_replay(state)


def test_the_setting_is_saved():
    make(optimize_memory_usage=True).save(file := io.BytesIO())
    loaded = PDQN.load(file)
    assert loaded.optimize_memory_usage is True and isinstance(loaded.replay_buffer.images, SharedImages)
    assert not isinstance(PDQN.load(file, optimize_memory_usage=False).replay_buffer.images, SharedImages)


@pytest.mark.parametrize(
    "env, settings, message",
    [
        (Numbered, {}, r"optimize_memory_usage=True keeps images once.* has none"),
        (Film, {"n_steps": 2}, "optimize_memory_usage=True cannot be had with n_steps=2"),
        (Film, {"replay_buffer_kwargs": {"handle_timeout_termination": False}}, "handle_timeout_termination"),
    ],
)
def test_what_cannot_be_had_is_refused(env, settings, message):
    with pytest.raises(ValueError, match=message):
        make(env(), MPDQN, optimize_memory_usage=True, **settings)

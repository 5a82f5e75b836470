import warnings
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import RecordEpisodeStatistics, TransformReward
from gymnasium.wrappers.vector import RecordEpisodeStatistics as VectorRecordEpisodeStatistics

from pamdp_agents.environments.gymnasium_vector import batch_actions
from pamdp_agents.evaluation import evaluate_policy, play_episodes


class Corridor(gym.Env):
    """Walk by the parameter of "step" (0) or stand with "wait" (1) until the position passes the end.

    Each step pays 1; the start position depends on the seed, so that the length of an episode does too.
    """

    observation_space = spaces.Box(-1.0, 20.0, (1,), np.float64)
    action_space = spaces.Tuple(
        (spaces.Discrete(2), spaces.Tuple((spaces.Box(0.5, 1.0, (1,)), spaces.Box(0.0, 0.0, (0,)))))
    )

    def __init__(self, length: float = 5.0) -> None:
        self.length = length

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.position = float(self.np_random.uniform(-1.0, 1.0))
        self.steps = 0
        return np.array([self.position]), {"start": self.position}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        assert self.action_space.contains(action), action
        k, parameters = action
        self.steps += 1
        if k == 0:
            self.position += float(parameters[0][0])
        arrived = self.position >= self.length
        info = {"steps": self.steps, "is_success": arrived}
        return np.array([self.position]), 1.0, arrived, self.steps >= 30, info


class Walker:
    """A user's policy: always walk, `stride` at a time; remembers what it was asked with."""

    def __init__(self, stride: float = 1.0) -> None:
        self.stride = stride
        self.calls: list[tuple[Any, Any, Any, bool]] = []

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        self.calls.append((observation, state, episode_start, deterministic))
        action = (0, (np.array([self.stride], np.float32), np.zeros(0, np.float32)))
        n_calls = 1 if state is None else state + 1
        return (action if observation.ndim == 1 else [action] * len(observation)), n_calls


class FourValueVecEnv:
    """The part of SB3's `VecEnv` interface that a user's loop touches, over real environments."""

    def __init__(self, makers: list[Callable[[], gym.Env]]) -> None:
        self.envs = [make() for make in makers]
        self.num_envs = len(makers)
        self.seeds: list[int | None] = [None] * self.num_envs

    def seed(self, seed: int) -> None:
        self.seeds = [seed + i for i in range(self.num_envs)]

    def reset(self) -> np.ndarray:
        observations = [env.reset(seed=seed)[0] for env, seed in zip(self.envs, self.seeds, strict=True)]
        self.seeds = [None] * self.num_envs
        return np.stack(observations)

    def step(self, actions: list[Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict]]:
        results = []
        for env, action in zip(self.envs, actions, strict=True):
            observation, reward, terminated, truncated, info = env.step(action)
            if terminated or truncated:
                info = {**info, "terminal_observation": observation}
                observation, _ = env.reset()
            results.append((observation, reward, terminated or truncated, info))
        observations, rewards, dones, infos = zip(*results, strict=True)
        return np.stack(observations), np.array(rewards), np.array(dones), list(infos)


def recorded(length: float = 5.0) -> gym.Env:
    return RecordEpisodeStatistics(Corridor(length))


def of_one_env(n_episodes: int, seed: int, length: float = 5.0) -> list[int]:
    """The lengths of episodes played one after another: what any vectorization must reproduce."""
    env, lengths = Corridor(length), []
    for i in range(n_episodes):
        env.reset(seed=seed if i == 0 else None)
        done = False
        while not done:
            _, _, done, _, info = env.step((0, (np.ones(1, np.float32), np.zeros(0, np.float32))))
        lengths.append(info["steps"])
    return lengths


def test_mean_and_deviation_are_those_of_the_episode_returns() -> None:
    rewards, lengths = evaluate_policy(Walker(), recorded(), 7, return_episode_rewards=True, seed=3)
    assert lengths == of_one_env(7, seed=3)
    assert rewards == [float(length) for length in lengths]
    assert evaluate_policy(Walker(), recorded(), 7, seed=3) == (np.mean(rewards), np.std(rewards))


def test_a_seed_repeats_the_evaluation() -> None:
    env = recorded()
    runs = [evaluate_policy(Walker(0.7), env, 5, return_episode_rewards=True, seed=seed) for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


def test_a_single_environment_is_asked_for_one_action_at_a_time() -> None:
    policy = Walker()
    evaluate_policy(policy, recorded(), 2, deterministic=False, seed=0)
    observations, states, starts, deterministic = zip(*policy.calls, strict=True)
    assert {observation.shape for observation in observations} == {(1,)}
    assert states == (None, *range(1, len(states)))
    first, _ = of_one_env(2, seed=0)
    assert [bool(start[0]) for start in starts] == [i in (0, first) for i in range(len(starts))]
    assert set(deterministic) == {False}


@pytest.mark.parametrize(
    ("mode", "recording"),
    [
        (mode, recording)
        for mode in AutoresetMode
        for recording in ("none", "inner", "outer")
        # Gymnasium's vector RecordEpisodeStatistics forgets all counts when only some environments are reset.
        if not (mode == AutoresetMode.DISABLED and recording == "outer")
    ],
)
def test_a_vector_environment_gives_the_episodes_of_its_parts_in_every_autoreset_mode(
    mode: AutoresetMode, recording: str
) -> None:
    make = recorded if recording == "inner" else Corridor
    env: VectorEnv = SyncVectorEnv([lambda: make(5.0), lambda: make(9.0), lambda: make(3.0)], autoreset_mode=mode)
    env = VectorRecordEpisodeStatistics(env) if recording == "outer" else env
    ended: list[tuple[int, int, bool]] = []

    def note(locals_: dict[str, Any], globals_: dict[str, Any]) -> None:
        if locals_["done"]:
            ended.append((locals_["i"], locals_["info"]["steps"], locals_["info"]["is_success"]))

    rewards, lengths = evaluate_policy(
        Walker(), env, 8, callback=note, return_episode_rewards=True, warn=recording != "none", seed=11
    )
    expected = [of_one_env(n, 11 + i, length) for i, (n, length) in enumerate([(2, 5.0), (3, 9.0), (3, 3.0)])]
    assert [[steps for env_i, steps, _ in ended if env_i == i] for i in range(3)] == expected
    assert lengths == [steps for _, steps, _ in ended]
    assert rewards == [float(length) for length in lengths]
    assert all(success for *_, success in ended)


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_episode_start_marks_the_first_observation_of_each_episode(mode: AutoresetMode) -> None:
    policy = Walker()
    evaluate_policy(policy, SyncVectorEnv([recorded, recorded], autoreset_mode=mode), 6, seed=5)
    for i in range(2):
        marked = [float(call[0][i, 0]) for call in policy.calls if call[2][i]]
        env = Corridor()
        resets = [env.reset(seed=5 + i)[1]["start"]] + [env.reset()[1]["start"] for _ in marked[1:]]
        assert len(marked) >= 3
        assert marked == resets


def test_worker_processes_work_and_their_statistics_are_used() -> None:
    env = AsyncVectorEnv([recorded, recorded], context="fork")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, lengths = evaluate_policy(Walker(), env, 4, return_episode_rewards=True, seed=2)
    env.close()
    assert sorted(lengths) == sorted(of_one_env(2, 2) + of_one_env(2, 3))


def test_a_four_value_vec_env_gives_the_episodes_of_its_parts() -> None:
    env = FourValueVecEnv([recorded, lambda: recorded(9.0)])
    _, lengths = evaluate_policy(Walker(), env, 5, return_episode_rewards=True, seed=2)
    assert sorted(lengths) == sorted(of_one_env(2, 2) + of_one_env(3, 3, 9.0))


def test_batched_actions_reach_a_vector_environment_unchanged() -> None:
    class Pusher:
        def predict(self, observation: Any, **_: Any) -> tuple[Any, None]:
            return (observation[:, 2] > 0).astype(int), None

    env = gym.make_vec("CartPole-v1", 2, vectorization_mode="sync", wrappers=(RecordEpisodeStatistics,))
    mean, _ = evaluate_policy(Pusher(), env, 4, seed=0)
    assert 20.0 < mean < 80.0


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(3, start=2),
        spaces.Box(-1.0, 1.0, (2,)),
        Corridor.action_space,
        spaces.Dict(kind=spaces.Discrete(2), x0=spaces.Box(0, 1, (1,)), x1=spaces.Box(0, 1, (2,), np.float64)),
        spaces.OneOf([spaces.Box(0, 1, (2,)), spaces.Discrete(1)]),
    ],
    ids=lambda space: type(space).__name__,
)
def test_a_list_of_actions_becomes_an_element_of_the_batched_space(space: spaces.Space) -> None:
    class OneStep(gym.Env):
        observation_space = spaces.Discrete(1)
        action_space = space

        def reset(self, **_: Any) -> tuple[int, dict]:
            return 0, {}

        def step(self, action: Any) -> tuple[int, float, bool, bool, dict]:
            self.last = action
            return 0, 0.0, False, False, {}

    env = SyncVectorEnv([OneStep] * 3)
    actions = [space.sample() for _ in range(3)]
    batched = batch_actions(env, actions)
    assert env.action_space.contains(batched)
    env.reset()
    env.step(batched)
    for one, action in zip(env.envs, actions, strict=True):
        assert space.contains(one.last)
        np.testing.assert_equal(spaces.flatten(space, one.last), spaces.flatten(space, action))
    assert batch_actions(env, batched) is batched


def test_an_id_is_made_with_statistics_and_closed_again() -> None:
    closed = []

    class Closing(Corridor):
        def close(self) -> None:
            closed.append(True)

    gym.register("Corridor-v0", Closing)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert evaluate_policy(Walker(), "Corridor-v0", 3, seed=1)[0] == np.mean(of_one_env(3, 1))
    finally:
        del gym.registry["Corridor-v0"]
    assert closed == [True]


def test_recorded_statistics_win_over_wrappers_that_change_rewards() -> None:
    def scale(reward: float) -> float:
        return 100.0 * reward

    inside = TransformReward(RecordEpisodeStatistics(Corridor()), scale)
    outside = RecordEpisodeStatistics(TransformReward(Corridor(), scale))
    mean = np.mean(of_one_env(3, 4))
    assert evaluate_policy(Walker(), inside, 3, seed=4)[0] == pytest.approx(mean)
    assert evaluate_policy(Walker(), outside, 3, seed=4)[0] == pytest.approx(100.0 * mean)


def test_an_end_that_the_recording_wrapper_does_not_confirm_is_no_episode() -> None:
    class Lives(gym.Wrapper):
        """Says done at every second step and goes on at the reset that follows, unless the game is over."""

        over = True

        def reset(self, **kwargs: Any) -> tuple[Any, dict]:
            return super().reset(**kwargs) if self.over else (self.last, {})

        def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict]:
            self.last, reward, terminated, truncated, info = super().step(action)
            self.over = terminated or truncated
            return self.last, reward, terminated or info["steps"] % 2 == 0, truncated, info

    _, lengths = evaluate_policy(Walker(), Lives(recorded()), 4, return_episode_rewards=True, seed=6)
    assert lengths == of_one_env(4, 6)
    played = play_episodes(Walker(), Lives(recorded()), 4, seed=6)
    assert (played.lengths, played.successes) == (lengths, [True] * 4)


def test_statistics_under_another_key_are_not_waited_for() -> None:
    env = RecordEpisodeStatistics(Corridor(), stats_key="mine")
    _, lengths = evaluate_policy(Walker(), env, 2, return_episode_rewards=True, warn=False, seed=6)
    assert lengths == of_one_env(2, 6)


def test_missing_statistics_are_warned_of_once_unless_told_not_to() -> None:
    with pytest.warns(UserWarning, match="RecordEpisodeStatistics") as caught:
        mean, _ = evaluate_policy(Walker(), Corridor(), 3, seed=0)
    assert len(caught) == 1 and caught[0].filename == __file__
    assert mean == np.mean(of_one_env(3, 0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluate_policy(Walker(), Corridor(), 3, warn=False)


def test_a_mean_return_at_or_below_the_threshold_is_an_error() -> None:
    mean, _ = evaluate_policy(Walker(), recorded(), 3, seed=0)
    with pytest.raises(AssertionError, match="reward_threshold"):
        evaluate_policy(Walker(), recorded(), 3, reward_threshold=mean, seed=0)
    assert evaluate_policy(Walker(), recorded(), 3, reward_threshold=mean - 0.1, seed=0)[0] == mean


def test_the_callback_sees_observation_and_action_of_each_step() -> None:
    seen = []

    def note(locals_: dict[str, Any], globals_: dict[str, Any]) -> None:
        seen.append(
            (
                locals_["observations"][0],
                locals_["actions"][0],
                locals_["new_observations"][0],
                locals_["done"],
            )
        )

    evaluate_policy(Walker(), recorded(), 1, callback=note, seed=0)
    assert len(seen) == of_one_env(1, 0)[0]
    for before, k, after, done in seen:
        assert k == 0
        assert done or after == pytest.approx(before + 1.0)


def test_rendering_happens_once_a_step() -> None:
    frames = []

    class Drawn(Corridor):
        def render(self) -> None:
            frames.append(self.steps)

    evaluate_policy(Walker(), Drawn(), 2, render=True, warn=False, seed=0)
    assert len(frames) == sum(of_one_env(2, 0))


@pytest.mark.parametrize("n", [0, -1])
def test_fewer_than_one_episode_is_refused(n: int) -> None:
    with pytest.raises(ValueError, match="n_eval_episodes"):
        evaluate_policy(Walker(), recorded(), n)


def test_something_else_than_an_environment_is_refused() -> None:
    with pytest.raises(TypeError, match="env must be a Gymnasium environment"):
        evaluate_policy(Walker(), 5)

"""The NumPy vector environments do what n scalar ones do, which Gymnasium's SyncVectorEnv steps one by one."""

import copy
import itertools
import math
import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from pamdp_envs import GoalEnv, GoalVectorEnv, NominalBox, PlatformEnv, PlatformVectorEnv
from pamdp_envs.common.env import ParameterizedEnv
from replayed_draws import TOLERANCE as RECORDED_TOLERANCE
from replayed_draws import ReplayedDraws, recorded_episodes

PLATFORM, GOAL = "pamdp/Platform-v0", "pamdp/Goal-v0"
IDS = [PLATFORM, GOAL, "pamdp/Goal-v1"]

# NumPy's sine and cosine are those of `math`, to the last digit, with the builds of NumPy known to us.
ANGLES = np.random.default_rng(0).uniform(-10, 10, 10_000)
SAME_TRIGONOMETRY = np.array_equal(
    [np.cos(ANGLES), np.sin(ANGLES)], [[f(angle) for angle in ANGLES.tolist()] for f in (math.cos, math.sin)]
)
TOLERANCE = 0.0 if SAME_TRIGONOMETRY else 1e-9


def assert_same(given: Any, expected: Any) -> None:
    """Compare what `reset` or `step` returns: values, and also structure, types and dtypes."""
    assert type(given) is type(expected)
    if isinstance(expected, dict):
        assert given.keys() == expected.keys()
        for key, value in expected.items():
            assert_same(given[key], value)
    elif isinstance(expected, np.ndarray) and expected.dtype != object:
        assert given.dtype == expected.dtype
        np.testing.assert_allclose(given, expected, rtol=0, atol=TOLERANCE)
    elif isinstance(expected, (tuple, np.ndarray)):
        assert len(given) == len(expected)
        for one, other in zip(given, expected, strict=True):
            assert_same(one, other)
    else:
        assert given == expected


def both(env_id: str, n: int, mode: AutoresetMode = AutoresetMode.NEXT_STEP, **kwargs: Any) -> list[VectorEnv]:
    ours = gym.make_vec(env_id, num_envs=n, autoreset_mode=mode, **kwargs)
    kwargs["vector_kwargs"] = {"autoreset_mode": mode}
    return [ours, gym.make_vec(env_id, num_envs=n, vectorization_mode="sync", **kwargs)]


def play(envs: list[VectorEnv], steps: int, actions: Any = None) -> np.ndarray:
    """Step both, compare all they return, and return how many episodes terminated and how many were truncated."""
    ours, gymnasiums = envs
    ends = np.zeros(2, dtype=int)
    for step in range(steps):
        action = actions(step) if actions else gymnasiums.action_space.sample()
        outcome = ours.step(action)
        assert_same(outcome, gymnasiums.step(action))
        ended = outcome[2] | outcome[3]
        ends += np.sum(outcome[2:4], axis=1)
        if ours.metadata["autoreset_mode"] == AutoresetMode.DISABLED and ended.any():
            assert_same(*(env.reset(options={"reset_mask": ended.copy()}) for env in envs))
    return ends


def start(envs: list[VectorEnv], seed: Any) -> None:
    envs[1].action_space.seed(7)
    assert_same(*(env.reset(seed=seed) for env in envs))


def actions_of(n: int, k: int, *parameters: float) -> tuple:
    """The same action for n environments."""
    return np.full(n, k), tuple(np.full((n, len(parameters)), parameters) for _ in range(3))


@pytest.mark.parametrize("env_id", IDS)
def test_make_vec_gives_the_numpy_version_unless_asked_for_gymnasiums(env_id):
    kind = PlatformVectorEnv if env_id == PLATFORM else GoalVectorEnv
    envs = gym.make_vec(env_id, num_envs=16)
    assert type(envs) is kind
    assert envs.spec.id == env_id
    assert envs.num_envs == 16
    assert type(gym.make_vec(env_id, num_envs=2, vectorization_mode="sync")) is SyncVectorEnv


@pytest.mark.parametrize("env_id", IDS)
def test_spaces_are_the_batches_of_the_scalar_ones(env_id):
    ours, gymnasiums = both(env_id, 3)
    for name in ("single_observation_space", "observation_space", "single_action_space", "action_space"):
        assert getattr(ours, name) == getattr(gymnasiums, name)
    if env_id != PLATFORM:
        assert isinstance(ours.observation_space, NominalBox)
    observations, _ = ours.reset(seed=0)
    assert observations in ours.observation_space


@pytest.mark.parametrize("mode", AutoresetMode)
@pytest.mark.parametrize("env_id", IDS)
def test_random_play_over_many_episodes_is_that_of_gymnasiums_vector_environment(env_id, mode):
    envs = both(env_id, 12, mode)
    assert envs[0].metadata["autoreset_mode"] == mode
    start(envs, seed=3)
    assert play(envs, 60)[0] > 100


@pytest.mark.parametrize("env_id", IDS)
def test_each_environment_is_a_scalar_one_with_its_own_seed(env_id):
    n, seed = 5, 11
    envs = gym.make_vec(env_id, num_envs=n, autoreset_mode="SameStep")
    envs.action_space.seed(2)
    actions = [envs.action_space.sample() for _ in range(40)]
    observations = [envs.reset(seed=seed)[0]]
    rewards = []
    for action in actions:
        observation, reward, *_ = envs.step(action)
        observations.append(observation)
        rewards.append(reward)
    for i in range(n):
        env = gym.make(env_id)
        expected = [env.reset(seed=seed + i)[0]]
        for t, (k, parameters) in enumerate(actions):
            observation, reward, terminated, truncated, _ = env.step((k[i], tuple(part[i] for part in parameters)))
            assert abs(rewards[t][i] - reward) <= TOLERANCE
            expected.append(env.reset()[0] if terminated or truncated else observation)
        np.testing.assert_allclose([observation[i] for observation in observations], expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("env_id", IDS)
def test_seeds_may_be_a_list_and_none_continues_the_random_sequence(env_id):
    envs = both(env_id, 3)
    for seed in (5, [8, 3, 8], [4, None, 1], None, 0):
        start(envs, seed)
        play(envs, 12)
    if env_id == PLATFORM:
        return
    observations, _ = envs[0].reset(seed=[6, 6, 7])
    np.testing.assert_array_equal(observations[0], observations[1])
    assert not np.array_equal(observations[0], observations[2])


@pytest.mark.parametrize("env_id", IDS)
def test_unseeded_environments_differ_from_each_other(env_id):
    envs = gym.make_vec(env_id, num_envs=2)
    envs.reset()
    observations = envs.step(actions_of(2, 0, 5.0) if env_id == PLATFORM else actions_of(2, 0, 1.0, 1.0))[0]
    assert not np.array_equal(*observations)


def test_platform_is_truncated_after_200_steps():
    envs = both(PLATFORM, 2, AutoresetMode.SAME_STEP)
    start(envs, seed=0)
    to_the_last = [(1, 405), (0, 25), (0, 19), (1, 545), (0, 14), (1, 108), (0, 5), (1, 562)]  # where no enemy walks

    def actions(step: int) -> tuple:
        return actions_of(2, *(to_the_last[step] if step < len(to_the_last) else (0, 0.0)))

    assert play(envs, 199, actions)[1] == 0
    assert play(envs, 1, lambda step: actions(199))[1] > 0


@pytest.mark.parametrize("mode", AutoresetMode)
def test_goal_is_truncated_on_its_hundredth_step(mode):
    envs = both("pamdp/Goal-v1", 3, mode)
    start(envs, seed=0)
    target = envs[0].reset(seed=0)[0][:, :2].astype(np.float32)

    def stay(step: int) -> tuple:
        return np.zeros(3, dtype=int), (target, np.zeros((3, 1)), np.zeros((3, 1)))

    assert list(play(envs, 99, stay)) == [0, 0]
    assert list(play(envs, 1, stay)) == [0, 3]
    play(envs, 3, stay)


@pytest.mark.parametrize("env_id", IDS)
def test_a_time_limit_may_be_given_or_taken_away(env_id):
    envs = both(env_id, 4, max_episode_steps=2)
    start(envs, seed=0)
    assert play(envs, 20)[1] > 0
    envs = both(env_id, 2, max_episode_steps=-1)
    start(envs, seed=0)
    play(envs, 10)


@pytest.mark.parametrize("env_id", [GOAL, "pamdp/Goal-v1"])
def test_goal_can_leave_out_the_features(env_id):
    envs = both(env_id, 3, features=False)
    assert envs[0].single_observation_space.shape == (14,)
    start(envs, seed=0)
    play(envs, 10)


def place(envs: list[VectorEnv], x: np.ndarray, vx: np.ndarray, enemy_x: np.ndarray, enemy_dx: np.ndarray) -> None:
    """Put the players and enemies of both Platforms at given places."""
    ours, gymnasiums = envs
    ours._x[:], ours._vx[:], ours._enemy_x[:], ours._enemy_dx[:] = x, vx, enemy_x, enemy_dx
    for i, env in enumerate(gymnasiums.envs):
        scalar = env.unwrapped
        scalar._player.x, scalar._player.vx = float(x[i]), float(vx[i])
        for j, enemy in enumerate(scalar._enemies):
            enemy.x, enemy.dx = float(enemy_x[j, i]), float(enemy_dx[j, i])


def test_platform_steps_from_any_place_are_those_of_the_scalar_environment():
    """Places that play seldom leads to: edges of platforms, enemies about to touch, change, or turn round."""
    n, rng = 400, np.random.default_rng(4)
    envs = both(PLATFORM, n, AutoresetMode.SAME_STEP)
    start(envs, seed=0)
    for _ in range(4):
        x = rng.choice([0.0, 100.0, 225.0, 249.0, 251.0, 456.0, 472.0, 475.0, 600.0, 735.0, 749.0, 975.0, 1020.0], n)
        enemy_x = np.array([[0.0], [475.0]]) + rng.uniform(0.0, 230.0, (2, n))
        enemy_dx = rng.choice([-30.0, 30.0, 7.0], (2, n))
        place(envs, x + rng.uniform(0.0, 3.0, n), rng.uniform(0.0, 69.0, n), enemy_x, enemy_dx)
        play(envs, 1)
        assert_same(*(env.reset() for env in envs))


def test_platform_enemies_change_also_in_the_last_substep_of_a_run():
    n, rng = 200, np.random.default_rng(1)
    envs = both(PLATFORM, n, AutoresetMode.SAME_STEP)
    start(envs, seed=0)
    enemies = np.array([[100.0], [700.0]]) * np.ones(n), np.full((2, n), 30.0)
    place(envs, rng.uniform(456.0, 475.0, n), rng.uniform(0.0, 25.0, n), *enemies)
    k, parameters = actions_of(n, 0, 0.1)
    k[:20] = 1  # some hop, which takes longer
    play(envs, 1, lambda step: (k, parameters))


@pytest.mark.parametrize("env_id", [GOAL, "pamdp/Goal-v1"])
def test_goal_steps_from_any_place_are_those_of_the_scalar_environment(env_id):
    """Places that play seldom leads to: bodies that overlap, kicks on the run, balls that roll past the goalie."""
    n, rng = 150, np.random.default_rng(4)
    envs = both(env_id, n, AutoresetMode.SAME_STEP)
    ours, gymnasiums = envs
    start(envs, seed=0)
    for _ in range(3):
        bodies = ours._bodies
        bodies[0], bodies[1] = rng.uniform(0.0, 20.0, (3, n)), rng.uniform(-15.0, 15.0, (3, n))
        bodies[:2, 0, ::2] = bodies[:2, 2, ::2] + rng.uniform(-1.5, 1.5, (2, len(bodies[0, 0, ::2])))
        bodies[:2, 1, ::3] = bodies[:2, 2, ::3] + rng.uniform(-2.5, 2.5, (2, len(bodies[0, 0, ::3])))
        bodies[2:] = rng.uniform(-0.3, 0.3, (2, 3, n))
        bodies[2:, 2] *= 5.0
        bodies[3, 2, ::7] = 0.0
        ours._facing[:] = rng.uniform(-7.0, 7.0, (2, n))
        for i, env in enumerate(gymnasiums.envs):
            scalar = env.unwrapped
            for j, body in enumerate((scalar._player, scalar._goalie, scalar._ball)):
                body.x, body.y, body.vx, body.vy = ours._bodies[:, j, i].tolist()
            scalar._player.orientation, scalar._goalie.orientation = ours._facing[:, i].tolist()
        play(envs, 1)
        assert_same(*(env.reset() for env in envs))


class UnitDraws(ReplayedDraws):
    """Replays recorded draws, and collects the standard normals or numbers from [0, 1) that they were made of."""

    def __init__(self) -> None:
        super().__init__()
        self.units: list[float] = []

    def normal(self, loc: float = 0.0, scale: float = 1.0, size: int | None = None) -> Any:
        return self._collect(super().normal(loc, scale, size), loc, scale)

    def uniform(self, low: float = 0.0, high: float = 1.0, size: int | None = None) -> Any:
        return self._collect(super().uniform(low, high, size), low, high - low)

    def random(self, size: int | None = None) -> Any:
        return self._collect(super().random(size), 0.0, 1.0)

    def _collect(self, values: Any, shift: float, scale: float) -> Any:
        self.units += [(value - shift) / scale if scale else 0.0 for value in np.atleast_1d(values).tolist()]
        return values


class Units:
    """Stands in for a generator: draws the given numbers, over and over."""

    def __init__(self, numbers: list[float]) -> None:
        self.numbers = itertools.cycle(numbers)

    def standard_normal(self, out: np.ndarray) -> None:
        out[:] = [next(self.numbers) for _ in out]

    random = standard_normal


def units_of(env: ParameterizedEnv, episode: dict[str, Any]) -> list[float]:
    """Replay a recorded episode in a scalar environment for what its draws were made of."""
    env.np_random = draws = UnitDraws()
    draws.pending = episode["reset_draws"] + [draw for step in episode["steps"] for draw in step["draws"]]
    env.reset()
    for step in episode["steps"]:
        parameters: list[Any] = [None, None, None]
        parameters[step["action"]] = step["parameters"]
        env.step((step["action"], tuple(parameters)))
    return draws.units


@pytest.mark.parametrize(
    ("scalar", "vector", "name", "key"),
    [
        (PlatformEnv(), PlatformVectorEnv, "platform", "observation"),
        (GoalEnv(), GoalVectorEnv, "goal", "features"),
    ],
)
def test_recorded_episodes_are_reproduced_side_by_side_again_and_again_with_every_draw_used(scalar, vector, name, key):
    episodes = recorded_episodes(name)
    envs = vector(len(episodes), autoreset_mode="SameStep")
    envs._draws.generators = [Units(units_of(scalar, episode)) for episode in episodes]
    starts = [episode[f"reset_{key}"] for episode in episodes]
    np.testing.assert_allclose(envs.reset()[0], starts, rtol=0, atol=RECORDED_TOLERANCE)
    for t in range(2 * max(len(episode["steps"]) for episode in episodes)):
        expected = [episode["steps"][t % len(episode["steps"])] for episode in episodes]
        k = np.array([step["action"] for step in expected])
        parameters = tuple(np.zeros(box.shape) for box in envs.action_space[1])
        for i, step in enumerate(expected):
            parameters[step["action"]][i] = step["parameters"]
        observations, rewards, terminations, truncations, infos = envs.step((k, parameters))
        finals = infos.get("final_info", {})
        for i, step in enumerate(expected):
            ended = step["terminated"]
            last = infos["final_obs"][i] if ended else observations[i]
            np.testing.assert_allclose(last, step[key], rtol=0, atol=RECORDED_TOLERANCE)
            assert (finals if ended else infos)["substeps"][i] == step["substeps"]
            if ended:
                np.testing.assert_allclose(observations[i], starts[i], rtol=0, atol=RECORDED_TOLERANCE)
        np.testing.assert_allclose(rewards, [step["reward"] for step in expected], rtol=0, atol=RECORDED_TOLERANCE)
        assert terminations.tolist() == [step["terminated"] for step in expected]
        assert not truncations.any()


@pytest.mark.parametrize("env_id", IDS)
def test_returned_arrays_are_the_callers_to_keep(env_id):
    envs = gym.make_vec(env_id, num_envs=4, autoreset_mode="SameStep")
    envs.action_space.seed(0)
    kept = [envs.reset(seed=0)]
    copies = [copy.deepcopy(kept[0])]
    for _ in range(6):
        kept.append(envs.step(envs.action_space.sample()))
        copies.append(copy.deepcopy(kept[-1]))
    for given, copied in zip(kept, copies, strict=True):
        assert_same(given, copied)
    changed, untouched = (gym.make_vec(env_id, num_envs=2) for _ in range(2))
    untouched.reset(seed=1)
    changed.reset(seed=1)[0][:] = -1.0
    action = untouched.action_space.sample()
    assert_same(changed.step(action), untouched.step(action))


@pytest.mark.parametrize("env_id", IDS)
def test_copies_and_pickles_go_on_as_the_original(env_id):
    envs = gym.make_vec(env_id, num_envs=3)
    envs.action_space.seed(0)
    envs.reset(seed=0)
    envs.step(envs.action_space.sample())
    twins = [copy.deepcopy(envs), pickle.loads(pickle.dumps(envs))]
    for _ in range(8):
        action = envs.action_space.sample()
        expected = envs.step(action)
        for twin in twins:
            assert_same(twin.step(action), expected)


@pytest.mark.parametrize("env_id", IDS)
def test_step_before_reset_asks_for_a_reset(env_id):
    envs = gym.make_vec(env_id, num_envs=2)
    with pytest.raises(ResetNeeded, match=r"step.*reset"):
        envs.step(envs.action_space.sample())
    with pytest.raises(ResetNeeded, match="first `reset` must be one of all"):
        envs.reset(options={"reset_mask": np.array([True, False])})


def test_without_autoreset_a_step_past_an_episodes_end_asks_for_a_reset_of_that_environment():
    envs = gym.make_vec(GOAL, num_envs=3, autoreset_mode=AutoresetMode.DISABLED)
    envs.reset(seed=0)
    k, parameters = np.array([0, 2, 0]), (np.ones((3, 2)), np.zeros((3, 1)), np.zeros((3, 1)))
    _, _, terminations, truncations, _ = envs.step((k, parameters))
    assert (terminations | truncations).tolist() == [False, True, False]
    with pytest.raises(ResetNeeded, match=r"environments \[1\] have ended.*reset_mask"):
        envs.step((k, parameters))
    options = {"reset_mask": terminations | truncations}
    envs.reset(options=options)
    assert list(options) == ["reset_mask"]
    envs.step((k, parameters))


@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        ([True, False], TypeError, r"reset_mask.*array of bool; got \[True, False\]"),
        (np.array([1, 0]), TypeError, r"reset_mask.*array of bool; got array\(\[1, 0\]\)"),
        (np.array([True]), ValueError, r"shape \(2,\).*got array\(\[ True\]\)"),
        (np.array([False, False]), ValueError, r"at least one True"),
    ],
)
def test_an_invalid_reset_mask_is_refused(mask, error, message):
    envs = gym.make_vec(PLATFORM, num_envs=2)
    envs.reset(seed=0)
    with pytest.raises(error, match=message):
        envs.reset(options={"reset_mask": mask})


def test_the_wrong_number_of_seeds_is_refused():
    with pytest.raises(ValueError, match=r"one seed for each of the 2 environments; got \[1, 2, 3\]"):
        gym.make_vec(PLATFORM, num_envs=2).reset(seed=[1, 2, 3])


def goal_action(**changes: Any) -> tuple:
    """An action of two environments, the first of which kicks and the second of which shoots."""
    parts = {"k": np.array([0, 1]), "kick": np.zeros((2, 2)), "left": np.zeros((2, 1)), "right": np.zeros((2, 1))}
    parts |= changes
    return parts["k"], (parts["kick"], parts["left"], parts["right"])


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (1, r"pair \(k, parameters\).*got 1"),
        (goal_action(k=np.array([0, 3])), r"0 \(kick-to\), 1 \(shoot-goal-left\), 2 .*environment 1 got 3"),
        (goal_action(k=np.array([-1, 0])), r"integers .*environment 0 got -1"),
        (goal_action(k=np.array([0.0, 1.0])), r"2 integers, one for each environment.*got array\(\[0., 1.\]\)"),
        (goal_action(k=1), r"2 integers, one for each environment.*got 1"),
        (goal_action(k=np.array([0, 1, 2])), r"2 integers.*got array\(\[0, 1, 2\]\)"),
        ((np.array([0, 1]), 1.0), r"one array for each of the 3 discrete actions.*got 1.0"),
        ((np.array([0, 1]), (np.zeros((2, 2)),)), r"one array for each of the 3 discrete actions"),
        (goal_action(kick=np.zeros((2, 1))), r"action 0 \(kick-to\).*shape \(2, 2\).*\[0, 40\] and .*\[-15, 15\]"),
        (goal_action(left=np.zeros(2)), r"action 1 \(shoot-goal-left\).*shape \(2, 1\).*\[-7.01, 7.01\]"),
        (goal_action(kick=np.full((2, 2), np.nan)), r"action 0 .*NaN is refused.*got array\(\[\[nan"),
        (goal_action(left=None), r"action 1 .*got None"),
        (goal_action(left=[[1.0], []]), r"action 1 .*got \[\[1.0\], \[\]\]"),
    ],
)
def test_an_invalid_action_is_refused_and_leaves_the_environments_as_they_were(action, message):
    envs, untouched = (gym.make_vec(GOAL, num_envs=2) for _ in range(2))
    for env in (envs, untouched):
        env.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        envs.step(action)
    assert_same(envs.step(goal_action()), untouched.step(goal_action()))


def test_parameters_of_actions_not_taken_are_not_read():
    envs, other = (gym.make_vec(GOAL, num_envs=2) for _ in range(2))
    for env in (envs, other):
        env.reset(seed=0)
    unread = goal_action(kick=np.array([[0.0, 0.0], [np.nan, 0.0]]), right=None)
    assert_same(envs.step(unread), other.step(goal_action()))


def test_parameters_beyond_their_range_act_like_the_bound():
    envs, other = (gym.make_vec("pamdp/Goal-v1", num_envs=2) for _ in range(2))
    for env in (envs, other):
        env.reset(seed=0)
    beyond = goal_action(kick=np.array([[-5.0, 99.0], [0.0, 0.0]]), left=np.full((2, 1), np.inf))
    bound = goal_action(kick=np.array([[0.0, 15.0], [0.0, 0.0]]), left=np.full((2, 1), 7.01))
    assert_same(envs.step(beyond), other.step(bound))


@pytest.mark.parametrize("env_id", IDS)
def test_a_render_mode_is_refused_with_the_way_to_render(env_id):
    with pytest.raises(ValueError, match=r'got \'rgb_array\'.*vectorization_mode="sync"'):
        gym.make_vec(env_id, num_envs=2, render_mode="rgb_array")


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"num_envs": 0}, "num_envs must be at least 1; got 0"),
        ({"num_envs": -1}, "num_envs must be at least 1; got -1"),
        ({"num_envs": 2, "max_episode_steps": 0}, "max_episode_steps must be None, -1 or at least 1; got 0"),
        ({"num_envs": 2, "autoreset_mode": "never"}, "'never' is not a valid AutoresetMode"),
    ],
)
def test_invalid_settings_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        PlatformVectorEnv(**kwargs)

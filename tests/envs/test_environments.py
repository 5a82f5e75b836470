"""What the bundled environments have in common."""

import copy
import pickle
import subprocess
import sys
import warnings

import gymnasium as gym
import numpy as np
import pamdp_envs
import pytest
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.vector.utils import batch_space
from pamdp_envs import GoalEnv, NominalBox, PlatformEnv

gym.register_envs(pamdp_envs)

IDS = ["pamdp/Platform-v0", "pamdp/Goal-v0", "pamdp/Goal-v1"]

# What Gymnasium says about these environments by design: published parameters have units, and v0 has a v1.
UNAVOIDABLE = ("we recommend using a symmetric and normalized space", "pamdp/Goal-v0 is out of date")


def unexpected(caught: list[warnings.WarningMessage]) -> list[str]:
    messages = [str(warning.message) for warning in caught]
    return [message for message in messages if not any(known in message for known in UNAVOIDABLE)]


def play(env: gym.Env, seed: int, steps: int) -> list[tuple]:
    env.action_space.seed(seed)
    outcomes = [env.reset(seed=seed)]
    for _ in range(steps):
        outcomes.append(env.step(env.action_space.sample()))
        if outcomes[-1][2] or outcomes[-1][3]:
            outcomes.append(env.reset())
    return outcomes


@pytest.mark.parametrize("env_id", IDS)
def test_gymnasiums_checker_finds_nothing(env_id):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for seed in range(10):
            env = gym.make(env_id).unwrapped
            env.action_space.seed(seed)
            check_env(env, skip_render_check=True)
    assert unexpected(caught) == []


@pytest.mark.parametrize("env_id", IDS)
@pytest.mark.parametrize("seed", range(3))
def test_gymnasiums_passive_checker_is_silent_during_random_play(env_id, seed):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        env = gym.make(env_id, disable_env_checker=True)
        env.action_space.seed(seed)
        gym.utils.passive_env_checker.env_reset_passive_checker(env, seed=seed)
        for _ in range(150):
            action = env.action_space.sample()
            outcome = gym.utils.passive_env_checker.env_step_passive_checker(env, action)
            if outcome[2] or outcome[3]:
                gym.utils.passive_env_checker.env_reset_passive_checker(env)
    assert unexpected(caught) == []


@pytest.mark.parametrize("env_id", IDS)
def test_the_same_seed_gives_the_same_episodes_and_another_seed_others(env_id):
    first, again, other = (play(gym.make(env_id), seed, 40) for seed in (5, 5, 6))
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one[0], two[0])
        assert one[1:] == two[1:]
    assert not np.array_equal(first[1][0], other[1][0])


@pytest.mark.parametrize("env_class", [PlatformEnv, GoalEnv])
def test_a_returned_observation_is_not_changed_by_later_steps(env_class):
    env = env_class()
    first, _ = env.reset(seed=0)
    kept = first.copy()
    env.step((0, ([1.0] * len(env.action_space[1][0].low), [0.0], [0.0])))
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("env_class", [PlatformEnv, GoalEnv])
def test_step_and_render_before_reset_ask_for_a_reset(env_class):
    with pytest.raises(ResetNeeded, match=r"step.*reset"):
        env_class().step((1, ([0.0], [0.0], [0.0])))
    with pytest.raises(ResetNeeded, match=r"render.*reset"):
        env_class(render_mode="rgb_array").render()


@pytest.mark.parametrize(
    "parameters",
    [
        ([0.0], [300.0], [0.0]),
        (0.0, 300.0, 0.0),
        [0.0, 300, 0.0],
        (None, np.float32(300.0), None),
        (np.zeros(1), np.array([300.0], dtype=np.float32), np.zeros(1)),
        np.array([0.0, 300.0, 0.0]),
        np.array([[0.0], [300.0], [0.0]]),
    ],
)
@pytest.mark.parametrize("k", [1, np.int64(1), np.array(1)])
def test_an_actions_parameters_may_be_arrays_sequences_or_numbers(k, parameters):
    env = PlatformEnv()
    env.reset(seed=1)
    expected = env.step((1, ([0.0], [300.0], [0.0])))
    env.reset(seed=1)
    given = env.step((k, parameters))
    np.testing.assert_array_equal(given[0], expected[0])


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (1, r"pair \(k, parameters\).*got 1"),
        ((1, 2, 3), r"pair \(k, parameters\).*got \(1, 2, 3\)"),
        ((3, ([0.0, 0.0], [0.0], [0.0])), r"0 \(kick-to\), 1 \(shoot-goal-left\), 2 .*got 3"),
        ((-1, ([0.0, 0.0], [0.0], [0.0])), r"integers .*got -1"),
        ((0.5, ([0.0, 0.0], [0.0], [0.0])), r"integers .*got 0.5"),
        ((0, 1.0), r"one entry for each of the 3 discrete actions.*got 1.0"),
        ((0, ([0.0, 0.0], [0.0])), r"one entry for each of the 3 discrete actions"),
        ((0, ([0.0], [0.0], [0.0])), r"action 0 \(kick-to\).*\[0, 40\] and .*\[-15, 15\].*got \[0.0\]"),
        ((1, ([0.0, 0.0], [0.0, 1.0], [0.0])), r"action 1 \(shoot-goal-left\).*\[-7.01, 7.01\]"),
        ((0, ([0.0, float("nan")], [0.0], [0.0])), r"NaN is refused.*got \[0.0, nan\]"),
        ((0, (None, [0.0], [0.0])), r"action 0 .*got None"),
        ((0, ("ab", [0.0], [0.0])), r"action 0 .*got 'ab'"),
    ],
)
def test_an_invalid_action_is_refused_with_what_was_given_and_what_is_accepted(action, message):
    env = GoalEnv()
    env.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        env.step(action)


def test_an_invalid_action_leaves_the_environment_as_it_was():
    env, untouched = GoalEnv(), GoalEnv()
    env.reset(seed=0)
    untouched.reset(seed=0)
    with pytest.raises(ValueError, match="NaN is refused"):
        env.step((0, ([np.nan, 0.0], [0.0], [0.0])))
    action = (0, ([3.0, 1.0], [0.0], [0.0]))
    np.testing.assert_array_equal(env.step(action)[0], untouched.step(action)[0])


def test_importing_the_environments_imports_no_agents_no_tensorflow_and_no_pygame():
    code = (
        "import sys, gymnasium, pamdp_envs;"
        "env = gymnasium.make('pamdp/Goal-v1'); env.reset(seed=0); env.step(env.action_space.sample());"
        "print([name for name in ('tensorflow', 'keras', 'pamdp_agents', 'pygame') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("env_id", IDS)
def test_vector_environments_step_them(env_id):
    envs = gym.make_vec(env_id, num_envs=3, vectorization_mode="sync")
    envs.action_space.seed(0)
    observations, _ = envs.reset(seed=0)
    for _ in range(40):
        assert observations in envs.observation_space
        observations, rewards, _, _, _ = envs.step(envs.action_space.sample())
        assert rewards.shape == (3,)
    envs.close()


@pytest.fixture
def nominal() -> NominalBox:
    return NominalBox(np.array([-1.0, 0.0]), np.array([1.0, 40.0]), dtype=np.float64, seed=3)


def test_a_nominal_box_contains_what_is_finite_and_of_its_shape_within_bounds_or_not(nominal):
    assert np.array([0.0, 1.0]) in nominal
    assert np.array([5.0, -1.0]) in nominal
    assert [5.0, -1.0] in nominal
    assert np.array([5.0, -1.0], dtype=np.float32) in nominal
    assert np.array([5.0, np.nan]) not in nominal
    assert np.array([np.inf, 0.0]) not in nominal
    assert np.array([0.0, 1.0, 2.0]) not in nominal
    assert np.array([0.0, 1.0j]) not in nominal
    assert "no" not in nominal


def test_a_nominal_box_samples_within_its_bounds(nominal):
    samples = np.array([nominal.sample() for _ in range(200)])
    assert np.all((samples >= nominal.low) & (samples <= nominal.high))


def test_a_nominal_box_survives_copying_and_pickling(nominal):
    for twin in (copy.deepcopy(nominal), pickle.loads(pickle.dumps(nominal))):
        assert isinstance(twin, NominalBox)
        assert twin == nominal
        np.testing.assert_array_equal(twin.sample(), copy.deepcopy(nominal).sample())
    assert repr(nominal).startswith("NominalBox(")


def test_a_nominal_box_flattens_and_batches_like_a_box(nominal):
    assert spaces.flatdim(nominal) == 2
    assert spaces.flatten_space(nominal) == nominal
    np.testing.assert_array_equal(spaces.flatten(nominal, np.array([9.0, 9.0])), [9.0, 9.0])
    batch = batch_space(nominal, 3)
    assert isinstance(batch, NominalBox)
    assert batch.shape == (3, 2)
    assert np.full((3, 2), 99.0) in batch


def test_observations_can_be_stacked_flattened_and_rescaled_by_gymnasiums_wrappers():
    env = gym.wrappers.FrameStackObservation(GoalEnv(), 4)
    assert isinstance(env.observation_space, NominalBox)
    assert env.reset(seed=0)[0].shape == (4, 17)
    env = gym.wrappers.FlattenObservation(env)
    assert env.reset(seed=0)[0].shape == (68,)
    env = gym.wrappers.RescaleObservation(GoalEnv(), -1.0, 1.0)
    assert np.all(np.abs(env.reset(seed=0)[0]) <= 1)

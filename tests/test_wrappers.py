"""The action wrappers over real environments: our own tiny ones and the bundled Platform."""

import copy
import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete, OneOf, Tuple
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import TransformAction

from pamdp_agents.spaces import ParameterizedActionSpace, SharedParameters
from pamdp_agents.wrappers import FlattenHybridAction, HybridActionWrapper

PLATFORM = "pamdp_envs:pamdp/Platform-v0"


class Recorder(gym.Env):
    """Takes actions of any space and remembers them; the observation counts the steps."""

    observation_space = Box(0, 100, (1,))

    def __init__(self, action_space):
        self.action_space = action_space
        self.taken = []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.taken = []
        return np.zeros(1, np.float32), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.taken.append(action)
        return np.full(1, len(self.taken), np.float32), 1.0, len(self.taken) == 10, False, {}


def f32(*values):
    return np.array(values, dtype=np.float32)


RUN, KICK = Box(0, 30, (1,)), Box(np.array([0, -10]), np.array([100, 10]), dtype=np.float64)
WRAPPERS = [HybridActionWrapper, FlattenHybridAction]
ENVIRONMENTS = [
    (Tuple((Discrete(2), Tuple((RUN, KICK)))), {}),
    (Tuple((Discrete(2, start=1), RUN, KICK)), {}),
    (Tuple((Discrete(3), KICK)), {"parameter_sizes": (1, 0, 1)}),
    (Tuple((Discrete(3), KICK)), {"parameter_mask": np.array([[1, 1], [0, 1], [0, 0]], bool)}),
    (Dict(kick=KICK, run=RUN, which=Discrete(2)), {"parameter_sizes": (2, 1)}),
    (Dict(kick=KICK, run=RUN, which=Discrete(2)), {"parameter_mask": [[1, 0, 1], [1, 1, 0]]}),
    (Dict(params_0=KICK, params_1=RUN, which=Discrete(2)), {}),
    (OneOf((RUN, KICK, Discrete(1))), {}),
    (Discrete(3, start=-1), {}),
    (KICK, {}),
]
every_environment = pytest.mark.parametrize(("space", "arguments"), ENVIRONMENTS, ids=[str(s) for s, _ in ENVIRONMENTS])
both_wrappers = pytest.mark.parametrize("wrapper", WRAPPERS)


@every_environment
@both_wrappers
def test_every_sampled_action_reaches_the_environment_in_its_own_layout(wrapper, space, arguments):
    env = wrapper(Recorder(space), **arguments)
    env.reset(seed=0)
    env.action_space.seed(0)
    for _ in range(10):
        env.step(env.action_space.sample())
    assert len(env.unwrapped.taken) == 10


@every_environment
@both_wrappers
def test_reverse_action_undoes_action(wrapper, space, arguments):
    env = wrapper(Recorder(space), **arguments)
    translate = ParameterizedActionSpace(space, **arguments)
    env.action_space.seed(1)
    for _ in range(10):
        inner = env.action(env.action_space.sample())
        outer = env.reverse_action(inner)
        assert env.action_space.contains(outer)
        k, x = translate.from_env(inner)
        k_back, x_back = translate.from_env(env.action(outer))
        assert k_back == k
        np.testing.assert_allclose(x_back, x, atol=1e-5)


@every_environment
@both_wrappers
@pytest.mark.filterwarnings("ignore:.*different from the unwrapped version", "ignore:.*symmetric and normalized space")
def test_wrapped_environments_pass_gymnasiums_checker(wrapper, space, arguments):
    check_env(wrapper(Recorder(space), **arguments), skip_render_check=True)


def test_hybrid_wrapper_presents_boxes_in_the_environments_units():
    env = HybridActionWrapper(Recorder(Dict(kick=KICK, run=RUN, which=Discrete(2, start=4))), (2, 1))
    kick = Box(f32(0, -10), f32(100, 10))
    assert env.action_space == Tuple((Discrete(2), Tuple((kick, RUN))))
    env.reset()
    env.step((1, (f32(50, 0.1), f32(12))))
    [taken] = env.unwrapped.taken
    assert taken["which"] == 5
    assert taken["kick"].dtype == np.float64
    assert taken["kick"].tolist() == [50, np.float32(0.1)]
    assert taken["run"].tolist() == [12]


def test_hybrid_wrapper_with_a_mask_has_a_shared_coordinate_once():
    mask = [[True, True], [False, True]]
    env = HybridActionWrapper(Recorder(Tuple((Discrete(2), KICK))), parameter_mask=mask)
    assert env.action_space == SharedParameters(Discrete(2), Box(f32(0, -10), f32(100, 10)), mask)
    env.reset()
    env.step((1, f32(20, -7)))
    [(k, values)] = env.unwrapped.taken
    assert k == 1
    assert values.tolist() == [50, -7]  # the first coordinate is not action 1's: the middle
    k, both = env.reverse_action((1, np.array([99.0, -7.0])))
    assert (k, both.tolist()) == (1, [50, -7])
    assert HybridActionWrapper(env).action_space == env.action_space
    flat = FlattenHybridAction(env)
    assert flat.action_space.shape == (4,)
    k, values = flat.action(f32(1, 0, 0.5, 0.5))
    assert (k, values.tolist()) == (0, [75, 5])


def test_a_mask_that_shares_nothing_gives_each_action_its_box():
    env = HybridActionWrapper(Recorder(Tuple((Discrete(2), KICK))), parameter_mask=[[False, True], [True, False]])
    assert env.action_space == Tuple((Discrete(2), Tuple((Box(-10, 10, (1,)), Box(0, 100, (1,))))))


def test_vector_environments_and_copies_keep_what_is_shared():
    make = lambda: HybridActionWrapper(Recorder(Tuple((Discrete(2), KICK))), parameter_mask=[[1, 1], [0, 1]])  # noqa: E731
    envs = gym.vector.SyncVectorEnv([make, make])
    assert envs.single_action_space == make().action_space
    assert copy.deepcopy(envs.single_action_space) == make().action_space
    assert pickle.loads(pickle.dumps(envs.single_action_space)) == make().action_space
    envs.reset(seed=0)
    envs.step(envs.action_space.sample())


def test_hybrid_wrapper_names_an_action_outside_its_space():
    env = HybridActionWrapper(Recorder(OneOf((RUN, KICK))))
    with pytest.raises(ValueError, match=r"\(2, .* is not an action of Tuple\(Discrete\(2\)"):
        env.action((2, (f32(0), f32(0, 0))))
    with pytest.raises(ValueError, match="out of bounds"):
        env.action((0, (f32(31), f32(0, 0))))
    with pytest.raises(ValueError, match="is not an action of OneOf"):
        env.reverse_action((0, f32(31)))


def test_flat_actions_are_scores_and_then_scaled_parameters():
    env = FlattenHybridAction(Recorder(Tuple((Discrete(2, start=1), RUN, KICK))))
    assert env.action_space == Box(-1, 1, (5,), np.float32)
    env.reset()
    env.step(f32(-0.5, 0.5, 0, -1, 0.5))
    [(k, run, kick)] = env.unwrapped.taken
    assert (k, run.tolist(), kick.tolist()) == (2, [15], [0, 5])
    assert env.reverse_action((k, run, kick)).tolist() == [-1, 1, 0, -1, 0.5]


def test_flat_actions_take_the_first_of_equal_scores_and_clip_parameters():
    env = FlattenHybridAction(Recorder(Tuple((Discrete(3), Tuple((RUN, RUN, RUN))))))
    k, values = env.action(f32(0.1, 0.7, 0.7, -9, 0, 9))
    assert k == 1
    assert np.concatenate(values).tolist() == [0, 15, 30]


def test_flat_actions_of_the_wrong_shape_or_nan_are_refused():
    env = FlattenHybridAction(Recorder(Tuple((Discrete(2), RUN, KICK))))
    with pytest.raises(ValueError, match=r"shape \(5,\), 2 scores and 3 parameters; got shape \(4,\)"):
        env.action(np.zeros(4))
    with pytest.raises(ValueError, match=r"shape \(1, 5\)"):
        env.action(np.zeros((1, 5)))
    with pytest.raises(ValueError, match="NaN"):
        env.action(f32(np.nan, 0, 0, 0, 0))


@both_wrappers
def test_spaces_that_are_not_parameterised_are_refused(wrapper):
    with pytest.raises(TypeError, match="Accepted layouts"):
        wrapper(Recorder(MultiDiscrete([2, 2])))
    with pytest.raises(ValueError, match="parameter_sizes"):
        wrapper(Recorder(Tuple((Discrete(2), KICK))))


@both_wrappers
def test_an_unbounded_action_space_is_bounded_as_the_error_says(wrapper):
    unbounded = Recorder(Tuple((Discrete(1), Box(-np.inf, np.inf, (2,)))))
    with pytest.raises(ValueError, match=r"TransformAction\(env, lambda action: action, bounded_action_space\)"):
        wrapper(unbounded)
    env = wrapper(TransformAction(unbounded, lambda action: action, Tuple((Discrete(1), Box(-5, 5, (2,))))))
    env.reset()
    env.step(env.action_space.sample())
    assert len(unbounded.taken) == 1


@both_wrappers
@pytest.mark.parametrize("arguments", [{"parameter_sizes": (1, 0, 1)}, {"parameter_mask": np.eye(3, 2, dtype=bool)}])
def test_an_environment_is_made_again_from_its_spec(wrapper, arguments):
    gym.register("Recorder-v0", lambda: Recorder(Tuple((Discrete(3), KICK))))
    try:
        env = wrapper(gym.make("Recorder-v0", disable_env_checker=True), **arguments)
        assert env.spec == wrapper(gym.make("Recorder-v0", disable_env_checker=True), **arguments).spec
        again = gym.make(env.spec)
    finally:
        del gym.registry["Recorder-v0"]
    assert isinstance(again, wrapper)
    assert again.action_space == env.action_space


@both_wrappers
def test_a_wrapped_platforms_spec_survives_json(wrapper):
    env = wrapper(gym.make(PLATFORM))
    again = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    assert isinstance(again, wrapper)
    assert again.action_space == env.action_space


@both_wrappers
def test_vector_environments_take_the_wrappers_per_environment(wrapper):
    envs = gym.make_vec(PLATFORM, num_envs=2, vectorization_mode="sync", wrappers=[wrapper])
    envs.reset(seed=0)
    envs.action_space.seed(0)
    _, rewards, *_ = envs.step(envs.action_space.sample())
    assert rewards.shape == (2,)
    envs.close()


def test_hybrid_wrapper_leaves_platforms_own_layout_as_it_is():
    plain, wrapped = gym.make(PLATFORM), HybridActionWrapper(gym.make(PLATFORM))
    assert wrapped.action_space == plain.action_space
    np.testing.assert_equal(plain.reset(seed=3), wrapped.reset(seed=3))
    plain.action_space.seed(3)
    for _ in range(5):
        action = plain.action_space.sample()
        step = plain.step(action)
        np.testing.assert_equal(wrapped.step(action), step)
        if step[2] or step[3]:
            break


def test_a_flat_platform_plays_an_episode():
    env = FlattenHybridAction(gym.make(PLATFORM))
    assert env.action_space.shape == (6,)
    env.reset(seed=0)
    env.action_space.seed(0)
    for _ in range(200):
        observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            break
    assert terminated or truncated
    assert env.observation_space.contains(observation)

"""Every agent works in the same environments: one or several, with the same observations and layouts of actions."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, OneOf, Text, Tuple
from gymnasium.vector import AutoresetMode
from small_agents import (
    DICT,
    PARAMETERS,
    PLATFORM,
    STEPS,
    VECTOR,
    Counting,
    Task,
    assert_learned,
    differences,
    make,
    make_collector,
    refuses_several,
)

ACTIONS = {
    "boxes in a tuple": PARAMETERS,
    "boxes beside the choice": Tuple((Discrete(2, start=3), Box(-1, 1, (1,)), Box(0, 5, (2,)))),
    "by name": Dict({"choice": Discrete(2), "params 1": Box(-1, 1, (1,)), "params 2": Box(0, 5, (1,))}),
    "one of": OneOf((Box(-1, 1, (1,)), Box(0, 5, (2,)))),
}
WITHOUT = Tuple((Discrete(4), Tuple((Box(-1, 1, (1,)), Discrete(1), Box(0, 1, (0,)), Box(0, 5, (2,))))))


def assert_learns(agent):
    before = agent.get_parameters()
    assert_learned(agent.learn(24), before)
    assert_acts(agent)


def assert_acts(agent):
    for deterministic in (True, False):
        observation, _ = agent.env.envs[0].reset(seed=1)
        assert agent.action_space.contains(agent.predict(observation, deterministic=deterministic)[0])


def three_platforms(mode):
    return gym.make_vec(
        PLATFORM, num_envs=3, vectorization_mode="sync", vector_kwargs={"autoreset_mode": mode}, wrappers=[Counting]
    )


def test_it_learns_in_several_environments(agent_class):
    if refuses_several(agent_class, three_platforms(AutoresetMode.SAME_STEP)):
        return
    agent = make(agent_class, three_platforms(AutoresetMode.SAME_STEP))
    before = agent.get_parameters()
    assert_learned(agent.learn(STEPS), before)
    assert agent.n_envs == 3
    assert agent.num_timesteps == sum(env.made for env in agent.env.envs) == STEPS
    assert len(agent.ep_info_buffer) >= 3
    observations, _ = agent.env.reset(seed=1)
    assert all(agent.action_space.contains(action) for action in agent.predict(observations)[0])


def test_a_step_that_only_resets_an_environment_is_none(agent_class):
    if refuses_several(agent_class, three_platforms(AutoresetMode.NEXT_STEP)):
        return
    agent = make_collector(agent_class, three_platforms(AutoresetMode.NEXT_STEP))
    agent.learn(STEPS)
    assert agent.num_timesteps == sum(env.made for env in agent.env.envs)
    assert STEPS <= agent.num_timesteps < STEPS + 3 * getattr(agent, "n_steps", 1)  # the last round may go past it


def test_it_collects_in_the_bundled_environments_own_vector_version(agent_class):
    if refuses_several(agent_class, gym.make_vec("pamdp/Goal-v1", num_envs=2)):
        return
    agent = make_collector(agent_class, gym.make_vec("pamdp/Goal-v1", num_envs=2)).learn(STEPS)
    assert agent.n_envs == 2
    assert agent.num_timesteps >= STEPS


def test_it_learns_from_dicts(agent_class):
    agent = make(agent_class, Task(DICT), "MultiInputPolicy")
    assert agent.observation_space == DICT
    assert_learns(agent)
    rows = [agent.env.envs[0].observe() for _ in range(5)]
    actions, _ = agent.predict({key: np.stack([row[key] for row in rows]) for key in DICT}, deterministic=True)
    assert len(actions) == 5
    assert_acts(make_collector(agent_class, Task(DICT), "MlpPolicy").learn(24))


def test_it_learns_where_some_actions_have_no_parameters(agent_class):
    assert_learns(make(agent_class, Task(VECTOR, WITHOUT)))


@pytest.mark.parametrize("layout", ACTIONS)
def test_every_layout_of_parameters_gets_the_actions_that_it_wants(agent_class, layout):
    agent = make_collector(agent_class, Task(VECTOR, ACTIONS[layout])).learn(24)  # the environment looks at them
    assert agent.env.envs[0].made == 24
    assert_acts(agent)


@pytest.mark.parametrize("space", [Discrete(3), Box(-1, 1, (2,)), MultiDiscrete([2, 2]), MultiBinary(2)], ids=str)
def test_it_learns_with_plain_actions_or_says_that_it_does_not_take_them(agent_class, space):
    try:
        agent = make(agent_class, Task(VECTOR, space))
    except (TypeError, ValueError) as error:
        assert type(space).__name__ in str(error), "the error must name the action space"
    else:
        assert_learns(agent)


# -------------------------------------------------------------------- how an environment is given


def test_it_takes_an_id_an_environment_or_none_and_one_later(agent_class):
    by_id = make(agent_class, PLATFORM)
    assert by_id.env.envs[0].spec.id == PLATFORM

    env = gym.make(PLATFORM)
    by_object = make(agent_class, env)
    assert by_object.env.envs[0] is env

    later = make(agent_class, None)
    assert later.env is None
    for verb in (lambda: later.predict(np.zeros(9)), lambda: later.get_parameters(), lambda: later.learn(8)):
        with pytest.raises(RuntimeError, match="set_env"):
            verb()
    later.set_env(gym.make(PLATFORM))
    assert later.learn(8).num_timesteps == 8

    later = make(agent_class, None)
    later.set_env(PLATFORM)
    for agent in (by_object, later):
        assert agent.observation_space == by_id.observation_space and agent.action_space == by_id.action_space
        assert differences(agent.get_parameters(), by_id.get_parameters()) == []


def test_a_single_environment_is_seen_as_a_vector_of_one(agent_class):
    env = make(agent_class, Task()).get_env()
    assert env.num_envs == 1
    assert env.reset().shape == (1, 3)
    assert make(agent_class, None).get_env() is None


def test_set_env_goes_on_in_the_middle_of_an_episode_or_starts_another(agent_class):
    for force_reset, t in ((False, 2), (True, 1)):
        agent = make_collector(agent_class, Task()).learn(8)  # an episode of 7 steps, and one step of the next
        agent.set_env(agent.env, force_reset=force_reset)
        agent.learn(8, reset_num_timesteps=False)
        assert agent.env.envs[0].t == t


@pytest.mark.parametrize("env", [3, object(), Task], ids=["a number", "an object", "a class"])
def test_what_is_no_environment_is_refused(agent_class, env):
    with pytest.raises(TypeError, match="env must be a Gymnasium environment or its id"):
        make(agent_class, env)


def test_another_environments_spaces_are_refused_and_change_nothing(agent_class):
    agent = make(agent_class, Task())
    env, before = agent.env, agent.get_parameters()
    for other, which in ((Task(DICT), "observation"), (Task(VECTOR, ACTIONS["one of"]), "action")):
        with pytest.raises(ValueError, match=f"env's {which} space is"):
            agent.set_env(other)
    assert agent.env is env and differences(agent.get_parameters(), before) == []


def test_actions_that_cannot_be_learned_are_refused_with_the_reason(agent_class):
    unbounded = Tuple((Discrete(1), Box(-np.inf, 1, (1,))))
    with pytest.raises(ValueError, match=r"(?s)unbounded"):
        make(agent_class, Task(VECTOR, unbounded))
    with pytest.raises(TypeError, match="Text"):
        make(agent_class, Task(VECTOR, Text(2)))


@pytest.mark.parametrize("broken", ["reward", "observation"])
def test_numbers_that_are_not_finite_stop_the_training_and_nothing_is_lost(agent_class, broken, tmp_path):
    class Broken(Task):
        def step(self, action):
            observation, reward, *rest = super().step(action)
            if self.made == 21:
                observation, reward = (observation, np.nan) if broken == "reward" else (observation * np.nan, reward)
            return observation, reward, *rest

    agent = make_collector(agent_class, Broken())
    with pytest.raises(ValueError, match=rf"{broken}.* step 21"):
        agent.learn(STEPS)
    assert agent.num_timesteps == 20
    agent.save(tmp_path / "agent")
    assert differences(agent_class.load(tmp_path / "agent").get_parameters(), agent.get_parameters()) == []
    assert agent.learn(8, reset_num_timesteps=False).num_timesteps == 28

"""From what a user gives to an adapter: environments of any kind, or their ids."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from pamdp_agents.environments.adapter import Environment, EnvironmentAdapter
from pamdp_agents.environments.gymnasium_vector import GymnasiumVectorEnvironment
from pamdp_agents.environments.old_gym import from_old_gym
from pamdp_agents.environments.sb3_vec_env import SB3VectorEnvironment
from pamdp_agents.environments.single import SingleEnvironment
from pamdp_agents.environments.single_as_vec_env import SingleVecEnv


def adapt(env: Any) -> EnvironmentAdapter:
    """Returns an environment of any kind behind the one interface.

    Raises:
        TypeError: It is of none of the three kinds, or of the old `gym` package while shimmy is not installed.
    """
    env = from_old_gym(env)
    if not isinstance(env, gym.Env):
        if hasattr(env, "single_action_space"):
            return GymnasiumVectorEnvironment(env)
        if hasattr(env, "num_envs"):
            return SB3VectorEnvironment(env)
    if hasattr(env, "reset") and hasattr(env, "step"):
        return SingleEnvironment(env)
    raise TypeError(
        "env must be a Gymnasium environment or vector environment, an SB3 VecEnv or the id of a registered "
        f"environment, got {env!r}"
    )


def make_environment(env: Environment | str) -> Any:
    """Returns the environment of an id, or the one given."""
    if isinstance(env, SingleVecEnv):  # another agent's get_env()
        [env] = env.envs
    made = gym.make(env) if isinstance(env, str) else from_old_gym(env)
    if not (isinstance(made, gym.Env) or hasattr(made, "num_envs")):
        raise TypeError(
            "env must be a Gymnasium environment or its id, a Gymnasium vector environment or a Stable-Baselines3 "
            f"VecEnv, got {type(env).__name__}"
        )
    return made

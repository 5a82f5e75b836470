"""Environments with parameterised action spaces, registered with Gymnasium on import.

Importing this package makes `pamdp/Platform-v0`, `pamdp/Goal-v0` and `pamdp/Goal-v1` known to
`gymnasium.make`. It needs Gymnasium and NumPy only; pygame is imported when an environment is rendered.
"""

from gymnasium.envs.registration import register

from pamdp_envs.goal import GoalEnv
from pamdp_envs.nominal_box import NominalBox
from pamdp_envs.platform import PlatformEnv
from pamdp_envs.record_substeps import RecordSubsteps

__all__ = ["GoalEnv", "NominalBox", "PlatformEnv", "RecordSubsteps"]

register(id="pamdp/Platform-v0", entry_point="pamdp_envs.platform:PlatformEnv", max_episode_steps=200)
# Goal has no TimeLimit: its own limit of 100 steps sets the last reward, so the environment truncates itself.
register(id="pamdp/Goal-v0", entry_point="pamdp_envs.goal:GoalEnv", kwargs={"published_quirks": True})
register(id="pamdp/Goal-v1", entry_point="pamdp_envs.goal:GoalEnv", kwargs={"published_quirks": False})

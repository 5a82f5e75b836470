"""Environments with parameterised action spaces, registered with Gymnasium on import.

Importing this package makes `pamdp/Platform-v0`, `pamdp/Goal-v0` and `pamdp/Goal-v1` known to
`gymnasium.make` and `gymnasium.make_vec`. It needs Gymnasium and NumPy only; pygame is imported when an
environment is rendered.
"""

from gymnasium.envs.registration import register

from pamdp_envs.common.nominal_box import NominalBox
from pamdp_envs.common.record_substeps import RecordSubsteps
from pamdp_envs.goal import GoalEnv, GoalVectorEnv
from pamdp_envs.platform import PlatformEnv, PlatformVectorEnv

__all__ = ["GoalEnv", "GoalVectorEnv", "NominalBox", "PlatformEnv", "PlatformVectorEnv", "RecordSubsteps"]

register(
    id="pamdp/Platform-v0",
    entry_point="pamdp_envs.platform.env:PlatformEnv",
    vector_entry_point="pamdp_envs.platform.vector:PlatformVectorEnv",
    max_episode_steps=200,
)
# Goal has no TimeLimit: its own limit of 100 steps sets the last reward, so the environment truncates itself.
for version, published_quirks in (("v0", True), ("v1", False)):
    register(
        id=f"pamdp/Goal-{version}",
        entry_point="pamdp_envs.goal.env:GoalEnv",
        vector_entry_point="pamdp_envs.goal.vector:GoalVectorEnv",
        kwargs={"published_quirks": published_quirks},
    )

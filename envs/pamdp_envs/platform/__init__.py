"""Platform: run, hop and leap over three platforms, past two enemies, to the right edge of the world."""

from pamdp_envs.platform.env import PlatformEnv
from pamdp_envs.platform.vector import PlatformVectorEnv

__all__ = ["PlatformEnv", "PlatformVectorEnv"]

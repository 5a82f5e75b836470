"""Robot Soccer Goal: one player, one goalie; kick the ball towards the goal, then shoot past the goalie."""

from pamdp_envs.goal.env import GoalEnv
from pamdp_envs.goal.vector import GoalVectorEnv

__all__ = ["GoalEnv", "GoalVectorEnv"]

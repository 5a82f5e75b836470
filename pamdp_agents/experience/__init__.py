"""Transitions, and the replay buffers that keep them."""

from pamdp_agents.experience.prioritized import PrioritizedReplayBuffer
from pamdp_agents.experience.replay import ReplayBuffer, ReplayBufferSamples

__all__ = ["PrioritizedReplayBuffer", "ReplayBuffer", "ReplayBufferSamples"]

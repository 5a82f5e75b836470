"""SP-DQN: P-DQN with a separate Q-network for each discrete action."""

from __future__ import annotations

from typing import Any

from pamdp_agents.agents.pdqn import PDQN
from pamdp_agents.networks.models import NumPyModel
from pamdp_agents.networks.split_q import SplitQ


class SPDQN(PDQN):
    """Separate deep Q-networks (SP-DQN).

    P-DQN with a Q-network of its own for each discrete action k, on [s, x_k]. So dQ_k/dx_j = 0 for j ≠ k, as with
    MP-DQN, but the networks share nothing. Arguments, target and losses are those of `PDQN`.

    References:
        Bester, James & Konidaris 2019, "Multi-Pass Q-Networks for Deep Reinforcement Learning with Parameterised
        Action Spaces" (arXiv 1905.04388), section 4.
    """

    why_not_dueling = "its actions' networks share nothing, so there is no state's value that they could share"

    def make_critic(self, **arguments: Any) -> NumPyModel:
        """Returns the separate Q-networks, as one model."""
        return SplitQ(self.observation_transform.size, self.parameterized_space.mask, **arguments)

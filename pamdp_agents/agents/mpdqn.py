"""MP-DQN: P-DQN with a multi-pass Q-network."""

from __future__ import annotations

from typing import Any

from pamdp_agents.agents.pdqn import PDQN
from pamdp_agents.networks.models import NumPyModel
from pamdp_agents.networks.q_networks import MultiPassQ


class MPDQN(PDQN):
    """Multi-pass deep Q-network (MP-DQN).

    P-DQN whose Q-network sees one action's parameters at a time: K passes, pass k with all parameters but x_k set to
    0, and Q_k is output k of pass k. So dQ_k/dx_j = 0 for j ≠ k, and no action's value depends on parameters that
    are not its own. Arguments, target and losses are those of `PDQN`.

    References:
        Bester, James & Konidaris 2019, "Multi-Pass Q-Networks for Deep Reinforcement Learning with Parameterised
        Action Spaces" (arXiv 1905.04388).
    """

    def make_critic(self, **arguments: Any) -> NumPyModel:
        """Returns the multi-pass Q-network."""
        return MultiPassQ(self.observation_transform.size, self.parameterized_space.mask, **arguments)

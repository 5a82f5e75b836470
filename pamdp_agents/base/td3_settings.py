"""The settings of TD3: several critics, noise in their target, and an actor that moves less often than they do.

Fujimoto, van Hoof & Meger 2018, "Addressing Function Approximation Error in Actor-Critic Methods" (arXiv 1802.09477);
in Stable-Baselines3's words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pamdp_agents.base.common_settings import AgentArguments
from pamdp_agents.base.settings import integer, number, setting

COUNTED = 2**23
"""So many updates are counted, where every so many do something: float32 adds 1 to no more than twice as many."""


class TD3Settings(AgentArguments):
    """The settings of TD3, at values with which they do nothing."""

    n_critics: int = setting(
        default=1,
        text="""Number of critics, which share nothing: the target takes the least of their targets' values, and the
        actor ascends the first.""",
        kind=integer(1),
    )
    policy_delay: int = setting(
        default=1,
        text="The actor and all target networks move in every so many updates of the critics.",
        kind=integer(1, COUNTED),
    )
    target_policy_noise: float = setting(
        default=0.0,
        text="""Standard deviation of the normal noise on the target actor's output in the critics' target, which is
        clipped to [−1, 1] then; 0 for none.""",
        kind=number(at_least=0),
        change="recompiles",
    )
    target_noise_clip: float = setting(
        default=0.5, text="This noise is clipped to ± this.", kind=number(at_least=0), change="recompiles"
    )

    @classmethod
    def drop_neutral(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        """Returns a constructor's arguments without those that are no settings, and with `n_critics` among them.

        Raises:
            ValueError: An argument of Stable-Baselines3's asks for what cannot be, or the number of critics is given
                twice.
        """
        policy_kwargs = arguments.get("policy_kwargs")
        if isinstance(policy_kwargs, Mapping) and policy_kwargs.get("n_critics") is not None:  # SB3's place for it
            n_critics = policy_kwargs["n_critics"]
            if arguments.setdefault("n_critics", n_critics) != n_critics:
                raise ValueError(
                    f'n_critics is {arguments["n_critics"]!r}, but policy_kwargs["n_critics"] is {n_critics!r}: give '
                    "one of them"
                )
            arguments["policy_kwargs"] = {name: policy_kwargs[name] for name in policy_kwargs if name != "n_critics"}
        return super().drop_neutral(arguments)

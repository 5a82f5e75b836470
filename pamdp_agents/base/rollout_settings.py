"""The settings of agents that learn from rollouts of their present policy, in Stable-Baselines3's order and words."""

from __future__ import annotations

from typing import Any

from pamdp_agents.base.common_settings import AgentArguments
from pamdp_agents.base.settings import Kind, flag, integer, number, optional, schedule, setting
from pamdp_agents.checks import drop_neutral
from pamdp_agents.networks.policy_kwargs import ON_POLICY_NEUTRAL, read_policy_kwargs, serialize_policy_kwargs
from pamdp_agents.schedules import Schedule

ON_POLICY_NETWORK_ARGUMENTS = Kind(
    lambda name, value: read_policy_kwargs(value, "vf", ON_POLICY_NEUTRAL), serialize_policy_kwargs
)
"""The kind of `policy_kwargs`: a dict, whose Keras objects are saved as configurations."""

NEUTRAL: dict[str, tuple[Any, str]] = {
    "strategy": (
        None,
        "strategies change a critic's gradient with respect to the action-parameters, and this agent has none: it "
        "learns from the probabilities of what it did",
    ),
    "rollout_buffer_class": (None, "the rollout buffer is the library's own"),
    "rollout_buffer_kwargs": ({}, "the rollout buffer is the library's own"),
}
"""Arguments of others, the values at which they ask for nothing, and what is so here whatever their value."""


class RolloutSettings(AgentArguments, kw_only=False):
    """The settings of agents that learn from rollouts, in Stable-Baselines3's order and words."""

    learning_rate: float | Schedule = setting(
        default=3e-4,
        text="""Adam's step size, at least 0: a number, or a schedule, which is a function of the progress that remains
        (1 at the start of `learn`, 0 at its end); see `pamdp_agents.schedules`.""",
        kind=schedule(),
        change="input",
    )
    n_steps: int = setting(
        default=2048,
        text="Steps of each environment in a rollout; training makes whole rollouts, so it may go past its total.",
        kind=integer(1),
    )
    batch_size: int = setting(
        default=64,
        text="Transitions in a minibatch; it should divide `n_steps` times the number of environments.",
        kind=integer(1),
        change="recompiles",
    )
    n_epochs: int = setting(
        default=10, text="How many times each rollout is gone through.", kind=integer(1), change="acts"
    )
    gamma: float = setting(
        default=0.99, text="Discount factor γ, in [0, 1].", kind=number(at_least=0, to=1), change="acts"
    )
    gae_lambda: float = setting(
        default=0.95,
        text="λ of generalised advantage estimation, in [0, 1]: 0 is the one-step error, 1 the whole return.",
        kind=number(at_least=0, to=1),
        change="acts",
    )
    clip_range: float | Schedule = setting(
        default=0.2,
        text="How far the ratio of probabilities may move from 1 and still count, at least 0; a number or a schedule.",
        kind=schedule(),
        change="input",
    )
    clip_range_vf: float | Schedule | None = setting(
        default=None,
        text="How far a value may move in one rollout's updates, in units of the return; None: as far as it does.",
        kind=optional(schedule()),
        change="input",
    )
    normalize_advantage: bool = setting(
        default=True,
        text="Give the advantages of each minibatch a mean of 0 and a standard deviation of 1.",
        kind=flag(),
        change="recompiles",
    )
    ent_coef: float = setting(
        default=0.0,
        text="Weight of the entropy in the loss, at least 0.",
        kind=number(at_least=0),
        change="input",
    )
    vf_coef: float = setting(
        default=0.5,
        text="Weight of the value's loss, at least 0.",
        kind=number(at_least=0),
        change="input",
    )
    max_grad_norm: float | None = setting(
        default=0.5,
        text="The gradient is scaled down to this norm; None: not clipped.",
        kind=optional(number(above=0)),
        change="input",
    )
    target_kl: float | None = setting(
        default=None,
        text="""Learning from a rollout stops before the first step for which the approximate Kullback-Leibler
        divergence from the old policy is above 1.5 times this; None: never.""",
        kind=optional(number(above=0)),
        change="input",
    )

    @classmethod
    def drop_neutral(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        """Returns a constructor's arguments without those of others that ask for nothing here.

        Raises:
            ValueError: One of them asks for something.
        """
        return super().drop_neutral(drop_neutral(arguments, NEUTRAL, cls.__name__))

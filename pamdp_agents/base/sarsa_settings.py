"""The settings of agents whose values are linear in features and learned by Sarsa(λ)."""

from __future__ import annotations

from typing import Any

from pamdp_agents.base.common_settings import AgentArguments, CommonSettings
from pamdp_agents.base.settings import Kind, choice, flag, number, schedule, setting
from pamdp_agents.networks.linear_features import read_linear_kwargs
from pamdp_agents.schedules import Schedule


class StepSettings(AgentArguments, kw_only=False):
    """Those that Stable-Baselines3's agents have too, in its order."""

    learning_rate: float | Schedule = setting(
        default=1.0,
        text="""Step size α of Sarsa(λ), at least 0, where `adaptive_step_size` does not bound it; of feature c it is
        α/‖c‖. A number, or a schedule.""",
        kind=schedule(),
        change="input",
    )
    gamma: float = setting(
        default=0.99, text="Discount factor γ, in [0, 1].", kind=number(at_least=0, to=1), change="acts"
    )


class SarsaSettings(CommonSettings, StepSettings):
    """The settings of agents whose values are linear in features and learned by Sarsa(λ)."""

    policy: str = setting(
        text="""`"MlpPolicy"` or `"MultiInputPolicy"` (Dict and Tuple observations); either way, observations are
        flattened, and values and parameters are linear in features of them.""",
        kind=choice("MlpPolicy", "MultiInputPolicy"),
        kw_only=False,
    )
    policy_kwargs: dict[str, Any] | None = setting(
        default=None,
        text="""`fourier_order` (the highest frequency; default 3), `fourier_interactions` (how many observations one
        feature depends on at most; default 2, and None is all), `fourier_observations` (which numbers of the flat
        observation, from 0; default None, all), `parameter_observations` (which ones the parameters depend on: a list,
        or one for each discrete action; default None, all) and `baseline_observations` (which ones of an episode's
        first observation the return is expected to depend on, as they are and squared; default []).""",
        kind=Kind(read_linear_kwargs),
        kw_only=False,
    )
    sarsa_lambda: float = setting(
        default=0.5, text="λ of Sarsa(λ), in [0, 1].", kind=number(at_least=0, to=1), change="acts"
    )
    adaptive_step_size: bool = setting(
        default=True,
        text="Bound α so that no step overshoots; the bound never grows (Dabney & Barto 2012).",
        kind=flag(),
        change="acts",
    )
    discount_substeps: bool = setting(
        default=False,
        text="""γ is that of a substep: that of a step is γ to the power of `info["substeps"]`, which the environment
        must give.""",
        kind=flag(),
        change="acts",
    )
    temperature: float = setting(
        default=1.0,
        text="Temperature T of the softmax, when action learning begins, in units of the return; 0: greedy.",
        kind=number(at_least=0),
        change="acts",
    )
    temperature_decay: float = setting(
        default=0.995,
        text="What T is multiplied by after each episode of action learning, in [0, 1].",
        kind=number(at_least=0, to=1),
        change="acts",
    )

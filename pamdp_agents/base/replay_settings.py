"""The settings of agents that learn from a replay buffer, in Stable-Baselines3's order and words."""

from __future__ import annotations

from typing import Any, Literal

from pamdp_agents.base.common_settings import AgentArguments
from pamdp_agents.base.settings import Kind, flag, integer, mapping, number, optional, schedule, setting
from pamdp_agents.checks import check_choice, check_integer
from pamdp_agents.experience import PrioritizedReplayBuffer, ReplayBuffer
from pamdp_agents.schedules import Schedule
from pamdp_agents.training.trainee import Round


def _read_train_freq(name: str, value: Any) -> int | tuple[int, str]:
    """Returns a number of steps, or (number, unit), checked."""
    if not isinstance(value, tuple | list):
        return check_integer(name, value, 1)
    if len(value) != 2:
        raise ValueError(f'{name} must be a number of steps or (number, "step" or "episode"), got {value!r}')
    amount, unit = value[0], getattr(value[1], "value", value[1])  # SB3's unit is an enumeration
    return check_integer(name, amount, 1), check_choice(f"{name}'s unit", unit, ("step", "episode"))


BUFFERS = {each.__name__: each for each in (ReplayBuffer, PrioritizedReplayBuffer)}
"""The replay buffers, by name."""


def _read_buffer_class(name: str, value: Any) -> type[ReplayBuffer] | None:
    """Returns a replay buffer's class, given it or its name, or None, checked."""
    found = BUFFERS.get(value) if isinstance(value, str) else value
    if (found is None and value is None) or any(found is each for each in BUFFERS.values()):
        return found
    raise ValueError(
        f"{name} must be None or one of pamdp_agents's {' and '.join(BUFFERS)}, the class or its name, got {value!r}"
    )


def as_round(train_freq: Any) -> Round:
    """Returns how much is collected between two rounds of updates, for the setting `train_freq`, which was checked."""
    return Round(*train_freq) if isinstance(train_freq, tuple) else Round(train_freq, "step")


def check_n_envs(n_envs: int, train_freq: Any) -> None:
    """Raises ValueError if updates cannot come as `train_freq` says in so many environments."""
    if n_envs > 1 and as_round(train_freq).unit == "episode":
        raise ValueError(
            f"train_freq={train_freq} counts episodes, which needs one environment, but env has {n_envs}: "
            f'count steps, for example train_freq=(1, "step")'
        )


class ReplaySettings(AgentArguments, kw_only=False):
    """The settings of agents that learn from a replay buffer, in Stable-Baselines3's order and words."""

    learning_rate: float | Schedule = setting(
        default=1e-3,
        text="""Adam's step size for the critic, at least 0: a number, or a schedule, which is a function of the
        progress that remains (1 at the start of `learn`, 0 at its end); see `pamdp_agents.schedules`.""",
        kind=schedule(),
        change="input",
    )
    buffer_size: int = setting(default=100_000, text="Number of transitions in the replay buffer.", kind=integer(1))
    learning_starts: int = setting(
        default=500,
        text="Environment steps before the first update; until then the discrete action is random (ε = 1).",
        kind=integer(0),
        change="acts",
    )
    batch_size: int = setting(default=128, text="Transitions in one update.", kind=integer(1), change="recompiles")
    tau: float = setting(
        default=0.01,
        text="Polyak coefficient of the critic's target, in [0, 1].",
        kind=number(at_least=0, to=1),
        change="input",
    )
    gamma: float = setting(
        default=0.95, text="Discount factor γ, in [0, 1].", kind=number(at_least=0, to=1), change="input"
    )
    train_freq: int | tuple[int, Literal["step", "episode"]] = setting(
        default=1,
        text="""Steps between updates, each of all parallel environments: a number, or `(number, "step")`; or `(number,
        "episode")`, with one environment only.""",
        kind=Kind(_read_train_freq),
        change="recompiles",
    )
    gradient_steps: int = setting(
        default=1,
        text="""Updates made then, all in one compiled call; −1: as many as environment steps were made since the last
        ones, over all parallel environments.""",
        kind=integer(-1),
        change="recompiles",
    )
    replay_buffer_class: type[ReplayBuffer] | None = setting(
        default=None,
        text="""`PrioritizedReplayBuffer`, of which transitions are drawn the more often, the larger their TD errors
        were; or `ReplayBuffer`, uniformly, as with None. The class, from `pamdp_agents`, or its name.""",
        kind=Kind(_read_buffer_class, lambda value: value and value.__name__),
        kw_only=True,
    )
    replay_buffer_kwargs: dict[str, Any] | None = setting(
        default=None,
        text="""The class's own arguments: `alpha` (default 0.6) and `beta` (0.4) of `PrioritizedReplayBuffer`.""",
        kind=optional(mapping()),
        kw_only=True,
    )
    optimize_memory_usage: bool = setting(
        default=False,
        text="""Keep an image that is after one step and before the next once in the replay buffer; for observations
        with images, with `n_steps=1`.""",
        kind=flag(),
        kw_only=True,
    )
    n_steps: int = setting(
        default=1,
        text="""Steps of a return: the target is the sum of as many rewards and the value after them, each discounted;
        fewer at the end of an episode.""",
        kind=integer(1),
        kw_only=True,
    )

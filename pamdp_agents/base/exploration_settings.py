"""The settings of agents that explore with ε-greedy actions and parameter noise."""

from __future__ import annotations

from typing import Any

from pamdp_agents import exploration, schedules
from pamdp_agents.base.settings import HasSettings, Kind, integer, number, optional, schedule, setting
from pamdp_agents.exploration.noise import ParameterNoise
from pamdp_agents.schedules import Schedule
from pamdp_agents.training.progress import Progress


class ExplorationSettings(HasSettings):
    """The settings of agents that explore with ε-greedy actions and parameter noise, and what they mean."""

    exploration_initial_eps: float = setting(
        default=1.0, text="ε at the start.", kind=number(at_least=0, to=1), change="acts"
    )
    exploration_final_eps: float = setting(
        default=0.01, text="ε at the end of its linear fall.", kind=number(at_least=0, to=1), change="acts"
    )
    exploration_fraction: float = setting(
        default=0.1,
        text="Fraction of `total_timesteps` over which ε falls, in (0, 1].",
        kind=number(above=0, to=1),
        change="acts",
    )
    exploration_episodes: int | None = setting(
        default=None,
        text="If given, ε falls over this many episodes instead.",
        kind=optional(integer(1)),
        change="acts",
    )
    exploration_schedule: Schedule | None = setting(
        default=None,
        text="If given, ε as a function of the progress that remains, in place of the four above.",
        kind=optional(schedule(to=1)),
        change="acts",
    )
    action_noise: str | dict[str, Any] | ParameterNoise | None = setting(
        default="uniform",
        text="""`"uniform"`, `"gaussian"`, `"ornstein_uhlenbeck"`, a configuration, an object, or None for none; see
        `pamdp_agents.exploration`.""",
        kind=Kind(lambda name, value: exploration.get(value), exploration.serialize),
        change="acts",
    )

    @property
    def noise(self) -> ParameterNoise:
        """`action_noise` as an object."""
        return exploration.get(self.action_noise)

    def current_epsilon(self, progress: Progress) -> float:
        """Returns ε, in [0, 1]."""
        if self.exploration_schedule is not None:
            return schedules.current_value("exploration_schedule", self.exploration_schedule, progress.remaining, to=1)
        if self.exploration_episodes is not None:
            done = progress.episodes / self.exploration_episodes
        else:
            done = progress.num_timesteps / (self.exploration_fraction * progress.total_timesteps)
        return schedules.linear_schedule(self.exploration_initial_eps, self.exploration_final_eps, done)

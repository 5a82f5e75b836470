"""What a training starts from where nothing else is said."""

from __future__ import annotations

from typing import Any, NamedTuple

from pamdp_agents.agents import AGENTS
from pamdp_agents.checks import check_choice
from pamdp_agents.presets.tuned import tuned_table

N_TIMESTEPS = 100_000  # where there are no tuned settings


class StartingSettings(NamedTuple):
    """What a training starts from.

    Attributes:
        settings: Arguments of the agent's constructor; those that are not there have its defaults.
        n_timesteps: Environment steps.
        origin: What these are, in words.
    """

    settings: dict[str, Any]
    n_timesteps: int
    origin: str


def find_starting_settings(algorithm: str, env_id: str, tuned: bool = True) -> StartingSettings:
    """Returns the tuned settings of an agent for an environment if there are some, else its constructor's defaults.

    Args:
        algorithm: The agent's name on the command line, such as `"mpdqn"`.
        env_id: The environment's id.
        tuned: False: the constructor's defaults in any case.

    Raises:
        ValueError: There is no such algorithm.
    """
    name = AGENTS[check_choice("algorithm", algorithm, list(AGENTS))]
    if not tuned:
        return StartingSettings({}, N_TIMESTEPS, "default settings")
    settings = tuned_table(name).get(env_id, {})
    if not settings:
        return StartingSettings({}, N_TIMESTEPS, "default settings (there are no tuned ones)")
    n_timesteps = settings.pop("n_timesteps", N_TIMESTEPS)
    return StartingSettings(settings, n_timesteps, "tuned settings")

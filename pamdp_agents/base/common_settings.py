"""The settings that every agent has."""

from __future__ import annotations

from typing import Any

from pamdp_agents.base.sb3_arguments import NEUTRAL
from pamdp_agents.base.settings import HasSettings, Kind, choice, integer, optional, path, setting
from pamdp_agents.checks import LARGEST_SEED, check_bool, drop_neutral
from pamdp_agents.environments.adapter import Environment
from pamdp_agents.networks import features
from pamdp_agents.networks.policy_kwargs import read_policy_kwargs, serialize_policy_kwargs

NETWORK_ARGUMENTS = Kind(lambda name, value: read_policy_kwargs(value), serialize_policy_kwargs)
"""The kind of `policy_kwargs`: a dict, whose Keras objects are saved as configurations."""


class AgentArguments(HasSettings, kw_only=False):
    """The first two arguments of every agent."""

    policy: str = setting(
        text="""`"MlpPolicy"` (observations flattened), `"CnnPolicy"` (images) or `"MultiInputPolicy"` (Dict and Tuple
        observations, with images or not); see `pamdp_agents.networks.features`.""",
        kind=choice(*features.POLICIES),
    )
    env: Environment | str | None = setting(
        text="""A Gymnasium environment, its id, a Gymnasium vector environment, a Stable-Baselines3 `VecEnv`, or None
        (only to load an agent or to be given one later by `set_env`)."""
    )

    @classmethod
    def drop_neutral(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        """Returns a constructor's arguments without those of Stable-Baselines3's that ask for nothing here.

        Raises:
            ValueError: One of Stable-Baselines3's asks for something.
        """
        no_settings = {name: row for name, row in NEUTRAL.items() if name not in cls.declared_settings}
        return drop_neutral(arguments, no_settings, cls.__name__)


class CommonSettings(AgentArguments, kw_only=False):
    """The settings that every agent has, in Stable-Baselines3's order and words."""

    policy_kwargs: dict[str, Any] | None = setting(
        default=None, text="What the networks are like; None: as they are by default.", kind=NETWORK_ARGUMENTS
    )
    stats_window_size: int = setting(
        default=100, text="Episodes over which the logged returns are averaged.", kind=integer(1)
    )
    tensorboard_log: str | None = setting(
        default=None, text="Folder for TensorBoard's logs, or None.", kind=optional(path()), change="acts"
    )
    verbose: int = setting(
        default=0, text="0 silent, 1 prints the settings and the log table.", kind=integer(0), change="acts"
    )
    seed: int | None = setting(
        default=None,
        text="Seed of the weights, the exploration, the replay samples and the environment.",
        kind=optional(integer(0, LARGEST_SEED)),
    )
    device: str = setting(
        default="auto",
        text='`"auto"`, `"cpu"`, `"gpu"` or a TensorFlow device name.',
        kind=Kind(lambda name, value: str(value)),  # PyTorch's are objects
    )
    scale_observations: bool | list[str] = setting(
        default=True,
        text="""Scale observations to [−1, 1] from the observation space's finite bounds, of which those further apart
        than 2**24 count as none; or a list of those keys of a Dict that are to be scaled. What `VecNormalize`
        normalises is never scaled.""",
        kind=Kind(lambda name, value: value if isinstance(value, list) else check_bool(name, value)),
        kw_only=True,
    )

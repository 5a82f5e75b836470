"""`policy_kwargs`: what any agent's may hold, and how JSON holds them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import keras

from pamdp_agents.checks import check_bool, check_mapping, check_range, drop_neutral
from pamdp_agents.learning.optimizers import Adam
from pamdp_agents.networks import keras_configs
from pamdp_agents.networks.activations import keras_name
from pamdp_agents.networks.initializers import is_initializer_class
from pamdp_agents.networks.layers import check_net_arch

Made = TypeVar("Made")

NEUTRAL: dict[str, tuple[Any, str]] = {
    "share_features_extractor": (False, "the actor and the critic have a features extractor each"),
    "n_critics": (1, "it is an argument of the agent's own, if it can have several"),
    "features_extractor_class": (
        None,
        'give a Keras model instead of a class: policy_kwargs={"features_extractor": model}, such as '
        "NatureCNN(env.observation_space, features_dim=128) of pamdp_agents.networks.features",
    ),
}
"""Arguments of Stable-Baselines3's policies that can be nothing else here, and what to do instead of anything else."""

ON_POLICY_NEUTRAL: dict[str, tuple[Any, str]] = {
    "share_features_extractor": (True, "the policy and the value share the features extractor"),
    "squash_output": (False, "numbers outside of their bounds are clipped"),
    "full_std": (True, "there is no state-dependent exploration"),
    "use_expln": (False, "there is no state-dependent exploration"),
    "features_extractor_class": NEUTRAL["features_extractor_class"],
}
"""The same of Stable-Baselines3's on-policy policies."""


def read_policy_kwargs(
    policy_kwargs: Any, critic: str = "qf", neutral: Mapping[str, tuple[Any, str]] = NEUTRAL
) -> dict[str, Any]:
    """Returns `policy_kwargs` with their numbers and lists as Python's own; without those that say nothing.

    Args:
        policy_kwargs: What was given.
        critic: What the network beside the policy's `"pi"` is called in `net_arch`.
        neutral: Arguments that can be nothing else.

    Raises:
        TypeError: They are no dict, or one of them is of another class.
        ValueError: One cannot be honoured, or is out of its range.
    """
    given = check_mapping("policy_kwargs", {} if policy_kwargs is None else policy_kwargs)
    given = drop_neutral(given, neutral, "policy_kwargs")
    readers: dict[str, Callable[[Any], Any]] = {
        "net_arch": lambda value: _read_net_arch(value, critic),
        "log_std_init": lambda value: float(check_range("log_std_init", value)),
        **{name: partial(check_bool, name) for name in ("normalize_images", "layer_norm", "dueling", "ortho_init")},
        "optimizer_class": _read_optimizer_class,
        "optimizer_kwargs": lambda value: Adam.read(value)._asdict(),
        "features_extractor_kwargs": lambda value: check_mapping("features_extractor_kwargs", value),
    }
    for name, read in readers.items():
        if given.get(name) is None:
            given.pop(name, None)
        else:
            given[name] = read(given[name])
    return given


def _read_net_arch(net_arch: Any, critic: str) -> list[int] | dict[str, list[int]]:
    if not isinstance(net_arch, Mapping):
        return check_net_arch(net_arch)
    if net_arch.keys() != {"pi", critic}:
        raise ValueError(f'net_arch must be a list or {{"pi": [...], "{critic}": [...]}}, got {net_arch!r}')
    return {name: check_net_arch(net_arch[name]) for name in ("pi", critic)}


def _read_optimizer_class(optimizer: Any) -> str:
    is_class = isinstance(optimizer, type) and optimizer.__module__.startswith(("torch.optim", "keras."))
    if (optimizer.__name__ if is_class else optimizer) != "Adam":
        raise ValueError(
            "optimizer_class must be Adam (torch.optim.Adam, keras.optimizers.Adam or its name), whose steps are part "
            f"of the compiled update, got {optimizer!r}"
        )
    return "Adam"


def call_with(make: Callable[..., Made], policy_kwargs: Mapping[str, Any]) -> Made:
    """Returns what a function makes, given `policy_kwargs` as its arguments.

    Raises:
        ValueError: It does not take one of them.
    """
    accepted = inspect.signature(make).parameters
    if unknown := sorted(policy_kwargs.keys() - accepted.keys()):
        raise ValueError(f"policy_kwargs {policy_kwargs} must be among {list(accepted)}: {unknown} are not")
    return make(**policy_kwargs)


def serialize_policy_kwargs(policy_kwargs: dict[str, Any]) -> dict[str, Any]:
    """Returns `policy_kwargs` for JSON: Keras's objects as configurations, PyTorch's activations as names."""
    return {name: _serialized(value) for name, value in policy_kwargs.items()}


def _serialized(value: Any) -> Any:
    if isinstance(value, keras.Model):
        return keras_configs.serialize(value)
    if is_initializer_class(type(value)) and type(value).__module__.startswith("keras."):
        return {"class_name": type(value).__name__, "config": value.get_config()}
    return keras_name(value)

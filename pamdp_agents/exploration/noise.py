"""Exploration: how the parameters are perturbed while acting.

With probability ε the discrete action is uniform. What happens to the parameters is the noise's choice:
`UniformNoise` draws all of them uniformly in that case and leaves the greedy case alone; the others keep the
actor's parameters and add noise to those of the chosen action in both cases.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pamdp_agents import schedules
from pamdp_agents.checks import check_range
from pamdp_agents.schedules import Schedule, current_value


class ParameterNoise:
    """Base class of parameter noise, on parameters scaled to [−1, 1]."""

    replaces: bool = False
    """True if the noise takes the parameters' place in the ε case instead of being added in both cases."""
    state: np.ndarray | None = None
    """What the noise remembers from step to step, [P], or None; saved with the agent."""
    progress_remaining: float = 1.0
    """1 at the start of training, 0 at its end; the agent sets it before each step, for noise that changes."""

    def sample(self, rng: np.random.Generator, n_parameters: int) -> np.ndarray:
        """Draws noise for every parameter, [P]."""
        raise NotImplementedError(f"{type(self).__name__} must define sample(rng, n_parameters)")

    def reset(self) -> None:
        """Forgets the state; called at the end of every episode."""
        self.state = None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {name: value for name, value in vars(self).items() if name not in ("state", "progress_remaining")}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.get_config().items())})"


class UniformNoise(ParameterNoise):
    """`"uniform"`: in the ε case all parameters are uniform over their ranges; no noise otherwise."""

    replaces = True

    def sample(self, rng: np.random.Generator, n_parameters: int) -> np.ndarray:
        """Draws uniformly from [−1, 1], [P]."""
        return rng.uniform(-1.0, 1.0, n_parameters)


class GaussianNoise(ParameterNoise):
    """`"gaussian"`: independent normal noise at every step.

    Args:
        sigma: Standard deviation, in units of half a parameter's range; or a function of the remaining progress, which
            goes from 1 to 0.
    """

    def __init__(self, sigma: float | Schedule = 0.1):
        self.sigma = schedules.get("sigma", sigma)

    def sample(self, rng: np.random.Generator, n_parameters: int) -> np.ndarray:
        """Draws from N(0, sigma²), [P]."""
        return current_value("sigma", self.sigma, self.progress_remaining) * rng.standard_normal(n_parameters)


class OrnsteinUhlenbeckNoise(ParameterNoise):
    """`"ornstein_uhlenbeck"`: noise that drifts, n ← n − theta·n + sigma·N(0, 1), from 0 in every episode.

    Args:
        theta: How fast it is drawn back to 0, per step: at most 2, for beyond that it is driven ever further away.
        sigma: Standard deviation of its steps, in units of half a parameter's range; or a function of the remaining
            progress, which goes from 1 to 0.
    """

    def __init__(self, theta: float = 0.15, sigma: float | Schedule = 1e-4):
        self.theta, self.sigma = check_range("theta", theta, at_least=0, to=2), schedules.get("sigma", sigma)

    def sample(self, rng: np.random.Generator, n_parameters: int) -> np.ndarray:
        """Moves the noise one step on and returns it, [P]."""
        noise = np.zeros(n_parameters) if self.state is None else self.state
        sigma = current_value("sigma", self.sigma, self.progress_remaining)
        self.state = noise - self.theta * noise + sigma * rng.standard_normal(n_parameters)
        return self.state


NOISES: dict[str, type[ParameterNoise]] = {
    "uniform": UniformNoise,
    "gaussian": GaussianNoise,
    "ornstein_uhlenbeck": OrnsteinUhlenbeckNoise,
}

_NAMES = {noise: name for name, noise in NOISES.items()}


def get(identifier: str | Mapping[str, Any] | ParameterNoise | None) -> ParameterNoise:
    """Returns the noise that a name, a configuration (`{"name": "gaussian", "sigma": 0.2}`) or an object means.

    Args:
        identifier: One of these; or None: no noise. Stable-Baselines3's normal and Ornstein-Uhlenbeck noise become
            ours: both are in units of half a parameter's range.

    Raises:
        ValueError: The name is unknown, or the configuration has arguments that the noise doesn't take; or
            Stable-Baselines3's noise has a mean, or differs from parameter to parameter.
        TypeError: The identifier is none of the above.
    """
    if isinstance(identifier, ParameterNoise):  # first, for agents ask in every step
        return identifier
    if identifier is None:
        return GaussianNoise(0.0)
    if hasattr(identifier, "base_noise"):  # SB3's for several environments, each of which has its own copy here
        return get(identifier.base_noise)
    if hasattr(identifier, "_mu") and hasattr(identifier, "_sigma"):
        return _of_sb3(identifier)
    if isinstance(identifier, str):
        identifier = {"name": identifier}
    if isinstance(identifier, Mapping):
        config = dict(identifier)
        name = config.pop("name", None)
        if name not in NOISES:
            raise ValueError(f"action_noise {name!r} is unknown; known: {', '.join(NOISES)}")
        try:
            return NOISES[name](**config)
        except TypeError as error:
            raise ValueError(f"action_noise {name!r} does not take the arguments {config}: {error}") from None
    raise TypeError(f"action_noise must be a name, a configuration, a ParameterNoise or None, got {identifier!r}")


def _of_sb3(noise: Any) -> ParameterNoise:
    """Returns Stable-Baselines3's `NormalActionNoise` or `OrnsteinUhlenbeckActionNoise` as ours."""
    sigma = np.unique(noise._sigma)
    initial = getattr(noise, "initial_noise", None)
    if np.any(noise._mu) or len(sigma) != 1 or (initial is not None and np.any(initial)):
        raise ValueError(
            f"action_noise must have a mean of 0, start from 0 and have one sigma for all parameters, got {noise!r}"
        )
    if hasattr(noise, "_theta"):
        return OrnsteinUhlenbeckNoise(float(noise._theta * noise._dt), float(sigma[0] * np.sqrt(noise._dt)))
    return GaussianNoise(float(sigma[0]))


def serialize(noise: ParameterNoise) -> dict[str, Any]:
    """Returns the configuration from which `get` makes the noise again.

    Raises:
        TypeError: It is of a user's own class, which has no name here, or has a schedule that no file can describe.
    """
    if type(noise) not in _NAMES:
        raise TypeError(f"action_noise {noise!r} is not one of {', '.join(NOISES)}: it has no configuration")
    config = {name: schedules.serialize(value) for name, value in noise.get_config().items()}
    return {"name": _NAMES[type(noise)], **config}

"""How agents explore: noise on the parameters, and ε-greedy actions."""

from pamdp_agents.exploration.noise import (
    NOISES,
    GaussianNoise,
    OrnsteinUhlenbeckNoise,
    ParameterNoise,
    UniformNoise,
    get,
    serialize,
)

__all__ = [
    "NOISES",
    "GaussianNoise",
    "OrnsteinUhlenbeckNoise",
    "ParameterNoise",
    "UniformNoise",
    "get",
    "serialize",
]

"""Arguments of Stable-Baselines3's constructors that have no counterpart: taken where they ask for nothing."""

from __future__ import annotations

from typing import Any

NEUTRAL: dict[str, tuple[Any, str]] = {
    "target_update_interval": (1, "targets are Polyak averages: tau, actor_tau and policy_delay"),
    "use_sde": (False, "there is no state-dependent exploration; see action_noise"),
    "use_sde_at_warmup": (False, "there is no state-dependent exploration; see action_noise"),
    "sde_sample_freq": (-1, "there is no state-dependent exploration; see action_noise"),
    "_init_setup_model": (True, "an agent is set up when it has an environment; env=None for later"),
}
"""For each argument the value at which it asks for nothing, and what is so here whatever its value."""

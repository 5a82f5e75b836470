"""Tuned settings: one TOML file per agent, one table per environment in it."""

from __future__ import annotations

import tomllib
from importlib import resources
from typing import Any


def tuned_table(agent: str) -> dict[str, dict[str, Any]]:
    """Returns the settings of an agent (`"MPDQN"`) for every environment that has some, by id.

    In the file, `like = "pamdp/Goal-v0"` in an environment's table stands for that environment's settings, of which the
    table changes those that it names.
    """
    file = resources.files("pamdp_agents.presets") / "hyperparameters" / f"{agent.lower()}.toml"
    tables = tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return {env_id: (tables[table.pop("like")] if "like" in table else {}) | table for env_id, table in tables.items()}


def tuned_settings(agent: str, env_id: str) -> dict[str, Any]:
    """Returns the constructor's arguments tuned for an agent and an environment, without `n_timesteps`.

    Raises:
        KeyError: There are none; the message says for which environments there are.
    """
    table = tuned_table(agent)
    if env_id not in table:
        raise KeyError(f"{agent} has no tuned settings for {env_id!r}, only for {', '.join(table) or 'none'}")
    return {name: value for name, value in table[env_id].items() if name != "n_timesteps"}

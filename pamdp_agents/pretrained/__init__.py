"""Trained agents that come with the library: one saved file per agent and environment."""

from __future__ import annotations

from pathlib import Path


def path(agent: str, env_id: str) -> Path:
    """Returns the saved file of an agent (``"MPDQN"``) for an environment id.

    Raises:
        FileNotFoundError: There is none; the message lists those there are.
    """
    folder = Path(__file__).parent
    file = folder / f"{agent.lower()}-{env_id.replace('/', '-')}.zip"
    if not file.is_file():
        known = ", ".join(sorted(found.stem for found in folder.glob("*.zip"))) or "none"
        raise FileNotFoundError(f"no pretrained {agent} for {env_id!r} comes with the library; there are: {known}")
    return file

"""Trained agents that come with the library: one saved file per agent and environment."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent / "agents"


def path(agent: str, env_id: str) -> Path:
    """Returns the saved file of an agent (`"MPDQN"`) for an environment id.

    Raises:
        FileNotFoundError: There is none; the message lists those there are.
    """
    file = FOLDER / f"{agent.lower()}-{env_id.replace('/', '-')}.zip"
    if not file.is_file():
        known = ", ".join(stems()) or "none"
        raise FileNotFoundError(f"no pretrained {agent} for {env_id!r} comes with the library; there are: {known}")
    return file


def stems() -> list[str]:
    """Returns the names of all files, without their suffix."""
    return sorted(file.stem for file in FOLDER.glob("*.zip"))

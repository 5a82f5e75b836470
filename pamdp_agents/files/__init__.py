"""Saved agents, buffers and exported policies: whole files, and no code in them."""

from pamdp_agents.files.archive import SavedFileError

__all__ = ["SavedFileError"]

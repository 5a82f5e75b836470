"""How fast the library is on this machine: ``python -m pamdp_agents.benchmark speed`` and ``scaling``."""

"""How fast the library is on this machine: `python -m pamdp_agents.benchmark speed`, `scaling` and `profile`.

* `pamdp_agents.benchmark.speed`: environments, learner, `learn`, many seeds, predictions, files and start-up.
* `pamdp_agents.benchmark.scaling`: an update's cost by actions, batch size and network size.
* `pamdp_agents.benchmark.step_profile`: where the time of one step of `learn` goes.

What the rows mean is in `docs/speed.md`.
"""

from __future__ import annotations

"""One call of `learn`: the loop, what it asks of an agent, what it counts, and many agents at once."""

from pamdp_agents.training.together import train_seeds, train_together
from pamdp_agents.training.together_checks import check_together

__all__ = ["check_together", "train_seeds", "train_together"]

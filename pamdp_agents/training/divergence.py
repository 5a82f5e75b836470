"""What happens to an agent whose updates give numbers that are not finite."""

from __future__ import annotations

from pamdp_agents.learning.divergence import DivergedError
from pamdp_agents.training.trainee import Trainee


def make_updates(agent: Trainee, updates: int) -> None:
    """Lets an agent make updates.

    Raises:
        DivergedError: They gave numbers that are not finite. It says which, and what to look at.
    """
    try:
        agent.train(updates)
    except DivergedError as error:
        raise diverged(agent, str(error)) from None


def diverged(agent: Trainee, wrong: str) -> DivergedError:
    """Returns the error that says what of the updates that are due was not finite, and what to look at."""
    first, last = agent.progress.n_updates + 1, agent.progress.n_updates + (agent.progress.due or 1)
    inputs = agent.current_inputs()
    rates = ", ".join(f"{name} ({inputs[name]:g})" for name in agent.rate_names)
    return DivergedError(
        f"{f'update {first}' if first == last else f'updates {first} to {last}'}, at step "
        f"{agent.progress.num_timesteps}, gave numbers that are not finite: {wrong}. Training has diverged and "
        f"stopped; the agent is as it was before, and can be saved. Look at the learning rates, {rates}, and at how "
        f"large the rewards are{', times reward_scale' if hasattr(agent, 'reward_scale') else ''}"
    )

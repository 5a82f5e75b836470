"""What happens to an agent whose updates give numbers that are not finite."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np

from pamdp_agents.learning.divergence import DivergedError
from pamdp_agents.training.trainee import Trainee


def diverged(agent: Trainee, updates: int, wrong: str) -> DivergedError:
    """Returns the error that says what of the agent's next so many updates was not finite, and what to look at."""
    first, last = agent.progress.n_updates + 1, agent.progress.n_updates + updates
    inputs, buffer = agent.current_inputs(), agent.replay_buffer
    rewards = buffer.rows[: len(buffer), buffer.layout.places["r"]]
    return DivergedError(
        f"{f'update {first}' if first == last else f'updates {first} to {last}'}, at step "
        f"{agent.progress.num_timesteps}, gave numbers that are not finite: {wrong}. Training has diverged and "
        "stopped; the agent is as it was before, and can be saved. Look at the learning rates, "
        f"{', '.join(f'{name} ({inputs[name]:g})' for name in agent.rate_names)}, and at the rewards: the largest "
        f"stored, times reward_scale={agent.reward_scale:g}, is {np.abs(rewards).max(initial=0.0):g}"
    )


@contextlib.contextmanager
def all_or_none(agent: Trainee, updates: int) -> Iterator[None]:
    """Where so many updates are made: after an error or Ctrl-C, none of them has been.

    Raises:
        DivergedError: They gave numbers that are not finite.
    """
    before = agent.learner.state  # which is never changed
    try:
        yield
    except BaseException as error:
        agent.learner.state = before
        if isinstance(error, DivergedError):
            raise diverged(agent, updates, str(error)) from None
        raise

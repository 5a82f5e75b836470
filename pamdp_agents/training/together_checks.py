"""Which agents can be trained together."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, cast

import cloudpickle
import numpy as np

from pamdp_agents.files.space_json import space_to_json
from pamdp_agents.training.trainee import CompiledTrainee, Trainee

# A noise of the user's own class is compared with its state, which is not the same in two agents.
OWN_SETTINGS = {"seed", "action_noise", "tensorboard_log", "verbose", "stats_window_size"}


def check_together(agents: Sequence[Trainee]) -> None:
    """Checks that `train_together` can train these agents.

    Raises:
        RuntimeError: An agent has no environment.
        TypeError: `agents` is no list.
        ValueError: There is no agent; they differ in more than seed, environment, noise and logs; they share an
            environment, a noise or a logger; or their numbers of updates vary or differ.
    """
    if not isinstance(agents, Sequence):
        raise TypeError(f"agents must be a list of agents, got {agents!r}")
    if not agents:
        raise ValueError("agents must be at least one, got none")
    for agent in agents:
        if agent.env is None:
            raise RuntimeError(
                "agents trained together need an environment each: pass env to the constructor or to load, or call "
                "set_env first"
            )
    first, *others = agents
    for what in first.unshared():
        check_unshared(what, [[agent.unshared().get(what)] for agent in agents])
    for agent in others:
        ours, theirs = _shared_settings(first), _shared_settings(agent)
        if different := [name for name in ours if ours[name] != theirs.get(name)]:
            raise ValueError(
                "agents trained together may differ in their seeds, environments, noises and logs only, but these do "
                "in "
                + ", ".join(f"{name} ({getattr(first, name)} and {getattr(agent, name, None)})" for name in different)
            )
    updates = [updates_in_a_round(agent) for agent in agents]
    if len(set(updates)) > 1:
        raise ValueError(
            "agents trained together must make the same number of updates in a round, but gradient_steps=-1 makes "
            f"{updates}: give gradient_steps a number, or every agent as many environments"
        )
    compiled = cast(Sequence[CompiledTrainee], agents) if updates[0] and not any(a.masked for a in agents) else []
    shapes = [agent.rows_shape(updates[0]) for agent in compiled]
    if len(set(shapes)) > 1:
        raise ValueError(
            f"agents trained together must learn from as many transitions at once, but these do from {shapes} (rounds, "
            "transitions, numbers): give every agent as many environments"
        )


def check_masked(agents: Sequence[Trainee]) -> None:
    """Does nothing if all agents' environments give action masks, or none's do.

    Raises:
        ValueError: Only some do.
    """
    masked = [agent.masked for agent in agents]
    if len(set(masked)) > 1:
        raise ValueError(
            "agents trained together must all have environments that give action masks, or none may, but agents "
            f"{[i for i, each in enumerate(masked) if each]} of {len(masked)} have them"
        )


def check_unshared(what: str, things: Iterable[Iterable[Any]]) -> None:
    """Refuses an object with a state that two agents have in common; `things` are some of each agent."""
    owners: dict[int, int] = {}
    for i, own in enumerate(things):
        for thing in own:
            owner = owners.setdefault(id(thing), i)
            if thing is not None and owner != i:
                raise ValueError(
                    f"agents trained together need a {what} each, but the agents {owner} and {i} share {thing!r}"
                )


def _shared_settings(agent: Trainee) -> dict[str, str]:
    """What agents trained together have in common, each by its attribute's name as a text that can be compared."""
    plain, objects = agent.config()
    values = {name: value for name, value in (plain | objects).items() if name not in OWN_SETTINGS}
    values |= {name: space_to_json(getattr(agent, name)) for name in ("observation_space", "action_space")}
    return {"__class__": type(agent).__name__} | {name: _as_text(value) for name, value in values.items()}


def _as_text(value: Any) -> str:
    def part_as_text(part: Any) -> Any:
        if isinstance(part, np.ndarray | np.generic):
            return part.tolist()
        try:
            return cloudpickle.dumps(part).hex()  # equal for copies, which ids are not
        except Exception:  # objects of any kind
            return id(part)

    return json.dumps(value, default=part_as_text)


def updates_in_a_round(agent: Trainee) -> int:
    """Returns how many updates an agent makes in a round, which must not vary."""
    updates = agent.count_updates_in_a_round()
    if updates is None:
        raise ValueError(
            f"train_freq={agent.round.number, agent.round.unit} with gradient_steps=-1 makes another number of updates "
            "in each round here; agents trained together need the same: give gradient_steps a number"
        )
    return updates

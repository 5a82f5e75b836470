"""How an agent becomes a file, and a file an agent."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Any, TypeVar

from pamdp_agents.environments.adapter import Environment
from pamdp_agents.environments.canonical import check_state
from pamdp_agents.files.agent_file import AgentFile, group_by_network, read_entries, read_objects, read_spaces
from pamdp_agents.files.archive import Archive, SavedFileError, versions
from pamdp_agents.networks.keras_configs import UnknownObjectError

if TYPE_CHECKING:
    from pamdp_agents.base.agent import Agent

AgentType = TypeVar("AgentType", bound="Agent")


def save(agent: Agent, path: str | os.PathLike | IO[bytes], exclude: set[str], include: set[str]) -> None:
    """Saves an agent; see `Agent.save`."""
    parameters = agent.__signature__.parameters.values()
    optional = {each.name for each in parameters if each.default is not each.empty}
    if exclude - optional or include - {"replay_buffer"}:
        raise ValueError(
            f"exclude takes settings that have a default ({sorted(optional)}) and include takes ['replay_buffer']; "
            f"got exclude={sorted(exclude)}, include={sorted(include)}"
        )
    plain, objects = ({n: v for n, v in part.items() if n not in exclude} for part in agent.config())
    arrays = {f"{group}:{name}": w for group, ws in agent.get_parameters().items() for name, w in ws.items()}
    if agent.env is not None:
        arrays |= agent.environments.state()
    AgentFile(
        agent=type(agent).__name__,
        env=None if agent.env is None else agent.env_name,
        settings=plain,
        observation_space=agent.observation_space,
        action_space=agent.action_space,
        progress=agent.progress_state(),
        arrays=arrays,
        objects=objects,
        replay_buffer=agent.replay_state() if "replay_buffer" in include else None,
    ).write(path)


def load(
    agent_class: type[AgentType],
    path: str | os.PathLike | IO[bytes],
    env: Environment | str | None,
    device: str,
    custom_objects: Mapping[str, Any] | None,
    print_system_info: bool,
    force_reset: bool,
    trust: bool,
    changed: Mapping[str, Any],
) -> AgentType:
    """Loads an agent; see `Agent.load`. `changed` are settings given as arguments."""
    archive = Archive.read(path)
    if print_system_info:
        print(f"saved with {archive.data.get('versions')}\nin use     {versions()}")
    class_name, names = agent_class.__name__, agent_class.__signature__.parameters.keys()
    if unknown := changed.keys() - names:
        raise TypeError(f"{class_name} has no settings {sorted(unknown)}, given to load")
    given = {name: value for name, value in (custom_objects or {}).items() if name in names} | dict(changed)
    data = read_entries(archive, path)
    if data["agent"] != class_name:
        raise SavedFileError(f"{path} holds an agent of class {data['agent']}: load it with {data['agent']}.load")
    if unknown := data["settings"].keys() - names:
        raise SavedFileError(
            f"{path} holds the settings {sorted(unknown)}, which {class_name} does not have here: it was saved by "
            f"pamdp-agents {archive.made_by}; load it with that version, and save it without them (exclude)"
        )
    objects = read_objects(archive, path, given, trust)
    try:
        agent = agent_class(env=None, **(data["settings"] | objects | {"device": device} | given))
        _restore(agent, archive)
    except UnknownObjectError as error:
        raise SavedFileError(f"{path} names what this program does not know: {error}") from error
    except Exception as error:
        if given or device != "auto":  # what the caller gave may be at fault, and the error says so
            raise
        raise SavedFileError(f"{path} does not fit together, it is damaged: {error!r}") from error
    if "seed" in given:
        agent.set_random_seed(given["seed"])
    if env is not None:
        agent.set_env(env)
        agent.environments.next_seed = agent.seed
        if not force_reset:
            agent.environments.resume(check_state(archive.arrays, agent.observation_transform.size))
    return agent


def _restore(agent: Agent, archive: Archive) -> None:
    """Fills an agent that has only settings with what the file holds; raises anything if the file is damaged."""
    agent.set_up(*read_spaces(archive))
    agent.set_parameters(group_by_network(archive.arrays))
    agent.restore_progress(archive.data["progress"])
    check_state(archive.arrays, agent.observation_transform.size)
    if archive.replay_buffer is not None:
        agent.restore_replay(archive.replay_buffer)

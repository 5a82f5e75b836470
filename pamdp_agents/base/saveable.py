"""What an agent keeps in a file: its settings, its weights and how far it has come."""

from __future__ import annotations

import inspect
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import IO, Any, Self

import gymnasium as gym
import numpy as np

from pamdp_agents import exploration, schedules, strategies
from pamdp_agents.environments.adapter import Environment
from pamdp_agents.environments.canonical import CanonicalEnvironments, check_state
from pamdp_agents.files.archive import Archive, SavedFileError, is_plain, pickle_objects, unpickle_objects, versions
from pamdp_agents.files.atomic import with_suffix, write_bytes
from pamdp_agents.files.space_json import space_from_json, space_to_json
from pamdp_agents.learning.learner import Learner
from pamdp_agents.learning.train_state import NetworkState, TrainState
from pamdp_agents.networks import keras_configs
from pamdp_agents.networks.policy_kwargs import serialize_policy_kwargs
from pamdp_agents.spaces.observations import ObservationTransform

# Settings that are objects, and how each becomes a configuration.
_SERIALIZERS: dict[str, Callable[[Any], Any]] = {
    "strategy": strategies.serialize,
    "action_noise": exploration.serialize,
    "policy_kwargs": serialize_policy_kwargs,
    "learning_rate": schedules.serialize,
    "actor_learning_rate": schedules.serialize,
    "exploration_schedule": schedules.serialize,
}

_ENTRIES = {
    "agent": str,
    "settings": dict,
    "objects": list,
    "observation_space": dict,
    "action_space": dict,
    "progress": dict,
}


class SaveableAgent(ABC):
    """The part of an agent that is about files: `save`, `load`, `get_parameters` and `set_parameters`.

    Every argument of an agent's constructor is an attribute of the same name; that is how settings are found.

    Attributes:
        observation_space: The environment's observation space.
        action_space: The environment's action space.
        learner: The weights and the compiled update.
    """

    observation_space: gym.Space
    action_space: gym.Space
    learner: Learner
    seed: int | None
    observations: ObservationTransform
    _environment: CanonicalEnvironments | None

    @abstractmethod
    def __init__(self, policy: str, env: Environment | str | None, **settings: Any):
        """Makes an agent; without an environment, it has no spaces and no networks yet."""

    @abstractmethod
    def _set_up(self, observation_space: gym.Space, action_space: gym.Space) -> None:
        """Makes everything that depends on the spaces."""

    @abstractmethod
    def set_env(self, env: Environment | str, force_reset: bool = True) -> None:
        """Gives the agent an environment with the spaces it was made for."""

    @abstractmethod
    def set_random_seed(self, seed: int | None = None) -> None:
        """Seeds everything random."""

    @abstractmethod
    def _seed_env(self, seed: int | None) -> None:
        """Seeds the environment's next reset."""

    @abstractmethod
    def _progress(self) -> dict[str, Any]:
        """Returns what besides weights is needed to continue training, as JSON can hold it."""

    @abstractmethod
    def _restore_progress(self, progress: dict[str, Any]) -> None:
        """Takes back what `_progress` returned."""

    def settings(self) -> dict[str, Any]:
        """Returns all arguments of the constructor but `env`, with the values in use."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters if name != "env"}

    def config(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Returns the settings in two parts: those that JSON can hold, as it holds them, and the other objects."""
        plain: dict[str, Any] = {}
        objects: dict[str, Any] = {}
        for name, value in self.settings().items():
            try:
                config = _SERIALIZERS[name](value) if name in _SERIALIZERS else value
            except TypeError:
                config = value
            (plain if is_plain(config) else objects)[name] = config
        return plain, objects

    # ---------------------------------------------------------------- weights

    def get_parameters(self) -> dict[str, dict[str, np.ndarray]]:
        """Returns a copy of all weights and of the optimiser's state.

        Returns:
            For each network, `{name: {...}}` its weights, `{name + "_target": {...}}` its target's,
            `{name + ".optimizer": {...}}` Adam's moments ("m/…", "v/…") and `"step"`; float32 arrays by the Keras
            names of the weights.
        """
        self._require_set_up("get_parameters")
        state = self.learner.unload()
        parameters: dict[str, dict[str, np.ndarray]] = {}
        for name, network in self.learner.networks.items():
            own = state.networks[name]
            weights, target, first, second = (
                {key: np.array(value) for key, value in zip(network.names, network.split(flat), strict=True)}
                for flat in own
            )
            parameters[name], parameters[f"{name}_target"] = weights, target
            moments = {f"m/{key}": v for key, v in first.items()} | {f"v/{key}": v for key, v in second.items()}
            parameters[f"{name}.optimizer"] = moments | {"step": np.array(state.step)}
        return parameters

    def set_parameters(
        self,
        load_path_or_dict: str | os.PathLike | Mapping[str, Mapping[str, np.ndarray]],
        exact_match: bool = True,
        device: str = "auto",
    ) -> None:
        """Replaces weights and optimiser state.

        Args:
            load_path_or_dict: What `get_parameters` returns, or a saved agent's path.
            exact_match: Demand all groups; otherwise those not given stay as they are.
            device: As in Stable-Baselines3; the weights go where the agent already is.

        Raises:
            ValueError: A group or weight is missing, unknown, of another shape or not finite. Nothing has been
                changed then.
        """
        if isinstance(load_path_or_dict, Mapping):
            given = load_path_or_dict
        else:
            given = _grouped(Archive.read(load_path_or_dict).arrays)
        current = self.get_parameters()
        unknown, missing = sorted(set(given) - set(current)), sorted(set(current) - set(given))
        if unknown or (missing and exact_match):
            raise ValueError(
                f"parameters must be the groups {sorted(current)}; "
                + "; ".join(f"{word}: {names}" for word, names in (("unknown", unknown), ("missing", missing)) if names)
            )
        for group, weights in given.items():
            shapes = {name: np.shape(value) for name, value in weights.items()}
            expected = {name: value.shape for name, value in current[group].items()}
            if shapes != expected:
                raise ValueError(f"parameters of {group!r} have the shapes {shapes}, this agent's have {expected}")
            current[group] = {name: np.asarray(value, np.float32) for name, value in weights.items()}
            if not all(np.isfinite(value).all() for value in current[group].values()):
                raise ValueError(f"parameters of {group!r} must be finite numbers")
        self._load_parameters(current)

    def _load_parameters(self, parameters: Mapping[str, Mapping[str, np.ndarray]]) -> None:
        networks = {}
        for name, network in self.learner.networks.items():
            optimizer = parameters[f"{name}.optimizer"]
            weights = [parameters[name][key] for key in network.names]
            target = [parameters[f"{name}_target"][key] for key in network.names]
            moments = [[optimizer[f"{moment}/{key}"] for key in network.names] for moment in ("m", "v")]
            networks[name] = NetworkState(*map(network.join, (weights, target, *moments)))
        self.learner.load(TrainState(networks, np.float32(optimizer["step"])))
        self._weights_changed()

    def _weights_changed(self) -> None:
        """Called when the weights have changed."""

    # ---------------------------------------------------------------- files

    def save(
        self,
        path: str | os.PathLike | IO[bytes],
        exclude: Iterable[str] | None = None,
        include: Iterable[str] | None = None,
    ) -> None:
        """Saves the agent in one zip file, with all that is needed to continue training but the replay buffer.

        Args:
            path: Where to; `.zip` is added if it has no suffix. Or a binary file open for writing.
            exclude: Settings to leave out; the loaded agent has their defaults.
            include: `["replay_buffer"]` saves it in the same file.

        Raises:
            ValueError: `exclude` or `include` name something unknown.
            OSError: The file cannot be written; what was there before is untouched.
        """
        self._require_set_up("save")
        exclude, include = set(exclude or ()), set(include or ())
        optional = [
            name
            for name, argument in inspect.signature(type(self)).parameters.items()
            if argument.default != argument.empty
        ]
        if exclude - set(optional) or include - {"replay_buffer"}:
            raise ValueError(
                f"exclude takes settings that have a default ({sorted(optional)}) and include takes "
                f"['replay_buffer']; got exclude={sorted(exclude)}, include={sorted(include)}"
            )
        plain, objects = ({n: v for n, v in part.items() if n not in exclude} for part in self.config())
        arrays = {f"{group}:{name}": w for group, ws in self.get_parameters().items() for name, w in ws.items()}
        if self._environment is not None:
            arrays |= self._environment.state()
        content = Archive(
            {
                "agent": type(self).__name__,
                "env": self._environment.name if self._environment else None,
                "settings": plain,
                "objects": sorted(objects),
                "observation_space": space_to_json(self.observation_space),
                "action_space": space_to_json(self.action_space),
                "progress": self._progress(),
            },
            arrays,
            replay_buffer=self._replay_state() if "replay_buffer" in include else None,
            objects=pickle_objects(objects) if objects else None,
        ).to_bytes()
        if isinstance(path, str | os.PathLike):
            write_bytes(with_suffix(path, ".zip"), content)
        else:
            path.write(content)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike | IO[bytes],
        env: Environment | str | None = None,
        device: str = "auto",
        custom_objects: Mapping[str, Any] | None = None,
        print_system_info: bool = False,
        force_reset: bool = True,
        *,
        trust: bool = False,
        **kwargs: Any,
    ) -> Self:
        """Loads an agent that `save` wrote. No code in the file is run unless `trust` says so.

        Args:
            path: The file (`.zip` may be left out), or one open for reading in binary mode.
            env: Environment to continue in; None: the agent can predict, and be given one by `set_env`.
            device: Where to run.
            custom_objects: Settings, by name, to use instead of the saved ones; with these, a setting that the file
                holds as a pickle need not be unpickled. Names of no setting are ignored, as in Stable-Baselines3.
            print_system_info: Print the versions the file was saved with and those in use.
            force_reset: Start a new episode at the next `learn`; False: `env` stands where the saved agent left
                it.
            trust: Unpickle the objects in the file. Only for files whose origin you trust: it can run any code.
            **kwargs: Settings to change, as arguments of the constructor.

        Raises:
            FileNotFoundError: There is no such file.
            pamdp_agents.files.SavedFileError: The file is damaged, of a newer format, of another agent, or holds
                pickled objects and is not trusted.
            ValueError: The environment's spaces differ from the saved ones, or a setting is wrong.
        """
        archive = Archive.read(path)
        if print_system_info:
            print(f"saved with {archive.data.get('versions')}\nin use     {versions()}")
        names = inspect.signature(cls).parameters.keys()
        if unknown := kwargs.keys() - names:
            raise TypeError(f"{cls.__name__} has no settings {sorted(unknown)}, given to load")
        given = {name: value for name, value in (custom_objects or {}).items() if name in names} | kwargs
        if wrong := [name for name, kind in _ENTRIES.items() if not isinstance(archive.data.get(name), kind)]:
            raise SavedFileError(f"{path} has no proper {' and '.join(wrong)} in data.json: it is damaged")
        if archive.data["agent"] != cls.__name__:
            name = archive.data["agent"]
            raise SavedFileError(f"{path} holds an agent of class {name}: load it with {name}.load")
        objects = _objects(archive, path, given, trust)
        try:
            agent = cls(env=None, **(archive.data["settings"] | objects | {"device": device} | given))
            agent._restore(archive)
        except keras_configs.UnknownObjectError as error:
            raise SavedFileError(f"{path} names what this program does not know: {error}") from error
        except Exception as error:
            if given or device != "auto":  # what the caller gave may be at fault, and the error says so
                raise
            raise SavedFileError(f"{path} does not fit together, it is damaged: {error!r}") from error
        if "seed" in given:
            agent.set_random_seed(given["seed"])
        if env is not None:
            agent.set_env(env)
            agent._seed_env(agent.seed)
            if not force_reset:
                assert agent._environment is not None
                agent._environment.resume(check_state(archive.arrays, agent.observations.size))
        return agent

    def _restore(self, archive: Archive) -> None:
        """Fills an agent that has only settings with what the file holds; raises anything if the file is damaged."""
        self._set_up(*(space_from_json(archive.data[f"{kind}_space"]) for kind in ("observation", "action")))
        self.set_parameters(_grouped(archive.arrays))
        self._restore_progress(archive.data["progress"])
        check_state(archive.arrays, self.observations.size)
        if archive.replay_buffer is not None:
            self._restore_replay(archive.replay_buffer)

    def _replay_state(self) -> dict[str, np.ndarray]:
        raise ValueError(f"{type(self).__name__} has no replay buffer")

    def _restore_replay(self, state: dict[str, np.ndarray]) -> None:
        raise ValueError(f"{type(self).__name__} has no replay buffer")

    def _require_set_up(self, verb: str) -> None:
        if not hasattr(self, "learner"):
            raise RuntimeError(f"{verb} needs an agent with an environment: call set_env first")


def _objects(archive: Archive, path: Any, replaced: Mapping[str, Any], trust: bool) -> dict[str, Any]:
    """The settings that the file holds as a pickle, unless they are all replaced."""
    if not all(isinstance(name, str) for name in archive.data["objects"]):
        raise SavedFileError(f"{path} has no proper objects in data.json: it is damaged")
    needed = set(archive.data["objects"]) - set(replaced)
    if not needed:
        return {}
    if not trust:
        raise SavedFileError(
            f"{path} holds {sorted(needed)} as pickled Python objects, and unpickling can run any code: hand them in "
            f"with custom_objects={{{', '.join(f'{name!r}: ...' for name in sorted(needed))}}}, or, if you trust the "
            "file's origin, load it with trust=True"
        )
    if archive.objects is None:
        raise SavedFileError(f"{path} has no objects.pkl, which its settings {sorted(needed)} need")
    objects = unpickle_objects(archive.objects)
    return {name: value for name, value in objects.items() if name in needed}


def _grouped(arrays: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """`{"q:hidden/kernel": w}` → `{"q": {"hidden/kernel": w}}`."""
    groups: dict[str, dict[str, np.ndarray]] = {}
    for key, value in arrays.items():
        group, _, name = key.partition(":")
        if name:
            groups.setdefault(group, {})[name] = value
    return groups

"""The part of an agent that is about files and weights: `save`, `load`, `get_parameters` and `set_parameters`."""

from __future__ import annotations

import io
import os
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import IO, Any, ClassVar, Self

import gymnasium as gym
import numpy as np

from pamdp_agents.base.environment_bound import EnvironmentBound
from pamdp_agents.checks import check_integer
from pamdp_agents.environments.adapter import Environment
from pamdp_agents.environments.canonical import check_state
from pamdp_agents.files.agent_file import (
    AgentFile,
    group_by_network,
    read_entries,
    read_masked,
    read_objects,
    read_spaces,
    read_widest_range,
)
from pamdp_agents.files.archive import Archive, SavedFileError, versions
from pamdp_agents.files.sizes import check_network_sizes, check_space_sizes
from pamdp_agents.learning import parameters
from pamdp_agents.learning.divergence import DivergedError
from pamdp_agents.learning.learner import SEEDS, Learner
from pamdp_agents.networks.keras_configs import UnknownObjectError
from pamdp_agents.networks.keras_settings import check_tensorflow
from pamdp_agents.spaces import ParameterizedActionSpace
from pamdp_agents.training.progress import Progress


class Saved(EnvironmentBound):
    """The part of an agent that is about files and weights.

    Attributes:
        progress: What is counted: `num_timesteps`, `ep_info_buffer` and more.
        learner: The weights and the compiled update.
    """

    def begin(self) -> None:
        """Readies what a constructor readies besides settings."""
        super().begin()
        self.progress = Progress(self.stats_window_size)
        self.learner: Learner

    saved_apart: ClassVar[tuple[str, ...]] = ()
    """What is saved with the agent only if `include` names it."""

    @abstractmethod
    def forget_weights(self) -> None:
        """Lets go of all views of the weights, which have changed."""

    def get_parameters(self) -> parameters.Parameters:
        """Returns a copy of all weights and of the optimiser's state.

        Returns:
            For each network that has them, `{name: {...}}` its weights, `{name + "_target": {...}}` its target's,
            `{name + ".optimizer": {...}}` Adam's moments ("m/…", "v/…") and `"step"`; float32 arrays by the Keras
            names of the weights.
        """
        self._require_set_up("get_parameters")
        return self.read_parameters()

    def set_parameters(
        self,
        load_path_or_dict: str | os.PathLike | IO[bytes] | Mapping[str, Mapping[str, np.ndarray]],
        exact_match: bool = True,
        device: str = "auto",
    ) -> None:
        """Replaces weights and optimiser state.

        Args:
            load_path_or_dict: What `get_parameters` returns, or a saved agent: its path, or a binary file open for
                reading.
            exact_match: Demand all groups, and all their weights; otherwise those not given stay as they are.
            device: As in Stable-Baselines3; the weights go where the agent already is.

        Raises:
            ValueError: A group or weight is missing, unknown, of another shape or not finite, or is what an optimiser
                never has. Nothing has been changed then.
        """
        self._require_set_up("set_parameters")
        if isinstance(load_path_or_dict, Mapping):
            given = load_path_or_dict
        else:
            given = group_by_network(Archive.read(load_path_or_dict).arrays)
        self.write_parameters(given, exact_match)
        self.forget_weights()
        if self._environments is not None:
            self._environments.decided = None  # by the weights of before

    def read_parameters(self) -> parameters.Parameters:
        """Returns what `get_parameters` does."""
        return parameters.get_parameters(self.learner)

    def write_parameters(self, given: Mapping[str, Mapping[str, np.ndarray]], exact_match: bool) -> None:
        """Replaces what `get_parameters` returns; see `set_parameters`."""
        parameters.set_parameters(self.learner, given, exact_match)

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
            include: `["replay_buffer"]` saves it in the same file, of an agent that has one.

        Raises:
            ValueError: `exclude` or `include` name something unknown.
            OSError: The file cannot be written; what was there before is untouched.
        """
        self._require_set_up("save")
        excluded, included = set(exclude or ()), set(include or ())
        parameters = self.__signature__.parameters.values()
        optional = {each.name for each in parameters if each.default is not each.empty}
        if excluded - optional or included - set(self.saved_apart):
            raise ValueError(
                f"exclude takes settings that have a default ({sorted(optional)}) and include takes "
                f"{list(self.saved_apart)}; got exclude={sorted(excluded)}, include={sorted(included)}"
            )
        plain, objects = ({n: v for n, v in part.items() if n not in excluded} for part in self.config())
        arrays = {f"{group}:{name}": w for group, ws in self.get_parameters().items() for name, w in ws.items()}
        if self._environments is not None:
            arrays |= self._environments.state()
        arrays |= self.collected_state()
        AgentFile(
            agent=type(self).__name__,
            env=None if self._environments is None else self.env_name,
            settings=plain,
            observation_space=self.observation_space,
            action_space=self.action_space,
            progress=self.progress_state(),
            arrays=arrays,
            objects=objects,
            replay_buffer=self.replay_state() if "replay_buffer" in included else None,
            widest_range=self.widest_range,
            masked=self.masked,
        ).write(path)

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
            path: The file (`.zip` may be left out), or one open for reading in binary mode, which is read from its
                start if it can be moved there.
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
        check_tensorflow()
        archive = Archive.read(path)
        if print_system_info:
            print(f"saved with {archive.data.get('versions')}\nin use     {versions()}")
        class_name, names = cls.__name__, cls.__signature__.parameters.keys()
        kwargs = cls.drop_neutral(kwargs)
        if unknown := kwargs.keys() - names:
            raise TypeError(f"{class_name} has no settings {sorted(unknown)}, given to load")
        given = {name: value for name, value in (custom_objects or {}).items() if name in names} | kwargs
        data = read_entries(archive, path)
        if data["agent"] != class_name:
            raise SavedFileError(f"{path} holds an agent of class {data['agent']}: load it with {data['agent']}.load")
        if unknown := data["settings"].keys() - names:
            raise SavedFileError(
                f"{path} holds the settings {sorted(unknown)}, which {class_name} does not have here: it was saved by "
                f"pamdp-agents {archive.made_by}; load it with that version, and save it without them (exclude)"
            )
        objects = read_objects(archive, path, given, trust)
        where = {"device": device} if "device" in names else {}
        # Where a log is written is not for a file to say.
        saved = {name: value for name, value in (data["settings"] | objects).items() if name != "tensorboard_log"}
        try:
            agent = cls._restored(archive, saved | where | given)
        except Exception as error:
            sizes_are_the_files = isinstance(error, SavedFileError) and not given.keys() & {"policy", "policy_kwargs"}
            if (given or device != "auto") and not sizes_are_the_files and cls._is_whole(archive, saved, given):
                raise  # what the caller gave is at fault, and the error says so
            if isinstance(error, UnknownObjectError):
                raise SavedFileError(f"{path} names what this program does not know: {error}") from error
            if isinstance(error, DivergedError):
                raise SavedFileError(f"{path} holds an agent whose training has diverged: {error}") from error
            raise SavedFileError(f"{path} does not fit together, it is damaged: {error!r}") from error
        if "seed" in given:
            agent.set_random_seed(given["seed"])
        if env is not None:
            agent.set_env(env)
            agent.environments.next_seed = agent.seed
            if not force_reset:
                agent.environments.resume(agent._environments_state(archive))
        return agent

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles are what `load` makes of what `save` writes, with the replay buffer and no environment."""
        if not self.is_set_up:
            return _make, (type(self), self.settings())
        file = io.BytesIO()
        self.save(file, include=self.saved_apart)
        return _load, (type(self), file.getvalue(), self.device, self.tensorboard_log)

    def progress_state(self) -> dict[str, Any]:
        """Returns what besides weights is needed to continue training, as JSON can hold it."""
        rngs = [rng.bit_generator.state for rng in self._rngs]
        return self.progress.state() | {"rng": rngs, "update_seed": self._update_seed}

    def restore_progress(self, state: dict[str, Any]) -> None:
        """Takes back what `progress_state` returned.

        Raises:
            KeyError, TypeError, ValueError: Something in it is missing or wrong.
        """
        self.progress.restore(state)
        for rng, own in zip(self._rngs, state["rng"], strict=True):
            rng.bit_generator.state = own
        self._update_seed = check_integer("update_seed", state.get("update_seed", self._update_seed), 0) % SEEDS

    def collected_state(self) -> dict[str, np.ndarray]:
        """Returns what has been collected and is not yet learned from, as arrays for the agent's own file."""
        return {}

    def restore_collected(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Takes back what `collected_state` returned, from all arrays in a file.

        Raises:
            ValueError: It is damaged, or another agent's.
        """

    def replay_state(self) -> dict[str, np.ndarray]:
        """Returns the replay buffer, as arrays.

        Raises:
            ValueError: The agent has none.
        """
        raise ValueError(f"{type(self).__name__} has no replay buffer")

    def restore_replay(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes back what `replay_state` returned.

        Raises:
            ValueError: The agent has no replay buffer, or another one.
        """
        raise ValueError(f"{type(self).__name__} has no replay buffer")

    @classmethod
    def _restored(cls, archive: Archive, settings: Mapping[str, Any]) -> Self:
        """Returns an agent of these settings with what the file holds; raises anything if the file is damaged."""
        agent = cls(env=None, **settings)
        agent.widest_range, agent.masked = read_widest_range(archive), read_masked(archive)
        check_space_sizes(archive, agent.policy, agent.policy_kwargs or {})
        observation_space, action_space = read_spaces(archive)
        agent.check_file_sizes(archive, observation_space)
        agent.set_up(observation_space, action_space)
        agent.set_parameters(group_by_network(archive.arrays))
        agent.restore_progress(archive.data["progress"])
        agent._environments_state(archive)
        agent.restore_collected(archive.arrays)
        if archive.replay_buffer is not None:
            agent.restore_replay(archive.replay_buffer)
        return agent

    def check_file_sizes(self, archive: Archive, observation_space: gym.Space) -> None:
        """Compares the sizes of what the agent will be made of with the weights in its file.

        Raises:
            SavedFileError: They are larger.
        """
        numbers = {kind: self.settings().get(name, 1) for kind, name in (("pi", "n_policies"), ("qf", "n_critics"))}
        check_network_sizes(archive, self.policy, self.policy_kwargs or {}, observation_space, numbers)

    @classmethod
    def _is_whole(cls, archive: Archive, saved: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
        """Whether the file alone makes an agent, but for objects that it holds as a pickle, which must be given."""
        needed = {name: given[name] for name in archive.data["objects"] if name in given}
        try:
            cls._restored(archive, {**saved, **needed})
        except Exception:
            return False
        return True

    def _environments_state(self, archive: Archive) -> dict[str, np.ndarray]:
        """Returns where the environments of the agent in a file stood."""
        size, options = self.observation_transform.size, self.canonical_actions.options
        return check_state(archive.arrays, size, options, self.decided_actions(), self.extras())

    def decided_actions(self) -> ParameterizedActionSpace | None:
        """Returns the actions of which a decision may be kept that was made ahead of updates; None: none is."""
        return self.parameterized_space

    def _require_set_up(self, verb: str) -> None:
        if not self.is_set_up:
            raise RuntimeError(f"{verb} needs an agent with an environment: call set_env first")


def _make(agent_class: type[Saved], settings: Mapping[str, Any]) -> Saved:
    return agent_class(env=None, **settings)


def _load(agent_class: type[Saved], file: bytes, device: str, tensorboard_log: str | None) -> Saved:
    # A pickle is trusted by whoever reads it; and what no file decides is the agent's own here.
    return agent_class.load(io.BytesIO(file), device=device, trust=True, tensorboard_log=tensorboard_log)

"""What training asks of an agent, and no more."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator, Mapping
from typing import Any, ClassVar, NamedTuple, Protocol

import gymnasium as gym
import numpy as np

from pamdp_agents.environments.canonical import CanonicalEnvironments, Step
from pamdp_agents.experience.transition import Decision
from pamdp_agents.learning.learner import Learner
from pamdp_agents.training.progress import Progress


class Round(NamedTuple):
    """How much is collected between two rounds of updates.

    Attributes:
        number: So many…
        unit: `"step"`: steps of all environments; `"episode"`: ended episodes.
    """

    number: int
    unit: str


class Trainee(Protocol):
    """What training asks of an agent.

    Attributes:
        progress: Its counts.
        env: The vector environment, or None.
        observation_space: The environment's observation space.
        action_space: The environment's action space.
        seed: The seed it was given, or None.
        masked: Whether its environments say which discrete actions are allowed.
        rate_names: The learning rates among the update's inputs.
    """

    progress: Progress
    env: Any
    seed: int | None
    masked: bool
    rate_names: ClassVar[tuple[str, ...]]
    decides_ahead: ClassVar[bool] = True
    """Whether, in several environments, the next step is decided and begun before the updates that are due."""
    logs_rounds: ClassVar[bool] = False
    """Whether `log_interval` counts rounds of collecting, and not episodes."""

    observation_space: gym.Space
    action_space: gym.Space

    @abstractmethod
    def config(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Returns its settings: those that JSON can hold, and the others."""

    @abstractmethod
    def unshared(self) -> dict[str, Any]:
        """Returns what has a state and must not be another agent's, by what it is."""

    @abstractmethod
    def start_learning(
        self,
        total_timesteps: int,
        callback: Any,
        log_interval: int | None,
        tb_log_name: str | None,
        reset_num_timesteps: bool,
        progress_bar: bool,
    ) -> Generator[int, None, None]:
        """Starts or continues a run, with the arguments of `learn`; returns what does all of it but the updates.

        It yields the number of updates where it is time for them.
        """

    @property
    @abstractmethod
    def environments(self) -> CanonicalEnvironments:
        """The environments it is trained in."""

    @property
    @abstractmethod
    def round(self) -> Round:
        """How much it collects between two rounds of updates."""

    @abstractmethod
    def start_training(self) -> None:
        """Readies what is random in each environment; called at the start of `learn`, and in other environments."""

    @abstractmethod
    def decide(self) -> Decision:
        """Returns what is done next in every environment."""

    @abstractmethod
    def decide_ahead(self) -> None:
        """Decides what is best in every environment now, for the next `decide`: updates come first."""

    @abstractmethod
    def observe(self, decision: Decision, step: Step) -> int:
        """Keeps what followed a decision; returns the number of environment steps that it was."""

    @abstractmethod
    def count_updates_due(self, steps: int) -> int | None:
        """Returns how many updates are due after a round of so many environment steps; None: not yet any."""

    @abstractmethod
    def count_updates_in_a_round(self) -> int | None:
        """Returns how many compiled updates each round makes; None: their number varies."""

    @abstractmethod
    def current_inputs(self) -> Mapping[str, float]:
        """Returns the update's inputs at this moment, by name."""

    @abstractmethod
    def train(self, updates: int) -> None:
        """Makes updates."""

    @abstractmethod
    def forget_weights(self) -> None:
        """Lets go of all views of the weights, which have changed."""

    @abstractmethod
    def dump_logs(self, iteration: int = 0) -> None:
        """Writes the current numbers to the logger; and the number of the round in this `learn`, if it is given."""


class CompiledTrainee(Trainee, Protocol):
    """What training asks of an agent besides, whose updates are compiled and can be made together with others'.

    Attributes:
        learner: Its training state and compiled updates.
    """

    learner: Learner

    @abstractmethod
    def rows_shape(self, updates: int) -> tuple[int, int, int]:
        """Returns the shape of what `sample` returns."""

    @abstractmethod
    def sample(self, updates: int) -> np.ndarray:
        """Returns the rows of so many updates, float32 of the shape `rows_shape(updates)`."""

    @abstractmethod
    def current_seed(self) -> tuple[int, int]:
        """Returns the seed of the next update."""

    @abstractmethod
    def note_updates(self, updates: int, metrics: Any, priorities: Any) -> None:
        """Takes note of updates made elsewhere, on what was sampled last: their number, mean metrics and priorities."""

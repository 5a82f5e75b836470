"""What a training leaves: one folder an agent, or an exception that says where what was learned is."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pamdp_agents.experiments.interrupts import SignalInterrupt

MODEL, BEST_MODEL, CHECKPOINT = "model.zip", "best_model.zip", "checkpoint.zip"


@dataclass(frozen=True)
class TrainedAgent:
    """An agent that was trained and saved.

    Attributes:
        seed: Its seed.
        folder: Its run folder.
        num_timesteps: Environment steps made.
        evaluation: What the evaluation after training measured; empty if training ended early.
    """

    seed: int
    folder: Path
    num_timesteps: int
    evaluation: dict[str, Any]

    @property
    def model(self) -> Path:
        """The file of the agent as it is at the end."""
        return self.folder / MODEL


class _TrainingEnded(BaseException):
    """Training ended early; what was learned is kept.

    Attributes:
        kept: The agents.
        reason: Why and when training ended.
    """

    def __init__(self, reason: str, kept: Sequence[TrainedAgent]):
        super().__init__(reason, kept)
        self.reason, self.kept = reason, kept

    def __str__(self) -> str:
        return f"{self.reason}; {self.saved}"

    @property
    def saved(self) -> str:
        """Where what was learned is saved, in words."""
        return f"what was learned is saved in {', '.join(str(agent.model) for agent in self.kept)}"


class TrainingFailedError(_TrainingEnded, RuntimeError):
    """The environment or the agent raised an error, which is the cause of this; what was learned is kept."""


class TrainingInterrupt(_TrainingEnded, KeyboardInterrupt):
    """Ctrl-C or a signal ended training early; what was learned is kept.

    Attributes:
        signum: The signal's number.
    """

    def __init__(self, reason: str, kept: Sequence[TrainedAgent], signum: int = signal.SIGINT):
        super().__init__(reason, kept)
        self.args += (signum,)  # for pickle
        self.signum = signum


def make_failure(failure: BaseException, kept: Sequence[TrainedAgent], when: str = "") -> BaseException:
    """Returns what to raise after a training that ended early.

    Args:
        failure: What ended it.
        kept: The agents, which have been saved.
        when: More about when that was, in words.
    """
    several = len(kept) > 1
    steps = ", ".join(f"{agent.num_timesteps} steps" + f" (seed {agent.seed})" * several for agent in kept) + when
    if isinstance(failure, SignalInterrupt):
        return TrainingInterrupt(f"ended by {name_signal(failure)} after {steps}", kept, failure.number)
    if isinstance(failure, KeyboardInterrupt):
        return TrainingInterrupt(f"interrupted after {steps}", kept)
    return TrainingFailedError(f"training failed after {steps}: {type(failure).__name__}: {failure}", kept)


def name_signal(interrupt: SignalInterrupt) -> str:
    """Returns the name of a signal, such as SIGTERM."""
    return signal.Signals(interrupt.number).name

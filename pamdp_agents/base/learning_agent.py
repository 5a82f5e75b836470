"""What agents share whose update has inputs: settings that are these inputs, or that it is compiled for."""

from __future__ import annotations

from typing import Any

import numpy as np

from pamdp_agents import schedules
from pamdp_agents.base.agent import Agent
from pamdp_agents.schedules import Schedule
from pamdp_agents.spaces.observed_ranges import warn_of_unseen


class LearningAgent(Agent):
    """An agent whose settings may change between updates, also where these are compiled.

    Attributes:
        saw_observations: Whether what it learns from has been looked at.
    """

    learning_rate: float | Schedule

    def begin(self) -> None:
        """Readies what a constructor readies besides settings."""
        self.saw_observations = False
        self._inputs = tuple(name for name, each in self.declared_settings.items() if each.change == "input")
        super().begin()

    def change_setting(self, name: str, value: Any) -> None:
        """Gives a setting another value, which acts from the next update on, or the next step.

        Raises:
            AttributeError: It cannot change: the networks, or what else was made with it, are there; or agents are
                being trained together, whose updates are one compiled call.
        """
        if not self.is_set_up:
            super().change_setting(name, value)
            return
        before, change = getattr(self, name), self.declared_settings[name].change
        # An input that is None is not used, so this decides what the update computes.
        recompiles = change == "recompiles" or (change == "input" and (before is None) != (value is None))
        if recompiles and self.learner.joined:
            raise AttributeError(f"{name} cannot change while agents are trained together")
        super().change_setting(name, value)
        if recompiles:
            self.learner.forget_compiled()

    def look_at_observations(self, observations: np.ndarray) -> None:
        """Warns, once, if observations, float32 [n, D], fill next to nothing of the ranges that they are scaled by."""
        self.saw_observations = True
        warn_of_unseen(self.observation_transform, observations)

    @property
    def lr_schedule(self) -> Schedule:
        """`learning_rate` as a function of the progress that remains, by Stable-Baselines3's name."""
        return lambda remaining: schedules.current_value("learning_rate", self.learning_rate, remaining)

    @lr_schedule.setter
    def lr_schedule(self, value: Schedule) -> None:
        self.learning_rate = value

    def current_inputs(self) -> dict[str, float]:
        """Returns the update's inputs at this moment, by name; where a setting is None, its input is not used."""
        remaining = self.progress.remaining
        inputs = {name: getattr(self, name) for name in self._inputs}
        for name, value in inputs.items():
            if callable(value):
                inputs[name] = schedules.current_value(name, value, remaining)
            elif value is None:
                inputs[name] = 0.0
        return inputs

"""What every agent with a replay buffer shares: which buffer it is, what is sampled of it, and its files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import IO, Any, ClassVar

import numpy as np

from pamdp_agents.base.learning_agent import LearningAgent
from pamdp_agents.base.replay_settings import ReplaySettings
from pamdp_agents.base.settings import number, setting
from pamdp_agents.environments.adapter import Environment
from pamdp_agents.experience import PrioritizedReplayBuffer, ReplayBuffer
from pamdp_agents.experience.transition import NEXT_MASK, Transition, TransitionLayout
from pamdp_agents.files.archive import SavedFileError, npz_bytes, read_npz
from pamdp_agents.files.streams import read_content, write_content


class ReplayingAgent(LearningAgent, ReplaySettings):
    """An agent with a replay buffer.

    Attributes:
        row: How a transition is packed where it is stored.
        drawn_row: How one is packed that was sampled: there may be more of it.
        replay_buffer: The stored transitions.
    """

    saved_apart = ("replay_buffer",)

    reward_scale: float = setting(
        default=1.0,
        text="What rewards are multiplied by before they are stored; another value rescales those that are.",
        kind=number(above=0),
        change="acts",
    )

    gives_priorities: ClassVar[bool] = False
    """Whether the update returns priorities and weighs transitions, if they have the extra `"weight"`."""

    def begin(self) -> None:
        """Readies what a constructor readies besides settings."""
        self.row: TransitionLayout
        self.drawn_row: TransitionLayout
        self.replay_buffer: ReplayBuffer
        self._read_replay_buffer()
        super().begin()

    def change_setting(self, name: str, value: Any) -> None:
        """Gives a setting another value; see `OffPolicyAgent.change_setting`."""
        if self.is_set_up and name == "reward_scale":
            self.replay_buffer.rescale(value)
        if self.is_set_up and name == "gamma":  # of returns that are completed from now on
            self.replay_buffer.returns.gamma = value
        super().change_setting(name, value)

    def _read_replay_buffer(self) -> None:
        """Checks what replay buffer is asked for.

        Raises:
            ValueError: It takes other arguments, or this agent gives no priorities; or what is asked for does not go
                together.
        """
        if self.optimize_memory_usage and self.n_steps > 1:
            raise ValueError(
                f"optimize_memory_usage=True cannot be had with n_steps={self.n_steps}: what follows so many steps is "
                "not what the next transition begins with; give optimize_memory_usage=False or n_steps=1"
            )
        self._buffer_class = self.replay_buffer_class or ReplayBuffer
        if self.is_prioritized and not self.gives_priorities:
            raise ValueError(
                f"replay_buffer_class={self._buffer_class.__name__} cannot be had with {type(self).__name__}, whose "
                "update gives no priorities: leave it out"
            )
        self._buffer_kwargs = self._buffer_class.read_kwargs(self.replay_buffer_kwargs or {})
        vars(self)["replay_buffer_kwargs"] = self._buffer_kwargs or None

    def find_extras(self, k: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the extras of discrete actions that the agent did not decide itself, int [n], by name."""
        return {}

    @property
    def is_prioritized(self) -> bool:
        """Whether transitions are drawn by priorities, which the update gives."""
        return self._buffer_class is PrioritizedReplayBuffer

    def make_replay_buffer(self) -> None:
        """Makes the replay buffer, and the layouts of what is stored in it and drawn from it.

        Raises:
            ValueError: Images shall be kept once, and observations have none.
        """
        if self.optimize_memory_usage and not self.observation_transform.image_places():
            raise ValueError(
                "optimize_memory_usage=True keeps images once, a Box of uint8 with two axes or more, and the "
                f"observation space {self.observation_space} has none; leave it out"
            )
        space, n_observations = self.parameterized_space, self.observation_transform.size
        extras, drawn = self.extras(), self._buffer_class.drawn_extras
        if self.masked:
            extras = extras | {NEXT_MASK: space.n}
        self.row = TransitionLayout(n_observations, space.parameter_size, extras)
        self.drawn_row = TransitionLayout(n_observations, space.parameter_size, extras | drawn)
        self.replay_buffer = self._buffer_class(
            self.buffer_size,
            self.row,
            self._replay_rng,
            self.observation_transform,
            space,
            self.reward_scale,
            self.find_extras,
            self._predict_rng,
            self.n_steps,
            self.gamma,
            self.optimize_memory_usage,
            **self._buffer_kwargs,
        )

    def begin_with_masks(self) -> None:
        """Stores from now on which discrete actions are allowed, as the environments have begun to say.

        Raises:
            ValueError: There are transitions of environments that did not say so.
        """
        if len(self.replay_buffer) or len(self.replay_buffer.returns):
            raise ValueError(
                f"environment {self.env_name} gives action masks, and the transitions in the replay buffer are of "
                "environments that gave none: make a new agent, or call replay_buffer.reset() first"
            )
        super().begin_with_masks()
        self.change_row()

    def change_row(self) -> None:
        """Makes what depends on how transitions are packed anew, when that has changed."""
        self.make_replay_buffer()
        self.replay_buffer.n_envs = self.n_envs

    def next_masks(self, batch: Transition) -> Any:
        """Returns which discrete actions are allowed after transitions, tensors: bool [n, K]; None: all."""
        return batch.extras[NEXT_MASK] > 0.5 if self.masked else None

    def set_env(self, env: Environment | str, force_reset: bool = True) -> None:
        """Gives the agent another environment with the same spaces; see `EnvironmentBound.set_env`."""
        super().set_env(env, force_reset)
        self.replay_buffer.n_envs = self.n_envs

    def rows_shape(self, updates: int) -> tuple[int, int, int]:
        """Returns the shape of what `sample` returns."""
        return updates, self.batch_size, self.drawn_row.size

    def sample(self, updates: int) -> np.ndarray:
        """Returns the rows of so many updates, float32 [updates, batch size, row size]."""
        rows = self.replay_buffer.draw(updates, self.batch_size, self.progress.remaining)
        normalization = None if self._environments is None else self._environments.normalization
        if normalization is None:
            return rows
        self._check_vec_normalize(normalization.vec_normalize)  # its attributes may have been changed
        return normalization.normalize(rows, self.row, self.reward_scale)

    def _check_vec_normalize(self, vec_normalize: Any | None) -> None:
        if self.n_steps > 1 and vec_normalize is not None and vec_normalize.norm_reward:
            raise ValueError(
                f"n_steps={self.n_steps} cannot be had with a VecNormalize of norm_reward=True: it normalises each "
                "reward when it is sampled, and sums of several are stored; give it norm_reward=False, or the agent "
                "n_steps=1"
            )

    def save_replay_buffer(self, path: str | os.PathLike | IO[bytes]) -> None:
        """Saves the replay buffer.

        Args:
            path: Where to; `.npz` is added if it has no suffix. Or a binary file open for writing.

        Raises:
            OSError: The file cannot be written.
        """
        self._require_set_up("save_replay_buffer")
        write_content(path, npz_bytes(self.replay_state()), ".npz")

    def load_replay_buffer(self, path: str | os.PathLike | IO[bytes], truncate_last_traj: bool = True) -> None:
        """Loads what `save_replay_buffer` wrote.

        What a smaller buffer held goes in whole. Of a larger one's, the newest part does, with a warning.

        Args:
            path: The file; `.npz` may be left out. Or one open for reading in binary mode, which is read from its start
                if it can be moved there.
            truncate_last_traj: As in Stable-Baselines3, where it concerns hindsight replay only; no effect here.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It is damaged, or was saved for other spaces or by another agent. The buffer is as it was then.
        """
        self._require_set_up("load_replay_buffer")
        name, content = read_content(path, ".npz", "replay buffer")
        try:
            self.restore_replay(read_npz(content, name))
        except KeyError as error:
            raise SavedFileError(f"{name} is not a saved replay buffer: it lacks {error}") from None

    def replay_state(self) -> dict[str, np.ndarray]:
        """Returns the replay buffer, as arrays."""
        return self.replay_buffer.state()

    def restore_replay(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes back what `replay_state` returned.

        Raises:
            KeyError: A part is missing.
            ValueError: It is another agent's, or damaged.
        """
        begins = NEXT_MASK in state and not self.masked and not len(self.replay_buffer)
        if begins:
            self.begin_with_masks()
        try:
            self.replay_buffer.restore(state, self.parameterized_space.n)
        except Exception:
            if begins:
                self.masked = False
                self.change_row()
            raise
        environments = self._environments
        if environments is not None and environments.observations is not None:
            self.replay_buffer.go_on(environments.stored_observations, environments.episode_lengths)

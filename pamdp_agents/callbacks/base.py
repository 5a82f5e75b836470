"""The contract of callbacks, and how to combine them.

It is that of `stable_baselines3.common.callbacks`, name for name: callbacks written for SB3 work here and these work
there. In each `learn` an agent calls `init_callback` and `on_training_start`; around each collection of steps,
`on_rollout_start` and `on_rollout_end`; after every step, `update_locals` and `on_step`; and `on_training_end`.

SB3's agents tell callbacks by their class. So that they take these, too, write once

    stable_baselines3.common.callbacks.BaseCallback.register(pamdp_agents.callbacks.BaseCallback)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from pamdp_agents.logger import Logger


class BaseCallback:
    """Base class: define `_on_step`, and as needed the other methods with a leading underscore.

    Args:
        verbose: 0 for silence, 1 for messages, 2 for more of them.

    Attributes:
        model: The agent in training.
        n_calls: How often `on_step` was called.
        num_timesteps: Environment steps so far, over all parallel environments.
        locals: The training loop's variables, among them `self`, `env`, `total_timesteps`, and after each
            step `new_obs` (stacked), `rewards` [n_envs], `dones` [n_envs], `infos` (n_envs dicts) and `actions` (a
            list of n_envs; with Gymnasium's vector environments, a batch).
        globals: The training module's variables.
        parent: The callback that calls this one, if any.
    """

    model: Any

    def __init__(self, verbose: int = 0) -> None:
        self.verbose = verbose
        self.n_calls = 0
        self.num_timesteps = 0
        self.locals: dict[str, Any] = {}
        self.globals: dict[str, Any] = {}
        self.parent: Any = None

    @property
    def training_env(self) -> Any:
        """The environment of the agent in training.

        Raises:
            RuntimeError: The agent has none.
        """
        env = self.model.get_env()
        if env is None:
            raise RuntimeError("The agent has no environment; give it one with set_env before using callbacks.")
        return env

    @property
    def logger(self) -> Logger:
        """The agent's logger."""
        return self.model.logger

    def init_callback(self, model: Any) -> None:
        """Meets the agent, before training starts."""
        self.model = model
        self._init_callback()

    def on_training_start(self, locals_: dict[str, Any], globals_: dict[str, Any]) -> None:
        """Begins a call of `learn`."""
        self.locals = locals_
        self.globals = globals_
        self.num_timesteps = self.model.num_timesteps
        self._on_training_start()

    def on_rollout_start(self) -> None:
        """Begins collecting steps."""
        self._on_rollout_start()

    def on_step(self) -> bool:
        """Follows a step of the environments (of a child callback: its event).

        Returns:
            Whether training may go on.
        """
        self.n_calls += 1
        self.num_timesteps = self.model.num_timesteps
        return self._on_step()

    def on_rollout_end(self) -> None:
        """Ends collecting steps."""
        self._on_rollout_end()

    def on_training_end(self) -> None:
        """Ends a call of `learn`."""
        self._on_training_end()

    def update_locals(self, locals_: dict[str, Any]) -> None:
        """Takes over the training loop's variables after a step."""
        self.locals.update(locals_)
        self.update_child_locals(locals_)

    def update_child_locals(self, locals_: dict[str, Any]) -> None:
        """Pass the training loop's variables on to the callbacks that this one calls."""

    def _init_callback(self) -> None: ...

    def _on_training_start(self) -> None: ...

    def _on_rollout_start(self) -> None: ...

    def _on_step(self) -> bool:
        raise NotImplementedError(f"{type(self).__name__} must define _on_step, which tells whether to go on.")

    def _on_rollout_end(self) -> None: ...

    def _on_training_end(self) -> None: ...


CallbackFunction: TypeAlias = Callable[[dict[str, Any], dict[str, Any]], bool | None]


def as_callback(callback: Any) -> BaseCallback:
    """Turns what `learn` takes as `callback` into one callback.

    Args:
        callback: None, a callback, a function of (locals, globals), or a list of these. A callback of another
            library passes unchanged if it has the contract's methods.

    Raises:
        TypeError: It is none of these.
    """
    if isinstance(callback, list | tuple):
        return CallbackList([as_callback(one) for one in callback])
    if isinstance(callback, type):
        raise TypeError(f"callback must be an object, got the class {callback.__name__}: create one with its arguments")
    if all(hasattr(callback, name) for name in ("init_callback", "on_training_start", "on_step", "on_training_end")):
        return callback
    if callback is None or callable(callback):
        return ConvertCallback(callback)
    raise TypeError(
        f"callback must be None, a callback, a function of (locals, globals), or a list of these, got {callback!r}"
    )


class ConvertCallback(BaseCallback):
    """A function as a callback.

    Args:
        callback: Called as `callback(locals, globals)` after each step; training stops when it returns False,
            and goes on when it returns True or nothing.
        verbose: See `BaseCallback`.
    """

    def __init__(self, callback: CallbackFunction | None, verbose: int = 0) -> None:
        super().__init__(verbose)
        self.callback = callback

    def _on_step(self) -> bool:
        go_on = None if self.callback is None else self.callback(self.locals, self.globals)
        return True if go_on is None else bool(go_on)


class CallbackList(BaseCallback):
    """Several callbacks as one, called in order; training goes on if all of them say so.

    Args:
        callbacks: The callbacks.
    """

    def __init__(self, callbacks: list[BaseCallback]) -> None:
        super().__init__()
        self.callbacks = callbacks

    def _init_callback(self) -> None:
        for callback in self.callbacks:
            callback.parent = self.parent  # so that a list may stand where one callback would
            callback.init_callback(self.model)

    def _on_training_start(self) -> None:
        for callback in self.callbacks:
            callback.on_training_start(self.locals, self.globals)

    def _on_rollout_start(self) -> None:
        for callback in self.callbacks:
            callback.on_rollout_start()

    def _on_step(self) -> bool:
        return all([callback.on_step() for callback in self.callbacks])

    def _on_rollout_end(self) -> None:
        for callback in self.callbacks:
            callback.on_rollout_end()

    def _on_training_end(self) -> None:
        for callback in self.callbacks:
            callback.on_training_end()

    def update_child_locals(self, locals_: dict[str, Any]) -> None:
        """Pass the training loop's variables on to every callback."""
        for callback in self.callbacks:
            callback.update_locals(locals_)


class EventCallback(BaseCallback):
    """Base class of callbacks that call another one on some event: their `_on_step` calls `_on_event`.

    Args:
        callback: The callback to call.
        verbose: See `BaseCallback`.
    """

    def __init__(self, callback: BaseCallback | None = None, verbose: int = 0) -> None:
        super().__init__(verbose)
        self.callback = callback
        if callback is not None:
            callback.parent = self

    def init_callback(self, model: Any) -> None:
        """Meets the agent, before training starts."""
        super().init_callback(model)
        if self.callback is not None:
            self.callback.init_callback(model)

    def _on_training_start(self) -> None:
        if self.callback is not None:
            self.callback.on_training_start(self.locals, self.globals)

    def _on_event(self) -> bool:
        return True if self.callback is None else self.callback.on_step()

    def _on_step(self) -> bool:
        return True

    def update_child_locals(self, locals_: dict[str, Any]) -> None:
        """Pass the training loop's variables on to the callback."""
        if self.callback is not None:
            self.callback.update_locals(locals_)

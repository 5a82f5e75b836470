"""Many seeds at once: independent agents in one process, whose updates are one compiled call.

Each agent has its own weights, environment, replay buffer and random numbers, and does what it would do if it were
trained alone with its seed. Together they take a fraction of the time: the updates of half of the agents run in a
thread of their own while the other half acts and steps its environments.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import gymnasium as gym
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from pamdp_agents.agents.off_policy import OffPolicyAgent
from pamdp_agents.compiled_update import CompiledUpdate
from pamdp_agents.learner import JointLearner

AgentType = TypeVar("AgentType", bound=OffPolicyAgent)


def train_seeds(
    agent_class: type[AgentType],
    env: str | Callable[[], gym.Env],
    seeds: Sequence[int],
    total_timesteps: int,
    *,
    callback: Callable[[AgentType], Any] | None = None,
    log_interval: int | None = 4,
    progress_bar: bool = False,
    **settings: Any,
) -> list[AgentType]:
    """Trains one agent for each seed, all at once.

    Args:
        agent_class: The agents' class.
        env: Id of the environment, or a function that makes one; each agent gets its own.
        seeds: The seeds.
        total_timesteps: Environment steps of each agent.
        callback: Given an agent, returns what ``learn`` takes as ``callback``, for this agent.
        log_interval: Episodes of an agent between two of its log dumps; None: no logs.
        progress_bar: Show a progress bar.
        **settings: Arguments of the agents' constructor; ``policy`` is ``"MlpPolicy"`` unless given.

    Returns:
        The agents, in the order of the seeds.

    Raises:
        ValueError: There is no seed, or the number of updates would differ between agents.
    """
    agents = [
        agent_class(**{"policy": "MlpPolicy", "env": env if isinstance(env, str) else env(), "seed": seed} | settings)
        for seed in seeds
    ]
    train_together(agents, total_timesteps, callback=callback, log_interval=log_interval, progress_bar=progress_bar)
    return agents


def train_together(
    agents: Sequence[AgentType],
    total_timesteps: int,
    *,
    callback: Callable[[AgentType], Any] | None = None,
    log_interval: int | None = 4,
    tb_log_name: str | None = None,
    reset_num_timesteps: bool = True,
    progress_bar: bool = False,
) -> None:
    """Trains agents that differ in nothing but their seeds and environments; see :func:`train_seeds`.

    Args:
        agents: The agents. Each is as after its own ``learn``, also if this ends with an error.
        total_timesteps: Environment steps of each agent.
        callback: Given an agent, returns what ``learn`` takes as ``callback``, for this agent.
        log_interval: As in ``learn``.
        tb_log_name: As in ``learn``.
        reset_num_timesteps: As in ``learn``.
        progress_bar: Show a progress bar.

    Raises:
        ValueError: There is no agent, they are not of one kind, or their numbers of updates vary.
    """
    _check(agents)
    with contextlib.ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(1))
        bar = stack.enter_context(tqdm(total=total_timesteps, unit=" steps each", disable=not progress_bar))
        groups: list[_Group] = []
        compiled: dict[int, CompiledUpdate] = {}
        for half in (agents[::2], agents[1::2]):
            trainings = [
                stack.enter_context(
                    contextlib.closing(
                        agent._training(
                            total_timesteps,
                            None if callback is None else callback(agent),
                            log_interval,
                            tb_log_name,
                            reset_num_timesteps,
                            False,
                        )
                    )
                )
                for agent in half
            ]
            if half:
                groups.append(stack.enter_context(contextlib.closing(_Group(half, trainings, compiled, pool))))
        while any([group.go_on() for group in groups]):
            bar.update(agents[0].num_timesteps - bar.n)


class _Group:
    """Agents that collect one after the other, and then learn at once.

    Args:
        agents: The agents.
        trainings: Their trainings, which yield numbers of updates.
        compiled: Compiled calls that the groups share.
        pool: Where updates run.
    """

    def __init__(
        self,
        agents: Sequence[OffPolicyAgent],
        trainings: Sequence[Generator[int, None, None]],
        compiled: dict[int, CompiledUpdate],
        pool: ThreadPoolExecutor,
    ):
        self._agents, self._trainings, self._pool = agents, trainings, pool
        first = agents[0]
        self._learner = JointLearner([agent.learner for agent in agents], compiled)
        self._running = dict(enumerate(agents))
        collected = first._train_frequency()[0] * first.n_envs
        self._updates = collected if first.gradient_steps == -1 else first.gradient_steps
        self._rates = np.zeros((len(agents), len(first.rate_names)), np.float32)
        self._rows = np.zeros((len(agents), self._updates, first.batch_size, first.layout.size), np.float32)
        self._pending: Future[tf.Tensor] | None = None

    def go_on(self) -> bool:
        """Waits for the updates under way, collects, and starts the next updates; returns whether there are some."""
        self._finish()
        for i, agent in list(self._running.items()):
            if next(self._trainings[i], None) is None:
                self._learner.leave(i)
                del self._running[i]
            else:
                self._rows[i] = agent._sample(self._updates)
                self._rates[i] = list(agent._rates().values())
        if self._running:
            self._pending = self._pool.submit(self._learner.train, self._rows, self._rates)
            time.sleep(1e-5)  # lets the other thread begin: Python's own turns are longer than an update
        return bool(self._running)

    def close(self) -> None:
        """Waits for the updates under way, and gives every agent its state."""
        self._finish()
        for i in self._running:
            self._learner.leave(i)

    def _finish(self) -> None:
        if self._pending is None:
            return
        pending, self._pending = self._pending, None
        metrics = np.asarray(memoryview(pending.result()))
        self._learner.share()
        for i, agent in self._running.items():
            agent._metrics = [(self._updates, metrics[i])]
            agent._note_updates(self._updates)


def _check(agents: Sequence[OffPolicyAgent]) -> None:
    if not agents:
        raise ValueError("seeds must hold at least one seed")
    first = agents[0]
    for agent in agents:
        if agent.learner.state.shape != first.learner.state.shape or _kind(agent) != _kind(first):
            raise ValueError(
                "agents trained together may differ in their seeds and environments only, but these are "
                f"{_kind(first)} and {_kind(agent)}"
            )
    if first._most_updates() is not None:
        raise ValueError(
            f"train_freq={first.train_freq} with gradient_steps=-1 makes another number of updates in each round here; "
            "agents trained together need the same: give gradient_steps a number"
        )


def _kind(agent: OffPolicyAgent) -> tuple[Any, ...]:
    plain, objects = agent.config()
    return type(agent), {**plain, "seed": None}, objects, agent.observation_space, agent.action_space

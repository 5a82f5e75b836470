"""Many seeds at once: independent agents in one process, whose updates are one compiled call.

Each agent has its own weights, environment, replay buffer and random numbers, and does what it would do if it were
trained alone with its seed. Together they take a fraction of the time: the updates of half of the agents run in a
thread of their own while the other half acts and steps its environments. What waits for what does not depend on how
long anything takes, so neither do the numbers.
"""

from __future__ import annotations

import contextlib
import copy
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

import gymnasium as gym
from tqdm import tqdm

from pamdp_agents.checks import check_integer, check_seeds
from pamdp_agents.learning.divergence import DivergedError
from pamdp_agents.learning.joint_learner import JointLearner
from pamdp_agents.training.divergence import diverged, make_updates
from pamdp_agents.training.together_checks import check_masked, check_together, check_unshared, updates_in_a_round
from pamdp_agents.training.trainee import CompiledTrainee, Trainee

AgentType = TypeVar("AgentType", bound=Trainee)


def train_seeds(
    agent_class: type[AgentType],
    env: str | Callable[[], gym.Env],
    seeds: Iterable[int],
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
        seeds: The seeds, integers of at least 0, all different.
        total_timesteps: Environment steps of each agent.
        callback: Given an agent, returns what `learn` takes as `callback`, for this agent.
        log_interval: Episodes of an agent between two of its log dumps; None: no logs.
        progress_bar: Show a progress bar of all agents' steps.
        **settings: Arguments of the agents' constructor, of which each agent gets a copy; `policy` is
            `"MlpPolicy"` unless given.

    Returns:
        The agents, in the order of the seeds. To have them also if training is interrupted, make them yourself and
        call `train_together`.

    Raises:
        TypeError: `seed` is given, or `agent_class`, `env` or `seeds` are of the wrong type.
        ValueError: A seed is negative or there twice, there is none, or the number of updates would vary.
    """
    if "seed" in settings:
        raise TypeError(f"train_seeds takes seeds, one for each agent, and no seed; got seed={settings['seed']!r}")
    if not (isinstance(agent_class, type) and hasattr(agent_class, "start_learning")):
        raise TypeError(f"agent_class must be a class of agents, such as MPDQN, got {agent_class!r}")
    if not (isinstance(env, str) or callable(env)):
        raise TypeError(
            f"env must be an environment's id or a function that makes one, for each agent needs its own; got {env!r}"
        )
    make: Any = agent_class
    agents = [
        make(env=env if isinstance(env, str) else env(), seed=seed, **copy.deepcopy({"policy": "MlpPolicy"} | settings))
        for seed in check_seeds(seeds)
    ]
    train_together(agents, total_timesteps, callback=callback, log_interval=log_interval, progress_bar=progress_bar)
    return agents


def train_together(
    agents: Sequence[AgentType],
    total_timesteps: int | list[int] | tuple[int, ...],
    *,
    callback: Callable[[AgentType], Any] | None = None,
    log_interval: int | None = 4,
    tb_log_name: str | None = None,
    reset_num_timesteps: bool = True,
    progress_bar: bool = False,
) -> None:
    """Trains agents that differ in little but their seeds and environments; see `train_seeds`.

    Args:
        agents: The agents. Each is as after its own `learn`, also if this ends with an error.
        total_timesteps: Environment steps of each agent: one number, or one for each.
        callback: Given an agent, returns what `learn` takes as `callback`, for this agent.
        log_interval: As in `learn`.
        tb_log_name: As in `learn`.
        reset_num_timesteps: As in `learn`.
        progress_bar: Show a progress bar of all agents' steps.

    Raises:
        RuntimeError: An agent has no environment.
        TypeError: `agents` is no list, or `callback` no function.
        ValueError: What `check_together` refuses; or `total_timesteps` are not as many as agents; or two agents share
            a callback; or an environment returned something that is not finite.
        DivergedError: Updates gave numbers that are not finite (a `ValueError`). It names the agent, which is as it
            was before them.
    """
    check_together(agents)
    given = total_timesteps if isinstance(total_timesteps, list | tuple) else [total_timesteps] * len(agents)
    totals = [check_integer("total_timesteps", each, 1) for each in given]
    if len(totals) != len(agents):
        raise ValueError(f"total_timesteps must be one number or {len(agents)}, one for each agent, got {totals}")
    if not (callback is None or callable(callback)):
        raise TypeError(
            f"callback must be a function that is given an agent and returns its callback, got {callback!r}"
        )
    callbacks = [None if callback is None else callback(agent) for agent in agents]
    lists = [one if isinstance(one, list | tuple) else [one] for one in callbacks]
    check_unshared("callback", ([one for one in own if hasattr(one, "init_callback")] for own in lists))
    middle = (len(agents) + 1) // 2
    halves = [half for half in (slice(0, middle), slice(middle, None)) if agents[half]]
    if updates := updates_in_a_round(agents[0]):
        # Before anything is counted or reset, for what cannot be compiled leaves the agents as they were.
        compiler = cast(CompiledTrainee, agents[0])
        for half in halves:
            compiler.learner.compile_jointly(len(agents[half]), compiler.rows_shape(updates))
    total = sum(totals)
    with contextlib.ExitStack() as stack:
        # A thread that comes back from TensorFlow soon gets its turn: Python's own turns are longer than an update.
        stack.callback(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(1e-4)
        pool = stack.enter_context(ThreadPoolExecutor(1))
        bar = stack.enter_context(tqdm(total=total, unit=" steps", disable=not progress_bar))
        trainings = [
            agent.start_learning(steps, one, log_interval, tb_log_name, reset_num_timesteps, False)
            for agent, steps, one in zip(agents, totals, callbacks, strict=True)
        ]
        check_masked(agents)
        for training in trainings:
            stack.enter_context(contextlib.closing(training))
        groups = [
            stack.enter_context(contextlib.closing(_Group(agents[half], trainings[half], agents[0], pool, half.start)))
            for half in halves
        ]
        going_on = True
        while going_on:
            going_on = any([group.go_on() for group in groups])
            # The last steps of parallel environments may overshoot the total, which tqdm would then forget.
            made = sum(agent.progress.num_timesteps - agent.progress.num_timesteps_at_start for agent in agents)
            bar.update(min(made, total) - bar.n)


class _Group:
    """Agents that collect one after the other, and then learn at once; those without compiled updates take turns.

    Args:
        agents: The agents.
        rounds: Their trainings, which yield where it is time for updates.
        compiler: The agent whose compiled update is used.
        pool: Where updates run.
        first: The number of the first of them among all agents.
    """

    def __init__(
        self,
        agents: Sequence[Trainee],
        rounds: Sequence[Iterator[int]],
        compiler: Trainee,
        pool: ThreadPoolExecutor,
        first: int,
    ):
        self._first = first
        self._rounds, self._running = rounds, set(range(len(agents)))
        self._updates = updates_in_a_round(agents[0])
        self._agents = cast(Sequence[CompiledTrainee], agents)  # if they make any updates, these are compiled
        self._learner: JointLearner | None = None
        if self._updates:
            shape, learners = self._agents[0].rows_shape(self._updates), [agent.learner for agent in self._agents]
            self._learner = JointLearner(learners, shape, cast(CompiledTrainee, compiler).learner, pool)

    def go_on(self) -> bool:
        """Waits for the updates under way, collects, and starts the next updates; returns whether any agent goes on."""
        self._finish()
        for i in sorted(self._running):
            agent, due = self._agents[i], next(self._rounds[i], None)
            while due is not None and due != self._updates:  # its own, or of a round under the settings of before
                make_updates(agent, due)
                if not self._updates:
                    break
                due = next(self._rounds[i], None)
            if due is None:
                self._running.remove(i)
                if self._learner:
                    self._learner.leave(i)
            elif self._learner:
                self._learner.rows[i] = agent.sample(self._updates)
                self._learner.inputs[i] = list(agent.current_inputs().values())
                self._learner.seeds[i] = agent.current_seed()
        if self._learner and self._running:
            self._learner.start()
        return bool(self._running)

    def close(self) -> None:
        """Waits for the updates under way, and gives every agent a state of its own."""
        try:
            self._finish()
        finally:
            if self._learner:
                self._learner.close()
            for agent in self._agents:
                agent.forget_weights()  # so that nothing refers to the joint state any more

    def _finish(self) -> None:
        if self._learner:
            errors = []
            for i, metrics, priorities, wrong in self._learner.finish():
                agent = self._agents[i]
                if wrong:
                    errors.append(f"agent {self._first + i} (seed={agent.seed}): {diverged(agent, wrong)}")
                else:
                    agent.note_updates(self._updates, metrics, priorities)
            if errors:
                raise DivergedError("\n".join(errors))

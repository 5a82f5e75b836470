"""The training loop: act, step, store, and say when updates are due."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from typing import Any

from pamdp_agents.callbacks import BaseCallback
from pamdp_agents.experience.transition import Decision
from pamdp_agents.training.trainee import Trainee


class Training:
    """One call of `learn`: all of it but the updates themselves.

    Args:
        trainee: The agent.
        callback: Its callbacks, as one.
        log_interval: Episodes, or rounds if the agent counts them, between two log dumps; None: no logs.
        given: What callbacks find in their `locals` from the start: what `learn` was given.
    """

    def __init__(
        self, trainee: Trainee, callback: BaseCallback, log_interval: int | None, given: Mapping[str, Any]
    ) -> None:
        self._trainee, self._callback, self._progress = trainee, callback, trainee.progress
        self._log_episodes = None if trainee.logs_rounds else log_interval
        self._log_rounds = log_interval if trainee.logs_rounds else None
        self._locals = dict(given)

    def rounds(self) -> Generator[int, None, None]:
        """Trains; yields the number of updates where it is time for them.

        Those after the steps of one environment come before its next step. Those of several environments come when the
        next step is under way, for it may be so in other processes; and in this order in any case, so that it makes no
        difference to the numbers where environments run. An agent that learns from what its present policy does
        (`decides_ahead` is false) makes them before the next step in any case.

        What is due, and how far a round has come, is kept in the agent's progress, so that what was interrupted, or
        saved by a callback, goes on as if it had not been.
        """
        trainee, callback, progress, rounds = self._trainee, self._callback, self._trainee.progress, 0
        trainee.start_training()
        callback.on_training_start(self._locals, globals())
        try:
            while progress.num_timesteps < progress.total_timesteps:
                if progress.due is not None and not self._decides_ahead():
                    yield from self._make_due()
                progress.begin_round()
                number, unit = trainee.round
                callback.on_rollout_start()
                while (progress.round_steps if unit == "step" else progress.round_episodes) < number:
                    if trainee.environments.observations is None:  # a callback gave others: set_env
                        self._change_environments()
                        progress.begin_round()  # if the one under way was forgotten
                    decision = trainee.decide()
                    trainee.environments.start_step(decision.k, decision.x)
                    if progress.due is not None:
                        yield from self._make_due()
                    if not self._finish_step(decision):
                        return
                callback.on_rollout_end()
                progress.due = trainee.count_updates_due(progress.end_round())
                rounds += 1
                if self._log_rounds is not None and rounds % self._log_rounds == 0:
                    trainee.dump_logs(rounds)
            if progress.due is not None:
                if self._decides_ahead():
                    trainee.decide_ahead()  # as if the next step were under way
                yield from self._make_due()
        except StopIteration as error:  # which a generator must not let through
            raise RuntimeError(
                "a callback or a schedule raised StopIteration; to end training, let a callback return False"
            ) from error
        finally:
            callback.on_training_end()

    def _decides_ahead(self) -> bool:
        """Whether the next step is decided before the updates that are due."""
        return self._trainee.decides_ahead and self._trainee.environments.num_envs > 1

    def _make_due(self) -> Iterator[int]:
        """Yields the number of updates that are due; when it goes on they have been made, or cannot be any more."""
        assert self._progress.due is not None
        yield self._progress.due
        self._progress.due = None

    def _change_environments(self) -> None:
        """Starts in the environments that the agent has been given since the last step."""
        trainee = self._trainee
        trainee.environments.reset(trainee.progress.num_timesteps)
        trainee.start_training()
        self._callback.update_locals({"env": trainee.env})

    def _finish_step(self, decision: Decision) -> bool:
        """Stores what followed a decision, and resets where episodes ended; returns False if a callback says stop."""
        trainee, progress = self._trainee, self._trainee.progress
        environments = trainee.environments
        step = environments.finish_step(progress.num_timesteps + 1)
        progress.count_steps(trainee.observe(decision, step))
        progress.round_steps += 1
        progress.round_episodes += len(step.ended_in)
        log = progress.end_episodes(step, self._log_episodes)
        new_obs = environments.reset_ended(progress.num_timesteps)
        self._callback.update_locals(
            {
                "new_obs": step.raw_observations if new_obs is None else new_obs,
                "actions": step.actions,
                "rewards": step.rewards,
                "dones": step.ended,
                "infos": step.infos,
                "num_collected_steps": progress.round_steps,
                "num_collected_episodes": progress.round_episodes,
            }
        )
        if not self._callback.on_step():
            return False
        if log:
            trainee.dump_logs()
        return True

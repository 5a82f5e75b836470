"""ε-greedy actions with noisy parameters: what is random in each environment."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np

from pamdp_agents.checks import LARGEST_NUMBER
from pamdp_agents.experience.transition import Decision
from pamdp_agents.exploration.noise import NOISES, ParameterNoise

Act: TypeAlias = Callable[[np.ndarray, np.ndarray | None], Decision]
"""The greedy decisions for scaled observations, float32 [n, D], and which discrete actions are allowed, bool [n, K], or
None: all."""


class EpsilonGreedy:
    """Makes greedy decisions ε-greedy and noisy, in n environments.

    Args:
        mask: Which parameters belong to which discrete action, bool [K, P].
        draw: Draws n random decisions, given a generator, n, and which discrete actions are allowed; their `x` is not
            used.
        of_parameters: Those of a decision's extras that say where its parameters are from: they stay where noise is
            added to these, even if the discrete action is random.

    Attributes:
        noises: Noise of each environment: the first is the agent's, the others are copies of it.
    """

    def __init__(
        self,
        mask: np.ndarray,
        draw: Callable[..., Decision],
        of_parameters: Collection[str] = (),
    ) -> None:
        self._mask, self._draw, self._of_parameters = mask, draw, of_parameters
        self.noises: list[ParameterNoise] = []
        self._config: dict[str, Any] = {}  # the agent's noise's, of which the others are copies

    def begin(self, noise: ParameterNoise, episode_lengths: np.ndarray) -> None:
        """Readies one noise for each environment, from the start where an episode starts.

        Args:
            noise: The agent's.
            episode_lengths: Steps made of the current episode in each environment, int [n].
        """
        self.make_noises(noise, len(episode_lengths))
        for noise, length in zip(self.noises, episode_lengths, strict=True):
            if length == 0:
                noise.reset()

    def explore(
        self,
        act: Act,
        observations: np.ndarray,
        epsilon: float,
        noise: ParameterNoise,
        progress_remaining: float,
        rng: np.random.Generator,
        masks: np.ndarray | None = None,
    ) -> Decision:
        """Returns the decisions of a training step, ε-greedy and noisy, their parameters within [−1, 1].

        Args:
            act: Returns the greedy decisions for observations; not called where nothing would be left of them.
            observations: Scaled observations, float32 [n, D].
            epsilon: ε.
            noise: The agent's.
            progress_remaining: How much of the training remains, from 1 to 0.
            rng: Draws what is random.
            masks: Which discrete actions are allowed, bool [n, K]; None: all.
        """
        self.make_noises(noise, len(observations))
        for own in self.noises:
            own.progress_remaining = progress_remaining
        return self._apply(act, observations, epsilon, self.noises, rng, masks)

    def explore_apart(
        self,
        act: Act,
        observations: np.ndarray,
        epsilon: float,
        noise: ParameterNoise,
        rng: np.random.Generator,
        masks: np.ndarray | None,
    ) -> Decision:
        """Returns decisions as `explore` does, without moving the training's noise."""
        noises = [noise] * len(observations)
        if not noise.replaces:
            noises = [copy.deepcopy(noise) for _ in noises]
            for own in noises:
                own.reset()
        return self._apply(act, observations, epsilon, noises, rng, masks)

    def end_episodes(self, ended_in: Iterable[int]) -> None:
        """Resets the noise of the environments in which an episode ended."""
        for i in ended_in:
            self.noises[i].reset()

    def state(self) -> list[list[float] | None]:
        """Returns what the noises remember, as JSON can hold it."""
        return [None if noise.state is None else noise.state.tolist() for noise in self.noises]

    def restore(self, noise: ParameterNoise, states: Sequence[Any], progress_remaining: float) -> None:
        """Takes back what `state` returned.

        Args:
            noise: The agent's.
            states: What was returned.
            progress_remaining: How much of the training remains, from 1 to 0.

        Raises:
            ValueError: It is not None or [P] finite numbers for each environment.
        """
        self.make_noises(noise, len(states))
        n_parameters = self._mask.shape[1]
        for own, state in zip(self.noises, states, strict=True):
            if state is not None and np.shape(state) != (n_parameters,):
                raise ValueError(f"noise must be None or {n_parameters} numbers, got {state}")
            if state is not None and not (np.abs(state) <= LARGEST_NUMBER).all():
                raise ValueError(f"noise must be finite, got {state}")
            own.state = None if state is None else np.array(state, float)
            own.progress_remaining = progress_remaining

    def make_noises(self, noise: ParameterNoise, n: int) -> None:
        """Makes n noises, unless they are there already and as the given one is."""
        if len(self.noises) != n or self.noises[0] is not noise:
            self.noises = [noise, *(copy.deepcopy(noise) for _ in range(n - 1))]
            self._config = noise.get_config()
        elif n > 1 and type(noise) in NOISES.values() and noise.get_config() != self._config:  # its sigma was set, say
            self._config = noise.get_config()
            for own in self.noises[1:]:
                vars(own).update(copy.deepcopy(self._config))

    def _apply(
        self,
        act: Act,
        observations: np.ndarray,
        epsilon: float,
        noises: Sequence[ParameterNoise],
        rng: np.random.Generator,
        masks: np.ndarray | None,
    ) -> Decision:
        random = rng.random(len(noises)) < epsilon
        n_random = int(np.count_nonzero(random))
        if n_random == len(noises) and all(noise.replaces for noise in noises):
            k, _, extras = self._draw(rng, n_random, masks)
            x = np.empty((n_random, self._mask.shape[1]))
        else:
            k, greedy_x, extras = act(observations, masks)
            x = np.array(greedy_x, dtype=np.float64)
            if n_random:
                drawn = self._draw(rng, n_random, None if masks is None else masks[random])
                k = _replaced(k, random, drawn.k)
                stay = () if noises[0].replaces else self._of_parameters
                replaced = {n: _replaced(extras[n], random, drawn.extras[n]) for n in extras if n not in stay}
                extras = {**extras, **replaced}
        for i, noise in enumerate(noises):
            if not noise.replaces:
                x[i] += self._mask[k[i]] * noise.sample(rng, x.shape[1])
            elif random[i]:
                x[i] = noise.sample(rng, x.shape[1])
        return Decision(k, np.minimum(np.maximum(x, -1.0), 1.0), extras)


def _replaced(values: np.ndarray, where: np.ndarray, by: np.ndarray) -> np.ndarray:
    values = values.copy()
    values[where] = by
    return values

"""Q-PAMDP: Sarsa(λ) over the discrete actions, and a natural gradient for their parameters, in turns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from pamdp_agents.base.learning_agent import LearningAgent
from pamdp_agents.base.linear_policy import LinearPolicy
from pamdp_agents.base.policy import where_allowed
from pamdp_agents.base.sarsa_settings import SarsaSettings
from pamdp_agents.base.settings import Kind, flag, integer, mapping, optional, schedule, setting
from pamdp_agents.checks import check_bool, check_integer, check_range, warn_user
from pamdp_agents.environments.canonical import STOPPED, Step
from pamdp_agents.experience.episode_scores import EpisodeScores
from pamdp_agents.experience.sarsa_steps import Choice, Float32, SarsaSteps, Taken, check_array
from pamdp_agents.experience.transition import Decision
from pamdp_agents.files.archive import Archive, SavedFileError
from pamdp_agents.learning.natural_gradient import episodic_natural_gradient
from pamdp_agents.learning.parameters import Parameters, merge
from pamdp_agents.learning.sarsa import SarsaLambda
from pamdp_agents.logger import Logger
from pamdp_agents.networks.fourier_basis import FourierBasis
from pamdp_agents.networks.linear_features import count_features, find_indices, make_basis, make_policy
from pamdp_agents.networks.linear_gaussian import LinearGaussian
from pamdp_agents.schedules import Schedule
from pamdp_agents.spaces import ObservationTransform, nested
from pamdp_agents.training.trainee import Round


def _read_std(name: str, value: Any) -> float | list[float]:
    if isinstance(value, list | tuple):
        return [check_range(f"each of {name}", each, above=0) for each in value]
    return check_range(name, value, above=0)


class QPAMDP(LearningAgent, SarsaSettings):  # type: ignore[misc]  # policy, which is a property
    """Q-PAMDP: Sarsa(λ) over the discrete actions and natural gradients of their parameters, in turns.

    Values are linear in a Fourier basis, Q(s, k) = w_k·φ(s); parameters are linear-Gaussian, x_k ~ N(W_k [1, s], σ²).

    * Action learning: for some episodes, Sarsa(λ) learns w while k is drawn from softmax(Q/T) and the parameters from
      their policies, which stay as they are. T falls from episode to episode.
    * Parameter learning: some updates, each by the natural gradient of the return, which is fitted by least squares to
      whole episodes (eNAC); k is that of the highest value, and w stays as it is.
    * Then action learning again, from T's first value on, and so forth.

    With `parameter_updates=1` this is Q-PAMDP(1), with many of them Q-PAMDP(∞). It learns in NumPy, with one
    environment.

    Raises:
        ValueError: An argument is out of its range, the action space is unbounded, or an observation that the Fourier
            basis uses is.
        TypeError: The action space is not a parameterised one.

    References:
        Masson, Ranchod & Konidaris 2016, "Reinforcement Learning with Parameterized Actions" (arXiv 1509.01644).
    """

    initial_action_episodes: int = setting(
        default=1000, text="Episodes of action learning at first.", kind=integer(0), change="acts"
    )
    action_episodes: int = setting(
        default=500, text="Episodes of action learning after parameter learning.", kind=integer(1), change="acts"
    )
    parameter_updates: int = setting(
        default=50,
        text="Updates of parameter learning, before action learning goes on; 0: parameters stay as they are.",
        kind=integer(0),
        change="acts",
    )
    n_rollouts: int = setting(
        default=50, text="Episodes of each update of parameter learning.", kind=integer(1), change="acts"
    )
    parameter_learning_rate: float | Schedule = setting(
        default=0.1,
        text="Step size of parameter learning, a number or a schedule; the weights are those of scaled parameters.",
        kind=schedule(),
        change="input",
    )
    normalize_gradient: bool = setting(
        default=True, text="Scale each natural gradient to a norm of 1.", kind=flag(), change="acts"
    )
    parameter_std: float | list[float] = setting(
        default=0.1,
        text="Standard deviation σ of scaled parameters: a number, or one for each of the P parameters.",
        kind=Kind(_read_std),
    )
    initial_parameters: dict[str, Any] | None = setting(
        default=None,
        text="""First linear map from the scaled observation to the parameters' means: `{"bias": [P], "weight": [P,
        D]}`; None: 0, the middle of their ranges.""",
        kind=optional(mapping()),
    )

    heeds_masks = True
    rate_names: ClassVar[tuple[str, ...]] = ("learning_rate", "parameter_learning_rate")
    metric_names: ClassVar[tuple[str, ...]] = (
        "mean_td_error",
        "step_size",
        "temperature",
        "cycle",
        "learns_parameters",
        "rollout_return",
        "gradient_norm",
    )

    def begin(self) -> None:
        """Readies what a constructor readies besides settings."""
        self.acting: LinearPolicy
        self.basis: FourierBasis
        self.sarsa: SarsaLambda
        self.actor: LinearGaussian
        self.rollouts: EpisodeScores
        self._begin_training()
        self._td_errors = (0.0, 0)  # sum of their sizes, and their number, since they were last logged
        self._of_gradient: dict[str, float] = {}  # metrics of the last natural gradient
        super().begin()
        if self._tf_device not in (None, "/CPU:0"):
            warn_user(f"device={self.device!r}: QPAMDP learns and acts in NumPy, on the CPU")

    def _begin_training(self) -> None:
        self.cycle, self.learns_parameters, self._done = 0, False, 0  # episodes or updates made of the phase
        self._steps = SarsaSteps()

    def build(self) -> None:
        """Makes the values, the parameters' policies, and what episodes are gathered in."""
        if self.policy == "MultiInputPolicy" and nested.parts(self.observation_space) is None:
            raise ValueError(
                f'MultiInputPolicy needs a Dict or Tuple of observations, got {self.observation_space}; use "MlpPolicy"'
            )
        given, space, size = self.policy_kwargs or {}, self.parameterized_space, self.observation_transform.size
        self.basis = make_basis(given, self.observation_transform, space.n)
        self.sarsa = SarsaLambda(space.n, self.basis.step_scales)
        self.actor = make_policy(given, size, space.mask, self.parameter_std, self.initial_parameters)
        self.acting = LinearPolicy(self.basis, self.sarsa, self.actor)
        self._baseline = find_indices("baseline_observations", given.get("baseline_observations", []), size)
        self.rollouts = EpisodeScores((space.parameter_size, 1 + size), 1 + 2 * len(self._baseline))

    def _check_n_envs(self, n_envs: int) -> None:
        if n_envs != 1:
            raise ValueError(
                f"env has {n_envs} environments, but QPAMDP needs one: Sarsa(λ) follows one episode from step to step"
            )

    def _check_vec_normalize(self, vec_normalize: Any | None) -> None:
        if vec_normalize is not None:
            raise ValueError(
                "env must not be in a VecNormalize: QPAMDP's Fourier basis scales observations by their bounds, and "
                "its returns are the environment's own"
            )

    # What is decided.

    @property
    def softmax_temperature(self) -> float:
        """T at this moment; 0 while parameters are learned."""
        return 0.0 if self.learns_parameters else self.temperature * self.temperature_decay**self._done

    def _choose(self, values: Float32, masks: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
        """Draws allowed actions from softmax(Q/T), int [] or [n], for values and masks [K] or [n, K].

        They are those of the largest value with Gumbel's noise.
        """
        noisy = values + self.softmax_temperature * rng.gumbel(size=values.shape)
        return np.argmax(where_allowed(noisy, masks, -np.inf), axis=-1)

    def explore_apart(self, observations: np.ndarray, masks: np.ndarray | None) -> Decision:
        """Returns exploring decisions for scaled observations, float32 [n, D], without any effect on training."""
        k = self._choose(self.acting.values(observations), masks, self._predict_rng)
        x = self.actor.sample(self.actor.mean(observations), self._predict_rng)
        return Decision(k, np.clip(x, -1.0, 1.0), {})

    def _choose_one(self, observation: Float32, masks: np.ndarray | None) -> Choice:
        features, mask = self.basis(observation), None if masks is None else masks[0]
        return Choice(features, int(self._choose(self.sarsa.values(features), mask, self._explore_rng)))

    # What training asks of an agent, see `Trainee`.

    @property
    def round(self) -> Round:
        """How much is collected between two rounds of updates: one step."""
        return Round(1, "step")

    def start_training(self) -> None:
        """Begins with the first phase, if steps are counted from 0."""
        self.take_masks()
        if self.progress.num_timesteps == 0:
            self._begin_training()
            self.rollouts.clear()

    def decide(self) -> Decision:
        """Returns what is done next."""
        environments = self.environments
        assert environments.observations is not None
        observation = environments.observations[0]
        if environments.episode_lengths[0] == 0:
            self._begin_episode(observation)
        chosen, self._steps.next = self._steps.next, None
        if chosen is None:
            chosen = self._choose_one(observation, environments.action_masks)
        mean = self.actor.mean(observation)
        x = self.actor.sample(mean, self._explore_rng)
        self._decided = chosen, observation, mean, x
        return Decision(np.array([chosen.k]), np.minimum(np.maximum(x, -1.0), 1.0)[None], {})

    def _begin_episode(self, observation: Float32) -> None:
        while self._done >= self._phase_length():
            self.cycle += self.learns_parameters
            self.learns_parameters, self._done = not self.learns_parameters, 0
            self.rollouts.clear()
        first = observation[self._baseline].astype(np.float64)
        self.rollouts.begin_episode(np.concatenate([np.ones(1), first, first**2]))
        self.sarsa.begin_episode()
        self._steps.next = None

    def _phase_length(self) -> float:
        """Returns how many episodes the phase has, or updates of the parameters if these are learned."""
        updates = self.parameter_updates if self.actor.n_trained else 0
        if self.learns_parameters or not updates:
            return updates if self.learns_parameters else math.inf
        return self.action_episodes if self.cycle else self.initial_action_episodes

    def observe(self, decision: Decision, step: Step) -> int:
        """Keeps what followed a decision, for Sarsa(λ) or the natural gradient."""
        if not step.played[0]:
            return 0
        chosen, observation, mean, x = self._decided
        reward, ended = float(step.rewards[0]), bool(step.ended[0])
        if self.learns_parameters:
            self.rollouts.add(self.actor.score(observation, mean, x, self.parameterized_space.mask[chosen.k]), reward)
            if ended:
                self.rollouts.end_episode()
            return 1
        discount, following = self._discount(step.infos[0]), None
        if step.terminated[0]:
            discount = 0.0
        else:
            following = self._choose_one(step.after[0], step.next_masks)
        self._steps.taken, self._steps.next = Taken(chosen, reward, discount, following, ended), following
        return 1

    def _discount(self, info: Mapping[str, Any]) -> float:
        if not self.discount_substeps:
            return self.gamma
        substeps = info.get("substeps")
        if not isinstance(substeps, int | float | np.integer | np.floating) or not 0 < substeps < math.inf:
            raise ValueError(
                "discount_substeps=True needs an environment that says how many substeps each step took, a number "
                f'above 0 in info["substeps"], which is {substeps!r}{STOPPED}'
            )
        return self.gamma ** float(substeps)

    def count_updates_due(self, steps: int) -> int | None:
        """Returns that an update is due after each step of action learning, and after all episodes of a gradient."""
        return 1 if self._steps.taken is not None or len(self.rollouts) >= self.n_rollouts else None

    def count_updates_in_a_round(self) -> int | None:
        """Returns that no updates are compiled."""
        return 0

    def train(self, updates: int) -> None:
        """Learns from the step before, or from the episodes gathered.

        Raises:
            DivergedError: That gave numbers that are not finite. The agent is as it was before.
        """
        if not updates:
            return
        with np.errstate(all="ignore"):  # np.seterr shall find mistakes; numbers that fade to 0 are none
            if self._steps.taken is not None:
                self._learn_action(self._steps.taken)
            else:
                self._learn_parameters()
        self.progress.count_updates(1)
        self.tell_logger()

    def _learn_action(self, taken: Taken) -> None:
        td_error = self.sarsa.update(
            *taken.choice,
            taken.reward,
            taken.discount,
            taken.following,
            self.lr_schedule(self.progress.remaining),
            self.sarsa_lambda,
            self.adaptive_step_size,
        )
        self._steps.taken = None
        self._td_errors = self._td_errors[0] + abs(td_error), self._td_errors[1] + 1
        self._done += taken.ended

    def _learn_parameters(self) -> None:
        scores, baselines, returns = self.rollouts.stacked()
        gradient = episodic_natural_gradient(self.actor.trained_part(scores), baselines, returns)
        norm = float(np.linalg.norm(gradient))
        rate = self.current_inputs()["parameter_learning_rate"]
        kernel, bias = self.actor.moved(rate * (gradient / norm if self.normalize_gradient and norm else gradient))
        self.write_parameters({"actor": {"kernel": kernel, "bias": bias}}, exact_match=False)
        self.rollouts.clear()
        self._of_gradient = {"rollout_return": float(returns.mean()), "gradient_norm": norm}
        self._done += 1

    # What is logged.

    def record_own(self, logger: Logger) -> None:
        """Records the state of both kinds of learning, and begins new means."""
        self.record_news(logger)
        self._td_errors = (0.0, 0)

    def record_news(self, logger: Logger) -> None:
        """Records the state of both kinds of learning."""
        total, n = self._td_errors
        inputs = self.current_inputs()
        bound = self.sarsa.largest_step if self.adaptive_step_size else math.inf
        metrics = {
            "step_size": min(inputs["learning_rate"], bound),
            "temperature": self.softmax_temperature,
            "cycle": self.cycle,
            "learns_parameters": int(self.learns_parameters),
        }
        metrics |= self._of_gradient | inputs | ({"mean_td_error": total / n} if n else {})
        for name, value in metrics.items():
            logger.record(f"train/{name}", float(value))
        logger.record("train/n_updates", self.progress.n_updates, exclude="tensorboard")

    # What is saved.

    def read_parameters(self) -> Parameters:
        """Returns what `get_parameters` does."""
        kernel, bias = self.actor.kernel.copy(), self.actor.bias.copy()
        return {"q": {"kernel": self.sarsa.weights.T.copy()}, "actor": {"kernel": kernel, "bias": bias}}

    def write_parameters(self, given: Mapping[str, Mapping[str, np.ndarray]], exact_match: bool) -> None:
        """Replaces what `get_parameters` returns; see `set_parameters`."""
        merged = merge(self.read_parameters(), given, exact_match)
        self.sarsa.weights = np.ascontiguousarray(merged["q"]["kernel"].T)
        self.actor.kernel, self.actor.bias = merged["actor"]["kernel"], merged["actor"]["bias"]
        self._steps.next = None  # by the weights of before

    def flat_weights(self) -> dict[str, np.ndarray]:
        """Returns the weights of the values and of the parameters, float32 [size]."""
        return {
            name: np.concatenate([each.ravel() for each in weights.values()])
            for name, weights in self.read_parameters().items()
        }

    def progress_state(self) -> dict[str, Any]:
        """Returns what besides weights is needed to continue training, as JSON can hold it."""
        largest = self.sarsa.largest_step
        return super().progress_state() | {
            "cycle": self.cycle,
            "learns_parameters": self.learns_parameters,
            "phase_done": self._done,
            "largest_step": largest if math.isfinite(largest) else None,
        }

    def restore_progress(self, state: dict[str, Any]) -> None:
        """Takes back what `progress_state` returned.

        Raises:
            KeyError, TypeError, ValueError: Something in it is missing or wrong.
        """
        super().restore_progress(state)
        self.cycle = check_integer("cycle", state["cycle"], 0)
        self.learns_parameters = check_bool("learns_parameters", state["learns_parameters"])
        self._done = check_integer("phase_done", state["phase_done"], 0)
        largest = state["largest_step"]
        self.sarsa.largest_step = math.inf if largest is None else check_range("largest_step", largest, above=0)

    def check_file_sizes(self, archive: Archive, observation_space: gym.Space) -> None:
        """Compares the number of features that the agent will have with the weights in its file.

        Raises:
            SavedFileError: It is larger.
        """
        size = ObservationTransform(observation_space).size
        weights = sum(array.size for array in archive.arrays.values())
        if count_features(self.policy_kwargs or {}, size) > weights:
            raise SavedFileError(f"it asks for more than {weights} features, but holds {weights} weights")

    def collected_state(self) -> dict[str, np.ndarray]:
        """Returns the traces, the episodes gathered and the step that is not yet learned from, as arrays."""
        return {"traces": self.sarsa.traces} | self.rollouts.state() | self._steps.state()

    def restore_collected(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Takes back what `collected_state` returned, from all arrays in a file.

        Raises:
            KeyError, ValueError: Something is missing or wrong.
        """
        self.sarsa.traces = check_array(arrays, "traces", np.float32, self.sarsa.traces.shape).copy()
        self.rollouts.restore(arrays)
        self._steps.restore(arrays, self.basis.size, self.parameterized_space.n)

"""The distribution of hybrid actions, of categorical variables and Gaussian numbers: NumPy draws, TensorFlow learns.

A network gives all of it as one row: the logits of all variables, the means, the logarithms of the standard deviations,
and beside it the observation's value.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from pamdp_agents.learning.flat import FlatLayout

FORBIDDEN = -1e8
"""Logit of an option that is not allowed: its probability is 0."""

HALF_LOG_TAU = 0.5 * math.log(2.0 * math.pi)


class _Block(NamedTuple):
    """Categorical variables in a row that have as many options: so many variables, options of each."""

    variables: int
    options: int


@dataclass(frozen=True)
class Head:
    """A part of the action whose probability is looked at for itself.

    Attributes:
        name: What it is called in logs.
        variables: Its categorical variables; none of a head of numbers.
        numbers: Its Gaussian numbers; none of a discrete head.
    """

    name: str
    variables: slice
    numbers: slice

    @property
    def is_discrete(self) -> bool:
        """Whether it consists of categorical variables."""
        return self.variables.stop > self.variables.start


class HybridDistribution:
    """π(k, x | s) of categorical variables k and Gaussian numbers x with a diagonal covariance.

    Of a parameterised action there is one variable, and log π = log π(k|s) + log π(x_k|s, k), with the parameters of
    the taken k alone. Elsewhere all parts are independent, and log π is the sum over them.

    Args:
        options: How many options each of the C variables has.
        n_numbers: P.
        heads: The parts whose probabilities are told apart.
        mask: bool [K, P], which numbers are parameters of which option of the one variable; None: all are independent.

    Attributes:
        options: As given.
        heads: As given.
        row: How a network's output is laid out: `logits`, `mean`, `log_std` and `value`.
    """

    def __init__(
        self,
        options: Sequence[int],
        n_numbers: int,
        heads: Sequence[Head],
        mask: ArrayLike | None = None,
    ):
        self.options, self.heads = tuple(options), tuple(heads)
        self._blocks = [_Block(len(list(same)), size) for size, same in itertools.groupby(options)]
        self._mask = None if mask is None else np.asarray(mask, np.float32)
        self.row = FlatLayout({"logits": (sum(options),), "mean": (n_numbers,), "log_std": (n_numbers,), "value": ()})

    def forbid(self, output: Any, masks: Any) -> Any:
        """Returns a network's output with a probability of 0 for some options: an array of an array, else a tensor.

        Args:
            output: The output, float32 [n, row.size].
            masks: Which options are allowed, bool [n, Σ options].
        """
        place = self.row.places["logits"]
        if isinstance(output, np.ndarray):
            output = output.copy()
            output[:, place][~masks] = FORBIDDEN
            return output
        logits = tf.where(masks, output[:, place], tf.constant(FORBIDDEN))
        # They are the first. Nothing stands before them, for TFLite joins tensors of no columns wrongly.
        return tf.concat([logits, output[:, place.stop :]], 1)

    def allowed(self, output: tf.Tensor) -> tf.Tensor:
        """Returns which options had been allowed in an output, bool [n, Σ options]."""
        return output[:, self.row.places["logits"]] > FORBIDDEN / 2

    def best(self, output: Any) -> tuple[Any, Any]:
        """Returns the most probable k, int [n, C], and the mean x [n, P]: arrays of an array, tensors of a tensor."""
        logits = self._logits(output)
        if isinstance(output, np.ndarray):
            none = np.zeros((len(output), 0), np.int64)
            return np.concatenate([none, *(block.argmax(-1) for block in logits)], 1), output[
                :, self.row.places["mean"]
            ]
        best = [tf.argmax(block, -1, tf.int32) for block in logits]
        return tf.concat(best, 1) if best else tf.cast(output[:, :0], tf.int32), self._part(output, "mean")

    def sample(self, output: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draws k, int [n, C], and x, float32 [n, P], for a network's output, float32 [n, row.size]."""
        places = self.row.places
        mean, log_std = output[:, places["mean"]], output[:, places["log_std"]]
        x = mean + np.exp(log_std) * rng.standard_normal(mean.shape, np.float32)
        if not self._blocks:
            return np.zeros((len(output), 0), np.int64), x
        # The largest of logits with Gumbel's noise is distributed as the softmax says.
        noisy = output[:, places["logits"]] + rng.gumbel(size=(len(output), places["logits"].stop))
        chosen = [block.argmax(-1) for block in self._split(noisy)]
        return chosen[0] if len(chosen) == 1 else np.concatenate(chosen, 1), x

    def log_probs(self, output: tf.Tensor, k: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
        """Returns the logarithm of each head's probability (density) of k [n, C] and x [n, P], float32 [n, heads].

        Args:
            output: A network's output, float32 [n, row.size].
            k: Choices, int32 [n, C].
            x: Numbers, float32 [n, P]; of a parameterised action, those of the taken option count.
        """
        of_variables, start = [], 0
        for block, logits in zip(self._blocks, self._logits(output), strict=True):
            taken = tf.one_hot(k[:, start : start + block.variables], block.options)
            of_variables.append(tf.reduce_sum(tf.nn.log_softmax(logits) * taken, -1))
            start += block.variables
        mean, log_std = self._part(output, "mean"), self._part(output, "log_std")
        of_numbers = -0.5 * tf.square((x - mean) * tf.exp(-log_std)) - log_std - HALF_LOG_TAU
        if self._mask is not None:
            of_numbers *= tf.one_hot(k[:, 0], len(self._mask)) @ tf.constant(self._mask)
        return self._of_heads(of_variables, of_numbers)

    def entropies(self, output: tf.Tensor) -> tf.Tensor:
        """Returns each head's entropy, float32 [n, heads].

        That of a parameterised action's parameters is Σ_k π(k|s)·H(x_k|s, k), which with that of k makes the whole.
        """
        log_p = [tf.nn.log_softmax(logits) for logits in self._logits(output)]
        of_variables = [-tf.reduce_sum(tf.exp(each) * each, -1) for each in log_p]
        of_numbers = self._part(output, "log_std") + (0.5 + HALF_LOG_TAU)
        if self._mask is not None:
            of_numbers *= tf.exp(log_p[0][:, 0]) @ tf.constant(self._mask)
        return self._of_heads(of_variables, of_numbers)

    def value(self, output: Any) -> Any:
        """Returns the observation's value [n]."""
        return output[:, self.row.places["value"].start]

    def _part(self, output: tf.Tensor, name: str) -> tf.Tensor:
        return output[:, self.row.places[name]]

    def _logits(self, output: Any) -> list[Any]:
        return self._split(output[:, self.row.places["logits"]])

    def _split(self, logits: Any) -> list[Any]:
        """Returns the logits of each block, [n, count, options]."""
        parts, start = [], 0
        reshape = np.reshape if isinstance(logits, np.ndarray) else tf.reshape
        for count, options in self._blocks:
            stop = start + count * options
            parts.append(reshape(logits[:, start:stop], (-1, count, options)))
            start = stop
        return parts

    def _of_heads(self, of_variables: list[tf.Tensor], of_numbers: tf.Tensor) -> tf.Tensor:
        """Returns sums over the variables and numbers of each head, [n, heads]."""
        joined = tf.concat(of_variables, 1) if of_variables else of_numbers[:, :0]
        sums = [
            tf.reduce_sum(joined[:, head.variables] if head.is_discrete else of_numbers[:, head.numbers], 1)
            for head in self.heads
        ]
        return tf.stack(sums, 1)

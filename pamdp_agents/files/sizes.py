"""How large what a saved agent's file describes can be: no larger than the weights that are in it.

A few bytes can describe networks and spaces of any size. So sizes are compared before anything is made of them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import gymnasium as gym

from pamdp_agents.files.archive import Archive, SavedFileError
from pamdp_agents.networks import features
from pamdp_agents.networks.measured import count_classes, measure
from pamdp_agents.spaces import ObservationTransform, nested
from pamdp_agents.spaces.observations import is_image_space

LARGEST_IMAGE = 2**20  # numbers: a features extractor may need fewer weights than an image has pixels
LARGEST_VECTOR = 1000  # numbers, of other observations and of actions, each of which has weights of its own
MOST_COMPUTED = 2**24  # numbers, to make and try a features extractor: as LARGEST_IMAGE
COMPUTED_PER_WEIGHT = 16  # likewise, for its first weights
MOST_PARTS = 2000  # of a space, that need no weights
MOST_LAYERS = 16  # likewise
MOST_CLASSES = 48  # in a features extractor's configuration, likewise: a layer names about two
COPIES = 4  # of each network's weights: its target's, and Adam's two moments


def check_space_sizes(archive: Archive, policy: str, policy_kwargs: Mapping[str, Any]) -> None:
    """Compares the sizes of the spaces in a file with the weights in it.

    Args:
        archive: The file.
        policy: Name of the policy, from the file or from the caller.
        policy_kwargs: Arguments of the networks, likewise.

    Raises:
        SavedFileError: They ask for more.
        Exception: Of any kind, where what is described is no space.
    """
    weights = _count_weights(archive)
    has_extractor = features.POLICIES[policy] is not None or policy_kwargs.get("features_extractor") is not None
    largest_observation = LARGEST_IMAGE if has_extractor else LARGEST_VECTOR
    for kind, largest in (("observation", largest_observation), ("action", LARGEST_VECTOR)):
        size, parts = _space_size(archive.data[f"{kind}_space"])
        # Each number of an action has an output of its own, with a bias at least.
        least = size * COPIES if kind == "action" else size
        if size > largest and least > weights:
            raise _too_large(f"an {kind} space of {size} numbers", weights)
        if parts > max(MOST_PARTS, weights // (2 * COPIES)):
            raise _too_large(f"an {kind} space of {parts} parts", weights)


def check_network_sizes(
    archive: Archive,
    policy: str,
    policy_kwargs: Mapping[str, Any],
    observation_space: gym.Space,
    numbers: Mapping[str, int],
) -> None:
    """Compares the sizes of the networks that an agent's settings ask for with the weights in its file.

    Args:
        archive: The file, whose spaces have been checked.
        policy: Name of the policy, from the file or from the caller.
        policy_kwargs: Arguments of the networks, likewise; they have been checked, but for their sizes.
        observation_space: The observation space.
        numbers: How many actors (`"pi"`) and critics (`"qf"`) there are.

    Raises:
        SavedFileError: They ask for more.
        ValueError: There is no such features extractor.
    """
    weights, arrays = _count_weights(archive), len(archive.arrays)
    extractor = policy_kwargs.get("features_extractor")
    # Of a layer with weights, each makes two arrays at least: four copies of a kernel and a bias, say.
    if isinstance(extractor, Mapping) and count_classes(extractor) > arrays // 2 + MOST_CLASSES:
        raise _too_large(f"a features extractor of {count_classes(extractor)} parts", weights)
    given = policy_kwargs.get("net_arch") or []
    archs = given if isinstance(given, Mapping) else dict.fromkeys(numbers, given)
    if sum(numbers.values()) > arrays:  # of a network without weights there is a count of updates
        raise _too_large(f"{sum(numbers.values())} networks", weights)
    for arch in archs.values():
        if len(arch) > arrays + MOST_LAYERS:
            raise _too_large(f"{len(arch)} layers", weights)
    arguments = policy_kwargs.get("features_extractor_kwargs"), policy_kwargs.get("normalize_images", True)
    if extractor is None and features.POLICIES[policy] is not None:
        images = [leaf for _, leaf in nested.leaves(observation_space) if is_image_space(leaf, not arguments[1])]
        if len(images) > arrays:
            raise _too_large(f"features of {len(images)} images", weights)
    observations = ObservationTransform(observation_space)
    measured = measure(lambda: features.make(extractor, policy, observations, *arguments)())
    n_features = observations.size
    if measured is not None:
        if measured.weights * max(numbers.values()) > weights:
            raise _too_large(f"features extractors of {measured.weights} weights", weights)
        if measured.numbers > max(COMPUTED_PER_WEIGHT * weights, MOST_COMPUTED):
            raise _too_large(f"a features extractor that computes {measured.numbers} numbers", weights)
        n_features = measured.features
    for kind, arch in archs.items():
        size = sum(arch) + sum(before * after for before, after in itertools.pairwise([n_features, *arch]))
        if size * numbers[kind] > weights:
            raise _too_large(f"{numbers[kind]} times layers of {size} weights", weights)


def _too_large(what: str, weights: int) -> SavedFileError:
    return SavedFileError(f"it asks for {what}, but holds {weights} weights")


def _count_weights(archive: Archive) -> int:
    return sum(array.size for array in archive.arrays.values())


def _space_size(data: Any) -> tuple[int, int]:
    """Returns how many numbers an element of a space has when it is flat, and its parts, given the space as JSON."""
    kind = data["type"]
    if kind == "Box":
        return math.prod(map(_natural, data["shape"])), 1
    if kind == "Discrete":
        return _natural(data["n"]), 1
    if kind == "MultiDiscrete":
        return sum(_naturals(data["nvec"])), 1
    if kind == "MultiBinary":
        return math.prod(_naturals(data["n"])), 1
    parts = [part for _, part in data["spaces"]] if kind == "Dict" else data["spaces"]
    sizes = [_space_size(part) for part in parts]
    return sum(size for size, _ in sizes), 1 + sum(count for _, count in sizes)


def _natural(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"a space's size must be an integer of at least 0, got {value!r}")
    return value


def _naturals(value: Any) -> Iterator[int]:
    if not isinstance(value, list):
        yield _natural(value)
        return
    for each in value:
        yield from _naturals(each)

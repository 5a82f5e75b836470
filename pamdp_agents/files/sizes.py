"""How large what a saved agent's file describes can be: no larger than the weights that are in it.

A few bytes can describe networks and spaces of any size. So sizes are compared before anything is made of them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

from pamdp_agents.files.archive import Archive, SavedFileError

LARGEST_OBSERVATION = 2**22  # numbers: a features extractor may need fewer weights than an image has pixels
LARGEST_ACTION = 1000
MOST_LAYERS = 16  # that need no weights

_WIDTHS = ("units", "filters", "output_dim", "input_dim", "num_heads", "key_dim")  # in Keras's configurations


def check_sizes(archive: Archive, settings: Mapping[str, Any]) -> None:
    """Compares sizes that a file and the settings ask for with the weights in it.

    Args:
        archive: The file.
        settings: The settings, from the file or from the caller.

    Raises:
        SavedFileError: They ask for more.
        Exception: Of any kind, where what is described is no space.
    """
    weights = sum(array.size for array in archive.arrays.values())
    observation, action = (_space_size(archive.data[f"{kind}_space"]) for kind in ("observation", "action"))
    policy_kwargs = settings.get("policy_kwargs")
    given = policy_kwargs if isinstance(policy_kwargs, Mapping) else {}
    checks = (
        ("an observation space of {} numbers", observation, max(weights, LARGEST_OBSERVATION)),
        ("an action space of {} numbers", action, max(weights, LARGEST_ACTION)),
        ("layers of {} weights", max(map(_layers_size, _archs(given)), default=0), weights),
        ("{} networks", max(_numbers_of_networks(settings, given), default=0), len(archive.arrays)),
        ("{} layers", max(map(len, _archs(given)), default=0), len(archive.arrays) + MOST_LAYERS),
        ("a layer of {} units", max(_widths(given.get("features_extractor")), default=0), weights),
    )
    for what, size, most in checks:
        if size > most:
            raise SavedFileError(f"it asks for {what.format(size)}, but holds {weights} weights")


def _space_size(data: Any) -> int:
    """Returns how many numbers an element of a space has when it is flat, given the space as JSON."""
    kind = data["type"]
    if kind == "Box":
        return math.prod(map(_natural, data["shape"]))
    if kind == "Discrete":
        return _natural(data["n"])
    if kind == "MultiDiscrete":
        return sum(_naturals(data["nvec"]))
    if kind == "MultiBinary":
        return math.prod(_naturals(data["n"]))
    parts = [part for _, part in data["spaces"]] if kind == "Dict" else data["spaces"]
    return sum(_space_size(part) for part in parts)


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


def _archs(policy_kwargs: Mapping[str, Any]) -> list[list[int]]:
    """Returns the layers' sizes of each network, as far as they are numbers."""
    given = policy_kwargs.get("net_arch") or []
    each = list(given.values()) if isinstance(given, Mapping) else [given]
    return [[size for size in arch if isinstance(size, int)] for arch in each if isinstance(arch, list | tuple)]


def _numbers_of_networks(*mappings: Mapping[str, Any]) -> Iterator[int]:
    """Returns how many critics and actors are asked for, wherever that stands."""
    for given in mappings:
        yield from (given[name] for name in ("n_critics", "n_policies") if isinstance(given.get(name), int))


def _layers_size(arch: list[int]) -> int:
    return sum(arch) + sum(before * after for before, after in itertools.pairwise(arch))


def _widths(config: Any) -> Iterator[int]:
    """Returns what a Keras configuration says of layers' sizes."""
    if isinstance(config, Mapping):
        yield from (config[name] for name in _WIDTHS if isinstance(config.get(name), int))
        config = list(config.values())
    if isinstance(config, list | tuple):
        for part in config:
            yield from _widths(part)

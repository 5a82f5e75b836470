"""Gymnasium's spaces as JSON."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from pamdp_agents.files.archive import SavedFileError
from pamdp_agents.spaces import SharedParameters


def space_to_json(space: spaces.Space) -> dict[str, Any]:
    """Returns a Gymnasium space as JSON can hold it.

    Raises:
        TypeError: It is of a kind that has no such form.
    """
    if isinstance(space, spaces.Box):
        return {
            "type": "Box",
            "shape": list(space.shape),
            "dtype": str(space.dtype),
            "low": _bounds_to_json(space.low),
            "high": _bounds_to_json(space.high),
        }
    if isinstance(space, spaces.Discrete):
        return {"type": "Discrete", "n": int(space.n), "start": int(space.start), "dtype": str(space.dtype)}
    if isinstance(space, spaces.MultiDiscrete):
        return {
            "type": "MultiDiscrete",
            "nvec": space.nvec.tolist(),
            "start": space.start.tolist(),
            "dtype": str(space.dtype),
        }
    if isinstance(space, spaces.MultiBinary):
        return {"type": "MultiBinary", "n": space.n if isinstance(space.n, int) else list(space.n)}
    if isinstance(space, spaces.Dict):
        if odd := [key for key in space.spaces if not _can_be_saved(key)]:
            raise TypeError(f"a Dict space's keys must be texts, numbers or tuples of these to be saved, got {odd}")
        return {"type": "Dict", "spaces": [[key, space_to_json(part)] for key, part in space.spaces.items()]}
    if isinstance(space, SharedParameters):
        parts = [space_to_json(part) for part in space.spaces]
        return {"type": "SharedParameters", "spaces": parts, "parameter_mask": space.parameter_mask.tolist()}
    if isinstance(space, spaces.Tuple | spaces.OneOf):
        return {"type": type(space).__name__, "spaces": [space_to_json(part) for part in space.spaces]}
    raise TypeError(f"{type(space).__name__} spaces cannot be saved: {space}")


def space_from_json(data: dict[str, Any]) -> spaces.Space:
    """Returns the space that `space_to_json` wrote.

    Raises:
        SavedFileError: It was not written by that function.
    """
    try:
        kind = data["type"]
        if kind == "Box":
            dtype, shape = np.dtype(data["dtype"]), tuple(data["shape"])
            low, high = (np.broadcast_to(np.asarray(data[side], dtype), shape) for side in ("low", "high"))
            return spaces.Box(low, high, shape, dtype.type)
        if kind == "Discrete":
            # Older Gymnasiums know no other dtype than int64, and no argument for it.
            dtype = {} if data["dtype"] == "int64" else {"dtype": np.dtype(data["dtype"]).type}
            return spaces.Discrete(data["n"], start=data["start"], **dtype)
        if kind == "MultiDiscrete":
            return spaces.MultiDiscrete(data["nvec"], np.dtype(data["dtype"]).type, start=data["start"])
        if kind == "MultiBinary":
            return spaces.MultiBinary(data["n"])
        if kind == "Dict":
            return spaces.Dict([(_as_key(key), space_from_json(part)) for key, part in data["spaces"]])
        if kind == "SharedParameters":
            discrete, box = (space_from_json(part) for part in data["spaces"])
            assert isinstance(discrete, spaces.Discrete) and isinstance(box, spaces.Box)
            return SharedParameters(discrete, box, data["parameter_mask"])
        if kind in ("Tuple", "OneOf"):
            return getattr(spaces, kind)([space_from_json(part) for part in data["spaces"]])
    except SavedFileError:
        raise
    except Exception as error:  # Gymnasium's spaces check themselves in many ways
        raise SavedFileError(f"the saved space {str(data)[:200]} is damaged: {error!r}") from error
    raise SavedFileError(f"the saved space is of an unknown kind {kind!r}")


def _can_be_saved(key: Any) -> bool:
    if isinstance(key, tuple):
        return all(map(_can_be_saved, key))
    return type(key) in (str, int, float, bool)


def _as_key(saved: Any) -> Any:
    """Returns a Dict's key as it was: JSON makes lists of tuples."""
    return tuple(map(_as_key, saved)) if isinstance(saved, list) else saved


def _bounds_to_json(bounds: np.ndarray) -> Any:
    """Returns one number if all bounds are equal (an image's are), else all of them."""
    return bounds.flat[0].item() if bounds.size and np.all(bounds == bounds.flat[0]) else bounds.tolist()

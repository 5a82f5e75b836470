"""Names of devices: TensorFlow's, and PyTorch's for the same."""

from __future__ import annotations

import tensorflow as tf

from pamdp_agents.checks import warn_user


def find_device(device: str) -> str | None:
    """Returns the TensorFlow device of a name, also of PyTorch's; None lets TensorFlow choose."""
    if device == "auto":
        return None
    kind, _, number = device.lower().partition(":")
    kinds = {"cuda": "GPU", "gpu": "GPU", "cpu": "CPU"}
    name = f"/{kinds[kind]}:{number or 0}" if kind in kinds else device
    known = [found.name.replace("physical_device:", "") for found in tf.config.list_physical_devices()]
    if name not in known and name.startswith("/GPU"):
        warn_user(f"device={device!r}: TensorFlow finds no such device here; using the CPU")
        return "/CPU:0"
    if name not in known:
        raise ValueError(f"device must be 'auto', 'cpu', 'gpu' or one of {known}, got {device!r}")
    return name

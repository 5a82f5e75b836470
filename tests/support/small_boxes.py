"""Boxes of action-parameters, and arrays for them."""

import numpy as np
from gymnasium.spaces import Box

RUN, HOP, LEAP = Box(0, 30, (1,)), Box(0, 720, (1,)), Box(-10, 10, (2,))


def f32(*values):
    return np.array(values, dtype=np.float32)


X = f32(1.0, 0.5, 0.0, -0.5)  # in the environment's units 30; 540; 0, -5

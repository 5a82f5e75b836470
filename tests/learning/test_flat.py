"""Named parts of a flat vector: in and out, arrays and tensors."""

import numpy as np
import tensorflow as tf

from pamdp_agents.learning.flat import FlatLayout

LAYOUT = FlatLayout({"number": (), "none": (0,), "vector": (2,), "matrix": (2, 3)})
PARTS = {
    "number": np.float32(1),
    "none": np.zeros(0, "f"),
    "vector": np.array([2, 3], "f"),
    "matrix": np.arange(4, 10, dtype="f").reshape(2, 3),
}


def test_parts_lie_one_after_the_other():
    assert LAYOUT.size == 9
    assert LAYOUT.places == {
        "number": slice(0, 1),
        "none": slice(1, 1),
        "vector": slice(1, 3),
        "matrix": slice(3, 9),
    }
    np.testing.assert_array_equal(LAYOUT.join(PARTS), np.arange(1, 10, dtype="f"))


def test_what_is_joined_is_split_into_the_same_parts():
    for flat in (
        LAYOUT.join(PARTS),
        tf.constant(LAYOUT.join(PARTS)),
        LAYOUT.join({name: tf.constant(part) for name, part in PARTS.items()}),
    ):
        found = LAYOUT.split(flat)
        assert list(found) == list(PARTS)
        for name, part in PARTS.items():
            assert found[name].shape == part.shape, name
            np.testing.assert_array_equal(found[name], part)


def test_the_parts_of_an_array_are_views_with_its_leading_axes():
    rows = np.zeros((5, LAYOUT.size), "f")
    parts = LAYOUT.split(rows)
    assert {name: part.shape for name, part in parts.items()} == {
        "number": (5,),
        "none": (5, 0),
        "vector": (5, 2),
        "matrix": (5, 2, 3),
    }
    for value, part in enumerate(parts.values(), 1):
        part[...] = value
    np.testing.assert_array_equal(rows, [[1, 3, 3, 4, 4, 4, 4, 4, 4]] * 5)


def test_a_layout_of_nothing_is_of_size_0():
    nothing = FlatLayout({"a": (0,), "b": (2, 0)})
    for flat in (nothing.join({"a": np.zeros(0), "b": np.zeros((2, 0))}), tf.zeros(0)):
        assert {name: tuple(part.shape) for name, part in nothing.split(flat).items()} == {"a": (0,), "b": (2, 0)}

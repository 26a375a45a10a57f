"""Pixel codes: every word, what of a value it carries, and what does not fit."""

from __future__ import annotations

import numpy as np
import pytest

from labtrain.errors import ConfigError, InputError
from labtrain.rigs.pixel_code import PixelCode, PixelCodeConfig


def code(n_pixels=12, pixel_bits=1, **settings):
    return PixelCode(PixelCodeConfig(**settings), n_pixels, pixel_bits)


def words(kind, bits, pixel_bits=1):
    """Words of all levels of one value, as text."""
    one = code(bits // pixel_bits, pixel_bits, kind=kind, bits=bits)
    levels = np.unique(one.quantise(np.linspace(0, 1, 5000)[:, None]))
    return ["".join(map(str, row)) for row in one.states(levels[:, None])]


def test_words_of_one_bit_pixels():
    assert words("binary", 1) == ["0", "1"]
    assert words("binary", 3) == ["000", "001", "010", "011", "100", "101", "110", "111"]
    assert words("gray", 3) == ["000", "001", "011", "010", "110", "111", "101", "100"]
    assert words("thermometer", 3) == ["000", "100", "110", "111"]
    assert words("published", 2) == ["00", "01", "10", "11"]
    assert words("base4", 4)[:6] == ["0000", "0001", "0011", "0010", "0100", "0101"] and len(words("base4", 4)) == 16


def test_words_of_two_bit_pixels():
    assert words("binary", 2, 2) == words("gray", 2, 2) == words("base4", 2, 2) == ["0", "1", "2", "3"]
    assert words("binary", 4, 2)[3:6] == ["03", "10", "11"] and len(words("binary", 4, 2)) == 16
    assert words("base4", 4, 2) == words("binary", 4, 2)
    assert words("thermometer", 4, 2) == ["00", "10", "20", "30", "31", "32", "33"]


@pytest.mark.parametrize(("bits", "pixel_bits"), [(5, 1), (6, 2), (6, 3)])
def test_neighbouring_gray_levels_differ_in_one_pixel_by_one_state(bits, pixel_bits):
    step = np.diff([[int(c) for c in word] for word in words("gray", bits, pixel_bits)], axis=0) % (1 << pixel_bits)
    assert (np.count_nonzero(step, axis=1) == 1).all() and len(step) == (1 << bits) - 1
    assert set(step.sum(axis=1).tolist()) <= {1, (1 << pixel_bits) - 1}


@pytest.mark.parametrize("kind", ["binary", "gray", "thermometer", "base4"])
def test_a_value_is_carried_by_the_nearest_level_and_carried_again_unchanged(kind):
    one, x = code(kind=kind, bits=4), np.random.default_rng(0).random((200, 3))
    carried = one.quantise(x)
    levels = 5 if kind == "thermometer" else 16
    assert np.abs(carried - x).max() <= 0.5 / (levels - 1)
    assert one.quantise(carried).tobytes() == carried.tobytes()
    assert one.states(carried).tobytes() == one.states(x).tobytes()
    assert one.quantise(np.array([[0.0, 1.0, 0.0]])).tolist() == [[0.0, 1.0, 0.0]]
    assert len(np.unique(one.states(carried[:, :1].repeat(3, 1)), axis=0)) == levels


def test_the_published_code_has_its_first_word_for_the_minimum_alone():
    one = code(8, kind="published")
    x = np.array([[0.0, 1e-9, 0.25, 0.75], [0.2500001, 0.7500001, 1.0, 0.5]])
    assert one.states(x).tolist() == [[0, 0, 0, 1, 0, 1, 1, 0], [1, 0, 1, 1, 1, 1, 1, 0]]
    carried = one.quantise(x)
    assert one.states(carried).tolist() == one.states(x).tolist()
    assert one.quantise(carried).tolist() == carried.tolist()


@pytest.mark.parametrize(
    ("kind", "bits", "pixel_bits"),
    [
        ("gray", 1, 1),
        ("gray", 4, 1),
        ("thermometer", 5, 1),
        ("binary", 3, 1),
        ("base4", 4, 1),
        ("published", 2, 1),
        ("gray", 4, 2),
        ("thermometer", 4, 2),
        ("binary", 4, 2),
        ("gray", 6, 3),
    ],
)
def test_steps_lead_to_the_words_of_neighbouring_levels(kind, bits, pixel_bits):
    one = code(15, pixel_bits, kind=kind, bits=bits, inputs=2, shuffle_seed=1)
    values = np.unique(one.quantise(np.linspace(0, 1, 5000)[:, None].repeat(2, 1)))
    last = len(values) - 1
    x = np.stack([values, values[::-1]], axis=1)
    steps = one.steps(x)
    assert (steps.pixels.shape[2] == 1) == (kind in ("gray", "thermometer"))
    assert sorted(steps.inputs.tolist()) == ([0, 1] if last == 1 else [0, 0, 1, 1])
    for row in range(len(x)):
        weight = {}  # of each pattern, in the derivative with respect to each input
        for step, column in enumerate(steps.inputs.tolist()):
            changed = one.states(x[row : row + 1])[0]
            for pixel, state in zip(steps.pixels[row, step], steps.states[row, step], strict=True):
                if pixel >= 0:
                    assert changed[pixel] != state
                    changed[pixel] = state
            weight[column, changed.tobytes()] = steps.weights[row, step]
        for column, level in ((0, row), (1, last - row)):
            ends = max(level - 1, 0), min(level + 1, last)
            for end, sign in zip(ends, (-1, 1), strict=True):
                moved = x[row : row + 1].copy()
                moved[0, column] = values[end]
                if end != level:
                    found = weight[column, one.states(moved)[0].tobytes()]
                    assert found == pytest.approx(sign / (values[ends[1]] - values[ends[0]]))


def test_steps_of_words_of_several_lengths():
    one = code(11, kind="binary", bits=(1, 3, 1, 4))
    steps = one.steps(np.array([[0.0, 3 / 7, 1.0, 7 / 15]]))
    assert steps.inputs.tolist() == [0, 2, 1, 1, 3, 3]
    assert [[p for p in step if p >= 0] for step in steps.pixels[0].tolist()] == [
        *([0], [4]),
        *([1, 2, 3], [3]),
        *([5, 6, 7, 8], [8]),
    ]
    assert steps.weights[0].tolist() == pytest.approx([1, -1, 3.5, -3.5, 7.5, -7.5])


def test_inputs_may_have_words_of_their_own():
    one = code(11, kind="binary", bits=(1, 3, 1, 4))
    assert one.n_in == 4 and one.spare.tolist() == [9, 10]
    assert one.states(np.array([[1.0, 5 / 7, 0.0, 9 / 15]])).tolist() == [[1, 1, 0, 1, 0, 1, 0, 0, 1, 0, 0]]
    assert one.quantise(np.array([[0.6, 0.7, 0.4, 0.61]])) == pytest.approx(np.array([[1.0, 5 / 7, 0.0, 9 / 15]]))


def test_as_many_values_as_fit_unless_asked_for_fewer():
    assert code(13, bits=3).n_in == 4 and code(13, bits=3).spare.tolist() == [12]
    assert code(13, bits=3, inputs=2).n_in == 2
    assert code(13, bits=2, pixel_bits=2).n_in == 13


def test_words_may_be_spread_over_the_surface():
    x = np.random.default_rng(0).random((50, 4))
    plain, spread = code(bits=3), code(bits=3, shuffle_seed=4)
    assert sorted(spread.states(x)[7].tolist()) == sorted(plain.states(x)[7].tolist())
    assert spread.states(x).tolist() != plain.states(x).tolist()
    assert spread.states(x).tobytes() == code(bits=3, shuffle_seed=4).states(x).tobytes()
    assert len(np.unique(spread.states(x), axis=0)) == len(np.unique(plain.states(x), axis=0))


def test_spare_pixels_are_held_and_can_be_set():
    x = np.zeros((2, 2))
    assert code(6, bits=2, inputs=2, held=1).states(x).tolist() == 2 * [[0, 0, 0, 0, 1, 1]]
    drawn = code(40, bits=2, inputs=2, held_seed=3)
    assert drawn.parameters.shape == (36,) and set(drawn.parameters.tolist()) == {0, 1}
    assert drawn.parameters.tolist() == code(40, bits=2, inputs=2, held_seed=3).parameters.tolist()
    one = code(6, bits=2, inputs=2)
    one.set_parameters([1, 0])
    assert one.states(x)[0].tolist() == [0, 0, 0, 0, 1, 0] and one.parameters.tolist() == [1, 0]
    one.parameters[:] = 0
    assert one.parameters.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("states", "sentence"),
    [
        ([1], "metasurface: asked 1 states for the pixels without a value, there are 2; give one for each"),
        ([0, 2], "metasurface: asked state 2 of pixel 5, allowed 0 to 1; give whole numbers"),
        ([0.5, 0], "metasurface: asked state 0.5 of pixel 4, allowed 0 to 1; give whole numbers"),
    ],
)
def test_states_that_spare_pixels_do_not_have_are_refused(states, sentence):
    with pytest.raises(InputError) as caught:
        code(6, bits=2, inputs=2).set_parameters(states)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"n_pixels": 40, "bits": 3, "inputs": 14},
            "rig.code.bits: 14 inputs ask for 42 pixels, the metasurface has 40; ask for fewer bits or fewer "
            "rig.code.inputs",
        ),
        (
            {"n_pixels": 4, "bits": (2, 3)},
            "rig.code.bits: 2 inputs ask for 5 pixels, the metasurface has 4; ask for fewer bits or fewer "
            "rig.code.inputs",
        ),
        (
            {"n_pixels": 4, "bits": 5},
            "rig.code.bits: a value of 5 bits takes 5 pixels, the metasurface has 4; ask for fewer bits",
        ),
        ({"bits": (2, 3), "inputs": 3}, "rig.code.inputs: asked 3, rig.code.bits lists 2; leave inputs out"),
        (
            {"bits": 3, "kind": "published"},
            "rig.code.bits: asked 3, the published code has 2 bits a value; set bits: 2",
        ),
        (
            {"bits": 3, "kind": "base4"},
            "rig.code.bits: asked 3 on pixels of 1 bits, base4 needs an even number on pixels of 1 or 2 bits; "
            "change it, or choose another kind",
        ),
        (
            {"bits": 3, "pixel_bits": 2},
            "rig.code.bits: asked 3, pixels of this metasurface have 2; ask for a multiple of 2",
        ),
        ({"held": 2}, "rig.code.held: asked state 2, pixels have 0 to 1"),
    ],
)
def test_what_does_not_fit_is_refused(settings, sentence):
    with pytest.raises(ConfigError) as caught:
        code(**settings)
    assert str(caught.value) == sentence


@pytest.mark.parametrize("bits", [0, 13, (), (1, 0)])
def test_impossible_bits_are_refused(bits):
    with pytest.raises(ValueError, match=r"bits a value, allowed 1 to 12|no input; give the bits"):
        PixelCodeConfig(bits=bits)

"""Drives to pixels: how many states of how many pixels carry one value, and what of the value they really carry.

A value in [0, 1] becomes one of a few levels, a level a word of pixel states. Pixels of b bits are digits of base
B = 2^b, most significant first:

``binary``       positional digits of the level
``gray``         modular Gray code, g_i = (d_i - d_(i-1)) mod B: neighbouring levels differ in one pixel, by one state
``base4``        digits of base 4, each a Gray word on two 1-bit pixels (00 01 11 10), or the state of one 2-bit pixel
``thermometer``  pixels fill up one after the other, so that every state more is a level more
``published``    2 bits with thresholds at 0, 1/4 and 3/4: the word 00 for the minimum alone, to be used behind
                 ``drive.map: row_minmax`` (A. Momeni et al., Science 382, 1297 (2023), as in the authors' program)

All but ``published`` round to the nearest of equidistant levels, of which the first is 0 and the last is 1.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, field_validator

from labtrain.config import Section
from labtrain.errors import ConfigError, InputError
from labtrain.rigs.pixel_steps import Steps, StepTable, joined

Array = NDArray[np.float64]
States = NDArray[np.int64]

LONGEST = 12  # bits of a word: the pixels' own precision ends long before

_PUBLISHED_THRESHOLDS = np.array([0.0, 0.25, 0.75])
_PUBLISHED_VALUES = np.array([0.0, 0.125, 0.5, 0.875])  # the middle of what each word stands for


class PixelCodeConfig(Section):
    """How values are written on pixels."""

    kind: Literal["gray", "binary", "base4", "thermometer", "published"] = Field("gray", description="form of a word")
    bits: int | tuple[int, ...] = Field(
        2, description="bits of the surface that a value takes; a list gives each input its own"
    )
    inputs: int | None = Field(None, ge=1, description="values written at once; as many as fit when left out")
    held: int = Field(0, ge=0, description="state of the pixels that carry no value")
    held_seed: int | None = Field(None, ge=0, description="draw the states of these pixels instead, with this seed")
    shuffle_seed: int | None = Field(None, ge=0, description="spread words over the surface, with this seed")

    @field_validator("bits")
    @classmethod
    def _possible(cls, bits: int | tuple[int, ...]) -> int | tuple[int, ...]:
        for number in bits if isinstance(bits, tuple) else (bits,):
            if not 1 <= number <= LONGEST:
                raise ValueError(f"{number} bits a value, allowed 1 to {LONGEST}")
        if bits == ():
            raise ValueError("no input; give the bits of at least one")
        return bits


class PixelCode:
    """Writes drives on the pixels of a surface.

    Parameters
    ----------
    config : PixelCodeConfig
    n_pixels, pixel_bits : int
        Pixels that exist, and bits of each.
    key : str
        Where the config stands, for remedies.

    Raises
    ------
    ConfigError
        If the words do not fit on the pixels, or the code on pixels of this kind.
    """

    def __init__(self, config: PixelCodeConfig, n_pixels: int, pixel_bits: int, key: str = "rig.code") -> None:
        self.config, self.n_pixels, self.pixel_bits, self._key = config, n_pixels, pixel_bits, key
        widths = self._widths()
        self.n_in = len(widths)
        order = np.arange(n_pixels)
        if config.shuffle_seed is not None:
            order = np.random.default_rng(config.shuffle_seed).permutation(n_pixels)
        places = np.split(order, np.cumsum(widths))
        self.spare: States = np.sort(places.pop())
        """Pixels that carry no value, (n_spare,)."""
        self._groups = []  # inputs with words of one length: their columns, pixels (inputs, length), words, values
        bits = self._bits()
        for length in sorted(set(bits)):
            columns = np.flatnonzero(np.array(bits) == length)
            words = self._words(length)
            self._groups.append((columns, np.array([places[i] for i in columns]), words, self._values(len(words))))
        if config.held >= 1 << pixel_bits:
            raise ConfigError(f"{key}.held: asked state {config.held}, pixels have 0 to {(1 << pixel_bits) - 1}")
        self.hold()

    def hold(self) -> None:
        """Hold the pixels that carry no value as the config says."""
        config = self.config
        self._held: States = np.full(len(self.spare), config.held, dtype=np.int64)
        if config.held_seed is not None:
            draw = np.random.default_rng([config.held_seed, 1])
            self._held = draw.integers(1 << self.pixel_bits, size=len(self.spare))

    def _bits(self) -> tuple[int, ...]:
        """Bits of each input."""
        bits, inputs = self.config.bits, self.config.inputs
        if isinstance(bits, tuple):
            if inputs is not None and inputs != len(bits):
                raise ConfigError(
                    f"{self._key}.inputs: asked {inputs}, {self._key}.bits lists {len(bits)}; leave inputs out"
                )
            return bits
        fit = self.n_pixels // self._length(bits)
        if inputs is None and fit == 0:
            raise ConfigError(
                f"{self._key}.bits: a value of {bits} bits takes {self._length(bits)} pixels, "
                f"the metasurface has {self.n_pixels}; ask for fewer bits"
            )
        return (bits,) * (fit if inputs is None else inputs)

    def _length(self, bits: int) -> int:
        """Pixels of a word."""
        kind, size = self.config.kind, self.pixel_bits
        if kind == "published" and bits != 2:
            raise ConfigError(f"{self._key}.bits: asked {bits}, the published code has 2 bits a value; set bits: 2")
        if kind == "base4" and (bits % 2 or size > 2):
            raise ConfigError(
                f"{self._key}.bits: asked {bits} on pixels of {size} bits, base4 needs an even number on pixels of 1 "
                "or 2 bits; change it, or choose another kind"
            )
        if bits % size:
            raise ConfigError(
                f"{self._key}.bits: asked {bits}, pixels of this metasurface have {size}; ask for a multiple of {size}"
            )
        return bits // size

    def _widths(self) -> list[int]:
        """Pixels of each input's word."""
        widths = [self._length(bits) for bits in self._bits()]
        if sum(widths) > self.n_pixels:
            raise ConfigError(
                f"{self._key}.bits: {len(widths)} inputs ask for {sum(widths)} pixels, the metasurface has "
                f"{self.n_pixels}; ask for fewer bits or fewer {self._key}.inputs"
            )
        return widths

    def _words(self, bits: int) -> States:
        """Pixel states of every level, (levels, length)."""
        length, base = bits // self.pixel_bits, 1 << self.pixel_bits
        if self.config.kind == "thermometer":
            levels = np.arange(length * (base - 1) + 1)
            return np.asarray(np.clip(levels[:, None] - np.arange(length) * (base - 1), 0, base - 1))
        levels = np.arange(1 << bits)
        if self.config.kind == "base4" and self.pixel_bits == 1:
            fours = _digits(levels, 4, bits // 2)
            gray = fours ^ (fours >> 1)
            return np.asarray(np.stack([gray >> 1, gray & 1], axis=2).reshape(len(levels), bits))
        digits = _digits(levels, base, length)
        if self.config.kind == "gray":
            digits[:, 1:] = (digits[:, 1:] - digits[:, :-1]) % base
        return digits

    def _values(self, levels: int) -> Array:
        return _PUBLISHED_VALUES if self.config.kind == "published" else np.arange(levels) / (levels - 1)

    def _levels(self, x: Array, levels: int) -> States:
        if self.config.kind == "published":
            return np.searchsorted(_PUBLISHED_THRESHOLDS, x, side="left").astype(np.int64)
        return np.floor(x * (levels - 1) + 0.5).astype(np.int64)

    def states(self, x: Array) -> States:
        """Pixel states (shots, n_pixels) for drives (shots, n_in) in [0, 1]."""
        pixels = np.empty((len(x), self.n_pixels), dtype=np.int64)
        pixels[:, self.spare] = self._held
        for columns, places, words, _ in self._groups:
            pixels[:, places] = words[self._levels(x[:, columns], len(words))]
        return pixels

    def quantise(self, x: Array) -> Array:
        """What the pixels carry of drives (shots, n_in), back in [0, 1]; quantised again, it stays what it is."""
        carried = np.empty_like(x)
        for columns, _, words, values in self._groups:
            carried[:, columns] = values[self._levels(x[:, columns], len(words))]
        return carried

    def steps(self, x: Array) -> Steps:
        """From the words that carry drives (shots, n_in) to those of the levels next to them."""
        return joined(
            [
                StepTable(words, values).steps(columns, places, self._levels(x[:, columns], len(words)))
                for columns, places, words, values in self._groups
            ]
        )

    @property
    def parameters(self) -> States:
        """States of the pixels that carry no value, (n_spare,): weights of the physics, free to be trained."""
        return self._held.copy()

    def set_parameters(self, states: ArrayLike) -> None:
        """Hold the pixels that carry no value at these states.

        Raises
        ------
        InputError
            For a wrong length, or a state that the pixels do not have.
        """
        held = np.asarray(states)
        if held.shape != self._held.shape:
            raise InputError(
                f"metasurface: asked {held.size} states for the pixels without a value, there are {len(self._held)}; "
                "give one for each"
            )
        top = (1 << self.pixel_bits) - 1
        wrong = ~np.isin(held, np.arange(top + 1))
        if wrong.any():
            i = int(np.argmax(wrong))
            raise InputError(
                f"metasurface: asked state {held[i]} of pixel {self.spare[i]}, allowed 0 to {top}; give whole numbers"
            )
        self._held = held.astype(np.int64)


def _digits(numbers: States, base: int, length: int) -> States:
    """Digits (n, length), most significant first."""
    powers = base ** np.arange(length - 1, -1, -1, dtype=np.int64)
    return np.asarray(numbers[:, None] // powers % base)

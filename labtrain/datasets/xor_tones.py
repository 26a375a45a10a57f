"""xor-tones: a generated task that no linear readout of the inputs can do, and that interference can.

Two speakers play the same tone with amplitudes a and b. A microphone hears |h1 a + h2 b|, whose square holds the cross
term 2 Re(h1 h2*) a b: the sign of a b, an XOR of two signs, is there for a linear readout of the responses, while the
inputs themselves are uncorrelated with it.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from labtrain.datasets.table import Array, SplitOptions, Table

DEAD_ZONE = 0.1
"""Smallest magnitude of a ``uniform`` value: the sign of a smaller one would drown in the noise of any rig."""


class XorTones:
    """Signs of products of two inputs that share a tone, with distractors that say nothing.

    Each XOR takes one live tone, in the order of `live_tones`, and the inputs of the two speakers of `pair` on it; its
    bit is 1 where their signs differ. Two classes are one XOR, ``0`` and ``1``; eight classes are three XORs, ``000``
    to ``111``, the first XOR in front. Distractors are drawn alike and take the other live inputs tone by tone, those
    that share a tone with the signal first; with ``distractors_share_tone: false`` they keep off the signal's tones,
    and a rig that keeps its tones apart hears each XOR alone, while a medium that mixes all inputs does not. The rig's
    input ``speaker * tones + tone`` carries a feature; inputs that are not needed carry none. Binary rows are all
    different, so that no test row is among the training rows.

    With two classes least squares on the features stays at 50 %. With eight it reaches about 17 % (``binary``; 15 to
    16 % ``uniform``) at any number of rows, not 12.5 %: the weights of a class are sampling noise, but noise correlated
    as the inputs are within that class, and the largest of eight scores shows it. Compare with that, not with 1/8.
    """

    class Config(SplitOptions):
        """Settings of the data set ``xor-tones``."""

        type: Literal["xor-tones"]
        rows: int = Field(2000, ge=1, description="samples")
        classes: Literal[2, 8] = Field(2, description="2: one XOR; 8: three XORs read as three bits")
        distractors: int = Field(10, ge=0, description="inputs that carry noise of the same kind")
        distractors_share_tone: bool = Field(True, description="distractors may stand on the signal's tones")
        values: Literal["binary", "uniform"] = Field(
            "binary", description=f"-1 or +1, no row twice; or a random sign times {DEAD_ZONE:g} to 1"
        )
        pair: tuple[int, int] = Field((0, 1), description="the two speakers whose inputs interfere in each XOR")
        seed: int = Field(0, ge=0, description="of the generated values; trials differ in their splits")
        speakers: int = Field(4, ge=2, description="speakers of the rig")
        tones: int = Field(5, ge=1, description="tones of each speaker")
        live_tones: tuple[int, ...] | None = Field(
            None, description="tones, from 0, that reach an output; all when left out"
        )

        @model_validator(mode="after")
        def _fits(self) -> XorTones.Config:
            live = self.live
            if self.pair[0] == self.pair[1] or not all(0 <= speaker < self.speakers for speaker in self.pair):
                raise ValueError(f"pair {list(self.pair)} must be two speakers from 0 to {self.speakers - 1}")
            if len(set(live)) < len(live) or not all(0 <= tone < self.tones for tone in live):
                raise ValueError(f"live_tones {list(live)} must be distinct and from 0 to {self.tones - 1}")
            if len(live) < self.xors:
                raise ValueError(f"{self.classes} classes need {self.xors} live tones, there are {len(live)}")
            room = len(self.free)
            if self.distractors > room:
                less = f"{2 * self.xors} inputs" if self.distractors_share_tone else f"{self.xors} tones"
                raise ValueError(
                    f"asked {self.distractors} distractors, allowed 0 to {room}: {self.speakers} speakers x "
                    f"{len(live)} live tones, less {less} of the signal"
                )
            inputs = 2 * self.xors + self.distractors
            if self.values == "binary" and inputs > 62:
                raise ValueError(
                    f"{inputs} binary inputs, allowed at most 62; ask for fewer distractors or set values: uniform"
                )
            if self.values == "binary" and self.rows > 2**inputs:
                raise ValueError(
                    f"asked {self.rows} rows, allowed 1 to {2**inputs}: {inputs} binary inputs have no more patterns"
                )
            return self

        @property
        def xors(self) -> int:
            """Number of XORs: one for two classes, three for eight."""
            return 1 if self.classes == 2 else 3

        @property
        def live(self) -> tuple[int, ...]:
            """Tones that reach an output."""
            return tuple(range(self.tones)) if self.live_tones is None else self.live_tones

        @property
        def signal(self) -> list[tuple[int, int]]:
            """Speaker and tone of each input of the signal, in pairs."""
            return [(speaker, tone) for tone in self.live[: self.xors] for speaker in self.pair]

        @property
        def free(self) -> list[tuple[int, int]]:
            """Speaker and tone of each input that a distractor may take, in the order in which they are taken."""
            tones = self.live if self.distractors_share_tone else self.live[self.xors :]
            taken = self.signal
            places = [(speaker, tone) for tone in tones for speaker in range(self.speakers)]
            return [place for place in places if place not in taken]

    def __init__(self, config: Config) -> None:
        self.config = config

    def load(self) -> Table:
        """Generate the table; the signal comes first, in pairs, then the distractors."""
        config = self.config
        signal = config.signal
        wired = signal + config.free[: config.distractors]
        features = self._values(np.random.default_rng(config.seed), (config.rows, len(wired)))
        bits = features[:, 0 : len(signal) : 2] * features[:, 1 : len(signal) : 2] < 0
        return Table(
            features=features,
            labels=bits.astype(np.int64) @ (2 ** np.arange(config.xors)[::-1]).astype(np.int64),
            classes=tuple(f"{number:0{config.xors}b}" for number in range(config.classes)),
            feature_names=tuple(f"speaker {speaker} tone {tone}" for speaker, tone in wired),
            groups=None,
            source="xor-tones",
            inputs=tuple(speaker * config.tones + tone for speaker, tone in wired),
        )

    def _values(self, rng: np.random.Generator, shape: tuple[int, int]) -> Array:
        rows, inputs = shape
        if self.config.values == "binary":
            patterns = rng.choice(2**inputs, rows, replace=False)
            return np.where((patterns[:, None] >> np.arange(inputs)) & 1, 1.0, -1.0)
        return rng.choice(np.array([-1.0, 1.0]), shape) * rng.uniform(DEAD_ZONE, 1.0, shape)

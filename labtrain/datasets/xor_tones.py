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

    Each XOR takes one live tone, in the order of `live_tones`, and the inputs of speakers 0 and 1 on it; its bit is 1
    where their signs differ. Two classes are one XOR, ``0`` and ``1``; eight classes are three XORs, ``000`` to
    ``111``, the first XOR in front. Distractors are drawn alike and take the other live inputs tone by tone, those that
    share a tone with the signal first. The rig's input ``speaker * tones + tone`` carries a feature; inputs that are
    not needed carry none.

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
        values: Literal["binary", "uniform"] = Field(
            "binary", description=f"-1 or +1, or a random sign times {DEAD_ZONE:g} to 1"
        )
        seed: int = Field(0, ge=0, description="of the generated values; trials differ in their splits")
        speakers: int = Field(4, ge=2, description="speakers of the rig")
        tones: int = Field(5, ge=1, description="tones of each speaker")
        live_tones: tuple[int, ...] | None = Field(
            None, description="tones, from 0, that reach an output; all when left out"
        )

        @model_validator(mode="after")
        def _fits(self) -> XorTones.Config:
            live = self.live
            if len(set(live)) < len(live) or not all(0 <= tone < self.tones for tone in live):
                raise ValueError(f"live_tones {list(live)} must be distinct and from 0 to {self.tones - 1}")
            if len(live) < self.xors:
                raise ValueError(f"{self.classes} classes need {self.xors} live tones, there are {len(live)}")
            room = self.speakers * len(live) - 2 * self.xors
            if self.distractors > room:
                raise ValueError(
                    f"asked {self.distractors} distractors, allowed 0 to {room}: {self.speakers} speakers x "
                    f"{len(live)} live tones, less {2 * self.xors} inputs of the signal"
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

    def __init__(self, config: Config) -> None:
        self.config = config

    def load(self) -> Table:
        """Generate the table; the signal comes first, in pairs, then the distractors."""
        config = self.config
        signal = [(speaker, tone) for tone in config.live[: config.xors] for speaker in (0, 1)]
        others = [(speaker, tone) for tone in config.live for speaker in range(config.speakers)]
        wired = signal + [place for place in others if place not in signal][: config.distractors]
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
        signs: Array = rng.choice(np.array([-1.0, 1.0]), shape)
        return signs if self.config.values == "binary" else signs * rng.uniform(DEAD_ZONE, 1.0, shape)

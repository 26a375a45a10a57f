"""Backward through digital twins (backward.py has the equations): what methods with ``training.twin`` share."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, field_validator

from labtrain.config import InputPath
from labtrain.errors import ConfigError, DataError, RunError
from labtrain.layer import PhysicalLayer
from labtrain.methods.backward import Backward, BackwardConfig
from labtrain.methods.method import Data, Metrics
from labtrain.network import PhysicalNetwork
from labtrain.twin import Twin, check_layer, load_twin


class ThroughTwinsConfig(BackwardConfig):
    """Settings of every method that goes backward through twins."""

    twin: tuple[InputPath, ...] = Field(
        min_length=1, description="file that labtrain twin fit wrote, or a list with one for each layer of the rig"
    )

    @field_validator("twin", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return value if isinstance(value, list | tuple) else (value,)


class ThroughTwins(Backward):
    """Trains all linear maps on gradients that went backward through twins; subclasses go forward."""

    config: ThroughTwinsConfig

    # -- the Method interface --------------------------------------------------------------------------------------

    def start(self, net: PhysicalNetwork, data: Data, rng: np.random.Generator) -> None:
        super().start(net, data, rng)
        self.files = _in_turn(self.config.twin, [block.layer for block in net.blocks])
        self.twins = [
            _fitting(file, i + 1, block.layer) if self.asked(i) and block.layer.info.n_out else None
            for i, (file, block) in enumerate(zip(self.files, net.blocks, strict=True))
        ]
        self.digests = [
            "" if twin is None else hashlib.sha256(file.read_bytes()).hexdigest()
            for twin, file in zip(self.twins, self.files, strict=True)
        ]
        self.begun_with = self.digests

    def step(self) -> Metrics | None:
        if self.begun_with != self.digests:
            raise RunError(
                f"training.twin: {self.config.twin[0]} is not what it was when this training began; put the file back, "
                "or start a new run"
            )
        return super().step()

    def state(self) -> dict[str, Any]:
        return super().state() | {"twins": self.begun_with}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self.begun_with = list(state["twins"])  # to go on needs the same twins, to predict needs none

    @property
    def twin_costs(self) -> list[dict[str, Any]]:
        """Each twin's ``file``, ``kind`` and ``fit``, what that took (None where the file does not tell)."""
        found = {}
        for file, digest, twin in zip(self.files, self.digests, self.twins, strict=True):
            if twin is not None:
                fit = None if twin.fit_cost is None else twin.fit_cost.as_dict()
                found[digest] = {"file": str(file), "kind": twin.kind, "fit": fit}
        return list(found.values())

    # -- backward --------------------------------------------------------------------------------------------------

    def asked(self, i: int) -> bool:
        """Whether block i needs a twin; no error goes back to what is in front of the first."""
        return i > 0

    def slope(self, i: int) -> Twin | None:
        return self.twins[i]

    def slope_multiply_adds(self, i: int) -> int:
        twin = self.twins[i]
        return 0 if twin is None else 2 * multiply_adds(twin)


def multiply_adds(twin: Twin) -> int:
    """What one prediction of a twin costs, about: one for each number it holds; its gradient about twice that."""
    return sum(array.size for array in twin.arrays().values() if array.dtype.kind == "f")


def _in_turn(files: Sequence[Path], layers: Sequence[PhysicalLayer]) -> list[Path]:
    """The file of each block's layer: one for all, or the first for the first layer, and so on."""
    different = list({id(layer): layer for layer in layers})  # blocks use the rig's layers in turn
    if len(files) == 1:
        return [files[0]] * len(layers)
    if len(files) < len(different):
        raise ConfigError(
            f"training.twin: {len(files)} files for {len(different)} layers; give one for each layer, or one for all"
        )
    return [files[different.index(id(layer))] for layer in layers]


def open_twin(file: Path) -> Twin:
    """The twin of a file.

    Raises
    ------
    ConfigError
        If the file is not there, or holds no twin.
    MissingExtra
        If its kind needs an extra that is not installed.
    """
    if not file.exists():
        raise ConfigError(
            f"training.twin: {file} does not exist; record the rig with labtrain record, then labtrain twin fit RUN "
            f"--out {file.name}, or, of an optical rig, labtrain twin measure CONFIG --out {file.name}"
        )
    try:
        return load_twin(file)
    except DataError as error:
        raise ConfigError(f"training.twin: {error}") from None


def _fitting(file: Path, number: int, layer: PhysicalLayer) -> Twin:
    """The twin of a file, which must be one of the layer of this block."""
    twin = open_twin(file)
    check_layer(twin, layer.info, f"training.twin: {file}", f"block {number}", ConfigError)
    return twin

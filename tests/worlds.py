"""Small pieces of arithmetic that stand for a rig in tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from labtrain.layer import Array, Layer, LayerInfo, Shots


class Interference(Layer):
    """y = |T x| with a fixed complex T, optional noise by shot number, chunks of at most `max_batch`."""

    name = "interference"

    def __init__(self, n_in: int = 6, n_out: int = 8, max_batch: int = 32, noise: float = 0.0, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.T = (rng.standard_normal((n_in, n_out)) + 1j * rng.standard_normal((n_in, n_out))) / np.sqrt(n_in)
        self.noise = noise
        self.shot = 0
        self._info = LayerInfo(n_in, n_out, 0.25, max_batch, "1", f"interference:{seed}", True, 0.15, 0.1, 2)

    @property
    def info(self) -> LayerInfo:
        return self._info

    def _measure(self, x: Array) -> Iterator[Shots]:
        for start in range(0, len(x), self.info.max_batch):
            part = x[start : start + self.info.max_batch]
            y = np.abs(part @ self.T)
            for row in range(len(part)):
                y[row] += self.noise * np.random.default_rng(self.shot).standard_normal(y.shape[1])
                self.shot += 1
            yield Shots(part, y, None, np.ones(len(part), dtype=np.int64), 0.0)

    def state(self) -> dict[str, Any]:
        return {"shot": self.shot}

    def restore(self, state: dict[str, Any]) -> None:
        self.shot = state["shot"]


def blobs(n: int = 60, classes: int = 3, d: int = 3, seed: int = 0) -> tuple[Array, np.ndarray]:
    """Well separated clusters: rows (n, d) and labels (n,)."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    centres = rng.uniform(-3, 3, (classes, d)) + 4 * np.eye(classes, d)
    return centres[labels] + 0.3 * rng.standard_normal((n, d)), labels

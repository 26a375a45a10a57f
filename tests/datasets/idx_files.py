"""IDX files for the tests, whole and damaged."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np

SIDE = 6


def images(n: int, seed: int = 0, side: int = SIDE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, side, side), dtype=np.uint8)


def labels(n: int, classes: int = 3) -> np.ndarray:
    return (np.arange(n) % classes).astype(np.uint8)


def idx(values: np.ndarray) -> bytes:
    """Header and values of unsigned bytes, as the publishers of MNIST describe them."""
    header = bytes([0, 0, 8, values.ndim]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
    return header + values.astype(np.uint8).tobytes()


def put(path: Path, data: bytes, packed: bool = False) -> Path:
    path.write_bytes(gzip.compress(data, 1) if packed else data)
    return path


def pair(folder: Path, n: int = 30, name: str = "train", packed: bool = False, **of: Any) -> dict[str, Path]:
    """Files of n images and their labels, as keys of the data set."""
    made = {
        "images": put(folder / f"{name}-images", idx(images(n, **of)), packed),
        "labels": put(folder / f"{name}-labels", idx(labels(n)), packed),
    }
    return made if name == "train" else {f"test_{key}": path for key, path in made.items()}

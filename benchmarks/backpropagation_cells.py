"""Cells of backpropagation.py: configuration, shared overrides, and as many candidates for one method as for the other.

A candidate of one block is a linear readout of the physics for backpropagation, for PhyLL there is the modulus of its
goodness. Backpropagation needs no label in front of the physics: some candidates give the labels' pixels to features.

Without a skip path PhyLL is measured twice: with its labels in front of the physics, and with the same candidates but
the labels behind it, whose pixels are then the features', as some of backpropagation's are.
"""

from __future__ import annotations

from dataclasses import dataclass

Candidate = tuple[str, ...]
METHODS = ("phyll", "backpropagation")
LATE = "label behind"

VOWELS = "dataset={type: vowels, path: '${LABTRAIN_DATA}/vowels.csv'}"
ROOM = "rig.fidelity=physics"
PLAIN = "encoding={scaling: minmax, label: slots, amplitude: 1.0}"
FEW_INPUTS = "speakers: 2, tones: 3, distractors: 4"
XOR_ROOM = (
    "dataset={type: xor-tones, rows: 1000, classes: 2, distractors_share_tone: false, values: uniform, seed: 1, "
    f"{FEW_INPUTS}}}"
)


@dataclass(frozen=True)
class Cell:
    """One rig and task, with a skip path or without."""

    config: str
    tuning: int  # splits on which every candidate is tried
    candidates: dict[str, list[Candidate]]


def bp(layers: int, rate: float, epochs: int, batch: int = 64, *more: str) -> Candidate:
    settings = f"method: backpropagation, rate: {rate}, epochs: {epochs}, batch: {batch}, decay: cosine"
    return (f"network.layers={layers}", f"training={{{settings}, score_every: 1000}}", *more)


def phyll(layers: int, theta: float, *more: str) -> Candidate:
    return (f"network.layers={layers}", f"training.theta={theta}", *more)


def _pixels(*bits: int) -> str:
    return f"rig.code.bits={list(bits)}"


WIDER = "network.width=100"
NARROW = "network.width=20"
OVERLAY = "encoding.label=overlay"
BEHIND = "encoding.label=behind"
LONG = "training.epochs=40"

# Rig and task: configuration, tuning splits, what all share, candidates of PhyLL and of backpropagation, labels behind.
ACOUSTIC = {
    "Peterson-Barney": (
        "acoustic",
        3,
        (),
        [phyll(2, 12), phyll(1, 20), phyll(1, 24, WIDER), phyll(1, 6, WIDER)],
        [bp(1, 0.01, 200), bp(1, 0.03, 200), bp(2, 0.01, 10, 32), bp(2, 0.02, 10, 32)],
        (BEHIND,),
    ),
    "vowels": (
        "acoustic",
        5,
        (VOWELS,),
        [phyll(1, 4, LONG), phyll(1, 12, LONG), phyll(2, 4, LONG), phyll(2, 12, LONG)],
        [bp(1, 0.01, 60, 32), bp(1, 0.03, 60, 32), bp(2, 0.005, 40, 32), bp(2, 0.01, 40, 32)],
        (BEHIND,),
    ),
    "xor-tones": (
        "acoustic-xor",
        5,
        (),
        [phyll(1, 8), phyll(1, 20, WIDER), phyll(2, 8, NARROW), phyll(2, 16, NARROW)],
        [bp(1, 0.01, 200), bp(1, 0.03, 200), bp(2, 0.005, 10, 32, NARROW), bp(2, 0.01, 10, 32, NARROW)],
        (BEHIND,),
    ),
}
LABELS_SMALL = _pixels(*[1] * 7, *[3] * 9, *[2] * 3)  # 7 label slots, 12 formants
XOR = _pixels(10, 2, 2, 10, 2, 2, 6, 6)  # two of the signal, four distractors, two label slots
# The pixels of features alone.
PITCH, FORMANTS, TONES = _pixels(4, 12, 12, 12), _pixels(*[4] * 4, *[3] * 8), _pixels(12, 4, 4, 12, 4, 4)
MICROWAVE = {
    "Peterson-Barney": (
        "microwave",
        3,
        (ROOM,),
        [phyll(1, 20), phyll(1, 20, WIDER), phyll(1, 40, WIDER), phyll(2, 20)],
        [bp(1, 0.03, 200), bp(1, 0.01, 200, 16, OVERLAY, PITCH),
         bp(2, 0.01, 10, 32, OVERLAY, PITCH), bp(2, 0.02, 10, 32, OVERLAY, PITCH)],
        (BEHIND, PITCH),
    ),
    "vowels": (
        "microwave",
        5,
        (ROOM, VOWELS, "training.epochs=200"),
        [phyll(1, 20, LABELS_SMALL, WIDER), phyll(1, 20, LABELS_SMALL, "network.width=200"),
         phyll(1, 40, LABELS_SMALL, WIDER), phyll(2, 20, LABELS_SMALL)],
        [bp(1, 0.03, 200, 32, LABELS_SMALL), bp(1, 0.01, 200, 32, OVERLAY, FORMANTS),
         bp(2, 0.005, 20, 16, OVERLAY, FORMANTS), bp(2, 0.01, 20, 16, OVERLAY, FORMANTS)],
        (BEHIND, FORMANTS),
    ),
    "xor-tones": (
        "microwave",
        5,
        (ROOM, XOR_ROOM, PLAIN, "training.negatives=all"),
        [phyll(1, 8, XOR), phyll(1, 20, XOR), phyll(1, 20, XOR, WIDER), phyll(2, 8, XOR)],
        [bp(1, 0.03, 200, 64, OVERLAY, TONES), bp(2, 0.01, 10, 32, XOR),
         bp(2, 0.005, 10, 32, OVERLAY, TONES), bp(2, 0.01, 10, 32, OVERLAY, TONES)],
        (BEHIND, TONES),
    ),
}  # fmt: skip


def _cells() -> dict[str, Cell]:
    found = {}
    for task in ("vowels", "xor-tones", "Peterson-Barney"):
        for rig, tasks in (("acoustic", ACOUSTIC), ("microwave", MICROWAVE)):
            config, tuning, shared, ours, ideal, behind = tasks[task]
            for name, skip, label in (("skip", True, ()), ("no skip", False, ()), (f"no skip, {LATE}", False, behind)):
                path = (*shared, f"network.skip={str(skip).lower()}")
                candidates = {
                    "phyll": [(*path, *one, *label) for one in ours],
                    "backpropagation": [(*path, *one) for one in ideal],
                }
                found[f"{rig}/{task}/{name}"] = Cell(config, tuning, candidates)
    return found


CELLS = _cells()

"""labtrain: train neural networks made of sound, microwaves and light on the rig itself."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# The names a script needs, imported when first used: `import labtrain` itself stays light.
_LAZY: dict[str, str] = {
    "Experiment": "labtrain.experiment",
    "PhysicalNetwork": "labtrain.network",
    "Run": "labtrain.runs",
    "Trial": "labtrain.trial",
    "evaluate": "labtrain.inference",
    "load": "labtrain.experiment",
    "open_rig": "labtrain.jobs",
    "plan": "labtrain.jobs",
    "plot_accuracy": "labtrain.plots",
    "plot_confusion": "labtrain.plots",
    "plot_goodness": "labtrain.plots",
    "predict": "labtrain.inference",
    "resume": "labtrain.jobs",
    "train": "labtrain.jobs",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'labtrain' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])

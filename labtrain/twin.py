"""Digital twins in one import: fit one to recorded drives and responses, judge it, keep it, differentiate it."""

from __future__ import annotations

from labtrain.twins.files import load_twin, save_twin
from labtrain.twins.twin import Twin, bounded_vjp, check_drives, check_layer, check_pairs, judge
from labtrain.twins.wave import WaveTwin

__all__ = [
    "Twin",
    "WaveTwin",
    "bounded_vjp",
    "check_drives",
    "check_layer",
    "check_pairs",
    "judge",
    "load_twin",
    "save_twin",
]

"""Digital twins in one import: fit one to recorded drives and responses, judge it, keep it, differentiate it."""

from __future__ import annotations

from labtrain.twins.files import load_twin, save_twin
from labtrain.twins.twin import Twin, check_drives, check_pairs, judge
from labtrain.twins.wave import WaveTwin

__all__ = ["Twin", "WaveTwin", "check_drives", "check_pairs", "judge", "load_twin", "save_twin"]

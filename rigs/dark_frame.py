"""The dark frame: what a camera reads without light, measured, from a file, or taken for the same in all pixels."""

from __future__ import annotations

import base64
import binascii
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from labtrain.drivers.image_camera import ImageCamera
from labtrain.errors import InputError

Array = NDArray[np.float64]

SAME_EXPOSURE = 0.02


def covered_by_hand(camera: ImageCamera, ask: Callable[[str], bool] | None, measure: Callable[[], Array]) -> Array:
    """Mean counts (rows, columns) while somebody covers the camera.

    Raises
    ------
    InputError
        If nobody can be asked, or the answer was no.
    """
    if ask is None:
        raise InputError(
            f"{camera.name}: a dark frame needs somebody to cover it, and nobody can be asked; run it in a terminal, "
            "or set rig.dark.how to file or offset"
        )
    if not ask(f"{camera.name}: cover it, or block the light, for a dark frame. Is it dark now?"):
        raise InputError(f"{camera.name}: no dark frame was taken; run it again when the light can be blocked")
    found = measure()
    if not ask(f"{camera.name}: the dark frame is taken; let the light in again. Is it there?"):
        raise InputError(f"{camera.name}: no light to go on with; run it again when it is there")
    return found


def read_dark(path: Path, camera: ImageCamera) -> Array:
    """The dark frame of a file, for the camera as it is set.

    Raises
    ------
    InputError
        If it is none, or one of another region or exposure.
    """
    try:
        with np.load(path) as arrays:
            dark, exposure_s = np.asarray(arrays["dark"], dtype=np.float64), float(arrays["exposure_s"])
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); correct rig.dark.file") from None
    except (KeyError, TypeError, ValueError, AttributeError, EOFError, zipfile.BadZipFile):
        raise InputError(
            f"{path}: needs arrays dark (rows, columns) and exposure_s, as np.savez writes them; correct rig.dark.file"
        ) from None
    if dark.shape != camera.shape or not np.isfinite(dark).all():
        raise InputError(
            f"{path}: its dark frame has shape {dark.shape}, {camera.name} reads {camera.shape} pixels; measure it "
            "again, or correct rig.dark.file"
        )
    if abs(exposure_s - camera.exposure_s) > SAME_EXPOSURE * camera.exposure_s:
        raise InputError(
            f"{path}: its dark frame was exposed {exposure_s:g} s, {camera.name} has {camera.exposure_s:g} s; measure "
            "it again, or correct rig.dark.file"
        )
    return dark


def packed(frame: Array) -> str:
    """A frame as text, to be kept with a run; float32."""
    return base64.b64encode(zlib.compress(np.asarray(frame, dtype="<f4").tobytes())).decode("ascii")


def unpacked(text: str, shape: tuple[int, int]) -> Array | None:
    """The frame of :func:`packed`; None if it has another shape."""
    try:
        flat = np.frombuffer(zlib.decompress(base64.b64decode(text, validate=True)), dtype="<f4")
    except (binascii.Error, zlib.error, ValueError):
        return None
    return None if flat.size != shape[0] * shape[1] else flat.reshape(shape).astype(np.float64)

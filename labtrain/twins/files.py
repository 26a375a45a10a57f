"""Twins on disk: an .npz file of plain arrays, without pickles."""

from __future__ import annotations

import zipfile
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labtrain.errors import DataError, InputError
from labtrain.storage import write_arrays
from labtrain.twins.cost import FitCost
from labtrain.twins.twin import Twin

KINDS = {
    "multiport": "labtrain.twins.multiport:MultiportTwin",
    "residual": "labtrain.twins.residual:ResidualTwin",
    "speckle": "labtrain.twins.speckle:SpeckleTwin",
    "wave": "labtrain.twins.wave:WaveTwin",
}
MEASURED = ("speckle",)  # on their bench, not fitted to a recording
_FORMAT = 1
_FIT = "fit_"  # before the names of what the fit cost


def save_twin(twin: Twin, path: str | Path) -> None:
    """Write a twin to `path`, whole or not at all.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    path = Path(path)
    about: dict[str, NDArray[Any]] = {
        "twin": np.array(twin.kind),
        "format": np.array(_FORMAT),
        "fingerprint": np.array(twin.fingerprint or ""),
        "rms": twin.rms,
    }
    if twin.errors is not None:
        about["errors"] = twin.errors
    if twin.fit_cost is not None:
        about |= {f"{_FIT}{name}": np.array(value) for name, value in twin.fit_cost.as_dict().items()}
    try:
        write_arrays(path, about | twin.arrays())
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); choose another place") from None


def load_twin(path: str | Path) -> Twin:
    """Read what :func:`save_twin` wrote.

    Raises
    ------
    DataError
        If the file cannot be read, holds no twin, or one of a later labtrain.
    MissingExtra
        If the kind needs an extra that is not installed.
    """
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        kind, written = str(arrays.pop("twin")), int(arrays.pop("format"))
        fingerprint, errors = str(arrays.pop("fingerprint")), arrays.pop("errors", None)
        rms = np.asarray(arrays.pop("rms"), dtype=np.float64)
        cost = {name: arrays.pop(f"{_FIT}{name}", None) for name in ("rows", "multiply_adds", "cpu_s")}
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"{path}: cannot be read ({reason}); name a file that labtrain twin fit wrote") from None
    except (AttributeError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile):
        # AttributeError and TypeError: a single .npy array is no archive. KeyError: an archive of something else.
        raise DataError(f"{path}: holds no twin; name a file that labtrain twin fit wrote") from None
    if written > _FORMAT or kind not in KINDS:
        known = ", ".join(KINDS)
        raise DataError(
            f"{path}: a twin of kind {kind!r}, format {written}; known are {known}, format {_FORMAT}; update it"
        )
    try:
        twin: Twin = twin_class(kind).from_arrays(arrays)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise DataError(f"{path}: a damaged twin ({error}); fit it again") from None
    twin.fingerprint = fingerprint or None
    twin.rms = rms
    twin.errors = None if errors is None else np.asarray(errors, dtype=np.float64)
    twin.fit_cost = None if None in cost.values() else FitCost(**{name: value.item() for name, value in cost.items()})
    return twin


def twin_class(kind: str) -> Any:
    """The class of a kind of twin, imported when it is needed."""
    module, _, name = KINDS[kind].partition(":")
    return getattr(import_module(module), name)

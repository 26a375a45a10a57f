"""Recorded drives and responses for a twin: from an .npz file, a recording or a training run."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from labtrain.clock import RealClock
from labtrain.errors import DataError, InputError, RunError
from labtrain.layer import Array
from labtrain.runs import Run
from labtrain.twins.twin import check_pairs

_IN_RUN = "pairs.npz"  # what a finished recording leaves


@dataclass(frozen=True)
class Pairs:
    """Drives x (rows, n_in) and responses y (rows, n_out) of one layer, in the order of measurement.

    Attributes
    ----------
    path : Path
        Where they come from.
    x, y : ndarray
    sigma : ndarray, (rows, n_out), or None
        Standard deviation of each response.
    fingerprint : str or None
        Of the layer, if it is known.
    y_unit : str or None
    """

    path: Path
    x: Array
    y: Array
    sigma: Array | None = None
    fingerprint: str | None = None
    y_unit: str | None = None

    def rows(self, chosen: slice) -> Pairs:
        """A part of them."""
        sigma = None if self.sigma is None else self.sigma[chosen]
        return Pairs(self.path, self.x[chosen], self.y[chosen], sigma, self.fingerprint, self.y_unit)


def read_pairs(path: str | Path, layer: str | None = None) -> Pairs:
    """Pairs of an .npz file with arrays x and y, or all that a run has logged of a layer, while it trains too.

    Parameters
    ----------
    path : path of a file, or of a run folder
    layer : str, optional
        Of a run; may be left out where shots of only one are logged.

    Raises
    ------
    DataError
        If the file cannot be read, or values are missing, not finite, or of shapes that do not fit.
    RunError
        If the folder is no run, or nothing is logged.
    InputError
        If the layer is not there, or it is not clear which one is meant.
    """
    path = Path(path)
    if path.is_dir():
        return _of_run(path, layer)
    if layer is not None:
        raise InputError(f"{path}: a file of pairs is of one layer; leave --layer out")
    return _checked(path, _arrays(path), None, None)


def _arrays(path: Path) -> dict[str, Any]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = {name: archive[name] for name in ("x", "y", "sigma") if name in archive.files}
            names = list(archive.files)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror or error}); name a run folder or an .npz file with arrays x and y"
        ) from None
    except (AttributeError, EOFError, TypeError, ValueError, zipfile.BadZipFile):
        # AttributeError and TypeError: a single .npy array is no archive.
        raise DataError(f"{path}: not an .npz file of numbers; write it with numpy.savez") from None
    for name in ("x", "y"):
        if name not in found:
            raise DataError(
                f"{path}: no array {name!r}, there are: {', '.join(names) or 'none'}; "
                "write it with numpy.savez(file, x=drives, y=responses)"
            )
    return found


def _checked(path: Path, arrays: dict[str, Any], fingerprint: str | None, y_unit: str | None) -> Pairs:
    x, y = check_pairs(arrays["x"], arrays["y"], str(path))
    sigma = arrays.get("sigma")
    if sigma is not None:
        sigma = check_pairs(x, sigma, f"{path}, y being 'sigma'")[1]
        if sigma.shape != y.shape:
            raise DataError(f"{path}: 'sigma' has shape {sigma.shape} and 'y' has {y.shape}; they must be alike")
    return Pairs(path, x, y, sigma, fingerprint, y_unit)


def _of_run(folder: Path, layer: str | None) -> Pairs:
    with Run.open(folder, write=False, clock=RealClock()) as run:
        fingerprints: dict[str, str] = run.provenance["layers"]
        logged = [name for name in run.layers() if name in fingerprints]  # commissioning is logged under another name
        if not logged:
            raise RunError(f"{folder}: no shot is logged; go on with `labtrain resume {folder}` first")
        if layer is None and len(logged) > 1:
            raise InputError(f"{folder}: shots of layers {', '.join(logged)}; choose one with --layer")
        name = logged[0] if layer is None else layer
        if name not in logged:
            raise InputError(f"{folder}: no shot of a layer {name!r}; there are: {', '.join(logged)}")
        if run.kind == "recording" and (folder / _IN_RUN).is_file():
            arrays = _arrays(folder / _IN_RUN)  # repeated shots averaged
        else:
            shots = list(run.shots(name))
            arrays = {"x": np.concatenate([chunk.x for chunk in shots]), "y": np.concatenate([s.y for s in shots])}
            sigma = [chunk.sigma for chunk in shots if chunk.sigma is not None]
            if len(sigma) == len(shots):
                arrays["sigma"] = np.concatenate(sigma)
        return _checked(folder, arrays, fingerprints[name], run.provenance.get("y_units", {}).get(name))

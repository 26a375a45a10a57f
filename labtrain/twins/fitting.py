"""Fitting a twin to what was recorded, keeping it, and judging it on rows that it has not seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from labtrain.errors import DataError, InputError
from labtrain.threads import blas_threads
from labtrain.twins.files import KINDS, MEASURED, load_twin, save_twin, twin_class
from labtrain.twins.pairs import Pairs, read_pairs
from labtrain.twins.twin import Twin, judge

FITTED_SHARE = 0.9  # of the rows, the earliest ones, if nothing else is asked
_WIDEST = 4096  # latest errors that are kept with a twin, rows


def fit_twin(
    source: str | Path,
    out: str | Path,
    kind: str = "wave",
    rows: int | None = None,
    layer: str | None = None,
    told: Callable[[int, int], object] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Fit a twin to the first rows of a recording, judge it on the rest, and write it to `out`.

    Parameters
    ----------
    source : path of a run folder or of an .npz file
    out : path of the file to write
    kind : str
        One of KINDS, and not of MEASURED.
    rows : int, optional
        How many are fitted; default: nine tenths.
    layer : str, optional
        Of a run.
    told : callable (done, planned), optional
        Where the fit counts.
    **options
        Of the kind's own ``fit``.

    Returns
    -------
    dict
        What :func:`labtrain.twins.twin.judge` gives of the rows behind the fitted ones; ``kind``, ``out``,
        ``fitted_rows``, ``n_in``, ``n_out``, ``y_unit``, ``fingerprint``, ``dead_inputs``, and ``fit``, as
        :class:`labtrain.twins.cost.FitCost`, or None where the file does not tell.

    Raises
    ------
    LabtrainError
        As :func:`labtrain.twins.pairs.read_pairs` and the kinds' own ``fit`` say; InputError for rows out of range.
    """
    if kind not in KINDS:
        raise InputError(f"twin: no kind {kind!r}; there are: {', '.join(k for k in KINDS if k not in MEASURED)}")
    out = Path(out)
    if out.exists():
        raise InputError(f"{out}: exists already; move it away, or choose another place with --out")
    if kind in MEASURED:
        raise InputError(
            f"twin: one of kind {kind!r} is measured on its bench, not fitted to a recording; use labtrain twin measure"
        )
    made = twin_class(kind)()
    pairs = read_pairs(source, layer)
    fitted = int(len(pairs.x) * FITTED_SHARE) if rows is None else rows
    if not 0 < fitted < len(pairs.x):
        raise InputError(
            f"{pairs.path}: asked to fit {fitted} rows, it has {len(pairs.x)} and at least one is kept to judge; "
            "set --rows"
        )
    if told is not None:
        options["told"] = told
    with blas_threads(1):
        twin: Twin = made.fit(pairs.x[:fitted], pairs.y[:fitted], **options)
    unseen = pairs.rows(slice(fitted, None))
    twin.fingerprint = pairs.fingerprint
    twin.errors = (unseen.y - twin.predict(unseen.x))[-_WIDEST:]
    save_twin(twin, out)
    return {
        "kind": twin.kind,
        "out": str(out),
        "fitted_rows": fitted,
        **_about(twin, unseen),
    }


def judge_twin(
    path: str | Path, source: str | Path, rows: tuple[int | None, int | None] = (None, None), layer: str | None = None
) -> dict[str, Any]:
    """How well the twin of a file predicts rows of a recording.

    Parameters
    ----------
    path : path of a twin
    source : path of a run folder or of an .npz file
    rows : (first, end), optional
        As of a Python slice; None: from the beginning, to the end. Name those that it was not fitted to.
    layer : str, optional
        Of a run.

    Returns
    -------
    dict
        As :func:`fit_twin` gives it, without ``fitted_rows``.

    Raises
    ------
    DataError
        If the twin was fitted to another rig, or its widths are others.
    InputError
        If no row is left.
    """
    twin, pairs = load_twin(path), read_pairs(source, layer)
    if None not in (twin.fingerprint, pairs.fingerprint) and twin.fingerprint != pairs.fingerprint:
        raise DataError(
            f"{path}: a twin of {twin.fingerprint}, {pairs.path} is of {pairs.fingerprint}, another rig; "
            "fit a twin of this one"
        )
    widths = (pairs.x.shape[1], pairs.y.shape[1])
    if widths != (twin.n_in, twin.n_out):
        raise DataError(
            f"{path}: a twin of {twin.n_in} inputs and {twin.n_out} outputs, {pairs.path} has {widths[0]} and "
            f"{widths[1]}; fit a twin of this layer"
        )
    chosen = pairs.rows(slice(*rows))
    if not len(chosen.x):
        raise InputError(f"{pairs.path}: no row is left, it has {len(pairs.x)}; set --rows")
    return {"kind": twin.kind, "out": str(path), **_about(twin, chosen)}


def _about(twin: Twin, unseen: Pairs) -> dict[str, Any]:
    return {
        "n_in": twin.n_in,
        "n_out": twin.n_out,
        "y_unit": unseen.y_unit,
        "fingerprint": twin.fingerprint,
        "dead_inputs": list(twin.dead_inputs),
        "fit": None if twin.fit_cost is None else twin.fit_cost.as_dict(),
        **judge(twin, unseen.x, unseen.y, unseen.sigma),
    }

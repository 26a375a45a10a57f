"""Touchstone files, and calibration after the fact from recorded standards, through scikit-rf (extra ``rf``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from labtrain.drivers.vna.vna import Sweep, ports_of
from labtrain.errors import DataError, InputError, MissingExtra
from labtrain.limits import shown

SAME_FREQUENCY_HZ = 0.5
IMPEDANCE_OHM = 50.0

Kind = Literal["one-port", "solt"]
PORTS = {"one-port": 1, "solt": 2}


def _skrf() -> Any:
    try:
        import skrf  # type: ignore[import-untyped]
    except ImportError:
        raise MissingExtra(
            'Touchstone files need scikit-rf, which is not installed; run: pip install "labtrain[rf]"'
        ) from None
    return skrf


def write(
    path: str | Path, frequencies_hz: ArrayLike, sweep: ArrayLike, s_parameters: Sequence[str], comment: str = ""
) -> Path:
    """Write a sweep as a Touchstone file with real and imaginary parts, exact to the last bit.

    Parameters
    ----------
    path : str or Path
        The suffix becomes ``.s1p``, ``.s2p`` ... for as many ports as the S-parameters name. A reflection of a higher
        port alone is written as a one-port.
    frequencies_hz : array_like, (points,)
    sweep : array_like, (s_parameters, points)
    s_parameters : sequence of str
        ``S21`` ..., in the order of the rows. The format has no gaps: those that were not measured are written as 0,
        and a comment in the file names them.
    comment : str
        Lines at the top of the file.

    Returns
    -------
    Path
        What was written.

    Raises
    ------
    MissingExtra
        If scikit-rf is not installed.
    """
    ports = sorted({port for name in s_parameters for port in ports_of(name)})
    size = 1 if len(ports) == 1 else max(ports)
    lines = comment.splitlines()
    if size == 1:
        lines += [f"measured: {s_parameters[0]}"] if s_parameters[0] != "S11" else []
    else:
        missing = [name for name in _all(size) if name not in s_parameters]
        lines += [f"not measured, written as 0: {', '.join(missing)}"] if missing else []
    matrix = _matrix(sweep, s_parameters, size)
    network = _skrf().Network(
        f=np.asarray(frequencies_hz, dtype=np.float64),
        f_unit="Hz",
        s=matrix,
        z0=IMPEDANCE_OHM,
        comments="\n".join(lines),
    )
    path = Path(path).with_suffix(f".s{size}p")
    network.write_touchstone(filename=path.name, dir=str(path.parent), form="ri", skrf_comment=False)
    return path


class OfflineCalibration:
    """Error terms from standards that were recorded without correction, applied to sweeps recorded in the same way.

    Parameters
    ----------
    kind : {"one-port", "solt"}
        ``one-port``: three standards or more at one port. ``solt``: 12 terms; reflecting standards at both ports,
        and the thru last.
    standards : sequence of (measured, ideal)
        Touchstone files, all at the same frequencies.

    Raises
    ------
    MissingExtra
        If scikit-rf is not installed.
    DataError
        If a file cannot be read, or the files do not fit together.
    """

    def __init__(self, kind: Kind, standards: Sequence[tuple[str | Path, str | Path]]) -> None:
        skrf = _skrf()
        self.kind = kind
        if len(standards) < 3 + (kind == "solt"):
            raise DataError(f"calibration {kind}: {len(standards)} standards, needs at least {3 + (kind == 'solt')}")
        measured, ideals = ([self._read(skrf, Path(pair[i])) for pair in standards] for i in (0, 1))
        self.frequencies_hz = np.asarray(measured[0].f, dtype=np.float64)
        for network in (*measured, *ideals):
            self._check_frequencies(network.f, network.name)
        if kind == "solt":
            *others, thru = (bool(ideal.s[:, 1, 0].any()) for ideal in ideals)
            if any(others) or not thru:
                raise DataError("calibration solt: the last standard must transmit, and no other; put the thru last")
        solver = skrf.calibration.OnePort if kind == "one-port" else skrf.calibration.SOLT
        self._solved = solver(measured=measured, ideals=ideals)
        self._solved.run()

    def apply(self, frequencies_hz: ArrayLike, sweep: ArrayLike, s_parameters: Sequence[str]) -> Sweep:
        """Correct a sweep.

        Parameters
        ----------
        frequencies_hz : array_like, (points,)
            Those of the standards.
        sweep : array_like, (s_parameters, points)
            Without correction.
        s_parameters : sequence of str
            In the order of the rows: one reflection for ``one-port``, S11, S21, S12 and S22 in any order for ``solt``.

        Returns
        -------
        ndarray, (s_parameters, points)

        Raises
        ------
        InputError
            If an S-parameter is missing that the correction needs.
        DataError
            If the frequencies differ from those of the standards.
        """
        size = PORTS[self.kind]
        given = sorted(s_parameters)
        if given != sorted(_all(2)) if size == 2 else given not in [[f"S{port}{port}"] for port in range(1, 10)]:
            needs = "one reflection, S11" if size == 1 else ", ".join(_all(size))
            raise InputError(
                f"calibration {self.kind}: got {', '.join(s_parameters)}, needs {needs}; set rig.vna.s_parameters"
            )
        self._check_frequencies(np.asarray(frequencies_hz, dtype=np.float64), "the sweep")
        raw = _network(_skrf(), self.frequencies_hz, _matrix(sweep, s_parameters, size))
        corrected = self._solved.apply_cal(raw).s
        if size == 1:
            return np.ascontiguousarray(corrected[:, 0, 0])[None, :]
        return np.stack([corrected[:, to - 1, source - 1] for to, source in map(ports_of, s_parameters)])

    def _read(self, skrf: Any, path: Path) -> Any:
        try:
            network = skrf.Network(str(path))
        except Exception as error:  # scikit-rf raises whatever its parser meets
            raise DataError(f"calibration {self.kind}: cannot read {path} as a Touchstone file ({error})") from None
        if network.nports != PORTS[self.kind]:
            raise DataError(
                f"calibration {self.kind}: {path} has {network.nports} ports, needs {PORTS[self.kind]}; "
                f"record the standards with that many"
            )
        network.name = str(path)
        return network

    def _check_frequencies(self, frequencies_hz: Any, whose: str) -> None:
        mine = self.frequencies_hz
        if len(frequencies_hz) != len(mine) or np.abs(frequencies_hz - mine).max() > SAME_FREQUENCY_HZ:
            raise DataError(
                f"calibration {self.kind}: {whose} has {_told(frequencies_hz)}, the first standard {_told(mine)}; "
                "record all at the same frequencies"
            )


def _told(frequencies_hz: Any) -> str:
    first, last = (shown(float(frequencies_hz[end]), "Hz") for end in (0, -1))
    return f"{len(frequencies_hz)} points from {first} to {last}"


def _network(skrf: Any, frequencies_hz: ArrayLike, matrix: Any) -> Any:
    return skrf.Network(f=np.asarray(frequencies_hz, dtype=np.float64), f_unit="Hz", s=matrix, z0=IMPEDANCE_OHM)


def _all(size: int) -> list[str]:
    """S11, S21, S12, S22: in the order of Touchstone files with two ports."""
    return [f"S{to}{source}" for source in range(1, size + 1) for to in range(1, size + 1)]


def _matrix(sweep: ArrayLike, s_parameters: Sequence[str], size: int) -> Any:
    """(points, size, size) of a sweep (s_parameters, points); 0 where nothing was measured."""
    rows = np.asarray(sweep, dtype=np.complex128)
    matrix = np.zeros((rows.shape[1], size, size), dtype=np.complex128)
    for row, name in zip(rows, s_parameters, strict=True):
        to, source = ports_of(name) if size > 1 else (1, 1)
        matrix[:, to - 1, source - 1] = row
    return matrix

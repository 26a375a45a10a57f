"""How an emulated PNA shows traces and sends numbers: CALCulate:FORMat and FORMat:DATA."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from labtrain.drivers.blocks import block
from labtrain.drivers.emulators.scpi.status import ScpiError
from labtrain.drivers.emulators.scpi.syntax import Datum
from labtrain.drivers.emulators.scpi.values import Number, nr3

Reals = NDArray[np.float64]

FORMATS = (
    "MLINear", "MLOGarithmic", "PHASe", "UPHase", "IMAGinary", "REAL", "POLar", "SMITh", "SADMittance", "SWR", "GDELay"
)  # fmt: skip
UNITS = {"MLOG": "DB", "PHAS": "DEGR", "UPH": "DEGR", "GDEL": "SEC"}
"""Of the vertical axis; the others have none."""

_SMALLEST = 1e-30  # keeps the logarithm of nothing finite


def interleaved(values: NDArray[np.complex128]) -> Reals:
    """Real and imaginary part of each, (2 points,)."""
    return np.ascontiguousarray(values).view(np.float64)


def formatted(values: NDArray[np.complex128], frequencies_hz: Reals, form: str) -> Reals:
    """A trace as it is shown: (points,), or (2 points,) for polar and Smith charts."""
    if form in ("POL", "SMIT", "SADM"):
        return interleaved(values)
    magnitude = np.abs(values)
    if form == "MLOG":
        return np.asarray(20 * np.log10(np.maximum(magnitude, _SMALLEST)))
    if form == "SWR":
        return np.asarray((1 + magnitude) / np.maximum(1 - magnitude, _SMALLEST))
    if form == "GDEL":
        turns = np.unwrap(np.angle(values)) / (2 * np.pi)
        steps = np.gradient(frequencies_hz) if len(values) > 1 else np.zeros(1)
        slopes = np.gradient(turns) if len(values) > 1 else np.zeros(1)
        return np.asarray(-np.divide(slopes, steps, out=np.zeros(len(values)), where=steps != 0))
    if form in ("PHAS", "UPH"):
        phase = np.angle(values)
        return np.rad2deg(np.unwrap(phase) if form == "UPH" else phase)
    return {"MLIN": magnitude, "REAL": values.real, "IMAG": values.imag}[form]


def snp(columns: list[NDArray[np.complex128]], frequencies_hz: Reals, form: str) -> Reals:
    """Frequencies, then two rows for each S-parameter, one after the other: ``RI``, ``MA`` or ``DB``."""
    rows = [frequencies_hz]
    for values in columns:
        if form == "RI":
            rows += [values.real, values.imag]
        else:
            magnitude = np.abs(values)
            rows += [
                20 * np.log10(np.maximum(magnitude, _SMALLEST)) if form == "DB" else magnitude,
                np.rad2deg(np.angle(values)),
            ]
    return np.concatenate(rows)


class Transfer:
    """``FORMat:DATA`` and ``FORMat:BORDer``."""

    def __init__(self) -> None:
        self.kind = "ASC,0"
        self.order = "NORM"

    @property
    def _dtype(self) -> np.dtype[np.floating]:
        return np.dtype(f"{'<' if self.order == 'SWAP' else '>'}f{4 if self.kind == 'REAL,32' else 8}")

    def encode(self, values: Reals) -> str | bytes:
        """Numbers as an answer."""
        if self.kind == "ASC,0":
            return ",".join(map(nr3, values.tolist()))
        return block(values.astype(self._dtype).tobytes())

    def decode(self, data: tuple[Datum, ...]) -> list[float]:
        """Numbers sent as parameters: a block, or one after the other.

        Raises
        ------
        ScpiError
        """
        if len(data) == 1 and data[0].kind == "block":
            raw = data[0].text.encode("latin-1")
            if self.kind == "ASC,0" or len(raw) % self._dtype.itemsize:
                raise ScpiError(-161)
            return [float(value) for value in np.frombuffer(raw, dtype=self._dtype)]
        number = Number()
        return [number.parse(datum) for datum in data]

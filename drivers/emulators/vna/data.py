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

_Z0_OHM = 50.0
_SMALLEST = 1e-30  # keeps the logarithm of nothing finite


def interleaved(values: NDArray[np.complex128]) -> Reals:
    """Real and imaginary part of each, (2 points,)."""
    return np.ascontiguousarray(values).view(np.float64)


def formatted(values: NDArray[np.complex128], frequencies_hz: Reals, form: str) -> Reals:
    """A trace as it is shown: (points,), or (2 points,) for polar and Smith charts."""
    if form in ("POL", "SMIT", "SADM", "ISM", "COMP"):
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


def in_pairs(values: NDArray[np.complex128], frequencies_hz: Reals, form: str) -> Reals:
    """A trace as it is shown, two numbers a point, (2 points,): those of rectangular formats are followed by zeros."""
    if form in ("POL", "SCOM"):
        return interleaved(values)
    if form in ("SMIT", "SADM"):
        sign = 1 if form == "SMIT" else -1
        ratio = (1 + sign * values) / np.where(values == sign, _SMALLEST, 1 - sign * values)
        return interleaved(ratio * (_Z0_OHM if form == "SMIT" else 1 / _Z0_OHM))
    if form in ("SLIN", "PLIN", "SLOG", "PLOG"):
        first = formatted(values, frequencies_hz, "MLIN" if form.endswith("LIN") else "MLOG")
        return np.stack([first, np.rad2deg(np.angle(values))], axis=1).ravel()
    first = np.rad2deg(np.angle(values)) % 360 if form == "PPH" else formatted(values, frequencies_hz, form)
    return np.stack([first, np.zeros(len(first))], axis=1).ravel()


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
    """``FORMat:DATA`` and ``FORMat:BORDer``.

    Parameters
    ----------
    order : str
        At power-up: ``NORM`` is big-endian, ``SWAP`` little-endian.
    head_digits : int, optional
        Digits of the length in the head of a block; default: as many as it needs.
    """

    def __init__(self, order: str = "NORM", head_digits: int | None = None) -> None:
        self.kind = "ASC,0"
        self.order, self.head_digits = order, head_digits

    @property
    def _dtype(self) -> np.dtype[np.floating]:
        return np.dtype(f"{'<' if self.order == 'SWAP' else '>'}f{4 if self.kind == 'REAL,32' else 8}")

    def encode(self, values: Reals) -> str | bytes:
        """Numbers as an answer."""
        if self.kind == "ASC,0":
            return ",".join(map(nr3, values.tolist()))
        return block(values.astype(self._dtype).tobytes(), self.head_digits)

    def decode(self, data: tuple[Datum, ...]) -> list[float]:
        """Numbers sent as parameters, in the format in which they would be answered: a block, or one after the other.

        Raises
        ------
        ScpiError
        """
        if len(data) == 1 and data[0].kind == "block":
            raw = data[0].text.encode("latin-1")
            if self.kind == "ASC,0" or len(raw) % self._dtype.itemsize:
                raise ScpiError(-161)
            return [float(value) for value in np.frombuffer(raw, dtype=self._dtype)]
        if self.kind != "ASC,0":
            raise ScpiError(-104)
        number = Number()
        return [number.parse(datum) for datum in data]

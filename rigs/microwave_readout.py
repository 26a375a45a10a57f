"""From S-parameters to the responses of a layer: moduli or quadratures, on a scale learned once."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from labtrain.errors import ConfigError, InstrumentError, MeasurementError

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

HARDLY = 3.0  # times its repeatability, by which an output should vary among random patterns

_KEPT = ("offset", "scale", "sigma")

log = logging.getLogger("labtrain")


class Readout:
    """Outputs in the order S-parameter, real and imaginary part, frequency.

    Parameters
    ----------
    form : "modulus" or "complex"
    s_parameters : sequence of str
    frequencies_hz : ndarray, (points,)
    """

    def __init__(
        self, form: Literal["modulus", "complex"], s_parameters: Sequence[str], frequencies_hz: NDArray[np.float64]
    ) -> None:
        self._form, self._s_parameters, self._frequencies_hz = form, tuple(s_parameters), frequencies_hz
        self._scaling: tuple[Array, Array, Array] | None = None

    @property
    def ready(self) -> bool:
        """Whether there is a scale."""
        return self._scaling is not None

    @property
    def n_out(self) -> int:
        return len(self._s_parameters) * len(self._frequencies_hz) * (1 if self._form == "modulus" else 2)

    @property
    def unit(self) -> str:
        """Of the responses: standard deviations over random patterns."""
        listed = ", ".join(self._s_parameters)
        return f"sd of |{listed}|" if self._form == "modulus" else f"sd of Re, Im {listed}"

    def names(self) -> list[str]:
        """What each output is, for people."""
        forms = ("|{}|",) if self._form == "modulus" else ("Re {}", "Im {}")
        frequencies = [f"{f / 1e9:.6g} GHz" for f in self._frequencies_hz]
        return [f"{form.format(s)} at {f}" for s in self._s_parameters for form in forms for f in frequencies]

    def unscaled(self, s: Complex) -> Array:
        """Outputs (n, n_out) of S-parameters (n, s_parameters, points)."""
        parts = np.stack([s.real, s.imag], axis=2)
        if self._form == "modulus":
            # Not abs(): it may round differently at the end of an array than in its vectorised middle.
            parts = np.sqrt(parts[:, :, 0] ** 2 + parts[:, :, 1] ** 2)
        return parts.reshape(len(s), self.n_out)

    def __call__(self, s: Complex) -> tuple[Array, Array]:
        """Responses of S-parameters (n, s_parameters, points), and the standard deviation of each: (n, n_out) both.

        Raises
        ------
        InstrumentError
            If there is no scale yet.
        """
        self.check_ready()
        assert self._scaling is not None  # just checked
        offset, scale, sigma = self._scaling
        y = (self.unscaled(s) - offset) / scale
        return y, np.broadcast_to(sigma, y.shape)

    def moves(self, s: Complex, moved: Complex) -> Array:
        """By how much responses move where S-parameters do: exact differences, no slopes.

        Parameters
        ----------
        s : ndarray, (n, s_parameters, points)
        moved : ndarray, (n, changes, s_parameters, points)

        Returns
        -------
        ndarray, (n, changes, n_out)

        Raises
        ------
        InstrumentError
            If there is no scale yet.
        """
        self.check_ready()
        assert self._scaling is not None  # just checked
        after = self.unscaled((s[:, None] + moved).reshape(-1, *s.shape[1:])).reshape(*moved.shape[:2], self.n_out)
        return (after - self.unscaled(s)[:, None]) / self._scaling[1]

    def check_ready(self) -> None:
        """Raise InstrumentError unless there is a scale."""
        if self._scaling is None:
            raise InstrumentError(
                "microwave rig: its outputs have no scale yet; call commission(), or adopt() with what it gave before"
            )

    def learn(self, y: Array, again: Array) -> dict[str, list[float]]:
        """Learn the scale from unscaled outputs y (patterns, n_out) and second readings of the first of these patterns.

        Returns
        -------
        dict
            What :meth:`adopt` takes: offset and scale as read; repeatability, scaled.

        Raises
        ------
        MeasurementError
            If no output reacts to the pixels; some that do not are named in a warning.
        """
        spread = y.std(axis=0)
        scale = np.where(spread > 0, spread, 1.0)
        differences = again - y[: len(again)]
        sigma = np.sqrt((differences**2).mean(axis=0) / 2.0)
        self._check_reactions(spread, sigma)
        return self.adopt(
            dict(zip(_KEPT, (y.mean(axis=0).tolist(), scale.tolist(), (sigma / scale).tolist()), strict=True))
        )

    def adopt(self, kept: Mapping[str, Any]) -> dict[str, list[float]]:
        """Take the scale that :meth:`learn` gave, and return it.

        Raises
        ------
        ConfigError
            If it was learned for other outputs.
        """
        scale = {name: list(kept[name]) for name in _KEPT}
        if len(scale["offset"]) != self.n_out:
            raise ConfigError(
                f"rig.frequencies_hz: commissioned with {len(scale['offset'])} outputs, now there are {self.n_out}; "
                "restore frequencies, rig.readout and rig.vna.s_parameters, or start a new run"
            )
        offset, spread, sigma = (np.array(scale[name]) for name in _KEPT)
        self._scaling = offset, spread, sigma
        return scale

    def _check_reactions(self, spread: Array, sigma: Array) -> None:
        weak = np.flatnonzero(spread <= HARDLY * sigma)
        if not len(weak):
            return
        names = self.names()
        if len(weak) == len(names):
            raise MeasurementError(
                f"microwave rig: none of {len(names)} outputs varies among random patterns by more than {HARDLY:g} "
                "times its repeatability; check that the metasurface has power and stands in the field, and "
                "rig.vna.power_dbm"
            )
        listed = ", ".join(names[i] for i in weak[:5]) + (", ..." if len(weak) > 5 else "")
        log.warning(
            "microwave rig: %d of %d outputs vary among random patterns by less than %g times their repeatability: "
            "%s; choose other rig.frequencies_hz",
            *(len(weak), len(names), HARDLY, listed),
        )

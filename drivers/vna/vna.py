"""Vna, the face of every vector network analyser: configure once, then sweep as often as there are shots."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, field_validator

from labtrain.clock import Clock
from labtrain.drivers.instrument import Instrument, InstrumentConfig
from labtrain.drivers.link import Link
from labtrain.drivers.vna.calibration import Calibration
from labtrain.errors import InputError, InstrumentError, LinkError
from labtrain.limits import Limit

Frequencies = NDArray[np.float64]
Sweep = NDArray[np.complex128]

ANY_FREQUENCY = Limit(1.0, 1e12, "Hz")  # until the instrument has told what it can do

SParameter = Annotated[str, Field(pattern=r"^S[1-9][1-9]$")]


class VnaConfig(InstrumentConfig):
    """Keys that every vector network analyser has."""

    s_parameters: tuple[SParameter, ...] = Field(
        ("S21",), min_length=1, description="what is measured; S21: into port 1, out of port 2"
    )
    if_bandwidth_hz: float = Field(
        1000.0, gt=0, description="a tenth of it: a tenth of the noise power, ten times the time"
    )
    power_dbm: float = Field(-10.0, description="source power at the port")
    averages: int = Field(1, ge=1, le=65536, description="sweeps averaged in the instrument, as complex numbers")
    max_power_dbm: float = Field(0.0, description="your own ceiling for power_dbm, whatever the instrument can do")
    frequency_limits_hz: tuple[float, float] | None = Field(
        None, description="your own range, for instance that of a licence; default: what the instrument can do"
    )
    receiver_gain_db: float = Field(
        0.0, description="largest gain from source to receiver: amplifiers less attenuators, 0 for a passive rig"
    )
    receiver_max_dbm: float = Field(
        10.0, description="highest level allowed at a receiver: its damage level (data sheet) less a margin"
    )

    @field_validator("frequency_limits_hz")
    @classmethod
    def _ascend(cls, limits: tuple[float, float] | None) -> tuple[float, float] | None:
        if limits is not None and not 0 < limits[0] < limits[1]:
            raise ValueError(f"{limits[0]:g} to {limits[1]:g} Hz is no range; give the lowest, then the highest")
        return limits


class Vna(Instrument):
    """A vector network analyser behind one link.

    :meth:`configure` sets everything with RF off; :meth:`rf` then switches it on, and each :meth:`sweep` measures.

    Parameters
    ----------
    link : Link
    config : VnaConfig
        The driver's own nested ``Config``.
    clock : Clock
    """

    config: VnaConfig

    OFF_TOLD: ClassVar[str] = "switch RF off"
    """What :meth:`safe` tells it, in the words of an error."""

    by_hand = "switch RF off at its front panel"

    if_bandwidth_range: ClassVar[Limit]
    """IF bandwidths of the family, in Hz."""

    points_range: Limit
    """Points of a sweep: of the family, and once it is open of this instrument, where that tells."""

    def __init__(self, link: Link, config: VnaConfig, clock: Clock) -> None:
        super().__init__(link, config, clock)
        self.frequency_range: Limit | None = None  # what this instrument can do, known once it is open
        self.power_range: Limit | None = None
        self.n_ports: int | None = None
        self.frequencies_hz: Frequencies = np.empty(0)
        self._on = False
        self._may_radiate = False

    def open(self) -> None:
        """As of any instrument; opened again, it has to be configured again: it may have lost everything."""
        self._on = False
        self.frequencies_hz = np.empty(0)
        super().open()

    # -- limits --------------------------------------------------------------------------------------------------

    @property
    def frequency_limits(self) -> Limit:
        """Frequencies that are allowed, in Hz: by the instrument, as far as it is known, and by the config."""
        low, high = self.config.frequency_limits_hz or (0.0, math.inf)
        range_ = self.frequency_range or Limit(0.0, math.inf)
        return Limit(max(low, range_.low), min(high, range_.high), "Hz")

    @property
    def power_limits(self) -> Limit:
        """Source powers that are allowed, in dBm: by the instrument, as far as it is known, and by the config."""
        config, range_ = self.config, self.power_range or Limit(-math.inf, math.inf)
        high = min(range_.high, config.max_power_dbm, config.receiver_max_dbm - config.receiver_gain_db)
        return Limit(range_.low, high, "dBm")

    def check(self, frequencies_hz: ArrayLike) -> Frequencies:
        """Compare what is to be configured with all limits known. Nothing is sent; the link may still be closed.

        Parameters
        ----------
        frequencies_hz : array_like, (points,)
            Ascending.

        Returns
        -------
        ndarray, (points,)

        Raises
        ------
        InputError
            Naming the key to change.
        """
        self._check_power()
        config, key = self.config, f"rig.{self.link.who}"
        bandwidth = f"set {key}.if_bandwidth_hz"
        self.if_bandwidth_range.check(config.if_bandwidth_hz, who=self.name, what="IF bandwidth", remedy=bandwidth)
        twice = sorted({name for name in config.s_parameters if config.s_parameters.count(name) > 1})
        if twice:
            raise InputError(f"{self.name}: asked {', '.join(twice)} more than once; set {key}.s_parameters")
        for name in config.s_parameters:
            if self.n_ports is not None and max(ports_of(name)) > self.n_ports:
                raise InputError(f"{self.name}: asked {name}, it has {self.n_ports} ports; set {key}.s_parameters")
        return self._checked_frequencies(frequencies_hz)

    def _check_power(self) -> None:
        config, key = self.config, f"rig.{self.link.who}"
        power, gain = f"{config.power_dbm:g} dBm", f"{config.receiver_gain_db:g} dB"
        if self.power_range is not None:
            self.power_range.check(config.power_dbm, who=self.name, what="power", remedy=f"set {key}.power_dbm")
        if config.power_dbm > config.max_power_dbm:
            raise InputError(
                f"{self.name}: asked power {power}, allowed up to {config.max_power_dbm:g} dBm ({key}.max_power_dbm); "
                f"set {key}.power_dbm"
            )
        level_dbm = config.power_dbm + config.receiver_gain_db
        if level_dbm > config.receiver_max_dbm:
            raise InputError(
                f"{self.name}: asked power {power}, which a gain of {gain} ({key}.receiver_gain_db) brings to "
                f"{level_dbm:g} dBm at the receiver, allowed up to {config.receiver_max_dbm:g} dBm "
                f"({key}.receiver_max_dbm); set {key}.power_dbm, or attenuate"
            )

    def _checked_frequencies(self, frequencies_hz: ArrayLike) -> Frequencies:
        frequencies = np.asarray(frequencies_hz, dtype=np.float64)
        key = f"rig.{self.link.who}"
        if frequencies.ndim != 1 or not len(frequencies):
            raise InputError(f"{self.name}: asked frequencies of shape {frequencies.shape}, needs a list of them")
        falls = np.flatnonzero(~(np.diff(frequencies) > 0))
        if len(falls):
            before, after = (f"{frequencies[falls[0] + step]:.12g} Hz" for step in (0, 1))
            raise InputError(f"{self.name}: asked frequencies out of order, {after} after {before}; sort them")
        points = "measure at fewer frequencies (rig.frequencies_hz)"
        self.points_range.check(len(frequencies), who=self.name, what="points", remedy=points)
        own = self.config.frequency_limits_hz
        for limit, remedy in (
            (self.frequency_range or ANY_FREQUENCY, "set rig.frequencies_hz"),
            (own and Limit(*own, "Hz"), f"set rig.frequencies_hz or {key}.frequency_limits_hz"),
        ):
            for frequency in frequencies[[0, -1]]:
                if limit:
                    limit.check(float(frequency), who=self.name, what="frequency", remedy=remedy)
        return frequencies

    # -- measuring -----------------------------------------------------------------------------------------------

    def configure(self, frequencies_hz: ArrayLike) -> None:
        """Prepare sweeps over these frequencies with the settings of the config; RF is off afterwards.

        Parameters
        ----------
        frequencies_hz : array_like, (points,)
            Any that ascend; those on a uniform grid are swept as one.

        Raises
        ------
        InputError
            For what lies outside a limit; nothing has been sent then.
        InstrumentError
        """
        frequencies = self.check(frequencies_hz)
        self.rf(False)
        self.frequencies_hz = np.empty(0)
        self._configure(frequencies)
        self.frequencies_hz = frequencies

    def rf(self, on: bool) -> None:
        """Switch the source on or off.

        Raises
        ------
        InstrumentError
            If it does not say that it is, or is to be switched on before :meth:`configure` has set its power.
        """
        if on and not len(self.frequencies_hz):
            raise InstrumentError(f"{self.name}: asked RF on before configure(), which sets its power")
        self._on = False
        self._may_radiate = self._may_radiate or on
        self._switch(on)
        self._on = self._may_radiate = on

    def sweep(self) -> Sweep:
        """Measure once at all frequencies, averages included.

        Returns
        -------
        ndarray, (s_parameters, points)
            In the order of the config.

        Raises
        ------
        InstrumentError
        """
        if not self._on:
            raise InstrumentError(f"{self.name}: asked a sweep with RF off; call configure(), then rf(True)")
        return self._sweep()

    def safe(self) -> None:
        """Switch RF off and stop sweeping, whatever is under way; nothing if the instrument was never reached."""
        if self._may_radiate or (self.link.is_open and self.identity):
            self._on = False
            self._stop()
            self._may_radiate = False

    def close(self) -> None:
        """Make safe, put back the settings found and close; may be called twice. RF stays off."""
        try:
            self.safe()
        except BaseException:
            self._before = {}  # it does not answer: nothing can be put back
            raise
        finally:
            super().close()

    def _stop(self) -> None:
        """Switch RF off and stop sweeping; once more where that broke off, over a link that is brought back in step."""
        try:
            self._say_off()
        except LinkError as error:
            try:
                self._say_off()
            except LinkError as again:
                why = str(again).removeprefix(f"{self.name}: ")
                raise InstrumentError(f"{self.name}: told to {self.OFF_TOLD}, but did not confirm it: {why}") from error

    # -- what a driver fills -------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def sweep_s(self) -> float:
        """How long a sweep takes, averages included, in seconds; known once configured."""

    @abstractmethod
    def calibration(self) -> Calibration:
        """The correction in use; to be read after :meth:`configure`, which may change it."""

    @abstractmethod
    def _configure(self, frequencies_hz: Frequencies) -> None:
        """Set everything and check that the instrument took it."""

    @abstractmethod
    def _switch(self, on: bool) -> None:
        """Switch RF on or off, and check that it is."""

    @abstractmethod
    def _sweep(self) -> Sweep:
        """Measure, (s_parameters, points)."""

    @abstractmethod
    def _say_off(self) -> None:
        """Switch RF off and stop sweeping within about a second, also on a dirty link; raise LinkError if not."""


def ports_of(s_parameter: str) -> tuple[int, int]:
    """To and from: (2, 1) of S21."""
    return int(s_parameter[1]), int(s_parameter[2])


def is_uniform(frequencies_hz: Frequencies, tolerance_hz: float) -> bool:
    """Whether frequencies (points,) lie on a uniform grid from the first to the last, within `tolerance_hz`."""
    grid = np.linspace(frequencies_hz[0], frequencies_hz[-1], len(frequencies_hz))
    return bool(np.abs(frequencies_hz - grid).max() <= tolerance_hz)

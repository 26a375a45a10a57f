"""SoundInterface, speakers and microphones behind one converter: channels, limits, calibration, silence.

The converter itself is a :class:`labtrain.drivers.stream.SampleStream`; drivers add how theirs is found and opened.
Speakers and microphones are counted from 1 in the order of the configuration; channels are those printed on the box.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from labtrain.clock import Clock
from labtrain.config import InputPath, Section
from labtrain.drivers.address import SIM
from labtrain.drivers.backends.memory_stream import MemoryStream, SoundEmulator
from labtrain.drivers.device import Device, DeviceConfig
from labtrain.drivers.sound_limits import P0_PA, OutputCheck, OutputLimits, sound_guard
from labtrain.drivers.stream import SampleStream
from labtrain.errors import InputError

Array = NDArray[np.float64]


class LoopbackConfig(Section):
    """A cable from an output to an input: what it carries tells, sample by sample, that nothing was lost."""

    output: int = Field(ge=1, description="output channel that the cable is in")
    input: int = Field(ge=1, description="input channel that it leads to")
    level: float = Field(0.25, gt=0, le=0.9, description="peak of the mark on it, as a fraction of full scale")


class SoundConfig(DeviceConfig):
    """Keys of every driver of speakers and microphones."""

    device: str = Field(SIM, min_length=1, description="sim, or its name")
    rate_hz: float = Field(48_000.0, gt=0, description="sample rate; exactly this one, or an error")
    speakers: tuple[int, ...] = Field((1, 2, 3, 4), min_length=1, description="output channels, from 1")
    microphones: tuple[int, ...] = Field((1, 2, 3, 4), min_length=1, description="input channels, from 1")
    loopback: LoopbackConfig | None = Field(
        None, description="a cable from an output to an input; without it marks are the sounds themselves"
    )
    volts_full_scale: float | tuple[float, ...] | None = Field(
        None, description="volts (peak) at full scale of the speakers' outputs, amplifier included; one, or one each"
    )
    pascal_full_scale: float | tuple[float, ...] | None = Field(
        None, description="pascal (peak) at full scale of the microphones' inputs; one, or one each"
    )
    sensitivity_file: InputPath | None = Field(
        None, description="CSV with columns microphone, pascal_full_scale; labtrain calibrate writes it"
    )
    max_peak: float | tuple[float, ...] = Field(0.9, description="largest output, as a fraction of full scale")
    max_rms: float | tuple[float, ...] = Field(0.5, description="largest RMS of an output over any 0.1 s, likewise")
    max_coil_rms_v: float | None = Field(
        None, gt=0, description="largest RMS over any second at a voice coil, in volts; needs volts_full_scale"
    )
    max_spl_db: float | None = Field(
        None, gt=0, le=140, description="sound level at a microphone that silences the output; needs a calibration"
    )
    spl_full_scale_db: tuple[float, ...] | None = Field(
        None, description="sound level of each speaker at full scale where it is loudest; labtrain survey measures it"
    )

    @model_validator(mode="after")
    def _fits(self) -> SoundConfig:
        for name, channels in (("speakers", self.speakers), ("microphones", self.microphones)):
            if min(channels) < 1:
                raise ValueError(f"{name} {list(channels)}: channels are counted from 1")
            if len(set(channels)) < len(channels):
                raise ValueError(f"{name} {list(channels)}: a channel is named twice")
        if self.loopback is not None:
            if self.loopback.output in self.speakers:
                raise ValueError(f"loopback.output {self.loopback.output} is the channel of a speaker too")
            if self.loopback.input in self.microphones:
                raise ValueError(f"loopback.input {self.loopback.input} is the channel of a microphone too")
        per_speaker = ("volts_full_scale", "max_peak", "max_rms", "spl_full_scale_db")
        for name in (*per_speaker, "pascal_full_scale"):
            value, count = getattr(self, name), len(self.speakers if name in per_speaker else self.microphones)
            if isinstance(value, tuple) and len(value) != count:
                raise ValueError(f"{name} has {len(value)} values for {count} channels")
            if value is not None and name != "spl_full_scale_db" and np.min(value) <= 0:
                raise ValueError(f"{name} {value} must be above 0")
        if np.max(self.max_peak) > 1 or np.max(self.max_rms) > 1:
            raise ValueError("max_peak and max_rms are fractions of full scale, at most 1")
        if self.pascal_full_scale is not None and self.sensitivity_file is not None:
            raise ValueError("pascal_full_scale and sensitivity_file both calibrate the microphones; keep one of them")
        if self.max_coil_rms_v is not None and self.volts_full_scale is None:
            raise ValueError("max_coil_rms_v needs volts_full_scale")
        if self.max_spl_db is not None and self.pascal_full_scale is None and self.sensitivity_file is None:
            raise ValueError("max_spl_db needs calibrated microphones: pascal_full_scale or sensitivity_file")
        return self

    @property
    def outputs(self) -> tuple[int, ...]:
        """Output channels in use: speakers, then the loopback's."""
        return self.speakers if self.loopback is None else (*self.speakers, self.loopback.output)

    @property
    def inputs(self) -> tuple[int, ...]:
        """Input channels in use: microphones, then the loopback's."""
        return self.microphones if self.loopback is None else (*self.microphones, self.loopback.input)

    def volts(self) -> Array | None:
        """Volts at full scale, (speakers,); None if not calibrated."""
        return None if self.volts_full_scale is None else np.broadcast_to(self.volts_full_scale, len(self.speakers))

    def pascal(self) -> Array | None:
        """Pascal at full scale, (microphones,); None if not calibrated.

        Raises
        ------
        InputError
            If the file of sensitivities cannot be read or lacks a microphone.
        """
        if self.sensitivity_file is not None:
            return _read_sensitivities(self.sensitivity_file, len(self.microphones))
        if self.pascal_full_scale is None:
            return None
        return np.broadcast_to(np.array(self.pascal_full_scale, dtype=np.float64), len(self.microphones))


class SoundInterface(Device):
    """Speakers and microphones on one sample stream.

    Samples go to the speakers in configured order, with the loopback's output behind them; they come from the
    microphones, with the loopback's input behind them: (frames, speakers [+ 1]) and (frames, microphones [+ 1]).

    Parameters
    ----------
    stream : SampleStream
    config : SoundConfig
    clock : Clock
    """

    by_hand: ClassVar[str] = "switch the amplifiers off"

    config: SoundConfig

    def __init__(self, stream: SampleStream, config: SoundConfig, clock: Clock) -> None:
        super().__init__(config, clock)
        self.stream = stream
        self._check_output: OutputCheck | None = None

    @classmethod
    def make(cls, who: str, config: SoundConfig, clock: Clock, emulator: SoundEmulator | None = None) -> Self:
        """The driver on its stream, unopened.

        Parameters
        ----------
        who : str
            Section of the configuration: ``audio``.
        emulator : SoundEmulator, optional
            What answers at ``sim``: speakers, then its loopback; microphones, then its loopback.

        Raises
        ------
        InputError
            If the device is ``sim`` and there is no emulator.
        """
        if config.device != SIM:
            return cls(cls._stream(who, config, clock), config, clock)
        if emulator is None:
            raise InputError(f"{who} (sim): nothing is simulated here; set rig.{who}.device to the name of a device")
        loop = config.loopback is not None
        stream = MemoryStream(
            who,
            emulator,
            clock,
            outputs=tuple(range(1, len(config.speakers) + loop + 1)),
            inputs=tuple(range(1, len(config.microphones) + loop + 1)),
            rate_hz=config.rate_hz,
        )
        return cls(stream, config, clock)

    @property
    def key(self) -> str:
        """Section of the configuration."""
        return f"rig.{self.stream.who}"

    @property
    def name(self) -> str:
        return self.stream.name

    @property
    def who(self) -> str:
        return self.stream.who

    @property
    def address(self) -> str:
        return self.stream.address

    @property
    def where(self) -> str:
        return self.stream.where

    @property
    def is_open(self) -> bool:
        return self.stream.is_open

    @property
    def rate_hz(self) -> float:
        return self.config.rate_hz

    @property
    def n_speakers(self) -> int:
        return len(self.config.speakers)

    @property
    def n_microphones(self) -> int:
        return len(self.config.microphones)

    @property
    def has_loopback(self) -> bool:
        return self.config.loopback is not None

    def open(self) -> None:
        config, pascal = self.config, self.config.pascal()
        self._check_output = OutputCheck(
            self.name,
            self.key,
            OutputLimits(
                np.broadcast_to(config.max_peak, self.n_speakers),
                np.broadcast_to(config.max_rms, self.n_speakers),
                config.max_coil_rms_v,
                config.volts(),
                config.max_spl_db,
                None if config.spl_full_scale_db is None else np.array(config.spl_full_scale_db),
            ),
            config.speakers,
            config.rate_hz,
        )
        if config.max_spl_db is not None and pascal is not None:
            self._check_hearing(config.max_spl_db, pascal)
            columns = range(self.n_microphones)
            self.stream.watch = sound_guard(self.name, self.key, config.max_spl_db, pascal, config.rate_hz, columns)
        self.stream.open()
        self.identity = self._identify()

    def reach(self) -> None:
        self.open()

    def safe(self) -> None:
        """Fade out what is being played; the stream goes on with silence."""
        if self.stream.is_open:
            self.stream.silence()

    def close(self) -> None:
        self.stream.close()

    def drop(self) -> None:
        self.stream.close()

    def play(self, speakers: Array, loopback: Array | None = None) -> int:
        """Check samples against the limits and queue them without a gap; returns the frame at which they leave.

        Parameters
        ----------
        speakers : ndarray, (frames, n_speakers)
            Fractions of full scale.
        loopback : ndarray, (frames,), optional
            Of the cable, if there is one; silence by default.

        Raises
        ------
        UnsafeError
            If a limit would be exceeded; nothing is played.
        InputError, LinkError
            As of SampleStream.play.
        """
        if self._check_output is None:
            raise InputError(f"{self.name}: is not open; call open() or use it in a with statement")
        speakers = np.asarray(speakers, dtype=np.float64)
        if speakers.ndim != 2 or speakers.shape[1] != self.n_speakers:
            raise InputError(
                f"{self.name}: asked to play an array of shape {speakers.shape}, needed (frames, {self.n_speakers}), "
                f"a column for each of {self.key}.speakers"
            )
        if loopback is not None and not self.has_loopback:
            raise InputError(f"{self.name}: asked to play a mark on a loopback, there is none; set {self.key}.loopback")
        mark = np.zeros(len(speakers)) if loopback is None else np.asarray(loopback, dtype=np.float64)
        if mark.shape != (len(speakers),):
            raise InputError(
                f"{self.name}: asked to play a mark of shape {mark.shape}, needed ({len(speakers)},) as the sound has"
            )
        self._check_output(speakers)
        return self.stream.play(np.column_stack([speakers, mark]) if self.has_loopback else speakers)

    def record(self, start: int, frames: int, check: Callable[[], object] = lambda: None) -> Array:
        """As SampleStream.record: (frames, n_microphones [+ 1])."""
        return self.stream.record(start, frames, check)

    def transfer(
        self, speakers: Array, loopback: Array | None = None, check: Callable[[], object] = lambda: None
    ) -> Array:
        """Play, and return what came in the same frames; raises as :meth:`play` and :meth:`record`."""
        return self.record(self.play(speakers, loopback), len(speakers), check)

    def settings(self) -> dict[str, Any]:
        """Rate, channels, and what they are in volts and pascal."""
        config, volts, pascal = self.config, self.config.volts(), self.config.pascal()
        return {
            "rate_hz": config.rate_hz,
            "speakers": list(config.speakers),
            "microphones": list(config.microphones),
            "loopback": None if config.loopback is None else config.loopback.model_dump(),
            "volts_full_scale": None if volts is None else volts.tolist(),
            "pascal_full_scale": None if pascal is None else pascal.tolist(),
        }

    def setup(self) -> str:
        """Changes with what could make a playback louder than the last one: device, channels, limits."""
        limits = self.config.model_dump(mode="json", include={"speakers", "max_peak", "max_rms", "max_coil_rms_v"})
        told = json.dumps({"identity": self.identity, **limits}, sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:16]

    def _check_hearing(self, max_spl_db: float, pascal: Array) -> None:
        """A microphone whose converter clips below the limit would never notice that it is exceeded."""
        deaf = int(np.argmin(pascal))
        most = 20.0 * math.log10(pascal[deaf] / math.sqrt(2.0) / P0_PA)
        if most < max_spl_db:
            raise InputError(
                f"{self.name}: microphone {deaf + 1} clips at {most:.0f} dB SPL and cannot tell when max_spl_db "
                f"{max_spl_db:g} is exceeded; turn its gain down and calibrate it again, or lower {self.key}.max_spl_db"
            )

    # -- what a driver fills -------------------------------------------------------------------------------------

    @classmethod
    @abstractmethod
    def _stream(cls, who: str, config: Any, clock: Clock) -> SampleStream:
        """The stream to a device that is not ``sim``, unopened; `config` is the driver's own."""

    @abstractmethod
    def _identify(self) -> str:
        """Name of the device that was opened."""


def _read_sensitivities(path: InputPath, count: int) -> Array:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); labtrain calibrate writes it, or set "
            "rig.audio.pascal_full_scale"
        ) from None
    found = np.full(count, np.nan)
    for number, row in enumerate(rows, start=2):
        try:
            microphone, pascal = int(row["microphone"]), float(row["pascal_full_scale"])
        except (KeyError, TypeError, ValueError):
            raise InputError(
                f"{path}:{number}: needs the columns microphone (a whole number) and pascal_full_scale (a number)"
            ) from None
        if not (math.isfinite(pascal) and pascal > 0):
            raise InputError(f"{path}:{number}: pascal_full_scale is {pascal:g}, allowed are numbers above 0")
        if 1 <= microphone <= count:
            found[microphone - 1] = pascal
    missing = np.flatnonzero(np.isnan(found))
    if len(missing):
        raise InputError(
            f"{path}: no row for microphone {missing[0] + 1}; labtrain calibrate CONFIG --microphone {missing[0] + 1} "
            "adds it"
        )
    return found

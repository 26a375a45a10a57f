"""Settings of the acoustic rig."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from labtrain.config import Registered, Section
from labtrain.drivers.address import SIM
from labtrain.drivers.device import DeviceConfig
from labtrain.drivers.emulators.sound import Converter
from labtrain.drivers.sound import SoundConfig, SoundInterface
from labtrain.errors import InputError
from labtrain.rigs.recovery import RecoveryConfig
from labtrain.rigs.rig_config import RigConfig
from labtrain.sim.acoustic import AcousticParameters
from labtrain.sim.acoustic_disturbances import known
from labtrain.sim.disturbances import Known

TOLD = "speakers and microphones"

_DEFAULT, _CONVERTER = AcousticParameters(), Converter()
RATE_HZ = 48_000.0  # where no converter says otherwise


class ShotConfig(Section):
    """How a shot is played and what is kept of it."""

    level: float = Field(0.15, gt=0, le=1, description="amplitude of a tone at drive 1, as a fraction of full scale")
    ramp_s: float = Field(0.005, ge=0.001, le=0.1, description="of every change of amplitude; part of the settling")
    guard_periods: int = Field(
        0, ge=0, description="silence after each shot; 0: the next one is faded in while this one is faded out"
    )
    playback_s: float = Field(10.0, gt=0, le=25, description="longest playback; a batch is one, or several")
    decay_s: float | None = Field(
        None, gt=0, description="what the room needs to settle, as labtrain survey found; settling may not be shorter"
    )
    keep_good: float = Field(0.0, ge=0, le=1, description="share of good shots whose waveforms are kept with the run")
    keep_bad: int = Field(100, ge=0, description="bad shots whose waveforms are kept with the run, at most")


class ShotRecoveryConfig(RecoveryConfig):
    """The budget; a bad shot costs its own time and nothing else."""

    per_run: int = Field(10_000, ge=0, description="the same, for all shots since the rig was opened")


class ConverterConfig(Section):
    """The emulated converter between the simulated cavity and the driver."""

    flow_full_scale_m3_s: float = Field(
        _CONVERTER.flow_full_scale_m3_s, gt=0, description="volume velocity of a speaker at full scale"
    )
    pascal_full_scale: float = Field(
        _CONVERTER.pascal_full_scale, gt=0, description="pressure at full scale of a microphone's input"
    )
    noise_pa: float = Field(_CONVERTER.noise_pa, ge=0, description="RMS of each microphone's noise, in pascal")
    hum_pa: float = Field(_CONVERTER.hum_pa, ge=0, description="mains hum at each microphone, in pascal")
    hum_hz: float = Field(_CONVERTER.hum_hz, gt=0, description="mains frequency")
    latency_frames: int = Field(_CONVERTER.latency_frames, ge=0, le=48_000, description="from output to input")
    clock_ppm: float = Field(
        _CONVERTER.clock_ppm, ge=-500, le=500, description="by how much the input's clock is faster than the output's"
    )
    loopback_gain: float = Field(_CONVERTER.loopback_gain, ge=0, description="of the cable; 0: it is pulled out")

    def parameters(self) -> Converter:
        """The converter of these settings."""
        return Converter(**self.model_dump())


class AcousticConfig(RigConfig):
    """Settings of the acoustic rig; what is not named here is as in AcousticParameters."""

    PARTS = ("audio", "amplifiers", "other")

    type: Literal["acoustic"]
    fidelity: Literal["physics", "instruments"] | None = Field(
        None,
        description="physics: the simulated cavity itself answers; instruments: the driver in rig.audio plays and "
        "records; default: instruments where there is a section rig.audio, else physics",
    )
    seed: int = Field(0, description="of noise and drift, until a trial restarts the rig with its own")
    audio: Annotated[DeviceConfig, Registered("drivers", "driver", SoundInterface, TOLD)] | None = Field(
        None, description=f"a driver of {TOLD}"
    )
    tone_bins: tuple[int, ...] = Field(_DEFAULT.tone_bins, description="tones, in cycles per period")
    tones_hz: tuple[float, ...] | None = Field(None, description="the same in Hz, instead of tone_bins; on the grid")
    period_frames: int = Field(2048, ge=64, le=1 << 16, description="frames in one period of the grid of tones")
    settle_periods: int = Field(6, ge=0, description="periods before recording; 6 of 2048/48000 s are 0.26 s")
    average_periods: int = Field(2, ge=1, description="periods recorded and averaged; 2 are 0.09 s")
    readout: Literal["modulus", "complex"] = Field(
        "modulus", description="of each tone: its amplitude, or its real and imaginary part"
    )
    product_bins: tuple[int, ...] = Field(
        (), description="further bins to read: harmonics and intermodulation products; instruments alone"
    )
    shot: ShotConfig = ShotConfig()
    recovery: ShotRecoveryConfig = ShotRecoveryConfig()
    converter: ConverterConfig = ConverterConfig()
    geometry_seed: int = Field(_DEFAULT.geometry_seed, description="where everything stands")
    speakers: int = Field(_DEFAULT.speakers, ge=1, le=16, description="of the simulated cavity")
    microphones: int = Field(_DEFAULT.microphones, ge=1, le=16, description="of the simulated cavity")
    membranes: int = Field(_DEFAULT.membranes, ge=1, le=16)
    discs: int = Field(_DEFAULT.discs, ge=0, le=10, description="rigid scatterers standing in the cavity")
    full_drive_m3_s: float = Field(_DEFAULT.full_drive_m3_s, gt=0, description="volume velocity at drive 1")
    cubic_n_m3: float = Field(_DEFAULT.cubic_n_m3, ge=0, description="cubic spring of the membranes; 0: linear")
    noise: float = Field(_DEFAULT.noise, ge=0, le=1, description="share of each channel's rms amplitude; physics alone")
    temperature_c: float = Field(_DEFAULT.temperature_c, ge=-20, le=60)
    drift_walk_k: float = Field(_DEFAULT.drift_walk_k, ge=0, description="temperature's random step per 256 shots")
    drift_sine_k: float = Field(_DEFAULT.drift_sine_k, ge=0, description="amplitude of the temperature's sine")
    drift_period_shots: float = Field(_DEFAULT.drift_period_shots, gt=0, description="period of that sine")
    scatterer_moves_at_shot: int | None = Field(None, ge=0, description="shot at which disc 0 is bumped into")
    scatterer_move_m: float = Field(_DEFAULT.scatterer_move_m, description="how far disc 0 then moves along x")

    @property
    def on_instruments(self) -> bool:
        """Whether a driver plays and records."""
        return self.audio is not None and self.fidelity != "physics"

    @property
    def sound(self) -> SoundConfig:
        """The section `audio`."""
        assert isinstance(self.audio, SoundConfig)  # validated
        return self.audio

    @property
    def simulated(self) -> bool:
        """Whether the cavity is simulated in this process."""
        return not self.on_instruments or getattr(self.audio, "device", None) == SIM

    @property
    def rate_hz(self) -> float:
        return self.sound.rate_hz if self.audio is not None else RATE_HZ

    @property
    def period_s(self) -> float:
        """One period of the grid."""
        return self.period_frames / self.rate_hz

    @property
    def tones(self) -> tuple[int, ...]:
        """Tones, in cycles per period."""
        if self.tones_hz is None:
            return self.tone_bins
        return tuple(round(tone * self.period_s) for tone in self.tones_hz)

    def disturbances(self) -> Known:
        """What can happen to the simulated cavity.

        Raises
        ------
        InputError
            If the sound goes to a device, behind which nobody can be told of a disturbance.
        """
        if not self.simulated:
            device = getattr(self.audio, "device", "?")
            raise InputError(
                f"rig.audio.device is {device!r}, and what stands before a sound card, real or emulated, cannot be "
                "disturbed from here; leave the section out, or set rig.audio.device: sim"
            )
        return known(self.parameters())

    def parameters(self) -> AcousticParameters:
        """The cavity that the config describes.

        Raises
        ------
        InputError
            If the tones do not fit the simulation.
        """
        has = type(self).model_fields
        chosen = {f.name: getattr(self, f.name) for f in fields(AcousticParameters) if f.name in has}
        chosen |= {"tone_bins": self.tones, "bin_hz": 1.0 / self.period_s}
        if self.on_instruments:  # a real rig may play any tone, and so may the emulated one: room for its products
            chosen["bins"] = max(_DEFAULT.bins, self.tones[-1] + len(self.tones))
        if self.audio is not None:
            chosen |= {"speakers": len(self.sound.speakers), "microphones": len(self.sound.microphones)}
        return AcousticParameters(**chosen)

    @model_validator(mode="after")
    def _fits(self) -> AcousticConfig:
        if self.audio is None and self.fidelity == "instruments":
            raise ValueError("fidelity: instruments needs a section audio: with a driver of speakers and microphones")
        self._check_tones()
        if self.audio is not None:
            for key, channels in (("speakers", self.sound.speakers), ("microphones", self.sound.microphones)):
                if getattr(self, key) not in (len(channels), self._default(key)):
                    raise ValueError(
                        f"{key}: {getattr(self, key)} in the cavity, audio.{key} names {len(channels)} channels; leave "
                        f"{key} out, the channels count"
                    )
        if self.on_instruments:
            self._check_shot()
        elif self.product_bins or self.readout != "modulus":
            raise ValueError("product_bins and readout: complex need instruments; add a section audio:")
        return self

    def _default(self, key: str) -> object:
        # Not what is in model_fields_set: the configuration that a run keeps names every key.
        return type(self).model_fields[key].default

    def _check_tones(self) -> None:
        half_hz = self.rate_hz / 2.0
        if self.tones_hz is not None:
            if self.tone_bins != self._default("tone_bins"):
                raise ValueError("tones_hz and tone_bins both name the tones; keep one of them")
            for number, tone in enumerate(self.tones_hz):
                below = int(np.floor(tone * self.period_s))
                if abs(tone * self.period_s - round(tone * self.period_s)) > 1e-6:
                    raise ValueError(
                        f"tones_hz.{number}: {tone:g} Hz is off the grid of {1 / self.period_s:.6g} Hz "
                        f"(audio.rate_hz / period_frames); the nearest tones are {below / self.period_s:.10g} and "
                        f"{(below + 1) / self.period_s:.10g} Hz"
                    )
        named = "tone_bins" if self.tones_hz is None else "tones_hz"
        for key, bins in ((named, self.tones), ("product_bins", self.product_bins)):
            if list(bins) != sorted(set(bins)) or (bins and bins[0] < 1) or (key != "product_bins" and not bins):
                raise ValueError(f"{key}: {list(bins)} in cycles per period must rise from 1 or more, none twice")
            if bins and 2 * bins[-1] >= self.period_frames:
                raise ValueError(
                    f"{key}: bin {bins[-1]} is {bins[-1] / self.period_s:.6g} Hz, not below half the sample rate, "
                    f"{half_hz:.6g} Hz; choose a lower tone or raise audio.rate_hz"
                )
        if both := sorted(set(self.tones) & set(self.product_bins)):
            raise ValueError(f"product_bins: bin {both[0]} is a tone already")

    def _check_shot(self) -> None:
        if self.average_periods < 2:
            raise ValueError(
                "average_periods: 1, needed at least 2: what differs between periods shows noise and disturbances"
            )
        shot, settle_s = self.shot, self.settle_periods * self.period_s
        if shot.ramp_s > settle_s:
            raise ValueError(f"settle_periods: {settle_s:.3g} s are shorter than shot.ramp_s, {shot.ramp_s:g} s")
        guard_s = shot.guard_periods * self.period_s
        if shot.guard_periods and shot.ramp_s > guard_s:
            raise ValueError(f"shot.guard_periods: {guard_s:.3g} s are shorter than shot.ramp_s, {shot.ramp_s:g} s")
        shot_s = (self.settle_periods + self.average_periods + shot.guard_periods) * self.period_s
        if shot_s > shot.playback_s:
            raise ValueError(f"shot.playback_s: {shot.playback_s:g} s hold no shot, one takes {shot_s:.3g} s")
        if shot.decay_s is not None:
            needed = int(np.ceil(shot.decay_s / self.period_s - 1e-9))
            guards = (("shot.guard_periods", shot.guard_periods),) if shot.guard_periods else ()
            for key, periods in (("settle_periods", self.settle_periods), *guards):
                if periods < needed:
                    raise ValueError(
                        f"{key}: {periods} periods are {periods * self.period_s:.3g} s, shorter than the decay of the "
                        f"room, {shot.decay_s:g} s (shot.decay_s); set {needed} or more"
                    )
        peak = shot.level * len(self.tones)
        most = float(np.min(self.sound.max_peak))
        if peak > most:
            raise ValueError(
                f"shot.level: {len(self.tones)} tones of {shot.level:g} may reach {peak:.3g} of full scale, allowed "
                f"{most:g} (audio.max_peak); set {np.floor(1000 * most / len(self.tones)) / 1000:g} or less"
            )
        one, most = np.sqrt(len(self.tones) / 2.0), float(np.min(self.sound.max_rms))
        if shot.level * one > most:
            raise ValueError(
                f"shot.level: {len(self.tones)} tones of {shot.level:g} have an RMS of {shot.level * one:.3g} of full "
                f"scale, allowed {most:g} (audio.max_rms); set {np.floor(1000 * most / one) / 1000:g} or less"
            )

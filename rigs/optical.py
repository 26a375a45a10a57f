"""An optical bench: drives become patterns of a spatial light modulator, frames of a camera the responses."""

from __future__ import annotations

import logging
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labtrain.clock import Clock, SimulatedClock
from labtrain.drivers.device import Device
from labtrain.drivers.illumination import Illumination
from labtrain.drivers.image_camera import ImageCamera
from labtrain.drivers.light_modulator import LightModulator
from labtrain.errors import InputError, InstrumentError
from labtrain.layer import Shots, ShotSink
from labtrain.registry import resolve
from labtrain.rigs import dark_frame
from labtrain.rigs.optical_bench import FrameBench, InstrumentFrames, SimulatedFrames
from labtrain.rigs.optical_commissioning import ROUNDS, Looks, look
from labtrain.rigs.optical_config import OpticalConfig
from labtrain.rigs.optical_instruments import InstrumentLayer, OpticalInstruments
from labtrain.rigs.optical_layer import OpticalLayer, SimulatedBench
from labtrain.rigs.optical_setup import arrange, emulated_optics, layer_info
from labtrain.rigs.optical_shots import ShotProtocol, mean_square
from labtrain.rigs.recovery import Recovery
from labtrain.rigs.rig import Rig
from labtrain.rigs.saturation import too_bright
from labtrain.rigs.simulated_optics import SimulatedOptics
from labtrain.sim.optical import OpticalWorld

Array = NDArray[np.float64]

COMMISSION_PATTERNS = 5  # random ones, from which light, change and the age of frames are learned
COMMISSION_SHOTS = COMMISSION_PATTERNS * (1 + ROUNDS)

log = logging.getLogger("labtrain")


class OpticalRig(Rig):
    """The simulated bench alone, or one behind the drivers of a modulator and a camera, emulated or real."""

    Config = OpticalConfig

    config: OpticalConfig

    def __init__(self, config: OpticalConfig, clock: Clock) -> None:
        super().__init__(config, clock)
        # In a simulation nobody waits for the modulator to settle: the instruments have a time of their own.
        self._instrument_clock: Clock = SimulatedClock() if config.simulated else clock
        self._bench: SimulatedBench | None = None
        self._emulator: SimulatedOptics | None = None
        self._instruments: OpticalInstruments | None = None
        self._instrument_layers: tuple[InstrumentLayer, ...] = ()

    # -- building and opening ------------------------------------------------------------------------------------

    def build_world(self) -> OpticalWorld:
        """A new bench, before its first shot, as the first layer sees it."""
        return self._worlds()[0]

    def _worlds(self) -> list[OpticalWorld]:
        config = self.config
        return [OpticalWorld(parameters, config.seed, workers=config.workers) for parameters in config.benches]

    def build_instruments(self) -> dict[str, Device]:
        """Drivers of modulator and camera, unopened; in a simulation with the emulated bench behind them."""
        config = self.config
        if not config.on_instruments:
            return {}
        emulator = None
        if config.simulated:
            self._bench = SimulatedBench(self._worlds())
            emulator = emulated_optics(config, self._bench.worlds[0], self._instrument_clock)
            self._emulator = SimulatedOptics(emulator, self._bench.worlds)
        made: dict[str, Device] = {}
        for name, section in (("slm", config.modulator), ("camera", config.imager)):
            driver = resolve("drivers", getattr(section, "driver"))  # noqa: B009 (each driver's Literal)
            made[name] = driver.make(name, section, self._instrument_clock, emulator)
        if (lamp := config.illumination) is not None:  # the last to be opened, the first to be made safe
            switch = None if self._emulator is None else self._emulator.light
            driver = resolve("drivers", getattr(lamp, "driver"))  # noqa: B009 (each driver's Literal)
            made["illumination"] = driver.make("illumination", lamp, self._instrument_clock, switch)
        return made

    def open(self) -> None:
        """Build the bench, or open modulator and camera and check that they are what the config describes.

        No light leaves them: an illumination that is the rig's is switched on with the first pattern.

        Raises
        ------
        InstrumentError
            If an instrument refuses, or only one of them is an emulator.
        InputError
            For what the modulator or the camera does not have.
        """
        config = self.config
        if self.trace_io is not None:
            raise InputError(
                f"--trace-io {self.trace_io}: this rig exchanges patterns and frames, not bytes; leave the option out"
            )
        if not config.on_instruments:
            self._bench = bench = SimulatedBench(self._worlds())
            if told := too_bright(bench.worlds[0]):
                key = "rig.world.exposure_s" if config.camera is None else "rig.camera.exposure_s"
                log.warning("optical bench: %s; set %s", told, key)
            self.layers = tuple(
                OpticalLayer(number, bench, config.settle_s, config.readout_s, config.workers, self.clock)
                for number in range(len(bench.worlds))
            )
            return
        if not config.simulated:
            for device in self.build_instruments().values():
                device.check()  # type: ignore[attr-defined]  # before the first of them opens
        self.open_instruments()
        self._instruments = self._set_up()
        self._instrument_layers = tuple(
            InstrumentLayer(
                number, self._instruments, parameters, layer_info(config, self.slm, self.camera, parameters)
            )
            for number, parameters in enumerate(config.benches)
        )
        self.layers = self._instrument_layers

    @property
    def slm(self) -> LightModulator:
        """The modulator, opened.

        Raises
        ------
        InstrumentError
            If the rig has no instruments.
        """
        found = self.instruments.get("slm")
        if not isinstance(found, LightModulator):
            raise _no_instruments()
        return found

    @property
    def camera(self) -> ImageCamera:
        """The camera, opened; raises as :attr:`slm`."""
        found = self.instruments.get("camera")
        if not isinstance(found, ImageCamera):
            raise _no_instruments()
        return found

    def _set_up(self) -> OpticalInstruments:
        config, slm, camera = self.config, self.slm, self.camera
        if slm.emulated != camera.emulated:
            emulated, other = (slm, camera) if slm.emulated else (camera, slm)
            raise InstrumentError(
                f"{emulated.name} is simulated and {other.name} is not, so neither would see the other; correct "
                f"{other.where}"
            )
        if config.simulated and (unseen := config.unseen):
            log.warning("optical rig: nobody looks at %s here, at model sim", ", ".join(unseen))
        arrange(config, slm, camera)
        light = self.instruments.get("illumination")
        protocol = ShotProtocol(
            slm,
            camera,
            config.settle_s,
            config.least_light,
            self._instrument_clock,
            light if isinstance(light, Illumination) else None,
        )
        return OpticalInstruments(
            protocol,
            Recovery(config.recovery, self._instrument_clock, lambda: self.check()),
            partial(self._reopen, protocol, {name: device.identity for name, device in self.instruments.items()}),
            self.clock,
            self._bench,
            self._emulator,
            lambda: self.check(),
        )

    def _reopen(self, protocol: ShotProtocol, identities: dict[str, str]) -> None:
        before_s = protocol.camera.exposure_s
        for device in self.instruments.values():
            device.drop()
            device.open()
            if device.identity != identities[device.who]:
                raise InstrumentError(
                    f"{device.name}: was {identities[device.who]!r} and is {device.identity!r} now; connect the one "
                    f"that the run began with ({device.where})"
                )
        arrange(self.config, protocol.slm, protocol.camera)
        camera, now_s = protocol.camera, protocol.camera.exposure_s
        if abs(now_s - before_s) > dark_frame.SAME_EXPOSURE * before_s:  # the dark frame would not be its any more
            raise InstrumentError(
                f"{camera.name}: exposed {before_s:g} s until it failed and {now_s:g} s now; check its other settings "
                f"and rig.{camera.who}.exposure_s"
            )
        protocol.forget()

    def close(self) -> None:
        try:
            super().close()
        finally:
            self._bench = self._emulator = self._instruments = None
            self._instrument_layers = ()

    # -- commissioning -------------------------------------------------------------------------------------------

    @property
    def commissioning_shots(self) -> int:
        instruments = self._instruments
        return 0 if instruments is None or instruments.protocol.dark is not None else COMMISSION_SHOTS

    def commission(self, sink: ShotSink | None = None) -> dict[str, Any]:
        """Take a dark frame, and look through the bench: light, change with the pattern, the age of frames.

        Raises
        ------
        InputError
            If no dark frame can be had.
        InstrumentError
            If nothing could be learned from what the camera sees; it says why.
        """
        self.check_owner()
        instruments = self._instruments
        if instruments is None:
            return {}
        protocol, layer = instruments.protocol, self._instrument_layers[0]
        instruments.restart(self.config.seed)
        dark = self._dark(self.config.dark.frames)
        drives = self._looked_at()
        started_s = self.clock.now()
        seen = self._look(dark, drives)
        if sink is not None:
            y = layer.outputs(np.stack([*(frames[0] for frames in seen.frames), *seen.again]), dark)
            drives, once = np.tile(drives, (1 + ROUNDS, 1)), np.ones(len(y), dtype=np.int64)
            sink("optical commissioning", Shots(drives, y, None, once, started_s), layer.state())
        kept = {
            "shots": COMMISSION_SHOTS,
            "dark": dark_frame.packed(dark),
            "dark_how": self.config.dark_how,
            "light_counts": seen.light,
            "exposure_s": protocol.camera.exposure_s,
        }
        self.adopt(kept)  # a resumed run takes away this very frame
        return kept

    def _look(self, dark: Array, drives: Array) -> Looks:
        """First looks with this dark frame; it is forgotten again, until it is adopted."""
        assert self._instruments is not None
        protocol, begin = self._instruments.protocol, self._instruments.look
        protocol.light, protocol.dark = 0.0, dark
        try:
            return look(protocol, self._instrument_layers[0].patterns(drives), begin, lambda: self.check())
        finally:
            protocol.dark = None

    def _look_only(self, dark: Array) -> int:
        self._look(dark, self._looked_at())
        return COMMISSION_SHOTS

    def _looked_at(self) -> Array:
        """Drives of the patterns of commissioning: both ends of the range, or of half a turn."""
        draw = np.random.default_rng(self.config.seed)
        drives = draw.integers(0, 2, (COMMISSION_PATTERNS, self._instrument_layers[0].info.n_in)).astype(np.float64)
        for row in range(1, COMMISSION_PATTERNS):
            if np.array_equal(drives[row], drives[row - 1]):  # of few inputs
                drives[row, 0] = 1.0 - drives[row, 0]
        p = self.config.world
        if p.modulation == "phase" and p.phase_range_rad > np.pi:  # the far end may be the phase of the near one
            drives *= max(np.pi / p.phase_range_rad, 1.0 / (p.levels - 1))
        return self._instrument_layers[0].quantise(drives)

    def adopt(self, commissioned: dict[str, Any]) -> None:
        """Take the dark frame of when `commissioned` was measured from readings, and judge them by its light.

        Raises
        ------
        InputError
            If it was measured with another region or exposure.
        """
        self.check_owner()
        if self._instruments is None:
            return
        protocol = self._instruments.protocol
        camera = protocol.camera
        dark = dark_frame.unpacked(commissioned["dark"], camera.shape)
        if dark is None:
            raise InputError(
                f"rig.camera.region: commissioned with another number of pixels than {camera.shape}; restore it, or "
                "start a new run"
            )
        began_s = float(commissioned["exposure_s"])
        if abs(began_s - camera.exposure_s) > dark_frame.SAME_EXPOSURE * began_s:
            raise InputError(
                f"rig.camera.exposure_s: commissioned with {began_s:g} s, now it is {camera.exposure_s:g} s; restore "
                "it, or start a new run"
            )
        protocol.dark, protocol.light = dark, float(commissioned["light_counts"])
        if self.config.world.modulation == "amplitude":
            protocol.amplitudes = mean_square(self._instrument_layers[0].patterns(self._looked_at()))

    def _dark(self, frames: int) -> Array:
        """Mean counts without light, (rows, columns), as the config says they are found."""
        config, camera = self.config, self.camera
        if config.dark_how == "offset":
            return np.full(camera.shape, float(config.world.offset_counts))
        if config.dark_how == "file":
            assert config.dark.file is not None  # validated
            return dark_frame.read_dark(config.dark.file, camera)
        if config.dark_how == "switch":
            return self._mean(frames)
        if self._emulator is None:
            return dark_frame.covered_by_hand(camera, self.ask, lambda: self._mean(frames))
        self._emulator.cover(True)
        try:
            return self._mean(frames)
        finally:
            self._emulator.cover(False)

    def _mean(self, frames: int) -> Array:
        assert self._instruments is not None
        self._instruments.look()
        protocol = self._instruments.protocol
        seen = protocol.see_dark(frames)
        return np.asarray(seen.mean(axis=0, dtype=np.float64))

    # -- measuring -----------------------------------------------------------------------------------------------

    @property
    def world(self) -> OpticalWorld:
        """The simulated bench as the first layer sees it, to look into it; :meth:`disturb` reaches all layers.

        Raises
        ------
        InstrumentError
            If the rig is not open, another thread opened it, or no bench is simulated here.
        """
        return self._simulated().worlds[0]

    @property
    def bench(self) -> FrameBench:
        """Modulator and camera as commissioning sees them: patterns of all cells and frames of all pixels.

        A new one each time, whose patterns are counted from 0 and are no shots of a layer. A simulated one has a clock
        of its own, on which its patterns and frames take their time.

        Raises
        ------
        InstrumentError
            If the rig is not open, or another thread opened it.
        """
        self.check_owner()
        config, p = self.config, self.config.benches[0]
        if self._instruments is None:
            return SimulatedFrames(self.world, SimulatedClock(self.clock.now()), config.settle_s, config.readout_s)
        return InstrumentFrames(
            self._instruments, p.levels, p.slm_shape, self._dark, self._look_only, self._instrument_clock
        )

    def restart(self, seed: int) -> None:
        """Shot 0 of a trial with its own noise and drift; disturbances are undone."""
        self.check_owner()
        if self._instruments is not None:
            self._instruments.restart(seed)
        else:
            self._simulated().restart(seed)

    @property
    def next_shot(self) -> int:
        self.check_owner()
        return self._simulated().shot if self._instruments is None else self._instruments.shot

    def _disturb(self, shot: int, name: str, values: dict[str, Any]) -> None:
        self._simulated().disturb(shot, name, values)

    def provenance(self) -> dict[str, Any]:
        config = self.config
        found: dict[str, Any] = {
            "fidelity": "instruments" if config.on_instruments else "physics",
            "instruments": {} if config.on_instruments else {"bench": "simulated"},
        }
        if config.simulated:
            found["world"] = {"type": "optical", "parameters": asdict(config.benches[0])}
        for name, device in self.instruments.items():
            kind = "simulated" if config.simulated else "emulated" if device.emulated else "real"
            found["instruments"][name] = {
                "kind": kind,
                "driver": getattr(device.config, "driver"),  # noqa: B009 (each driver declares it as its own Literal)
                "address": device.address,
                "identity": device.identity,
                "settings": device.settings(),
            }
        return found

    def environment(self) -> dict[str, float]:
        """Power of the simulated laser at the latest shot, 1 as it was built; light at commissioning, in counts."""
        self.check_owner()
        if self._instruments is None:
            return self._simulated().environment()
        return self._instruments.environment()

    def _simulated(self) -> SimulatedBench:
        self.check_owner()
        if self._bench is None:
            raise InstrumentError(
                "optical rig: no bench is simulated in this process; set rig.slm.model and rig.camera.model to sim"
            )
        return self._bench


def _no_instruments() -> InstrumentError:
    return InstrumentError(
        "optical rig: it has no instruments; add sections rig.slm and rig.camera to its configuration, or set "
        "rig.fidelity: instruments"
    )

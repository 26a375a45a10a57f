"""A microwave room with a programmable metasurface: drives become pixel patterns, S-parameters the responses."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict
from typing import Any, cast

import numpy as np

from labtrain.clock import Clock, SimulatedClock
from labtrain.drivers.device import Device, DeviceConfig
from labtrain.drivers.emulators.emulator import Emulator, Reply
from labtrain.drivers.instrument import Instrument
from labtrain.drivers.metasurface.metasurface import Metasurface
from labtrain.drivers.trace import Trace
from labtrain.drivers.vna.calibration import Calibration
from labtrain.drivers.vna.vna import Vna, ports_of
from labtrain.errors import ConfigError, InstrumentError
from labtrain.layer import Integers, LayerInfo, Shots, ShotSink
from labtrain.registry import emulator_of
from labtrain.rigs.microwave_bench import Bench, RoomBench
from labtrain.rigs.microwave_config import MicrowaveConfig, driver_class, driver_name
from labtrain.rigs.microwave_instruments import InstrumentBench
from labtrain.rigs.microwave_layer import MicrowaveLayer
from labtrain.rigs.microwave_readout import Readout
from labtrain.rigs.pixel_code import PixelCode
from labtrain.rigs.recovery import Recovery
from labtrain.rigs.rig import Rig
from labtrain.sim.disturbances import Known
from labtrain.sim.microwave import MicrowaveWorld

log = logging.getLogger("labtrain")

SUPPLY_EVERY_S = 60.0  # a question to the metasurface costs as much as a pattern


class MicrowaveRig(Rig):
    """A metasurface and a vector network analyser, simulated, emulated or real, or the simulated room alone."""

    Config = MicrowaveConfig

    config: MicrowaveConfig

    def __init__(self, config: MicrowaveConfig, clock: Clock) -> None:
        super().__init__(config, clock)
        # In a simulation nobody waits for answers that take their time: the instruments have a time of their own.
        own_time = config.simulated and not config.real_time
        self._instrument_clock: Clock = SimulatedClock() if own_time else clock
        self._trace: Trace | None = None
        self._world: MicrowaveWorld | None = None
        self._bench: Bench | None = None
        self._microwave_layers: tuple[MicrowaveLayer, ...] = ()
        self._identities: dict[str, str] = {}
        self._readout = self._new_readout()
        self._supply: dict[str, float] = {}
        self._supply_at_s = -np.inf

    # -- building and opening ------------------------------------------------------------------------------------

    def _new_readout(self) -> Readout:
        return Readout(self.config.readout, self.config.vna_config.s_parameters, self.config.frequencies())

    def build_world(self) -> MicrowaveWorld:
        """A new room, before its first shot."""
        return MicrowaveWorld(self.config.world.parameters(), self.config.seed)

    def emulators(self, world: MicrowaveWorld) -> dict[str, Emulator]:
        """Emulators of VNA and metasurface in front of one room.

        Raises
        ------
        ConfigError
            If no emulator fits a driver.
        """
        made: dict[str, Emulator] = {}
        for section, config in self.config.sections.items():
            driver = driver_class(config)
            emulator = emulator_of(driver)
            if emulator is None:
                raise ConfigError(
                    f"rig.{section}.driver: there is no emulator for {driver_name(config)}; set rig.{section}.address "
                    "to that of an instrument, or rig.fidelity: physics"
                )
            options = driver.emulator_options(config)
            made[section] = emulator(world, self._instrument_clock, timing=self.config.real_time, **options)
        return made

    def build_instruments(self) -> dict[str, Device]:
        """Drivers of VNA and metasurface on their links, unopened; in a simulation with emulators behind them."""
        if self.config.fidelity == "physics":
            return {}
        emulators: dict[str, Emulator] = {}
        if self.config.simulated:
            self._world = self.build_world()
            emulators = self.emulators(self._world)
        return {
            name: self._driver(name, section, emulators.get(name)) for name, section in self.config.sections.items()
        }

    def _driver(self, name: str, section: DeviceConfig, emulator: Emulator | None) -> Device:
        made: Device = driver_class(section).make(
            name, section, self._instrument_clock, emulator=emulator, trace=self._trace
        )
        return made

    def open(self) -> None:
        """Open the instruments and set them up, RF off; the first shot switches RF on.

        Raises
        ------
        InstrumentError
            If an instrument refuses, or only one of them is an emulator.
        InputError
            For settings outside limits, or more pixels than there are.
        """
        if self.trace_io is not None:
            self._trace = Trace(self.trace_io, self.clock)
            self._trace.open()
        if self.config.fidelity == "physics":
            self._bench, pixels, bits = self._room()
        else:
            self._bench, pixels, bits = self._instruments()
        keys = ["rig.code", *(f"rig.more_codes.{i}" for i in range(len(self.config.more_codes)))]
        codes = [PixelCode(code, pixels, bits, key) for code, key in zip(self.config.codes, keys, strict=True)]
        self._microwave_layers = tuple(self._layer(self._bench, code, number) for number, code in enumerate(codes))
        self.layers = self._microwave_layers

    def _layer(self, bench: Bench, code: PixelCode, number: int) -> MicrowaveLayer:
        seconds_per_shot, settle_s, sweep_s = bench.seconds_per_shot
        info = LayerInfo(
            n_in=code.n_in,
            n_out=self._readout.n_out,
            seconds_per_shot=seconds_per_shot,
            max_batch=bench.max_batch,
            y_unit=self._readout.unit,
            fingerprint=self._fingerprint(code),
            simulated=self.config.simulated or any(i.emulated for i in self.instruments.values()),
            settle_s=settle_s,
            integration_s=sweep_s,
            samples_per_shot=self._samples_per_shot(),
        )
        return MicrowaveLayer(
            "microwave" if number == 0 else f"microwave {number + 1}", bench, code, self._readout, info
        )

    def _samples_per_shot(self) -> int:
        """Real and imaginary part of each wave behind the IF filter: the receivers of a source, and its reference.

        What a VNA's converters sample before that filter it does not tell.
        """
        vna = self.config.vna_config
        waves = len(vna.s_parameters) + len({ports_of(name)[1] for name in vna.s_parameters})
        return 2 * waves * len(self.config.frequencies()) * vna.averages

    def _room(self) -> tuple[Bench, int, int]:
        """The room without instruments; a driver that is never opened tells what a metasurface would do."""
        self._world = world = self.build_world()
        config = self.config
        surface = cast(Metasurface, self._driver("metasurface", config.metasurface, _Nobody()))
        elements = self._elements(surface, world)
        bench = RoomBench(world, config.frequencies(), config.vna_config, elements, surface, self.clock)
        return bench, surface.n_pixels, world.bits

    def _instruments(self) -> tuple[Bench, int, int]:
        self.open_instruments()
        vna, surface = cast(Vna, self.instruments["vna"]), cast(Metasurface, self.instruments["metasurface"])
        self._identities = {name: instrument.identity for name, instrument in self.instruments.items()}
        if vna.emulated != surface.emulated:
            emulated, other = (vna, surface) if vna.emulated else (surface, vna)
            raise InstrumentError(
                f"{emulated.name} is an emulator and {other.name} is not, so neither would see the other; "
                f"correct {other.where}"
            )
        if self._world is not None:
            self._elements(surface, self._world)
            if self._world.bits != surface.bits:
                raise ConfigError(
                    f"rig.world.bits: pixels of the simulated room have {self._world.bits}, those of the "
                    f"{driver_name(surface.config)} {surface.bits}; make them equal, or set rig.fidelity: physics"
                )
        recovery = Recovery(self.config.recovery, self._instrument_clock, lambda: self.check())
        bench = InstrumentBench(vna, surface, self._world, self.config.frequencies(), recovery, self.clock)
        bench.prepare()
        return bench, surface.n_pixels, surface.bits

    def _elements(self, surface: Metasurface, world: MicrowaveWorld) -> Integers:
        """Pixel in use that moves each pixel of the room, (world pixels,); -1 for none."""
        pixel_of = surface.elements(np.arange(1, surface.n_pixels + 1)) - 1
        used = np.flatnonzero(pixel_of >= 0)
        if used[-1] >= world.n_pixels:
            raise ConfigError(
                f"rig.metasurface.n_pixels: asked {surface.n_pixels} pixels, up to element {used[-1] + 1} of the "
                f"surface, the simulated room has {world.n_pixels}; ask for fewer, or set rig.world.pixels"
            )
        found: Integers = np.full(world.n_pixels, -1, dtype=np.int64)
        known = min(len(pixel_of), world.n_pixels)
        found[:known] = pixel_of[:known]
        return found

    def safe(self) -> None:
        if self._bench is not None:
            self._bench.calm()
        super().safe()

    def close(self) -> None:
        try:
            super().close()
        finally:
            self._bench, self._microwave_layers, self._readout = None, (), self._new_readout()
            if self._trace is not None:
                self._trace.close()
                self._trace = None

    # -- commissioning -------------------------------------------------------------------------------------------

    @property
    def commissioning_shots(self) -> int:
        asked = self.config.commission
        return 0 if self._readout.ready else asked.patterns + min(asked.repeats, asked.patterns)

    def commission(self, sink: ShotSink | None = None) -> dict[str, Any]:
        """Measure random patterns, some of them twice, and scale every output by what they gave.

        Raises
        ------
        MeasurementError
            If no output reacts to the pixels.
        """
        bench, code, asked = self._opened(), self._microwave_layers[0].code, self.config.commission
        bench.restart(asked.seed)
        draw = np.random.default_rng([asked.seed, 1])
        patterns = draw.integers(1 << code.pixel_bits, size=(asked.patterns, code.n_pixels))
        patterns = np.concatenate([patterns, patterns[: asked.repeats]])
        y, attempts = [], 0
        for rows, readings in bench.paired(patterns, patterns):
            y.append(self._readout.unscaled(readings.s))
            attempts += int(readings.attempts.sum())
            if sink is not None:
                shots = Shots(rows.astype(np.float64), y[-1], None, readings.attempts, readings.started_s)
                sink("microwave commissioning", shots, bench.state())
        everything = np.concatenate(y)
        scale = self._readout.learn(everything[: asked.patterns], everything[asked.patterns :])
        calibration = bench.calibration.as_dict() if isinstance(bench, InstrumentBench) else None
        return {"shots": attempts, "calibration": calibration, **scale}

    def adopt(self, commissioned: dict[str, Any]) -> None:
        """Scale outputs as when `commissioned` was measured; warns if the VNA's calibration is another one now."""
        bench = self._opened()
        self._readout.adopt(commissioned)
        if isinstance(bench, InstrumentBench) and commissioned["calibration"] is not None:
            change = Calibration.from_dict(commissioned["calibration"]).change(bench.calibration)
            if change:
                log.warning("%s: its calibration %s now; responses may have shifted", bench.vna.name, change)

    # -- measuring -----------------------------------------------------------------------------------------------

    def restart(self, seed: int) -> None:
        """Shot 0 of a trial with its own noise and drift; disturbances are undone, spare pixels held as configured."""
        self._opened().restart(seed)
        for layer in self._microwave_layers:
            layer.code.hold()

    @property
    def world(self) -> MicrowaveWorld | None:
        """The simulated room in this process, to disturb it; None without one."""
        self.check_owner()
        return self._world

    @property
    def next_shot(self) -> int:
        return self._opened().shot

    def disturbances(self) -> Known:
        self._opened().refuse_if_real()
        return super().disturbances()

    def _disturb(self, shot: int, name: str, values: dict[str, Any]) -> None:
        self._opened().disturb(shot, name, values)

    def provenance(self) -> dict[str, Any]:
        found: dict[str, Any] = {"fidelity": self.config.fidelity, "instruments": {}}
        if self.config.simulated:
            found["world"] = {"type": "microwave", "parameters": asdict(self.config.world.parameters())}
        for name, instrument in self.instruments.items():
            kind = "simulated" if self.config.simulated else "emulated" if instrument.emulated else "real"
            found["instruments"][name] = {
                "kind": kind,
                "driver": driver_name(instrument.config),
                "address": instrument.address,
                "identity": instrument.identity,
                "settings": instrument.settings(),
            }
        if isinstance(self._bench, InstrumentBench):
            found["instruments"]["vna"]["calibration"] = self._bench.calibration.as_dict()
        elif self.config.fidelity == "physics":
            found["instruments"]["room"] = {"kind": "simulated"}
        return found

    def environment(self) -> dict[str, float]:
        """The metasurface's supply voltage, read at most once a minute; nothing where it cannot be read."""
        surface = self.instruments.get("metasurface")
        if self.config.simulated or not isinstance(surface, Instrument) or "supply_v" not in surface.commands():
            return {}
        now = self.clock.monotonic()
        if now - self._supply_at_s >= SUPPLY_EVERY_S:
            self._supply_at_s = now
            try:
                self._supply = {"metasurface_supply_v": float(surface.supply_v)}  # type: ignore[attr-defined]
            except InstrumentError as error:  # the next shot finds out whether that matters
                log.warning("supply voltage not read: %s", error)
                self._supply = {}
        return self._supply

    def _fingerprint(self, code: PixelCode) -> str:
        """Of a layer: changes when the same drive can no longer be expected to give the same answer."""
        config = self.config
        told = {
            "world": asdict(config.world.parameters()) if config.simulated else None,
            "instruments": self._identities,
            "pixels": [code.n_pixels, code.pixel_bits, config.metasurface.model_dump(include={"group"})],
            "code": code.config.model_dump(),
            "frequencies_hz": config.frequencies().tolist(),
            "s_parameters": config.vna_config.s_parameters,
            "readout": config.readout,
        }
        return "microwave:" + hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]

    def _opened(self) -> Bench:
        self.check_owner()
        assert self._bench is not None  # open() sets it before it makes this thread the owner
        return self._bench


class _Nobody:
    """The other end of a link that is never opened."""

    def receive(self, data: bytes) -> list[Reply]:  # noqa: ARG002
        return []

    def connected(self) -> list[Reply]:
        return []

"""A stand-in for the part of nidaqmx that the driver uses, and for the devices behind it.

It models what goes wrong in practice: an output task that is started too late misses its trigger and never plays;
without regeneration an output that runs dry dies and holds its last voltage; stopping holds it too; rates are coerced
without a word; what is reserved is refused. Ticks pass when inputs are read, `SPEED` times faster than on hardware, and
when the program is made to stall. Signatures are compared with those of the real nidaqmx by a test.
"""

from __future__ import annotations

import sys
import time
from enum import Enum
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

SPEED = 20.0


class TerminalConfiguration(Enum):
    DEFAULT = -1
    RSE = 10083
    NRSE = 10078
    DIFF = 10106
    PSEUDO_DIFF = 12529


class AcquisitionType(Enum):
    FINITE = 10178
    CONTINUOUS = 10123


class Coupling(Enum):
    AC = 10045
    DC = 10050


class ExcitationSource(Enum):
    INTERNAL = 10200
    NONE = 10230


class ExcitationVoltageOrCurrent(Enum):
    USE_VOLTAGE = 10322
    USE_CURRENT = 10134


class RegenerationMode(Enum):
    ALLOW_REGENERATION = 10097
    DONT_ALLOW_REGENERATION = 10158


class Edge(Enum):
    RISING = 10280


class VoltageUnits(Enum):
    VOLTS = 10348


CONSTANTS = (
    TerminalConfiguration,
    AcquisitionType,
    Coupling,
    ExcitationSource,
    ExcitationVoltageOrCurrent,
    RegenerationMode,
    Edge,
    VoltageUnits,
)


class Error(Exception):
    pass


class DaqNotFoundError(Error):
    pass


class DaqError(Error):
    def __init__(self, message: str, error_code: int, task_name: str = "") -> None:
        self.error_code = error_code
        super().__init__(f"{message}\n\nTask Name: {task_name or '_unnamedTask<0>'}\n\nStatus Code: {error_code}")


MESSAGES = {
    -50103: "The specified resource is reserved. The operation could not be completed as specified.",
    -89136: "Specified route cannot be satisfied, because the hardware does not support it.",
    -200077: "Requested value is not a supported value for this property. The property value may be invalid.",
    -200170: "Physical channel specified does not exist on this device.",
    -200197: "Device does not support the property.",
    -200279: "The application is not able to keep up with the hardware acquisition.",
    -200284: "Some or all of the samples requested have not yet been acquired.",
    -200290: "The generation has stopped to prevent the regeneration of old samples.",
    -200292: "Some or all of the samples to write could not be written to the buffer yet.",
    -200332: "Specified sample rate is higher than the fastest rate supported by the device.",
    -200462: "Generation cannot be started, because the output buffer is empty.",
    -200561: "Attempted writing analog data that is too large or too small.",
    -201003: "Device cannot be accessed.  Possible causes:\nDevice is no longer present in the system.",
}


def fail(code: int) -> None:
    raise DaqError(MESSAGES.get(code, "Unknown."), code)


class PhysicalChannelCollection:
    def __init__(self, device_name: str, count: int, kind: str) -> None:
        self._names = [f"{device_name}/{kind}{i}" for i in range(count)]

    @property
    def channel_names(self) -> list[str]:
        return self._names


class Device:
    """One device of the fake: what nidaqmx tells of it, and (underscored) how it behaves."""

    def __init__(
        self,
        name: str,
        product: str,
        *,
        ao: int,
        ai: int,
        ao_v: tuple[float, ...] = (10.0,),
        ai_v: tuple[float, ...] = (10.0,),
        ao_rate: float = 1e6,
        ai_single: float = 1e6,
        ai_multi: float = 1e6,
        simultaneous: bool = False,
        clocked: bool = True,
        iepe: tuple[float, ...] | None = None,
        chassis: str = "",
        delta_sigma: bool = False,
        divider_of: float = 100e6,
        simulated: bool = False,
    ) -> None:
        self._name, self._chassis, self._delta_sigma, self._divider_of = name, chassis, delta_sigma, divider_of
        self._iepe = iepe
        self.product_type, self.serial_num, self.is_simulated = product, 0x1A2B3C4, simulated
        self.ao_physical_chans = PhysicalChannelCollection(name, ao, "ao")
        self.ai_physical_chans = PhysicalChannelCollection(name, ai, "ai")
        self.ao_voltage_rngs = [v for high in ao_v for v in (-high, high)]
        self.ai_voltage_rngs = [v for high in ai_v for v in (-high, high)]
        self.ao_max_rate, self.ao_samp_clk_supported = ao_rate, clocked
        self.ai_max_single_chan_rate, self.ai_max_multi_chan_rate = ai_single, ai_multi
        self.ai_simultaneous_sampling_supported = simultaneous

    @property
    def name(self) -> str:
        return self._name

    @property
    def ai_current_int_excit_discrete_vals(self) -> list[float]:
        if self._iepe is None:
            fail(-200197)
        return list(self._iepe or ())

    @property
    def compact_daq_chassis_device(self) -> Any:
        if not self._chassis:
            fail(-200197)
        return SimpleNamespace(name=self._chassis)

    def _coerced(self, rate: float) -> float:
        return self._divider_of / np.floor(self._divider_of / rate + 1e-9)

    def _terminals(self) -> str:
        return f"/{self._chassis or self._name}/ai/"


class World:
    """All devices, their outputs' voltages, the wires between them, and what happens to them.

    Attributes
    ----------
    volts : dict
        Output -> what it holds.
    trace : dict
        Output -> all it has played, tick by tick; on-demand writes are the last of `events`.
    wires : dict
        Input -> (output, gain, delay in ticks).
    """

    def __init__(self, *devices: Device) -> None:
        self.devices = {device.name: device for device in devices}
        self.library, self.unplugged, self.frozen = True, False, False
        self.reserved: set[str] = set()  # devices whose outputs another program holds
        self.events: list[str] = []
        self.tasks: list[Task] = []  # not closed
        self.volts: dict[str, float] = {}
        self.trace: dict[str, list[np.ndarray]] = {}
        self.wires: dict[str, tuple[str, float, int]] = {}
        self.stalls: list[int] = []
        self.breaks: list[int] = []  # error codes for the next reads

    def played(self, output: str) -> np.ndarray:
        return np.concatenate(self.trace[output])

    def tick(self, count: int) -> None:
        """Let all clocks tick: outputs take from their buffers, inputs fill theirs."""
        now: dict[str, np.ndarray] = {}
        for task in self.tasks:
            if task.kind == "ao" and task.triggered:
                now |= task.generate(count)
        for name, held in self.volts.items():
            now.setdefault(name, np.full(count, held))
        for name, samples in now.items():
            self.trace.setdefault(name, []).append(samples)
            self.volts[name] = float(samples[-1]) if count else self.volts[name]
        for task in self.tasks:
            if task.kind == "ai" and task.running:
                task.acquire(count, now)


_world = World()


class System:
    @staticmethod
    def local() -> System:
        return System()

    @property
    def devices(self) -> list[Device]:
        if not _world.library:
            raise DaqNotFoundError("Could not find an installation of NI-DAQmx.")
        return list(_world.devices.values())


class Task:
    def __init__(self, new_task_name: str = "") -> None:
        self.kind, self.names, self.range_v = "", [], 10.0  # type: ignore[var-annotated]
        self.device: Device | None = None
        self.running, self.triggered, self.dead = False, False, 0
        self.fifo = np.zeros((0, 0))
        self.tails: dict[str, np.ndarray] = {}
        self.timing, self.triggers = Timing(self), SimpleNamespace(start_trigger=StartTrigger())
        self.ai_channels, self.ao_channels = AIChannelCollection(self), AOChannelCollection(self)
        self.in_stream, self.out_stream = InStream(self), OutStream(self)
        self.closed = False
        _world.tasks.append(self)

    def __enter__(self) -> Task:
        return self

    def __exit__(self, type: Any, value: Any, traceback: Any) -> None:
        self.close()

    def check(self) -> None:
        assert not self.closed, "a closed task was used"
        if _world.unplugged:
            fail(-201003)

    def start(self) -> None:
        self.check()
        assert self.device is not None
        if any(t.running and t.kind == self.kind and t.device is self.device for t in _world.tasks):
            fail(-50103)
        if self.kind == "ao":
            if self.device.name in _world.reserved:
                fail(-50103)
            if self.timing.rate and not self.fifo.size:
                fail(-200462)
            trigger = self.triggers.start_trigger.source
            for source in filter(None, (self.timing.source, trigger)):
                foreign = not source.startswith(self.device._terminals())
                if foreign or (self.device._delta_sigma and source.endswith("SampleClock")):
                    fail(-89136)
            self.triggered = not trigger
        else:
            terminals = self.device._terminals()
            for task in _world.tasks:  # those that are armed by now, and only those
                if task.kind == "ao" and task.running and task.triggers.start_trigger.source:
                    task.triggered |= task.triggers.start_trigger.source == f"{terminals}StartTrigger"
        self.running = True
        _world.events.append(f"start {self.kind}")

    def stop(self) -> None:
        self.check()
        self.running = self.triggered = False  # outputs hold what they have
        if self.dead:
            fail(self.dead)

    def close(self) -> None:
        self.running = self.triggered = False
        if not self.closed:
            _world.tasks.remove(self)
        self.closed = True

    # -- the hardware's side -------------------------------------------------------------------------------------

    def add(self, physical_channel: str, kind: str, low: float, high: float) -> None:
        self.check()
        device = _world.devices[physical_channel.split("/")[0]]
        has = device.ao_physical_chans if kind == "ao" else device.ai_physical_chans
        if physical_channel not in has.channel_names:
            fail(-200170)
        ranges = device.ao_voltage_rngs if kind == "ao" else device.ai_voltage_rngs
        if high > max(ranges) or low != -high:
            fail(-200077)
        self.kind, self.device, self.range_v = kind, device, min(v for v in ranges if v >= high)
        self.names.append(physical_channel)
        self.fifo = np.zeros((len(self.names), 0))

    def generate(self, count: int) -> dict[str, np.ndarray]:
        part, self.fifo = self.fifo[:, :count], self.fifo[:, count:]
        if part.shape[1] < count:
            self.dead, self.triggered = -200290, False
        return {
            name: np.concatenate([row, np.full(count - len(row), row[-1] if len(row) else _world.volts.get(name, 0.0))])
            for name, row in zip(self.names, part, strict=True)
        }

    def acquire(self, count: int, outputs: dict[str, np.ndarray]) -> None:
        rows = []
        for name in self.names:
            source, gain, delay = _world.wires.get(name, ("", 0.0, 0))
            played = outputs.get(source, np.zeros(count)) * gain
            joined = np.concatenate([self.tails.get(name, np.zeros(delay)), played])
            rows.append(joined[:count])
            self.tails[name] = joined[count:]
        self.fifo = np.concatenate([self.fifo, np.clip(rows, -self.range_v, self.range_v)], axis=1)
        if self.fifo.shape[1] > self.timing.samps_per_chan:
            self.dead = -200279


class AIChannel:
    """Holds what is set."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ai_coupling: Any = None
        self.ai_excit_src: Any = None
        self.ai_excit_voltage_or_current: Any = None
        self.ai_excit_val = 0.0
        self.ai_term_cfg: Any = None


class AIChannelCollection:
    def __init__(self, task: Task) -> None:
        self._task = task
        self._made: list[AIChannel] = []

    def add_ai_voltage_chan(
        self,
        physical_channel: str,
        name_to_assign_to_channel: str = "",
        terminal_config: TerminalConfiguration = TerminalConfiguration.DEFAULT,
        min_val: float = -5.0,
        max_val: float = 5.0,
    ) -> AIChannel:
        if terminal_config is TerminalConfiguration.PSEUDO_DIFF:
            fail(-200077)
        self._task.add(physical_channel, "ai", min_val, max_val)
        self._made.append(AIChannel(physical_channel))
        self._made[-1].ai_term_cfg = terminal_config
        return self._made[-1]


class AOChannelCollection:
    def __init__(self, task: Task) -> None:
        self._task = task

    def add_ao_voltage_chan(
        self,
        physical_channel: str,
        name_to_assign_to_channel: str = "",
        min_val: float = -10.0,
        max_val: float = 10.0,
        units: VoltageUnits = VoltageUnits.VOLTS,
    ) -> None:
        self._task.add(physical_channel, "ao", min_val, max_val)


class Timing:
    def __init__(self, task: Task) -> None:
        self._task = task
        self.rate, self.source, self.samps_per_chan = 0.0, "", 0

    def cfg_samp_clk_timing(
        self,
        rate: float,
        source: str = "",
        active_edge: Edge = Edge.RISING,
        sample_mode: AcquisitionType = AcquisitionType.FINITE,
        samps_per_chan: int = 1000,
    ) -> None:
        self._task.check()
        assert sample_mode is AcquisitionType.CONTINUOUS
        self.rate, self.source, self.samps_per_chan = rate, source, samps_per_chan

    @property
    def samp_clk_rate(self) -> float:
        device = self._task.device
        assert device is not None
        if self.rate > (device.ao_max_rate if self._task.kind == "ao" else device.ai_max_single_chan_rate):
            fail(-200332)
        return self.rate if self.source else device._coerced(self.rate)


class StartTrigger:
    def __init__(self) -> None:
        self.source = ""

    def cfg_dig_edge_start_trig(self, trigger_source: str, trigger_edge: Edge = Edge.RISING) -> None:
        self.source = trigger_source


class InStream:
    def __init__(self, task: Task) -> None:
        self._task = task


class OutStream:
    def __init__(self, task: Task) -> None:
        self._task = task
        self.output_buf_size = 0
        self.regen_mode = RegenerationMode.ALLOW_REGENERATION


def _usable(data: np.ndarray, shape: tuple[int, ...]) -> None:
    assert data.dtype == np.float64 and data.flags.c_contiguous and data.shape == shape


class AnalogMultiChannelReader:
    def __init__(self, task_in_stream: InStream) -> None:
        self._task = task_in_stream._task

    def read_many_sample(self, data: np.ndarray, number_of_samples_per_channel: int = -1, timeout: float = 10.0) -> int:
        task, count = self._task, number_of_samples_per_channel
        task.check()
        _usable(data, (len(task.names), count))
        if _world.breaks:
            fail(_world.breaks.pop(0))
        if _world.frozen:
            fail(-200284)
        time.sleep(count / task.timing.rate / SPEED)
        for stalled in _world.stalls:
            _world.tick(stalled)
        _world.stalls.clear()
        _world.tick(max(0, count - task.fifo.shape[1]))
        if task.dead:
            fail(task.dead)
        data[:] = task.fifo[:, :count]
        task.fifo = task.fifo[:, count:]
        return count


class AnalogMultiChannelWriter:
    def __init__(self, task_out_stream: OutStream, auto_start: bool = False) -> None:
        self._task, self._auto_start = task_out_stream._task, auto_start

    def write_many_sample(self, data: np.ndarray, timeout: float = 10.0) -> int:
        task = self._task
        task.check()
        _usable(data, (len(task.names), data.shape[1]))
        assert task.timing.rate and not self._auto_start
        assert task.out_stream.regen_mode is RegenerationMode.DONT_ALLOW_REGENERATION
        if task.dead:
            fail(task.dead)
        if np.abs(data).max(initial=0.0) > task.range_v:
            fail(-200561)
        if task.fifo.shape[1] + data.shape[1] > task.out_stream.output_buf_size:
            fail(-200292)  # no tick comes while it waits: the outputs stand still
        task.fifo = np.concatenate([task.fifo, data], axis=1)
        return data.shape[1]

    def write_one_sample(self, data: np.ndarray, timeout: float = 10) -> int:
        task = self._task
        task.check()
        _usable(data, (len(task.names),))
        assert self._auto_start and not task.timing.rate, "on demand"
        task.start()
        _world.volts.update(zip(task.names, data.tolist(), strict=True))
        _world.events.append(f"write {data.tolist()}")
        return 1


def install(patch: pytest.MonkeyPatch, world: World) -> None:
    """Put the fake in the place of nidaqmx."""
    parts: dict[str, tuple[type, ...]] = {
        "nidaqmx": (Task, DaqError),
        "nidaqmx.constants": CONSTANTS,
        "nidaqmx.errors": (Error, DaqError, DaqNotFoundError),
        "nidaqmx.stream_readers": (AnalogMultiChannelReader,),
        "nidaqmx.stream_writers": (AnalogMultiChannelWriter,),
        "nidaqmx.system": (System,),
    }
    for name, members in parts.items():
        module = ModuleType(name)
        for member in members:
            setattr(module, member.__name__, member)
        patch.setitem(sys.modules, name, module)
    patch.setattr(sys.modules[__name__], "_world", world)

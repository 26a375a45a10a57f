"""A sample stream to National Instruments hardware through NI-DAQmx: a task for the outputs, one for the inputs.

**Never tried on hardware**: written after NI's documentation, tested with a stand-in for its library alone. To be
checked first on a device, in this order: an oscilloscope on an output while a stream opens, closes, and while its
program is killed (the step to 0 V, what is held); a cable from output to input: the same latency over many playbacks
and within one opening to the sample; the routes of clock and trigger, above all within a CompactDAQ chassis and on
delta-sigma boards; whether `buffer_s` suffices over USB; which errors come when the device is unplugged.

One tick for both. The outputs' sample clock *is* that of the inputs (``ai/SampleClock``), so that neither can drift or
miss a tick which the other has seen; their start trigger is ``ai/StartTrigger``, so that nothing before the first tick
counts. Therefore the output task is started first: it waits, armed, and the inputs' start sets both going. Delta-sigma
outputs take no foreign sample clock, for their converters run from a faster one: there the outputs divide the board's
own oscillator themselves (`output_clock` "own"), started by the same trigger.

Both directions are queues. D frames of silence are written before the start; then each turn writes a block, which
leaves D frames later, and waits for the block that comes in. What is played at frame n leaves at tick n + D, what comes
at tick n is input frame n: the converter has D frames more latency than its own, constant from open to close. So is
the delay of delta-sigma filters, tens of samples: nobody needs to be told of it who measures the latency.

Outputs hold their last voltage when a task ends, whatever ended it. Hence 0 V is written to them on demand after every
task, also after one that died. Only a process that is killed cannot do that.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Literal

import numpy as np

from labtrain.clock import Clock
from labtrain.drivers.backends.daq_checks import DaqChecks, NiLibrary, ending, told
from labtrain.drivers.stream import SampleStream
from labtrain.errors import InputError, InstrumentError

Terminal = Literal["default", "rse", "nrse", "diff", "pseudodiff"]
OutputClock = Literal["input", "own"]

BLOCK_S = 0.02  # written and read at once
_TERMINALS = {"default": "DEFAULT", "rse": "RSE", "nrse": "NRSE", "diff": "DIFF", "pseudodiff": "PSEUDO_DIFF"}


class DaqStream(SampleStream):
    """A stream to one NI device, or to two modules in one chassis.

    Parameters
    ----------
    who, clock, options
        As of SampleStream.
    device : str
        Of the outputs, as in NI MAX.
    outputs, inputs : sequence of int
        Channels from 1: channel k is ``ao<k-1>`` or ``ai<k-1>``.
    input_device : str, optional
        Of the inputs; default: `device`.
    output_range_v, input_range_v : float
        Volts at full scale; the device must have this very range.
    terminal_config : str
        Reference of the inputs.
    iepe_ma : sequence of float, optional
        Current that feeds the microphone at each input, 0 for none; default: none.
    output_clock : str
        "input": ticks of the inputs clock the outputs; "own": the outputs divide the board's oscillator themselves.
    buffer_s : float
        How far ahead the outputs are written: the latency that is added.
    """

    def __init__(
        self,
        who: str,
        device: str,
        clock: Clock,
        *,
        outputs: Sequence[int],
        inputs: Sequence[int],
        input_device: str | None = None,
        output_range_v: float = 10.0,
        input_range_v: float = 10.0,
        terminal_config: Terminal = "default",
        iepe_ma: Sequence[float] = (),
        output_clock: OutputClock = "input",
        buffer_s: float = 0.1,
        **options: Any,
    ) -> None:
        super().__init__(who, device, clock, n_out=len(outputs), n_in=len(inputs), **options)
        self.product = ""
        self.simulated = False
        self._outputs, self._inputs, self._input_device = tuple(outputs), tuple(inputs), input_device or device
        self._output_v, self._input_v = output_range_v, input_range_v
        self._terminal, self._iepe_ma, self._output_clock = (
            terminal_config,
            tuple(iepe_ma) or (0.0,) * len(inputs),
            output_clock,
        )
        self._block = max(1, round(BLOCK_S * self.rate_hz))
        self._ahead = max(self._block, round(buffer_s * self.rate_hz))
        self._names: list[str] = []  # of the outputs
        self._tasks: list[Any] = []  # those not yet closed
        self._sounding = False  # whether the outputs may be at other voltages than 0
        self._leave = threading.Event()
        self._pump = threading.Thread()

    # -- open and close ------------------------------------------------------------------------------------------

    def _open(self) -> None:
        self._ni = NiLibrary(self.name)
        self._checks = DaqChecks(self.who, self.name, self._ni)
        try:
            self._start()
        except BaseException as error:
            with suppress(self._ni.Error):
                self._release()
            if isinstance(error, self._ni.DaqError):
                raise self._checks.refusal(error) from None
            raise
        self._leave = threading.Event()
        # Not waited for at the end of the program: rigs close themselves there.
        self._pump = threading.Thread(target=self._run_pump, name=f"{self.who} daq", daemon=True)
        self._pump.start()

    def _close(self) -> None:
        self._leave.set()
        self._await_release()

    def silence(self) -> None:
        """Fade out as SampleStream.silence, and return once the output buffer has passed too; 0 V if the tasks died.

        Raises
        ------
        InstrumentError
            If the tasks died and 0 V could not be written either.
        """
        super().silence()
        if not self._is_open:
            return
        if self._ended:
            self._await_release()
            return
        with self._arrival:
            until = self._given + self._ahead + 2 * self._block
            self._arrival.wait_for(lambda: self._now >= until or self._ended, self.timeout_s)

    def _await_release(self) -> None:
        self._pump.join(self.timeout_s + 1.0)
        if not self._pump.is_alive() and self._sounding:
            with suppress(self._ni.Error):
                self._zero()
        if self._sounding:
            raise InstrumentError(
                f"{self.name}: 0 V could not be written to {', '.join(self._names)}, which may hold a voltage; "
                "switch the amplifiers off"
            )

    def _start(self) -> None:
        ni, constants, checks = self._ni, self._ni.constants, self._checks
        out, into = checks.find(self.address, "device"), checks.find(self._input_device, "input_device")
        self.product, self.simulated = f"{out.product_type} {out.serial_num:08X}", bool(out.is_simulated)
        self._names, inputs = checks.outputs(out, self._outputs), checks.inputs(into, self._inputs)
        checks.rates(self.rate_hz, out, self.n_out, into, self.n_in)
        self._output_v = checks.range_v(out, out.ao_voltage_rngs, self._output_v, "output_range_v")
        self._input_v = checks.range_v(into, into.ai_voltage_rngs, self._input_v, "input_range_v")
        if any(self._iepe_ma):
            checks.iepe(into, max(self._iepe_ma))
        own = self._output_clock == "own"
        if own and out.name != into.name:
            raise InputError(
                f"{self.name}: outputs with a clock of their own would drift from the inputs of {into.name}; set "
                f"rig.{self.who}.output_clock to input"
            )

        terminals, continuous = checks.terminals(into), constants.AcquisitionType.CONTINUOUS
        reference = constants.TerminalConfiguration[_TERMINALS[self._terminal]]
        ai, ao = self._task(), self._task()
        for name, milliampere in zip(inputs, self._iepe_ma, strict=True):
            channel = ai.ai_channels.add_ai_voltage_chan(
                name, terminal_config=reference, min_val=-self._input_v, max_val=self._input_v
            )
            if milliampere:
                channel.ai_coupling = constants.Coupling.AC
                channel.ai_excit_src = constants.ExcitationSource.INTERNAL
                channel.ai_excit_voltage_or_current = constants.ExcitationVoltageOrCurrent.USE_CURRENT
                channel.ai_excit_val = milliampere / 1000.0
        ai.timing.cfg_samp_clk_timing(self.rate_hz, sample_mode=continuous, samps_per_chan=math.ceil(self.rate_hz))
        checks.clock(ai, self.rate_hz, into)

        self._add_outputs(ao)
        ao.timing.cfg_samp_clk_timing(
            self.rate_hz,
            source="" if own else f"{terminals}/SampleClock",
            sample_mode=continuous,
            samps_per_chan=self._ahead + 2 * self._block,
        )
        if own:
            checks.clock(ao, self.rate_hz, out)
        ao.triggers.start_trigger.cfg_dig_edge_start_trig(f"{terminals}/StartTrigger")
        ao.out_stream.output_buf_size = self._ahead + 2 * self._block
        ao.out_stream.regen_mode = constants.RegenerationMode.DONT_ALLOW_REGENERATION
        self._reader, self._writer = ni.Reader(ai.in_stream), ni.Writer(ao.out_stream, auto_start=False)
        self._writer.write_many_sample(np.zeros((self.n_out, self._ahead)), timeout=self.open_timeout_s)
        self._sounding = True
        ao.start()  # armed
        ai.start()  # the first tick of both

    def _task(self) -> Any:
        self._tasks.append(self._ni.Task())
        return self._tasks[-1]

    def _add_outputs(self, task: Any) -> None:
        for name in self._names:
            task.ao_channels.add_ao_voltage_chan(name, min_val=-self._output_v, max_val=self._output_v)

    def _release(self) -> None:
        """End the tasks and write 0 V, or raise nidaqmx's Error; what a dead task says of itself is known already."""
        while self._tasks:
            task = self._tasks.pop()
            for end in (task.stop, task.close):
                with suppress(self._ni.Error):
                    end()
        if self._sounding:
            self._zero()

    def _zero(self) -> None:
        with self._ni.Task() as task:
            self._add_outputs(task)
            self._ni.Writer(task.out_stream, auto_start=True).write_one_sample(np.zeros(self.n_out))
        self._sounding = False

    # -- while it runs -------------------------------------------------------------------------------------------

    def _run_pump(self) -> None:
        why = ""
        volts = np.zeros((self.n_in, self._block))
        try:
            while not self._leave.is_set():
                out = self._next(self._block).T.astype(np.float64, order="C") * self._output_v
                self._writer.write_many_sample(out, timeout=self.timeout_s)
                self._reader.read_many_sample(volts, self._block, timeout=self.timeout_s)
                self._arrived(np.ascontiguousarray(volts.T / self._input_v, dtype=np.float32))
        except Exception as error:  # whatever it is, nobody else would hear of it
            why = ending(error, self.who, self._ahead / self.rate_hz)
        try:
            self._release()
        except Exception as error:
            why = f"{why or 'was closed'}; then 0 V could not be written to its outputs ({told(error)})"
        if why:
            self._end(why)

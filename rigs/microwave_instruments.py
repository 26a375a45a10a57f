"""A metasurface and a VNA as one place to measure, with recovery from whatever breaks off a shot."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from labtrain.clock import Clock
from labtrain.drivers.device import Device
from labtrain.drivers.emulators.simulation import Simulation
from labtrain.drivers.metasurface.metasurface import Metasurface
from labtrain.drivers.vna.calibration import Calibration
from labtrain.drivers.vna.vna import Vna
from labtrain.errors import InputError, InstrumentError, Interrupted, LabtrainError, MeasurementError
from labtrain.rigs.microwave_bench import LARGEST, LONGEST_S, Bench, Complex, Frequencies, Readings, States, written_s
from labtrain.rigs.recovery import Recovery
from labtrain.sim.microwave import MicrowaveWorld


class InstrumentBench(Bench):
    """A metasurface and a VNA, real or not: pattern, settle, sweep, shot by shot, and once more if that went wrong.

    A reading counts only after the surface has answered in step once more, for the next pattern or, at the end of a
    chunk, when asked for the present one: a surface that restarted in between has measured another pattern.

    A surface that stores patterns gets those of a chunk as one sequence and is then told their numbers.

    Parameters
    ----------
    vna : Vna
    surface : Metasurface
    world : MicrowaveWorld, optional
        If one stands behind emulators in this process.
    frequencies_hz : ndarray, (points,)
    recovery : Recovery
    clock : Clock
        Of the rig.
    """

    def __init__(
        self,
        vna: Vna,
        surface: Metasurface,
        world: MicrowaveWorld | None,
        frequencies_hz: Frequencies,
        recovery: Recovery,
        clock: Clock,
    ) -> None:
        super().__init__()
        self.vna, self.surface, self.world = vna, surface, world
        self._frequencies_hz, self._recovery, self._clock = frequencies_hz, recovery, clock
        self._radiates = False
        self._in_step = True  # what is simulated will take the next pattern for the shot that it is
        self._seed = 0
        self._happened: list[list[Any]] = []  # disturbances that emulators in another process were told
        self._identities = ["", ""]
        self._sequence: tuple[States | None, int] = (None, 0)  # which patterns are stored, and from which one on
        self.uploads = 0
        """Sequences stored since it was opened, repetitions included."""
        self.calibration = Calibration(on=False)
        """As :meth:`prepare` found it."""

    def prepare(self) -> None:
        """Set the VNA up, RF off, once both instruments are open.

        Raises
        ------
        InputError
            For settings outside limits.
        InstrumentError
        """
        self.vna.configure(self._frequencies_hz)
        self.calibration = self.vna.calibration()
        self._identities = [instrument.identity for instrument in (self.vna, self.surface)]

    @property
    def seconds_per_shot(self) -> tuple[float, float, float]:
        settle_s, sweep_s = self.surface.config.settle_s, self.vna.sweep_s
        return written_s(self.surface, settle_s + sweep_s) + settle_s + sweep_s, settle_s, sweep_s

    @property
    def max_batch(self) -> int:
        if self.world is not None and self.vna.clock is not self._clock:  # time passes without anybody waiting
            return LARGEST
        return max(1, min(LARGEST, int(LONGEST_S / max(1e-6, self.seconds_per_shot[0]))))

    def measure(self, patterns: States) -> Iterator[Readings]:
        done = 0
        while done < len(patterns):
            readings, failure = self._chunk(patterns, done)
            if len(readings.s):
                self.shot += len(readings.s)
                done += len(readings.s)
                yield readings
            if failure is not None:
                raise failure

    def _chunk(self, patterns: States, first: int) -> tuple[Readings, LabtrainError | None]:
        """The shots from the first on that are good, up to a chunk, and why there are no more of them."""
        everything, patterns = patterns, patterns[first : first + self.max_batch]
        started_s, until = self._clock.now(), self._clock.monotonic() + LONGEST_S
        s = np.empty((len(patterns), len(self.vna.config.s_parameters), len(self._frequencies_hz)), dtype=np.complex128)
        attempts, failures = np.zeros(len(s), dtype=np.int64), np.zeros(len(s), dtype=np.int64)
        sure = measured = at = 0  # shots that count; shots with a reading; the one in hand
        while True:
            try:
                if not self._in_step:
                    self._begin_shot(self.shot + measured)
                self._in_step = False
                while measured < len(s) and (measured == 0 or self._clock.monotonic() < until):
                    at = measured
                    attempts[at] += 1
                    self._show(everything, first + at)
                    sure = at
                    s[at] = self._sweep()
                    measured += 1
                if sure < measured:
                    self.surface.check(patterns[at])
                self._in_step = True
                return Readings(s[:measured], attempts[:measured], started_s), None
            except InstrumentError as error:
                measured = sure
                failures[at] += 1
                try:
                    failures[at] = self._recover(error, f"shot {first + at} of {len(everything)}", int(failures[at]))
                except (MeasurementError, Interrupted) as end:
                    return Readings(s[:sure], attempts[:sure], started_s), end

    def _show(self, patterns: States, number: int) -> None:
        """Show one of the patterns (n, n_pixels), by its number in a stored sequence where the surface stores some.

        What the surface forgot, in a recovery or when it was made safe, is stored again from this one on.
        """
        capacity = self.surface.sequence_capacity
        of, first = self._sequence
        if of is patterns and first <= number < first + self.surface.stored:
            self.surface.show(number - first)
        elif not capacity or (length := min(capacity, self.max_batch, len(patterns) - number)) == 1:
            self.surface.set_pattern(patterns[number])
        else:
            self.uploads += 1
            self.surface.set_sequence(patterns[number : number + length])
            self._sequence = patterns, number
            self.surface.show(0)

    def _sweep(self) -> Complex:
        if not self._radiates:
            self.vna.rf(True)
            self._radiates = True
        s = self.vna.sweep()
        wrong = np.argwhere(~np.isfinite(s))
        if len(wrong):
            row, point = wrong[0]
            raise InstrumentError(
                f"{self.vna.name}: {self.vna.config.s_parameters[row]} at {self._frequencies_hz[point]:.12g} Hz came "
                f"back as {s[row, point]}; check that it measures there (rig.frequencies_hz)"
            )
        return s

    def _recover(self, error: InstrumentError, shot: str, failures: int) -> int:
        """Open the instruments again, as they were.

        Returns the failures so far, with those on the way; raises MeasurementError when there are too many, and
        Interrupted when somebody wants to stop.
        """
        while True:
            self._recovery.again(shot, failures, error)
            try:
                self._open_again()
                return failures
            except InstrumentError as again:
                error, failures = again, failures + 1

    def _open_again(self) -> None:
        instruments: tuple[Device, ...] = (self.vna, self.surface)
        self._radiates = False
        for instrument in reversed(instruments):
            instrument.drop()
        for instrument, identity in zip(instruments, self._identities, strict=True):
            instrument.open()
            if instrument.identity != identity:
                raise InstrumentError(
                    f"{instrument.name}: was {identity!r} and is {instrument.identity!r} now; connect the one that the "
                    f"run began with ({instrument.where})"
                )
        self.vna.configure(self._frequencies_hz)
        if change := self.calibration.change(self.vna.calibration()):
            raise InstrumentError(f"{self.vna.name}: its calibration {change} now; recall the one before")

    def _begin_shot(self, number: int) -> None:
        if self.world is not None:
            self.world.begin_shot(number)
        elif (emulator := self._emulator) is not None:
            emulator.simulate_shot(number)

    @property
    def _emulator(self) -> Simulation | None:
        """The VNA, if it is an emulator in another process, which must be told where a simulation is to go on."""
        if self.world is None and self.vna.emulated and isinstance(self.vna, Simulation):
            return self.vna
        return None

    def restart(self, seed: int) -> None:
        self.shot, self._seed, self._in_step, self._happened = 0, seed, True, []
        if self.world is not None:
            self.world.restart(seed)
        elif (emulator := self._emulator) is not None:
            emulator.simulate_restart(seed)

    def refuse_if_real(self) -> None:
        if self.world is None and self._emulator is None:
            raise InputError(
                f"disturbances: {self.vna.name} is {self.vna.identity!r}, a real instrument, and what stands before it "
                "cannot be disturbed by software; leave the section out, or simulate the rig (address: sim)"
            )

    def disturb(self, shot: int, name: str, values: dict[str, Any]) -> None:
        if self.world is not None:
            self.world.disturb(name, at_shot=shot, **values)
        elif (emulator := self._emulator) is not None:
            emulator.simulate_disturb(shot, name, values)
            self._happened.append([shot, name, values])

    def state(self) -> dict[str, Any]:
        if self.world is not None:
            return {"shot": self.shot, "world": self.world.state()}
        return {"shot": self.shot, "seed": self._seed, "disturbances": list(self._happened)}

    def restore(self, state: dict[str, Any]) -> None:
        if self.world is not None:
            self.world.restore(state["world"])
        elif (self._seed, self._happened) != (state["seed"], happened := state.get("disturbances", [])):
            self.restart(int(state["seed"]))
            for shot, name, values in happened:
                self.disturb(int(shot), name, values)
        self.shot, self._in_step = int(state["shot"]), False

    def calm(self) -> None:
        self._radiates = False

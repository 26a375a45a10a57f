"""The optical bench on instruments, and its layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labtrain.clock import Clock
from labtrain.errors import InstrumentError, Interrupted, LabtrainError, LinkError, MeasurementError
from labtrain.layer import Array, Layer, LayerInfo, Shots, check_drive
from labtrain.rigs.optical_layer import SimulatedBench
from labtrain.rigs.optical_shots import ShotProtocol
from labtrain.rigs.recovery import Recovery
from labtrain.rigs.simulated_optics import SimulatedOptics
from labtrain.sim.optics.camera import Camera
from labtrain.sim.optics.modulator import Modulator
from labtrain.sim.optics.parameters import OpticalParameters

CHUNK_S = 2.0  # of shots, at most, before they are handed on


class OpticalInstruments:
    """Modulator and camera in use: shots are counted over all layers, bad ones are measured again.

    Parameters
    ----------
    protocol : ShotProtocol
    recovery : Recovery
    reopen : callable
        Opens the instruments again after one failed.
    clock : Clock
        That shots are dated by.
    simulated : SimulatedBench, optional
        The bench, if it is simulated in this process.
    emulator : SimulatedOptics, optional
        What is told of the shots then.
    check : callable
        Raises Interrupted if somebody wants to stop; asked before each pattern.
    """

    def __init__(
        self,
        protocol: ShotProtocol,
        recovery: Recovery,
        reopen: Callable[[], None],
        clock: Clock,
        simulated: SimulatedBench | None = None,
        emulator: SimulatedOptics | None = None,
        check: Callable[[], object] = lambda: None,
    ) -> None:
        self.protocol, self.clock, self.simulated, self.emulator = protocol, clock, simulated, emulator
        self.check = check
        self._recovery, self._reopen = recovery, reopen
        self.shot = 0  # number of the next shot

    def restart(self, seed: int) -> None:
        """Shot 0, with this seed where the bench is simulated."""
        self.shot = 0
        if self.simulated is not None:
            self.simulated.restart(seed)

    def look(self) -> None:
        """The next pattern is none of a layer's."""
        if self.emulator is not None:
            self.emulator.look(self.shot)

    def measure(self, pattern: NDArray[np.integer], layer: int, shot: str) -> tuple[Array, int]:
        """Mean counts (rows, columns) of the next shot, and how often it was measured.

        Parameters
        ----------
        pattern : ndarray, (rows, columns)
            Steps of all cells.
        layer : int
            Whose shot it is.
        shot : str
            Which one it is, for people.

        Raises
        ------
        MeasurementError
            If it stays bad.
        Interrupted
            If somebody wants to stop.
        """
        failures = attempt = 0
        while True:
            self.check()
            if self.emulator is not None:
                self.emulator.begin(self.shot, attempt, layer)
            attempt += 1
            try:
                reading = self.protocol.take(pattern)
            except LinkError as error:
                failures = self._recovered(error, shot, failures + 1)
                continue
            if not reading.fault:
                self.shot += 1
                return reading.counts, attempt
            failures += 1
            bad = InstrumentError(f"{self.protocol.camera.name}: {reading.fault}")
            self._recovery.again(shot, failures, bad, reopens=False)

    def _recovered(self, error: InstrumentError, shot: str, failures: int) -> int:
        """Open the instruments again; how often the shot has failed by then."""
        while True:
            self._recovery.again(shot, failures, error)
            try:
                self._reopen()
                return failures
            except (MeasurementError, Interrupted):
                raise
            except InstrumentError as again:
                error, failures = again, failures + 1

    def steady(self) -> int | float:
        """Shots from the next one on during which a simulated bench stays as it is."""
        return np.inf if self.simulated is None else self.simulated.worlds[0].steady(self.shot)

    def environment(self) -> dict[str, float]:
        """Readings at the latest shot, where the bench is simulated."""
        return {} if self.simulated is None else self.simulated.worlds[0].environment(max(self.shot - 1, 0))

    def state(self) -> dict[str, Any]:
        return {"shot": self.shot, **({} if self.simulated is None else self.simulated.worlds[0].state())}

    def restore(self, state: dict[str, Any]) -> None:
        self.shot = int(state["shot"])
        if self.simulated is not None:
            self.simulated.restore(state)


class InstrumentLayer(Layer):
    """Drives in [0, 1], one per input of a region of the modulator, to outputs pooled from the camera's pixels.

    Parameters
    ----------
    number : int
        Of the layer, from 0.
    instruments : OpticalInstruments
        Shared, with their count of shots, by all layers of a rig.
    parameters : OpticalParameters
        Where inputs and outputs are; what it says of physics is not looked at.
    info : LayerInfo
    """

    PHYSICS = "rig.fidelity: physics"

    def __init__(
        self, number: int, instruments: OpticalInstruments, parameters: OpticalParameters, info: LayerInfo
    ) -> None:
        self.name = "optical" if number == 0 else f"optical {number + 1}"
        self._number, self._instruments, self._p, self._info = number, instruments, parameters, info
        self._modulator, self._camera = Modulator(parameters), Camera(parameters)

    @property
    def info(self) -> LayerInfo:
        return self._info

    def quantise(self, x: ArrayLike) -> Array:
        """Drives as the steps of the modulator show them, (shots, n_in)."""
        return self._modulator.quantise(check_drive(x, self._info.n_in, self.name))

    def patterns(self, x: Array) -> NDArray[np.uint16]:
        """Steps of all cells for drives (n, n_in): (n, rows, columns)."""
        cells = self._modulator.cells(x)[:, : self._p.cells]
        return cells.astype(np.uint16).reshape(-1, *self._p.slm_shape)

    def outputs(self, counts: Array, dark: Array) -> Array:
        """Responses (n, n_out) of mean counts (n, rows, columns), less a dark frame (rows, columns)."""
        flat = np.asarray(counts, dtype=np.float32).reshape(-1, self._p.pixels)
        level = np.asarray(dark, dtype=np.float32).reshape(self._p.pixels)
        return np.asarray(self._camera.outputs(flat, level), dtype=np.float64)

    def _measure(self, x: Array) -> Iterator[Shots]:
        instruments, done = self._instruments, 0
        dark = instruments.protocol.dark
        if dark is None:
            raise InstrumentError(
                "optical rig: it does not know its dark frame yet; call commission(), or adopt() with what it gave "
                "before"
            )
        while done < len(x):
            # A simulated bench changes at certain shots: a chunk ends there, and one reading describes it.
            count = int(min(self._info.max_batch, instruments.steady()))
            part = self._modulator.quantise(x[done : done + count])
            started_s = instruments.clock.now()
            y, attempts = [], []
            failure: LabtrainError | None = None
            for number, pattern in enumerate(self.patterns(part)):
                try:
                    reading, often = instruments.measure(pattern, self._number, f"shot {done + number} of {len(x)}")
                except LabtrainError as end:  # whatever ends it, what was measured goes on first
                    failure = end
                    break
                y.append(self.outputs(reading, dark))  # at once: frames of a whole sensor are large
                attempts.append(often)
            if y:
                yield Shots(part[: len(y)], np.concatenate(y), None, np.array(attempts, dtype=np.int64), started_s)
            if failure is not None:
                raise failure
            done += len(part)

    def state(self) -> dict[str, Any]:
        return self._instruments.state()

    def restore(self, state: dict[str, Any]) -> None:
        self._instruments.restore(state)

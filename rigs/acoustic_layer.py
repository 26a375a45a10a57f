"""The layers of the acoustic rig: the simulated cavity itself, and a cavity behind speakers and microphones."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labtrain.clock import Clock
from labtrain.errors import InstrumentError, Interrupted, LabtrainError, LinkError, MeasurementError
from labtrain.layer import Array, Layer, LayerInfo, Shots, check_drive
from labtrain.rigs.acoustic_config import AcousticConfig
from labtrain.rigs.acoustic_shots import ShotProtocol, Taken
from labtrain.rigs.acoustic_sync import ReferenceSync
from labtrain.rigs.recovery import Recovery
from labtrain.rigs.simulated_room import COMMISSIONING, SimulatedRoom
from labtrain.rigs.waveforms import Waveforms
from labtrain.sim.acoustic import HOLD, AcousticWorld

Complex = NDArray[np.complex128]


class CavityLayer(Layer):
    """Drives in [0, 1], one per speaker and tone, to amplitudes in pascal, one per microphone and tone."""

    name = "acoustic"

    def __init__(self, world: AcousticWorld, config: AcousticConfig, clock: Clock) -> None:
        self.world = world
        self.shot = 0  # number of the next shot
        self._clock = clock
        described = json.dumps(asdict(world.parameters), sort_keys=True)
        frames = (config.settle_periods + config.average_periods) * config.period_frames  # of a converter in its place
        self._info = LayerInfo(
            n_in=world.n_in,
            n_out=world.n_out,
            seconds_per_shot=(config.settle_periods + config.average_periods) * config.period_s,
            max_batch=HOLD,
            y_unit="Pa",
            fingerprint="acoustic:" + hashlib.sha256(described.encode()).hexdigest()[:16],
            simulated=True,
            settle_s=config.settle_periods * config.period_s,
            integration_s=config.average_periods * config.period_s,
            samples_per_shot=frames * (world.parameters.speakers + world.parameters.microphones),
        )

    @property
    def info(self) -> LayerInfo:
        return self._info

    def restart(self, seed: int) -> None:
        """Shot 0, with this seed of noise and drift."""
        self.shot = 0
        self.world.restart(seed)

    def _measure(self, x: Array) -> Iterator[Shots]:
        done = 0
        while done < len(x):
            # A chunk ends where the world may change: then no block is solved twice in vain, one reading describes it.
            part = x[done : done + self.world.steady(self.shot)]
            started_s = self._clock.now()
            y = self.world.respond(part, self.shot)
            self.shot += len(part)
            done += len(part)
            yield Shots(part, y, None, np.ones(len(part), dtype=np.int64), started_s)

    def vjp(self, x: ArrayLike, dy: ArrayLike) -> Array:
        """That of the cavity as it stands at the next shot."""
        return self.world.vjp(check_drive(x, self._info.n_in, self.name), dy, self.shot)

    def state(self) -> dict[str, Any]:
        return {"shot": self.shot, **self.world.state()}

    def restore(self, state: dict[str, Any]) -> None:
        self.shot = int(state["shot"])
        self.world.restore(state)


class SoundLayer(Layer):
    """Drives in [0, 1], one per speaker and tone, to what microphones hear of each tone, through a converter.

    Shots follow one another in playbacks of `info.max_batch`; a chunk is a playback, and bad shots of it are played
    once more.

    Parameters
    ----------
    protocol : ShotProtocol
        Commissioned before the first shot.
    config : AcousticConfig
    info : LayerInfo
    scale : ndarray, (microphones,)
        From fractions of full scale to the unit of the responses.
    recovery : Recovery
    reopen : callable
        Opens the converter again after it failed.
    waveforms : Waveforms
    clock : Clock
    simulation : SimulatedRoom, optional
        If the room is simulated in this process.
    check : callable
        Raises Interrupted if somebody wants to stop; asked several times a second.
    """

    name = "acoustic"

    PHYSICS = "rig.fidelity: physics"

    def __init__(
        self,
        protocol: ShotProtocol,
        config: AcousticConfig,
        info: LayerInfo,
        scale: Array,
        recovery: Recovery,
        reopen: Callable[[], None],
        waveforms: Waveforms,
        clock: Clock,
        simulation: SimulatedRoom | None = None,
        check: Callable[[], object] = lambda: None,
    ) -> None:
        self.protocol, self._config, self._info, self._scale = protocol, config, info, scale
        self._recovery, self._reopen, self._waveforms, self._clock = recovery, reopen, waveforms, clock
        self._simulation, self._check = simulation, check
        self.shot = 0  # number of the next shot
        self._attempt = 0  # of the playback in hand

    @property
    def info(self) -> LayerInfo:
        return self._info

    def restart(self, seed: int) -> None:
        """Shot 0, with this seed where the room is simulated."""
        self.shot = 0
        if self._simulation is not None:
            self._simulation.restart(seed)

    def _measure(self, x: Array) -> Iterator[Shots]:
        if self.protocol.floor.power is None:
            raise InstrumentError(
                "acoustic rig: it does not know the noise of its room yet; call commission(), or adopt() with what it "
                "gave before"
            )
        done = 0
        while done < len(x):
            # A simulated room changes at certain shots: a chunk ends there, and one reading describes it.
            still = self._info.max_batch if self._simulation is None else self._simulation.steady(self.shot)
            shots, failure = self._chunk(x[done : done + min(self._info.max_batch, still)], done, len(x))
            if len(shots):
                self.shot += len(shots)
                done += len(shots)
                yield shots
            if failure is not None:
                raise failure

    def commission(self, shots: int) -> tuple[Shots, Array, Complex | None]:
        """Take first shots and learn from them.

        Returns
        -------
        Shots, the noise floor (bins, microphones), and without a loopback the tones of the reference
        """
        started_s = self._clock.now()
        if self._simulation is not None:
            self._simulation.begin(0, COMMISSIONING)
        taken, floor = self.protocol.commission(shots, self._check, self._info.max_batch)
        y, sigma = self._outputs(taken.tones, taken.sigma)
        drive = self.protocol.first_drives(shots).reshape(shots, -1)
        sync = self.protocol.sync
        phases = sync.phases if isinstance(sync, ReferenceSync) else None
        return Shots(drive, y, sigma, np.ones(shots, dtype=np.int64), started_s), floor, phases

    def _chunk(self, x: Array, first: int, of: int) -> tuple[Shots, LabtrainError | None]:
        """The shots that are good up to the first that is not, and why there are no more of them."""
        n, outputs = len(x), (len(x), len(self.protocol.bins), self.protocol.sound.n_microphones)
        drive = x.reshape(n, self.protocol.sound.n_speakers, -1)
        tones, sigma = np.zeros(outputs, dtype=np.complex128), np.zeros(outputs)
        good, attempts = np.zeros(n, dtype=np.bool_), np.zeros(n, dtype=np.int64)
        failures = np.zeros(n, dtype=np.int64)
        started_s, self._attempt = self._clock.now(), 0
        failure: LabtrainError | None = None
        while failure is None and not good.all():
            todo = np.flatnonzero(~good)
            try:
                taken = self._take(drive[todo], int(todo[0]))
            except LinkError as error:
                attempts[todo] += 1
                failure = self._recovered(error, f"shot {first + todo[0]} of {of}", int(failures[todo[0]]) + 1)
                failures[todo[0]] += 1
                continue
            except Interrupted as stop:  # before the playback began: what was good in those before is kept
                failure = stop
                continue
            for row, fault in enumerate(taken.faults):
                shot = int(todo[row])
                attempts[shot] += 1
                good[shot] = not fault
                tones[shot], sigma[shot] = taken.tones[row], taken.sigma[row]
                self._keep(taken, row, self.shot + shot)
                if fault and failure is None:
                    failures[shot] += 1
                    failure = self._again(f"shot {first + shot} of {of}", int(failures[shot]), fault)
            failure = failure or taken.ended
        whole = n if good.all() else int(good.argmin())
        if isinstance(failure, Interrupted) and self._simulation is not None:
            whole = 0  # a resumed run plays them all again, in one playback: bit for bit as if it had not been stopped
        y, spread = self._outputs(tones[:whole], sigma[:whole])
        return Shots(x[:whole], y, spread, attempts[:whole], started_s), failure

    def _take(self, drive: Array, first: int) -> Taken:
        number = None
        if self._simulation is not None:
            number = 1 + self._simulation.begin(self.shot + first, self._attempt)
        self._attempt += 1
        return self.protocol.take(drive, self._check, number)

    def _again(self, shot: str, failures: int, fault: str) -> LabtrainError | None:
        """Why the shot may not be played again; None if it may."""
        error = InstrumentError(f"{self.protocol.sound.name}: {fault}")
        try:
            self._recovery.again(shot, failures, error, reopens=False)
        except (MeasurementError, Interrupted) as end:
            return end
        return None

    def _recovered(self, error: InstrumentError, shot: str, failures: int) -> LabtrainError | None:
        """Open the converter again; why that was given up, or None."""
        while True:
            try:
                self._recovery.again(shot, failures, error)
                self._reopen()
                return None
            except (MeasurementError, Interrupted) as end:
                return end
            except InstrumentError as again:
                error, failures = again, failures + 1

    def _keep(self, taken: Taken, row: int, shot: int) -> None:
        fault, share = taken.faults[row], self._config.shot.keep_good
        # Every 1/share-th shot: a share that says which, whatever the batches.
        sample = share > 0 and int(shot * share) != int((shot + 1) * share)
        if fault or sample:
            start = taken.starts[row]
            frames = self.protocol.tones.window.stop
            self._waveforms.keep(taken.recording[start : start + frames], shot, fault or "sample")

    def _outputs(self, tones: Complex, sigma: Array) -> tuple[Array, Array]:
        """Responses and their standard deviations, (n, n_out) both, from (n, bins, microphones)."""
        heard: Complex = np.swapaxes(tones * self._scale, 1, 2)
        spread: Array = np.swapaxes(sigma * self._scale, 1, 2)
        if self._config.readout == "modulus":
            # Not abs(): it may round differently at the end of an array than in its vectorised middle.
            y = np.sqrt(heard.real**2 + heard.imag**2)
        else:
            y, spread = np.concatenate([heard.real, heard.imag], axis=2), np.concatenate([spread, spread], axis=2)
        shape = len(y), self._info.n_out  # not -1, which cannot be told where no shot is good
        return y.reshape(shape), spread.reshape(shape)

    def state(self) -> dict[str, Any]:
        return {"shot": self.shot, **({} if self._simulation is None else self._simulation.state())}

    def restore(self, state: dict[str, Any]) -> None:
        self.shot = int(state["shot"])
        if self._simulation is not None:
            self._simulation.restore(state)

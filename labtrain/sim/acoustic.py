"""A simulated acoustic cavity with nonlinear membranes: speakers play tones, microphones give spectral amplitudes.

All frequencies lie on one grid of bins, so the answer of the cavity (:mod:`labtrain.sim.cavity`) is periodic, and
harmonic balance on the membranes alone finds it (:mod:`labtrain.sim.harmonic_balance`): with Z the impedance of the air
between two points, the force per displacement of the membranes is

    S_rr'(w) = (K_r - w^2 M + j w R) delta_rr' + j w A^2 Z_rr'(w).

Column order: input = speaker * tones + tone, output = microphone * tones + tone.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labtrain.errors import InputError, MeasurementError
from labtrain.sim.acoustic_disturbances import Altered, Wiring, altered, known, own
from labtrain.sim.adjoint import TOGETHER, drive_vjp
from labtrain.sim.cavity import AcousticParameters, place, speed_of_sound_m_s
from labtrain.sim.disturbances import Event, Events, Known, RefusedDisturbance, checked
from labtrain.sim.harmonic_balance import Balance
from labtrain.sim.held_air import HeldAir
from labtrain.sim.modes import CavityModes, Disc, cavity_modes
from labtrain.sim.noise import DRIFT, NOISE, REFERENCE, block_normals, philox, random_walk
from labtrain.sim.vectors import check_vectors

__all__ = ["BLOCK", "AcousticParameters", "AcousticWorld", "HeldAir"]

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]
T = TypeVar("T", np.float64, np.complex128)

BLOCK = 16  # shots solved together; shot k is row k % BLOCK of its block, whatever batch it came in
HOLD = 256  # shots during which the temperature does not drift; a multiple of BLOCK
COLDEST_C, WARMEST_C = -100.0, 200.0  # between which dry air is a gas like any other
_REFERENCE_BLOCKS = 4


class AcousticWorld:
    """The cavity as a function of drive and shot number.

    Noise is complex Gaussian: each quadrature of each output has a standard deviation of ``noise`` times the rms
    amplitude of that output over a fixed set of random drives. The temperature drifts between holds of 256 shots, as a
    function of the shot number; disturbances happen at any shot. Noise and drift are counter-based, and shots are
    solved in blocks of fixed size in which each has its place: the answer to a shot is bit for bit the same in whatever
    batch it is asked for.

    Parameters
    ----------
    parameters : AcousticParameters
    seed : int
        Of noise and drift; the geometry has its own.
    """

    def __init__(self, parameters: AcousticParameters, seed: int) -> None:
        self.parameters = parameters
        self.seed = seed
        self.geometry = place(parameters)
        self._events = Events(*own(parameters))
        self._altered: dict[int, Altered] = {}
        self._modes: dict[tuple[Disc, ...], CavityModes] = {}
        self._airs: dict[tuple[float, tuple[Disc, ...], Wiring], HeldAir] = {}
        tones = np.arange(len(parameters.tone_bins))
        # Newman's phases, pi t^2 / T: a low crest factor (Boyd, IEEE Trans. Circuits Syst. 33:1018, 1986).
        self._phasor = np.exp(1j * np.pi * tones**2 / len(tones))[:, None, None]
        self._noise_pa = self._reference_noise()

    @property
    def n_in(self) -> int:
        return self.parameters.speakers * len(self.parameters.tone_bins)

    @property
    def n_out(self) -> int:
        return self.parameters.microphones * len(self.parameters.tone_bins)

    @property
    def tones_hz(self) -> Array:
        """Frequencies of the tones, (tones,)."""
        return np.array(self.parameters.tone_bins) * self.parameters.bin_hz

    def respond(self, drive: ArrayLike, first_shot: int) -> Array:
        """Amplitudes in pascal, noise included, of shots first_shot, first_shot + 1, ...

        Parameters
        ----------
        drive : array_like, (n, n_in)
            In [0, 1].
        first_shot : int
            Not negative.

        Returns
        -------
        ndarray, (n, n_out), float64

        Raises
        ------
        InputError
            If the drives do not have n_in finite columns.
        MeasurementError
            If a shot has no steady answer, or more than one; names the shot.
        """
        return self._respond(drive, first_shot, noisy=True)

    def respond_without_noise(self, drive: ArrayLike, first_shot: int = 0) -> Array:
        """As :meth:`respond`, with perfect microphones; drift stays."""
        return self._respond(drive, first_shot, noisy=False)

    def vjp(self, drive: ArrayLike, dy: ArrayLike, shot: int = 0) -> Array:
        """Vector-Jacobian product dx_i = sum_k dy_k d y_k / d x_i of :meth:`respond_without_noise`.

        All rows are taken in the environment of one shot. Folds are not looked for: of several steady answers it is
        the derivative of the one from the linear side.

        Parameters
        ----------
        drive : array_like, (n, n_in)
        dy : array_like, (n, n_out)
        shot : int

        Returns
        -------
        ndarray, (n, n_in)
            An amplitude of 0 has no slope and adds nothing.

        Raises
        ------
        InputError
            If drives or vectors do not have n finite rows of their width.
        MeasurementError
            If the answer to a row, or its derivative, is not found; names the row.
        """
        rows = _checked("drive", drive, self.n_in)
        vectors = _checked("dy", check_vectors(dy, len(rows), self.n_out, "acoustic world"), self.n_out)
        air, tones, dx = self.air(shot), len(self.parameters.tone_bins), np.empty_like(rows)
        for first in range(0, len(rows), TOGETHER):
            part = slice(first, first + TOGETHER)
            back, lost = drive_vjp(air, self.phasors(rows[part]), _cube(vectors[part], tones))
            if lost.any():
                raise MeasurementError(
                    f"acoustic world: found no derivative of the answer to row {first + int(np.argmax(lost))} of "
                    f"{len(rows)}, the membranes' cubic springs fold nearby; lower the drive, full_drive_m3_s or "
                    "cubic_n_m3"
                )
            dx[part] = _rows((back.conj() * self._phasor).real)
        return dx

    def balance(self, drive: Array, first_shot: int = 0) -> Balance:
        """Motion of the membranes for drives (n, n_in), as of one shot's environment: for inspection."""
        air = self.air(first_shot)
        return air.solver.solve(air.forces(self.phasors(drive)))

    def phasors(self, drive: Array) -> Complex:
        """Drives (n, n_in) as phasors (tones, speakers, n): ``Re(phasor exp(j w t))`` times the full drive."""
        return np.asarray(_cube(drive, len(self._phasor)) * self._phasor)

    def environment(self, shot: int) -> dict[str, float]:
        """Readings at a shot: ``temperature_c``."""
        return {"temperature_c": self._temperature_c(shot, self._after(shot))}

    def steady(self, shot: int) -> int:
        """Shots from this one on, up to the end of a hold, during which the cavity stays as it is."""
        return int(min(HOLD - shot % HOLD, self._events.still(shot)))

    def more_noise(self, shot: int) -> float:
        """What disturbances have added to the noise by a shot, as a share of each output's rms amplitude."""
        return self._after(shot).noise

    def air(self, shot: int) -> HeldAir:
        """Everything linear as it is at a shot."""
        now = self._after(shot)
        discs, temperature_c = self._discs(now), self._temperature_c(shot, now)
        if (temperature_c, discs, now.wiring) not in self._airs:
            if discs not in self._modes:
                p = self.parameters
                highest = 2.0 * np.pi * p.highest_mode_hz / speed_of_sound_m_s(p.temperature_c)
                _keep(self._modes, discs, cavity_modes((p.length_m, p.width_m, p.height_m), discs, highest))
            held = HeldAir.of(self.parameters, self.geometry, self._modes[discs], temperature_c, now.wiring)
            _keep(self._airs, (temperature_c, discs, now.wiring), held)
        return self._airs[temperature_c, discs, now.wiring]

    def _after(self, shot: int) -> Altered:
        """What the disturbances have made of the cavity by a shot."""
        happened = self._events.until(shot)
        if len(happened) not in self._altered:
            self._altered[len(happened)] = altered(self.parameters, happened)
        return self._altered[len(happened)]

    def _respond(self, drive: ArrayLike, first_shot: int, noisy: bool) -> Array:
        rows = _checked("drive", drive, self.n_in)
        y = np.empty((len(rows), self.n_out))
        done = 0
        while done < len(rows):
            block, row = divmod(first_shot + done, BLOCK)
            # A block in which something happens is solved twice, before and after.
            used = slice(row, min(BLOCK, row + len(rows) - done, row + self.steady(first_shot + done)))
            padded = np.zeros((BLOCK, self.n_in))
            count = used.stop - used.start
            padded[used] = rows[done : done + count]
            pressure = self._block(padded, block * BLOCK, used)
            noise_pa = self._noise_at(first_shot + done) if noisy else None
            if noise_pa is not None:
                normals = block_normals(self.seed, NOISE, block, (2, BLOCK, self.n_out))
                pressure = pressure + noise_pa * (normals[0] + 1j * normals[1])
            y[done : done + count] = np.abs(pressure)[used]
            done += count
        return y

    def _block(self, drive: Array, first_shot: int, used: slice) -> Complex:
        """Complex pressures (BLOCK, n_out) of a block; raises for the first used shot that went wrong."""
        air, p = self.air(first_shot + used.start), self.parameters
        tones = self.phasors(drive)
        force = air.forces(tones)
        balance = air.solver.solve(force)
        astray = balance.residual[used] > p.tolerance
        folded = air.solver.folded(force, balance)[used] if p.cubic_n_m3 > 0 else np.zeros_like(astray)
        if (astray | folded).any():
            worst = int(np.argmax(astray | folded))
            many = "no" if astray[worst] else "more than one"
            raise MeasurementError(
                f"acoustic world: found {many} steady answer to shot {first_shot + used.start + worst}, the membranes' "
                "cubic springs fold; lower the drive, full_drive_m3_s or cubic_n_m3"
            )
        return _rows(air.pressure(tones, balance.spectrum))

    def _temperature_c(self, shot: int, now: Altered) -> float:
        p, hold = self.parameters, shot // HOLD
        sine = np.sin(2.0 * np.pi * hold * HOLD / p.drift_period_shots)
        walk = random_walk(self.seed, DRIFT, hold) if p.drift_walk_k > 0 else 0.0
        kelvin = now.kelvin_at(hold * HOLD)
        found = float(p.temperature_c + kelvin + p.drift_sine_k * sine + p.drift_walk_k * walk)
        if not COLDEST_C <= found <= WARMEST_C:
            raise MeasurementError(
                f"acoustic world: at shot {shot} the air would have {found:.4g} degrees Celsius, allowed {COLDEST_C:g} "
                f"to {WARMEST_C:g}; let it drift less"
            )
        return found

    def _discs(self, now: Altered) -> tuple[Disc, ...]:
        return tuple(
            Disc(disc.x_m + dx, disc.y_m + dy, disc.radius_m)
            for disc, (dx, dy) in zip(self.geometry.discs, now.moved_m, strict=True)
        )

    def _reference_noise(self) -> Array:
        """Standard deviation of each quadrature of each output, (n_out,), in pascal."""
        if self.parameters.noise == 0:
            return np.zeros(self.n_out)
        drive = philox(self.parameters.geometry_seed, REFERENCE).random((_REFERENCE_BLOCKS * BLOCK, self.n_in))
        return np.asarray(self.parameters.noise * np.sqrt((self.respond_without_noise(drive) ** 2).mean(axis=0)))

    def _noise_at(self, shot: int) -> Array | None:
        """As :meth:`_reference_noise`, with what disturbances have added; None for silence."""
        more = self._after(shot).noise
        if more:
            return math.hypot(self.parameters.noise, more) * self.rms_pa
        return self._noise_pa if self.parameters.noise > 0 else None

    @cached_property
    def rms_pa(self) -> Array:
        """Amplitude of each output over the fixed set of random drives, undisturbed, rms, (n_out,), in pascal."""
        return AcousticWorld(replace(self.parameters, noise=1.0, scatterer_moves_at_shot=None), 0)._noise_pa

    def restart(self, seed: int) -> None:
        """Another seed for noise and drift; disturbances are undone."""
        self.seed = seed
        self._events.clear()
        self._altered.clear()

    @property
    def disturbances(self) -> Known:
        """What can happen to this cavity."""
        return known(self.parameters)

    def disturb(self, name: str, *, at_shot: int = 0, **values: Any) -> None:
        """Change the cavity from a shot on: ``"temperature", kelvin=0.5``; :attr:`disturbances` has names and values.

        Raises
        ------
        RefusedDisturbance
            For an unknown name, other values than these, values out of range, or a disc that would leave the cavity or
            run into another one.
        """
        before = self._events.state()
        self._events.add(Event(at_shot, name, checked("acoustic world", self.disturbances, name, values)))
        self._altered.clear()
        try:
            for shot in self._events.shots:
                self._check_discs(shot)
        except RefusedDisturbance:
            self._events.restore(before)
            self._altered.clear()
            raise

    def _check_discs(self, shot: int) -> None:
        p, placed = self.parameters, self._discs(self._after(shot))
        for number, disc in enumerate(placed):
            r = disc.radius_m
            inside = r <= disc.x_m <= p.length_m - r and r <= disc.y_m <= p.width_m - r
            others = (*placed[:number], *placed[number + 1 :])
            if not inside or any(math.hypot(disc.x_m - o.x_m, disc.y_m - o.y_m) < r + o.radius_m for o in others):
                end = "run into another one" if inside else "leave the cavity"
                raise RefusedDisturbance(
                    "acoustic world", "dx_m", f"disturbance 'scatterer': disc {number} would {end} at ({disc.x_m:.3g} "
                    f"m, {disc.y_m:.3g} m); move it less, or elsewhere"
                )  # fmt: skip

    def state(self) -> dict[str, Any]:
        """Seed and disturbances, JSON-compatible. The shot number is the caller's to keep."""
        return {"seed": self.seed, "disturbances": self._events.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Return to a state that :meth:`state` gave."""
        self.seed = int(state["seed"])
        self._events.restore(state.get("disturbances", []))  # older runs had none
        self._altered.clear()


def _checked(name: str, values: ArrayLike, width: int) -> Array:
    rows = np.asarray(values, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != width or not np.isfinite(rows).all():
        raise InputError(f"acoustic world: {name} of shape {rows.shape} is not (shots, {width}) of finite numbers")
    return rows


def _cube(rows: Array, tones: int) -> Array:
    """Rows (n, channels * tones) as (tones, channels, n)."""
    return np.ascontiguousarray(rows.reshape(len(rows), -1, tones).transpose(2, 1, 0))


def _rows(cube: NDArray[T]) -> NDArray[T]:
    """And back."""
    return np.ascontiguousarray(cube.transpose(2, 1, 0)).reshape(cube.shape[2], -1)


def _keep(cache: dict[Any, Any], key: Any, value: Any) -> None:
    """Store, and forget the oldest beyond four."""
    cache[key] = value
    if len(cache) > 4:
        del cache[next(iter(cache))]

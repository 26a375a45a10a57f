"""A simulated acoustic cavity with nonlinear membranes: four speakers play tones, four microphones listen.

Air in a shallow rigid-walled box with rigid discs, in modes psi_n (:mod:`labtrain.sim.modes`), drives membranes with a
cubic spring and is driven by them and by the speakers' volume velocity Q:

    b_n'' + a_n b_n' + w_n^2 b_n = (rho c^2 / V) [sum_s psi_n(s) Q_s + sum_r psi_n(r) Sd xi_r'],   p = sum_n psi_n b_n'
    M xi_r'' + R xi_r' + K_r xi_r + K3 xi_r^3 = -Sd p(r)

(Kuttruff, "Room Acoustics", ch. 3, for the modes; Duffing resonators for the membranes.) All frequencies lie on one
grid of bins, so the answer is periodic, and harmonic balance on the membranes alone finds it
(:mod:`labtrain.sim.harmonic_balance`):

    Z_ab(w) = (j w rho c^2 / V) sum_n psi_n(a) psi_n(b) / (w_n^2 - w^2 + j w a_n)
    G(w) = [diag(K_r - w^2 M + j w R) + j w Sd^2 Z_rr']^-1

Column order: input = speaker * tones + tone, output = microphone * tones + tone.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labtrain.errors import InputError, MeasurementError
from labtrain.limits import did_you_mean
from labtrain.sim.harmonic_balance import Balance, HarmonicBalance
from labtrain.sim.modes import CavityModes, Disc, cavity_modes
from labtrain.sim.noise import block_normals, philox, random_walk

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

BLOCK = 64  # shots solved together; shot k is row k % BLOCK of its block, whatever batch it came in
_NOISE, _WALK, _REFERENCE, _GEOMETRY = range(4)  # streams of random numbers


@dataclass(frozen=True)
class AcousticParameters:
    """Every physical parameter of the cavity.

    The defaults give about 85 dB at the microphones at full drive and intermodulation near -45 dB.
    """

    length_m: float = 1.4
    width_m: float = 1.0
    height_m: float = 0.15
    speakers: int = 4
    microphones: int = 4
    membranes: int = 8
    discs: int = 3
    disc_radius_m: float = 0.07
    geometry_seed: int = 1
    bin_hz: float = 48_000 / 2048
    # No tone within 9 Hz of a mains harmonic, all differences distinct: no third-order product falls on a tone.
    tone_bins: tuple[int, ...] = (12, 14, 20, 24, 27)
    bins: int = 49
    highest_mode_hz: float = 1700.0
    cavity_q: float = 35.0
    full_drive_m3_s: float = 5e-5
    membrane_area_m2: float = 32e-4
    membrane_mass_kg: float = 2.7e-3
    membrane_loss_n_s_m: float = 0.8
    membrane_low_hz: float = 260.0
    membrane_high_hz: float = 620.0
    cubic_n_m3: float = 4e14
    noise: float = 0.002
    temperature_c: float = 20.0
    drift_walk_k: float = 0.0
    drift_sine_k: float = 0.0
    drift_period_shots: float = 10_000.0
    scatterer_moves_at_shot: int | None = None
    scatterer_move_m: float = 0.005
    tolerance: float = 1e-5
    max_iterations: int = 60


@dataclass(frozen=True)
class Geometry:
    """Where everything is, in metres: arrays (n, 3) of points, and the discs."""

    speakers: Array
    microphones: Array
    membranes: Array
    discs: tuple[Disc, ...]


@dataclass(frozen=True)
class _Air:
    """Everything linear, for one temperature and one place of the discs. Ports: membranes r, speakers s, mics m."""

    tone_omega: Array  # (tones,)
    linear: Complex  # (tones, membranes, speakers): membrane displacement per drive
    direct: Complex  # (tones, mics, speakers): pressure per drive
    radiated: Complex  # (tones, mics, membranes): pressure per membrane displacement
    radiated_all: Complex  # (bins, mics, membranes)
    solver: HarmonicBalance


def speed_of_sound_m_s(temperature_c: float) -> float:
    """Dry air."""
    return float(331.3 * np.sqrt(1.0 + temperature_c / 273.15))


def air_density_kg_m3(temperature_c: float) -> float:
    """Dry air at 101,325 Pa."""
    return 101_325.0 / (287.05 * (temperature_c + 273.15))


class AcousticWorld:
    """The cavity as a function of drive and shot number.

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
        self._temperature_offset_k = 0.0
        self._disc_offset_m: dict[int, tuple[float, float]] = {}
        self._modes: OrderedDict[tuple[Disc, ...], CavityModes] = OrderedDict()
        self._airs: OrderedDict[tuple[float, tuple[Disc, ...]], _Air] = OrderedDict()
        tones = np.arange(len(parameters.tone_bins))
        self._phasor = np.exp(1j * np.pi * tones**2 / len(tones))  # Newman's phases: low crest factor
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
        drive : (n, n_in) in [0, 1]
        first_shot : int

        Returns
        -------
        ndarray, (n, n_out)

        Raises
        ------
        MeasurementError
            If a shot has no periodic answer that the solver can find; names the shot.
        """
        return self._respond(drive, first_shot, noisy=True)

    def respond_without_noise(self, drive: ArrayLike, first_shot: int = 0) -> Array:
        """As :meth:`respond`, with perfect microphones; drift stays."""
        return self._respond(drive, first_shot, noisy=False)

    def environment(self, shot: int) -> dict[str, float]:
        """Readings at a shot: ``temperature_c``."""
        return {"temperature_c": self._temperature_c(shot // BLOCK)}

    def _respond(self, drive: ArrayLike, first_shot: int, noisy: bool) -> Array:
        rows = np.asarray(drive, dtype=np.float64)
        y = np.empty((len(rows), self.n_out))
        done = 0
        while done < len(rows):
            block, row = divmod(first_shot + done, BLOCK)
            take = min(BLOCK - row, len(rows) - done)
            padded = np.zeros((BLOCK, self.n_in))
            padded[row : row + take] = rows[done : done + take]
            pressure = self._block(padded, block, slice(row, row + take))
            if noisy and self.parameters.noise > 0:
                normals = block_normals(self.seed, _NOISE, block, (BLOCK, self.n_out, 2))
                pressure = pressure + self._noise_pa * (normals[..., 0] + 1j * normals[..., 1])
            y[done : done + take] = np.abs(pressure)[row : row + take]
            done += take
        return y

    def _block(self, drive: Array, block: int, used: slice) -> Complex:
        """Complex pressures (BLOCK, n_out) of a block; raises for the first used shot that went wrong."""
        air = self._air(block)
        balance, tones = self._balance(air, drive)
        bad = np.flatnonzero(balance.residual[used] > self.parameters.tolerance)
        if len(bad):
            shot = block * BLOCK + used.start + int(bad[0])
            raise MeasurementError(
                f"acoustic world: shot {shot} has no steady answer (residual {balance.residual[used][bad[0]]:.1e}, "
                f"allowed {self.parameters.tolerance:.0e}); lower the drive or cubic_n_m3"
            )
        chosen = balance.spectrum[list(self.parameters.tone_bins)]
        pressure = air.direct @ tones + 2.0 * (air.radiated @ chosen)  # (tones, mics, BLOCK)
        return np.ascontiguousarray(pressure.transpose(2, 1, 0)).reshape(BLOCK, self.n_out)

    def _balance(self, air: _Air, drive: Array) -> tuple[Balance, Complex]:
        """Membrane spectra and the drive as phasors (tones, speakers, shots)."""
        p = self.parameters
        tones = drive.reshape(len(drive), p.speakers, -1).transpose(2, 1, 0) * self._phasor[:, None, None]
        linear = np.zeros((p.bins, p.membranes, len(drive)), dtype=np.complex128)
        linear[list(p.tone_bins)] = 0.5 * (air.linear @ tones)
        return air.solver.solve(linear), tones

    def _temperature_c(self, block: int) -> float:
        p = self.parameters
        phase = 2.0 * np.pi * block * BLOCK / p.drift_period_shots
        walk = p.drift_walk_k * random_walk(self.seed, _WALK, block) if p.drift_walk_k else 0.0
        return float(p.temperature_c + self._temperature_offset_k + p.drift_sine_k * np.sin(phase) + walk)

    def _discs(self, block: int) -> tuple[Disc, ...]:
        p = self.parameters
        discs = list(self.geometry.discs)
        for index, (dx, dy) in self._disc_offset_m.items():
            discs[index] = Disc(discs[index].x_m + dx, discs[index].y_m + dy, discs[index].radius_m)
        if p.scatterer_moves_at_shot is not None and discs and block * BLOCK >= p.scatterer_moves_at_shot:
            discs[0] = Disc(discs[0].x_m + p.scatterer_move_m, discs[0].y_m, discs[0].radius_m)
        return tuple(discs)

    def _air(self, block: int) -> _Air:
        key = (self._temperature_c(block), self._discs(block))
        if key not in self._airs:
            if key[1] not in self._modes:
                p = self.parameters
                highest = 2.0 * np.pi * p.highest_mode_hz / speed_of_sound_m_s(p.temperature_c)
                _keep(self._modes, key[1], cavity_modes((p.length_m, p.width_m, p.height_m), key[1], highest))
            _keep(self._airs, key, self._linear(key[0], self._modes[key[1]]))
        return self._airs[key]

    def _linear(self, temperature_c: float, modes: CavityModes) -> _Air:
        p, where = self.parameters, self.geometry
        c, rho = speed_of_sound_m_s(temperature_c), air_density_kg_m3(temperature_c)
        resonance = c * modes.wavenumber_rad_m
        damping = np.maximum(resonance, resonance[1]) / p.cavity_q  # the uniform mode loses as much as the first
        omega = 2.0 * np.pi * p.bin_hz * np.arange(p.bins)
        gain = (rho * c**2 / modes.volume_m3) * 1j * omega[:, None]
        gain = gain / (resonance**2 - omega[:, None] ** 2 + 1j * omega[:, None] * damping + (omega[:, None] == 0))
        r, s, m = modes.at(where.membranes), modes.at(where.speakers), modes.at(where.microphones)
        tones = np.array(p.tone_bins)
        z_rr = (gain[:, None, :] * r) @ r.T
        z_mr = (gain[:, None, :] * m) @ r.T
        z_rs = (gain[tones, None, :] * r) @ s.T
        z_ms = (gain[tones, None, :] * m) @ s.T
        spring = (
            p.membrane_mass_kg * (2.0 * np.pi * np.linspace(p.membrane_low_hz, p.membrane_high_hz, p.membranes)) ** 2
        )
        own = spring - omega[:, None] ** 2 * p.membrane_mass_kg + 1j * omega[:, None] * p.membrane_loss_n_s_m
        area = p.membrane_area_m2
        stiffness = own[:, :, None] * np.eye(p.membranes) + 1j * omega[:, None, None] * area**2 * z_rr
        receptance = np.linalg.inv(stiffness)
        radiated = 1j * omega[:, None, None] * area * z_mr
        return _Air(
            tone_omega=omega[tones],
            linear=receptance[tones] @ (-area * p.full_drive_m3_s * z_rs),
            direct=p.full_drive_m3_s * z_ms,
            radiated=np.ascontiguousarray(radiated[tones]),
            radiated_all=radiated,
            solver=HarmonicBalance(receptance, p.cubic_n_m3, p.tolerance, p.max_iterations),
        )

    def _reference_noise(self) -> Array:
        """Standard deviation of the noise in each quadrature of each output, (n_out,) in pascal."""
        drive = block_normals(self.parameters.geometry_seed, _REFERENCE, 0, (BLOCK, self.n_in))
        reference = np.abs(self._block(np.clip(0.5 + 0.25 * drive, 0.0, 1.0), 0, slice(0, BLOCK)))
        return np.asarray(self.parameters.noise * np.sqrt((reference**2).mean(axis=0)))

    def restart(self, seed: int) -> None:
        """Another seed for noise and drift, and no disturbance."""
        self.restore({"seed": seed, "temperature_offset_k": 0.0, "disc_offset_m": []})

    def disturb(self, name: str, **values: float) -> None:
        """Change the world as a lab would: ``"temperature", kelvin=0.5``; ``"scatterer", disc=0, dx_m=0.01``."""
        if name == "temperature":
            self._temperature_offset_k += float(values["kelvin"])
        elif name == "scatterer":
            disc = int(values["disc"])
            dx, dy = self._disc_offset_m.get(disc, (0.0, 0.0))
            self._disc_offset_m[disc] = (dx + float(values.get("dx_m", 0.0)), dy + float(values.get("dy_m", 0.0)))
        else:
            known = ["temperature", "scatterer"]
            raise InputError(
                f"acoustic world: unknown disturbance {name!r}{did_you_mean(name, known)}; known: {', '.join(known)}"
            )

    def state(self) -> dict[str, Any]:
        """Seed and disturbances, JSON-compatible."""
        return {
            "seed": self.seed,
            "temperature_offset_k": self._temperature_offset_k,
            "disc_offset_m": [[disc, *offset] for disc, offset in sorted(self._disc_offset_m.items())],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Return to a state that :meth:`state` gave."""
        self.seed = int(state["seed"])
        self._temperature_offset_k = float(state["temperature_offset_k"])
        self._disc_offset_m = {int(disc): (float(dx), float(dy)) for disc, dx, dy in state["disc_offset_m"]}


def place(p: AcousticParameters) -> Geometry:
    """Draw positions from the geometry seed: apart from one another, from walls and from discs."""
    rng = philox(p.geometry_seed, _GEOMETRY)
    placed: list[tuple[float, float, float]] = []  # x, y, radius to keep free

    def draw(radius_m: float) -> tuple[float, float]:
        for _ in range(10_000):
            x, y = (radius_m + rng.random(2) * (np.array([p.length_m, p.width_m]) - 2 * radius_m)).tolist()
            if all(np.hypot(x - u, y - v) > radius_m + free for u, v, free in placed):
                placed.append((x, y, radius_m))
                return x, y
        raise InputError(
            f"acoustic world: no room for {p.discs} discs, {p.membranes} membranes, {p.speakers} speakers and "
            f"{p.microphones} microphones in {p.length_m:g} m x {p.width_m:g} m; ask for fewer"
        )

    discs = tuple(Disc(*draw(p.disc_radius_m), p.disc_radius_m) for _ in range(p.discs))
    membranes, speakers, microphones = (
        np.array([(*draw(0.05), z) for _ in range(n)])
        for n, z in ((p.membranes, p.height_m), (p.speakers, p.height_m), (p.microphones, 0.0))
    )
    return Geometry(speakers=speakers, microphones=microphones, membranes=membranes, discs=discs)


def _keep(cache: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    """Store, and forget the oldest beyond four."""
    cache[key] = value
    while len(cache) > 4:
        cache.popitem(last=False)

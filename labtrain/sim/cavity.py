"""What the acoustic cavity is made of, and the numbers its equations of motion need.

Air in a shallow rigid-walled box with rigid discs, in modes psi_n (:mod:`labtrain.sim.modes`), drives membranes with a
cubic spring and is driven by them and by the speakers' volume velocity Q:

    b_n'' + a_n b_n' + w_n^2 b_n = (rho c^2 / V) [sum_s psi_n(s) Q_s + sum_r psi_n(r) A xi_r']          (1)
    M xi_r'' + R xi_r' + K_r xi_r + K3 xi_r^3 = -A p(r),      p = sum_n psi_n b_n'                      (2)

(Kuttruff, "Room Acoustics", ch. 3, for the modes; Duffing resonators for the membranes.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labtrain.errors import InputError
from labtrain.sim.modes import CavityModes, Disc
from labtrain.sim.noise import GEOMETRY, philox

Array = NDArray[np.float64]


@dataclass(frozen=True)
class AcousticParameters:
    """Every physical parameter of the cavity, and the solver's two settings.

    The defaults give about 92 dB of sound pressure at the microphones when all drives are random in 0..1, and
    intermodulation 47 dB below the tones.

    Raises
    ------
    InputError
        If the tones do not fit the grid of bins or come too close to a mains harmonic.
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
    # Every sum or difference of two tones occurs once: no third-order product of other tones falls on a tone.
    tone_bins: tuple[int, ...] = (12, 14, 20, 24, 27)
    bins: int = 40  # retained, from 0 up; the answers differ from those with 96 by less than 1e-4
    mains_hz: tuple[float, ...] = (50.0, 60.0)
    mains_clearance_hz: float = 5.0
    highest_mode_hz: float = 1700.0
    cavity_q: float = 35.0
    full_drive_m3_s: float = 5e-5
    membrane_area_m2: float = 96e-4
    membrane_mass_kg: float = 2.7e-3
    membrane_loss_n_s_m: float = 0.8
    membrane_low_hz: float = 260.0
    membrane_high_hz: float = 620.0
    cubic_n_m3: float = 8e13
    noise: float = 0.002
    temperature_c: float = 20.0
    drift_walk_k: float = 0.0
    drift_sine_k: float = 0.0
    drift_period_shots: float = 10_000.0
    scatterer_moves_at_shot: int | None = None
    scatterer_move_m: float = 0.005
    tolerance: float = 1e-4
    max_iterations: int = 60

    def __post_init__(self) -> None:
        bins = self.tone_bins
        if not bins or list(bins) != sorted(set(bins)) or bins[0] < 1 or bins[-1] >= self.bins:
            raise InputError(
                f"acoustic world: tone_bins {list(bins)} must rise from 1 or more to less than {self.bins}, none twice"
            )
        for tone in bins:
            hertz = tone * self.bin_hz
            for mains in self.mains_hz:
                harmonic = mains * round(hertz / mains)
                if abs(hertz - harmonic) < self.mains_clearance_hz:
                    raise InputError(
                        f"acoustic world: tone bin {tone} is {hertz:.1f} Hz, less than {self.mains_clearance_hz:g} Hz "
                        f"from the mains harmonic {harmonic:g} Hz; choose another bin or set mains_clearance_hz"
                    )


@dataclass(frozen=True)
class Geometry:
    """Where everything is, in metres: points (n, 3), and the discs.

    Membranes and speakers sit in the lid, microphones in the floor.
    """

    membranes: Array
    speakers: Array
    microphones: Array
    discs: tuple[Disc, ...]


def place(p: AcousticParameters) -> Geometry:
    """Draw positions from the geometry seed: clear of the walls and of one another.

    Raises
    ------
    InputError
        If there is no room.
    """
    rng = philox(p.geometry_seed, GEOMETRY)
    taken: list[tuple[float, float, float]] = []

    def draw(radius_m: float) -> tuple[float, float]:
        for _ in range(2_000):
            x = float(radius_m + rng.random() * (p.length_m - 2.0 * radius_m))
            y = float(radius_m + rng.random() * (p.width_m - 2.0 * radius_m))
            if all(np.hypot(x - u, y - v) > radius_m + radius for u, v, radius in taken):
                taken.append((x, y, radius_m))
                return x, y
        raise InputError(
            f"acoustic world: no room for {p.discs} discs, {p.membranes} membranes, {p.speakers} speakers and "
            f"{p.microphones} microphones in {p.length_m:g} m x {p.width_m:g} m; ask for fewer"
        )

    def points(count: int, radius_m: float, z_m: float) -> Array:
        return np.array([(*draw(radius_m), z_m) for _ in range(count)]).reshape(count, 3)

    discs = tuple(Disc(*draw(p.disc_radius_m), p.disc_radius_m) for _ in range(p.discs))
    membranes = points(p.membranes, float(np.sqrt(p.membrane_area_m2 / np.pi)), p.height_m)
    return Geometry(membranes, points(p.speakers, 0.05, p.height_m), points(p.microphones, 0.05, 0.0), discs)


def speed_of_sound_m_s(temperature_c: float) -> float:
    """Speed of sound in dry air."""
    return float(331.3 * np.sqrt(1.0 + temperature_c / 273.15))


def air_density_kg_m3(temperature_c: float) -> float:
    """Density of dry air at 101,325 Pa."""
    return 101_325.0 / (287.05 * (temperature_c + 273.15))


class Cavity:
    """Coefficients of equations (1) and (2) at one temperature.

    Attributes
    ----------
    resonance, damping : ndarray, (modes,)
        w_n and a_n in rad/s.
    gain : float
        rho c^2 / V.
    at_membranes, at_speakers, at_microphones : ndarray, (points, modes)
        Mode values.
    spring_n_m : ndarray, (membranes,)
    """

    def __init__(self, p: AcousticParameters, geometry: Geometry, modes: CavityModes, temperature_c: float) -> None:
        c = speed_of_sound_m_s(temperature_c)
        self.resonance = c * modes.wavenumber_rad_m
        # The uniform mode has no resonance; leaks damp it as much as walls damp the next one.
        self.damping = np.maximum(self.resonance, self.resonance[1]) / p.cavity_q
        self.gain = air_density_kg_m3(temperature_c) * c**2 / modes.volume_m3
        self.at_membranes = modes.at(geometry.membranes)
        self.at_speakers = modes.at(geometry.speakers)
        self.at_microphones = modes.at(geometry.microphones)
        own_hz = np.linspace(p.membrane_low_hz, p.membrane_high_hz, p.membranes)
        self.spring_n_m = p.membrane_mass_kg * (2.0 * np.pi * own_hz) ** 2

    def impedance(self, omega: Array, at: Array, source: Array) -> NDArray[np.complex128]:
        """Pressure at points per volume velocity at sources, (frequencies, points, sources), in Pa s/m^3.

        ``Z_ab = (j w rho c^2 / V) sum_n psi_n(a) psi_n(b) / (w_n^2 - w^2 + j w a_n)``; `at` and `source` are mode
        values, `omega` in rad/s.
        """
        w = omega[:, None]
        still = w == 0  # at rest Z = 0 except through the uniform mode, whose j w cancels
        response = np.where(
            still & (self.resonance == 0),
            1.0 / self.damping,
            1j * w / np.where(still & (self.resonance == 0), 1.0, self.resonance**2 - w**2 + 1j * w * self.damping),
        )
        return np.asarray(self.gain * ((response[:, None, :] * at) @ source.T))

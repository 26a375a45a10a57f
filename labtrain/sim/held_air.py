"""The cavity while temperature, discs and wiring stand still: everything linear, and the membranes' solver."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labtrain.sim.acoustic_disturbances import Wiring
from labtrain.sim.cavity import AcousticParameters, Cavity, Geometry
from labtrain.sim.harmonic_balance import HarmonicBalance
from labtrain.sim.modes import CavityModes

Complex = NDArray[np.complex128]


@dataclass(frozen=True)
class HeldAir:
    """Everything linear while temperature and discs stand still.

    Parameters
    ----------
    cavity : Cavity
    tone_bins : list of int
    force : ndarray, (tones, membranes, speakers), complex
        Force on a membrane held still, per drive, in newtons.
    direct : ndarray, (tones, microphones, speakers), complex
        Pressure per drive with the membranes held still, in pascal.
    radiated : ndarray, (bins, microphones, membranes), complex
        Pressure per membrane displacement, in Pa/m.
    solver : HarmonicBalance
    """

    cavity: Cavity
    tone_bins: list[int]
    force: Complex
    direct: Complex
    radiated: Complex
    solver: HarmonicBalance

    @classmethod
    def of(
        cls, p: AcousticParameters, geometry: Geometry, modes: CavityModes, temperature_c: float, wiring: Wiring
    ) -> HeldAir:
        """The cavity at a temperature, wired like this."""
        cavity = Cavity(p, geometry, modes, temperature_c)
        wiring.connect(cavity)
        omega = np.asarray(2.0 * np.pi * p.bin_hz * np.arange(p.bins), dtype=np.float64)
        tones = list(p.tone_bins)
        r, s, m = cavity.at_membranes, cavity.at_speakers, cavity.at_microphones
        jw = 1j * omega[:, None, None]
        own = cavity.spring_n_m + jw * p.membrane_loss_n_s_m + jw**2 * p.membrane_mass_kg
        stiffness = own * np.eye(p.membranes) + jw * p.membrane_area_m2**2 * cavity.impedance(omega, r, r)
        force = -p.membrane_area_m2 * p.full_drive_m3_s * cavity.impedance(omega[tones], r, s)
        swing = np.linalg.solve(stiffness[tones], 0.5 * force)  # all drives at one half, without the cubic spring
        typical_m = np.sqrt(0.5 * (np.abs(swing) ** 2).sum(axis=(0, 2)))
        return cls(
            cavity=cavity,
            tone_bins=tones,
            force=force,
            direct=p.full_drive_m3_s * cavity.impedance(omega[tones], m, s),
            radiated=jw * p.membrane_area_m2 * cavity.impedance(omega, m, r),
            solver=HarmonicBalance(stiffness, p.cubic_n_m3, typical_m, p.tolerance, p.max_iterations),
        )

    def forces(self, tones: Complex) -> Complex:
        """Forces on the membranes, (bins, membranes, shots), of phasors (tones, speakers, shots): half of each phasor
        on its bin."""
        bins, _, membranes = self.radiated.shape
        force = np.zeros((bins, membranes, tones.shape[-1]), dtype=np.complex128)
        force[self.tone_bins] = 0.5 * (self.force @ tones)
        return force

    def pressure(self, tones: Complex, spectrum: Complex) -> Complex:
        """Pressure at the tones, (tones, microphones, shots), of speakers and of membranes that move like this."""
        bins = self.tone_bins
        return np.asarray(self.direct @ tones + 2.0 * (self.radiated[bins] @ spectrum[bins]))

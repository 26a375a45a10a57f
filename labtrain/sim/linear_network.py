"""The acoustic cavity without its cubic springs, in coupled modes, and those modes at the samples of a sound card.

Equations (1) and (2) of :mod:`labtrain.sim.cavity` are x' = F x + G u of first order in the states

    x = (b_n'; b_n, the uniform mode left out, for nobody hears it; xi_r; xi_r'),

with inputs u (speakers' volume velocities, extra forces on the membranes) and outputs H x (microphones' pressures,
membranes' displacements). In units of the square root of energy F is skew-symmetric but for its damping, so that its
eigenvectors are well conditioned even where resonances meet. With those, of a pair of conjugates one, every coupled
mode stands alone, w' = pole w + (left G) u, and moves exactly from sample to sample (exponential integrator) under
inputs drawn through three samples by a parabola. One step of T seconds is

    w[k+1] = e w[k] + g0 u[k+1] + g1 u[k] + g2 u[k-1],    e = exp(pole T),
    g0 = (phi2 / 2 + phi3) T left G,   g1 = (phi1 - 2 phi3) T left G,   g2 = (phi3 - phi2 / 2) T left G

with phi_j = sum_i (pole T)^i / (i + j)! (Hochbruck and Ostermann, Acta Numerica 19:209, 2010). A straight line through
two samples would lose sinc^2, 0.06 % at 630 Hz and 48 kHz; the parabola loses 10^-6. With the newest samples taken out,

    z[k] = w[k] - g0 u[k] + (g2 / e) u[k-1]:    z[k+1] = e z[k] + b u[k],   b = e g0 + g1 + g2 / e,

which is what is computed. (Franklin, Powell, Workman, "Digital Control of Dynamic Systems", ch. 6, for the straight
line.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labtrain.sim.cavity import AcousticParameters, Cavity

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

_TERMS = 40  # of the series of phi3: enough for every pole below the sampling rate


@dataclass(frozen=True)
class CoupledModes:
    """Eigenmodes of the cavity and its membranes together, one of each conjugate pair.

    Parameters
    ----------
    pole : ndarray, (modes,), complex
        In 1/s: minus the decay rate, plus j times the angular frequency.
    left : ndarray, (modes, states), complex
        The mode's amplitude in a state.
    right : ndarray, (states, modes), complex
        A state is the real part of right @ amplitudes.
    drive : ndarray, (modes, speakers + membranes), complex
        Per volume velocity (m^3/s) and per force on a membrane (N).
    observe : ndarray, (microphones + membranes, modes), complex
        Pressure (Pa) and displacement (m) per amplitude, real part to be taken.
    """

    pole: Complex
    left: Complex
    right: Complex
    drive: Complex
    observe: Complex


def coupled_modes(cavity: Cavity, p: AcousticParameters) -> CoupledModes:
    """Modes of equations (1) and (2) with K3 = 0, lowest frequency first."""
    swinging = np.flatnonzero(cavity.resonance > 0)
    n, m, r = len(cavity.resonance), len(swinging), len(cavity.spring_n_m)
    velocity, place = slice(0, n), slice(n, n + m)  # of the air's modes
    swing, speed = slice(n + m, n + m + r), slice(n + m + r, n + m + 2 * r)  # of the membranes
    # A state is its unit times the square root of (twice) its energy.
    unit = np.empty(n + m + 2 * r)
    unit[velocity] = np.sqrt(cavity.gain)
    unit[place] = np.sqrt(cavity.gain) / cavity.resonance[swinging]
    unit[swing] = 1.0 / np.sqrt(cavity.spring_n_m)
    unit[speed] = 1.0 / np.sqrt(p.membrane_mass_kg)
    rates = np.zeros((len(unit), len(unit)))
    rates[place, velocity][np.arange(m), swinging] = cavity.resonance[swinging]
    rates[speed, velocity] = -p.membrane_area_m2 * np.sqrt(cavity.gain / p.membrane_mass_kg) * cavity.at_membranes
    rates[swing, speed] = np.diag(np.sqrt(cavity.spring_n_m / p.membrane_mass_kg))
    rates -= rates.T
    rates[velocity, velocity] -= np.diag(cavity.damping)
    rates[speed, speed] -= p.membrane_loss_n_s_m / p.membrane_mass_kg * np.eye(r)
    pole, vectors = np.linalg.eig(rates)
    kept = np.flatnonzero(pole.imag >= 0)
    kept = kept[np.argsort(pole[kept].imag, kind="stable")]
    left = np.linalg.inv(vectors)[kept] / unit
    right = unit[:, None] * vectors[:, kept] * np.where(pole[kept].imag > 0, 2.0, 1.0)
    return CoupledModes(
        pole=pole[kept].astype(np.complex128),
        left=left.astype(np.complex128),
        right=right,
        drive=np.concatenate(
            [cavity.gain * left[:, velocity] @ cavity.at_speakers.T, left[:, speed] / p.membrane_mass_kg], axis=1
        ),
        observe=np.concatenate([cavity.at_microphones @ right[velocity], right[swing]]),
    )


@dataclass(frozen=True)
class SampledModes:
    """Coupled modes from sample to sample.

    Parameters
    ----------
    factor : ndarray, (modes,), complex
        e, by which an amplitude z changes in one sample.
    drive : ndarray, (modes, inputs), complex
        b, what a sample of the inputs adds to the next amplitudes.
    observe : ndarray, (outputs, modes), complex
    now, before : ndarray, (outputs, inputs)
        What outputs hold of this sample of the inputs, and of the last, besides the amplitudes'.
    """

    factor: Complex
    drive: Complex
    observe: Complex
    now: Array
    before: Array

    def powers(self, count: int) -> Complex:
        """factor ** k for k = 0 ... count - 1, (count, modes)."""
        return np.asarray(self.factor ** np.arange(count)[:, None])

    def kernel(self, frames: int, outputs: int, inputs: int) -> Array:
        """First outputs after a single sample of 1 in each of the first inputs, (frames, outputs, inputs)."""
        residue = self.observe[:outputs].T[:, :, None] * self.drive[:, None, :inputs]
        residue = residue.reshape(len(residue), -1)
        answer = np.empty((max(frames, 2), outputs, inputs))
        answer[0] = self.now[:outputs, :inputs]
        steps = 256  # at a time: the powers of a second would fill 150 MB
        powers = self.powers(steps)
        for first in range(1, len(answer), steps):
            aged = (self.factor ** (first - 1) * powers[: len(answer) - first]) @ residue
            answer[first : first + steps] = aged.real.reshape(-1, outputs, inputs)
        answer[1] += self.before[:outputs, :inputs]
        return answer[:frames]


def sampled(modes: CoupledModes, rate_hz: float) -> SampledModes:
    """The modes at a sampling rate, driven by parabolas through the newest three samples of each input."""
    z = modes.pole / rate_hz
    phi3 = np.zeros_like(z)
    for i in range(_TERMS, 0, -1):  # Horner: phi3 = 1/3! + z/4! + ..., each coefficient from the one before
        phi3 = 1.0 + z / (i + 3) * phi3
    phi3 = phi3 / 6.0
    phi2 = 0.5 + z * phi3
    phi1 = 1.0 + z * phi2
    e = 1.0 + z * phi1
    g0, g1, g2 = phi2 / 2.0 + phi3, phi1 - 2.0 * phi3, phi3 - phi2 / 2.0
    drive = modes.drive / rate_hz
    return SampledModes(
        factor=e,
        drive=(e * g0 + g1 + g2 / e)[:, None] * drive,
        observe=modes.observe,
        now=(modes.observe @ (g0[:, None] * drive)).real,
        before=-(modes.observe @ ((g2 / e)[:, None] * drive)).real,
    )

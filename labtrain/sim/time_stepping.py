"""The acoustic cavity step by step in time: slow, and built on other mathematics than harmonic balance, to check it.

Equations (1) and (2) of :mod:`labtrain.sim.cavity` are split in three flows, each solved exactly: every mode and every
membrane swings on its own (drift), the air and the membranes push one another (coupling), speakers and cubic springs
push (force). Their symmetric composition is of second order in the step (Strang, SIAM J. Numer. Anal. 5:506, 1968).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import expm

from labtrain.sim.acoustic import AcousticWorld

Array = NDArray[np.float64]


def time_stepped(
    world: AcousticWorld, drive: Array, shot: int = 0, steps_per_period: int = 1024, settle_periods: int = 16
) -> Array:
    """Amplitudes in pascal without noise, (n, n_out), for drives (n, n_in), as of one shot's environment.

    Parameters
    ----------
    world : AcousticWorld
    drive : ndarray, (n, n_in)
    shot : int
    steps_per_period : int
        Steps in one period of the bin grid, 2048/48000 s.
    settle_periods : int
        Periods from rest that pass before the one that is analysed.
    """
    p, cavity = world.parameters, world.air(shot).cavity
    step_s = 1.0 / (p.bin_hz * steps_per_period)
    air = _Swing(cavity.resonance, cavity.damping, len(drive), step_s)
    membranes = _Swing(
        np.sqrt(cavity.spring_n_m / p.membrane_mass_kg),
        np.full(p.membranes, p.membrane_loss_n_s_m / p.membrane_mass_kg),
        len(drive),
        step_s,
    )
    r, pull, push = cavity.at_membranes, p.membrane_area_m2 / p.membrane_mass_kg, cavity.gain * p.membrane_area_m2
    couple = _coupling(r, pull, push, step_s / 2.0)
    phasors = p.full_drive_m3_s * world.phasors(drive)  # (tones, speakers, n)
    omega = 2.0 * np.pi * world.tones_hz
    tones = np.exp(1j * np.outer(np.arange(steps_per_period), omega) * step_s)
    modal = cavity.gain * np.einsum("sm,tsn->tmn", cavity.at_speakers, phasors)  # (tones, modes, n)
    wave = np.concatenate([modal.real, -modal.imag])
    table = np.concatenate([tones.real, tones.imag], axis=1)  # (steps, 2 tones)
    cubic = p.cubic_n_m3 / p.membrane_mass_kg

    def push_half(step: int) -> None:
        air.velocity += 0.5 * step_s * np.tensordot(table[step % steps_per_period], wave, axes=1)
        membranes.velocity -= 0.5 * step_s * cubic * membranes.place**3

    def couple_half() -> None:
        moved = couple @ np.concatenate([r @ air.velocity, membranes.velocity])
        membranes.velocity = moved[: p.membranes]
        air.velocity += r.T @ moved[p.membranes :]

    heard = np.empty((steps_per_period, p.microphones, len(drive)))
    for step in range(steps_per_period * (settle_periods + 1)):
        if step >= steps_per_period * settle_periods:
            heard[step % steps_per_period] = cavity.at_microphones @ air.velocity
        couple_half()
        push_half(step)
        air.drift()
        membranes.drift()
        push_half(step + 1)
        couple_half()
    spectrum = 2.0 * np.fft.rfft(heard, axis=0, norm="forward")[list(p.tone_bins)]  # (tones, mics, n)
    return np.abs(spectrum).transpose(2, 1, 0).reshape(len(drive), -1)


class _Swing:
    """Damped oscillators x'' + a x' + w^2 x = 0, (oscillators, n) at rest, and their exact flow over a step."""

    def __init__(self, omega: Array, damping: Array, n: int, step_s: float) -> None:
        self.place = np.zeros((len(omega), n))
        self.velocity = np.zeros((len(omega), n))
        flow = np.array(
            [expm(step_s * np.array([[0.0, 1.0], [-w * w, -a]])) for w, a in zip(omega, damping, strict=True)]
        )
        self._flow = flow.transpose(1, 2, 0)[..., None]

    def drift(self) -> None:
        (pp, pv), (vp, vv) = self._flow
        self.place, self.velocity = pp * self.place + pv * self.velocity, vp * self.place + vv * self.velocity


def _coupling(r: Array, pull: float, push: float, step_s: float) -> Array:
    """Exact flow of u' = -pull y, y' = push r r^T u with y = r v: from (y, u) to u and to what r^T adds to v."""
    n = len(r)
    rates = np.zeros((3 * n, 3 * n))  # y, u, push * integral of u
    rates[:n, n : 2 * n] = push * (r @ r.T)
    rates[n : 2 * n, :n] = -pull * np.eye(n)
    rates[2 * n :, n : 2 * n] = push * np.eye(n)
    return np.asarray(expm(step_s * rates)[n:, : 2 * n])

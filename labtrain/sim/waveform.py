"""The acoustic cavity as a sound card meets it: sample by sample, speakers' volume velocities in, pressures out.

Equations (1) and (2) of :mod:`labtrain.sim.cavity` at a sampling rate, causal, and carried on from call to call. The
linear part is exact in its coupled modes (:mod:`labtrain.sim.linear_network`). The cubic springs push the membranes as
further inputs, F = -K3 xi^3; in a chunk of samples their motion obeys the Volterra equation

    xi = xi_free + h * F(xi),

xi_free being the motion due to all that was before and to the speakers, h the membranes' impulse responses. Picard's
iteration solves it (waveform relaxation): its error after n rounds falls as c^n / n!, with a c in proportion to the
length of the chunk, so that a chunk that does not converge is halved (Nevanlinna, BIT 29:328, 1989). Convolutions go
by FFT; what a chunk leaves in the modes, and what the modes give later, by one matrix product each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labtrain.errors import InputError, MeasurementError
from labtrain.sim.acoustic import AcousticWorld
from labtrain.sim.cavity import Cavity
from labtrain.sim.linear_network import coupled_modes, sampled

__all__ = ["CavityWaveform"]

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

_SPAN = 16  # samples that one matrix product takes from or to a mode's amplitude
_CHUNKS = (32, 64, 128, 256)  # samples solved together, at most
_ROUNDS = 16  # of Picard's iteration, before a chunk is halved
_SHORTEST = 4  # a chunk of so few samples is not halved: its springs outrun the sampling
_TOLERANCE = 1e-7  # change of the displacement in the last round, of its peak in the chunk; ten times the error
_SILENCE = 1e-90  # amplitudes below are 0: numbers with few digits left (denormal) would slow everything down


class CavityWaveform:
    """The air and the membranes of an acoustic world, sample by sample, without noise.

    Parameters
    ----------
    world : AcousticWorld
    rate_hz : float
        Sampling rate of inputs and outputs.
    shot : int
        Temperature and discs are as of this shot, until :meth:`follow` names another.

    Raises
    ------
    InputError
        If the rate does not reach twice the highest resonance.
    """

    _amplitude: Complex  # (modes,), without the newest inputs
    _last: Array  # (speakers + membranes,), the newest inputs

    def __init__(self, world: AcousticWorld, rate_hz: float, shot: int = 0) -> None:
        self._world, self._p, self.rate_hz = world, world.parameters, float(rate_hz)
        self._take(world.air(shot).cavity)
        self.reset()

    def process(self, flow_m3_s: ArrayLike) -> Array:
        """Carry on with the next samples.

        How a signal is cut into calls matters in the last digits only.

        Parameters
        ----------
        flow_m3_s : array_like, (frames, speakers)
            Volume velocity of each speaker in m^3/s.

        Returns
        -------
        ndarray, (frames, microphones), float64
            Pressure in Pa at the same instants.

        Raises
        ------
        InputError
            If the flow is not (frames, speakers) of finite numbers.
        MeasurementError
            If the membranes move faster than the sampling can follow; everything is then as before the call.
        """
        flow = np.asarray(flow_m3_s, dtype=np.float64)
        if flow.ndim != 2 or flow.shape[1] != self._p.speakers or not np.isfinite(flow).all():
            raise InputError(
                f"acoustic waveform: flow of shape {flow.shape} is not (frames, {self._p.speakers}) of finite numbers"
            )
        pressure = np.empty((len(flow), self._p.microphones))
        before = self._amplitude, self._last
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # motion without bounds is an error below, not a warning
                for first in range(0, len(flow), _CHUNKS[-1]):
                    chunk = slice(first, first + _CHUNKS[-1])
                    pressure[chunk] = self._process(flow[chunk])
        except MeasurementError:
            self._amplitude, self._last = before
            raise
        return pressure

    def reset(self) -> None:
        """Silence: nothing moves."""
        self._amplitude = np.zeros(len(self._modes.pole), dtype=np.complex128)
        self._last = np.zeros(self._p.speakers + self._p.membranes)

    def state(self) -> dict[str, Any]:
        """What moves, JSON-compatible; the world and the shot are the caller's to keep."""
        parts = {"real": self._amplitude.real, "imag": self._amplitude.imag, "last": self._last}
        return {name: values.tolist() for name, values in parts.items()}

    def restore(self, state: dict[str, Any]) -> None:
        """Return to a state that :meth:`state` gave, at the same temperature and discs.

        Raises
        ------
        InputError
            If the state is one of another cavity.
        """
        real, imag, last = (np.array(state[name], dtype=np.float64) for name in ("real", "imag", "last"))
        if not real.shape == imag.shape == self._amplitude.shape or last.shape != self._last.shape:
            raise InputError(
                f"acoustic waveform: a state of {real.size} modes and {last.size} inputs is not one of this cavity of "
                f"{self._amplitude.size} and {self._last.size}; restore with the acoustic parameters it was kept with"
            )
        self._amplitude, self._last = real + 1j * imag, last

    def follow(self, shot: int) -> None:
        """Take temperature and discs as of a shot, as the world now has them; what moves moves on.

        After a move of the discs the air's modes are others: if their number is another too, the cavity falls silent.
        """
        cavity = self._world.air(shot).cavity
        if cavity is self._cavity:
            return
        moving = (self._modes.right @ self._amplitude).real
        self._take(cavity)
        if len(moving) == self._modes.left.shape[1]:
            self._amplitude = self._modes.left @ moving
        else:
            self.reset()

    def decay_rates(self) -> Array:
        """Of the coupled modes without cubic springs, (modes,), in 1/s, in the order of :meth:`resonance_hz`."""
        return -self._modes.pole.real

    def resonance_hz(self) -> Array:
        """Of the coupled modes without cubic springs, (modes,), rising; 0 for one that does not swing."""
        return np.asarray(self._modes.pole.imag / (2.0 * np.pi))

    def impulse_response(self, frames: int) -> Array:
        """Pressure after 1 m^3 of flow in one sample, without cubic springs: the sum over the modes.

        Returns
        -------
        ndarray, (frames, microphones, speakers), float64
            In Pa.
        """
        return self.rate_hz * self._sampled.kernel(frames, self._p.microphones, self._p.speakers)

    def _take(self, cavity: Cavity) -> None:
        """Prepare everything that depends on temperature and discs."""
        highest_hz = float(cavity.resonance.max()) / (2.0 * np.pi)
        if not self.rate_hz >= 2.0 * highest_hz:
            raise InputError(
                f"acoustic waveform: sampling rate {self.rate_hz:g} Hz, allowed {2.0 * highest_hz:.0f} Hz or more, "
                "twice the highest resonance; raise it or lower highest_mode_hz"
            )
        self._cavity = cavity
        self._modes = coupled_modes(cavity, self._p)
        self._sampled = sampled(self._modes, self.rate_hz)
        self._powers = self._sampled.powers(_CHUNKS[-1] + 1)
        # Re(a b) is the dot product of conj(a) and b as pairs of real numbers: real products, half of the work.
        later = self._powers[:_SPAN, None] * self._sampled.observe
        self._observe = _pairs(later.reshape(-1, later.shape[-1]).conj()).T.copy()  # (2 modes, samples x outputs)
        ahead = self._powers[_SPAN - 1 :: -1, None] * self._sampled.drive.T
        self._drive = _pairs(ahead.reshape(-1, ahead.shape[-1]))  # (samples x inputs, 2 modes)
        speakers, mics = self._p.speakers, self._p.microphones
        kernel = self._sampled.kernel(_CHUNKS[-1], *self._sampled.now.shape)
        self._spectra: dict[int, tuple[Complex, Complex, Complex]] = {}
        for size in _CHUNKS:
            spectrum = np.asarray(np.fft.rfft(kernel[:size], 2 * size, axis=0))
            parts = spectrum[:, :, :speakers], spectrum[:, mics:, speakers:], spectrum[:, :mics, speakers:]
            flow, own, heard = (np.ascontiguousarray(part) for part in parts)
            self._spectra[size] = flow, own, heard

    def _process(self, flow: Array) -> Array:
        """A chunk, or halves of it as often as its springs need; (frames, speakers) to (frames, microphones)."""
        frames, mics = len(flow), self._p.microphones
        size = next(size for size in _CHUNKS if size >= frames)
        to_all, to_membranes, to_microphones = self._spectra[size]
        spans = -(-frames // _SPAN)
        starts = self._amplitude * self._powers[: spans * _SPAN : _SPAN]
        free = (_pairs(starts) @ self._observe).reshape(-1, mics + self._p.membranes)[:frames]
        free[0] += self._sampled.before @ self._last
        free += _convolved(to_all, np.fft.rfft(flow, 2 * size, axis=0), frames)
        solved = self._forces(free[:, mics:], to_membranes, size)
        if solved is None:
            if frames <= _SHORTEST:
                raise MeasurementError(
                    "acoustic waveform: the membranes' cubic springs are too hard to follow at "
                    f"{self.rate_hz:g} Hz; lower the flow or cubic_n_m3, or raise the sampling rate"
                )
            return np.concatenate([self._process(flow[: frames // 2]), self._process(flow[frames // 2 :])])
        force, spectrum = solved
        pressure = free[:, :mics]
        if force.any():
            pressure = pressure + _convolved(to_microphones, spectrum, frames)
        inputs = np.zeros((spans * _SPAN, self._last.size))
        inputs[-frames:] = np.concatenate([flow, force], axis=1)
        left = (inputs.reshape(spans, -1) @ self._drive).view(np.complex128)
        aged = (left * self._powers[(spans - 1) * _SPAN :: -_SPAN]).sum(axis=0)
        amplitude = self._powers[frames] * self._amplitude + aged
        self._amplitude = np.where(np.abs(amplitude) < _SILENCE, 0.0, amplitude)
        self._last = inputs[-1]
        return pressure

    def _forces(self, free: Array, kernel: Complex, size: int) -> tuple[Array, Complex] | None:
        """The cubic springs' forces (frames, membranes) and their spectra; none if there is no convergence."""
        k3, place = self._p.cubic_n_m3, free
        force = -k3 * (free * free * free)
        spectrum = np.asarray(np.fft.rfft(force, 2 * size, axis=0))
        if not force.any():
            return force, spectrum
        allowed = np.abs(free).max()  # a motion that no longer resembles the first guess will not converge
        for _ in range(_ROUNDS):
            moved = free + _convolved(kernel, spectrum, len(free))
            change, place = np.abs(moved - place).max(), moved
            if not change <= allowed:
                return None
            force = -k3 * (place * place * place)
            spectrum = np.asarray(np.fft.rfft(force, 2 * size, axis=0))
            if change <= _TOLERANCE * np.abs(place).max():
                return force, spectrum
        return None


def _convolved(kernel: Complex, spectrum: Complex, frames: int) -> Array:
    """First samples (frames, outputs) of kernel (bins, outputs, inputs) convolved with inputs (bins, inputs)."""
    product = (kernel @ spectrum[:, :, None])[:, :, 0]
    return np.asarray(np.fft.irfft(product, 2 * (len(kernel) - 1), axis=0)[:frames])


def _pairs(values: Complex) -> Array:
    """Complex (n, modes) as real (n, 2 modes)."""
    return np.ascontiguousarray(values).view(np.float64)

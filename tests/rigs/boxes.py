"""A room whose impulse responses are given, behind an emulated converter: what a survey finds can be compared."""

from typing import Any

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft

from labtrain.clock import RealClock
from labtrain.drivers.emulators.sound import Converter, SoundRoom
from labtrain.drivers.sound import LoopbackConfig, SoundConfig, SoundInterface

RATE = 48_000.0
CONVERTER = Converter(flow_full_scale_m3_s=1.0, pascal_full_scale=20.0, noise_pa=1e-3)


class Box:
    """Convolves with impulse responses (taps, microphones, speakers), in Pa per unit of flow."""

    def __init__(self, impulse):
        self.impulse = impulse
        self._spectra = {}  # of the impulse responses, (microphones, speakers, bins), by length of the transform
        self.reset()

    def reset(self):
        self._tail = np.zeros((len(self.impulse) - 1, self.impulse.shape[1]))

    def process(self, flow):
        n = len(flow) + len(self.impulse) - 1
        fast = next_fast_len(n, real=True)
        if fast not in self._spectra:
            self._spectra[fast] = rfft(self.impulse.transpose(1, 2, 0), fast)
        spectrum = np.einsum("msf,sf->mf", self._spectra[fast], rfft(flow.T, fast))
        heard = np.ascontiguousarray(irfft(spectrum, fast)[:, :n].T)
        heard[: len(self._tail)] += self._tail
        self._tail = heard[len(flow) :]
        return heard[: len(flow)]


def reverberant(t60_s=0.12, speakers=2, microphones=2, seed=0):
    """Impulse responses of decaying noise behind a delay."""
    taps = round(1.1 * t60_s * RATE)
    rng = np.random.default_rng(seed)
    decay = np.exp(-3.0 * np.log(10.0) / t60_s * np.arange(taps) / RATE)
    impulse = 0.05 * decay[:, None, None] * rng.standard_normal((taps, microphones, speakers))
    return np.concatenate([np.zeros((96, microphones, speakers)), impulse])


class Emulated(SoundInterface):
    """The interface on an emulator alone."""

    canonical = None
    emulated = True

    def _identify(self) -> str:
        return "emulated converter"

    @classmethod
    def _stream(cls, who: str, config: Any, clock: Any) -> Any:
        raise NotImplementedError


def interface(impulse, converter=CONVERTER, loopback=True, **settings):
    """A SoundInterface in front of a box, unopened."""
    _, microphones, speakers = impulse.shape
    config = SoundConfig(
        speakers=tuple(range(1, speakers + 1)),
        microphones=tuple(range(1, microphones + 1)),
        loopback=LoopbackConfig(output=9, input=9) if loopback else None,
        **({"pascal_full_scale": 20.0} | settings),
    )
    room = SoundRoom(Box(impulse), converter, RATE, speakers, microphones)
    return Emulated.make("audio", config, RealClock(), room)

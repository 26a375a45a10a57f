"""Two clocks: a lag is known to a hundredth of a frame, and a recording on another clock comes back on the first."""

from __future__ import annotations

import numpy as np
import pytest

from labtrain.rigs.sync_mark import mark
from labtrain.rigs.two_clocks import fractional_lag, resampled

FREQUENCIES = np.array([0.003, 0.02, 0.11, 0.19])  # cycles per frame; 0.2 is 0.4 of the Nyquist frequency


def sound(at: np.ndarray) -> np.ndarray:
    return np.asarray(np.cos(2 * np.pi * np.outer(at, FREQUENCIES) + np.arange(4)).sum(axis=1))


@pytest.mark.parametrize("ppm", [-100.0, 0.0, 500.0])
@pytest.mark.parametrize("offset", [0.0, 0.37, 12.5, -3.25])
def test_resampling_is_exact_to_80_db_over_many_blocks(ppm: float, offset: float) -> None:
    frames = np.arange(20_000.0)
    recording = np.column_stack([sound(frames), -sound(frames)])
    out = resampled(recording, offset, ppm)
    inner = slice(50, -100)
    expected = sound(offset + frames * (1 + 1e-6 * ppm))
    assert out.shape == recording.shape
    assert np.abs(out[inner, 0] - expected[inner]).max() < 4e-4  # of 4.0
    np.testing.assert_array_equal(out[:, 1], -out[:, 0])


def test_what_lies_outside_of_the_recording_is_silence() -> None:
    recording = np.ones((1000, 1))
    assert np.abs(resampled(recording, 5000.0, 0.0)).max() < 1e-12
    early = resampled(recording, -500.0, 0.0)
    assert np.abs(early[:450]).max() < 1e-12 and early[530:] == pytest.approx(1.0, abs=1e-3)
    assert np.isfinite(resampled(recording, 990.0, 0.0)).all()


@pytest.mark.parametrize("lag", [0.0, 0.5, 3.25, 611.9])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_lag_is_found_to_a_hundredth_of_a_frame(lag: float, sign: float) -> None:
    sent = mark(1, 1, 8192, 0.25)
    padded = np.concatenate([np.zeros(2000), sent, np.zeros(3000)])[:, None]
    received = sign * resampled(padded, 2000.0 - lag, 0.0)[: 8192 + 1500, 0]
    received += 1e-4 * np.random.default_rng(0).standard_normal(len(received))
    assert fractional_lag(sent, received) == pytest.approx(lag, abs=0.01)


def test_silence_has_a_lag_that_is_a_number() -> None:
    assert np.isfinite(fractional_lag(mark(1, 1, 1024, 0.25), np.zeros(4096)))

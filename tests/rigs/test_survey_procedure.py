"""The survey through a converter, against rooms that are known."""

from dataclasses import replace

import numpy as np
import pytest

from labtrain.errors import InstrumentError, Interrupted, MeasurementError
from labtrain.rigs.survey.decay import decay
from labtrain.rigs.survey.procedure import Request, survey
from labtrain.rigs.survey.sweep import Sweep, band_limited
from tests.rigs.boxes import CONVERTER, RATE, interface, reverberant

REQUEST = Request(tones=3, band_hz=(300.0, 900.0))


@pytest.fixture(scope="module", params=[True, False], ids=["loopback", "no loopback"])
def surveyed(request):
    impulse = reverberant()
    with interface(impulse, replace(CONVERTER, hum_pa=0.02, hum_hz=60.0), request.param) as sound:
        return impulse, survey(sound, REQUEST)


def test_latency_and_responses_are_those_of_the_room(surveyed):
    impulse, found = surveyed
    assert found.latency == pytest.approx(611, abs=0 if found.has_loopback else 100)
    exact = np.fft.rfft(impulse, 1 << 15, axis=0)
    hz = np.fft.rfftfreq(1 << 15, 1 / RATE)
    inside = (hz > 320) & (hz < 880)
    measured = found.response.at(hz[inside])
    off = np.abs(measured) - np.abs(exact[inside])
    assert np.sqrt((off**2).mean() / (np.abs(exact[inside]) ** 2).mean()) < 0.03


def test_the_decay_is_that_of_the_room(surveyed):
    impulse, found = surveyed
    exact = decay(band_limited(np.pad(impulse, ((0, 20_000), (0, 0), (0, 0))), Sweep(150.0, 1800.0, 1, 1, RATE)), RATE)
    assert found.decay.t60_s == pytest.approx(exact.t60_s, rel=0.03)
    assert exact.t60_s == pytest.approx(0.12, rel=0.15)


def test_what_it_proposes_keeps_clear_and_can_be_played(surveyed):
    _, found = surveyed
    assert len(found.tones.bins) == 3 and found.idle.mains_hz == 60.0
    for hz in found.tones_hz:
        assert 300 <= hz <= 900
        assert min(abs(hz - mains * round(hz / mains)) for mains in (50.0, 60.0)) >= 5.0
    assert found.level == 0.15 and found.level_reason[0] == (
        "limited by rig.shot.level, which a survey never exceeds; max_peak 0.9, were 3 tones in phase: up to 0.3"
    )
    assert found.settle_periods * 2048 / RATE >= found.settle_s.max() + REQUEST.ramp_s
    assert found.average_periods == 2 and found.rank.total == 6
    assert found.wiring.dead_speakers == found.wiring.dead_microphones == ()


def test_dead_speakers_and_microphones_are_named_and_left_out():
    impulse = reverberant(speakers=3, microphones=3)
    impulse[:, :, 1] = impulse[:, 2, :] = 0.0
    with interface(impulse) as sound:
        found = survey(sound, REQUEST)
    assert (found.wiring.dead_speakers, found.wiring.dead_microphones) == ((1,), (2,))
    assert (found.speakers, found.microphones) == ((0, 2), (0, 1))
    assert found.impulse.shape[1:] == (2, 2) and len(found.spl_full_scale_db) == 3


def test_nothing_heard_at_all():
    with interface(0.0 * reverberant()) as sound, pytest.raises(MeasurementError) as error:
        survey(sound, REQUEST)
    assert str(error.value) == (
        "audio (sim): no microphone hears any speaker, at -12 dBFS; switch the amplifiers on, and check gains, cables "
        "and the channels in rig.audio"
    )


def test_a_dead_loopback_is_told_before_anything_is_heard():
    with (
        interface(reverberant(), replace(CONVERTER, loopback_gain=0.0)) as sound,
        pytest.raises(InstrumentError) as error,
    ):
        survey(sound, REQUEST)
    assert "did not come back on input 9" in str(error.value)


@pytest.mark.parametrize(("gain", "hum", "what"), [(1e4, 0.0, "by speaker 1 at -34 dBFS"), (1.0, 50.0, "in silence")])
def test_a_saturated_microphone_is_told(gain, hum, what):
    with interface(gain * reverberant(), replace(CONVERTER, hum_pa=hum)) as sound, pytest.raises(MeasurementError) as e:
        survey(sound, REQUEST)
    assert str(e.value) == (
        f"audio (sim): microphone 1 (input 1) is saturated {what}; turn its gain down and start the survey again"
    )


def test_limits_are_kept_and_named_and_shots_repeat_but_for_noise():
    with interface(reverberant(), max_peak=0.06, pascal_full_scale=None) as sound:
        found = survey(sound, REQUEST)
    assert found.unit == "of full scale" and found.spl_full_scale_db is None
    assert found.level == 0.02 and found.level_reason[0] == "limited by max_peak 0.06, were 3 tones in phase"
    total, noise = (np.median(part) for part in (found.repeatability.total, found.repeatability.noise))
    assert 0.7 < total / noise < 1.4 and total < 0.002


def test_a_stop_ends_it_within_a_part():
    asked = []

    def check():
        asked.append(1)
        raise Interrupted("stop")

    with interface(reverberant()) as sound, pytest.raises(Interrupted):
        survey(sound, REQUEST, check=check)
    assert len(asked) == 1

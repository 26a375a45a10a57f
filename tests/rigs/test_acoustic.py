import json
import threading

import numpy as np
import pytest

from labtrain.clock import SimulatedClock
from labtrain.errors import InputError, InstrumentError
from labtrain.registry import resolve
from labtrain.rigs.acoustic import AcousticRig
from labtrain.safety import NotMadeSafe
from labtrain.sim.acoustic import HOLD

DRIVE = np.random.default_rng(0).random((300, 20))


def rig(**settings):
    return AcousticRig(AcousticRig.Config(type="acoustic", **settings), SimulatedClock(1000.0))


def test_the_registry_knows_it():
    assert resolve("rigs", "acoustic") is AcousticRig


def test_chunks_come_in_order_and_no_larger_than_stated():
    with rig() as acoustic:
        (layer,) = acoustic.layers
        layer.forward(DRIVE[:10])
        chunks = list(layer.measure(DRIVE))
        assert [len(chunk) for chunk in chunks] == [HOLD - 10, 300 - HOLD + 10]
        assert max(len(chunk) for chunk in chunks) <= layer.info.max_batch == 256
        np.testing.assert_array_equal(np.concatenate([chunk.x for chunk in chunks]), DRIVE)
        assert layer.state()["shot"] == 310 and chunks[0].started_s == 1000.0
        assert (layer.info.n_in, layer.info.n_out, layer.info.y_unit, layer.info.simulated) == (20, 20, "Pa", True)


def test_stated_time_per_shot_is_settling_and_recording_in_whole_periods():
    with rig(settle_periods=6, average_periods=2) as acoustic:
        info = acoustic.layers[0].info
    assert info.settle_s == pytest.approx(6 * 2048 / 48000) and info.integration_s == pytest.approx(2 * 2048 / 48000)
    assert info.seconds_per_shot == pytest.approx(8 * 2048 / 48000)


def test_answers_do_not_depend_on_chunks_and_a_state_brings_them_back():
    with rig(drift_sine_k=0.1) as acoustic:
        (layer,) = acoustic.layers
        whole = layer.forward(DRIVE)
        acoustic.restart(0)
        first = layer.forward(DRIVE[:77])
        state = json.loads(json.dumps(layer.state()))
        rest = layer.forward(DRIVE[77:])
        np.testing.assert_array_equal(np.concatenate([first, rest]), whole)
        layer.restore(state)
        np.testing.assert_array_equal(layer.forward(DRIVE[77:]), rest)


def test_the_temperature_logged_with_a_chunk_is_that_of_its_shots():
    with rig(drift_walk_k=0.5) as acoustic:
        (layer,) = acoustic.layers
        read = []
        for chunk in layer.measure(np.vstack([DRIVE, DRIVE])):
            read.append(acoustic.environment())
            assert read[-1] == acoustic.world.environment(layer.state()["shot"] - len(chunk))
        assert len(read) == 3 and read[0] != read[1]


def test_a_trial_restarts_noise_and_undoes_disturbances():
    with rig() as acoustic:
        (layer,) = acoustic.layers
        fresh = layer.forward(DRIVE[:5])
        acoustic.world.disturb("temperature", kelvin=3.0)
        assert acoustic.environment() == {"temperature_c": 23.0}
        acoustic.restart(1)
        other = layer.forward(DRIVE[:5])
        assert 0 < np.abs(other - fresh).max() < 0.02
        acoustic.restart(0)
        np.testing.assert_array_equal(layer.forward(DRIVE[:5]), fresh)


def test_fingerprint_follows_the_physics():
    prints = []
    for settings in ({}, {"seed": 5}, {"cubic_n_m3": 0.0}, {"geometry_seed": 2}):
        with rig(**settings) as acoustic:
            prints.append(acoustic.layers[0].info.fingerprint)
    assert prints[0] == prints[1] and len(set(prints)) == 3


def test_another_thread_is_refused_in_one_sentence():
    messages = []

    def use(call):
        try:
            call()
        except InstrumentError as error:
            messages.append(str(error))

    with rig() as acoustic:
        (layer,) = acoustic.layers
        for call in (lambda: acoustic.layers, lambda: layer.forward(DRIVE[:1]), lambda: layer.restore({})):
            thread = threading.Thread(target=use, args=(call,), name="dashboard")
            thread.start()
            thread.join()
    assert messages == 3 * [
        "AcousticRig belongs to thread 'MainThread', which opened it, and was used from thread 'dashboard'; "
        "use a rig only in the thread that opened it"
    ]


def test_a_closed_rig_is_refused_and_may_be_opened_again():
    acoustic = rig()
    for _ in range(2):
        with pytest.raises(InstrumentError, match=r"^AcousticRig is not open; call open\(\) or use it in a with"):
            _ = acoustic.layers
        with acoustic:
            (layer,) = acoustic.layers
            layer.forward(DRIVE[:1])
    with pytest.raises(InstrumentError, match="is not open"):
        layer.forward(DRIVE[:1])


def test_every_exit_is_safe_and_closed():
    calls = []

    class Failing(AcousticRig):
        def open(self):
            super().open()
            raise InstrumentError("no")

        def safe(self):
            calls.append("safe")
            raise RuntimeError("stuck")

        def close(self):
            calls.append("close")
            super().close()

    with pytest.raises(NotMadeSafe) as caught, Failing(AcousticRig.Config(type="acoustic"), SimulatedClock()):
        pass
    assert calls == ["close", "safe"]
    assert str(caught.value) == "not made safe: Failing: stuck; switch it off by hand (on leaving after no)"


def test_provenance_marks_the_cavity_as_simulated_and_is_plain_json():
    told = json.loads(json.dumps(rig(noise=0.01).provenance()))
    assert told["instruments"] == {"cavity": "simulated"} and told["world"]["parameters"]["noise"] == 0.01


def test_behind_a_converter_the_cavity_hears_tones_above_its_usual_bins():
    settings = {"tone_bins": (12, 43), "type": "acoustic"}
    with pytest.raises(InputError, match=r"must rise from 1 or more to less than 40"):
        AcousticRig.Config(**settings).parameters()
    assert AcousticRig.Config(**settings, audio={"driver": "audio"}).parameters().bins == 45

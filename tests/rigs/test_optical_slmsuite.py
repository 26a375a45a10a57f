"""The optical rig through slmsuite's own simulated modulator and camera, with our world between them."""

from __future__ import annotations

import importlib
import json
import re
import signal
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labtrain import riglock
from labtrain.clock import SimulatedClock
from labtrain.config import loads
from labtrain.errors import InputError, InstrumentError, LinkRefused, MeasurementError
from labtrain.experiment import Experiment, load
from labtrain.jobs import resume, train
from labtrain.rigs.optical import OpticalRig
from labtrain.sim.optical import OpticalWorld
from labtrain.stop import Stop

pytest.importorskip("slmsuite", reason='slmsuite is not installed; run: pip install "labtrain[optics]"')
benches = importlib.import_module("tests.rigs.benches")

ROOT = Path(__file__).resolve().parents[2]
SLM = {"driver": "slmsuite-slm", "model": "tests.rigs.benches:BenchSlm", "cell_pixels": 12}
CAMERA = {"driver": "slmsuite-camera", "model": "tests.rigs.benches:BenchCamera", "region": (40, 50, 12, 12)}
WORLD = {"slm_shape": (8, 8), "camera_shape": (12, 12), "levels": 129, "bits": 10}
DRIVE = np.random.default_rng(0).random((20, 64))


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Devices as new, which nobody else who runs these tests at the same time has in use."""
    monkeypatch.setattr(riglock, "lock_folder", lambda: tmp_path / "locks")
    monkeypatch.setattr(benches.BenchSlm, "broken", "")
    monkeypatch.setattr(benches.BenchSlm, "latest", None)
    monkeypatch.setattr(benches.BenchCamera, "world", None)
    monkeypatch.setattr(benches.BenchCamera, "dimmed", 1.0)


def rig(*, slm: Any = None, camera: Any = None, world: Any = None, **settings: Any) -> OpticalRig:
    config = OpticalRig.Config(
        type="optical",
        slm={**SLM, **(slm or {})},
        camera={**CAMERA, **(camera or {})},
        world={**WORLD, **(world or {})},
        **{"dark": {"how": "offset"}, **settings},
    )
    return OpticalRig(config, SimulatedClock())


def test_responses_are_those_of_the_world_but_for_noise() -> None:
    with rig() as optical:
        kept = optical.commission()
        y = optical.layers[0].forward(DRIVE)
        assert optical.next_shot == 20 and json.dumps(kept)
    expected = OpticalWorld(benches.PARAMETERS, 0).respond_without_noise(DRIVE)
    apart = (y - expected).std()
    assert apart < 0.01 and np.corrcoef(y.ravel(), expected.ravel())[0, 1] > 0.999


def test_whose_devices_they_are_is_told() -> None:
    with rig() as optical:
        told = optical.provenance()
        assert {name: found["kind"] for name, found in told["instruments"].items()} == {
            "slm": "emulated", "camera": "emulated"
        }  # fmt: skip
        assert told["instruments"]["slm"]["address"] == "tests.rigs.benches:BenchSlm" and "world" not in told
        assert optical.layers[0].info.simulated and optical.environment() == {}
        with pytest.raises(InstrumentError, match=r"no bench is simulated in this process; set rig.slm.model and"):
            _ = optical.world
        with pytest.raises(
            InputError, match=r"^rig.slm.model is 'tests.rigs.benches:BenchSlm', and what stands behind"
        ):
            optical.disturb("laser", gain=0.5)


# -- old frames ------------------------------------------------------------------------------------------------------


def test_a_camera_whose_buffer_is_not_emptied_is_found_out_and_more_stale_frames_help() -> None:
    behind = {"kept": 5, "stuck": 3}
    told = (
        "camera (tests.rigs.benches:BenchCamera): the first frame of a new pattern still shows the one before, 2 more "
        "had to pass; set rig.camera.stale_frames to 3 or more, or raise rig.settle_s"
    )
    with rig(camera={"options": behind}) as optical, pytest.raises(InstrumentError, match=re.escape(told)):
        optical.commission()
    with rig(camera={"options": behind, "stale_frames": 3}) as optical:
        optical.commission()
        y = optical.layers[0].forward(DRIVE)
    expected = OpticalWorld(benches.PARAMETERS, 0).respond_without_noise(DRIVE)
    assert np.corrcoef(y.ravel(), expected.ravel())[0, 1] > 0.999


def test_a_camera_that_keeps_frames_and_is_flushed_is_none_the_worse() -> None:
    with rig(camera={"options": {"kept": 5}, "stale_frames": 0}) as optical:
        optical.commission()


# -- light -----------------------------------------------------------------------------------------------------------


def test_a_dark_frame_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def person(question: str) -> bool:
        asked.append(question)
        benches.BenchCamera.dimmed = 0.0 if "cover it" in question else 1.0
        return True

    monkeypatch.setattr(benches.BenchCamera, "dimmed", 1.0)
    with rig(dark={"how": "cover"}) as optical:
        optical.ask = person
        kept = optical.commission()
        dark = optical._instruments.protocol.dark
        assert dark.mean() == pytest.approx(64, abs=1.0) and kept["light_counts"] > 50
    assert [re.sub(r"\(.*?\)", "", question) for question in asked] == [
        "camera : cover it, or block the light, for a dark frame. Is it dark now?",
        "camera : the dark frame is taken; let the light in again. Is it there?",
    ]


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (
            None,
            r"a dark frame needs somebody to cover it, and nobody can be asked; run it in a terminal, or set rig.dark",
        ),
        (lambda question: False, r"no dark frame was taken; run it again when the light can be blocked"),
        (lambda question: "cover it" in question, r"no light to go on with; run it again when it is there"),
        (lambda question: True, r"no light comes: .* is the laser off, a shutter closed, the camera still covered\?"),
    ],
)
def test_without_a_dark_frame_or_light_behind_it_there_is_no_run(ask: Any, told: str) -> None:
    with rig(dark={"how": "cover"}) as optical:
        optical.ask = ask  # nobody covers or uncovers it: the light is the same
        with pytest.raises((InputError, InstrumentError), match=told):
            optical.commission()
        assert optical.commissioning_shots


def test_a_function_of_mine_switches_the_light(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[bool] = []

    def light(on: bool) -> None:
        calls.append(on)
        benches.BenchCamera.dimmed = float(on)

    monkeypatch.setattr(benches, "light", light, raising=False)
    section = {"driver": "python-switch", "call": "tests.rigs.benches:light"}
    with rig(illumination=section, dark={}) as optical:
        optical.commission()
        optical.layers[0].forward(DRIVE[:2])
        assert calls == [False, True] and optical.provenance()["instruments"]["illumination"]["kind"] == "real"
    assert calls == [False, True, False]
    told: list[str] = []
    Stop(rig(illumination=section), tell=lambda outcome: told.append(str(outcome))).carry_out()
    assert [line.partition(" (")[0] for line in told] == ["illumination", "camera", "slm"] and calls[-1] is False


def test_a_laser_that_goes_off() -> None:
    with rig(recovery={"per_shot": 1}) as optical:
        optical.commission()
        optical.layers[0].forward(DRIVE[:2])
        benches.BenchCamera.dimmed = 0.0
        with pytest.raises(MeasurementError, match=r"^shot 0 of 18: .* is the laser off, a shutter closed\?$"):
            optical.layers[0].forward(DRIVE[2:])


# -- what opens is not what is configured ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (
            {"slm": {"cell_pixels": 16}},
            "8 x 8 cells of 16 x 16 pixels are 128 x 128, which does not fit on its 120 x 160 pixels; set "
            "rig.slm.cell_pixels to 15 or less",
        ),
        ({"world": {"levels": 256}}, "256 steps from 0 to 3.142 rad are more than the levels that it has there, 129"),
        ({"world": {"phase_range_rad": 7.0}}, "its phase reaches 6.259 rad (linear, as its maker says), asked 7; set"),
        (
            {"camera": {"region": None}},
            "it reads 110 x 130 pixels, rig.world.camera_shape is 12 x 12; set rig.world.camera_shape to [110, 130], "
            "or rig.camera.region to such a part of it: [49, 59, 12, 12]",
        ),
        (
            {"world": {"bits": 12}},
            "a full pixel reads 1023, with rig.world.bits 12 it would be 4095; set rig.world.bits to 10",
        ),
        (
            {"camera": {"exposure_s": 2.0}},
            "asked an exposure of 2 s, allowed 1e-05 s to 1 s; set rig.camera.exposure_s",
        ),
        ({"camera": {"options": {"kepd": 1}}}, "BenchCamera takes no kepd (did you mean kept?)"),
    ],
)
def test_it_is_refused_and_what_was_opened_is_closed(changed: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=re.escape(told)):
        rig(**changed).__enter__()
    if "options" in changed.get("camera", {}):
        assert benches.BenchSlm.latest is None, "nothing was opened"
    else:
        assert benches.BenchSlm.latest.closed and not benches.BenchSlm.latest.shown[-1].any()


def test_a_simulated_camera_does_not_see_a_real_modulator(monkeypatch: pytest.MonkeyPatch) -> None:
    from labtrain.drivers.backends import slmsuite_frames

    monkeypatch.setattr(slmsuite_frames, "simulated", lambda cls: cls is benches.BenchCamera)
    with pytest.raises(
        InstrumentError, match=r"BenchCamera\) is simulated and slm .* is not, so neither would see the other; correct"
    ):
        rig().__enter__()
    monkeypatch.setattr(slmsuite_frames, "simulated", lambda cls: False)
    with rig() as optical:
        assert optical.provenance()["instruments"]["slm"]["kind"] == "real" and not optical.layers[0].info.simulated


def test_a_modulator_that_fails_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with rig() as optical:
        optical.commission()
        first, calls = benches.BenchSlm.latest, iter(range(100))
        write = benches.BenchSlm._set_phase_hw

        def fails(self: Any, display: Any) -> None:
            if next(calls) == 3:
                raise OSError("USB reset")
            write(self, display)

        monkeypatch.setattr(benches.BenchSlm, "_set_phase_hw", fails)
        chunks = list(optical.layers[0].measure(DRIVE[:6]))
        assert np.concatenate([chunk.attempts for chunk in chunks]).tolist() == [1, 1, 1, 2, 1, 1]
        assert first.closed and benches.BenchSlm.latest is not first


# -- every way out ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [RuntimeError("a bug"), KeyboardInterrupt(), LinkRefused("no")])
def test_the_modulator_is_blank_and_both_are_let_go(error: BaseException) -> None:
    with pytest.raises(type(error)), rig() as optical:
        optical.commission()
        optical.layers[0].forward(DRIVE[:1])
        assert benches.BenchSlm.latest.shown[-1].any()
        raise error
    assert not benches.BenchSlm.latest.shown[-1].any()
    assert benches.BenchSlm.latest.closed and benches.BenchCamera.latest.closed


def test_safe_from_outside_opens_the_modulator_and_blanks_it() -> None:
    told: list[str] = []
    Stop(rig(), tell=lambda outcome: told.append(str(outcome))).carry_out()
    assert [line.partition(" (")[0] for line in told] == ["camera", "slm"]
    assert not benches.BenchSlm.latest.shown[-1].any() and benches.BenchSlm.latest.closed


LAB = """
rig:
  type: optical
  slm: {driver: slmsuite-slm, model: "tests.rigs.benches:BenchSlm", cell_pixels: 12}
  camera: {driver: slmsuite-camera, model: "tests.rigs.benches:BenchCamera", region: [40, 50, 12, 12]}
  world: {slm_shape: [8, 8], camera_shape: [12, 12], levels: 129, bits: 10}
  dark: {how: offset}
  settle_s: 0.001
dataset: {type: xor-tones, rows: 60}
encoding: {label: slots}
network: {layers: 1, width: 6, skip: false, drive: {map: affine}}
training: {method: phyll, schedule: joint, epochs: 2, theta: 4}
ablations: []
trials: {count: 1}
"""


def test_a_network_is_trained_through_it_and_goes_on(tmp_path: Path) -> None:
    done = train(loads(LAB, Experiment, tmp_path / "lab.yaml"), tmp_path / "runs", clock=SimulatedClock(1e9))
    assert done["shots_commission"] == 20
    more = resume(done["run"], ["training.epochs=3"], clock=SimulatedClock(2e9))
    assert more["cost"]["shots"] > done["cost"]["shots"]


CHILD = """
import atexit, signal, sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # tests may run in the background, where it is ignored
from labtrain import riglock
from tests.rigs import benches
locks = Path(sys.argv.pop(1))
riglock.lock_folder = lambda: locks
from labtrain.__main__ import main
def told():
    slm = benches.BenchSlm.latest
    print("blank" if not slm.shown[-1].any() else "lit", "closed" if slm.closed else "open", len(slm.shown), flush=True)
atexit.register(told)
write = benches.BenchSlm._set_phase_hw
def noted(self, display):
    write(self, display)
    if len(self.shown) == 40:
        print("measuring", flush=True)
benches.BenchSlm._set_phase_hw = noted
sys.argv = ["labtrain", *sys.argv[1:]]
main()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="signals of Linux")
def test_ctrl_c_leaves_it_blank(tmp_path: Path) -> None:
    lab = tmp_path / "lab.yaml"
    lab.write_text(LAB.replace("settle_s: 0.001", "settle_s: 0.02").replace("epochs: 2", "epochs: 200"))
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path / "locks"), "train", str(lab), "--runs", str(tmp_path / "runs")],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert "measuring" in process.stdout.readline()
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert out.splitlines()[-1].startswith("blank closed")


# -- the configuration for the lab -----------------------------------------------------------------------------------


def test_the_configuration_for_the_lab_can_be_tried_without_one() -> None:
    path = Path(str(files("labtrain.configs") / "optical-lab.yaml"))
    there = load(path).value.rig
    assert isinstance(there, OpticalRig.Config) and there.on_instruments and not there.simulated
    dry = load(path, ["rig.slm.model=sim", "rig.camera.model=sim"]).value.rig
    assert isinstance(dry, OpticalRig.Config) and dry.simulated
    with OpticalRig(dry, SimulatedClock()) as optical:
        optical.commission()
        (layer,) = optical.layers
        assert (layer.info.n_in, layer.info.n_out) == (64, 256)
        assert layer.forward(DRIVE[:2]).shape == (2, 256)
        assert optical.slm.frames.shape == (960, 960)

"""``labtrain survey`` of an optical rig and ``labtrain twin measure``, as a user meets them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from labtrain import experiment, measuring
from labtrain.cli import app
from labtrain.clock import SimulatedClock
from labtrain.config import loads
from labtrain.errors import InputError, InstrumentError, MeasurementError
from labtrain.experiment import Experiment
from labtrain.jobs import open_rig
from labtrain.rigs.speckle.procedure import Request
from labtrain.survey import Sound, run_survey
from labtrain.twin import judge, load_twin
from labtrain.twin_measuring import measure_twin
from tests.test_survey import CONFIG as ACOUSTIC
from tests.test_survey import check_page

CONFIG = """
rig:
  type: optical
  world:
    slm_shape: [6, 6]
    camera_shape: [24, 24]
    exposure_s: 0.02
    hot_pixels: 0.01
dataset: {type: xor-tones, rows: 200, classes: 2}
network: {skip: false, drive: {map: affine}}
training: {method: ridge}
"""


@pytest.fixture(scope="module")
def surveyed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speckle")
    (folder / "a&b.yaml").write_text(CONFIG, encoding="utf-8")
    arguments = [
        "survey",
        str(folder / "a&b.yaml"),
        "--watch",
        "64",
        "--matrix",
        "--out",
        str(folder / "out"),
        "--json",
    ]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout.splitlines()[-1])


def test_the_yaml_is_a_good_configuration_with_reasons(surveyed):
    assert CliRunner().invoke(app, ["config", "check", surveyed["yaml"]]).exit_code == 0
    proposed = surveyed["proposed"]["rig.world.exposure_s"]
    assert (proposed["before"], proposed["value"]) == (0.02, pytest.approx(1e-3, rel=0.1))
    assert experiment.load(surveyed["yaml"]).value.rig.world.exposure_s == proposed["value"]
    lines = Path(surveyed["yaml"]).read_text(encoding="utf-8").splitlines()
    (at,) = (i for i, line in enumerate(lines) if line.strip().startswith("exposure_s:"))
    assert [line.strip().removeprefix("# ") for line in lines[at - 2 : at]] == proposed["reason"]


def test_what_it_measured_is_the_bench(surveyed):
    assert len(surveyed["hot_pixels"]) == 6 and surveyed["dark"] == pytest.approx(64, abs=0.1)
    assert surveyed["contrast"] == pytest.approx(1.0, abs=0.05)
    assert surveyed["phase_range_rad"] == pytest.approx(np.pi, rel=0.01)
    assert surveyed["drift_eps"] == 0.0 and surveyed["stable_shots"] is None
    assert surveyed["matrix"]["score"]["r2"] > 0.98
    assert surveyed["shots"] > 500 and surveyed["seconds"] > 0.04 * surveyed["shots"]


def test_the_report_is_one_file_with_figures(surveyed):
    check_page(surveyed, 6)


@pytest.fixture
def no_figures(monkeypatch):
    monkeypatch.setattr("labtrain.speckle_report.figures", lambda _: [])


@pytest.mark.usefixtures("no_figures")
def test_people_are_told_the_same(tmp_path):
    (tmp_path / "a.yaml").write_text(CONFIG.replace("0.02", "0.001"), encoding="utf-8")
    arguments = ["survey", str(tmp_path / "a.yaml"), "--watch", "32", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, [*arguments, "--set", "rig.world.modulation=amplitude"], catch_exceptions=False)
    assert done.exit_code == 0
    assert "rig.world.exposure_s: " in done.stdout and "note: a modulator of amplitudes: neither its" in done.stdout
    assert "shots in " in done.stdout and "of the bench's time" in done.stdout


@pytest.mark.parametrize(
    ("text", "options", "sentence"),
    [
        (
            CONFIG,
            {"sound": Sound(tones=3)},
            "x.yaml: its rig is optical and has no tones; leave --tones and --band out",
        ),
        (
            ACOUSTIC,
            {"light": Request()},
            "x.yaml: its rig is acoustic and has no camera; leave --exposure, --mean, --saturated, --watch and "
            "--matrix out",
        ),
        (
            CONFIG.replace("exposure_s", "modulation: amplitude\n    exposure_s"),
            {"light": Request(matrix=True)},
            "optical bench: phase stepping needs a modulator of phases; set rig.world.modulation: phase",
        ),
    ],
)
def test_options_that_do_not_fit_the_rig(text, options, sentence, tmp_path):
    with pytest.raises(InputError) as error:
        run_survey(loads(text, Experiment, "x.yaml"), tmp_path / "out", **options)
    assert str(error.value) == sentence
    assert not (tmp_path / "out").exists()


def test_what_ends_it_writes_nothing(tmp_path):
    (tmp_path / "a.yaml").write_text(CONFIG, encoding="utf-8")
    arguments = ["survey", str(tmp_path / "a.yaml"), "--exposure", "0.02", "0.1", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, MeasurementError) and "too bright: at the shortest" in str(done.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("no_figures")
def test_emulated_instruments_are_surveyed_through_their_drivers(tmp_path):
    devices = "  slm: {driver: slmsuite-slm}\n  camera: {driver: slmsuite-camera, exposure_s: 0.003}\n"
    text = CONFIG.replace("  type: optical\n", f"  type: optical\n{devices}")
    done = run_survey(loads(text, Experiment, "x.yaml"), tmp_path / "out", light=Request(watch_shots=32))
    (proposed,) = (p for p in done.proposals if p.key == "rig.camera.exposure_s")
    assert proposed.before == 0.003 and proposed.value == pytest.approx(1e-3, rel=0.1)
    assert experiment.load(done.yaml).value.rig.imager.exposure_s == proposed.value


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("what", ["survey", "matrix"])
def test_frames_of_the_pattern_before_are_told_before_they_are_believed(what, tmp_path):
    devices = "  slm: {driver: slmsuite-slm}\n  camera: {driver: slmsuite-camera}\n  settle_s: 0.001\n"
    text = CONFIG.replace("  type: optical\n", f"  type: optical\n{devices}").replace(
        "exposure_s: 0.02", "exposure_s: 0.001"
    )
    loaded, out = loads(text, Experiment, "x.yaml"), tmp_path / "out"
    told = r"^camera \(sim\): the first frame of a new pattern still shows the one before, \d more had to pass; set rig"
    with pytest.raises(InstrumentError, match=told):
        run_survey(loaded, out, light=Request(watch_shots=32)) if what == "survey" else measure_twin(loaded, out)
    assert not out.exists()


# -- twin measure ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("matrix")
    (folder / "a.yaml").write_text(CONFIG.replace("0.02", "0.001"), encoding="utf-8")
    arguments = ["twin", "measure", str(folder / "a.yaml"), "--out", str(folder / "twin.npz"), "--json"]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return folder, json.loads(done.stdout.splitlines()[-1])


def test_a_measured_twin_is_one_of_its_layer(measured):
    folder, told = measured
    twin = load_twin(folder / "twin.npz")
    assert told["kind"] == "speckle" and (told["n_in"], told["n_out"]) == (36, 576)
    assert told["shots"] == 2 * 20 * 3 + 64 + 4 + 128 and told["fit"]["rows"] == 2 * 20 * 3 + 64
    with open_rig(measuring.load(folder / "a.yaml").value, SimulatedClock()) as rig:
        (layer,) = rig.layers
        assert twin.fingerprint == layer.info.fingerprint == told["fingerprint"]
        x = np.random.default_rng(8).random((50, 36))
        y = layer.forward(x)
    assert judge(twin, x, y)["r2"] > 0.99 and told["r2"] > 0.99


def test_the_command_judge_and_the_recorded_rig_take_it(measured, tmp_path):
    folder, told = measured
    runs = str(tmp_path / "runs")
    recorded = ["record", str(folder / "a.yaml"), "--shots", "40", "--runs", runs, "--json"]
    assert CliRunner().invoke(app, recorded, catch_exceptions=False).exit_code == 0
    (run,) = Path(runs).iterdir()
    done = CliRunner().invoke(app, ["twin", "judge", str(folder / "twin.npz"), str(run), "--json"])
    assert json.loads(done.stdout.splitlines()[-1])["r2"] > 0.99
    text = f"rig: {{type: recorded, twin: {folder / 'twin.npz'}, noise: none}}"
    (tmp_path / "recorded.yaml").write_text(text, encoding="utf-8")
    twin, x = load_twin(folder / "twin.npz"), np.random.default_rng(9).random((5, 36))
    with open_rig(measuring.load(tmp_path / "recorded.yaml").value, SimulatedClock()) as rig:
        np.testing.assert_array_equal(rig.layers[0].forward(x), twin.predict(x))
        dy = np.random.default_rng(10).normal(size=(5, 576))
        np.testing.assert_allclose(rig.layers[0].vjp(x, dy), twin.vjp(x, dy), rtol=1e-12)
    noisy = measuring.load(tmp_path / "recorded.yaml", ["rig.noise=residuals"])
    with open_rig(noisy.value, SimulatedClock()) as rig:
        off = rig.layers[0].forward(np.repeat(x[:1], 200, axis=0)) - twin.predict(x[:1])
    assert np.sqrt((off**2).mean()) == pytest.approx(told["rmse"], rel=0.2)


def test_a_second_layer_has_a_twin_of_its_own(tmp_path):
    regions = "slm_shape: [5, 10]\n    input_region: [0, 0, 5, 5]"
    text = CONFIG.replace("slm_shape: [6, 6]", regions).replace("0.02", "0.001")
    text = text.replace("  type: optical\n", "  type: optical\n  more_regions: [[0, 5, 5, 5]]\n")
    (tmp_path / "a.yaml").write_text(text, encoding="utf-8")
    loaded = measuring.load(tmp_path / "a.yaml")
    measure_twin(loaded, tmp_path / "twin.npz", layer=1, clock=SimulatedClock())
    twin, x = load_twin(tmp_path / "twin.npz"), np.random.default_rng(8).random((50, 25))
    with open_rig(loaded.value, SimulatedClock()) as rig:
        first, second = (layer.forward(x) for layer in rig.layers)
        assert twin.fingerprint == rig.layers[1].info.fingerprint
    assert judge(twin, x, second)["r2"] > 0.97 and judge(twin, x, first)["r2"] < 0.5


def test_people_are_told_what_a_twin_is_worth(tmp_path):
    (tmp_path / "a.yaml").write_text(CONFIG.replace("0.02", "0.001"), encoding="utf-8")
    arguments = ["twin", "measure", str(tmp_path / "a.yaml"), "--out", str(tmp_path / "t.npz"), "--steps", "4"]
    done = CliRunner().invoke(app, [*arguments, "--set", "rig.world.pool_size=2", "--set", "rig.world.pool_stride=2"])
    assert done.exit_code == 0
    first, second, *_ = done.stdout.splitlines()
    assert f"speckle twin of 36 inputs and 144 outputs, from {2 * 20 * 4 + 64 + 132} shots (16 s)" in first
    assert re.fullmatch(
        r"64 unseen patterns: correlation 0\.99\d\d, R2 0\.99\d\d \(repeatability allows 0\.99\d\d\)", second
    )


def test_a_twin_of_little_use_is_called_that(tmp_path, caplog):
    """Cells that blur into one another are not what a matrix of cells describes."""
    config = loads(CONFIG.replace("0.02", "0.001"), Experiment, "x.yaml", ["rig.world.cross_talk=0.2"])
    measure_twin(config, tmp_path / "t.npz")
    assert re.search(r"t\.npz: of little use: it explains -?[\d.e-]+ of what unseen patterns differ by", caplog.text)


@pytest.mark.parametrize(
    ("changes", "options", "sentence"),
    [
        ([], {"layer": 1}, "--layer 1: this rig has layers 0 to 0"),
        (
            ["rig.world.exposure_s=0.1"],
            {},
            r"optical bench: \d\d % of the pixels are saturated at an exposure of 0.1 s, allowed 2 %; labtrain survey "
            "finds one that fits",
        ),
        (
            ["rig.world.electrons_per_s=1e-6"],
            {},
            r"optical bench: no light reaches the camera: at an exposure of 0.02 s its frames are -?[\d.]+ counts "
            r"above dark frames; is the laser on, the shutter open, the fibre coupled\?",
        ),
        (
            ["rig.world.slm_shape=[100, 100]", "rig.world.camera_shape=[512, 512]"],
            {},
            r"optical bench: a matrix from 10,000 inputs to 262,144 pixels takes 96.7 GB, allowed 4; read fewer pixels "
            r"\(rig.world.camera_shape\), or make the inputs larger \(rig.world.input_cells\)",
        ),
    ],
)
def test_what_no_twin_can_be_measured_of(changes, options, sentence, tmp_path):
    (tmp_path / "a.yaml").write_text(CONFIG, encoding="utf-8")
    with pytest.raises((InputError, MeasurementError)) as error:
        measure_twin(measuring.load(tmp_path / "a.yaml", changes), tmp_path / "t.npz", **options)
    assert re.fullmatch(sentence, str(error.value)), str(error.value)
    assert not (tmp_path / "t.npz").exists()


def test_other_rigs_are_recorded(tmp_path):
    (tmp_path / "a.yaml").write_text("rig: {type: acoustic}\n", encoding="utf-8")
    with pytest.raises(InputError) as error:
        measure_twin(measuring.load(tmp_path / "a.yaml"), tmp_path / "t.npz")
    assert str(error.value) == (
        f"{tmp_path / 'a.yaml'}: its rig is not optical, and has no transmission matrix to step through; record it "
        "with labtrain record, then labtrain twin fit RUN"
    )

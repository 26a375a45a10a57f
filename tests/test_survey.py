"""``labtrain survey`` and ``labtrain calibrate`` as a user meets them, on a small simulated cavity."""

import base64
import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from labtrain import experiment, measuring
from labtrain.calibrating import calibrate
from labtrain.cli import app
from labtrain.config import loads
from labtrain.drivers.emulators.sound import SoundRoom
from labtrain.errors import InputError, InstrumentError, MeasurementError
from labtrain.experiment import Experiment
from labtrain.survey import Sound, run_survey

CONFIG = """
rig:
  type: acoustic
  audio:
    driver: audio
    speakers: [1, 2]
    microphones: [1, 2]
    loopback: {output: 3, input: 3}
    pascal_full_scale: 20.0
    max_spl_db: 112
  converter: {hum_pa: 0.01}
  membranes: 2
dataset: {type: xor-tones, rows: 200, classes: 2}
training: {method: ridge}
"""


@pytest.fixture(scope="module")
def surveyed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("survey")
    (folder / "a&b.yaml").write_text(CONFIG, encoding="utf-8")
    arguments = ["survey", str(folder / "a&b.yaml"), "--tones", "3", "--out", str(folder / "out"), "--json"]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    return folder, json.loads(done.stdout.splitlines()[-1])


def test_the_yaml_is_a_good_configuration_with_reasons(surveyed):
    _, told = surveyed
    assert CliRunner().invoke(app, ["config", "check", told["yaml"]]).exit_code == 0
    text = Path(told["yaml"]).read_text(encoding="utf-8")
    rig = experiment.load(told["yaml"]).value.rig
    proposed = {key: entry["value"] for key, entry in told["proposed"].items()}
    assert list(rig.tone_bins) == proposed["rig.tone_bins"] and len(rig.tone_bins) == 3
    assert rig.shot.decay_s == proposed["rig.shot.decay_s"] <= rig.settle_periods * 2048 / 48000
    assert rig.audio.spl_full_scale_db == tuple(proposed["rig.audio.spl_full_scale_db"])
    lines = text.splitlines()
    for key, entry in told["proposed"].items():
        name = key.rpartition(".")[2] + ":"
        at = [i for i, line in enumerate(lines) if line.strip().startswith(name)][-1]  # a loopback has a level too
        above = [line.strip().removeprefix("# ") for line in lines[at - len(entry["reason"]) : at]]
        assert above == entry["reason"], key


def test_what_it_measured_is_the_cavity(surveyed):
    _, told = surveyed
    assert told["dead_speakers"] == told["dead_microphones"] == [] and told["mains_hz"] == 50.0
    assert told["latency_frames"] == 611 and 0.2 < told["t60_s"] < 1.0 and told["seconds_of_sound"] < 60


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.images, self.text = [], [], ""

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            self.images.append(dict(attributes))
        elif tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def check_page(told, figures):
    """One file that needs nothing else, with so many figures, and all reasons and notes."""
    source = Path(told["html"]).read_text(encoding="utf-8")
    page = Page()
    page.feed(source)
    assert page.open == [] and "Survey of a&b.yaml" in page.text
    assert len(page.images) == figures
    for image in page.images:
        kind, data = image["src"].split(",")
        assert kind == "data:image/png;base64" and base64.b64decode(data).startswith(b"\x89PNG")
        assert image["alt"]
    assert not re.search(r"(src|href)=\"?http", source)
    reasons = [reason for proposed in told["proposed"].values() for reason in proposed["reason"]]
    assert all(text in page.text for text in (*reasons, *told["notes"]))


def test_the_report_is_one_file_with_figures(surveyed):
    check_page(surveyed[1], 8)


def test_another_survey_replaces_its_files_and_nothing_else(surveyed, tmp_path):
    folder, _ = surveyed
    (tmp_path / "survey.html").write_text("mine")
    with pytest.raises(InputError) as error:
        run_survey(experiment.load(folder / "a&b.yaml"), tmp_path)
    path = tmp_path / "survey.html"
    assert str(error.value) == (f"{path}: exists already, and no survey wrote it; choose another folder with --out DIR")
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"band_hz": (500.0, 100.0)}, "--band 500 100: needs two rising frequencies above 0, at most 19200 Hz"),
        (
            {"tones": 9, "band_hz": (200.0, 300.0)},
            "--tones 9: the band from 200 to 300 Hz has 4 bins of 23.44 Hz; ask for fewer tones or a wider --band",
        ),
    ],
)
def test_options_that_cannot_be(options, sentence, tmp_path):
    with pytest.raises(InputError) as error:
        run_survey(loads(CONFIG, Experiment), tmp_path, Sound(**options))
    assert str(error.value) == sentence


def test_a_rig_without_speakers(tmp_path):
    config = loads("rig: {type: acoustic}\ndataset: {type: digits}\ntraining: {method: ridge}\n", Experiment, "x.yaml")
    with pytest.raises(InputError) as error:
        run_survey(config, tmp_path)
    assert str(error.value) == (
        "x.yaml: its rig has no speakers and microphones to survey; take one of type acoustic with a section "
        "rig.audio, or one of type optical"
    )


def test_a_dead_loopback_ends_it_and_writes_nothing(tmp_path):
    config = loads(CONFIG, Experiment, "x.yaml", ["rig.converter.loopback_gain=0"])
    with pytest.raises(InstrumentError, match="is the loopback cable out"):
        run_survey(config, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# -- calibrate -------------------------------------------------------------------------------------------------------


class Calibrated(SoundRoom):
    """A calibrator on the second microphone."""

    amplitude = 0.07

    def process(self, out):
        first = self._frame
        came = super().process(out)
        turns = 2 * np.pi * 1002.0 / self.rate_hz * (first + np.arange(len(came)))
        came[:, 1] += (self.amplitude * np.sin(turns)).astype(np.float32)
        return came


@pytest.fixture
def calibrator(monkeypatch):
    monkeypatch.setattr("labtrain.rigs.acoustic.SoundRoom", Calibrated)


def lab(tmp_path):
    path = tmp_path / "lab.yaml"
    path.write_text(CONFIG.replace("pascal_full_scale: 20.0", "sensitivity_file: mics.csv"), encoding="utf-8")
    return path


def test_a_calibrator_becomes_a_row(tmp_path, calibrator):
    out = tmp_path / "mics.csv"
    out.write_text("microphone,pascal_full_scale\n1,20\n2,7\n", encoding="utf-8")
    arguments = ["calibrate", str(lab(tmp_path)), "--microphone", "2", "--out", str(out), "--json"]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    told = json.loads(done.stdout.splitlines()[-1])
    expected = np.sqrt(2) * 2e-5 * 10 ** (94 / 20) / Calibrated.amplitude
    assert told["pascal_full_scale"] == pytest.approx(expected, rel=2e-3) and told["hz"] == pytest.approx(1002, abs=0.1)
    with out.open(newline="") as file:
        rows = {row["microphone"]: float(row["pascal_full_scale"]) for row in csv.DictReader(file)}
    assert rows == {"1": 20.0, "2": pytest.approx(expected, rel=2e-3)}
    assert measuring.load(lab(tmp_path)).value.rig.sound.pascal()[1] == pytest.approx(expected, rel=2e-3)


def test_no_calibrator_is_told_and_writes_nothing(tmp_path, calibrator):
    with pytest.raises(MeasurementError) as error:
        calibrate(measuring.load(lab(tmp_path)), 1, tmp_path / "mics.csv")
    assert re.fullmatch(
        r"audio \(sim\): microphone 1 \(input 1\) hears no calibrator near 1000 Hz: its tone stands -\d+ dB above the "
        r"rest, needed 20 dB; is it switched on, pushed on tightly, and on this microphone\?",
        str(error.value),
    )
    assert not (tmp_path / "mics.csv").exists()


@pytest.mark.parametrize(
    ("microphone", "options", "sentence"),
    [
        (3, {}, "--microphone 3: this rig has microphones 1 to 2"),
        (1, {"tone_hz": 5.0}, "--hz 5: allowed 20 to 19200 Hz"),
        (1, {"level_db": 200.0}, "--level-db 200: allowed 40 to 140 dB SPL; calibrators have 94, 104 or 114"),
    ],
)
def test_what_cannot_be_calibrated(microphone, options, sentence, tmp_path):
    with pytest.raises(InputError) as error:
        calibrate(measuring.load(lab(tmp_path)), microphone, tmp_path / "mics.csv", **options)
    assert str(error.value) == sentence


def test_a_file_of_something_else_is_left_alone(tmp_path):
    out = tmp_path / "mics.csv"
    out.write_text("a,b\n1,2\n")
    with pytest.raises(InputError) as error:
        calibrate(measuring.load(lab(tmp_path)), 1, out)
    assert str(error.value) == (
        f"{out}: exists, and is no table of microphone and pascal_full_scale; choose another file with --out FILE"
    )

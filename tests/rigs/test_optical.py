"""The optical rig: a simulated bench as a layer, or as several that share it."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from labtrain.clock import SimulatedClock
from labtrain.config import loads
from labtrain.datasets.table import Split, Table
from labtrain.errors import ConfigError, InputError, InstrumentError
from labtrain.experiment import Experiment, load
from labtrain.registry import resolve
from labtrain.rigs.optical import OpticalRig
from labtrain.rigs.optical_layer import MAX_BATCH
from labtrain.sim.optical import HOLD, OpticalParameters
from labtrain.trial import Trial

ROOT = Path(__file__).resolve().parents[2]
WORLD = {"slm_shape": (4, 6), "camera_shape": (6, 5), "hot_pixels": 0.0}
DRIVE = np.random.default_rng(0).random((1500, 24))


def rig(world=None, **settings):
    config = OpticalRig.Config(type="optical", world={**WORLD, **(world or {})}, **settings)
    return OpticalRig(config, SimulatedClock(1000.0))


def halves(**settings):
    """Two layers: the left and the right half of the modulator."""
    return rig({"input_region": (0, 0, 4, 3), **settings.pop("world", {})}, more_regions=((0, 3, 4, 3),), **settings)


# -- a layer -----------------------------------------------------------------------------------------------------------


def test_the_registry_knows_it():
    assert resolve("rigs", "optical") is OpticalRig


def test_what_a_layer_says_of_itself():
    with rig({"exposure_s": 2e-3, "pool_size": 2}, settle_s=0.05, readout_s=0.008) as optical:
        (layer,) = optical.layers
        info = layer.info
    assert (info.n_in, info.n_out, info.y_unit, info.simulated) == (24, 20, "full well", True)
    assert info.seconds_per_shot == pytest.approx(0.05 + 0.002 + 0.008)
    assert (info.settle_s, info.integration_s, info.samples_per_shot) == (0.05, 2e-3, 30)
    with rig({"readout": "amplitude"}) as optical:
        assert optical.layers[0].info.y_unit == "root of full well"


def test_chunks_end_on_multiples_of_their_size():
    with rig() as optical:
        (layer,) = optical.layers
        layer.forward(DRIVE[:10])
        chunks = list(layer.measure(DRIVE))
        assert [len(chunk) for chunk in chunks] == [MAX_BATCH - 10, 1500 - MAX_BATCH + 10]
        assert layer.info.max_batch == MAX_BATCH
        np.testing.assert_array_equal(np.concatenate([chunk.x for chunk in chunks]), layer.quantise(DRIVE))
        assert layer.state()["shot"] == optical.next_shot == 1510 and chunks[0].started_s == 1000.0


def test_chunks_end_where_the_bench_changes():
    with rig({"drift_eps": 0.01}) as optical:
        optical.disturb("laser", at_shot=100, gain=0.5)
        read = [(len(chunk), optical.environment()) for chunk in optical.layers[0].measure(DRIVE[:600])]
        bright, dim = {"laser_power": 1.0}, {"laser_power": 0.5}
        assert read == [(100, bright), (HOLD - 100, dim), (HOLD, dim), (600 - 2 * HOLD, dim)]


def test_answers_do_not_depend_on_chunks_and_a_state_brings_them_back():
    with rig({"drift_eps": 0.01}) as optical:
        (layer,) = optical.layers
        optical.disturb("fibre", at_shot=50, correlation=0.5)
        whole = layer.forward(DRIVE[:400])
        layer.restore({**layer.state(), "shot": 0})
        first = layer.forward(DRIVE[:77])
        state = json.loads(json.dumps(layer.state()))
        rest = layer.forward(DRIVE[77:400])
        np.testing.assert_array_equal(np.concatenate([first, rest]), whole)
    with rig({"drift_eps": 0.01}) as optical:
        optical.layers[0].restore(state)
        np.testing.assert_array_equal(optical.layers[0].forward(DRIVE[77:400]), rest)


def test_answers_do_not_depend_on_workers():
    with rig() as one, rig(workers=2) as two:
        np.testing.assert_array_equal(one.layers[0].forward(DRIVE[:300]), two.layers[0].forward(DRIVE[:300]))


def test_what_is_logged_is_what_the_modulator_is_told():
    with rig({"levels": 5}) as optical:
        (layer,) = optical.layers
        (chunk,) = layer.measure(DRIVE[:20])
        assert set(np.unique(chunk.x)) == {0.0, 0.25, 0.5, 0.75, 1.0}
        np.testing.assert_array_equal(layer.quantise(DRIVE[:20]), chunk.x)


def test_a_trial_restarts_noise_and_undoes_disturbances():
    with rig() as optical:
        (layer,) = optical.layers
        fresh = layer.forward(DRIVE[:5])
        optical.disturb("laser", gain=0.25)
        assert np.mean(layer.forward(DRIVE[:5])) == pytest.approx(np.mean(fresh) / 4, rel=0.1)
        optical.restart(1)
        assert optical.next_shot == 0
        other = layer.forward(DRIVE[:5])
        assert 0 < np.abs(other - fresh).max() < 0.05
        optical.restart(0)
        np.testing.assert_array_equal(layer.forward(DRIVE[:5]), fresh)


def test_the_derivative_is_that_of_the_next_shot_and_costs_none():
    steep = {"levels": 65536, "bits": 16, "drift_eps": 0.02, "phase_range_rad": 2.0}
    with rig(steep) as optical:
        (layer,) = optical.layers
        x, dy, step = 0.1 + 0.8 * DRIVE[:3], np.random.default_rng(1).standard_normal((3, 30)), 0.02
        found = []
        for shots in (0, HOLD):
            layer.forward(DRIVE[:shots])
            before = layer.state()
            found.append(layer.vjp(x, dy))
            assert layer.state() == before
            expected = np.empty_like(x)
            for i in range(24):
                up, down = x.copy(), x.copy()
                up[:, i] += step
                down[:, i] -= step
                ends = [optical.world.respond_without_noise(end, optical.next_shot) for end in (up, down)]
                expected[:, i] = ((ends[0] - ends[1]) * dy).sum(axis=1) / (2 * step)
            np.testing.assert_allclose(found[-1], expected, atol=0.01 * np.abs(expected).max())
        assert np.abs(found[0] - found[1]).max() > 0.1 * np.abs(found[0]).max()  # it has drifted


@pytest.mark.parametrize(
    ("drive", "sentence"),
    [
        (np.full((2, 24), 1.5), "optical: drive of shot 0, input 0 is 1.5, allowed 0 to 1; map activations with a"),
        (np.zeros((2, 23)), "optical: drive has shape (2, 23), needed (shots, 24); check the width of the drive"),
    ],
)
def test_drives_that_do_not_fit_are_refused_before_a_shot_is_counted(drive, sentence):
    with rig() as optical:
        (layer,) = optical.layers
        for refuses in (layer.measure, layer.quantise, lambda x: layer.vjp(x, np.zeros((2, 30)))):
            with pytest.raises(InputError, match=re.escape(sentence)):
                refuses(drive)
        assert optical.next_shot == 0


# -- several layers ----------------------------------------------------------------------------------------------------


def test_layers_are_regions_of_one_modulator_and_count_shots_together():
    with halves() as optical:
        left, right = optical.layers
        assert [layer.info.n_in for layer in optical.layers] == [12, 12] and (left.name, right.name) == (
            "optical",
            "optical 2",
        )
        assert left.info.fingerprint != right.info.fingerprint
        left.forward(DRIVE[:7, :12])
        right.forward(DRIVE[:5, :12])
        assert optical.next_shot == 12 and left.state() == right.state()
    with halves() as again:  # what one layer is asked moves the noise of the other on
        left, right = again.layers
        first = left.forward(np.zeros((1, 12)))
        second = right.forward(np.zeros((1, 12)))  # the same pattern: alike but for noise and an exposure of its own
        assert not np.array_equal(first, second)
        assert np.corrcoef(first, second)[0, 1] > 0.99
        ones = [layer.forward(np.ones((1, 12))) for layer in again.layers]
        assert np.corrcoef(*ones)[0, 1] < 0.9  # the other half of the cells


def test_a_disturbance_reaches_all_layers_and_a_state_restores_all():
    with halves() as optical:
        left, right = optical.layers
        before = [np.mean(layer.forward(DRIVE[:50, :12])) for layer in optical.layers]
        optical.disturb("laser", gain=0.0)
        state = json.loads(json.dumps(right.state()))
        for layer, was in zip(optical.layers, before, strict=True):
            assert abs(np.mean(layer.forward(DRIVE[:50, :12]))) < 0.02 * was
        optical.restart(0)
        assert np.mean(right.forward(DRIVE[:50, :12])) == pytest.approx(before[1], rel=0.01)
        left.restore(state)
        assert abs(np.mean(right.forward(DRIVE[:50, :12]))) < 0.02 * before[1]


def experiment(rig_section, **sections):
    made = {
        "rig": {"type": "optical", **rig_section},
        "dataset": {"type": "parity", "rows": 60, "bits": 8, "validation_fraction": 0.2},
        "encoding": {"label": "overlay", "amplitude": 0.5},
        "network": {"layers": 3, "width": 10, "skip": False},
        "training": {"method": "phyll", "epochs": 4, "inner": 1, "score_every": 2},
    } | sections
    return loads(json.dumps(made), Experiment, "lab.yaml").value


@pytest.mark.parametrize(
    "rig_section",
    [
        {"world": {"slm_shape": [4, 6], "camera_shape": [6, 5], "drift_eps": 0.01}},
        {
            "world": {"slm_shape": [4, 6], "camera_shape": [6, 5], "input_region": [0, 0, 4, 3]},
            "more_regions": [[0, 3, 4, 3]],
            "repeats": 2,
        },
    ],
    ids=["one layer passed three times", "two regions in turn"],
)
@pytest.mark.parametrize("method", ["phyll", "backpropagation"])
def test_a_trial_that_is_broken_off_ends_bit_for_bit(rig_section, method):
    training = {"method": method, "epochs": 4, "score_every": 2}
    bent = [{"at_shot": 200, "do": "fibre", "correlation": 0.5}]
    what = experiment(rig_section, training=training, disturbances=bent)
    with OpticalRig(what.rig, SimulatedClock()) as optical:
        trial = Trial.begin(what, optical, seed=3)
        for _ in range(2):
            trial.step()
        kept = trial.state()
        kept = {**kept, "layers": json.loads(json.dumps(kept["layers"]))}
        with OpticalRig(what.rig, SimulatedClock()) as other:
            again = Trial.begin(what, other, seed=3)
            again.restore(kept)
            resumed = again.fit().test().scores
        scores = trial.fit().test().scores
    np.testing.assert_array_equal(resumed, scores)


# -- configuration -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        (
            "  world: {levels: 1}",
            "lab.yaml:3: rig.world: optical world: asked levels 1, allowed 2 to 65536; set rig.world.levels",
        ),
        (
            "  world: {input_region: [0, 0, 30, 2]}",
            "lab.yaml:3: rig.world: optical world: input_region [0, 0, 30, 2] does not lie within the modulator's "
            "(26, 26) cells; set rig.world.input_region",
        ),
        ("  world: {exposure: 0.1}", "lab.yaml:3: rig.world.exposure: unknown key (did you mean exposure_s?)"),
        (
            "  more_regions: [[0, 0, 2, 2], [0, 20, 1, 7]]",
            "lab.yaml:1: rig: more_regions.1: [0, 20, 1, 7] (top, left, rows, columns) does not lie within the "
            "modulator's 26 x 26 cells; correct it, or set rig.world.slm_shape",
        ),
        (
            "  fidelity: real",
            "lab.yaml:3: rig.fidelity: 'real' is not allowed, must be 'physics' or 'instruments'",
        ),
    ],
)
def test_errors_name_line_key_and_remedy(section, sentence):
    text = f"rig:\n  type: optical\n{section}\ndataset: {{type: parity}}\ntraining: {{method: ridge}}\n"
    with pytest.raises(ConfigError) as caught:
        loads(text, Experiment, "lab.yaml")
    assert str(caught.value) == sentence


def test_a_disturbance_that_the_bench_does_not_know_is_refused_when_the_file_is_read():
    with pytest.raises(ConfigError, match=r"unknown disturbance 'temperature'.*known: fibre, pixels, camera_pixels"):
        experiment({}, disturbances=[{"at_shot": 0, "do": "temperature", "kelvin": 1.0}])
    with rig() as optical, pytest.raises(InputError, match=r"asked correlation 2, allowed 0 to 1"):
        optical.disturb("fibre", correlation=2.0)


def test_every_parameter_of_the_bench_has_its_key_with_the_same_default():
    assert OpticalRig.Config(type="optical").world.parameters() == OpticalParameters()
    names = set(type(OpticalRig.Config(type="optical").world).model_fields)
    assert names == set(asdict(OpticalParameters()))


def test_fingerprint_follows_the_physics():
    prints = []
    for world, settings in (({}, {}), ({}, {"seed": 5}), ({"geometry_seed": 2}, {}), ({"exposure_s": 0.1}, {})):
        with rig(world, **settings) as optical:
            prints.append(optical.layers[0].info.fingerprint)
    assert prints[0] == prints[1] and len(set(prints)) == 3


def test_provenance_marks_the_bench_as_simulated_and_is_plain_json():
    told = json.loads(json.dumps(rig({"drift_eps": 0.01}).provenance()))
    assert told["instruments"] == {"bench": "simulated"} and told["fidelity"] == "physics"
    assert told["world"]["parameters"]["drift_eps"] == 0.01


@pytest.mark.parametrize(("exposure_s", "told"), [(1e-3, ""), (3e-3, "% of the pixels are full"), (1.0, "9")])
def test_an_exposure_that_fills_pixels_is_told(exposure_s, told, caplog):
    with rig({"exposure_s": exposure_s, "camera_shape": (32, 32)}):
        if not told:
            assert not caplog.text
            return
    (message,) = (record.getMessage() for record in caplog.records)
    assert message.startswith("optical bench: ") and told in message
    (fits_s,) = re.findall(r"about ([\d.e-]+) s would do; set rig\.world\.exposure_s$", message)
    assert 3e-4 < float(fits_s) < 2e-3


def test_watts_and_power_meters():
    with rig(watts={"laser": 2.0, "modulator": 8.0}) as optical:
        assert optical.config.total_watts == 10.0


def test_a_closed_rig_is_refused_and_may_be_opened_again():
    optical = rig()
    for _ in range(2):
        with pytest.raises(InstrumentError, match=r"^OpticalRig is not open; call open\(\) or use it in a with"):
            optical.environment()
        with optical:
            (layer,) = optical.layers
            layer.forward(DRIVE[:1])
    with pytest.raises(InstrumentError, match="is not open"):
        layer.forward(DRIVE[:1])


# -- what is shipped and documented ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "pixels", "largest"), [("optical", 64, 16), ("optical-mnist", 784, 1)])
def test_the_shipped_configurations_open_and_learn_ten_images(name, pixels, largest):
    path = str(files("labtrain.configs").joinpath(f"{name}.yaml"))
    what = load(path, ["training.epochs=20", "trials.count=1"]).value
    draw, labels = np.random.default_rng(0), np.arange(60) % 10
    images = draw.integers(0, largest + 1, (10, pixels))[labels] + 0.0
    table = Table(images, labels, tuple("0123456789"), tuple(f"pixel {i}" for i in range(pixels)), None, "ten images")
    parts = Split(np.arange(40), np.arange(0), np.arange(40, 60))
    with OpticalRig(what.rig, SimulatedClock()) as optical:
        verdict = Trial.begin(what, optical, table=table, parts=parts).fit().test()
    assert verdict.scores.shape == (20, 10)
    assert verdict.accuracy > 0.8  # noise alone makes two shots of an image differ


def test_the_published_model_of_the_docs_is_that_of_the_world():
    text = (ROOT / "docs/optical.md").read_text(encoding="utf-8").partition("## The published model")[2]
    section = re.findall(r"```yaml\n(rig:.*?)```", text, re.DOTALL)[0]
    what = loads(section + "dataset: {type: parity}\ntraining: {method: ridge}\n", Experiment, "lab.yaml").value
    assert isinstance(what.rig, OpticalRig.Config)
    drift = what.rig.world.drift_eps
    assert what.rig.world.parameters() == replace(OpticalParameters.published(), drift_eps=drift)


# -- patterns and frames -----------------------------------------------------------------------------------------------


def test_the_bench_of_patterns_and_frames_is_that_of_the_layer():
    with rig({"pool_size": 2}) as optical:
        (layer,), bench, world = optical.layers, optical.bench, optical.world
        frames = bench.counts(world.pattern(DRIVE[:3]))
        np.testing.assert_array_equal(world.outputs(frames), layer.forward(DRIVE[:3]))
        assert optical.next_shot == 3  # those of the bench are not the layer's
        assert (bench.slm_shape, bench.camera_shape) == ((4, 6), (6, 5))
    with pytest.raises(InstrumentError, match="not open"):
        _ = optical.bench

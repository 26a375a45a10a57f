"""The recorded rig: what it refuses, what it remembers, and that its noise belongs to the shot."""

from __future__ import annotations

import logging
import time

import numpy as np
import pytest
from pydantic import ValidationError

from labtrain.clock import SimulatedClock
from labtrain.errors import DataError, InputError, InstrumentError
from labtrain.rigs.recorded import RecordedRig
from labtrain.twin import WaveTwin, load_twin, save_twin
from labtrain.twins.fitting import fit_twin


@pytest.fixture(scope="module")
def pairs():
    """Five inputs of which number 3 is disconnected, four outputs, noise of 0.01."""
    rng = np.random.default_rng(7)
    h = rng.normal(size=(5, 4)) + 1j * rng.normal(size=(5, 4))
    h[3] = 0
    x = rng.random((600, 5))
    return x, np.abs(np.abs(x @ h) + 0.01 * rng.normal(size=(600, 4)))


@pytest.fixture
def rig(pairs, tmp_path):
    path = tmp_path / "pairs.npz"
    np.savez(path, x=pairs[0], y=pairs[1])

    def make(**options):
        options = {"type": "recorded", "pairs": str(path), "held_out_rows": 100, **options}
        return RecordedRig(RecordedRig.Config.model_validate(options), SimulatedClock(5.0))

    return make


def test_without_noise_it_answers_as_the_twin_does(rig, pairs):
    x, y = pairs
    with rig(noise="none") as opened:
        (layer,) = opened.layers
        assert (layer.info.n_in, layer.info.n_out, layer.info.seconds_per_shot) == (5, 4, 0.25)
        answers = layer.forward(x[500:])
    assert np.array_equal(answers, WaveTwin().fit(x[:500], y[:500]).predict(x[500:]))


def test_noise_is_a_whole_held_out_residual_row(rig, pairs):
    x, y = pairs
    twin = WaveTwin().fit(x[:500], y[:500])
    residuals = twin.residuals(x[500:], y[500:])
    drive = np.full((300, 5), 0.8)
    with rig(noise_scale=0.5) as opened:
        errors = opened.layers[0].forward(drive) - twin.predict(drive)
    match = np.abs(errors[:, None] - 0.5 * residuals[None]).max(axis=2)
    assert match.min(axis=1).max() < 1e-12
    assert len(set(match.argmin(axis=1))) > 70  # of 100 rows, most are drawn


@pytest.mark.parametrize("cuts", [(1,), (255, 256, 257), (40, 300, 690)])
def test_an_answer_depends_on_the_shot_and_not_on_the_batches(rig, cuts):
    drive = np.random.default_rng(0).random((700, 5))
    with rig() as one, rig() as other:
        chunks = list(one.layers[0].measure(drive))
        assert max(map(len, chunks)) <= one.layers[0].info.max_batch
        assert np.array_equal(np.concatenate([chunk.x for chunk in chunks]), drive)
        parts = [other.layers[0].forward(part) for part in np.split(drive, cuts)]
    assert np.array_equal(np.concatenate([chunk.y for chunk in chunks]), np.concatenate(parts))


def test_restored_state_gives_the_same_noise_and_a_new_seed_another(rig):
    drive = np.full((10, 5), 0.5)
    with rig() as opened:
        (layer,) = opened.layers
        opened.restart(4)
        layer.forward(drive)
        state = layer.state()
        second = layer.forward(drive)
        layer.restore(state)
        assert np.array_equal(layer.forward(drive), second)
        opened.restart(4)
        first = layer.forward(drive)
        opened.restart(5)
        assert not np.array_equal(layer.forward(drive), first)
        assert not np.array_equal(first, second)


def test_fingerprint_follows_data_and_fit_and_noise_but_not_the_price_of_a_shot(rig, pairs, tmp_path):
    def fingerprint(**options):
        with rig(**options) as opened:
            return opened.layers[0].info.fingerprint

    np.savez(tmp_path / "other.npz", x=pairs[0], y=pairs[1] * 1.001)
    same = fingerprint()
    assert fingerprint(seconds_per_shot=1.0) == same
    changes = ({"pairs": str(tmp_path / "other.npz")}, {"half_life_rows": 200}, {"noise": "none"}, {"ridge": 1e-6})
    assert len({same, *(fingerprint(**change) for change in changes)}) == 5


def test_dead_inputs_are_named_when_fitted(rig, caplog):
    with caplog.at_level(logging.INFO, "labtrain"), rig() as opened:
        found = opened.provenance()
    assert found["dead_inputs"] == [3]
    assert found["held_out"]["rmse"] == pytest.approx(0.01, rel=0.2)
    assert "recorded rig: inputs 3 reach no output; use the other 4 (network.drive.inputs)" in caplog.messages


def test_a_closed_rig_and_a_drive_out_of_range_are_refused(rig):
    closed = rig()
    with pytest.raises(InstrumentError, match=r"^RecordedRig is not open"):
        _ = closed.layers
    with closed, pytest.raises(InputError, match=r"^recorded: drive of shot 0, input 2 is 1\.5, allowed 0 to 1"):
        closed.layers[0].forward([[0, 0, 1.5, 0, 0]])


def test_unusable_files_are_refused_in_one_sentence(rig, pairs, tmp_path):
    x, y = pairs
    bad = y.copy()
    bad[5, 2] = np.inf
    np.savez(tmp_path / "only_x.npz", x=x)
    np.savez(tmp_path / "inf.npz", x=x, y=bad)
    np.savez(tmp_path / "short.npz", x=x, y=y[:9])
    np.savez(tmp_path / "flat.npz", x=x[:, 0], y=y)
    np.savez(tmp_path / "text.npz", x=np.array([["a"]]), y=y)
    np.save(tmp_path / "single.npy", x)
    (tmp_path / "text.csv").write_text("x,y\n")
    savez = "write it with numpy.savez"
    sentences = {
        "gone.npz": "cannot read {} (No such file or directory); set rig.pairs to an .npz file with arrays x and y",
        "only_x.npz": "{} has no array 'y', it has x; write it with numpy.savez(file, x=drives, y=responses)",
        "inf.npz": "{}: array 'y' holds inf in row 5, column 2; remove such rows",
        "short.npz": "{}: 'x' has 600 rows and 'y' has 9; each drive needs one response",
        "flat.npz": "{}: array 'x' has shape (600,), needed (rows, columns), neither empty",
        "text.npz": "{}: array 'x' is not numeric; store numbers of shape (rows, columns)",
        "single.npy": "{} is not an .npz file of numbers; " + savez,
        "text.csv": "{} is not an .npz file of numbers; " + savez,
    }
    for name, sentence in sentences.items():
        with pytest.raises(DataError) as error, rig(pairs=str(tmp_path / name)):
            pass
        assert str(error.value) == "recorded rig: " + sentence.format(tmp_path / name)
    with pytest.raises(DataError) as error, rig(held_out_rows=600):
        pass
    assert str(error.value) == (
        f"recorded rig: {tmp_path / 'pairs.npz'} has 600 rows and 600 are held out; set a smaller rig.held_out_rows"
    )


def test_opening_takes_no_lab_time_and_shots_carry_the_clock(rig):
    began = time.perf_counter()
    with rig() as opened:
        (chunk,) = opened.layers[0].measure(np.zeros((3, 5)))
    assert chunk.started_s == 5.0
    assert time.perf_counter() - began < 5


@pytest.fixture
def kept(rig, pairs, tmp_path):
    """A file with the twin that the rig fits to its pairs."""
    rig()  # writes them
    fit_twin(tmp_path / "pairs.npz", tmp_path / "twin.npz", rows=500)
    return tmp_path / "twin.npz"


def of(twin, **options):
    options = {"type": "recorded", "twin": str(twin), **options}
    return RecordedRig(RecordedRig.Config.model_validate(options), SimulatedClock(5.0))


def test_a_twin_from_a_file_answers_as_the_one_that_is_fitted_here(rig, kept):
    drive = np.random.default_rng(2).random((300, 5))
    with rig() as fitted, of(kept) as read:
        assert np.array_equal(read.layers[0].forward(drive), fitted.layers[0].forward(drive))
        assert read.layers[0].info.dead_inputs == (3,)
        assert read.layers[0].info.simulated
        found = read.provenance()
    assert found["twin"] == str(kept)
    assert (found["twin_kind"], found["twin_of"], found["dead_inputs"]) == ("wave", None, [3])
    fingerprints = set()
    for options in ({}, {"noise": "none"}):
        with of(kept, **options) as opened:
            fingerprints.add(opened.layers[0].info.fingerprint)
    assert len(fingerprints) == 2


def test_a_twin_of_pixels_answers_below_zero_where_its_outputs_stand_about_a_mean(tmp_path):
    rng = np.random.default_rng(3)
    x = rng.integers(0, 2, (300, 4)).astype(float)
    y = np.abs(2 + x @ (rng.normal(size=(4, 2)) + 1j * rng.normal(size=(4, 2))))
    np.savez(tmp_path / "pixels.npz", x=x, y=(y - y.mean(axis=0)) / y.std(axis=0))
    fit_twin(tmp_path / "pixels.npz", tmp_path / "twin.npz", "multiport", modes=0)
    with of(tmp_path / "twin.npz") as opened:
        answers = opened.layers[0].forward(x)
    assert answers.min() < -0.5
    assert answers.mean() == pytest.approx(0, abs=0.1)


def test_exactly_one_of_pairs_and_twin_is_given_and_nothing_is_said_of_a_fit_that_is_done(kept, tmp_path):
    both = {"type": "recorded", "twin": str(kept), "pairs": str(kept)}
    for options in (both, {"type": "recorded"}):
        with pytest.raises(ValidationError, match=r"pairs or twin: exactly one of them says what answers"):
            RecordedRig.Config.model_validate(options)
    with pytest.raises(ValidationError, match=r"ridge: the twin is fitted already; leave it out, or give pairs"):
        of(kept, ridge=1e-3)
    bare = load_twin(kept)
    bare.errors = None
    save_twin(bare, tmp_path / "bare.npz")
    with pytest.raises(DataError) as error, of(tmp_path / "bare.npz"):
        pass
    assert str(error.value) == (
        f"recorded rig: {tmp_path / 'bare.npz'} holds no errors to replay; fit it with labtrain twin fit, "
        "or set rig.noise: none"
    )
    with of(tmp_path / "bare.npz", noise="none") as opened:
        assert opened.layers[0].info.n_in == 5
    with pytest.raises(DataError, match=r"pairs\.npz: holds no twin; name a file that labtrain twin fit wrote$"):
        of(tmp_path / "pairs.npz").open()


def test_its_derivative_is_that_of_the_disturbed_answers(rig):
    rng = np.random.default_rng(3)
    with rig(noise="none") as opened:
        layer = opened.layers[0]
        opened.disturb("inputs", order=rng.permutation(layer.info.n_in).tolist())
        opened.disturb("input", input=1, gain=0.5)
        opened.disturb("outputs", order=rng.permutation(layer.info.n_out).tolist())
        opened.disturb("output", output=0, gain=0.3)
        x, along = rng.uniform(0.2, 0.8, (3, layer.info.n_in)), rng.standard_normal((3, layer.info.n_out))
        step, slopes = 1e-6, np.empty_like(x)
        for i in range(layer.info.n_in):
            moved = np.zeros(layer.info.n_in)
            moved[i] = step
            up, down = layer.forward(x + moved), layer.forward(x - moved)
            slopes[:, i] = ((up - down) * along).sum(axis=1) / (2 * step)
        shot = opened.next_shot
        np.testing.assert_allclose(layer.vjp(x, along), slopes, rtol=1e-5, atol=1e-8)
        assert opened.next_shot == shot  # a derivative costs none
        with pytest.raises(InputError, match=r"^recorded: the vector of the product has shape \(2, \d\), needed \(3, "):
            layer.vjp(x, along[:2])

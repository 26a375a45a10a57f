"""The residual network on top of the wave twin; PyTorch is needed to fit one and for nothing else."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labtrain.errors import InputError, MissingExtra
from labtrain.twin import WaveTwin, judge, load_twin, save_twin
from labtrain.twins.residual import ResidualTwin


def world(rows=900):
    """Waves through a soft limiter that a quadratic form cannot follow; input 2 is dead."""
    rng = np.random.default_rng(2)
    x = rng.random((rows, 4))
    h = rng.normal(size=(4, 3)) + 1j * rng.normal(size=(4, 3))
    h[2] = 0
    y = np.abs(1 + x @ h)
    return x, 1.5 * np.tanh(y / 1.5)


@pytest.fixture(scope="module")
def fitted():
    pytest.importorskip("torch", reason='PyTorch is not installed: pip install "labtrain[torch]"')
    x, y = world()
    return ResidualTwin().fit(x[:800], y[:800], width=16, epochs=60, seed=1), x, y


@pytest.fixture(scope="module")
def made():
    """A twin with arbitrary weights, as a file could hold it: it needs no PyTorch."""
    x, y = world(300)
    rng = np.random.default_rng(3)
    twin = ResidualTwin()
    twin.wave.fit(x, y)
    shapes = [(6, 7), (7,), (7, 7), (7,), (7, 3), (3,)]
    arrays = {f"weights{i}": rng.normal(size=shape) for i, shape in enumerate(shapes)}
    wave = {"wave_" + name: values for name, values in twin.wave.arrays().items()}
    scales = {"scale": np.full(3, 0.1), "mean": np.ones(3), "deviation": np.full(3, 0.5), "rmse": np.zeros(3)}
    twin = ResidualTwin.from_arrays({**wave, **arrays, **scales, "epochs": np.array(4)})
    twin.rms = np.ones(3)
    return twin


def test_the_network_learns_what_the_waves_leave(fitted):
    twin, x, y = fitted
    wave = WaveTwin().fit(x[:800], y[:800])
    assert judge(twin, x[800:], y[800:])["rmse"] < 0.8 * judge(wave, x[800:], y[800:])["rmse"]
    assert twin.epochs > 0
    assert twin.dead_inputs == (2,)


def test_the_same_seed_gives_the_same_twin_and_another_one_another():
    pytest.importorskip("torch", reason='PyTorch is not installed: pip install "labtrain[torch]"')
    x, y = world(200)
    one, again, other = (ResidualTwin().fit(x, y, width=8, epochs=2, seed=seed).weights[0] for seed in (1, 1, 2))
    assert np.array_equal(again, one)
    assert not np.array_equal(other, one)


def test_a_network_that_finds_nothing_stays_out_of_the_way():
    pytest.importorskip("torch", reason='PyTorch is not installed: pip install "labtrain[torch]"')
    rng = np.random.default_rng(0)
    x = rng.random((300, 3))
    y = np.abs(1 + x @ (rng.normal(size=(3, 2)) + 1j * rng.normal(size=(3, 2))))
    y += 0.05 * rng.normal(size=y.shape)
    y = np.abs(y)
    counted = []
    twin = ResidualTwin().fit(x, y, width=8, epochs=3, told=lambda *at: counted.append(at))
    assert counted == [(1, 3), (2, 3), (3, 3)]
    wave = WaveTwin().fit(x, y)
    unseen = slice(270, None)
    assert judge(twin, x[unseen], y[unseen])["rmse"] < 1.02 * judge(wave, x[unseen], y[unseen])["rmse"]


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**32 - 1))
def test_finite_differences(made, seed):
    rng = np.random.default_rng(seed)
    x, dy = rng.random((1, 4)), rng.normal(size=(1, 3))
    steps = 1e-6 * np.eye(4)
    expected = [((made.predict(x + d) - made.predict(x - d)) * dy).sum() / 2e-6 for d in steps]
    assert made.predict(x).min() > 0
    assert made.vjp(x, dy)[0] == pytest.approx(expected, abs=1e-5)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**32 - 1), st.integers(1, 300), st.data())
def test_the_answer_to_a_row_is_the_same_bit_for_bit_in_every_batch(made, seed, rows, data):
    x = np.random.default_rng(seed).random((rows, 4))
    whole = made.predict(x)
    chosen = data.draw(st.lists(st.integers(0, rows - 1), min_size=1, max_size=10))
    assert np.array_equal(made.predict(x[chosen]), whole[chosen])
    assert np.array_equal(made.predict(x[chosen[:1]]), whole[chosen[:1]])


def test_a_file_brings_it_back_without_pytorch(made, tmp_path):
    x = np.random.default_rng(4).random((5, 4))
    save_twin(made, tmp_path / "twin.npz")
    assert np.array_equal(load_twin(tmp_path / "twin.npz").predict(x), made.predict(x))
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from labtrain.twin import load_twin\n"
        f"print(load_twin({str(tmp_path / 'twin.npz')!r}).epochs)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == "4\n"


def test_without_pytorch_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    x, y = world(100)
    with pytest.raises(MissingExtra) as error:
        ResidualTwin().fit(x, y)
    assert str(error.value) == (
        "a residual twin is fitted by PyTorch, which is not installed; "
        'run: pip install "labtrain[torch]", or fit --kind wave'
    )


def test_options_out_of_range_are_refused():
    pytest.importorskip("torch", reason='PyTorch is not installed: pip install "labtrain[torch]"')
    x, y = world(100)
    with pytest.raises(InputError, match=r"^twin: asked width 0 and 60 epochs, allowed from 1 on$"):
        ResidualTwin().fit(x, y, width=0)

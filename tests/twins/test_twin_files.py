"""Twins on disk: what comes back, and what is refused in one sentence."""

from __future__ import annotations

import numpy as np
import pytest

from labtrain.errors import DataError, InputError
from labtrain.twin import WaveTwin, load_twin, save_twin


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(5)
    x = rng.random((200, 4))
    h = rng.normal(size=(4, 3)) + 1j * rng.normal(size=(4, 3))
    h[1] = 0
    return WaveTwin().fit(x, np.abs(0.5 + x @ h))


def test_the_same_twin_comes_back(fitted, tmp_path):
    x = np.random.default_rng(6).random((50, 4))
    fitted.fingerprint, fitted.errors = "acoustic:0123", np.full((2, 3), 0.25)
    save_twin(fitted, tmp_path / "twin.npz")
    loaded = load_twin(tmp_path / "twin.npz")
    assert isinstance(loaded, WaveTwin)
    assert np.array_equal(loaded.predict(x), fitted.predict(x))
    assert np.array_equal(loaded.vjp(x, np.ones((50, 3))), fitted.vjp(x, np.ones((50, 3))))
    assert (loaded.fingerprint, loaded.dead_inputs) == ("acoustic:0123", (1,))
    assert np.array_equal(loaded.errors, fitted.errors)
    assert np.array_equal(loaded.rms, fitted.rms)
    fitted.fingerprint = fitted.errors = None
    save_twin(fitted, tmp_path / "twin.npz")
    assert (load_twin(tmp_path / "twin.npz").fingerprint, load_twin(tmp_path / "twin.npz").errors) == (None, None)


def test_no_file_of_a_twin_needs_a_pickle(fitted, tmp_path):
    save_twin(fitted, tmp_path / "twin.npz")
    with np.load(tmp_path / "twin.npz", allow_pickle=False) as arrays:
        assert not any(arrays[name].dtype.hasobject for name in arrays.files)


def test_other_files_are_refused_in_one_sentence(fitted, tmp_path):
    save_twin(fitted, tmp_path / "twin.npz")
    with np.load(tmp_path / "twin.npz") as archive:
        arrays = dict(archive)
    np.savez(tmp_path / "pairs.npz", x=np.ones((2, 2)), y=np.ones((2, 2)))
    np.savez(tmp_path / "newer.npz", **arrays | {"format": 2})
    np.savez(tmp_path / "other.npz", **arrays | {"twin": "horn"})
    np.savez(tmp_path / "less.npz", **{name: values for name, values in arrays.items() if name != "coefficients"})
    (tmp_path / "text.npz").write_text("twin")
    np.save(tmp_path / "single.npy", np.ones(3))
    no_twin = "holds no twin; name a file that labtrain twin fit wrote"
    sentences = {
        "gone.npz": "cannot be read (No such file or directory); name a file that labtrain twin fit wrote",
        "pairs.npz": no_twin,
        "text.npz": no_twin,
        "single.npy": no_twin,
        "newer.npz": "a twin of kind 'wave', format 2; known are multiport, residual, speckle, wave",
        "other.npz": "a twin of kind 'horn', format 1; known are multiport, residual, speckle, wave",
        "less.npz": "a damaged twin ('coefficients'); fit it again",
    }
    for name, sentence in sentences.items():
        with pytest.raises(DataError) as error:
            load_twin(tmp_path / name)
        assert str(error.value).startswith(f"{tmp_path / name}: {sentence}")
    with pytest.raises(InputError, match=r"cannot be written \(No such file or directory\); choose another place$"):
        save_twin(fitted, tmp_path / "nowhere" / "twin.npz")

import numpy as np
import pytest
from scipy.special import hankel2

from labtrain.sim.dipoles import Dipoles

TAU = 2 * np.pi


def some(n, seed=0, absorption=0.3):
    rng = np.random.default_rng(seed)
    return Dipoles(rng.random((n, 2)) * 6, rng.uniform(0, 5, n), rng.uniform(0.5, 3, n), np.full(n, absorption))


def test_two_dipoles_have_the_published_interaction():
    dipoles = Dipoles(
        np.array([[0.0, 0.0], [0.3, 0.4]]), np.array([1.0, 5.0]), np.array([0.5, 0.2]), np.array([0, 0.3])
    )
    w = dipoles.interaction(1.1)
    k = TAU * 1.1
    assert w[0, 0] == pytest.approx(((TAU * 1) ** 2 - k**2) / 0.25 + 1j * k**2 / 4, rel=1e-14)
    assert w[1, 1] == pytest.approx(((TAU * 5) ** 2 - k**2) / 0.04 + 1j * (k**2 / 4 + k * 0.3 / 0.04), rel=1e-14)
    assert w[0, 1] == w[1, 0] == pytest.approx(1j * k**2 / 4 * hankel2(0, 0.5 * k), rel=1e-14)


@pytest.mark.parametrize("frequency", [0.01, 0.9, 1.1, 12.0])
def test_dipoles_absorb_and_radiate_but_do_not_amplify(frequency):
    lossless = some(30, absorption=0.0).interaction(frequency).imag
    assert np.linalg.eigvalsh(lossless).min() > -1e-12 * np.linalg.eigvalsh(lossless).max()
    np.testing.assert_array_equal(some(30).interaction(frequency).imag - lossless > 0, np.eye(30, dtype=bool))


def test_a_lossless_dipole_scatters_all_that_it_takes_out():
    """Optical theorem in two dimensions: extinction, Im(-1/W), equals the radiated share (k^2/4) / |W|^2."""
    w = Dipoles(np.zeros((1, 2)), np.array([1.3]), np.array([0.7]), np.zeros(1)).interaction(1.0)[0, 0]
    assert (-1 / w).imag == pytest.approx((TAU**2 / 4) / abs(w) ** 2, rel=1e-14)


def test_the_schur_complement_has_the_same_inverse():
    dipoles = some(40)
    full = np.linalg.inv(dipoles.interaction(1.0))[25:, 25:]
    np.testing.assert_allclose(np.linalg.inv(dipoles.reduced(1.0, 25)), full, rtol=1e-10, atol=1e-14)

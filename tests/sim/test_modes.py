import numpy as np
import pytest

from labtrain.sim.modes import Disc, cavity_modes

SIZE_M = (1.4, 1.0, 0.15)
HIGHEST_RAD_M = 2 * np.pi * 1700 / 343
DISCS = (Disc(0.4, 0.3, 0.07), Disc(0.95, 0.6, 0.08))


def test_empty_box_has_the_closed_form_modes():
    modes = cavity_modes(SIZE_M, (), HIGHEST_RAD_M)
    counts = np.mgrid[0:20, 0:20, 0:5].reshape(3, -1)
    closed = np.sort(np.pi * np.sqrt(((counts / np.array(SIZE_M)[:, None]) ** 2).sum(axis=0)))
    closed = closed[closed <= HIGHEST_RAD_M]
    assert len(modes.wavenumber_rad_m) == len(closed) == 187
    np.testing.assert_allclose(modes.wavenumber_rad_m, closed, rtol=1e-12, atol=1e-12)


def test_empty_box_has_the_closed_form_shapes():
    modes = cavity_modes(SIZE_M, (), HIGHEST_RAD_M)
    points = np.random.default_rng(0).random((50, 3)) * SIZE_M
    first, second = np.cos(np.pi * points[:, 0] / 1.4), np.cos(np.pi * points[:, 1] / 1.0)
    np.testing.assert_allclose(np.abs(modes.at(points)[:, 1]), np.sqrt(2) * np.abs(first), atol=1e-12)
    np.testing.assert_allclose(np.abs(modes.at(points)[:, 2]), np.sqrt(2) * np.abs(second), atol=1e-12)


@pytest.mark.parametrize("discs", [(), DISCS])
def test_modes_are_orthonormal_over_the_air(discs):
    modes = cavity_modes(SIZE_M, discs, 2 * np.pi * 700 / 343)
    x, y = np.meshgrid((np.arange(420) + 0.5) / 300, (np.arange(300) + 0.5) / 300, indexing="ij")
    in_air = np.all([np.hypot(x - d.x_m, y - d.y_m) > d.radius_m for d in discs] or [x >= 0], axis=0)
    values = modes.at(np.stack([x[in_air], y[in_air], np.zeros(in_air.sum())], axis=1))
    np.testing.assert_allclose(values.T @ values / in_air.sum(), np.eye(values.shape[1]), atol=0.02)
    assert modes.volume_m3 == pytest.approx(0.15 * in_air.sum() / 300**2, rel=1e-3)


def test_a_larger_basis_lowers_the_wavenumbers_and_they_settle():
    found = [cavity_modes(SIZE_M, DISCS, 2 * np.pi * hz / 343).wavenumber_rad_m[:25] for hz in (1100, 2200, 3300)]
    assert (found[1] <= found[0] + 1e-9).all() and (found[2] <= found[1] + 1e-9).all()
    assert np.abs(found[2][1:] / found[1][1:] - 1).max() < 0.01
    assert found[2][0] == pytest.approx(0, abs=1e-4)


def test_a_disc_in_a_pressure_antinode_raises_and_in_a_velocity_antinode_lowers_the_first_mode():
    """Rayleigh's perturbation: removed springy air stiffens, removed moving air adds inertia, doubled by its detour."""
    k = {}
    for place, discs in {"none": (), "corner": (Disc(0.06, 0.06, 0.05),), "middle": (Disc(0.7, 0.5, 0.05),)}.items():
        k[place] = [cavity_modes(SIZE_M, discs, 2 * np.pi * hz / 343).wavenumber_rad_m[1] for hz in (1700, 4000)]
    assert k["corner"][0] > k["none"][0] > k["middle"][0]
    without_detour = 2 * np.pi * 0.05**2 / 1.4
    coarse, fine = (1 - (k["middle"][i] / k["none"][i]) ** 2 for i in (0, 1))
    assert without_detour < coarse < fine < 2.1 * without_detour

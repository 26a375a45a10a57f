import numpy as np
import pytest

from labtrain.sim.harmonic_balance import HarmonicBalance

MASS_KG, LOSS, BINS, TONE, CUBIC = 2.7e-3, 0.15, 24, 6, 1e12
OMEGA = 2 * np.pi * np.arange(BINS) * 48_000 / 2048


def one_port(own_hz: float, cubic: float = CUBIC) -> tuple[HarmonicBalance, complex]:
    stiffness = MASS_KG * (2 * np.pi * own_hz) ** 2 - OMEGA**2 * MASS_KG + 1j * OMEGA * LOSS
    return HarmonicBalance(stiffness[:, None, None], cubic, np.zeros(1), 1e-6, 200), complex(stiffness[TONE])


def one_tone(forces_n: np.ndarray) -> np.ndarray:
    spectrum = np.zeros((BINS, 1, len(forces_n)), dtype=complex)
    spectrum[TONE, 0] = forces_n / 2
    return spectrum


def duffing_states(stiffness: complex, force_n: float) -> np.ndarray:
    """Amplitudes a of a Duffing resonator without overtones: |S + 3/4 k3 a^2| a = F; one root or three."""
    cubic = 0.75 * CUBIC
    squares = np.roots([cubic**2, 2 * cubic * stiffness.real, abs(stiffness) ** 2, -(force_n**2)])
    return np.sqrt(squares[np.abs(squares.imag) < 1e-7 * np.abs(squares)].real)


def test_without_a_cubic_spring_the_answer_is_force_over_stiffness():
    solver, stiffness = one_port(120.0, cubic=0.0)
    balance = solver.solve(one_tone(np.array([0.3])))
    assert balance.spectrum[TONE, 0, 0] == pytest.approx(0.15 / stiffness, rel=1e-12)


@pytest.mark.parametrize("own_hz", [100.0, 115.0, 170.0])
def test_a_weakly_driven_duffing_resonator_has_its_closed_form_amplitude(own_hz):
    solver, stiffness = one_port(own_hz)
    forces = np.geomspace(1e-4, 3e-3, 8)
    balance = solver.solve(one_tone(forces))
    expected = [duffing_states(stiffness, force) for force in forces]
    assert all(len(states) == 1 for states in expected)
    np.testing.assert_allclose(2 * np.abs(balance.spectrum[TONE, 0]), np.concatenate(expected), rtol=2e-3)
    assert not solver.folded(one_tone(forces), balance).any()
    assert balance.residual.max() <= 1e-6


@pytest.mark.parametrize("own_hz", [110.0, 115.0, 120.0])
def test_every_folded_state_of_a_duffing_resonator_is_found_out(own_hz):
    solver, stiffness = one_port(own_hz)
    forces = np.geomspace(1e-3, 0.08, 200)
    states = np.array([len(duffing_states(stiffness, force)) for force in forces])
    balance = solver.solve(one_tone(forces))
    told = (balance.residual > 1e-6) | solver.folded(one_tone(forces), balance)
    assert (states == 3).sum() >= 20
    assert told[states == 3].all()


def test_a_diverging_neighbour_changes_nothing():
    solver, _ = one_port(115.0)
    forces = np.array([1e-3, 2e-3, 3e-3, 1e-3])
    alone = solver.solve(one_tone(forces))
    forces[2] = 1e9
    beside = solver.solve(one_tone(forces))
    assert beside.residual[2] > 1e-6
    calm = [0, 1, 3]
    np.testing.assert_array_equal(alone.spectrum[..., calm], beside.spectrum[..., calm])
    np.testing.assert_array_equal(alone.residual[calm], beside.residual[calm])

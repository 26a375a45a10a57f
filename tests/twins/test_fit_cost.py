"""What fitting a twin takes: by hand for waves, growing with the work for the others, kept in the file."""

from __future__ import annotations

import numpy as np
import pytest

from labtrain.twin import WaveTwin, load_twin, save_twin
from labtrain.twins.cost import FitCost, product, solution
from labtrain.twins.fitting import fit_twin, judge_twin
from labtrain.twins.multiport import MultiportTwin
from labtrain.twins.multiport_fit import prediction


@pytest.fixture
def waves():
    """200 pairs: waves of 2 inputs at 3 outputs, and an input that reaches nothing."""
    rng = np.random.default_rng(0)
    x = rng.random((200, 3))
    h = rng.normal(size=(3, 3)) + 1j * rng.normal(size=(3, 3))
    h[2] = 0
    return x, np.abs(1 + x @ h)


def test_products_and_solutions():
    assert product(10, 3, 2) == 10 * 6 + 10 * 3 * 2  # six products of three columns, three with each of two others
    assert solution(3, 2) == 9 + 9 * 2


def test_a_wave_twin_by_hand(waves):
    twin = WaveTwin().fit(*waves)
    assert twin.dead_inputs == (2,)
    rows, full, kept, outputs = 200, 10, 6, 3  # terms of [1, x] of 3 inputs, of the 2 that matter
    tests = (
        rows * (55 + full * outputs)  # normal equations: a matrix with itself costs half
        + full**3 + full**2 * outputs  # their inverse, the form
        + rows * full * outputs  # what it leaves
        + 3 * (4**3 // 3 + 4**2 * outputs)  # of each input, the 4 terms it has a part in
    )  # fmt: skip
    form = rows * (21 + kept * outputs) + kept**3 // 3 + kept**2 * outputs
    step = rows * kept + rows * (21 + kept) + kept**3 // 3 + kept**2  # of an output
    assert twin.fit_cost.rows == rows
    assert twin.fit_cost.multiply_adds == tests + form + outputs * step + rows * kept * outputs
    assert 0 < twin.fit_cost.cpu_s < 600


def test_a_prediction_of_a_multiport_by_hand():
    # 7 rows, 4 pixels, 2 modes: real times complex is two, complex times complex four.
    sums = 2 * 7 * 4 * (1 + 2 + 2 + 4)  # b c; b f, c f; f f^T
    systems = 7 * 4 * (2**3 // 3 + 2**2 * 2 + 2)  # solved for p and q; p^T of that
    assert prediction(7, 4, 2) == sums + systems
    assert prediction(7, 4, 0) == 2 * 7 * 4
    assert prediction(7, 4, 2, slopes=True) - prediction(7, 4, 2) == 4 * (2 * 2 * 7 * 4 * 2 + 4 * 7 * 4)


def test_a_multiport_costs_more_with_modes_and_outputs():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, (120, 4)).astype(float)
    y = np.abs(2 + x @ (rng.normal(size=(4, 2)) + 1j * rng.normal(size=(4, 2)))) + 0.01 * rng.normal(size=(120, 2))
    none, two, one = (
        MultiportTwin().fit(x, y[:, :outputs], modes=modes).fit_cost for outputs, modes in ((2, 0), (2, 2), (1, 0))
    )
    unknown, step = 1 + 2 * (1 + 4 * 2), prediction(120, 4, 0, slopes=True)
    assert one.multiply_adds > 2 * (step + product(120, unknown, 1) + solution(unknown, 1))  # a step from either start
    assert one.multiply_adds < none.multiply_adds < two.multiply_adds


def test_a_residual_twin_counts_its_network(waves):
    pytest.importorskip("torch")
    from labtrain.twins.residual import ResidualTwin

    costs = [ResidualTwin().fit(*waves, width=5, epochs=epochs).fit_cost.multiply_adds for epochs in (1, 3)]
    network = (2 + 3) * 5 + 5 * 5 + 5 * 3
    assert costs[1] - costs[0] == 2 * (3 * 180 + 20) * network  # forward and back for 180 rows, forward for 20


def test_the_file_keeps_it_and_both_commands_tell_it(waves, tmp_path):
    np.savez(tmp_path / "pairs.npz", x=waves[0], y=waves[1])
    found = fit_twin(tmp_path / "pairs.npz", tmp_path / "twin.npz", rows=150)
    assert found["fit"] == load_twin(tmp_path / "twin.npz").fit_cost.as_dict()
    assert found["fit"]["rows"] == 150
    assert judge_twin(tmp_path / "twin.npz", tmp_path / "pairs.npz")["fit"] == found["fit"]


def test_a_twin_without_it_is_kept_without_it(waves, tmp_path):
    twin = WaveTwin().fit(*waves)
    twin.fit_cost = None
    save_twin(twin, tmp_path / "twin.npz")
    assert load_twin(tmp_path / "twin.npz").fit_cost is None
    twin.fit_cost = FitCost(3, 1 << 40, 0.5)
    save_twin(twin, tmp_path / "twin.npz")
    assert load_twin(tmp_path / "twin.npz").fit_cost == FitCost(3, 1 << 40, 0.5)

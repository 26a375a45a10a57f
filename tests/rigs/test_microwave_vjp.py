"""The derivative that stands in for that of a simulated metasurface, against patterns asked of the layer one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import yaml

from labtrain import jobs
from labtrain.config import loads
from labtrain.errors import InputError, InstrumentError
from labtrain.experiment import Experiment
from labtrain.rigs.microwave import MicrowaveRig
from tests.rigs import microwaves
from tests.rigs.microwaves import rig

QUIET = {"noise_dbm_hz": -400.0, "trace_noise": 0.0, "drift_walk_db": 0.0, "drift_walk_rad": 0.0}


def physics(world: dict[str, Any] | None = None, **changes: Any) -> MicrowaveRig:
    """The simulated room alone, opened and with a scale."""
    opened = rig(fidelity="physics", world={**QUIET, **(world or {})}, **changes)
    opened.open()
    opened.commission()
    opened.restart(0)
    return opened


def levels(layer, column):
    """Values that an input can carry, rising."""
    x = np.zeros((5000, layer.info.n_in))
    x[:, column] = np.linspace(0, 1, 5000)
    return np.unique(layer.quantise(x)[:, column])


def asked(opened, layer, x, dy):
    """The product from the responses to neighbouring levels, each measured as the next shot would be."""
    before, told, dx = layer.state(), layer.quantise(x), np.empty_like(x)

    def alone(row):
        layer.restore(before)
        return layer.forward(row[None])[0]

    for row, column in np.ndindex(*x.shape):
        values = levels(layer, column)
        level = int(np.searchsorted(values, told[row, column]))
        ends = values[min(level + 1, len(values) - 1)], values[max(level - 1, 0)]
        ys = []
        for value in ends:
            moved = told[row].copy()
            moved[column] = value
            ys.append(alone(moved))
        dx[row, column] = dy[row] @ (ys[0] - ys[1]) / (ends[0] - ends[1])
    layer.restore(before)
    return dx


def check(opened, layer=None, n=3, seed=0):
    """Compare for random drives, both ends of all inputs among them."""
    layer = layer or opened.layers[0]
    draw = np.random.default_rng(seed)
    x, dy = draw.random((n, layer.info.n_in)), draw.standard_normal((n, layer.info.n_out))
    x[0], x[1] = 0, 1
    state = layer.state()
    found = layer.vjp(x, dy)
    assert layer.state() == state  # it costs no shot
    expected = asked(opened, layer, x, dy)
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-9 * np.abs(expected).max())
    return expected


CODES = [
    ({"bits": 1}, 1),
    ({"bits": 2, "held": 1, "inputs": 4, "shuffle_seed": 3}, 1),
    ({"bits": 4}, 1),
    ({"kind": "thermometer", "bits": 4}, 1),
    ({"kind": "binary", "bits": 3}, 1),
    ({"kind": "base4", "bits": 4}, 1),
    ({"kind": "published", "bits": 2}, 1),
    ({"kind": "binary", "bits": [1, 3, 1, 4], "held_seed": 1}, 1),
    ({"bits": 4}, 2),
    ({"kind": "thermometer", "bits": 6}, 2),
    ({"kind": "base4", "bits": 4}, 2),
    ({"kind": "binary", "bits": 4, "held": 2, "inputs": 5}, 2),
]


@pytest.mark.parametrize(("code", "pixel_bits"), CODES)
def test_it_is_the_quotient_of_responses_to_neighbouring_levels(code, pixel_bits):
    with physics({"bits": pixel_bits}, code=code) as opened:
        assert check(opened, n=4).all()


def test_of_one_bit_it_is_what_the_pixel_does():
    with physics(code={"bits": 1}) as opened:
        (layer,) = opened.layers
        x = np.random.default_rng(1).integers(0, 2, (2, 12)).astype(float)
        on, off = x.copy(), x.copy()
        on[:, 5], off[:, 5] = 1, 0
        slope = (layer.forward(on) - layer.forward(off))[:, 2]
        dy = np.zeros((2, 5))
        dy[:, 2] = 1
        np.testing.assert_allclose(layer.vjp(x, dy)[:, 5], slope, rtol=1e-9)
        np.testing.assert_allclose(layer.vjp(0.4 * x + 0.3, dy), layer.vjp(x, dy))  # straight through the rounding


@pytest.mark.parametrize("readout", ["modulus", "complex"])
def test_of_several_s_parameters_in_a_room_that_was_disturbed(readout):
    world = {"antennas": 3, "drift_sine_db": 1.0, "drift_sine_rad": 1.0, "drift_period_shots": 40.0}
    vna = {"s_parameters": ["S21", "S11"]}
    with physics(world, readout=readout, vna=vna, code={"bits": 3}) as opened:
        still = check(opened)
        opened.layers[0].forward(np.zeros((11, 4)))
        for name, values in (
            ("pixels", {"pixels": [0, 4], "state": 1}),
            ("pixels", {"pixels": [4, 9, 10, 11], "state": 0}),
            ("ports", {"order": [1, 2, 0]}),
            ("antenna", {"antenna": 1, "db": -3.0}),
            ("cable", {"db": -1.0, "rad": 0.3}),
            ("temperature", {"kelvin": 20.0}),
            ("scatterer", {"scatterer": 1, "dx_m": 0.01, "dy_m": 0.0}),
        ):
            opened.disturb(name, **values)
        disturbed = check(opened)
        assert np.abs(disturbed - still).max() > 0.5
        assert not disturbed[:, 3].any()  # all three of its pixels are stuck


def test_every_layer_has_that_of_its_own_code():
    with physics(code={"bits": 1}, more_codes=[{"kind": "thermometer", "bits": 3}]) as opened:
        for layer in opened.layers:
            check(opened, layer)


def test_elements_that_make_one_pixel_move_together():
    with physics(
        {"pixels": 13}, code={"kind": "binary", "bits": 3}, metasurface={"n_pixels": 6, "group": [1, 2]}
    ) as opened:
        check(opened)


def test_many_drives_are_those_of_each_alone():
    with physics(code={"bits": 2}) as opened:
        (layer,) = opened.layers
        draw = np.random.default_rng(0)
        x, dy = draw.random((150, 6)), draw.standard_normal((150, 5))
        apart = [layer.vjp(x[i : i + 1], dy[i : i + 1])[0] for i in range(0, 150, 10)]
        np.testing.assert_allclose(layer.vjp(x, dy)[::10], apart, rtol=1e-10)
        assert layer.vjp(x[:0], dy[:0]).shape == (0, 6)


def test_noise_is_no_part_of_it():
    with physics() as quiet, rig(fidelity="physics") as noisy:
        noisy.commission()
        noisy.restart(0)
        kept = noisy.commission()
        for opened in (quiet, noisy):
            opened.adopt(kept)
            opened.restart(0)
        x, dy = np.random.default_rng(0).random((3, 6)), np.ones((3, 5))
        np.testing.assert_array_equal(noisy.layers[0].vjp(x, dy), quiet.layers[0].vjp(x, dy))


def test_instruments_have_none_even_if_emulated():
    with rig() as opened, pytest.raises(InputError) as error:
        opened.layers[0].vjp(np.empty((0, 6)), np.empty((0, 5)))
    assert str(error.value) == (
        "microwave: this layer cannot tell its derivative, only simulated physics can; set rig.fidelity: physics, or "
        "use a method that needs none, or one with a twin (training.twin)"
    )


def test_a_run_that_needs_it_can_be_planned_begun_and_gone_on_with(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "figures", lambda _: None)
    draw = np.random.default_rng(0)
    rows = "".join(f"{a},{b},{'pq'[int(a > 0.5)]}\n" for a, b in draw.random((30, 2)))
    (tmp_path / "table.csv").write_text("a,b,kind\n" + rows)
    values = {
        "rig": microwaves.settings(fidelity="physics"),
        "dataset": {"type": "csv", "path": "table.csv", "label": "kind", "features": ["a", "b"]},
        "network": {"layers": 2, "width": 6},
        "training": {"method": "backpropagation", "epochs": 2, "batch": 8},
        "trials": {"count": 1},
        "ablations": ["off", "random"],
    }
    loaded = loads(yaml.safe_dump(values), Experiment, tmp_path / "lab.yaml")
    assert jobs.plan(loaded)["shots_train"] > 0
    summary = jobs.train(loaded, tmp_path / "runs")  # commissioned only when all has been found to fit
    assert jobs.resume(summary["run"], ["training.epochs=3"])["shots_train"] > summary["shots_train"]


def test_what_does_not_fit_is_refused():
    with rig(fidelity="physics") as opened:
        (layer,) = opened.layers
        with pytest.raises(InstrumentError, match="its outputs have no scale yet"):
            layer.vjp(np.zeros((1, 6)), np.zeros((1, 5)))
        opened.commission()
        with pytest.raises(InputError) as error:
            layer.vjp(np.zeros((2, 6)), np.zeros((1, 5)))
        assert str(error.value) == "microwave: the vector of the product has shape (1, 5), needed (2, 5)"
        with pytest.raises(InputError, match=r"^microwave: drive of shot 0, input 2 is 1\.5, allowed 0 to 1"):
            layer.vjp([[0, 0, 1.5, 0, 0, 0]], np.zeros((1, 5)))

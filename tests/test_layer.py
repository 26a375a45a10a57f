"""The PhysicalLayer interface: what is refused before anything moves, and what wrappers keep."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labtrain.clock import SimulatedClock
from labtrain.errors import InputError
from labtrain.layer import Averaged, Recorded, Shots
from labtrain.ledger import Cost, Metered
from tests.worlds import Interference


@pytest.mark.parametrize(
    ("drive", "sentence"),
    [
        (np.zeros((2, 5)), "interference: drive has shape (2, 5), needed (shots, 6); check the width of the drive"),
        (np.zeros(6), "interference: drive has shape (6,), needed (shots, 6); check the width of the drive"),
        (
            np.where(np.eye(3, 6) > 0, 1.5, 0.5),
            "interference: drive of shot 0, input 0 is 1.5, allowed 0 to 1; map activations with a Drive first",
        ),
        (
            np.full((1, 6), np.nan),
            "interference: drive of shot 0, input 0 is nan, allowed 0 to 1; map activations with a Drive first",
        ),
    ],
)
def test_unfit_drives_are_refused_before_anything_moves(drive, sentence):
    layer = Interference()
    with pytest.raises(InputError) as caught:
        layer.measure(drive)  # at the call, not at the first chunk
    assert str(caught.value) == sentence
    assert layer.shot == 0


def test_text_is_refused():
    with pytest.raises(InputError, match=r"^interference: drive is not numeric"):
        Interference().forward([["a"] * 6])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 70), st.integers(1, 40))
def test_wrappers_change_no_answer(n, max_batch):
    x = np.random.default_rng(n).uniform(size=(n, 6))
    plain = Interference(max_batch=max_batch, noise=0.1).forward(x)
    log: list[Shots] = []
    wrapped = Metered(
        Recorded(Interference(max_batch=max_batch, noise=0.1), lambda name, shots, state: log.append(shots)),
        SimulatedClock(),
    )
    assert wrapped.forward(x).tobytes() == plain.tobytes()
    assert sum(len(shots) for shots in log) == n == wrapped.cost.shots
    assert wrapped.cost.configuration_writes == 2 * n
    assert wrapped.cost.settle_s == pytest.approx(0.15 * n)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 20), st.integers(1, 9))
def test_averaging_costs_repeats_and_tells_its_standard_error(n, repeats):
    x = np.random.default_rng(n).uniform(size=(n, 6))
    inner = Interference(noise=0.1)
    chunks = list(Averaged(inner, repeats).measure(x))
    y = np.concatenate([shots.y for shots in chunks])
    readings = Interference(noise=0.1).forward(np.repeat(x, repeats, axis=0)).reshape(n, repeats, -1)
    assert inner.shot == n * repeats
    assert y == pytest.approx(readings.mean(axis=1))
    assert np.concatenate([shots.attempts for shots in chunks]).tolist() == [repeats] * n
    if repeats > 1:
        sigma = np.concatenate([shots.sigma for shots in chunks])
        assert sigma == pytest.approx(readings.std(axis=1, ddof=1) / np.sqrt(repeats))


def test_averaging_less_than_once_is_refused():
    with pytest.raises(InputError, match=r"asked 0 repeats, allowed 1 or more; set rig\.repeats$"):
        Averaged(Interference(), 0)


def test_a_replayed_chunk_is_not_measured_again():
    x = np.random.default_rng(0).uniform(size=(50, 6))
    log: list[tuple[Shots, dict]] = []
    whole = Recorded(Interference(noise=0.1, max_batch=16), lambda name, shots, state: log.append((shots, state)))
    answers = whole.forward(x)

    kept, inner = log[:2], Interference(noise=0.1, max_batch=16)
    measured: list[Shots] = []
    resumed = Recorded(inner, lambda name, shots, state: measured.append(shots), lambda name, drives: iter(kept))
    assert resumed.forward(x).tobytes() == answers.tobytes()
    assert sum(len(shots) for shots in measured) == 50 - 32
    assert inner.shot == 50


def test_costs_add_up():
    assert Cost(shots=3, settle_s=1.0) + Cost(shots=2) - Cost(settle_s=0.5) == Cost(shots=5, settle_s=0.5)


def test_most_layers_have_no_parameters_and_wrappers_pass_them_on():
    layer = Averaged(Interference(), 2)
    assert layer.parameters.shape == (0,)
    layer.set_parameters([])
    with pytest.raises(InputError) as caught:
        layer.set_parameters([1, 0])
    assert str(caught.value) == "interference: asked 2 parameters, this layer has none"

"""Work done part by part: the same numbers as all at once, shot for shot, and no table of float64 rows on the way."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from labtrain import compact
from labtrain.clock import SimulatedClock
from labtrain.compact import CompactRows
from labtrain.config import loads
from labtrain.datasets import Split, Table
from labtrain.encoding import Drive
from labtrain.errors import InputError
from labtrain.experiment import Experiment
from labtrain.layer import Layer, LayerInfo, Shots
from labtrain.network import DriveConfig, EncodingConfig, NetworkConfig, build
from labtrain.trial import Trial
from tests.worlds import Interference

CONFIG = """
rig: {{type: acoustic, fidelity: physics}}
dataset: {{type: parity}}
encoding: {{scaling: {scaling}, label: overlay}}
network: {{layers: 2, width: 5, drive: {{map: affine, mix: {mix}, clip: {clip}}}}}
training: {training}
"""
SMALL = 40  # numbers at once
TRAINING = {
    "augmented-dfa": "{method: augmented-dfa, epochs: 2, batch: 7}",
    "spsa": "{method: spsa, epochs: 2, batch: 7, first_block: always}",
    "mono-forward": "{method: mono-forward, epochs: 3}",
    "phyll": "{method: phyll, epochs: 3}",
}


def experiment(method: str, scaling: str = "minmax", mix: str = "false", clip: float = 0.0) -> Experiment:
    text = CONFIG.format(training=TRAINING[method], scaling=scaling, mix=mix, clip=clip)
    return loads(text, Experiment, "streaming.yaml").value


def table(n: int = 60, d: int = 6) -> Table:
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 3
    pixels = np.clip(40 * labels[:, None] + rng.integers(0, 90, (n, d)), 0, 255).astype(np.uint8)
    return Table(CompactRows(pixels, 255.0), labels, ("a", "b", "c"), tuple("uvwxyz"[:d]), None, "made")


def plain(found: Table) -> Table:
    return Table(np.asarray(found.features), found.labels, found.classes, found.feature_names, None, "made")


def trained(what: Experiment, data: Table, n: int = 60) -> tuple[Trial, np.ndarray]:
    order = np.random.default_rng(3).permutation(n)
    parts = Split(order[: n // 2], order[n // 2 : 3 * n // 4], order[3 * n // 4 :])
    trial = Trial(what, data, parts, [Interference(noise=0.0)], 4, SimulatedClock()).fit()
    return trial, trial.test().scores


@pytest.mark.parametrize("method", TRAINING)
@pytest.mark.parametrize(("mix", "clip"), [("false", 0.0), ("true", 0.1)])
def test_a_trial_in_parts_is_the_trial_at_once(
    method: str, mix: str, clip: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    what = experiment(method, mix=mix, clip=clip)
    once, expected = trained(what, plain(table()))
    monkeypatch.setattr(compact, "PART", SMALL)
    parts, scores = trained(what, table())
    np.testing.assert_allclose(scores, expected, rtol=1e-9, atol=1e-12)
    assert parts.cost.shots == once.cost.shots
    assert parts.history[-1].accuracy == once.history[-1].accuracy


@pytest.mark.parametrize("scaling", ["minmax", "none", "standard"])
def test_compact_rows_train_as_float64_rows_do(scaling: str) -> None:
    what = experiment("augmented-dfa", scaling)
    _, expected = trained(what, plain(table()))
    _, scores = trained(what, table())
    np.testing.assert_allclose(scores, expected, rtol=1e-9)
    if scaling != "standard":  # whose sums are rounded in another order
        assert np.array_equal(scores, expected)


def test_candidates_are_measured_in_the_same_order_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(1).random((30, 3, 6))

    def measured() -> tuple[np.ndarray, np.ndarray]:
        layer = Interference(noise=0.1)
        net = build(
            NetworkConfig(layers=1, drive=DriveConfig()), EncodingConfig(label="overlay"), [layer],
            rows=x[:, 0], classes=["a", "b"], feature_names=list("uvwxyz"), seed=0,
        )  # fmt: skip
        rng = np.random.default_rng(5)
        y = np.stack([net.blocks[0].learn(x, rng), net.blocks[0].measure(x, rng)])
        return y, net.blocks[0].drive.high

    (y, high) = measured()
    monkeypatch.setattr(compact, "PART", SMALL)
    (again, same) = measured()
    assert np.array_equal(y, again)  # noise included: each shot has its own
    assert np.array_equal(high, same)


def test_the_ranges_of_a_drive_come_from_all_parts() -> None:
    x = np.random.default_rng(2).standard_normal((20, 3))
    for clip in (0.0, 0.1):
        whole = Drive("affine", 3, range(3), clip=clip).fit(x)
        parts = Drive("affine", 3, range(3), clip=clip).fit_in_parts([x[:7], x[7:8], x[8:]])
        assert np.array_equal(whole.low, parts.low)
        assert np.array_equal(whole.high, parts.high)


class Counter(Layer):
    """Answers with the sum of each drive; three outputs."""

    name = "counter"

    @property
    def info(self) -> LayerInfo:
        return LayerInfo(784, 3, 0.0, 512, "1", "counter", True)

    def _measure(self, x):
        for start in range(0, len(x), 512):
            part = x[start : start + 512]
            y = part.reshape(len(part), -1, 7).sum(axis=1)[:, :3]
            yield Shots(part, y, None, np.ones(len(part), dtype=np.int64), 0.0)


def test_an_epoch_over_images_never_holds_them_as_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    n, d = 3_000, 784
    monkeypatch.setattr(compact, "PART", 2**17)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, n)
    pixels = rng.integers(0, 200, (n, d), dtype=np.uint8) + (labels[:, None] * 20).astype(np.uint8)
    data = Table(CompactRows(pixels, 255.0), labels, ("a", "b", "c"), tuple(map(str, range(d))), None, "made")
    order = rng.permutation(n)
    parts = Split(order[:2_500], order[:0], order[2_500:])
    text = CONFIG.format(
        training="{method: augmented-dfa, epochs: 1, batch: 100}", scaling="none", mix="false", clip=0.0
    )
    what = loads(text, Experiment, "streaming.yaml").value
    tracemalloc.start()
    try:
        trial = Trial(what, data, parts, [Counter()], 0, SimulatedClock(), remember=False).fit()
        trial.test()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2_500 * d * 8 / 2  # of which the largest part is 1 MB


def test_ablations_that_need_the_shots_are_refused_where_they_were_not_kept() -> None:
    what = experiment("augmented-dfa")
    data, order = table(), np.arange(60)
    parts = Split(order[::2], order[:0], order[1::2])
    trial = Trial(what, data, parts, [Interference(noise=0.0)], 4, SimulatedClock(), remember=False).fit()
    trial.test()
    assert trial.layers[0].memory == []
    assert 0.0 <= trial.ablation("off") <= 1.0
    with pytest.raises(InputError) as caught:
        trial.ablation("shuffled")
    assert str(caught.value) == (
        "ablation shuffled needs the shots of the trial, which were not kept; name it in ablations"
    )

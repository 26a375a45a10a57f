"""NanoVNAs and a LibreVNA in the microwave rig: the room as they read it, here and from another process."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from labtrain import experiment
from labtrain.config import dump, loads
from labtrain.drivers.emulators.faults import parse_fault
from labtrain.drivers.emulators.serving import server as serve
from labtrain.emulate import Serving, emulate
from labtrain.experiment import Experiment
from labtrain.jobs import open_rig

MICROWAVE = Path(__file__).parents[2] / "config" / "microwave.yaml"
DIGITS = {"nanovna": 1e-6, "nanovna-v2": 1e-6, "librevna": 1e-4}  # of what they write, on a modulus near 1
FAULTS = {
    "nanovna": ["vna: no reply at 12 of SCAN", "vna: garbage at 20 of SCAN"],
    "nanovna-v2": ["vna: truncated at 12 of \x180", "vna: garbage at 20 of \x180"],
    "librevna": ["vna: no reply at 12 of DATA", "vna: disconnect at 20 of DATA"],
}
X = np.random.default_rng(5).random((10, 14))


def small(driver: str, *options: str) -> str:
    """A configuration with this analyser, within its frequencies."""
    options = (
        f"rig.vna={{driver: {driver}, address: sim, timeout_s: 1, averages: 2}}",
        "rig.world.f0_hz=2.4e9", "rig.frequencies_hz={start: 2.3e9, stop: 2.5e9, points: 5}",
        "rig.commission={patterns: 12, repeats: 2}",
        "rig.recovery.pause_s=0", "rig.metasurface.timeout_s=0.2", "rig.metasurface.verify=every", *options,
    )  # fmt: skip
    return dump(experiment.load(MICROWAVE, list(options)).value)


def responses(config: str) -> np.ndarray:
    with open_rig(loads(config, Experiment).value) as rig:
        rig.commission()
        rig.restart(3)
        return rig.layers[0].forward(X)


@contextmanager
def served(config: str, faults: list[str]) -> Iterator[str]:
    """The config that uses what is served in another thread."""
    told: queue.Queue[Serving] = queue.Queue()
    stop = threading.Event()

    def work() -> None:
        emulate(
            loads(config, Experiment), told.put, faults=[parse_fault(fault) for fault in faults], stopped=stop.is_set
        )

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield told.get(timeout=30).config
    finally:
        stop.set()
        thread.join(10)


@pytest.mark.parametrize("driver", DIGITS)
def test_the_room_alone_answers_as_through_the_analyser(driver: str) -> None:
    through, alone = (
        responses(small(driver, "rig.vna.averages=1", f"rig.fidelity={f}")) for f in ("instruments", "physics")
    )
    np.testing.assert_allclose(through, alone, rtol=0, atol=DIGITS[driver])
    assert np.abs(alone).max() > 0.5


@pytest.mark.skipif(sys.platform != "linux", reason="needs pseudo-terminals")
@pytest.mark.parametrize("driver", DIGITS)
def test_from_another_process_it_reads_the_same_bit_for_bit_whatever_goes_wrong(
    driver: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(serve, "POLL_S", 0.01)
    with served(small(driver), FAULTS[driver]) as config:
        assert responses(config).tobytes() == responses(small(driver)).tobytes()
    assert len([record for record in caplog.messages if "is repeated" in record]) >= len(FAULTS[driver])

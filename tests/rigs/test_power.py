"""Joules of a rig: from a meter that may fail, into the costs of each trial and the summary of a run."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from labtrain import recording
from labtrain.cli import app
from labtrain.clock import RealClock, SimulatedClock
from labtrain.config import loads
from labtrain.drivers.emulators.sensors import ScpiPowerMeterEmulator
from labtrain.errors import ConfigError, InputError
from labtrain.experiment import Experiment
from labtrain.ledger import Metered
from labtrain.riglock import InstrumentLock
from labtrain.rigs.power import AGAIN_S, RigPower
from labtrain.runs import Run
from labtrain.trainer import summarise
from tests.drivers.sensors.sensing import Bench, Numbers
from tests.drivers.servers import tcp_server
from tests.drivers.wires import silent
from tests.test_controls import Interference

ROOT = Path(__file__).parents[2]
PARITY = ROOT / "config" / "microwave-parity.yaml"
SMALL = ["trials.count=2", "dataset.rows=60", "ablations=[]"]


def power(**config: Any) -> tuple[Bench, RigPower]:
    bench = Bench("scpi-power-meter", **config).opened()
    return bench, RigPower(bench.driver, bench.clock)


def test_joules_since_the_last_call() -> None:
    bench, rig_power = power()
    bench.clock.sleep(100.0)
    assert rig_power.since() == 0.0
    bench.clock.sleep(4.0)
    assert rig_power.since() == pytest.approx(50.0)
    bench.clock.sleep(2.0)
    assert rig_power.since() == pytest.approx(25.0)
    assert rig_power.kind == "emulated"


def test_a_meter_that_fails_costs_a_warning_and_the_gap_is_bridged(caplog: pytest.LogCaptureFixture) -> None:
    bench, rig_power = power()
    rig_power.since()
    bench.clock.sleep(4.0)
    bench.wire.spoils = [silent] * 8
    with caplog.at_level(logging.WARNING, "labtrain"):
        assert rig_power.since() == 0.0
        failed_s = bench.clock.monotonic()
        bench.wire.spoils = []
        asked = len(bench.wire.heard)
        bench.clock.sleep(AGAIN_S / 2)
        assert rig_power.since() == 0.0  # not every chunk of shots waits for a meter that is switched off
    assert len(bench.wire.heard) == asked
    (record,) = caplog.records
    assert record.getMessage().startswith("meter (sim): asked 'MEAS:POW?'")
    assert record.getMessage().endswith("; joules are missing until it answers again")
    bench.clock.sleep(AGAIN_S)
    assert bench.clock.monotonic() - failed_s > AGAIN_S
    assert rig_power.since() == pytest.approx(12.5 * bench.clock.monotonic())


def test_chunks_of_shots_are_charged() -> None:
    clock = SimulatedClock()
    layer = Metered(Interference(noise=0.0), clock, energy_j=iter([3.0, 4.0]).__next__)
    for _ in range(2):
        layer.forward([[0.0] * layer.info.n_in])
    assert layer.cost.energy_j == 7.0
    assert Metered(Interference(noise=0.0), clock).cost.energy_j == 0.0


def test_summaries_of_older_runs_have_no_joules() -> None:
    cost = {"shots": 1}
    trial = {
        "seed": 0, "accuracy": 1.0, "confusion": [[1]], "ablations": {}, "test_values_held_at_border": 0,
        "drive_clipped_share": [0.0], "train_cost": cost, "test_cost": cost,
    }  # fmt: skip
    assert summarise(["a"], [trial])["energy_j"] is None
    cost |= {"energy_j": 2.5}
    assert summarise(["a"], [trial | {"energy": "measured"}])["energy_j"] == {"measured": 5.0}


def test_a_run_with_a_power_meter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    emulator = ScpiPowerMeterEmulator(Numbers(power_w=1e6), RealClock())
    with tcp_server(emulator) as server:  # type: ignore[arg-type]
        meter = f"rig.power_meter={{driver: scpi-power-meter, address: 'tcp://127.0.0.1:{server.port}', timeout_s: 60}}"
        options = [part for setting in (*SMALL, meter) for part in ("--set", setting)]
        done = CliRunner().invoke(app, ["train", str(PARITY), *options, "--json", "--trace-io", "bytes.txt"])
        assert done.exit_code == 0, done.exception
    summary = json.loads(done.stdout.splitlines()[-1])
    joules = summary["energy_j"]["emulated"]
    assert joules == pytest.approx(summary["cost"]["energy_j"])
    # A million watts, from the beginning of each trial to its last shots: physics, and no more than all of it.
    assert 0.5e6 * summary["seconds_physics"] < joules < 1e6 * summary["seconds"]
    assert " power_meter > b'MEAS:POW?" in (tmp_path / "bytes.txt").read_text()
    with Run.open(Path(summary["run"]), write=False, clock=RealClock()) as run:
        told = run.provenance["rig"]["power_meter"]
    assert (told["kind"], told["driver"], told["identity"]) == ("emulated", "scpi-power-meter", emulator.identity)
    assert told["settings"] == {"power_w": "MEAS:POW?"}
    with InstrumentLock("x", "y", RealClock(), canonical=f"tcp://127.0.0.1:{server.port}"):
        pass  # let go of


def test_a_recording_keeps_its_joules_and_goes_on_with_them(tmp_path: Path) -> None:
    (tmp_path / "rig.yaml").write_text(PARITY.read_text().partition("dataset:")[0], encoding="utf-8")
    emulator = ScpiPowerMeterEmulator(Numbers(power_w=1e6), RealClock())
    with tcp_server(emulator) as server:  # type: ignore[arg-type]
        meter = f"rig.power_meter={{driver: scpi-power-meter, address: 'tcp://127.0.0.1:{server.port}', timeout_s: 60}}"
        overrides = [meter, "rig.watts=1e6", "record.shots=300"]
        found = recording.record(recording.load(tmp_path / "rig.yaml", overrides), tmp_path / "runs")
        again = recording.resume(found["run"], ["record.shots=400"])
    assert 0 < found["energy_j"]["emulated"] < 1e6 * found["seconds"]
    assert 0 < again["energy_j"]["emulated"] - found["energy_j"]["emulated"] < 1e6 * again["seconds"]
    assert again["energy_j"]["estimated"] == pytest.approx(found["energy_j"]["estimated"] * 4 / 3)


@pytest.mark.parametrize(
    ("section", "told"),
    [
        (
            "{driver: scpi-power-meter}",
            ": address is sim, and a simulated rig draws no power; give the meter's, or leave it out",
        ),
        ("{driver: scpi-sensor, address: COM3}", ": scpi-sensor is no driver of a power meter; take one of scpi-"),
        ("{driver: scpi-powr-meter}", "unknown driver 'scpi-powr-meter' (did you mean scpi-power-meter?)"),
    ],
)
def test_what_is_no_power_meter(section: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loads(PARITY.read_text(), Experiment, PARITY, [f"rig.power_meter={section}"])
    assert told in str(caught.value)


def test_a_rig_without_instruments_draws_no_power(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    meter = "rig.power_meter={driver: scpi-power-meter, address: COM3}"
    done = CliRunner().invoke(app, ["train", str(ROOT / "config" / "acoustic.yaml"), "--set", meter])
    assert isinstance(done.exception, InputError)
    assert str(done.exception) == (
        "rig.power_meter: this rig has no instruments that would draw power; leave it out (--set rig.power_meter)"
    )
    assert not (tmp_path / "runs").exists()

"""The cost ledger: what a shot takes on each rig, joules measured and estimated, sums over trials, resumes and all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labtrain import compared, experiment, inference, jobs, recording
from labtrain.clock import SimulatedClock
from labtrain.compare_report import comparison_table
from labtrain.config import loads
from labtrain.errors import ConfigError, InputError
from labtrain.events import ShotsArrived, TrialStarted
from labtrain.experiment import Experiment
from labtrain.formatting import short
from labtrain.layer import Layer, LayerInfo, Shots
from labtrain.ledger import Cost, Metered, Work, rig_joules
from labtrain.report import plan_table, recording_table, summary_table
from labtrain.rigs.acoustic import AcousticRig
from labtrain.rigs.recorded import RecordedRig
from labtrain.rigs.rig import Rig, RigConfig
from labtrain.trainer import summarise
from tests.rigs import microwaves
from tests.rigs.rooms import DRIVE, SmallRig
from tests.test_report import text, words
from tests.worlds import Interference

PARITY = Path(__file__).parents[1] / "config" / "microwave-parity.yaml"
# Two blocks of PhyLL on a room of 5 inputs and 4 points, without instruments.
SMALL = """
rig:
  type: microwave
  fidelity: physics
  frequencies_hz: {start: 5.15e9, stop: 5.875e9, points: 4}
  code: {bits: 1, inputs: 5}
  vna: {driver: keysight-pna, address: sim, if_bandwidth_hz: 500, averages: 3}
  metasurface: {driver: open-source-ris, address: sim, n_pixels: 12}
  watts: {vna: 55, metasurface: 2.5}
dataset: {type: parity, rows: 24, bits: 2, of: [0, 1]}
network: {layers: 2, width: 5}
training: {method: phyll, epochs: 2, inner: 3, measured_negatives: 1, score_every: 5}
trials: {count: 2}
ablations: [off]
run: {checkpoint_s: 0, computer_watts: 30}
"""
COUNTED = ("shots", "configuration_writes", "converter_samples", "settle_s", "integration_s", "energy_estimated_j",
           "multiply_adds", "multiply_adds_forward", "multiply_adds_update", "multiply_adds_twin")  # fmt: skip


# --- what a shot takes ------------------------------------------------------------------------------------------------


def test_samples_of_a_shot_in_the_simulated_cavity() -> None:
    config = AcousticRig.Config(
        type="acoustic", speakers=2, microphones=3, membranes=1, discs=0, tone_bins=(12, 14, 20), settle_periods=5,
        average_periods=2, period_frames=2048,
    )  # fmt: skip
    with AcousticRig(config, SimulatedClock()) as rig:
        assert rig.layers[0].info.samples_per_shot == (5 + 2) * 2048 * (2 + 3)


@pytest.mark.parametrize(("loopback", "channels"), [(True, 2 + 2 + 2), (False, 2 + 2)])
def test_samples_of_a_shot_through_a_converter(loopback: bool, channels: int) -> None:
    audio = {} if loopback else {"loopback": None}
    with SmallRig(audio, shot={"guard_periods": 3}) as rig:
        assert rig.layer.info.samples_per_shot == (4 + 2 + 3) * 512 * channels


def test_a_shot_more_is_that_much_more_that_is_played(monkeypatch: pytest.MonkeyPatch) -> None:
    with SmallRig() as rig:
        rig.ready()
        frames, play = [], rig.layer.protocol.sound.play
        monkeypatch.setattr(
            rig.layer.protocol.sound, "play", lambda out, mark=None: (frames.append(len(out)), play(out, mark))[1]
        )
        for shots in (2, 3):
            rig.layer.forward(DRIVE[:shots])
        assert (frames[1] - frames[0]) * (2 + 2 + 2) == rig.layer.info.samples_per_shot


@pytest.mark.parametrize("fidelity", ["physics", "instruments"])
@pytest.mark.parametrize(
    ("asked", "waves"),
    [(["S21"], 2), (["S11", "S21"], 3), (["S21", "S12"], 4), (["S11", "S21", "S12", "S22"], 6)],
)
def test_samples_of_a_shot_of_a_network_analyser(fidelity: str, asked: list[str], waves: int) -> None:
    vna = {"s_parameters": asked, "averages": 4}
    with microwaves.rig(vna=vna, fidelity=fidelity) as rig:
        assert rig.layers[0].info.samples_per_shot == 2 * waves * 5 * 4  # real and imaginary, points, averages


def test_a_recorded_rig_does_not_know_its_samples(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((60, 3))
    np.savez(tmp_path / "pairs.npz", x=x, y=np.abs(x @ np.ones((3, 2))))
    config = RecordedRig.Config(type="recorded", pairs=tmp_path / "pairs.npz", held_out_rows=10, watts=4)
    with RecordedRig(config, SimulatedClock()) as rig:
        layer = Metered(rig.layers[0], SimulatedClock(), watts=config.total_watts)
        layer.forward(x[:8])
    assert (layer.cost.shots, layer.cost.converter_samples) == (8, 0)
    assert layer.cost.energy_estimated_j == 8 * 0.25 * 4  # rig.seconds_per_shot


# --- joules -----------------------------------------------------------------------------------------------------------


class Twice(Interference):
    """Every shot takes two attempts."""

    def _measure(self, x):
        for shots in super()._measure(x):
            yield Shots(shots.x, shots.y, None, 2 * shots.attempts, 0.0)


def test_joules_are_estimated_for_every_attempt_and_kept_apart_from_a_meter_s() -> None:
    layer = Metered(Twice(), SimulatedClock(), energy_j=iter([3.0, 4.0]).__next__, watts=40.0)
    for _ in range(2):
        layer.forward(np.zeros((5, 6)))
    assert (layer.cost.shots, layer.cost.energy_j) == (20, 7.0)
    assert layer.cost.energy_estimated_j == 20 * 0.25 * 40
    assert Metered(Twice(), SimulatedClock()).cost == Cost()


def test_kinds_of_joules_are_never_added() -> None:
    def trial(kind: str | None, energy_j: float, estimated_j: float) -> dict[str, Any]:
        cost = Cost(energy_j=energy_j, energy_estimated_j=estimated_j).as_dict()
        return {"energy": kind, "train_cost": cost, "test_cost": cost}

    trials = [trial("emulated", 1.0, 0.0), trial("measured", 10.0, 100.0), trial(None, 0.0, 200.0)]
    found = rig_joules(trials)
    assert found == {"measured": 20.0, "emulated": 2.0, "estimated": 600.0}
    assert list(found) == ["measured", "emulated", "estimated"]  # the best known first
    assert rig_joules([trial(None, 0.0, 0.0)]) == {}


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("rig.watts=-3", "-3 is not allowed, must be greater than 0"),
        ("rig.watts=much", "'much' is not allowed, must be a number"),
        ("rig.watts={vna: 0}", "rig.watts.vna: 0 is not allowed, must be greater than 0"),
        ("rig.watts={}", "names no part; give parts with their watts, one number for all, or leave it out"),
        (
            "rig.watts={vna: 55, metasurfaces: 2}",
            "rig.watts.metasurfaces: this rig has no such part, known: vna, metasurface, amplifier, other "
            "(did you mean metasurface?)",
        ),
        ("rig.watts=1e308", "1e+308 is not allowed, must be at most 1000000000"),
        ("run.computer_watts=1e308", "1e+308 is not allowed, must be at most 1000000000"),
        ("run.computer_watts=0", "0 is not allowed, must be greater than 0"),
    ],
)
def test_watts_that_are_none(setting: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loads(PARITY.read_text(), Experiment, PARITY, [setting])
    assert str(caught.value) == f"--set {setting}: {told}"


def test_a_part_that_a_rig_does_not_have_is_refused_with_its_line() -> None:
    toy = "rig:\n  type: {}\n{}dataset: {{type: parity}}\ntraining: {{method: phyll}}\n"
    for kind, more, told in (
        ("acoustic", "", ["toy.yaml:5: rig.watts.vna: this rig has no such part, known: audio, amplifiers, other"]),
        (
            "optical",
            "",
            ["toy.yaml:5: rig.watts.vna: this rig has no such part, known: laser, modulator, camera, other"],
        ),
        ("recorded", "  pairs: pairs.npz\n", []),  # of whichever rig it was recorded on
    ):
        try:
            loads(toy.format(kind, more + "  watts:\n    other: 2\n    vna: 55\n"), Experiment, "toy.yaml")
            found = []
        except ConfigError as error:
            found = str(error).splitlines()
        assert found == told


@pytest.mark.parametrize(("watts", "total"), [("57.5", 57.5), ("{vna: 55, metasurface: 2.5}", 57.5), ("null", 0.0)])
def test_watts_of_parts_are_added(watts: str, total: float) -> None:
    assert loads(PARITY.read_text(), Experiment, PARITY, [f"rig.watts={watts}"]).value.rig.total_watts == total


class Echo(Layer):
    info = LayerInfo(2, 2, 0.0, 4, "1", "echo", True)

    def _measure(self, x):
        yield Shots(x, x, None, np.ones(len(x), dtype=np.int64), 0.0)


class EchoRig(Rig):
    Config = RigConfig

    def open(self) -> None:
        self.layers = (Echo(),)

    def provenance(self) -> dict[str, Any]:
        return {}


def test_a_rig_without_a_time_per_shot_has_no_joules_to_estimate() -> None:
    with pytest.raises(InputError) as caught, EchoRig(RigConfig(watts=3), SimulatedClock()):
        pass
    told = "rig.watts: this rig states no time per shot, so its joules are not known; leave it out"
    assert str(caught.value) == told


# --- runs -------------------------------------------------------------------------------------------------------------


class Broken(Exception):
    """Stands for whatever broke a training off."""


def trained(folder: Path, share: float | None = None, *overrides: str) -> Path:
    """The run folder of SMALL, broken off after a share of its second trial and resumed, if asked for."""
    (folder / "small.yaml").write_text(SMALL, encoding="utf-8")
    loaded, runs = experiment.load(folder / "small.yaml", overrides), folder / f"runs-{share}"

    def breaks(event: Any) -> None:
        if isinstance(event, TrialStarted):
            breaks.index, breaks.planned = event.index, event.planned_shots
        if isinstance(event, ShotsArrived) and breaks.index == 1 and event.trial_shots > share * breaks.planned:
            raise Broken

    if share is None:
        return Path(jobs.train(loaded, runs)["run"])
    with pytest.raises(Broken):
        jobs.train(loaded, runs, [breaks])
    (run,) = runs.iterdir()
    jobs.resume(run)
    return run


def told(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "figures", lambda _: None)
        return trained(tmp_path_factory.mktemp("whole"))


@pytest.fixture(autouse=True)
def _no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "figures", lambda _: None)


def test_a_run_by_hand(whole: Path) -> None:
    summary, cost = told(whole), told(whole)["cost"]
    # 24 rows, a fifth of them to test: 19 with their own label and a wrong one in two blocks, 5 with both of 2 labels.
    assert (summary["shots_train"], summary["shots_test"]) == (2 * 19 * 2 * 2, 2 * 5 * 2 * 2)
    shots = 2 * (19 + 5) * 2 * 2
    assert cost["shots"] == cost["configuration_writes"] == shots
    assert cost["converter_samples"] == shots * 2 * 2 * 4 * 3  # real and imaginary, two waves, points, averages
    assert cost["integration_s"] == pytest.approx(shots * 4 / 500 * 3)
    with jobs.open_rig(experiment.load(whole.parents[1] / "small.yaml").value) as rig:
        each_s = rig.layers[0].info.seconds_per_shot
    assert summary["energy_j"] == {"estimated": pytest.approx(shots * each_s * 57.5)}
    assert summary["energy_digital_j"] == {"estimated": pytest.approx(30 * summary["seconds_digital"])}
    assert cost["energy_j"] == 0.0
    assert "energy told" not in words(summary_table(summary))


def test_multiply_adds_of_a_run_by_hand(whole: Path) -> None:
    cost = told(whole)["cost"]
    # W of the first block sees 4 responses and 4 activations (2 features, 2 label slots), that of the second 4 and 5.
    first, second = 5 * (4 + 4), 5 * (4 + 5)
    updates = 2 * 3 * 2 * 19 * (first + second)  # epochs, inner, both passes of each row
    onward = 2 * 19 * first  # what the first block hands to the second
    scored = 2 * 19 * first + 2 * 19 * (first + second)  # accuracies when each block is finished
    tested = 2 * 5 * (first + second)
    assert cost["multiply_adds_update"] == 2 * updates
    assert cost["multiply_adds_forward"] == 2 * (updates + onward + scored + tested)
    assert cost["multiply_adds_twin"] == 0
    assert cost["multiply_adds"] == cost["multiply_adds_forward"] + cost["multiply_adds_update"]


@pytest.mark.parametrize("share", [0.3, 0.95])
def test_a_run_that_was_broken_off_cost_as_much(whole: Path, tmp_path: Path, share: float) -> None:
    resumed = told(trained(tmp_path, share))
    assert {key: resumed["cost"][key] for key in COUNTED} == {
        key: pytest.approx(told(whole)["cost"][key]) for key in COUNTED
    }


def test_going_on_and_evaluating_add_what_they_cost_and_nothing_else(tmp_path: Path) -> None:
    run = trained(tmp_path)
    once = told(run)["cost"]
    inference.evaluate(run)
    assert told(run)["cost"] == once
    jobs.resume(run, ["training.epochs=3"])
    cost = told(run)["cost"]
    # The second block and the test rows are measured once more; the first block keeps its responses.
    more = 2 * (19 * 2 + 5 * 2 * 2)
    assert cost["shots"] == once["shots"] + more
    for key in ("converter_samples", "energy_estimated_j"):
        assert cost[key] / cost["shots"] == pytest.approx(once[key] / once["shots"])
    assert cost["multiply_adds_update"] == once["multiply_adds_update"] * 3 / 2
    assert cost["energy_digital_j"] == pytest.approx(30 * cost["seconds_digital"])


def test_a_plan_tells_joules(whole: Path) -> None:
    loaded = experiment.load(whole.parents[1] / "small.yaml")
    plan = jobs.plan(loaded)
    assert plan["energy_j"] == {"estimated": pytest.approx(plan["seconds_on_rig"] * 57.5)}
    # Commissioning is planned too, and no cost of a trial.
    planned = plan["energy_j"]["estimated"] * (1 - plan["shots_commission"] / (192 + plan["shots_commission"]))
    assert planned == pytest.approx(told(whole)["energy_j"]["estimated"])
    told_of = "J estimated, of the rig while it measures; pauses and computer come on top"
    assert f"energy, at most {short(plan['energy_j']['estimated'])} {told_of}" in words(plan_table(plan))
    assert jobs.plan(experiment.load(loaded.source, ["rig.watts=null"]))["energy_j"] is None


def test_a_resume_may_not_change_the_watts(whole: Path) -> None:
    with pytest.raises(InputError, match=r"rig.watts.vna: 55.0 -> 54.0"):
        jobs.resume(whole, ["rig.watts={vna: 54, metasurface: 2.5}"])


# --- what older runs hold ---------------------------------------------------------------------------------------------


def test_results_of_older_runs_are_read() -> None:
    old = {"shots": 10, "configuration_writes": 10, "settle_s": 0.5, "integration_s": 1.0, "multiply_adds": 700,
           "seconds_physics": 1.0, "seconds_digital": 2.0}  # fmt: skip
    trial = {
        "seed": 0, "accuracy": 1.0, "confusion": [[1]], "ablations": {}, "test_values_held_at_border": 0,
        "drive_clipped_share": [0.0], "train_cost": old, "test_cost": old,
    }  # fmt: skip
    summary = summarise(["a"], [trial])
    assert (summary["energy_j"], summary["energy_digital_j"], summary["twins"]) == (None, None, [])
    assert summary["cost"]["converter_samples"] == 0
    shown = words(summary_table(summary))
    assert "multiply-adds 1.4k in all" in shown
    assert "energy" not in shown


def test_summaries_of_older_runs_are_shown() -> None:
    cost = Cost(shots=3).as_dict()
    trial = {
        "seed": 0, "accuracy": 1.0, "confusion": [[1]], "ablations": {}, "test_values_held_at_border": 0,
        "drive_clipped_share": [0.0], "train_cost": cost, "test_cost": cost,
    }  # fmt: skip
    summary = summarise(["a"], [trial])
    for key in ("cost", "energy_j", "energy_digital_j", "twins"):
        del summary[key]
    assert "shots 3 training, 3 test" in words(summary_table(summary))


def test_work_that_is_one_number_is_not_told_apart() -> None:
    assert Work(forward=1) + 5 == Work(forward=1, untold=5)
    assert Work.of(Work(1, 2, 3, 4).as_dict()) == Work(1, 2, 3, 4)
    cost = Cost.of_work(Work.of(5), 0.5, 20.0)
    assert (cost.multiply_adds, cost.multiply_adds_forward, cost.multiply_adds_update) == (5, 0, 0)
    assert cost.energy_digital_j == 10.0


# --- what is shown ----------------------------------------------------------------------------------------------------


def test_the_table_of_a_run_tells_the_ledger(whole: Path) -> None:
    summary = told(whole)
    summary["cost"] |= {"multiply_adds_forward": 1_234_000, "multiply_adds_update": 600, "multiply_adds_twin": 70,
                        "multiply_adds": 2_000_000, "settle_s": 3.0, "integration_s": 70.0}  # fmt: skip
    summary["energy_j"] = {"measured": 12_345.0, "estimated": 11_000.0}
    summary["energy_digital_j"] = {"estimated": 0.25}
    fit = {"rows": 8500, "multiply_adds": 1_100_000_000, "cpu_s": 0.1314}
    summary["twins"] = [{"file": "/x/one.npz", "kind": "wave", "fit": fit}, {"file": "b", "kind": "wave", "fit": None}]
    shown = words(summary_table(summary))
    assert max(len(line) for line in shown.splitlines()) <= 100
    shown = " ".join(shown.split())
    assert "on the rig 192 configuration writes, 9.22k converter samples, 3.0 s settling, 0:01:10 integration" in shown
    assert "multiply-adds 1.23M forward, 600 update, 70 twin, 2M in all" in shown
    assert "energy 12.3k J measured, of all that is behind the power meter" in shown
    assert "energy 11k J estimated, from the watts stated for the rig" in shown
    assert "energy, digital 0.25 J estimated, from the watts stated for the computer" in shown
    assert "twin one.npz, wave: fitted to 8,500 rows with about 1.1G multiply-adds, in 0.131 s" in shown
    assert "twin b, wave: what fitting it took its file does not tell; not among the above" in shown


def test_a_comparison_tells_the_ledger_and_marks_what_was_not_measured(whole: Path) -> None:
    experiments = {"phyll": experiment.load(whole.parents[1] / "small.yaml").value}
    found = compared.collect(experiments, {"phyll": whole}, {}, 0.9, 5 / 19, SimulatedClock())
    (row,), summary = found["methods"], told(whole)
    assert row["energy"] == "estimated"
    assert row["energy_j"] == pytest.approx(summary["energy_j"]["estimated"] / 2)  # of a trial
    assert row["energy_digital_j"] == pytest.approx(summary["energy_digital_j"]["estimated"] / 2)
    for key in compared.BOTH:
        assert row[key] == pytest.approx(summary["cost"][key] / 2)
    fit = {"rows": 8500, "multiply_adds": 1_100_000_000, "cpu_s": 0.1314}
    twins = [{"file": "/x/one.npz", "kind": "wave", "fit": fit}]
    row |= {"energy_j": 1234.0, "energy_digital_j": 0.125, "multiply_adds_update": 98_765.0}
    metered = {**row, "name": "pat", "energy": "measured", "energy_j": 77.0, "energy_digital_j": None, "twins": twins}
    emulated = {**metered, "name": "a name that is longer than most names are", "energy": "emulated", "twins": []}
    lines = text(comparison_table(found | {"methods": [row, metered, emulated]})).splitlines()
    assert max(len(line) for line in lines) <= 100
    (line,) = [line.split() for line in lines if "98.8k" in line and "phyll" in line]
    assert line == ["phyll", "96", "4.61k", short(row["multiply_adds_forward"]), "98.8k", "-", "1.23k*", "0.125*"]
    assert any(line.split()[0] == "pat" and line.split()[-2:] == ["77", "-"] for line in lines if line.strip())
    assert any(line.split()[-2:] == ["77**", "-"] for line in lines)
    flat = " ".join(" ".join(lines).split())
    assert "*: estimated from stated watts, not measured." in flat
    assert "**: told by an emulated power meter, not measured." in flat
    assert "pat, not among its costs: one.npz, fitted to 8,500 rows with about 1.1G multiply-adds, in 0.131 s" in flat


def test_a_recording_tells_its_ledger(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SMALL.partition("dataset:")[0], encoding="utf-8")
    loaded = recording.load(tmp_path / "small.yaml", ["record.shots=6", "rig.repeats=2", "rig.readout=complex"])
    found = recording.record(loaded, tmp_path / "runs")
    assert found["cost"]["shots"] == 12
    assert found["cost"]["converter_samples"] == 12 * 2 * 2 * 4 * 3
    with jobs.open_rig(loaded.value) as rig:
        each_s = rig.layers[0].info.seconds_per_shot
    assert found["energy_j"] == {"estimated": pytest.approx(12 * each_s * 57.5)}
    assert "on the rig 12 configuration writes, 576 converter samples" in words(recording_table(found))

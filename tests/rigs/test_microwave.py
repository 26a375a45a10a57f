"""The microwave rig: drives to patterns to S-parameters to responses, simulated, emulated, with and without drivers."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labtrain import experiment, inference, jobs
from labtrain.clock import RealClock, SimulatedClock
from labtrain.config import dump, load, loads, schema_json
from labtrain.drivers.emulators.metasurface.open_source_ris import OpenSourceRisEmulator
from labtrain.drivers.trace import read_trace
from labtrain.errors import ConfigError, InputError, InstrumentError, Interrupted, MeasurementError
from labtrain.events import Commissioning
from labtrain.experiment import Experiment
from labtrain.registry import resolve
from labtrain.rigs.microwave import MicrowaveRig
from labtrain.rigs.microwave_config import RoomConfig
from labtrain.rigs.microwave_readout import Readout
from labtrain.runs import Run
from labtrain.sim.microwave import MicrowaveParameters
from labtrain.trial import Trial
from tests.rigs.microwaves import DRIVES, config, emulator, failing, rig, settings

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(autouse=True)
def _no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "figures", lambda _: None)


def commissioned(**changes: Any) -> MicrowaveRig:
    opened = rig(**changes)
    opened.open()
    opened.commission()
    opened.restart(0)
    return opened


# --- the layer --------------------------------------------------------------------------------------------------------


def test_the_registry_knows_it():
    assert resolve("rigs", "microwave") is MicrowaveRig


def test_what_a_caller_must_know_of_it():
    with rig(vna={"if_bandwidth_hz": 500}, metasurface={"settle_s": 0.002}) as opened:
        info = opened.layers[0].info
        sweep_s = opened.instruments["vna"].sweep_s
        assert (info.n_in, info.n_out, info.y_unit, info.simulated) == (6, 5, "sd of |S21|", True)
        assert (info.settle_s, info.integration_s) == (0.002, sweep_s) and sweep_s > 5 / 500
        assert info.seconds_per_shot == opened.instruments["metasurface"].write_s + 0.002 + sweep_s


def test_nothing_is_measured_before_it_is_commissioned():
    with rig() as opened, pytest.raises(InstrumentError) as caught:
        opened.layers[0].forward(DRIVES)
    assert str(caught.value) == (
        "microwave rig: its outputs have no scale yet; call commission(), or adopt() with what it gave before"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"readout": "complex", "frequencies_hz": [5.31e9, 5.32e9, 5.6e9]},
        {"vna": {"averages": 4, "s_parameters": ["S11", "S21"], "power_dbm": -20.0}},
        {"metasurface": {"n_pixels": 3, "group": [1, 4]}, "code": {"bits": 1}},
    ],
    ids=["modulus", "complex, segments", "two averaged S-parameters", "groups of elements"],
)
def test_the_room_alone_answers_as_through_the_instruments(changes):
    x = DRIVES[:, :3] if "code" in changes else DRIVES
    answers = []
    for fidelity in ("instruments", "physics"):
        with rig(fidelity=fidelity, **changes) as opened:
            opened.commission()
            opened.restart(5)
            answers.append(opened.layers[0].forward(x))
    np.testing.assert_allclose(answers[0], answers[1], rtol=0, atol=1e-10)
    assert np.abs(answers[0]).max() > 0.5


@pytest.mark.parametrize("fidelity", ["instruments", "physics"])
def test_answers_do_not_depend_on_chunks_and_a_state_brings_them_back(fidelity):
    with commissioned(fidelity=fidelity, world={"drift_walk_db": 0.1}) as opened:
        (layer,) = opened.layers
        whole = layer.forward(DRIVES)
        opened.restart(0)
        first = layer.forward(DRIVES[:7])
        state = json.loads(json.dumps(layer.state()))
        rest = layer.forward(DRIVES[7:])
        assert np.concatenate([first, rest]).tobytes() == whole.tobytes()
        layer.restore(state)
        assert layer.forward(DRIVES[7:]).tobytes() == rest.tobytes()
        opened.restart(1)
        assert layer.forward(DRIVES[:7]).tobytes() != first.tobytes()


def test_the_pixels_get_what_the_code_says_and_the_log_what_they_carry():
    with commissioned(code={"kind": "binary", "bits": [1, 4, 3]}) as opened:
        (layer,) = opened.layers
        (shots,) = layer.measure([[1.0, 0.61, 0.4]])
        assert layer.info.n_in == 3 and shots.x == pytest.approx(np.array([[1.0, 9 / 15, 3 / 7]]))
        assert layer.quantise([[1.0, 0.61, 0.4]]).tobytes() == shots.x.tobytes()
        assert opened.world.pattern.tolist() == [1, 1, 0, 0, 1, 0, 1, 1, 0, 0, 0, 0]
        assert opened.instruments["metasurface"].pattern.tolist() == opened.world.pattern.tolist()


def test_spare_pixels_are_parameters_of_the_layer():
    with commissioned(code={"inputs": 4}) as opened:
        (layer,) = opened.layers
        assert layer.parameters.tolist() == [0, 0, 0, 0]
        before = layer.forward(DRIVES[:3, :4])
        layer.set_parameters([1, 0, 1, 1])
        opened.layers[0].restore({**layer.state(), "shot": 0})
        state = layer.state()
        assert np.abs(layer.forward(DRIVES[:3, :4]) - before).max() > 0.5
        assert opened.world.pattern[8:].tolist() == [1, 0, 1, 1]
        opened.restart(0)
        assert layer.parameters.tolist() == [0, 0, 0, 0]
        assert layer.forward(DRIVES[:3, :4]).tobytes() == before.tobytes()
        layer.restore(state)
        assert layer.parameters.tolist() == [1, 0, 1, 1]


def test_layers_with_codes_of_their_own_share_instruments_and_shots():
    with commissioned(code={"bits": [1] * 12}, more_codes=[{"bits": 2}, {"bits": 3}]) as opened:
        first, second, third = opened.layers
        assert [layer.info.n_in for layer in opened.layers] == [12, 6, 4]
        assert [layer.name for layer in opened.layers] == ["microwave", "microwave 2", "microwave 3"]
        assert len({layer.info.fingerprint for layer in opened.layers}) == 3
        first.forward(np.ones((2, 12)))
        second.forward(DRIVES[:3])
        assert third.state()["shot"] == 5


def test_the_source_is_on_from_the_first_shot_until_it_is_made_safe():
    with rig() as opened:
        vna = emulator(opened, "vna")
        assert not vna.rf
        opened.commission()
        assert vna.rf and opened.world.pattern.any()
        opened.safe()
        assert not vna.rf and not opened.world.pattern.any()
        opened.layers[0].forward(DRIVES[:1])
        assert vna.rf
    assert not vna.rf


# --- commissioning ----------------------------------------------------------------------------------------------------


def test_commissioning_scales_outputs_once_for_all():
    logged = []
    with rig(commission={"patterns": 100, "repeats": 50}) as opened:
        assert opened.commissioning_shots == 150
        kept = json.loads(json.dumps(opened.commission(lambda *chunk: logged.append(chunk))))
        assert opened.commissioning_shots == 0 and kept["shots"] == 150
        y = np.concatenate([shots.y for _, shots, _ in logged])
        patterns = np.concatenate([shots.x for _, shots, _ in logged])
        assert {name for name, _, _ in logged} == {"microwave commissioning"} and patterns.shape == (150, 12)
        assert patterns[100:].tolist() == patterns[:50].tolist()
        assert y[:100].mean(axis=0).tolist() == kept["offset"] and y[:100].std(axis=0).tolist() == kept["scale"]
        opened.restart(0)
        answers = opened.layers[0].forward(np.repeat(DRIVES[:1], 200, axis=0))
        (shots,) = opened.layers[0].measure(DRIVES[:1])
        assert shots.sigma[0].tolist() == kept["sigma"]
        assert answers.std(axis=0) == pytest.approx(np.array(kept["sigma"]), rel=0.5)
        opened.restart(0)
        before = opened.layers[0].forward(DRIVES)
    with rig(commission={"patterns": 100, "repeats": 50}) as again:
        again.adopt(kept)
        assert again.commissioning_shots == 0
        again.restart(0)
        assert again.layers[0].forward(DRIVES).tobytes() == before.tobytes()


def test_outputs_that_hardly_react_are_named(caplog):
    draw = np.random.default_rng(0)
    y, noise = draw.standard_normal((100, 6)), np.array([0.01, 0.5, 0.01, 0.01, 0.4, 0.01])
    readout = Readout("complex", ["S21"], np.array([5.2e9, 5.4e9, 5.6e9]))
    with caplog.at_level(logging.WARNING, "labtrain"):
        readout.learn(y, y[:50] + np.sqrt(2) * noise * draw.standard_normal((50, 6)))
    (record,) = caplog.records
    assert record.getMessage() == (
        "microwave rig: 2 of 6 outputs vary among random patterns by less than 3 times their repeatability: "
        "Re S21 at 5.4 GHz, Im S21 at 5.4 GHz; choose other rig.frequencies_hz"
    )


def test_a_surface_without_effect_is_refused():
    with rig(world={"noise_dbm_hz": -30.0}) as opened, pytest.raises(MeasurementError) as caught:
        opened.commission()
    assert str(caught.value) == (
        "microwave rig: none of 5 outputs varies among random patterns by more than 3 times its repeatability; check "
        "that the metasurface has power and stands in the field, and rig.vna.power_dbm"
    )


def test_what_was_commissioned_for_other_outputs_is_refused():
    with rig() as opened:
        kept = opened.commission()
    with rig(readout="complex") as other, pytest.raises(ConfigError) as caught:
        other.adopt(kept)
    assert str(caught.value) == (
        "rig.frequencies_hz: commissioned with 5 outputs, now there are 10; restore frequencies, rig.readout and "
        "rig.vna.s_parameters, or start a new run"
    )


def test_another_calibration_than_before_is_a_warning(caplog):
    with rig() as opened:
        kept = opened.commission()
        kept["calibration"] |= {"on": True, "name": "in the fume hood", "date": "2026-01-31T12:00:00"}
        with caplog.at_level(logging.WARNING, "labtrain"):
            opened.adopt(kept)
    (record,) = caplog.records
    assert record.getMessage() == (
        "vna (sim): its calibration was on, set 'in the fume hood' of 2026-01-31T12:00:00; is off now; responses may "
        "have shifted"
    )


# --- identity ---------------------------------------------------------------------------------------------------------


def test_the_fingerprint_follows_what_decides_the_answers():
    def fingerprint(**changes):
        with rig(**changes) as opened:
            before = opened.layers[0].info.fingerprint
            opened.commission()
            assert opened.layers[0].info.fingerprint == before
            return before

    same = [{}, {"seed": 3}, {"commission": {"seed": 1}}, {"recovery": {"per_shot": 1}}, {"real_time": True}]
    other: list[dict[str, Any]] = [
        {"code": {"kind": "binary"}}, {"code": {"shuffle_seed": 1}}, {"readout": "complex"},
        {"frequencies_hz": {"start": 5.3e9, "stop": 5.7e9, "points": 6}}, {"world": {"geometry_seed": 2}},
        {"vna": {"s_parameters": ["S11"]}}, {"fidelity": "physics"},
    ]  # fmt: skip
    assert len({fingerprint(**changes) for changes in same}) == 1
    assert len({fingerprint(**changes) for changes in [{}, *other]}) == 1 + len(other)


def test_provenance_tells_who_was_there():
    with rig() as opened:
        told = json.loads(json.dumps(opened.provenance()))
    assert told["fidelity"] == "instruments" and told["world"]["parameters"]["pixels"] == 12
    vna, surface = told["instruments"]["vna"], told["instruments"]["metasurface"]
    assert (vna["kind"], vna["driver"], vna["address"]) == ("simulated", "keysight-pna", "sim")
    assert "EMULATOR" in vna["identity"] and vna["settings"]["if_bandwidth_hz"] == 1000.0
    assert vna["calibration"]["on"] is False and "OpenSourceRIS" in surface["identity"]
    with rig(fidelity="physics") as opened:
        assert json.loads(json.dumps(opened.provenance()))["instruments"] == {"room": {"kind": "simulated"}}


def test_bytes_are_traced(tmp_path):
    opened = rig()
    opened.trace_io = tmp_path / "trace.txt"
    with opened:
        opened.commission()
    lines = list(read_trace(tmp_path / "trace.txt"))
    assert {line.who for line in lines} == {"vna", "metasurface"}
    assert sum(line.direction == ">" and line.data.startswith(b"!0x") for line in lines) >= 30


# --- what cannot be ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"vna": {"address": "tcp://127.0.0.1:1"}},
            "metasurface.address is sim and the other instrument's is not, so neither would see the other; set both to "
            "sim, or both to addresses of instruments",
        ),
        (
            {"repeats": 2},
            "repeats would average |S|, which noise makes larger; set vna.averages, which averages complex numbers in "
            "the instrument, or readout: complex",
        ),
        (
            {"vna": {"driver": "open-source-ris"}},
            "open-source-ris is no driver of a network analyser; take one of copper-mountain, ",
        ),
        (
            {"metasurface": {"driver": "keysight-pna"}},
            "keysight-pna is no driver of a metasurface; take one of arduino-shift-register, ",
        ),
        ({"frequencies_hz": [5.4e9, 5.3e9]}, "needs one frequency or more, above 0 Hz and ascending"),
        (
            {"frequencies_hz": {"start": 5.4e9, "stop": 5.3e9, "points": 2}},
            "stop 5.3e+09 Hz is not above start 5.4e+09 Hz",
        ),
    ],
)
def test_settings_that_contradict_one_another_are_refused(changes, sentence):
    with pytest.raises(ValueError) as caught:
        config(**changes)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"code": {"inputs": 7}},
            "rig.code.bits: 7 inputs ask for 14 pixels, the metasurface has 12; ask for fewer bits or fewer "
            "rig.code.inputs",
        ),
        (
            {"more_codes": [{"bits": 13 * [1]}]},
            "rig.more_codes.0.bits: 13 inputs ask for 13 pixels, the metasurface has 12; ask for fewer bits or fewer "
            "rig.more_codes.0.inputs",
        ),
        (
            {"metasurface": {"n_pixels": 13}},
            "rig.metasurface.n_pixels: asked 13 pixels, up to element 13 of the surface, the simulated room has 12; "
            "ask for fewer, or set rig.world.pixels",
        ),
        (
            {"world": {"bits": 2}},
            "rig.world.bits: pixels of the simulated room have 2, those of the open-source-ris 1; make them equal, or "
            "set rig.fidelity: physics",
        ),
        (
            {"vna": {"power_dbm": 5.0}},
            "vna (sim): asked power 5 dBm, allowed up to 0 dBm (rig.vna.max_power_dbm); set rig.vna.power_dbm",
        ),
    ],
)
def test_what_instruments_or_room_do_not_have_is_refused(changes, sentence):
    with pytest.raises(InputError) as caught, rig(**changes):
        pass
    assert str(caught.value) == sentence


def test_an_emulator_beside_an_instrument_is_refused(monkeypatch):
    sound = MicrowaveRig.emulators

    def with_a_board(self: MicrowaveRig, world: Any) -> Any:
        return sound(self, world) | {"metasurface": OpenSourceRisEmulator(world, SimulatedClock(), serial_number=12)}

    monkeypatch.setattr(MicrowaveRig, "emulators", with_a_board)
    with pytest.raises(InstrumentError) as caught, rig():
        pass
    assert str(caught.value) == (
        "vna (sim) is an emulator and metasurface (sim) is not, so neither would see the other; correct "
        "rig.metasurface.address"
    )


def test_pixels_of_several_bits_are_simulated_without_instruments():
    with rig(fidelity="physics", world={"bits": 2}, code={"kind": "binary", "bits": 2}) as opened:
        opened.commission()
        assert opened.layers[0].info.n_in == 12
        answers = opened.layers[0].forward(np.eye(12))
    assert np.abs(answers).max() < 20


# --- runs -------------------------------------------------------------------------------------------------------------

REST = """
dataset: {type: csv, path: table.csv, label: kind, features: [a, b, c]}
network: {layers: 2, width: 5}
training: {method: phyll, epochs: 4, inner: 2, rate: 0.01}
trials: {count: 1}
ablations: [off, no_skip]
"""


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A config with a small room in memory and a table of its own."""
    draw = np.random.default_rng(0).random((40, 3))
    rows = "".join(f"{a},{b},{c},{'pq'[int(a + b > 1)]}\n" for a, b, c in draw)
    (tmp_path / "table.csv").write_text("a,b,c,kind\n" + rows)
    path = tmp_path / "lab.yaml"
    path.write_text(f"rig: {json.dumps(settings())}{REST}")
    return path


def train(lab: Path, *overrides: str, runs: str = "runs", listener: Any = None) -> Path:
    summary = jobs.train(experiment.load(lab, overrides), lab.parent / runs, [listener] if listener else ())
    return Path(summary["run"])


def weights(folder: Path) -> bytes:
    with Run.open(folder, write=False, clock=RealClock()) as run:
        return b"".join(block["W"].tobytes() + block["b"].tobytes() for block in run.trial_state(0)["net"]["blocks"])


def test_a_run_is_commissioned_once(lab):
    assert jobs.plan(experiment.load(lab))["shots_commission"] == 30
    told = []
    folder = train(lab, listener=told.append)
    done = [event for event in told if isinstance(event, Commissioning)]
    assert (done[-1].shots, done[-1].planned) == (30, 30)
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["shots_commission"] == 30
    with Run.open(folder, write=False, clock=RealClock()) as run:
        chunks = list(run.chunks())
        logged = sum(len(chunk.shots) for chunk in chunks if chunk.step == "commissioning")
        assert logged == run.commissioned["shots"] == 30
        assert {chunk.layer for chunk in chunks} == {"microwave commissioning", "microwave"}
    (row,) = inference.evaluate(folder)
    assert row["shots"] == 32
    new = lab.parent / "new.csv"
    new.write_text("a,b,c\n0.9,0.9,0.5\n")
    assert len(inference.predict(folder, new)) == 1
    with Run.open(folder, write=False, clock=RealClock()) as run:
        assert sum(len(chunk.shots) for chunk in run.chunks() if chunk.step == "commissioning") == 30


class Broken(Exception):
    """Stands for whatever ends a process."""


def test_a_run_broken_off_ends_as_if_nothing_had_happened(lab):
    whole, seen = train(lab, runs="whole"), []

    def break_off(event: Any) -> None:
        seen.append(event)
        if len(seen) == 8:
            raise Broken

    with pytest.raises(Broken):
        train(lab, runs="broken", listener=break_off)
    (folder,) = (lab.parent / "broken").iterdir()
    jobs.resume(folder)
    assert weights(folder) == weights(whole)
    with Run.open(folder, write=False, clock=RealClock()) as run:
        assert sum(len(chunk.shots) for chunk in run.chunks() if chunk.step == "commissioning") == 30


def test_a_run_killed_while_it_was_commissioned_is_commissioned_again(lab):
    whole = train(lab, runs="whole")

    def break_off(event: Any) -> None:
        if isinstance(event, Commissioning):
            raise Interrupted("stopped")

    with pytest.raises(Interrupted):
        train(lab, runs="broken", listener=break_off)
    (folder,) = (lab.parent / "broken").iterdir()
    with Run.open(folder, write=False, clock=RealClock()) as run:
        assert run.commissioned is None and run.shots_count() > 0
    assert jobs.resume(folder)["shots_commission"] == 30
    assert weights(folder) == weights(whole)


def test_a_run_that_an_instrument_ended_goes_on_to_the_same_weights(lab, monkeypatch):
    whole = train(lab, runs="whole")
    with monkeypatch.context() as patch:
        broken = ["vna: no reply at 50 of SDATA", "metasurface: reboot at 70 of !0x", "vna: no reply from 100 of SDATA"]
        sound = MicrowaveRig.emulators
        patch.setattr(MicrowaveRig, "emulators", lambda self, world: failing(sound(self, world), broken))
        with pytest.raises(MeasurementError, match=r"^shot \d+ of 64: no good reading after 4 repetitions"):
            train(lab, runs="broken")
    (folder,) = (lab.parent / "broken").iterdir()
    with Run.open(folder, write=False, clock=RealClock()) as run:
        attempts = np.concatenate([c.shots.attempts for c in run.chunks() if c.layer == "microwave"])
        # All that were good are kept: a whole batch, and three of the next; three of them at the second attempt.
        assert (run.status, len(attempts), (attempts > 1).sum()) == ("failed", 64 + 3, 3)
    jobs.resume(folder)
    assert weights(folder) == weights(whole)


def test_a_script_needs_not_know_of_commissioning(lab):
    loaded = experiment.load(lab).value
    with jobs.open_rig(loaded) as opened:
        trial = Trial.begin(loaded, opened, seed=0)
        trial.fit()
        assert trial.test().scores.shape == (8, 2)
        assert opened.commissioning_shots == 0
        again = Trial.begin(loaded, opened, seed=0)
        again.fit()
        assert again.net.blocks[0].W.tobytes() == trial.net.blocks[0].W.tobytes()


def test_what_the_instruments_refuse_is_told_with_its_line(lab):
    lab.write_text(lab.read_text().replace('"address": "sim"}', '"address": "sim",\n"power_dbm": 5.0}', 1))
    with pytest.raises(InputError, match=r"set rig\.vna\.power_dbm \(lab\.yaml:2\)$"):
        train(lab)


# --- emulators in another process -------------------------------------------------------------------------------------


def test_emulators_in_another_process_give_the_same_weights(lab):
    here = train(lab)
    command = [sys.executable, "-m", "labtrain", "emulate", str(lab), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            told = json.loads(server.stdout.readline())
            there = lab.with_name("there.yaml")
            there.write_text(told["config"])
            folder = train(there, runs="there")
            with Run.open(folder, write=False, clock=RealClock()) as run:
                instruments = run.provenance["rig"]["instruments"]
            jobs.resume(folder, ["training.epochs=6"])
        finally:
            server.terminate()
            server.wait(10)
    assert {told["kind"] for told in instruments.values()} == {"emulated"}
    jobs.resume(here, ["training.epochs=6"])
    assert weights(folder) == weights(here)


# --- configurations ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["microwave", "microwave-emulated", "microwave-lab"])
def test_the_ready_configurations_hold_together(name):
    loaded = load(ROOT / "config" / f"{name}.yaml", experiment.Experiment)
    overrides = ["rig.vna.address=sim", "rig.metasurface.address=sim"]
    simulated = experiment.load(ROOT / "config" / f"{name}.yaml", overrides)
    jobs.check(simulated)
    planned = jobs.plan(simulated)
    assert planned["shots_commission"] == 220 and planned["shots_train"] > 10_000
    assert loaded.value.rig.frequencies().tolist() == simulated.value.rig.frequencies().tolist()


def test_the_room_has_a_key_for_each_of_its_parameters():
    assert RoomConfig().parameters() == MicrowaveParameters()
    assert RoomConfig(pixels=3, bits=2).parameters() == MicrowaveParameters(pixels=3, bits=2)


def test_time_passes_for_nobody_unless_asked(monkeypatch):
    clock = SimulatedClock()
    with rig(clock, metasurface={"settle_s": 0.5}) as opened:
        opened.commission()
        assert clock.monotonic() == 0.0 and opened.layers[0].info.max_batch == 256
    with rig(clock, metasurface={"settle_s": 0.5}, real_time=True) as opened:
        opened.commission()
        assert clock.monotonic() > 30 * 0.5 and opened.layers[0].info.max_batch == 1


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("rig.frequencies_hz.points=2000000000", "must be at most 1000000"),
        ("rig.commission.patterns=99999999999999999999", "must be at most 1000000"),
        ("rig.vna.frequency_limits_hz=[6e9, 5e9]", "6e+09 to 5e+09 Hz is no range; give the lowest, then the highest"),
        ("rig.vna.timeout_s=1e20", "must be at most 3600"),
        ("rig.recovery.pause_s=1e20", "must be at most 60"),
        ("rig.frequencies_hz=5.2", "5.2 is not allowed, must be a mapping {start, stop, points} or a list of numbers"),
    ],
)
def test_what_no_rig_can_do_is_refused_with_the_config(override: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        experiment.load(ROOT / "config" / "microwave.yaml", [override])
    assert sentence in str(caught.value)


def test_keys_of_another_driver_are_told_as_such() -> None:
    """Every key written out, then another driver's name."""
    spelled = dump(experiment.load(ROOT / "config" / "microwave.yaml", ["rig.vna.driver=copper-mountain"]).value)
    with pytest.raises(ConfigError) as caught:
        loads(spelled.replace("copper-mountain", "keysight-pna"), Experiment, "lab.yaml")
    line = next(number for number, row in enumerate(spelled.splitlines(), 1) if "transfer:" in row)
    assert str(caught.value) == (
        f"lab.yaml:{line}: rig.vna.transfer: a key of copper-mountain, not of keysight-pna; delete it"
    )


def test_a_driver_of_something_else_is_told_before_its_keys() -> None:
    with pytest.raises(ConfigError) as caught:
        experiment.load(ROOT / "config" / "microwave.yaml", ["rig.vna.driver=openris"])
    (told,) = str(caught.value).splitlines()
    assert told.startswith("--set rig.vna.driver=openris: openris is no driver of a network analyser; take one of cop")
    assert "openris" not in told.partition("; take one of ")[2]


def test_editors_are_offered_the_drivers_that_fit() -> None:
    properties = schema_json(MicrowaveRig.Config)["properties"]
    offered = [choice["title"] for choice in properties["vna"]["oneOf"]]
    assert "keysight-pna" in offered and "openris" not in offered

"""Disturbances of a run: refused before anything moves, seen by training, the same elsewhere and after a resume."""

from __future__ import annotations

import importlib.util
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import yaml

from labtrain import events, jobs, plots, report
from labtrain.clock import RealClock
from labtrain.config import dump, loads
from labtrain.disturbances import Happened, outcomes
from labtrain.drivers.emulators.serving import server as serve
from labtrain.emulate import Serving, emulate
from labtrain.errors import ConfigError, InputError
from labtrain.experiment import Experiment
from labtrain.inference import evaluate
from labtrain.methods.method import Metrics
from labtrain.plots import plot_accuracy
from labtrain.rigs.microwave import MicrowaveRig
from labtrain.rigs.rig import Rig
from labtrain.runs import Run
from labtrain.sim import acoustic_disturbances, channels, microwave_disturbances
from labtrain.sim.cavity import AcousticParameters
from labtrain.sim.disturbances import Known, Value
from labtrain.sim.optics import disturbances as optical_disturbances
from labtrain.sim.optics.parameters import OpticalParameters
from labtrain.sim.room import MicrowaveParameters
from labtrain.twin import WaveTwin, save_twin
from tests.rigs import microwaves, rooms

ROOT = Path(__file__).resolve().parent.parent


def _benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("kill_resume", ROOT / "benchmarks" / "kill_resume.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["kill_resume"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


differences = _benchmark().differences


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A config with a recorded rig of 6 inputs and 5 outputs, PhyLL with both blocks measured in each of 6 epochs."""
    rng = np.random.default_rng(0)
    x = rng.random((400, 6))
    y = np.abs(x @ (rng.standard_normal((6, 5)) + 1j * rng.standard_normal((6, 5))))
    np.savez(tmp_path / "pairs.npz", x=x, y=y)
    rows = "".join(f"{a},{b},{c},{'pq'[int(a > 0.5)]}\n" for a, b, c in rng.random((40, 3)))
    (tmp_path / "table.csv").write_text("a,b,c,kind\n" + rows)
    return tmp_path


def config(lab: Path, *disturbances: dict[str, Any], **sections: Any) -> Any:
    """The loaded configuration."""
    values: dict[str, Any] = {
        "rig": {"type": "recorded", "pairs": "pairs.npz", "held_out_rows": 100},
        "dataset": {"type": "csv", "path": "table.csv", "label": "kind", "features": ["a", "b", "c"]},
        "network": {"layers": 2, "width": 5},
        "training": {
            "method": "phyll", "schedule": "joint", "epochs": 6, "inner": 2, "rate": 0.01, "score_every": 1,
        },
        "trials": {"count": 1},
        "ablations": [],
        "run": {"checkpoint_s": 60},
        **sections,
        "disturbances": list(disturbances),
    }  # fmt: skip
    return loads(yaml.safe_dump(values, sort_keys=False), Experiment, lab / "lab.yaml")


EVERYTHING = (
    {"at_shot": 200, "do": "output", "output": 1},  # in step 2, in the middle of a chunk
    {"at_step": 4, "do": "outputs", "order": [4, 3, 2, 1, 0]},
    {"at_step": 4, "do": "noise", "share": 0.1},
    {"at_shot": 795, "do": "drift", "share_per_1000_shots": -0.2},  # in the test
)


class Broken(Exception):
    """Stands for whatever broke a training off."""


# -- what happens ----------------------------------------------------------------------------------------------------


def test_events_log_summary_and_evaluation(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "figures", lambda _: None)
    told: list[events.Event] = []
    summary = jobs.train(config(lab, *EVERYTHING), lab / "runs", [told.append])
    seen = [event for event in told if isinstance(event, events.StepDone | events.Disturbed | events.Testing)]
    steps = [e.what.number if isinstance(e, events.Disturbed) else type(e).__name__ for e in seen]
    assert steps == ["StepDone", 0, "StepDone", "StepDone", 1, 2, "StepDone", "StepDone", "StepDone", "Testing", 3]
    rows = [(row["trial"], row["do"], row["shot"], row["step"]) for row in summary["disturbances"]]
    assert rows == [(0, "output", 200, 2), (0, "outputs", 384, 4), (0, "noise", 384, 4), (0, "drift", 795, "test")]
    known = [event.metrics.accuracy for event in seen if isinstance(event, events.StepDone)]
    first, *_, last = summary["disturbances"]
    assert first["accuracy_before"] == known[0] and first["accuracy_after"] in [*known[1:], None]
    assert (last["accuracy_before"], last["accuracy_after"]) == (known[-1], None)
    shown = "\n".join(" ".join(fact) for fact in report._disturbed(summary["disturbances"]))
    assert "disturbed drift in 1 trial, first at shot 795: accuracy before or after unknown" in shown
    log = (Path(summary["run"]) / "log.txt").read_text()
    assert "trial 0: disturbed from shot 200 on, in step 2: output (output 1)" in log
    assert "trial 0: disturbed from shot 384 on, in step 4: outputs (order [4, 3, 2, 1, 0])" in log
    assert "trial 0: disturbed from shot 795 on, in the test: drift (share_per_1000_shots -0.2)" in log
    (row,) = evaluate(Path(summary["run"]))  # goes on in the world as the trial left it
    assert row["shots"] == 32


def test_training_sees_it_from_its_shot_on(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "figures", lambda _: None)

    def outputs(*disturbances: dict[str, Any]) -> np.ndarray:
        summary = jobs.train(config(lab, *disturbances, rig=RIG), lab / "runs")
        with Run.open(Path(summary["run"]), write=False, clock=RealClock()) as run:
            return np.concatenate([chunk.shots.y for chunk in run.chunks()])

    rig = {"type": "recorded", "pairs": "pairs.npz", "held_out_rows": 100, "noise": "none"}
    RIG = rig
    still, lost, late = outputs(), outputs(EVERYTHING[0]), outputs({"at_step": 4, "do": "output", "output": 1})
    assert (lost[:200] == still[:200]).all() and (lost[200:, 1] == 0).all() and (still[200:, 1] > 0).all()
    assert (late[:384] == still[:384]).all() and (late[384:, 1] == 0).all()


def test_accuracies_before_and_after() -> None:
    nan = float("nan")
    told = [(1, nan), (2, 0.5), (3, 0.5), (4, 0.9), (5, nan), (6, 0.4)]
    happened = [Happened(n, "noise", {}, 10, step) for n, step in enumerate((1, 3, 5, 6, 7, "test"))]
    found = [(row["accuracy_before"], row["accuracy_after"]) for row in outcomes(happened, told)]
    assert found == [(None, 0.5), (0.5, 0.9), (0.9, 0.4), (0.9, 0.4), (0.4, None), (0.4, None)]


# -- resumed ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The laboratory, and a run in it that nobody broke off."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "figures", lambda _: None)
        folder = lab.__wrapped__(tmp_path_factory.mktemp("lab"))  # type: ignore[attr-defined]
        summary = jobs.train(config(folder, *EVERYTHING), folder / "reference")
    return folder, Path(summary["run"])


def test_the_figure_marks_moments_and_names(whole: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    history = [Metrics(n, 9, "all layers", (0.1,), 0.1 * n, "training") for n in range(1, 10)]
    panel = plot_accuracy(history, [0.5], [(3.5, "pixels"), (6.5, "noise"), (6.5, "drift")]).axes[0]
    dashed = [line.get_xdata()[0] for line in panel.lines if len(set(line.get_xdata())) == 1]
    assert dashed == [3.5, 6.5]
    assert [text.get_text() for text in panel.texts] == ["pixels", "noise, drift"]
    drawn: list[Any] = []
    monkeypatch.setattr(plots, "save", lambda _, path: path)
    monkeypatch.setattr(plots, "plot_accuracy", lambda *given: drawn.append(given[2]) or plot_accuracy(*given))
    with Run.open(whole[1], write=False, clock=RealClock()) as run:
        plots.figures(run)
    assert drawn == [[(1.5, "output"), (3.5, "noise"), (3.5, "outputs"), (6.5, "drift")]]


@pytest.mark.parametrize(
    ("checkpoint_s", "stop"),
    [
        (60, lambda e: isinstance(e, events.StepDone) and e.metrics.step == 1),  # before all of it
        (60, lambda e: isinstance(e, events.Disturbed) and e.what.number == 0),  # as it happens
        (0, lambda e: isinstance(e, events.StepDone) and e.metrics.step == 3),  # right before what happens at step 4
        (60, lambda e: isinstance(e, events.Disturbed) and e.what.number == 2),  # before the first shot of step 4
        (0, lambda e: isinstance(e, events.StepDone) and e.metrics.step == 5),
        (60, lambda e: isinstance(e, events.Disturbed) and e.what.number == 3),  # in the test
    ],
    ids=["before", "in the chunk", "before the step", "in the step", "after", "in the test"],
)
def test_a_run_that_was_broken_off_ends_the_same(
    whole: tuple[Path, Path],
    checkpoint_s: float,
    stop: Callable[[Any], bool],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jobs, "figures", lambda _: None)

    def breaks(event: Any) -> None:
        if stop(event):
            raise Broken

    folder, reference = whole
    with pytest.raises(Broken):
        jobs.train(config(folder, *EVERYTHING, run={"checkpoint_s": checkpoint_s}), tmp_path, [breaks])
    (broken,) = tmp_path.iterdir()
    summary = jobs.resume(broken)
    assert [difference for difference in differences(reference, broken) if "status" not in difference] == []
    assert [row["shot"] for row in summary["disturbances"]] == [200, 384, 384, 795]


def test_more_epochs_do_not_disturb_again(whole: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "figures", lambda _: None)
    folder, _ = whole
    at_end = {"at_step": 7, "do": "output", "output": 0, "gain": 0.5}  # after the last step: before the test
    summary = jobs.train(config(folder, at_end), folder / "further")
    assert [(row["shot"], row["step"]) for row in summary["disturbances"]] == [(768, 7)]
    summary = jobs.resume(summary["run"], ["training.epochs=8"])
    assert [(row["shot"], row["step"]) for row in summary["disturbances"]] == [(768, 7)]
    with Run.open(Path(summary["run"]), write=False, clock=RealClock()) as run:
        state = run.trial_state(0)["layers"][0]
    assert [event[:2] for event in state["disturbances"]] == [[768, "output"]]


# -- refused and warned of -------------------------------------------------------------------------------------------

RECORDED = ("type: recorded", "pairs: pairs.npz")
CAVITY = ("type: acoustic", "discs: 2")
ROOM = (
    "type: microwave", "frequencies_hz: [5.5e9]", "vna: {driver: keysight-pna}",
    "metasurface: {driver: open-source-ris, n_pixels: 40}",
)  # fmt: skip


@pytest.mark.parametrize(
    ("rig", "entry", "told"),
    [
        (CAVITY, "at_shot: 3, do: pixels, pixels: [1]",
         "lab.yaml:6: disturbances.0.do: unknown disturbance 'pixels'; known: temperature, drift, scatterer, membrane, "
         "speaker, microphone, inputs, outputs, noise"),
        (CAVITY, "at_shot: 3, do: temperature, kelvin: 100",
         "lab.yaml:6: disturbances.0.kelvin: disturbance 'temperature': asked kelvin 100, allowed -60 K to 60 K"),
        (CAVITY, "at_shot: 3, do: scatterer, disc: 2, dx_m: 0, dy_m: 0",
         "lab.yaml:6: disturbances.0.disc: disturbance 'scatterer': asked disc 2, allowed a whole number, 0 to 1"),
        (ROOM, "at_step: 3, do: temperature, celsius: 1",
         "lab.yaml:6: disturbances.0.celsius: disturbance 'temperature' takes kelvin, got celsius"),
        (RECORDED, "do: noise, share: 0.1",
         "lab.yaml:6: disturbances.0: neither at_shot nor at_step is given; give one of them"),
        (RECORDED, "at_shot: 1, at_step: 1, do: noise, share: 0.1",
         "lab.yaml:6: disturbances.0: both at_shot and at_step are given; give one of them"),
        (RECORDED, "at_shot: -1, do: noise, share: 0.1",
         "lab.yaml:6: disturbances.0.at_shot: -1 is not allowed, must be at least 0"),
        (RECORDED, "at_shot: 1", "lab.yaml:6: disturbances.0.do: required key is missing"),
        (("type: acoustic", "audio: {driver: audio, device: Card, speakers: [1], microphones: [1]}"),
         "at_shot: 1, do: noise, share: 0.1",
         "lab.yaml:5: disturbances: rig.audio.device is 'Card', and what stands before a sound card, real or emulated, "
         "cannot be disturbed from here; leave the section out, or set rig.audio.device: sim"),
    ],
)  # fmt: skip
def test_what_the_world_does_not_know_is_told_with_its_line(rig: tuple[str, ...], entry: str, told: str) -> None:
    text = f"rig: {{{', '.join(rig)}}}\ndataset: {{type: xor-tones}}\ntraining:\n  {{method: phyll}}\ndisturbances:\n"
    with pytest.raises(ConfigError) as caught:
        loads(f"{text}  - {{{entry}}}\n", Experiment, "lab.yaml")
    assert str(caught.value) == told


def test_a_rig_that_simulates_nothing_is_not_disturbed() -> None:
    class Config(microwaves.MicrowaveRig.Config):
        disturbances = microwaves.MicrowaveRig.Config.__mro__[1].disturbances  # type: ignore[attr-defined]

    with pytest.raises(InputError, match="a rig of type 'microwave' simulates nothing that could be disturbed"):
        Config.model_validate(microwaves.settings()).disturbances()


def test_what_only_the_opened_rig_knows_is_refused_before_a_run_is_made(lab: Path) -> None:
    with pytest.raises(InputError) as caught:
        jobs.train(config(lab, EVERYTHING[0], {"at_step": 3, "do": "output", "output": 5}), lab / "runs")
    assert str(caught.value) == (
        "disturbances.1.output: disturbance 'output': asked output 5, allowed a whole number, 0 to 4 (lab.yaml:34)"
    )
    assert not (lab / "runs").exists()


def test_real_instruments_are_not_disturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    with microwaves.rig() as rig:
        bench = rig._bench
        bench.world = None  # type: ignore[union-attr]
        vna = rig.instruments["vna"]
        monkeypatch.setattr(type(vna), "emulated", False)
        with pytest.raises(InputError) as caught:
            rig.disturb("noise", share=0.1)
        assert str(caught.value) == (
            f"disturbances: vna (sim) is {vna.identity!r}, a real instrument, and what stands before it cannot be "
            "disturbed by software; leave the section out, or simulate the rig (address: sim)"
        )


def test_layerwise_and_shots_that_never_come_are_warned_of(
    lab: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "figures", lambda _: None)
    far = {"at_shot": 99_999, "do": "noise", "share": 0.1}
    summary = jobs.train(config(lab, far, training={"method": "phyll", "epochs": 2}), lab / "runs")
    assert summary["disturbances"] == []
    told = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert [line.partition(":")[0] for line in told] == ["training.schedule", "disturbances.0.at_shot"]
    assert told[1] == "disturbances.0.at_shot: shot 99999 will not come, a trial takes 160 shots at most"
    assert told[0] == (
        "training.schedule: layerwise measures each block once and keeps the responses: a disturbance changes what is "
        "measured after it, not what was learned before; joint measures afresh, where the method has it"
    )
    caplog.clear()
    jobs.plan(config(lab, EVERYTHING[0]))
    assert caplog.messages == []
    at_once = {"at_shot": 0, "do": "noise", "share": 0.1}  # before the only time that anything is measured
    jobs.plan(config(lab, at_once, training={"method": "phyll", "epochs": 2}))
    assert caplog.messages == []


def test_a_method_that_measures_nothing_is_said_to_see_nothing(lab: Path, caplog: pytest.LogCaptureFixture) -> None:
    with np.load(lab / "pairs.npz") as pairs:
        save_twin(WaveTwin().fit(pairs["x"], pairs["y"]), lab / "twin.npz")
    at_once = {"at_shot": 0, "do": "noise", "share": 0.1}
    jobs.plan(config(lab, at_once, training={"method": "in-silico", "twin": "twin.npz"}))
    assert [line for line in caplog.messages if "twin.npz" not in line] == [
        "training.method: in-silico measures nothing before the test, which alone meets a disturbance; a method that "
        "trains on the rig can learn from it"
    ]


# -- instruments -----------------------------------------------------------------------------------------------------

EVENTS: tuple[tuple[int, str, dict[str, Any]], ...] = (
    (7, "scatterer", {"scatterer": 1, "dx_m": 0.01, "dy_m": 0.0}),
    (12, "pixels", {"pixels": [0, 3, 5], "state": 1}),
    (12, "noise", {"share": 0.02}),
    (15, "ports", {"order": [1, 0]}),
    (20, "drift", {"db_per_1000_shots": 40.0}),
)


def measured(rig: MicrowaveRig, *cuts: int) -> np.ndarray:
    """Responses of a rig that is disturbed, the drives handed over in parts."""
    with rig:
        rig.commission()
        rig.restart(3)
        for shot, name, values in EVENTS:
            rig.disturb(name, at_shot=shot, **values)
        return in_parts(rig, *cuts)


def in_parts(rig: Rig, *cuts: int) -> np.ndarray:
    edges = [0, *cuts, len(microwaves.DRIVES)]
    parts = [microwaves.DRIVES[a:b] for a, b in pairwise(edges)]
    return np.concatenate([rig.layers[0].forward(part) for part in parts])


@pytest.fixture(scope="module")
def without_instruments() -> np.ndarray:
    return measured(microwaves.rig(fidelity="physics"))


def test_instruments_see_the_same_as_the_room_whatever_the_batches(without_instruments: np.ndarray) -> None:
    for cuts in ((), (5, 10, 13), (7,)):
        assert measured(microwaves.rig(), *cuts).tobytes() == without_instruments.tobytes()
    with microwaves.rig(fidelity="physics") as rig:
        rig.commission()
        rig.restart(3)
        undisturbed = in_parts(rig)
    assert (undisturbed[:7] == without_instruments[:7]).all()
    assert (undisturbed[7:] != without_instruments[7:]).any(axis=1).all()


@contextmanager
def served(text: str) -> Iterator[str]:
    """The config that uses what is served in another thread."""
    told: queue.Queue[Serving | BaseException] = queue.Queue()
    stop = threading.Event()

    def work() -> None:
        try:
            emulate(loads(text, Experiment), told.put, stopped=stop.is_set)
        except BaseException as error:
            told.put(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        serving = told.get(timeout=30)
        assert isinstance(serving, Serving), serving
        yield serving.config
    finally:
        stop.set()
        thread.join(10)


def test_emulators_elsewhere_are_told_and_told_again_after_a_restore(
    without_instruments: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "POLL_S", 0.01)
    text = dump(
        Experiment.model_validate(
            {
                "rig": microwaves.settings(),
                "dataset": {"type": "vowels", "path": "v.csv"},
                "training": {"method": "phyll"},
            }
        )
    )
    with served(text) as used, jobs.open_rig(loads(used, Experiment).value) as rig:
        assert isinstance(rig, MicrowaveRig) and rig.world is None
        rig.commission()
        rig.restart(3)
        for shot, name, values in EVENTS:
            rig.disturb(name, at_shot=shot, **values)
        layer = rig.layers[0]
        first = layer.forward(microwaves.DRIVES[:18])
        state = layer.state()
        assert state["disturbances"] == [[shot, name, rig_values(rig, name, values)] for shot, name, values in EVENTS]
        rig.restart(3)  # another trial: nothing of it is left
        assert layer.state()["disturbances"] == []
        layer.forward(microwaves.DRIVES[:2])
        layer.restore(state)
        rest = layer.forward(microwaves.DRIVES[18:])
    assert np.concatenate([first, rest]).tobytes() == without_instruments.tobytes()


def rig_values(rig: MicrowaveRig, name: str, values: dict[str, Any]) -> dict[str, Any]:
    """With the defaults."""
    wanted = rig.disturbances()[name].values
    return {key: values.get(key, value.default) for key, value in wanted.items()}


@pytest.mark.parametrize(
    ("name", "values"),
    [("microphone", {"microphone": 1}), ("noise", {"share": 3e-3})],
)  # fmt: skip
def test_a_converter_hears_what_the_cavity_alone_says(name: str, values: dict[str, Any]) -> None:
    drive = rooms.DRIVE[:8]
    with rooms.SmallRig() as rig:
        rig.ready()
        assert rig.disturb(name, at_shot=5, **values) == 5
        y = rig.layers[0].forward(drive).reshape(8, 2, 3)
        rig.restart(3)
        still = rig.layers[0].forward(drive).reshape(8, 2, 3)
        rig.world.disturb(name, at_shot=5, **values)
        expected = rig.world.respond_without_noise(drive).reshape(8, 2, 3)
    assert np.abs(y[:5] - still[:5]).max() < 1e-3  # the playback ended earlier: other noise
    scale = np.sqrt((expected**2).mean())
    if name == "noise":
        spread = np.sqrt(((y[5:] - expected[5:]) ** 2).mean()) / scale
        assert 1.5e-3 < spread < 6e-3
    else:
        assert np.abs(y[5:] - expected[5:]).max() < 5e-3 * scale
        assert np.abs(y[5:] - still[5:]).max() > 2e-2 * scale


# -- documented ------------------------------------------------------------------------------------------------------


def row(name: str, known: Known) -> str:
    """A disturbance as docs/configuration.md has it."""

    def values(key: str, value: Value) -> str:
        ranges = {
            "whole": "from 0",
            "list": "a list, from 0",
            "order": "a list of all, from 0",
            "number": value.allowed,
        }
        return f"`{key}`: {ranges[value.form]}" + ("" if value.default is None else f", default {value.default:g}")

    told = "; ".join(values(key, value) for key, value in known[name].values.items())
    return f"| `do: {name}` | {known[name].meaning} | {told} |"


def test_every_disturbance_is_documented() -> None:
    text = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    section = text.partition("\n## `disturbances`\n")[2].partition("\n## ")[0]
    worlds: dict[str, Known] = {
        "acoustic": acoustic_disturbances.known(AcousticParameters()),
        "microwave": microwave_disturbances.known(MicrowaveParameters()),
        "optical": optical_disturbances.known(OpticalParameters()),
        "recorded": channels.known(),
    }
    for part, (world, known) in zip(section.split("\nFor `type: ")[1:], worlds.items(), strict=True):
        assert part.startswith(f"{world}`")
        assert [line for line in part.splitlines() if line.startswith("| `do:")] == [row(name, known) for name in known]

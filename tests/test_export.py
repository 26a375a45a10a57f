"""``labtrain export``: what other programs read back is what was logged."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import wavfile
from typer.testing import CliRunner

from labtrain import recording
from labtrain.cli import app
from labtrain.clock import SimulatedClock
from labtrain.errors import InputError, LabtrainError, MissingExtra, RunError
from labtrain.events import Counted
from labtrain.export import export
from labtrain.layer import Shots
from labtrain.runs import Run
from labtrain.yaml_lines import dump_yaml
from tests.rigs import microwaves

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def chunk(n: int, n_out: int = 3, sigma: bool = True, at_s: float = 1000.0) -> Shots:
    y = RNG.random((n, n_out))
    return Shots(RNG.random((n, 2)), y, 0.1 * y if sigma else None, np.arange(1, n + 1), at_s)


def training(folder: str = "run", layers: tuple[str, ...] = ("one",), **origin: Any) -> tuple[Path, list[Shots]]:
    """A run as a training leaves it: three chunks a layer, the first one without sigma; and the shots."""
    logged = []
    run = Run.create(
        Path(folder), config_text="rig: {gain: 3 dB}\n", config={"rig": {}}, provenance={"labtrain": "0", **origin},
        clock=SimulatedClock(5.0),
    )  # fmt: skip
    with run:
        for layer in layers:
            for number, step in enumerate((1, 2, "test")):
                shots = chunk(4 + number, sigma=number > 0, at_s=1000.0 + 60 * number)
                reading = {"temperature_c": 20.0 + number} if number else None
                run.append(layer, step, shots, {}, reading, trial=number // 2)
                logged.append(shots)
    return Path(folder), logged


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# --- netcdf -----------------------------------------------------------------------------------------------------------


def test_netcdf_gives_everything_back():
    import xarray

    folder, logged = training(y_units={"one": "Pa"})
    (done,) = export(folder, "netcdf")
    assert str(done) == f"{folder / 'shots.nc'}: 15 shots of layer 'one', y in Pa"
    assert done.path.read_bytes()[:4] == b"CDF\x02"  # NetCDF 3, 64-bit offsets
    with xarray.open_dataset(done.path) as found:
        assert dict(found.sizes) == {"shot": 15, "input": 2, "output": 3}
        for name in ("x", "y", "attempts"):
            assert np.array_equal(found[name], np.concatenate([getattr(shots, name) for shots in logged]))
        assert np.isnan(found.sigma[:4]).all()
        assert np.array_equal(found.sigma[4:], np.concatenate([shots.sigma for shots in logged[1:]]))
        assert (found.y.units, found.sigma.units, found.x.units) == ("Pa", "Pa", "1")
        assert found.layer.item() == "one"
        assert found.trial.values.tolist() == [0] * 9 + [1] * 6
        assert found.step.values.tolist() == ["1"] * 4 + ["2"] * 5 + ["test"] * 6
        assert str(found.time.values[-1]) == "1970-01-01T00:18:40.000000000"
        assert np.array_equal(found.temperature_c, [np.nan] * 4 + [21.0] * 5 + [22.0] * 6, equal_nan=True)
        assert found.config == "rig: {gain: 3 dB}\n"
        assert json.loads(found.provenance)["y_units"] == {"one": "Pa"}
        assert (found.kind, found.created) == ("training", "1970-01-01T00:00:05Z")


def test_several_layers_are_several_files_and_old_runs_know_no_unit():
    import xarray

    folder, logged = training(layers=("microwave", "microwave 2"))
    done = export(folder, "netcdf", "out.nc")
    assert [(e.path, e.layer, e.shots) for e in done] == [
        (Path("out-microwave.nc"), "microwave", 15), (Path("out-microwave-2.nc"), "microwave 2", 15),
    ]  # fmt: skip
    assert str(done[1]) == "out-microwave-2.nc: 15 shots of layer 'microwave 2', unit unknown"
    with xarray.open_dataset(done[1].path) as found:
        assert np.array_equal(found.y, np.concatenate([shots.y for shots in logged[3:]]))
        assert found.y.units == "unknown"


def test_xarray_is_an_extra(monkeypatch):
    folder, _ = training()
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(MissingExtra) as caught:
        export(folder, "netcdf")
    assert str(caught.value) == (
        'NetCDF files need xarray, which is not installed; run: pip install "labtrain[export]"'
    )
    assert export(folder, "csv")  # needs none


# --- csv --------------------------------------------------------------------------------------------------------------


def test_csv_gives_everything_back():
    folder, logged = training(y_units={"one": "sd of |S21|"})
    heard: list[Any] = []
    (done,) = export(folder, "csv", listeners=[heard.append])
    found = rows(done.path)
    unit = "(sd of |S21|)"
    assert list(found[0]) == [
        "shot", "layer", "trial", "step", "time_s", "x1", "x2", *(f"y{i} {unit}" for i in (1, 2, 3)),
        *(f"sigma{i} {unit}" for i in (1, 2, 3)), "attempts",
    ]  # fmt: skip
    y = [[float(row[f"y{i} {unit}"]) for i in (1, 2, 3)] for row in found]
    assert np.array_equal(y, np.concatenate([shots.y for shots in logged]))
    assert [row[f"sigma1 {unit}"] == "" for row in found] == [True] * 4 + [False] * 11
    assert [found[-1][name] for name in ("shot", "layer", "trial", "step", "time_s")] == [
        "14", "one", "1", "test", "1120.0",
    ]  # fmt: skip
    assert [event.done for event in heard] == [0, 4, 9, 15]
    assert heard[-1] == Counted("exporting", 15, 15)


def test_a_run_of_the_microwave_rig_is_exported_with_its_commissioning():
    small = {"rig": microwaves.settings(), "record": {"shots": 20}}
    Path("room.yaml").write_text(dump_yaml(small))
    folder = Path(recording.record(recording.load("room.yaml"))["run"])
    first, second = export(folder, "csv")
    assert first.path == folder / "shots-microwave-commissioning.csv" and len(rows(first.path)) == 30
    with np.load(folder / "pairs.npz") as pairs:
        told = [[float(row[f"x{i}"]) for i in range(1, 7)] for row in rows(second.path)]
        assert np.array_equal(told, pairs["x"])


# --- wav --------------------------------------------------------------------------------------------------------------


def waveform(folder: Path, name: str, **changes: Any) -> np.ndarray:
    samples = RNG.standard_normal((480, 2)).astype(np.float32)
    kept = {
        "samples": samples, "rate_hz": 48000.0, "channels": np.array(["mic 1", "loopback"]), "shot": 7,
        "reason": "sample", "scale_pa": np.array([2.5, np.nan]),
    }  # fmt: skip
    (folder / "waveforms").mkdir(exist_ok=True)
    kept.update(changes)
    np.savez(folder / "waveforms" / name, **kept)
    return samples


def test_wav_gives_the_samples_back():
    folder, _ = training()
    first, second = waveform(folder, "a.npz"), waveform(folder, "b.npz", reason="mic 1 clipped", shot=9)
    (done,) = export(folder, "wav")
    assert str(done) == f"{folder / 'wav'}: 2 waveforms"
    for name, samples in (("a.wav", first), ("b.wav", second)):
        rate_hz, found = wavfile.read(done.path / name)
        assert rate_hz == 48000 and found.dtype == np.float32 and np.array_equal(found, samples)
    index = rows(done.path / "index.csv")
    assert list(index[0].values()) == ["a.wav", "7", "sample", "48000", "480", "0", "mic 1", "2.5"]
    assert list(index[3].values()) == ["b.wav", "9", "mic 1 clipped", "48000", "480", "1", "loopback", ""]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"channels": np.array(["mic 1"])}, "samples and channels do not fit together; restore it or move it away"),
        (
            {"reason": np.array(object(), dtype=object)},
            "not a waveform that labtrain kept (Object arrays cannot be loaded when allow_pickle=False); "
            "restore it or move it away",
        ),
    ],
)
def test_a_damaged_waveform_is_named(changes, sentence):
    folder, _ = training()
    waveform(folder, "a.npz", **changes)
    with pytest.raises(RunError) as caught:
        export(folder, "wav")
    assert str(caught.value) == f"{folder / 'waveforms' / 'a.npz'}: {sentence}"
    assert not list(folder.glob("wav*/*.wav"))


# --- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["netcdf", "csv", "wav"])
def test_nothing_is_overwritten(format):
    folder, _ = training()
    waveform(folder, "a.npz")
    Path("there").touch()
    with pytest.raises(InputError) as caught:
        export(folder, format, "there")
    assert str(caught.value) == "there: exists already; move it away, or choose another place with --out"


@pytest.mark.parametrize("format", ["netcdf", "csv", "wav"])
def test_a_place_that_cannot_be_written_is_told(format):
    folder, _ = training()
    waveform(folder, "a.npz")
    Path("file").touch()
    with pytest.raises(InputError) as caught:
        export(folder, format, "file/out")
    assert str(caught.value) == (
        f"{Path('file/out')}: cannot be written (Not a directory); choose another place with --out FILE"
    )


def test_a_run_that_has_none_of_it_says_so():
    Run.create(Path("run"), config_text="", config={}, provenance={}, clock=SimulatedClock()).close()
    with pytest.raises(RunError) as caught:
        export("run", "csv")
    assert str(caught.value) == "run: no shot is logged; go on with `labtrain resume run` first"
    with pytest.raises(RunError) as caught:
        export("run", "wav")
    assert str(caught.value) == (
        "run: no raw waveforms are kept in this run; acoustic rigs that play and record sound keep those of bad shots, "
        "and of a share of the good ones (rig.shot.keep_good); export the shots as netcdf or csv"
    )


@pytest.mark.parametrize(
    ("error", "sentence"),
    [(RunError("broken"), "broken"), (KeyboardInterrupt(), "out.csv: not written, stopped by Ctrl-C")],
)
def test_an_export_that_is_broken_off_leaves_no_half_file(monkeypatch, error, sentence):
    folder, _ = training()

    def broken(self: Run, layer: str) -> Any:
        yield from list(chunks(self, layer))[:1]
        raise error

    chunks = Run.chunks
    monkeypatch.setattr(Run, "chunks", broken)
    with pytest.raises(LabtrainError) as caught:
        export(folder, "csv", "out.csv")
    assert str(caught.value) == sentence
    assert sorted(path.name for path in Path().iterdir()) == ["run"]


def test_the_command():
    folder, _ = training(y_units={"one": "1"})
    done = CliRunner().invoke(app, ["export", str(folder), "--format", "csv", "--out", "a.csv"])
    assert done.stdout == "a.csv: 15 shots of layer 'one', y of unit 1\n"
    done = CliRunner().invoke(app, ["export", str(folder), "--format", "csv", "--out", "b.csv", "--json"])
    assert json.loads(done.stdout) == [{"path": "b.csv", "layer": "one", "shots": 15, "y_unit": "1"}]
    assert list(rows(Path("a.csv"))[0])[7] == "y1"

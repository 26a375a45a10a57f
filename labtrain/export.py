"""Shots of a run for other programs: NetCDF, CSV, and kept waveforms as WAV (``labtrain export``)."""

from __future__ import annotations

import csv
import json
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import gmtime, strftime
from typing import Any, Literal

import numpy as np

from labtrain.clock import Clock, RealClock
from labtrain.errors import InputError, Interrupted, MissingExtra, RunError
from labtrain.events import Counted, Listener
from labtrain.measuring import columns, tell, writing
from labtrain.runs import Run
from labtrain.shotlog import Chunk

Format = Literal["netcdf", "csv", "wav"]

_OUT: dict[Format, str] = {"netcdf": "shots.nc", "csv": "shots.csv", "wav": "wav"}
STAGE = "exporting"
WAVEFORMS = "waveforms"
_ARRAYS = ("samples", "rate_hz", "channels", "shot", "reason", "scale_pa")


@dataclass(frozen=True)
class Exported:
    """What was written: a file with `shots` shots of a layer, responses in `y_unit` (None: not known), or a folder."""

    path: Path
    layer: str | None
    shots: int
    y_unit: str | None

    def __str__(self) -> str:
        if self.layer is None:
            return f"{self.path}: {self.shots:,} waveforms"
        unit = "unit unknown" if self.y_unit is None else f"y in {self.y_unit}" if self.y_unit != "1" else "y of unit 1"
        return f"{self.path}: {self.shots:,} shots of layer {self.layer!r}, {unit}"


def export(
    folder: str | Path,
    format: Format,
    out: str | Path | None = None,
    listeners: Sequence[Listener] = (),
    clock: Clock | None = None,
) -> list[Exported]:
    """Write all logged shots of a run, or its kept waveforms; works while another process measures.

    Parameters
    ----------
    folder : path of a run folder
    format : "netcdf", "csv" or "wav"
        netcdf: one xarray Dataset a layer, NetCDF 3 with 64-bit offsets, by way of scipy; it must fit into memory.
        csv: one file a layer, chunk by chunk. wav: a folder of 32-bit float WAV files, and ``index.csv``.
    out : path, optional
        File, or, for wav, folder; default: ``shots.nc``, ``shots.csv`` or ``wav`` in the run folder. With several
        layers, their names are put before the ending.
    listeners : sequence of callables
        Get events Counted of labtrain.events.

    Raises
    ------
    InputError
        If a file is there already or cannot be written.
    MissingExtra
        If xarray, which netcdf needs, is not installed.
    RunError
        If the folder is no run, or holds nothing to export.
    """
    folder = Path(folder)
    target = Path(out) if out is not None else folder / _OUT[format]
    if format == "netcdf":
        _xarray()  # before anything else is done
    with Run.open(folder, write=False, clock=clock or RealClock()) as run:
        return _waveforms(folder, target, listeners) if format == "wav" else _shots(run, format, target, listeners)


def _shots(run: Run, format: Format, target: Path, listeners: Sequence[Listener]) -> list[Exported]:
    layers, units = run.layers(), run.provenance.get("y_units", {})
    if not layers:
        raise RunError(f"{run.folder}: no shot is logged; go on with `labtrain resume {run.folder}` first")
    paths = [target if len(layers) == 1 else target.with_stem(f"{target.stem}-{_plain(name)}") for name in layers]
    for path in paths:
        _refuse_existing(path)
    planned, done, exported = sum(layers.values()), 0, []
    tell(listeners, Counted(STAGE, 0, planned))

    def counted(chunks: Iterable[Chunk]) -> Iterator[Chunk]:
        nonlocal done
        for chunk in chunks:
            yield chunk
            done += len(chunk.shots)
            tell(listeners, Counted(STAGE, done, planned))

    for name, path in zip(layers, paths, strict=True):
        unit, chunks = units.get(name), counted(run.chunks(name))
        with _whole(path) as unfinished:
            if format == "csv":
                shots = _write_csv(unfinished, unit, chunks)
            else:
                dataset = _dataset(run, name, unit, list(chunks))
                dataset.to_netcdf(unfinished, engine="scipy", format="NETCDF3_64BIT")
                shots = dataset.sizes["shot"]
        exported.append(Exported(path, name, shots, unit))
    return exported


def _write_csv(path: Path, y_unit: str | None, chunks: Iterator[Chunk]) -> int:
    """Shots as rows, in the order of the log; how many."""
    number = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        for chunk in chunks:
            shots = chunk.shots
            # sigma always has its columns: a layer may tell it later than with its first shot
            sigma = np.full_like(shots.y, np.nan) if shots.sigma is None else shots.sigma
            if not number:
                named = columns(shots.x.shape[1], shots.y.shape[1], y_unit, sigma=True)
                writer.writerow(["shot", "layer", "trial", "step", "time_s", *named, "attempts"])
            begins = [chunk.layer, chunk.trial, chunk.step, shots.started_s]
            for values, attempts in zip(np.hstack([shots.x, shots.y, sigma]).tolist(), shots.attempts, strict=True):
                writer.writerow([number, *begins, *("" if v != v else v for v in values), attempts])
                number += 1
    return number


def _dataset(run: Run, layer: str, y_unit: str | None, chunks: list[Chunk]) -> Any:
    """All shots of a layer as an xarray Dataset."""
    unit = {"units": "unknown" if y_unit is None else y_unit}
    each = [len(chunk.shots) for chunk in chunks]

    def shotwise(values: Sequence[Any], dtype: Any) -> Any:
        return np.repeat(np.array(values, dtype=dtype), each)

    sigma = [np.full_like(c.shots.y, np.nan) if c.shots.sigma is None else c.shots.sigma for c in chunks]
    told = {"units": "1", "long_name": "drive, as the instrument was told"}
    variables: dict[str, Any] = {
        "x": (("shot", "input"), np.concatenate([chunk.shots.x for chunk in chunks]), told),
        "y": (
            ("shot", "output"),
            np.concatenate([chunk.shots.y for chunk in chunks]),
            unit | {"long_name": "response"},
        ),
        "attempts": ("shot", np.concatenate([c.shots.attempts for c in chunks]).astype(np.int32)),
    }
    if any(chunk.shots.sigma is not None for chunk in chunks):
        name = {"long_name": "standard deviation of the response"}
        variables["sigma"] = (("shot", "output"), np.concatenate(sigma), unit | name)
    for name_ in sorted({name for chunk in chunks for name in chunk.environment or {}}):
        readings = [(chunk.environment or {}).get(name_, np.nan) for chunk in chunks]
        variables[name_] = ("shot", shotwise(readings, np.float64), {"long_name": "reading that came with the shots"})
    epoch = {"units": "seconds since 1970-01-01", "long_name": "when the chunk began that the shot came with, UTC"}
    return _xarray().Dataset(
        variables,
        coords={
            "layer": layer,
            "shot": np.arange(sum(each), dtype=np.int32),
            "trial": ("shot", shotwise([chunk.trial for chunk in chunks], np.int32)),
            "step": ("shot", shotwise([str(chunk.step) for chunk in chunks], np.str_)),
            "time": ("shot", shotwise([chunk.shots.started_s for chunk in chunks], np.float64), epoch),
        },
        attrs={
            "run": run.folder.name,
            "kind": run.kind,
            "status": run.status,
            "created": strftime("%Y-%m-%dT%H:%M:%SZ", gmtime(run.created_s)),
            "config": run.config_text,
            "provenance": json.dumps(run.provenance),
        },
    )


def _xarray() -> Any:
    try:
        import xarray
    except ImportError:
        raise MissingExtra(
            'NetCDF files need xarray, which is not installed; run: pip install "labtrain[export]"'
        ) from None
    return xarray


def _waveforms(folder: Path, target: Path, listeners: Sequence[Listener]) -> list[Exported]:
    """Every kept waveform as a WAV file of its own name, and ``index.csv``, which says what each is."""
    from scipy.io import wavfile

    kept = sorted((folder / WAVEFORMS).glob("*.npz"))
    if not kept:
        raise RunError(
            f"{folder}: no raw waveforms are kept in this run; acoustic rigs that play and record sound keep those of "
            "bad shots, and of a share of the good ones (rig.shot.keep_good); export the shots as netcdf or csv"
        )
    _refuse_existing(target)
    tell(listeners, Counted(STAGE, 0, len(kept), "waveforms"))
    with _whole(target) as unfinished:
        unfinished.mkdir()
        with (unfinished / "index.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["file", "shot", "reason", "rate_hz", "frames", "channel", "name", "full_scale_pa"])
            for done, path in enumerate(kept, start=1):
                wave = _waveform(path)
                samples, name = wave["samples"].astype(np.float32), f"{path.stem}.wav"
                rate_hz = float(wave["rate_hz"])
                wavfile.write(unfinished / name, round(rate_hz), samples)
                whole = [name, int(wave["shot"]), str(wave["reason"]), f"{rate_hz:.12g}", len(samples)]
                scales = np.broadcast_to(wave["scale_pa"], samples.shape[1:]).tolist()
                for channel, (called, scale) in enumerate(zip(wave["channels"].tolist(), scales, strict=True)):
                    writer.writerow([*whole, channel, called, "" if scale != scale else scale])
                tell(listeners, Counted(STAGE, done, len(kept), "waveforms"))
    return [Exported(target, None, len(kept), None)]


def _waveform(path: Path) -> dict[str, Any]:
    """The arrays of a kept waveform."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = {name: archive[name] for name in _ARRAYS}
        fits = found["samples"].ndim == 2 and found["samples"].shape[1:] == found["channels"].shape
    except (AttributeError, EOFError, KeyError, OSError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise RunError(f"{path}: not a waveform that labtrain kept ({error}); restore it or move it away") from None
    if not fits:
        raise RunError(f"{path}: samples and channels do not fit together; restore it or move it away")
    return found


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Gives another path beside this one, which takes its place in the end: nobody ever sees half of it."""
    unfinished = path.with_name(path.name + ".tmp")
    try:
        with writing(path):
            yield unfinished
            unfinished.replace(path)
    except KeyboardInterrupt:
        raise Interrupted(f"{path}: not written, stopped by Ctrl-C") from None
    finally:
        with suppress(OSError):
            shutil.rmtree(unfinished) if unfinished.is_dir() else unfinished.unlink(missing_ok=True)


def _refuse_existing(path: Path) -> None:
    if path.exists():
        raise InputError(f"{path}: exists already; move it away, or choose another place with --out")


def _plain(name: str) -> str:
    """A layer's name as part of a file name."""
    return "".join(letter if letter.isalnum() else "-" for letter in name)

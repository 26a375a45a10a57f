"""Measuring the drives of a file on any rig (``labtrain measure``), and what recordings share with that."""

from __future__ import annotations

import csv
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, TypeVar

from labtrain import config
from labtrain.clock import Clock, RealClock
from labtrain.config import Loaded, Section
from labtrain.datasets.reader import read_drives
from labtrain.errors import DataError, InputError
from labtrain.events import Commissioning, Counted, Event, Listener
from labtrain.jobs import check_trace, naming_lines, open_rig, safe_first
from labtrain.layer import Averaged, Layer, LayerInfo, Shots
from labtrain.rigs.rig import Rig
from labtrain.safety import Guard
from labtrain.stop import RigAlone
from labtrain.threads import blas_threads

log = logging.getLogger("labtrain")

S = TypeVar("S", bound=Section)
ShotTaker = Callable[[LayerInfo, Shots], object]


@dataclass(frozen=True)
class Measured:
    """What was measured, beside the shots themselves: `attempts` counts the repetitions of bad readings too."""

    layer: str
    y_unit: str
    shots: int
    attempts: int
    seconds: float


def load(path: str | Path, overrides: Sequence[str] = ()) -> Loaded[RigAlone]:
    """Read the section ``rig`` of a configuration file; the rest of the file is not looked at.

    Raises
    ------
    ConfigError
        If the section has an error.
    InputError
        If an override is about another section.
    """
    return load_sections(path, RigAlone, overrides)


def load_sections(path: str | Path, schema: type[S], overrides: Sequence[str] = ()) -> Loaded[S]:
    """Read the sections of a file that a schema has; an override of another one would be lost in silence."""
    refuse_others(schema, overrides)
    return config.load(path, schema, overrides)


def refuse_others(schema: type[Section], overrides: Sequence[str]) -> None:
    """Refuse overrides of sections that a schema does not have."""
    for option in overrides:
        if option.partition("=")[0].partition(".")[0] not in schema.model_fields:
            known = ", ".join(schema.model_fields)
            raise InputError(f"--set {option}: nothing but {known} is looked at here; leave the option out")


def measure(
    loaded: Loaded[Any],
    rows_csv: str | Path,
    take: ShotTaker,
    layer: int = 0,
    listeners: Sequence[Listener] = (),
    clock: Clock | None = None,
    trace_io: Path | None = None,
) -> Measured:
    """Measure the drives of a CSV file on one layer of a rig.

    Parameters
    ----------
    loaded : Loaded
        As :func:`load` gives it, or :func:`labtrain.load`.
    rows_csv : path
        See :func:`labtrain.datasets.reader.read_drives`.
    take : callable (LayerInfo, Shots)
        Gets every chunk as it arrives, in order; :class:`CsvShots` is one.
    layer : int
        Number of the layer, from 0.
    listeners : sequence of callables
        Get events Commissioning and Counted of labtrain.events.
    trace_io : path, optional
        File for every byte to and from the instruments.

    Raises
    ------
    DataError
        Before the rig is opened, with a line for each error in the file; or if it does not fit the layer.
    MeasurementError
        If a shot stays bad; earlier chunks have been handed out.
    Interrupted
        After Ctrl-C or SIGTERM, once the chunk in progress has been handed out.
    """
    clock = clock or RealClock()
    where, drives = read_drives(rows_csv)
    with naming_lines(loaded):
        rig = open_rig(loaded.value, clock, trace_io, loaded.source)
    with Guard("nothing was measured", {"rig": rig.safe}, defers=False) as guard, naming_lines(loaded), rig:
        rig.check = guard.check
        check_trace(rig)
        chosen = layer_of(rig, layer, "--layer")
        if drives.shape[1] != chosen.info.n_in:
            raise DataError(
                f"{where[0]}: {drives.shape[1]} columns, layer {chosen.name!r} of this rig has {chosen.info.n_in} "
                "inputs; give one column for each, in their order"
            )
        guard.hint = f"0 of {len(drives):,} rows are done"
        guard.defer()
        started, done, attempts = clock.monotonic(), 0, 0
        with blas_threads(1):
            _commission(rig, guard, listeners)
            tell(listeners, Counted("measuring", 0, len(drives)))
            repeats = rig.config.repeats
            for shots in (Averaged(chosen, repeats) if repeats > 1 else chosen).measure(drives):
                take(chosen.info, shots)
                done, attempts = done + len(shots), attempts + int(shots.attempts.sum())
                guard.hint = f"{done:,} of {len(drives):,} rows are done"
                tell(listeners, Counted("measuring", done, len(drives)))
                guard.check()
        seconds = clock.monotonic() - started
        safe_first(rig)
        return Measured(chosen.name, chosen.info.y_unit, done, attempts, seconds)


def layer_of(rig: Rig, number: int, setting: str) -> Layer:
    """A layer of a rig by its number.

    Raises
    ------
    InputError
        If the rig has no such layer.
    """
    if not 0 <= number < len(rig.layers):
        names = ", ".join(f"{i} ({layer.name})" for i, layer in enumerate(rig.layers))
        raise InputError(f"{setting}: asked layer {number}, this rig has {names}; ask for one of these")
    return rig.layers[number]


def _commission(rig: Rig, guard: Guard, listeners: Sequence[Listener]) -> None:
    planned, done = rig.commissioning_shots, 0

    def arrived(name: str, shots: Shots, state: dict[str, Any]) -> None:
        del name, state
        nonlocal done
        done += len(shots)
        tell(listeners, Commissioning(done, planned))
        guard.check()

    if planned:
        rig.commission(arrived)


def tell(listeners: Sequence[Listener], event: Event) -> None:
    """Tell all listeners."""
    for listener in listeners:
        listener(event)


@contextmanager
def new_file(path: Path) -> Iterator[TextIO]:
    """A new text file; it is made before anything is measured, and removed if nothing came to stand in it.

    Raises
    ------
    InputError
        If it exists or cannot be made.
    """
    with writing(path):
        try:
            file = path.open("x", encoding="utf-8", newline="")
        except FileExistsError:
            raise InputError(f"{path}: exists already; choose another file with --out FILE") from None
    try:
        with file:
            yield file
    finally:
        with suppress(OSError):
            if not path.stat().st_size:
                path.unlink()


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Turn what the disk reports of a file into one sentence."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}); choose another place with --out FILE"
        ) from None


class CsvShots:
    """Writes shots as CSV the moment they arrive: ``shot, x1, ..., y1 (Pa), ..., sigma1 (Pa), ..., attempts``.

    Shots count from 0 in the order of arrival; x1 is what input 0 was really told, y1 the response of output 0. A
    unit stands in parentheses behind y and sigma, unless it is that of a bare number.

    Parameters
    ----------
    file : text file, open for writing

    Raises
    ------
    InputError
        At the call, if the file cannot be written.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._writer = csv.writer(file, lineterminator="\n")
        self._next = -1

    def __call__(self, info: LayerInfo, shots: Shots) -> None:
        with writing(self._file.name):
            self._write(info, shots)

    def _write(self, info: LayerInfo, shots: Shots) -> None:
        sigma = shots.sigma
        if self._next < 0:
            self._next = 0
            self._writer.writerow(["shot", *columns(info.n_in, info.n_out, info.y_unit, sigma is not None), "attempts"])
        for row in range(len(shots)):
            values = [*shots.x[row].tolist(), *shots.y[row].tolist(), *([] if sigma is None else sigma[row].tolist())]
            self._writer.writerow([self._next, *values, int(shots.attempts[row])])
            self._next += 1
        self._file.flush()


def columns(n_in: int, n_out: int, y_unit: str | None, sigma: bool) -> list[str]:
    """Names of the columns of drives, responses and their deviations; None: the unit is not known."""
    unit = f" ({y_unit})" if y_unit not in (None, "", "1") else ""
    parts = [("x", n_in, ""), ("y", n_out, unit), *([("sigma", n_out, unit)] if sigma else [])]
    return [f"{name}{i}{of}" for name, count, of in parts for i in range(1, count + 1)]

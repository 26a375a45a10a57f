"""A simulated optical bench: light from a modulator through a scatterer to a camera.

The parts are those of :mod:`labtrain.sim.optics`: modulator, scatterers (a complex Gaussian transmission matrix, the
modes of a fibre, Fourier transforms with random phases, the published model), a camera, and a fibre that drifts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labtrain.errors import InputError
from labtrain.sim.disturbances import Event, Events, Known, checked
from labtrain.sim.optics.bench import Bench, Moment
from labtrain.sim.optics.disturbances import Altered, altered, known, own
from labtrain.sim.optics.parameters import OpticalParameters
from labtrain.sim.optics.scatterers import BLOCK
from labtrain.sim.optics.wander import HOLD
from labtrain.sim.vectors import check_vectors

__all__ = ["BLOCK", "HOLD", "OpticalParameters", "OpticalWorld"]

Array = NDArray[np.float64]

Work = Callable[[slice, Moment], None]


class OpticalWorld:
    """The bench as a function of drive and shot number; also a modulator and a camera for emulators.

    Outputs are fractions of the full well, less a perfect dark frame: linear in the intensity, as a camera is, with
    noise around zero in the dark; or, with ``readout: amplitude``, their roots. Noise is keyed by seed, shot and number
    of the frame within the shot; the fibre drifts between holds of 256 shots, as a function of seed and shot;
    disturbances happen at any shot. Shots are computed in blocks of fixed size in which each has its place, since a
    matrix product may round differently in another one (few shots in a smaller block, where both turn out alike), and
    its sums have lengths that any number of BLAS threads rounds alike: the answer to a shot is bit for bit the same in
    whatever batch it is asked for.

    Parameters
    ----------
    parameters : OpticalParameters
    seed : int
        Of noise and drift; the geometry has its own.
    workers : int
        Threads that compute blocks; answers do not depend on it. With as many as there are cores, and BLAS held to one
        thread, the camera is computed on all cores too, and no thread waits for another.
    """

    def __init__(self, parameters: OpticalParameters, seed: int, *, workers: int = 1) -> None:
        self.parameters = parameters
        self.seed = seed
        self._workers = workers
        self._bench = Bench(parameters)
        self._events = Events(*own(parameters))
        self._altered: dict[int, Altered] = {}

    @property
    def n_in(self) -> int:
        return self._bench.modulator.n_in

    @property
    def n_out(self) -> int:
        return self._bench.camera.n_out

    # As a layer

    def respond(
        self, drive: ArrayLike, first_shot: int, *, exposure_s: float | None = None, frame: int = 0, noisy: bool = True
    ) -> Array:
        """Outputs, noise included, of shots first_shot, first_shot + 1, ...

        Parameters
        ----------
        drive : array_like, (n, n_in)
            In [0, 1], row by row of the input region; rounded to the modulator's levels.
        first_shot : int
            Not negative.
        exposure_s : float, optional
            Instead of the parameters'.
        frame : int
            Number of the frame within each shot: its own noise.
        noisy : bool
            False: a perfect camera, of as many bits.

        Returns
        -------
        ndarray, (n, n_out), float64

        Raises
        ------
        InputError
            If the drives do not have n_in columns within [0, 1].
        """
        rows, exposure_s, bench = self._drives(drive), self._exposure(exposure_s), self._bench
        y, dark = np.empty((len(rows), self.n_out)), bench.camera.dark_counts(exposure_s)

        def work(part: slice, moment: Moment) -> None:
            words = bench.camera.words(self.seed, moment.shot, frame, len(rows[part])) if noisy else None
            counts = bench.counts(moment, bench.modulator.cells(rows[part]), exposure_s, words)
            y[part] = bench.camera.outputs(counts, dark)

        self._run(work, len(rows), _shot(first_shot))
        return y

    def respond_without_noise(self, drive: ArrayLike, first_shot: int = 0) -> Array:
        """As :meth:`respond`, with a perfect camera; drift stays."""
        return self.respond(drive, first_shot, noisy=False)

    def quantise(self, drive: ArrayLike) -> Array:
        """Drives (n, n_in) as the modulator shows them."""
        return self._bench.modulator.quantise(self._drives(drive))

    def vjp(self, drive: ArrayLike, dy: ArrayLike, shot: int = 0, *, exposure_s: float | None = None) -> Array:
        """Exact derivative of outputs without noise: dx_i = sum_k dy_k d y_k / d x_i, as the bench is at one shot.

        Drives are rounded to levels first; that rounding, and that of the camera, is passed straight through. A pixel
        whose well is full passes nothing.

        Parameters
        ----------
        drive : array_like, (n, n_in)
        dy : array_like, (n, n_out)
        shot : int

        Returns
        -------
        ndarray, (n, n_in), float64

        Raises
        ------
        InputError
            If drives or derivatives do not fit.
        """
        rows = self._drives(drive)
        back = check_vectors(dy, len(rows), self.n_out, "optical world")
        exposure_s, moment = self._exposure(exposure_s), self._at(_shot(shot))
        found = np.empty((len(rows), self.n_in))
        for start in range(0, len(rows), self._bench.shots_at_once):
            part = slice(start, start + self._bench.shots_at_once)
            found[part] = self._bench.vjp(moment, rows[part], back[part], exposure_s)
        return found

    # As a modulator and a camera

    def frames(
        self,
        patterns: ArrayLike,
        first_shot: int,
        *,
        exposure_s: float | None = None,
        frame: int = 0,
        lit: bool = True,
        noisy: bool = True,
    ) -> NDArray[np.uint16]:
        """What the camera reads for patterns, one shot each.

        Parameters
        ----------
        patterns : array_like of int, (n, rows, columns)
            Levels of the modulator's cells, 0 to levels - 1.
        first_shot, exposure_s, frame, noisy
            As for :meth:`respond`; with ``frame`` 1, 2, ... further frames of the same patterns.
        lit : bool
            False: the illumination is off, for a dark frame.

        Returns
        -------
        ndarray, (n, rows, columns), uint16
            Counts of the camera's pixels, :attr:`OpticalParameters.top_count` where the well is full.

        Raises
        ------
        InputError
            If the patterns are not levels of all cells.
        """
        p, levels = self.parameters, np.asarray(patterns)
        fits = levels.ndim == 3 and levels.shape[1:] == p.slm_shape and levels.dtype.kind in "iu"
        if not fits or not _within(levels, 0, p.levels - 1):
            rows, columns = p.slm_shape
            raise InputError(
                f"optical world: patterns of shape {levels.shape}, {levels.dtype}, are not (shots, {rows}, {columns}) "
                f"of whole numbers 0 to {p.levels - 1}"
            )
        flat, exposure_s, bench = levels.reshape(len(levels), p.cells), self._exposure(exposure_s), self._bench
        found = np.empty((len(levels), p.pixels), dtype=np.uint16)

        def work(part: slice, moment: Moment) -> None:
            cells = np.zeros((len(flat[part]), p.width), dtype=np.intp)
            cells[:, : p.cells] = flat[part]
            words = bench.camera.words(self.seed, moment.shot, frame, len(cells)) if noisy else None
            found[part] = bench.counts(moment, cells, exposure_s, words, lit=lit)

        self._run(work, len(flat), _shot(first_shot))
        return found.reshape(len(levels), *p.camera_shape)

    def pattern(self, drive: ArrayLike) -> NDArray[np.uint16]:
        """Levels of all cells for drives (n, n_in): (n, rows, columns)."""
        cells = self._bench.modulator.cells(self._drives(drive))[:, : self.parameters.cells]
        return cells.astype(np.uint16).reshape(-1, *self.parameters.slm_shape)

    def outputs(self, frames: ArrayLike, dark: ArrayLike | None = None, *, exposure_s: float | None = None) -> Array:
        """Outputs (n, n_out) for frames (n, rows, columns), less a dark frame (rows, columns), or a perfect one."""
        counts = np.asarray(frames, dtype=np.float32).reshape(-1, self.parameters.pixels)
        level = self._bench.camera.dark_counts(self._exposure(exposure_s))
        if dark is not None:
            level = np.asarray(dark, dtype=np.float32).reshape(self.parameters.pixels)
        return np.asarray(self._bench.camera.outputs(counts, level), dtype=np.float64)

    def intensity(self, drive: ArrayLike, shot: int = 0) -> Array:
        """|E|^2 on the camera's pixels, in units of its mean, (n, pixels): for inspection."""
        return self._bench.intensity(self._at(_shot(shot)), self._bench.modulator.cells(self._drives(drive)))

    def transmission(self, shot: int = 0) -> NDArray[np.complex128]:
        """The transmission matrix as of one shot, (pixels, cells): for benches of few cells."""
        unit = np.eye(self.parameters.cells, self.parameters.width, dtype=np.complex64)
        return np.asarray(self._at(_shot(shot)).operator.forward(unit).T, dtype=np.complex128)

    # What happens by shot

    def environment(self, shot: int) -> dict[str, float]:
        """Readings at a shot: ``laser_power``, 1 as it was built."""
        return {"laser_power": self._after(shot).laser}

    def steady(self, shot: int) -> float:
        """Shots from this one on during which the bench stays as it is; infinity if nothing will happen."""
        last = self._after(shot).history[-1]
        return min(last.place(shot)[1] if last.eps else np.inf, self._events.still(shot))

    @property
    def disturbances(self) -> Known:
        """What can happen to this bench."""
        return known(self.parameters)

    def disturb(self, name: str, *, at_shot: int = 0, **values: Any) -> None:
        """Change the bench from a shot on: ``"fibre", correlation=0.5``; :attr:`disturbances` has names and values.

        Raises
        ------
        RefusedDisturbance
            For an unknown name, other values than these, or values out of range.
        """
        self._events.add(Event(at_shot, name, checked("optical world", self.disturbances, name, values)))
        self._altered.clear()

    def restart(self, seed: int) -> None:
        """Another seed for noise and drift; disturbances are undone."""
        self.seed = seed
        self._events.clear()
        self._altered.clear()

    def state(self) -> dict[str, Any]:
        """Seed and disturbances, JSON-compatible. The shot number is the caller's to keep."""
        return {"seed": self.seed, "disturbances": self._events.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Return to a state that :meth:`state` gave."""
        self.seed = int(state["seed"])
        self._events.restore(state["disturbances"])
        self._altered.clear()

    def _after(self, shot: int) -> Altered:
        """What the disturbances have made of the bench by a shot."""
        happened = self._events.until(shot)
        if len(happened) not in self._altered:
            self._altered[len(happened)] = altered(self.parameters, happened)
        return self._altered[len(happened)]

    def _at(self, shot: int) -> Moment:
        return self._bench.at(self.seed, shot, self._after(shot))

    def _run(self, work: Work, n: int, first_shot: int) -> None:
        """Do the work for all parts of a batch, here and on the other threads."""
        jobs, lock = self._jobs(n, first_shot), Lock()
        self._bench.prepare()

        def go() -> None:
            while True:
                with lock:  # one at a time prepares a moment: the bench remembers what it draws
                    job = next(jobs, None)
                if job is None:
                    return
                work(*job)

        if self._workers == 1 or n <= BLOCK:
            go()
            return
        with ThreadPoolExecutor(self._workers - 1) as pool:
            others = [pool.submit(go) for _ in range(self._workers - 1)]
            go()
            for other in others:
                other.result()

    def _jobs(self, n: int, first_shot: int) -> Iterator[tuple[slice, Moment]]:
        """Parts of a batch: a block, or what lies between two events."""
        done, at_once = 0, self._bench.shots_at_once
        while done < n:
            shot = first_shot + done
            count = int(min(n - done, at_once - shot % BLOCK, self.steady(shot)))
            yield slice(done, done + count), self._at(shot)
            done += count

    def _drives(self, drive: ArrayLike) -> Array:
        rows = np.asarray(drive, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != self.n_in or not _within(rows, 0.0, 1.0):
            raise InputError(
                f"optical world: drive of shape {rows.shape} is not (shots, {self.n_in}) of numbers in [0, 1]"
            )
        return rows

    def _exposure(self, exposure_s: float | None) -> float:
        if exposure_s is None:
            return self.parameters.exposure_s
        if not 0.0 < exposure_s < np.inf:
            raise InputError(f"optical world: asked an exposure of {exposure_s:g} s, it must be above 0")
        return float(exposure_s)


def _within(values: NDArray[Any], low: float, high: float) -> bool:
    """Also if there are none; what is no number is not."""
    return not values.size or bool(values.min() >= low and values.max() <= high)


def _shot(shot: int) -> int:
    if shot < 0:
        raise InputError(f"optical world: asked shot {shot}, shots are numbered from 0")
    return int(shot)

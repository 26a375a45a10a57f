"""Raw waveforms of some shots, kept with the run: of bad ones, to see what went wrong, and of a share of good ones."""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from labtrain.errors import RunError
from labtrain.storage import disk_errors, write_bytes

Array = NDArray[np.float64]

FOLDER = "waveforms"
log = logging.getLogger("labtrain")


class Waveforms:
    """Files ``waveforms/NNNNNN.npz`` in the folder of a run; nothing is kept while there is no run.

    Parameters
    ----------
    rate_hz : float
    channels : sequence of str
        Names of the input channels.
    scale_pa : ndarray, (channels,)
        Pascal of full scale; nan where not calibrated, and for a loopback.
    most_bad : int
        Bad shots kept at most.
    """

    def __init__(self, rate_hz: float, channels: Sequence[str], scale_pa: Array, most_bad: int) -> None:
        self._rate_hz, self._channels, self._scale_pa, self._most_bad = rate_hz, list(channels), scale_pa, most_bad
        self.run: Path | None = None
        self._bad = self._next = 0
        self._counted: Path | None = None  # folder whose waveforms are known

    def keep(self, samples: Array, shot: int, reason: str) -> None:
        """Keep one shot.

        Parameters
        ----------
        samples : ndarray, (frames, channels)
            Fractions of full scale.
        shot : int
            Number of the shot.
        reason : str
            What was wrong with it; ``sample`` for a good one.
        """
        if self.run is None:
            return
        folder, bad = self.run / FOLDER, reason != "sample"
        if folder != self._counted:
            self._count(folder)
        if bad and self._bad >= self._most_bad:
            return
        self._bad += bad
        content = io.BytesIO()
        np.savez_compressed(
            content,
            samples=samples.astype(np.float32),
            rate_hz=self._rate_hz,
            channels=np.array(self._channels),
            shot=shot,
            reason=reason,
            scale_pa=self._scale_pa,
        )
        try:
            with disk_errors(folder):
                folder.mkdir(exist_ok=True)
                write_bytes(folder / f"{self._next:06d}.npz", content.getvalue())
                self._next += 1
        except RunError as error:  # a waveform is for inspection; the shot itself is in the log
            log.warning("waveform of shot %d not kept: %s", shot, error)

    def _count(self, folder: Path) -> None:
        """Go on behind what a run holds that was interrupted."""
        self._counted, self._bad, self._next = folder, 0, 1
        for file in folder.glob("*.npz"):
            if file.stem.isdigit():
                self._next = max(self._next, int(file.stem) + 1)
                with suppress(OSError, ValueError, KeyError, BadZipFile), np.load(file) as kept:
                    self._bad += str(kept["reason"]) != "sample"

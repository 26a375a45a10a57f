"""Raw waveforms of some shots, kept with the run: of bad ones, to see what went wrong, and of a share of good ones."""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from pathlib import Path

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
        self._bad = 0

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
        bad = reason != "sample"
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
        folder = self.run / FOLDER
        try:
            with disk_errors(folder):
                folder.mkdir(exist_ok=True)
                number = 1 + max((int(f.stem) for f in folder.glob("*.npz") if f.stem.isdigit()), default=0)
                write_bytes(folder / f"{number:06d}.npz", content.getvalue())
        except RunError as error:  # a waveform is for inspection; the shot itself is in the log
            log.warning("waveform of shot %d not kept: %s", shot, error)

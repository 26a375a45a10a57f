"""``labtrain calibrate CONFIG --microphone N``: a calibrator on a microphone becomes a row of the sensitivity file."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import numpy as np

from labtrain.clock import Clock, RealClock
from labtrain.config import Loaded
from labtrain.drivers.sound import SoundInterface
from labtrain.errors import InputError, MeasurementError
from labtrain.jobs import naming_lines, open_rig
from labtrain.rigs.acoustic_config import AcousticConfig
from labtrain.rigs.survey.calibrator import Calibration, calibration
from labtrain.safety import Guard
from labtrain.stop import RigAlone
from labtrain.storage import write_bytes

SECONDS = 4.0
COLUMNS = ("microphone", "pascal_full_scale")


def calibrate(
    loaded: Loaded[RigAlone],
    microphone: int,
    out: str | Path,
    level_db: float = 94.0,
    tone_hz: float = 1000.0,
    clock: Clock | None = None,
) -> Calibration:
    """Record a calibrator, the speakers silent, and write what full scale of this microphone is in pascal.

    Parameters
    ----------
    loaded : Loaded[RigAlone]
        As :func:`labtrain.measuring.load` gives it.
    microphone : int
        From 1, in the order of rig.audio.microphones.
    out : path
        CSV file; rows of other microphones stay.
    level_db, tone_hz : float
        Of the calibrator.

    Raises
    ------
    InputError
        If the rig has no such microphone, or the file cannot be read or written.
    MeasurementError
        If no clear and steady tone is heard, or it clips; the file stays as it was.
    """
    clock, path = clock or RealClock(), Path(out)
    config = loaded.value.rig
    if not isinstance(config, AcousticConfig) or not config.on_instruments:
        raise InputError(
            f"{loaded.source}: its rig has no microphones to calibrate; take one of type acoustic with a section "
            "rig.audio"
        )
    channels, rate_hz = config.sound.microphones, config.rate_hz
    if not 1 <= microphone <= len(channels):
        raise InputError(f"--microphone {microphone}: this rig has microphones 1 to {len(channels)}")
    if not (math.isfinite(tone_hz) and 20.0 <= tone_hz <= 0.4 * rate_hz):
        raise InputError(f"--hz {tone_hz:g}: allowed 20 to {0.4 * rate_hz:g} Hz")
    if not (math.isfinite(level_db) and 40.0 <= level_db <= 140.0):
        raise InputError(f"--level-db {level_db:g}: allowed 40 to 140 dB SPL; calibrators have 94, 104 or 114")
    rows = _rows(path)
    with naming_lines(loaded):
        # A sensitivity file may not be there yet: this is what writes it. Nothing is played, so no limit needs it.
        bare = config.sound.model_copy(update={"sensitivity_file": None, "max_spl_db": None})
        alone = RigAlone.model_construct(rig=config.model_copy(update={"audio": bare}))
        rig = open_rig(alone, clock, config_file=loaded.source)
    with Guard("nothing was written", {"rig": rig.safe}, defers=False), naming_lines(loaded):
        try:
            rig.open_instruments()
            sound = rig.instruments["audio"]
            assert isinstance(sound, SoundInterface)
            silence = np.zeros((round((SECONDS + 0.5) * rate_hz), sound.n_speakers))
            heard = sound.transfer(silence)[round(0.5 * rate_hz) :, microphone - 1]
            found = calibration(heard, rate_hz, tone_hz, level_db)
            name = f"{sound.name}: microphone {microphone} (input {channels[microphone - 1]})"
        finally:
            rig.close()
    if np.abs(heard).max() >= 0.99:
        raise MeasurementError(f"{name} is saturated by the calibrator; turn its gain down")
    if problem := found.problem():
        raise MeasurementError(
            f"{name} hears no calibrator near {tone_hz:g} Hz: {problem}; is it switched on, pushed on tightly, and on "
            "this microphone?"
        )
    rows[microphone] = found.pascal_full_scale
    _write(path, rows)
    return found


def _rows(path: Path) -> dict[int, float]:
    """What a file says already; nothing if there is none."""
    if not path.exists():
        return {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return {int(row[COLUMNS[0]]): float(row[COLUMNS[1]]) for row in csv.DictReader(file)}
    except (OSError, KeyError, TypeError, ValueError):
        raise InputError(
            f"{path}: exists, and is no table of microphone and pascal_full_scale; choose another file with --out FILE"
        ) from None


def _write(path: Path, rows: dict[int, float]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([microphone, f"{rows[microphone]:.6g}"] for microphone in sorted(rows))
    try:
        write_bytes(path, text.getvalue().encode())
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}); choose another place with --out FILE"
        ) from None

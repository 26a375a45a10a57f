"""The first playback on a rig is quiet and asks: amplifiers stand where somebody left them, and people stand beside.

What was confirmed once is remembered for this user of this computer, as long as device, channels and limits stay.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from labtrain.drivers.sound import SoundInterface
from labtrain.errors import InputError
from labtrain.rigs.multitone import Multitone

QUIET = 0.01  # of the level that shots are played at: 40 dB below
SECONDS = 1.0  # for each speaker


def state_folder() -> Path:
    """Where this user's programs keep what they found out."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home()) / "labtrain"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "labtrain"
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "labtrain"


def introduce(
    sound: SoundInterface, tones: Multitone, level: float, ask: Callable[[str], bool] | None, folder: Path | None = None
) -> None:
    """Return if this setup was confirmed once, or is now; nothing louder than `QUIET` has been played until then.

    Parameters
    ----------
    sound : SoundInterface
        Opened.
    tones : Multitone
        What will be played, at `level`.
    ask : callable (question) -> bool, or None
        Asks whoever stands there; None: nobody does.

    Raises
    ------
    InputError
        If nobody can be asked, or the answer was no.
    """
    known = (folder or state_folder()) / "confirmed-rigs.json"
    confirmed = _read(known)
    setup = f"{sound.setup()} at {level:g}"
    if setup in confirmed:
        return
    if ask is None:
        raise InputError(
            f"{sound.name}: nothing has been played yet through outputs {list(sound.config.speakers)} of "
            f"{sound.identity} with these limits, and nobody can be asked whether it is too loud; run labtrain survey "
            "in a terminal once"
        )
    if not ask(
        f"{sound.name}: first playback on this rig. Turn the amplifiers down and keep your ears away; each speaker in "
        "turn then plays for a second, quietly. Ready?"
    ):
        raise InputError(f"{sound.name}: nothing was played; run it again when the rig is ready")
    for speaker in range(sound.n_speakers):
        drive = np.zeros((1, sound.n_speakers, len(tones.bins)))
        drive[0, speaker] = QUIET * level
        shots = max(1, round(SECONDS * sound.rate_hz / tones.shot_frames))
        sound.transfer(tones.play(np.repeat(drive, shots, axis=0)))
    if not ask(f"{sound.name}: shots will be {20 * np.log10(1 / QUIET):.0f} dB louder than this. Is that acceptable?"):
        raise InputError(f"{sound.name}: too loud; turn the amplifiers down or lower rig.shot.level, and run it again")
    confirmed[setup] = {"identity": sound.identity, "speakers": list(sound.config.speakers)}
    with suppress(OSError):  # then it asks again next time
        known.parent.mkdir(parents=True, exist_ok=True)
        known.write_text(json.dumps(confirmed, indent=2), encoding="utf-8")


def _read(known: Path) -> dict[str, object]:
    with suppress(OSError, ValueError):
        found = json.loads(known.read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
    return {}

"""``labtrain survey CONFIG``: survey a rig, propose settings, and leave them with their reasons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from labtrain.clock import Clock, RealClock
from labtrain.config import Loaded
from labtrain.errors import InputError
from labtrain.events import Counted, Listener
from labtrain.experiment import Experiment
from labtrain.jobs import naming_lines, open_rig, safe_first
from labtrain.rigs.acoustic_config import AcousticConfig
from labtrain.rigs.optical_config import OpticalConfig
from labtrain.rigs.rig import Rig
from labtrain.rigs.speckle.procedure import Request
from labtrain.safety import Guard
from labtrain.survey_acoustic import AcousticSurvey
from labtrain.survey_files import check_folder, proposed_yaml, write_files
from labtrain.survey_page import Surveyed
from labtrain.survey_speckle import SpeckleSurvey
from labtrain.threads import blas_threads


class KindOfSurvey(Protocol):
    """What differs between rigs."""

    left_out: tuple[str, ...]

    def measure(self, rig: Rig, check: Callable[[], object], tell: Callable[[str, int, int], object]) -> Any:
        """All that is to be found on an opened rig."""

    def conclude(self, source: str, found: Any) -> tuple[Any, tuple[str, ...], str, str, dict[str, Any]]:
        """Proposals, notes, the page, what it took for people, and what was measured for programs."""


@dataclass(frozen=True)
class Sound:
    """Options of a survey of speakers and microphones.

    Parameters
    ----------
    tones : int, optional
        How many to propose; default: as many as the configuration has.
    band_hz : (float, float), optional
        Where they may lie; default: 150 to 1,100 Hz.
    """

    tones: int | None = None
    band_hz: tuple[float, float] | None = None


def run_survey(
    loaded: Loaded[Experiment],
    out: str | Path,
    sound: Sound | None = None,
    light: Request | None = None,
    listeners: Sequence[Listener] = (),
    clock: Clock | None = None,
) -> Surveyed:
    """Survey the rig of a configuration and write ``survey.yaml`` and ``survey.html``.

    Parameters
    ----------
    loaded : Loaded[Experiment]
    out : path
        Folder for both files; those of an earlier survey are replaced, no others.
    sound : Sound, optional
        What is asked of an acoustic rig.
    light : Request, optional
        What is asked of an optical one.

    Raises
    ------
    InputError
        If the rig cannot be surveyed, or an option cannot be.
    InstrumentError, UnsafeError
        As the survey of :mod:`labtrain.rigs.survey.procedure` or :mod:`labtrain.rigs.speckle.procedure` says; nothing
        is written then.
    Interrupted
        After Ctrl-C or SIGTERM.
    """
    clock, folder = clock or RealClock(), Path(out)
    kind = _kind(loaded, sound, light)
    check_folder(folder)
    with naming_lines(loaded):
        rig = open_rig(loaded.value, clock, config_file=loaded.source)

    def tell(stage: str, done: int, planned: int) -> None:
        for listener in listeners:
            listener(Counted(stage, done, planned, "parts"))

    nothing = "the survey was not finished, nothing was written"
    with Guard(nothing, {"rig": rig.safe}, defers=False) as guard, naming_lines(loaded), rig, blas_threads(1):
        rig.check = guard.check
        found = kind.measure(rig, guard.check, tell)
        safe_first(rig)
    proposals, notes, page, took, told = kind.conclude(loaded.source.name, found)
    text = proposed_yaml(loaded, proposals, notes, kind.left_out)
    yaml, html = write_files(folder, text, page)
    return Surveyed(found, proposals, notes, yaml, html, took, told)


def _kind(loaded: Loaded[Experiment], sound: Sound | None, light: Request | None) -> KindOfSurvey:
    rig = loaded.value.rig
    if isinstance(rig, OpticalConfig):
        if sound is not None:
            raise InputError(f"{loaded.source}: its rig is optical and has no tones; leave --tones and --band out")
        return SpeckleSurvey(rig, light or Request())
    if not isinstance(rig, AcousticConfig) or not rig.on_instruments:
        raise InputError(
            f"{loaded.source}: its rig has no speakers and microphones to survey; take one of type acoustic with a "
            "section rig.audio, or one of type optical"
        )
    if light is not None:
        raise InputError(
            f"{loaded.source}: its rig is acoustic and has no camera; leave --exposure, --mean, --saturated, --watch "
            "and --matrix out"
        )
    sound = sound or Sound()
    return AcousticSurvey(rig, sound.tones, sound.band_hz)

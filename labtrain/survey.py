"""``labtrain survey CONFIG``: survey an acoustic rig, propose settings, and leave them with their reasons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from labtrain import config
from labtrain.clock import Clock, RealClock
from labtrain.config import Loaded
from labtrain.errors import InputError
from labtrain.events import Counted, Listener
from labtrain.experiment import Experiment
from labtrain.jobs import naming_lines, open_rig, safe_first
from labtrain.rigs.acoustic import AcousticRig
from labtrain.rigs.acoustic_config import AcousticConfig
from labtrain.rigs.survey.procedure import Request, survey
from labtrain.rigs.survey.proposal import Proposal, notice, propose
from labtrain.safety import Guard
from labtrain.storage import write_bytes
from labtrain.survey_report import Surveyed, html
from labtrain.threads import blas_threads
from labtrain.yaml_lines import dump_yaml

HEADER = "# Written by labtrain survey"
NAMES = ("survey.yaml", "survey.html")


def run_survey(
    loaded: Loaded[Experiment],
    out: str | Path,
    tones: int | None = None,
    band_hz: tuple[float, float] = (150.0, 1100.0),
    listeners: Sequence[Listener] = (),
    clock: Clock | None = None,
) -> Surveyed:
    """Survey the rig of a configuration and write ``survey.yaml`` and ``survey.html``.

    Parameters
    ----------
    loaded : Loaded[Experiment]
    out : path
        Folder for both files; those of an earlier survey are replaced, no others.
    tones : int, optional
        How many to propose; default: as many as the configuration has.
    band_hz : (float, float)
        Where they may lie.

    Raises
    ------
    InputError
        If the rig has no speakers and microphones, or an option cannot be.
    InstrumentError, UnsafeError
        As of :func:`labtrain.rigs.survey.procedure.survey`; nothing is written then.
    Interrupted
        After Ctrl-C or SIGTERM.
    """
    clock, folder = clock or RealClock(), Path(out)
    rig_config = loaded.value.rig
    if not isinstance(rig_config, AcousticConfig) or not rig_config.on_instruments:
        raise InputError(
            f"{loaded.source}: its rig has no speakers and microphones to survey; take one of type acoustic with a "
            "section rig.audio"
        )
    request = _request(rig_config, tones, band_hz)
    _check_folder(folder)
    with naming_lines(loaded):
        rig = open_rig(loaded.value, clock, config_file=loaded.source)
    assert isinstance(rig, AcousticRig)

    def tell(stage: str, done: int, planned: int) -> None:
        for listener in listeners:
            listener(Counted(stage, done, planned, "parts"))

    nothing = "the survey was not finished, nothing was written"
    with Guard(nothing, {"rig": rig.safe}, defers=False) as guard, naming_lines(loaded), rig, blas_threads(1):
        rig.check = guard.check
        found = survey(
            rig.sound, request, guard.check, tell, two_clocks=bool(getattr(rig_config.audio, "two_clocks", False))
        )
        safe_first(rig)
    proposals, notes = propose(rig_config, found), notice(rig_config, found)
    text = proposed_yaml(loaded, proposals, notes)
    page = html(loaded.source.name, rig_config, found, proposals, notes)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / NAMES[0], text.encode())
        write_bytes(folder / NAMES[1], page.encode())
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be written ({error.strerror}); choose another place with --out DIR"
        ) from None
    return Surveyed(found, proposals, notes, folder / NAMES[0], folder / NAMES[1])


def _request(rig: AcousticConfig, tones: int | None, band_hz: tuple[float, float]) -> Request:
    low, high = band_hz
    half_hz = 0.4 * rig.rate_hz
    if not (math.isfinite(low) and 0 < low < high <= half_hz):
        raise InputError(f"--band {low:g} {high:g}: needs two rising frequencies above 0, at most {half_hz:g} Hz")
    count = len(rig.tones) if tones is None else tones
    bins = int(high * rig.period_s) - math.ceil(low * rig.period_s) + 1
    if not 1 <= count <= bins:
        raise InputError(
            f"--tones {count}: the band from {low:g} to {high:g} Hz has {max(0, bins)} bins of "
            f"{1 / rig.period_s:.4g} Hz; ask for fewer tones or a wider --band"
        )
    return Request(count, (low, high), rig.period_frames, rig.shot.level, rig.shot.ramp_s)


def _check_folder(folder: Path) -> None:
    """Refuse before anything is measured what could not be written afterwards."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; choose a folder with --out DIR")
    for name in NAMES:
        path = folder / name
        if path.exists() and HEADER.strip("# ") not in path.read_text(encoding="utf-8", errors="replace")[:500]:
            raise InputError(f"{path}: exists already, and no survey wrote it; choose another folder with --out DIR")


def proposed_yaml(loaded: Loaded[Experiment], proposals: Sequence[Proposal], notes: Sequence[str]) -> str:
    """The configuration with its proposed values, each below a comment with its reason; it loads.

    Raises
    ------
    ConfigError
        If it does not, which would be a fault of the survey.
    """
    values: dict[str, Any] = loaded.value.model_dump(mode="json", by_alias=True)
    # tone_bins say it now; channels are counted, unless the file does so itself.
    for key in ("tones_hz", *({"speakers", "microphones"} - loaded.value.rig.model_fields_set)):
        values["rig"].pop(key, None)
    for proposal in proposals:
        *sections, key = proposal.key.split(".")
        inner = values
        for section in sections:
            inner = inner[section]
        inner[key] = proposal.value
    reasons, path = {proposal.key: proposal.reason for proposal in proposals}, list[str]()
    lines = [f"{HEADER} {loaded.source.name}; proposed values have their reasons above them."]
    lines += [f"# Note: {note}" for note in notes]
    for line in dump_yaml(values).splitlines():
        key, indent = line.strip().partition(":")[0], len(line) - len(line.lstrip())
        path = [*path[: indent // 2], key]
        if (reason := reasons.get(".".join(path))) is not None:
            lines += [" " * indent + f"# {part}" for part in reason]
        lines.append(line)
    text = "\n".join(lines) + "\n"
    config.loads(text, Experiment, loaded.source)
    return text

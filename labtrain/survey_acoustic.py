"""The survey of an acoustic rig, as ``labtrain survey`` carries it out."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from labtrain.errors import InputError
from labtrain.rigs.acoustic import AcousticRig
from labtrain.rigs.acoustic_config import AcousticConfig
from labtrain.rigs.rig import Rig
from labtrain.rigs.survey.procedure import Request, Survey, survey
from labtrain.rigs.survey.proposal import notice, propose
from labtrain.rigs.survey.proposed import Proposal
from labtrain.survey_report import as_json, html

BAND_HZ = (150.0, 1100.0)


class AcousticSurvey:
    """Speakers and microphones.

    Parameters
    ----------
    config : AcousticConfig
        On instruments.
    tones : int, optional
        How many to propose; default: as many as the configuration has.
    band_hz : (float, float), optional

    Raises
    ------
    InputError
        If an option cannot be.
    """

    def __init__(self, config: AcousticConfig, tones: int | None, band_hz: tuple[float, float] | None) -> None:
        self._config, self._request = config, _request(config, tones, band_hz or BAND_HZ)
        # tone_bins say it now; channels are counted, unless the file does so itself.
        self.left_out = ("tones_hz", *({"speakers", "microphones"} - config.model_fields_set))

    def measure(self, rig: Rig, check: Callable[[], object], tell: Callable[[str, int, int], object]) -> Survey:
        """Raises as :func:`labtrain.rigs.survey.procedure.survey`."""
        assert isinstance(rig, AcousticRig)
        two_clocks = bool(getattr(self._config.audio, "two_clocks", False))
        return survey(rig.sound, self._request, check, tell, two_clocks=two_clocks)

    def conclude(
        self, source: str, found: Survey
    ) -> tuple[tuple[Proposal, ...], tuple[str, ...], str, str, dict[str, Any]]:
        """Proposals, notes, the page, what it took for people, and what was measured for programs."""
        proposals, notes = propose(self._config, found), notice(self._config, found)
        page = html(source, self._config, found, proposals, notes)
        return proposals, notes, page, f"{found.seconds:.0f} s of sound", as_json(found)


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

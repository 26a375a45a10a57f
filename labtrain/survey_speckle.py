"""The survey of an optical rig, as ``labtrain survey`` carries it out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from labtrain.rigs.optical import OpticalRig
from labtrain.rigs.optical_config import OpticalConfig
from labtrain.rigs.rig import Rig
from labtrain.rigs.speckle.matrix import refuse_without_matrix
from labtrain.rigs.speckle.procedure import Request, Survey, survey
from labtrain.rigs.speckle.proposal import notice, propose
from labtrain.rigs.survey.proposed import Proposal
from labtrain.speckle_report import as_json, html, took


class SpeckleSurvey:
    """Modulator and camera, as the first layer uses them.

    Parameters
    ----------
    config : OpticalConfig
    request : Request

    Raises
    ------
    InputError
        If a matrix is asked for that cannot be measured.
    """

    left_out: tuple[str, ...] = ()

    def __init__(self, config: OpticalConfig, request: Request) -> None:
        if request.matrix:
            refuse_without_matrix(config.benches[0])
        self._config, self._request = config, request

    def measure(self, rig: Rig, check: Callable[[], object], tell: Callable[[str, int, int], object]) -> Survey:
        """Raises as :func:`labtrain.rigs.speckle.procedure.survey`."""
        assert isinstance(rig, OpticalRig)
        return survey(rig.bench, self._config.benches[0], self._request, check, tell)

    def conclude(
        self, source: str, found: Survey
    ) -> tuple[tuple[Proposal, ...], tuple[str, ...], str, str, dict[str, Any]]:
        """Proposals, notes, the page, what it took for people, and what was measured for programs."""
        proposals, notes = propose(self._config, found), notice(self._config, found)
        page = html(source, self._config, found, proposals, notes)
        return proposals, notes, page, took(found), as_json(found)

"""What is told of a calibration, and which changes matter."""

from __future__ import annotations

import json
from dataclasses import replace

from labtrain.drivers.vna.calibration import Calibration

ON = Calibration(True, "cavity", "2026-01-31T09:05:00", "SOLT", False, {1: 0.0, 2: 1.25e-10})


def test_it_survives_json():
    assert Calibration.from_dict(json.loads(json.dumps(ON.as_dict()))) == ON


def test_how_it_is_told():
    assert str(Calibration(False)) == "off"
    assert str(ON) == "on, set 'cavity' of 2026-01-31T09:05:00"
    assert str(Calibration(True)) == "on, no calibration set"
    assert str(replace(ON, extended=True, date="")) == "on, set 'cavity', extensions on (port 1 0 ps, port 2 125 ps)"


def test_changes_that_matter():
    for later, sentence in (
        (Calibration(False), "was on, set 'cavity' of 2026-01-31T09:05:00; is off"),
        (
            replace(ON, date="2026-02-01T10:00:00"),
            "was on, set 'cavity' of 2026-01-31T09:05:00; is on, set 'cavity' of 2026-02-01T10:00:00",
        ),
        (
            replace(ON, extended=True),
            "was on, set 'cavity' of 2026-01-31T09:05:00; is on, set 'cavity' of 2026-01-31T09:05:00, "
            "extensions on (port 1 0 ps, port 2 125 ps)",
        ),
    ):
        assert ON.change(later) == sentence
    extended = replace(ON, extended=True)
    assert extended.change(replace(extended, extensions_s={1: 0.0, 2: 1.3e-10})) != ""


def test_changes_that_do_not():
    off = Calibration(False)
    assert ON.change(ON) == off.change(off) == ""
    assert ON.change(replace(ON, description="typed in later")) == ""
    assert ON.change(replace(ON, extensions_s={1: 1e-9})) == ""  # not in use
    assert off.change(replace(off, name="stored, not used", date="2026-01-01")) == ""

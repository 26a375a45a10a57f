"""Whatever breaks off a shot: the same value as if nothing had happened, or one clear error; never another value."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest

from labtrain.clock import SimulatedClock
from labtrain.drivers.vna.calibration import Calibration
from labtrain.errors import InstrumentError, Interrupted, LinkRefused, LinkTimeout, MeasurementError
from labtrain.rigs.recovery import Recovery, RecoveryConfig
from tests.rigs.microwaves import DRIVES, FaultyRig, emulator, rig

PATTERN, SWEEP, DATA, ERRORS = "of !0x", "of MODE SING", "of SDATA", "of SYST:ERR?"


@pytest.fixture(scope="module")
def undisturbed() -> tuple[dict[str, Any], np.ndarray]:
    """Commissioning, and the answers to the drives, of a rig without faults."""
    with rig() as opened:
        kept = opened.commission()
        opened.restart(7)
        return kept, opened.layers[0].forward(DRIVES)


def measured(opened: FaultyRig, kept: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Answers to the drives, and attempts."""
    opened.adopt(kept)
    opened.restart(7)
    chunks = list(opened.layers[0].measure(DRIVES))
    return np.concatenate([chunk.y for chunk in chunks]), np.concatenate([chunk.attempts for chunk in chunks])


@pytest.mark.parametrize(
    "fault",
    [
        f"vna: {kind} {at}"
        for at in (f"at 4 {SWEEP}", f"at 4 {DATA}")
        for kind in ("late 30 s", "no reply", "truncated", "garbage", "disconnect", "reboot", "error -230")
    ]
    + [f"vna: truncated {n} bytes at 4 {DATA}" for n in (1, 3, 4, 50, 84)]
    + [f"metasurface: {kind} at 4 {PATTERN}" for kind in ("late 3 s", "no reply", "truncated", "garbage", "reboot")]
    + [f"metasurface: {kind} at 1 of ?Pattern" for kind in ("late 3 s", "no reply", "truncated", "garbage", "reboot")]
    + [f"metasurface: {kind} at 30 {PATTERN}" for kind in ("no reply", "reboot")]
    + [f'vna: error 144 "over power" at 20 {ERRORS}', "vna: reboot at 1 of OUTP 1"],
)
def test_a_fault_is_recovered_from_with_the_identical_value(undisturbed, fault, caplog):
    kept, expected = undisturbed
    with caplog.at_level(logging.WARNING, "labtrain"), FaultyRig(fault) as opened:
        y, attempts = measured(opened, kept)
    assert y.tobytes() == expected.tobytes()
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1 and told[0].startswith("shot "), told
    assert told[0].endswith("(1 of 4, in this run 1 of 100)")
    assert attempts.sum() > 30 and len(attempts) == 30


@pytest.mark.parametrize("fault", [f"vna: disconnect at 4 {SWEEP}", f"metasurface: reboot at 4 {PATTERN}"])
@pytest.mark.parametrize("times", [2, 9])
def test_an_instrument_that_is_away_for_a_while_counts_as_failing(undisturbed, fault, times, caplog):
    kept, expected = undisturbed
    name = fault.partition(":")[0]
    with caplog.at_level(logging.WARNING, "labtrain"), FaultyRig(fault) as opened:
        instrument = opened.instruments[name]
        away, open_ = [], instrument.open

        def gone():
            away.append(0)
            if len(away) <= times:
                raise LinkRefused(f"{instrument.name}: nobody there; switch it on")
            open_()

        instrument.open = gone
        opened.adopt(kept)
        opened.restart(7)
        if times == 2:
            assert opened.layers[0].forward(DRIVES).tobytes() == expected.tobytes()
            assert len(caplog.records) == 3
        else:
            with pytest.raises(MeasurementError) as caught:
                opened.layers[0].forward(DRIVES)
            assert str(caught.value) == (
                f"shot 3 of 30: no good reading after 4 repetitions (rig.recovery.per_shot), at last: {name} (sim): "
                "nobody there; switch it on"
            )
            instrument.open = open_


def test_a_surface_that_restarts_before_the_sweep_has_measured_another_pattern(undisturbed):
    """It says so only when the next pattern is written: the shot before that is measured again."""
    kept, expected = undisturbed
    with FaultyRig() as opened:
        vna, surface = (opened.instruments[name] for name in ("vna", "metasurface"))
        sweeps, sweep = [], vna.sweep

        def restarted_in_between():
            sweeps.append(opened.world.shot)
            if len(sweeps) in (5, 31):  # in mid-chunk, and at the end of the last chunk
                surface.link._queue(emulator(opened, "metasurface").reboot())
                assert not opened.world.pattern.any()
            return sweep()

        vna.sweep = restarted_in_between
        y, attempts = measured(opened, kept)
    assert y.tobytes() == expected.tobytes()
    assert len(sweeps) == 32 and attempts[4] == 2 and attempts[29] == 2


def test_a_pattern_that_is_lost_without_a_word_is_found_when_the_chunk_ends(undisturbed, caplog):
    kept, expected = undisturbed
    with caplog.at_level(logging.WARNING, "labtrain"), FaultyRig() as opened:
        surface, sweeps, sweep = emulator(opened, "metasurface"), [], opened.instruments["vna"].sweep

        def silently_lost():
            sweeps.append(0)
            if len(sweeps) == 30:
                surface.reboot()  # what it says then is lost too
            return sweep()

        opened.instruments["vna"].sweep = silently_lost
        y, _ = measured(opened, kept)
    assert y.tobytes() == expected.tobytes()
    (record,) = caplog.records
    assert record.getMessage() == (
        "shot 29 of 30: metasurface (sim): lost its pattern while it was measured; check its supply, and that no "
        "other program uses it (rig.metasurface.address); instruments are opened again and it is repeated (1 of 4, in "
        "this run 1 of 100)"
    )


def test_a_reading_that_is_no_number_is_repeated(undisturbed, caplog):
    kept, expected = undisturbed
    with caplog.at_level(logging.WARNING, "labtrain"), FaultyRig() as opened:
        vna = opened.instruments["vna"]
        sweeps, sweep = [], vna.sweep

        def broken():
            sweeps.append(sweep())
            if len(sweeps) == 3:
                sweeps[-1][0, 1] = np.nan
            return sweeps[-1]

        vna.sweep = broken
        y, _ = measured(opened, kept)
    assert y.tobytes() == expected.tobytes()
    assert "shot 2 of 30: vna (sim): S21 at 5400000000 Hz came back as (nan+0j); check that it" in caplog.text


@pytest.mark.parametrize("repeats", [1, 4])
def test_a_fault_that_stays_ends_in_one_error_and_the_shots_before_it_are_kept(undisturbed, repeats):
    kept, expected = undisturbed
    recovery = {"per_shot": repeats, "pause_s": 1.0}
    with FaultyRig(f"vna: no reply from 12 {DATA}", recovery=recovery) as opened:
        opened.adopt(kept)
        opened.restart(7)
        chunks = opened.layers[0].measure(DRIVES)
        assert next(chunks).y.tobytes() == expected[:11].tobytes()
        with pytest.raises(MeasurementError) as caught:
            next(chunks)
        assert opened.layers[0].state()["shot"] == 11
    assert isinstance(caught.value.__cause__, LinkTimeout)
    assert str(caught.value) == (
        f"shot 11 of 30: no good reading after {repeats} repetitions (rig.recovery.per_shot), at last: "
        f"{caught.value.__cause__}"
    )


def test_without_a_budget_the_first_failure_ends_it(undisturbed):
    kept, _ = undisturbed
    with (
        FaultyRig(f"metasurface: reboot at 2 {PATTERN}", recovery={"per_shot": 0}) as opened,
        pytest.raises(MeasurementError) as caught,
    ):
        measured(opened, kept)
    assert str(caught.value) == (
        f"shot 1 of 30: no good reading after 0 repetitions (rig.recovery.per_shot), at last: {caught.value.__cause__}"
    )


def test_another_instrument_than_before_is_not_measured_with(undisturbed):
    kept, _ = undisturbed
    with FaultyRig(f"vna: disconnect at 3 {SWEEP}", recovery={"per_shot": 2}) as opened:
        opened.adopt(kept)
        was = opened.instruments["vna"].identity
        emulator(opened, "vna").inner.identity = was.replace("EMULATOR", "EMULATOR 2")
        with pytest.raises(MeasurementError) as caught:
            opened.layers[0].forward(DRIVES)
        inner = emulator(opened, "vna").inner
    assert not inner.rf
    assert str(caught.value) == (
        "shot 2 of 30: no good reading after 2 repetitions (rig.recovery.per_shot), at last: vna (sim): was "
        f"{was!r} and is {was.replace('EMULATOR', 'EMULATOR 2')!r} now; connect the one that the run began with "
        "(rig.vna.address)"
    )


def test_settings_are_those_of_the_config_after_a_restart_of_the_vna(undisturbed):
    kept, _ = undisturbed
    with FaultyRig(f"vna: reboot at 3 {SWEEP}", vna={"if_bandwidth_hz": 300, "power_dbm": -20.0}) as opened:
        measured(opened, kept)
        vna = opened.instruments["vna"]
        assert (vna.if_bandwidth_hz, vna.power_dbm, vna.points, vna.radiating) == (300, -20.0, 5, True)


def test_many_faults_leave_every_value_as_it_was(undisturbed):
    kept, expected = undisturbed
    faults = [f"vna: no reply at {n} {DATA}" for n in range(3, 40, 5)]
    faults += [f"metasurface: reboot at {n} {PATTERN}" for n in range(2, 40, 7)]
    with FaultyRig(*faults) as opened:
        y, attempts = measured(opened, kept)
    assert y.tobytes() == expected.tobytes() and attempts.max() > 1


def test_the_budget_of_the_run_ends_it_too(caplog):
    clock = SimulatedClock()
    recovery = Recovery(RecoveryConfig(per_shot=3, per_run=4, pause_s=1.0), clock)
    error = InstrumentError("vna (sim): hung up")
    for failures in (1, 2, 3, 1):
        recovery.again("shot 5 of 9", failures, error)
    assert clock.monotonic() == 1.0 + 2.0 + 4.0 + 1.0 and len(caplog.records) == 4
    with pytest.raises(MeasurementError) as caught:
        recovery.again("shot 6 of 9", 1, error)
    assert str(caught.value) == (
        "shot 6 of 9: no good reading after 4 repetitions in this run (rig.recovery.per_run), at last: vna (sim): hung "
        "up"
    )


def test_who_stops_a_rig_in_trouble_waits_for_no_further_attempt(undisturbed, caplog):
    """The shots that were good are handed out first, and nothing is opened again."""
    kept, expected = undisturbed
    with caplog.at_level(logging.WARNING, "labtrain"), FaultyRig(f"vna: no reply from 8 {SWEEP}") as opened:
        opened.adopt(kept)
        opened.restart(7)

        def stopped():
            raise Interrupted("stopped by Ctrl-C")

        opened.check = stopped
        good = []
        with pytest.raises(Interrupted):
            good.extend(opened.layers[0].measure(DRIVES))
        y = np.concatenate([shots.y for shots in good])
    assert caplog.records == [] and len(y) >= 6
    assert y.tobytes() == expected[: len(y)].tobytes()


def test_a_measurement_that_was_stopped_by_hand_goes_on_with_the_same_shot(undisturbed):
    kept, expected = undisturbed
    with FaultyRig() as opened:
        vna = opened.instruments["vna"]
        sweeps, sweep = [], vna.sweep

        def stopped():
            sweeps.append(sweep())
            if len(sweeps) == 3:
                raise KeyboardInterrupt
            return sweeps[-1]

        vna.sweep = stopped
        opened.adopt(kept)
        opened.restart(7)
        with pytest.raises(KeyboardInterrupt):
            opened.layers[0].forward(DRIVES)
        assert opened.layers[0].forward(DRIVES).tobytes() == expected.tobytes()


def test_a_calibration_that_is_lost_with_the_power_is_not_measured_without(undisturbed):
    kept, _ = undisturbed
    with FaultyRig(f"vna: reboot at 3 {SWEEP}", recovery={"per_shot": 1}) as opened:
        opened.adopt(kept)
        vna = opened.instruments["vna"]
        vna.calibration = lambda: Calibration(on=True, name="on the bench")
        with pytest.raises(MeasurementError) as caught:
            opened.layers[0].forward(DRIVES)
    assert str(caught.value) == (
        "shot 2 of 30: no good reading after 1 repetitions (rig.recovery.per_shot), at last: vna (sim): its "
        "calibration was off; is on, set 'on the bench' now; recall the one before"
    )


def test_a_shot_that_went_wrong_by_itself_is_told_quietly_and_waits_for_nothing(caplog):
    clock, asked = SimulatedClock(), []
    recovery = Recovery(RecoveryConfig(per_shot=2, per_run=3, pause_s=1.0), clock, lambda: asked.append(clock.now()))
    error, began = InstrumentError("audio (sim): clipped"), clock.now()
    with caplog.at_level(logging.INFO, "labtrain"):
        recovery.again("shot 5 of 9", 1, error, reopens=False)
        recovery.again("shot 5 of 9", 2, error, reopens=False)
        assert clock.now() == began and len(asked) == 2
        recovery.again("shot 6 of 9", 1, error)  # both count against the same budget
        assert clock.now() == began + 1.0 and len(asked) == 4
        with pytest.raises(MeasurementError) as caught:
            recovery.again("shot 7 of 9", 1, error, reopens=False)
    assert str(caught.value) == (
        "shot 7 of 9: no good reading after 3 repetitions in this run (rig.recovery.per_run), at last: audio (sim): "
        "clipped"
    )
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "shot 5 of 9: audio (sim): clipped; it is repeated (1 of 2, in this run 1 of 3)"),
        ("INFO", "shot 5 of 9: audio (sim): clipped; it is repeated (2 of 2, in this run 2 of 3)"),
        (
            "WARNING",
            "shot 6 of 9: audio (sim): clipped; instruments are opened again and it is repeated (1 of 2, in this run 3 "
            "of 3)",
        ),
    ]


def test_who_wants_to_stop_is_asked_before_a_shot_is_repeated_by_itself():
    def stopped():
        raise Interrupted("stopped by Ctrl-C")

    recovery = Recovery(RecoveryConfig(), SimulatedClock(), stopped)
    with pytest.raises(Interrupted):
        recovery.again("shot 1 of 2", 1, InstrumentError("clipped"), reopens=False)
    assert recovery.used == 0

"""The NanoVNA driver against the emulated firmware, with and without faults."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from labtrain.drivers.emulators.faults import Fault
from labtrain.drivers.fitting import drivers_for
from labtrain.drivers.vna.calibration import Calibration
from labtrain.drivers.vna.nano_vna import NanoVna
from labtrain.drivers.vna.nano_vna_firmware import delays_of
from labtrain.errors import InputError, InstrumentError, LinkDesync, LinkRefused, LinkTimeout
from tests.drivers.vna.nano import GRID, KINDS, MORE_KINDS, Bench, messages, session

DIGITS = 1e-7  # of single precision
OLD = {"firmware": "ttrftech"}


def bench_of(**config: Any) -> Bench:
    return Bench(NanoVna, **config)


def lines(bench: Bench) -> list[str]:
    return bench.wire.heard.decode().split("\r")[:-1]


@pytest.mark.parametrize("options", [{}, OLD])
def test_a_sweep_is_what_the_network_answers(options: dict[str, str]) -> None:
    bench = bench_of(s_parameters=("S21", "S11"), options=options)
    sweep = bench.ready().sweep()
    assert sweep.shape == (2, 21) and sweep.dtype == np.complex128
    np.testing.assert_allclose(sweep, bench.expected(), rtol=DIGITS, atol=DIGITS)
    (asked,) = bench.network.asked
    np.testing.assert_array_equal(asked.frequencies_hz, GRID)
    assert (asked.if_bandwidth_hz, asked.power_dbm, asked.averages) == (1000.0, -10.0, 1)


def test_the_lines_of_a_sweep() -> None:
    bench = bench_of()
    bench.ready().sweep()
    assert lines(bench) == ["scan 1000000000 1200000000 21 5"]
    assert bench.network.asked[0].ports == ((2, 1),)
    both = bench_of(s_parameters=("S11", "S21"))
    both.ready().sweep()
    assert lines(both) == ["scan 1000000000 1200000000 21 7"]
    old = bench_of(options=OLD)
    old.ready().sweep()
    assert lines(old) == ["scan 1000000000 1200000000 21", "frequencies", "data 0", "data 1"]


def test_what_is_transmitted_is_corrected_by_what_is_reflected() -> None:
    bench = bench_of()
    bench.emulator.calibrate()
    bench.ready().sweep()
    assert lines(bench) == ["scan 1000000000 1200000000 21 7"]
    assert bench.vna.calibration() == Calibration(True, extensions_s={1: 0.0})
    bench.emulator.delay_ps = 12.5
    assert bench.vna.calibration() == Calibration(True, extended=True, extensions_s={1: 12.5e-12})


def test_delays_are_told_in_more_than_one_way() -> None:
    assert delays_of("12.500000000") == [12.5e-12]
    assert delays_of("s11 0.0 s21 -3") == [0.0, -3e-12]
    assert delays_of("") == delays_of("usage: edelay {id}") == []


def test_averages_are_means_of_sweeps() -> None:
    bench = bench_of(averages=5)
    vna = bench.ready()
    offsets = iter([1, 2, 3, 4, 10j])
    sweep = bench.network.sweep

    def another(*args: Any, **kwargs: Any) -> Any:
        bench.network.offset = next(offsets)
        return sweep(*args, **kwargs)

    bench.network.sweep = another  # type: ignore[method-assign]
    found = vna.sweep()
    bench.network.offset = 2 + 2j
    np.testing.assert_allclose(found, bench.expected(), rtol=1e-6)


# -- frequencies -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, OLD])
@pytest.mark.parametrize("points", [2, 101, 102, 401, 402, 1003])
def test_longer_sweeps_are_several(options: dict[str, str], points: int) -> None:
    frequencies = np.linspace(1e9, 1.3e9, points)
    bench = bench_of(options=options, s_parameters=("S11", "S21"))
    found = bench.ready(frequencies).sweep()
    np.testing.assert_allclose(found, bench.expected(np.rint(frequencies)), rtol=1e-6)
    most = bench.emulator.firmware.points
    assert [len(asked.frequencies_hz) for asked in bench.network.asked] == [
        len(part) for part in np.array_split(frequencies, -(-points // most))
    ]
    swept = np.concatenate([asked.frequencies_hz for asked in bench.network.asked])
    np.testing.assert_allclose(swept, frequencies, rtol=0, atol=1.0)


def test_a_list_that_is_no_sweep_is_refused_before_a_byte_is_sent() -> None:
    bench = bench_of()
    vna = bench.open()
    with pytest.raises(InputError, match="no uniform sweep, and it has no list of single ones; the nearest"):
        vna.configure([1e9, 1.1e9, 1.3e9])
    assert not bench.wire.heard


def test_parts_of_a_calibrated_sweep_are_refused_by_old_firmware() -> None:
    frequencies = np.linspace(1e9, 1.3e9, 102)
    bench = bench_of(options=OLD)
    bench.emulator.calibrate()
    vna = bench.open()
    with pytest.raises(InputError) as caught:
        vna.configure(frequencies)
    assert str(caught.value) == (
        "vna (sim): asked 102 points, its firmware has 101 and would apply its calibration to the wrong ones in a "
        "sweep of several parts; measure at fewer frequencies (rig.frequencies_hz), switch its calibration off, or "
        "update its firmware"
    )
    assert not bench.wire.heard
    bench_of(options=OLD).ready(frequencies).sweep()
    new = bench_of()
    new.emulator.calibrate()
    new.ready(np.linspace(1e9, 1.3e9, 402)).sweep()


@pytest.mark.parametrize(
    ("config", "options", "sentence"),
    [
        ({"s_parameters": ("S21", "S12")}, {},
         "asked S12, it measures S11 and S21 alone; set rig.vna.s_parameters"),
        ({"power_dbm": -5.0}, {}, "asked power -5 dBm, allowed -13 dBm to -9 dBm; set rig.vna.power_dbm"),
        ({"if_bandwidth_hz": 3000.0}, {},
         "asked IF bandwidth 3000 Hz, the nearest it has is 4000 Hz; set rig.vna.if_bandwidth_hz"),
        ({"if_bandwidth_hz": 9000.0}, {},
         "asked IF bandwidth 9 kHz, allowed 10 Hz to 8 kHz; set rig.vna.if_bandwidth_hz"),
        ({"if_bandwidth_hz": 100.0}, OLD,
         "asked IF bandwidth 100 Hz, the nearest it has is 1000 Hz, and its firmware has no bandwidth command; set "
         "rig.vna.if_bandwidth_hz"),
    ],
)  # fmt: skip
def test_what_it_cannot_do_is_refused_before_a_byte_is_sent(
    config: dict[str, Any], options: dict[str, str], sentence: str
) -> None:
    bench = bench_of(options=options, **config)
    vna = bench.open()
    with pytest.raises(InputError) as caught:
        vna.configure(GRID)
    assert str(caught.value) == f"vna (sim): {sentence}"
    assert not bench.wire.heard


def test_frequencies_as_far_as_the_firmware_goes() -> None:
    for options, highest in (({}, "2.7 GHz"), (OLD, "1.5 GHz")):
        vna = bench_of(options=options).open()
        with pytest.raises(InputError, match=f"asked frequency 3 GHz, allowed 50 kHz to {highest}"):
            vna.configure([1e9, 2e9, 3e9])


@pytest.mark.parametrize(("asked", "taken"), [(1000, 1000), (333, 333), (100, 100), (30, 30), (4000, 4000), (310, 307)])
def test_bandwidths(asked: float, taken: float) -> None:
    bench = bench_of(if_bandwidth_hz=asked)
    bench.ready().sweep()
    assert int(bench.network.asked[0].if_bandwidth_hz) == taken


@pytest.mark.parametrize(("drive", "options", "told"), [(2, {}, 0), (8, {}, 3), ("auto", {}, 255), ("auto", OLD, -1)])
def test_drives(drive: Any, options: dict[str, str], told: int) -> None:
    bench = bench_of(drive_ma=drive, options=options)
    bench.ready()
    assert bench.emulator.drive == told
    bench.vna.rf(False)
    assert bench.emulator.drive == 0
    bench.vna.rf(True)
    assert bench.emulator.drive == told


def remove_power(bench: Bench) -> None:
    commands = dict(bench.emulator.commands())
    del commands["power"]
    bench.emulator.commands = lambda: commands


def test_firmware_without_a_power_command() -> None:
    bench = bench_of(drive_ma=2)
    remove_power(bench)
    vna = bench.open()
    with pytest.raises(InputError) as caught:
        vna.configure(GRID)
    assert str(caught.value) == (
        "vna (sim): asked a drive of 2 mA, and its firmware has no power command; update the firmware, or set "
        "rig.vna.drive_ma to auto"
    )
    assert not bench.wire.heard
    automatic = bench_of()
    remove_power(automatic)
    automatic.ready()
    assert (automatic.emulator.parked_hz, automatic.emulator.drive) == (50_000, 255)


def test_firmware_without_a_scan_of_given_frequencies() -> None:
    bench = bench_of()
    commands = dict(bench.emulator.commands())
    commands["scan"] = lambda _: ("12 -30", "14 -31")
    bench.emulator.commands = lambda: commands
    with pytest.raises(InstrumentError) as caught:
        bench.vna.open()
    assert str(caught.value) == (
        "vna (sim): its firmware (NanoVNA-H 4 EMULATOR, 1.1) has no scan {start} {stop} {points}, without which "
        "nothing tells which sweep its data belong to; update its firmware"
    )


# -- identity ----------------------------------------------------------------------------------------------------


def test_it_knows_itself() -> None:
    vna = bench_of().open()
    assert vna.identity == "NanoVNA-H 4 EMULATOR, 1.1" and vna.emulated
    assert drivers_for("NanoVNA-H, 0.8.0") == ["nanovna"]
    assert NanoVna.fits("NanoVNA, 0.5.0") and not NanoVna.fits("tinySA, 1.3") and not NanoVna.fits("LibreVNA,GUI,1,2")


def test_a_real_one_is_not_taken_for_an_emulator() -> None:
    bench = bench_of()
    commands = dict(bench.emulator.commands())
    commands["info"] = lambda _: ("Board: NanoVNA-H",)
    bench.emulator.commands = lambda: commands
    vna = bench.open()
    assert not vna.emulated
    with pytest.raises(InstrumentError, match=r"'NanoVNA-H, 1\.1', which is not an emulator"):
        vna.simulate_shot(1)
    assert not bench.wire.heard


def test_another_instrument_is_told() -> None:
    bench = bench_of()
    commands = dict(bench.emulator.commands())
    commands["info"] = lambda _: ("Board: tinySA",)
    bench.emulator.commands = lambda: commands
    with pytest.raises(InstrumentError) as caught:
        bench.vna.open()
    assert str(caught.value) == (
        "vna (sim): 'tinySA, 1.1' answers, and driver nanovna is for NanoVNA, NanoVNA-H and NanoVNA-H4 (text console; "
        "firmware with scan); correct rig.vna.address or rig.vna.driver, or set rig.vna.identity to any"
    )
    mute = bench_of()
    mute.wire.spoils = [lambda _: []] * 9
    with pytest.raises(LinkRefused, match=r"no NanoVNA with a text console answered .*got nothing"):
        mute.vna.open()


def test_simulations_are_restarted() -> None:
    bench = bench_of()
    vna = bench.open()
    vna.simulate_restart(5)
    vna.simulate_shot(9)
    assert bench.network.simulated == [("restart", 5), ("shot", 9)]


def test_a_disturbance_reaches_the_world_behind_it() -> None:
    bench = bench_of()
    vna = bench.open()
    vna.simulate_disturb(12, "pixels", {"pixels": [0, 7], "state": 1})
    vna.simulate_disturb(900, "cable", {"db": -0.125, "rad": 1e-3})
    assert bench.network.disturbed == [
        ("pixels", 12, {"pixels": [0, 7], "state": 1}),
        ("cable", 900, {"db": -0.125, "rad": 1e-3}),
    ]


# -- the source --------------------------------------------------------------------------------------------------


def test_safe_is_parked_at_the_lowest_drive() -> None:
    bench = bench_of()
    vna = bench.ready()
    vna.sweep()
    assert bench.emulator.parked_hz is None
    vna.safe()
    assert (bench.emulator.paused, bench.emulator.drive, bench.emulator.parked_hz) == (True, 0, 50_000)
    with pytest.raises(InstrumentError, match="RF off"):
        vna.sweep()


def test_what_was_found_is_put_back_but_the_source_stays_parked() -> None:
    bench = bench_of(if_bandwidth_hz=100)
    bench.emulator.receive(b"sweep 1000000 2000000 51\rbandwidth 7\r")
    bench.ready().sweep()
    bench.vna.close()
    assert (bench.emulator.start, bench.emulator.stop, bench.emulator.points) == (1_000_000, 2_000_000, 51)
    assert bench.emulator.count == 7
    assert (bench.emulator.paused, bench.emulator.drive, bench.emulator.parked_hz) == (True, 0, 50_000)
    bench.vna.close()


def test_safe_does_not_wait_for_a_late_answer() -> None:
    bench = bench_of()
    vna = bench.ready()
    bench.wire.spoils = [lambda replies: [(delay + 2.5, data) for delay, data in replies]]
    with pytest.raises(LinkTimeout):
        vna.sweep()
    bench.wire.heard.clear()
    vna.safe()
    assert bench.wire.heard.startswith(b"\b" * 48 + b"pause\rpower 0\rfreq 50000\r")
    assert bench.emulator.parked_hz == 50_000


def test_safe_that_is_not_confirmed_is_told() -> None:
    bench = bench_of()
    vna = bench.ready()
    bench.wire.spoils = [lambda _: []] * 20
    with pytest.raises(InstrumentError, match="told to park its source, but did not confirm it"):
        vna.safe()


def test_safe_after_half_a_line() -> None:
    bench = bench_of()
    vna = bench.ready()
    vna.sweep()
    bench.emulator.receive(b"scan 1000000000 12")
    bench.link.dirty = True
    vna.safe()
    assert bench.emulator.parked_hz == 50_000
    assert len(bench.network.asked) == 1


def test_half_a_line_of_an_earlier_program_is_never_carried_out() -> None:
    bench = bench_of()
    vna = bench.ready()
    bench.emulator.receive(b"sweep 1000000 ")
    bench.link.dirty = True
    vna.sweep()
    assert bench.emulator.start == 50_000


# -- what goes wrong ---------------------------------------------------------------------------------------------


def test_how_long_a_sweep_takes_is_known_and_waited_for() -> None:
    bench = bench_of(timing=True, if_bandwidth_hz=10, averages=2)
    vna = bench.ready()
    began_s = bench.clock.monotonic()
    vna.sweep()
    assert bench.clock.monotonic() - began_s == pytest.approx(vna.sweep_s, rel=0.05)
    assert vna.sweep_s > 4


@pytest.mark.parametrize("seconds", [1.5, 1.9, 2.5, 30.0])
def test_a_late_answer_is_never_taken_for_another(seconds: float) -> None:
    bench = bench_of()
    vna = bench.ready()
    bench.wire.spoils = [lambda replies: [(delay + seconds, data) for delay, data in replies]]
    with pytest.raises(LinkTimeout):
        vna.sweep()
    for shot in range(4):
        bench.network.offset = shot + 1
        for _ in range(40):
            try:
                found = vna.sweep()
                break
            except LinkDesync:  # it is still silent
                continue
        np.testing.assert_allclose(found, bench.expected(), rtol=1e-6)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"scan 1000000000 1200000000 21 5\r\nfrequency range is invalid\r\nch> ",
         "got \"1 lines, the first 'frequency range is invalid'\""),
        (b"scan 1000000000 1200000000 21 5\r\n" + b"1000000000 1 2\r\n" * 21 + b"ch> ",
         "1000000000 Hz in place of 1010000000 Hz"),
        (b"scan 1000000000 1200000000 21 5\r\n" + b"1000000000 1 x\r\n" * 21 + b"ch> ", "1000000000 1 x"),
        (b"scan 1000000000 1200000000 21 5\r\n" + b"1000000000 1\r\n" * 21 + b"ch> ", "1000000000 1"),
        (b"data 0\r\nch> ", "asked 'scan 1000000000 1200000000 21 5', got b'data 0"),
    ],
)  # fmt: skip
def test_an_answer_that_is_none_is_told(answer: bytes, told: str) -> None:
    bench = bench_of()
    vna = bench.ready()
    bench.wire.spoils = [lambda _: [(0.0, answer)]]
    with pytest.raises(InstrumentError) as caught:
        vna.sweep()
    assert told in str(caught.value)
    np.testing.assert_allclose(vna.sweep(), bench.expected(), rtol=1e-6)


@pytest.mark.parametrize("options", [{}, OLD])
@pytest.mark.parametrize("kind", KINDS + MORE_KINDS, ids=lambda kind: f"{kind['kind']} {kind.get('number', '')}")
def test_no_fault_at_any_message_gives_a_wrong_value(kind: dict[str, Any], options: dict[str, str]) -> None:
    config: dict[str, Any] = {"s_parameters": ("S11", "S21"), "options": options}
    count = messages(bench_of(**config), 1e-6)
    assert count > 15
    struck = [session(bench_of(faults=[Fault(at=at, **kind)], **config), 1e-6) for at in range(1, count + 1)]
    assert sum(struck) >= (0 if kind.get("number") in (0.5, 90) else count // 2)


def test_one_that_was_only_reached_is_made_safe() -> None:
    """After a crash, by somebody who has never set it up."""
    bench = bench_of()
    bench.vna.reach()
    bench.vna.safe()
    assert bench.emulator.paused and bench.emulator.parked_hz == 50_000
    bench.vna.drop()

"""The LibreVNA driver against the emulated GUI, with and without faults."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from labtrain.drivers.emulators.faults import Fault
from labtrain.drivers.fitting import drivers_for
from labtrain.drivers.scpi import ScpiError
from labtrain.drivers.vna.calibration import Calibration
from labtrain.drivers.vna.libre_vna import LibreVna
from labtrain.errors import InputError, InstrumentError, LinkDesync, LinkTimeout
from tests.drivers.vna.nano import GRID, KINDS, Bench, messages, session

DIGITS = 1e-5  # it writes six


def bench_of(**config: Any) -> Bench:
    return Bench(LibreVna, **config)


def lines(bench: Bench) -> list[str]:
    return bench.wire.heard.decode().split("\n")[:-1]


def test_a_sweep_is_what_the_network_answers() -> None:
    bench = bench_of(s_parameters=("S21", "S11", "S22", "S12"), averages=3, if_bandwidth_hz=500, power_dbm=-12.5)
    vna = bench.ready()
    for offset in (0.0, 0.25):
        bench.network.offset = offset
        sweep = vna.sweep()
        assert sweep.shape == (4, 21) and sweep.dtype == np.complex128
        np.testing.assert_allclose(sweep, bench.expected(), rtol=DIGITS, atol=DIGITS)
    asked = bench.network.asked[-1]
    np.testing.assert_array_equal(asked.frequencies_hz, GRID)
    assert (asked.if_bandwidth_hz, asked.power_dbm, asked.averages) == (500.0, -12.5, 3)
    assert len(bench.network.asked) == 2


def test_the_lines_of_a_sweep() -> None:
    bench = bench_of()
    bench.ready().sweep()
    assert lines(bench) == [
        ":VNA:ACQ:STOP;:VNA:ACQ:RUN;:VNA:ACQ:FIN?", ":VNA:ACQ:STOP", ":VNA:TRAC:DATA? LABTRAIN_S21",
        ":DEV:STA:ADCOVER?", ":DEV:STA:UNLO?", "*ESR?",
    ]  # fmt: skip


def test_its_source_is_on_only_while_it_sweeps() -> None:
    bench = bench_of()
    vna = bench.open()
    assert bench.emulator.running  # as the GUI starts
    vna.configure(GRID)
    assert not bench.emulator.running
    with pytest.raises(InstrumentError, match="RF off"):
        vna.sweep()
    vna.rf(True)
    assert not vna.running
    vna.sweep()
    assert not vna.running
    bench.emulator.receive(b":VNA:ACQ:RUN\n")
    vna.rf(False)
    assert not vna.running


def test_what_was_found_is_put_back_but_does_not_sweep() -> None:
    bench = bench_of(averages=5)
    bench.emulator.receive(
        b":VNA:FREQ:START 2000000;STOP 3000000;:VNA:ACQ:POINTS 51;IFBW 300;AVG 2;SINGLE TRUE;:VNA:STIM:LVL -20;"
        b":VNA:SWEEPTYPE LOG\n"
    )
    before = bench.emulator
    found = [t.name for t in before.traces]
    bench.ready().sweep()
    bench.vna.close()
    assert (before.start_hz, before.stop_hz, before.points) == (2_000_000, 3_000_000, 51)
    assert (before.ifbw_hz, before.averages, before.level_dbm, before.log) == (300.0, 2, -20.0, True)
    assert not before.running
    assert [t.name for t in before.traces] == found
    bench.vna.close()


def test_a_signal_generator_is_a_source_too() -> None:
    bench = bench_of()
    vna = bench.open()
    bench.emulator.receive(b":DEV:MODE GEN\n")
    vna.configure(GRID)
    assert bench.emulator.mode == "VNA" and not bench.emulator.running
    bench.emulator.receive(b":DEV:MODE GEN\n")
    vna.safe()
    assert bench.emulator.mode == "VNA"


def test_traces_of_an_earlier_run_are_used_again() -> None:
    bench = bench_of(s_parameters=("S21", "S11"))
    bench.emulator.receive(b":VNA:TRAC:NEW labtrain_S21;PAUSE LABTRAIN_S21\n")
    vna = bench.ready()
    assert [t.name for t in bench.emulator.traces if t.name.startswith("LAB")] == ["LABTRAIN_S21", "LABTRAIN_S11"]
    np.testing.assert_allclose(vna.sweep(), bench.expected(), rtol=DIGITS, atol=DIGITS)


def test_its_calibration_is_told() -> None:
    bench = bench_of()
    vna = bench.open()
    assert vna.calibration() == Calibration(False)
    bench.emulator.calibration = "SOLT_12"
    assert vna.calibration() == Calibration(True, "SOLT_12")


@pytest.mark.parametrize(
    ("config", "frequencies", "sentence"),
    [
        ({"s_parameters": ("S31",)}, GRID, "asked S31, it has 2 ports; set rig.vna.s_parameters"),
        ({"if_bandwidth_hz": 5.0}, GRID,
         "asked IF bandwidth 5 Hz, allowed 10 Hz to 50 kHz; set rig.vna.if_bandwidth_hz"),
        ({"if_bandwidth_hz": 10.5}, GRID,
         "asked IF bandwidth 10.5 Hz, it takes whole hertz; set rig.vna.if_bandwidth_hz"),
        ({"power_dbm": -45.0}, GRID, "asked power -45 dBm, allowed -40 dBm to 0 dBm; set rig.vna.power_dbm"),
        ({}, [5e9, 6.5e9], "asked frequency 6.5 GHz, allowed 100 kHz to 6 GHz; set rig.frequencies_hz"),
        ({}, [5e9], "asked points 1, allowed 2 to 65535; measure at fewer frequencies (rig.frequencies_hz)"),
        ({}, 1e9 + 1e3 * np.arange(4502),
         "asked points 4502, allowed 2 to 4501; measure at fewer frequencies (rig.frequencies_hz)"),
        ({}, [1e9, 1.1e9, 1.3e9],
         "asked 3 frequencies that are no uniform sweep, and it has no list of single ones; the nearest sweep is "
         "975000000 to 1275000000 Hz in 3 points, which moves one of them by 25 MHz; all of them are among the 4 "
         "points of 1000000000 to 1300000000 Hz; set rig.frequencies_hz"),
    ],
)  # fmt: skip
def test_what_it_cannot_do_is_refused_before_a_byte_is_sent(
    config: dict[str, Any], frequencies: Any, sentence: str
) -> None:
    bench = bench_of(**config)
    vna = bench.open()
    with pytest.raises(InputError) as caught:
        vna.configure(frequencies)
    assert str(caught.value) == f"vna (sim): {sentence}"
    assert not bench.wire.heard


def test_what_it_did_not_take_is_told() -> None:
    bench = bench_of()
    vna = bench.open()
    bench.emulator._set_level = bench.emulator._nodes["VNA:STIM:LVL"].order
    kept = bench.emulator._changed

    def limited() -> None:
        bench.emulator.level_dbm = -30.0
        kept()

    bench.emulator._changed = limited
    with pytest.raises(InstrumentError) as caught:
        vna.configure(GRID)
    assert str(caught.value) == (
        "vna (sim): asked power -10 dBm, took -30 dBm; check what is set in LibreVNA-GUI, and rig.vna"
    )


# -- identity ----------------------------------------------------------------------------------------------------


def test_it_knows_itself() -> None:
    vna = bench_of().open()
    assert vna.identity == "LibreVNA,LibreVNA-GUI,EMULATOR,1.6.4" and vna.emulated
    assert drivers_for("LibreVNA,LibreVNA-GUI,206039903350,1.5.1") == ["librevna"]


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


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"LibreVNA,LibreVNA-GUI,Not connected,1.6.4\n",
         "vna (sim): LibreVNA-GUI answers and has no device; plug the LibreVNA in and connect it in the GUI"),
        (b"LibreVNA-GUI\n",
         "vna (sim): 'LibreVNA-GUI' answers, and driver librevna is for LibreVNA through LibreVNA-GUI (a version that "
         "tells the device in *IDN?); correct rig.vna.address or rig.vna.driver, or set rig.vna.identity to any"),
    ],
)  # fmt: skip
def test_a_gui_that_will_not_do_is_told(answer: bytes, told: str) -> None:
    bench = bench_of()
    bench.wire.spoils = [lambda _: [(0.0, answer)]]
    with pytest.raises(InstrumentError) as caught:
        bench.vna.open()
    assert str(caught.value) == told
    assert lines(bench) == ["*IDN?"]


# -- what goes wrong ---------------------------------------------------------------------------------------------


def test_how_long_a_sweep_takes_is_known_and_waited_for() -> None:
    bench = bench_of(timing=True, if_bandwidth_hz=10, averages=2)
    vna = bench.ready()
    began_s = bench.clock.monotonic()
    vna.sweep()
    assert bench.clock.monotonic() - began_s == pytest.approx(vna.sweep_s, rel=0.06)
    assert vna.sweep_s > 8


def test_a_sweep_that_never_ends_is_told() -> None:
    bench = bench_of()
    vna = bench.ready()
    bench.emulator._advance = lambda: None
    with pytest.raises(LinkTimeout) as caught:
        vna.sweep()
    assert str(caught.value) == (
        "vna (sim): waited 1.0924 s for the end of the sweep; check in LibreVNA-GUI that it sweeps, or raise "
        "rig.vna.timeout_s"
    )


def test_what_it_did_not_follow_is_told() -> None:
    bench = bench_of()
    vna = bench.ready()
    bench.emulator.receive(b":VNA:NONSENSE\n")
    with pytest.raises(ScpiError) as caught:
        vna.sweep()
    assert str(caught.value).startswith('vna (sim): reports -100 "Command error" after ')
    vna.sweep()
    with pytest.raises(ScpiError, match=r'reports -100 "Command error" after .*:VNA:NONSENSE'):
        vna.ask(":VNA:NONSENSE?")
    assert vna.ask_if_known(":VNA:NONSENSE?") is None
    bench.emulator.push_error(-222)
    with pytest.raises(ScpiError, match='reports -200 "Execution error"'):
        vna.sweep()
    np.testing.assert_allclose(vna.sweep(), bench.expected(), rtol=DIGITS, atol=DIGITS)


@pytest.mark.parametrize(("flag", "told"), [("ADCOVERload", "receivers are overloaded"), ("UNLOcked", "not locked")])
def test_a_reading_that_the_device_doubts_is_none(flag: str, told: str) -> None:
    bench = bench_of()
    vna = bench.ready()
    bench.emulator.add(f"DEVice:STAtus:{flag}", None, lambda _: "TRUE")
    with pytest.raises(InstrumentError, match=told):
        vna.sweep()


@pytest.mark.parametrize("asked", ["sweep", "start_hz", "running"])
def test_an_answer_out_of_turn_is_never_taken_for_another(asked: str) -> None:
    """What an earlier program waited for with ``*OPC?`` comes when the sweep is over, whoever asks then."""
    bench = bench_of(timing=True, if_bandwidth_hz=10)
    bench.emulator.receive(b":VNA:ACQ:AVG 1;POINTS 21;IFBW 10;RUN;*OPC?\n")
    late = bench.wire.receive

    def out_of_turn(data: bytes) -> Any:
        """As the GUI: *CLS takes back what was to be answered later; here that comes just before the last one."""
        nonlocal waiting
        early = waiting and b"*ESE" in data and b"*CLS" in data
        waiting = waiting and b"*CLS" not in data
        return ([(1e-4, b"1\n")] if early else []) + late(data)

    waiting = True
    bench.wire.receive = out_of_turn  # type: ignore[method-assign]
    vna = bench.ready()
    np.testing.assert_allclose(vna.sweep(), bench.expected(), rtol=DIGITS, atol=DIGITS)
    assert getattr(vna, asked) is not None


@pytest.mark.parametrize("seconds", [1.1, 1.9, 2.5, 30.0])
@pytest.mark.parametrize("message", range(6))
def test_a_late_answer_is_never_taken_for_another(seconds: float, message: int) -> None:
    bench = bench_of()
    vna = bench.ready()
    bench.wire.spoils = [*[lambda replies: replies] * message, lambda r: [(delay + seconds, data) for delay, data in r]]
    for shot in range(4):
        bench.network.offset = 0.1 * shot + 0.1
        for _ in range(60):
            try:
                found = vna.sweep()
                break
            except (LinkTimeout, LinkDesync):  # it is still silent
                continue
        np.testing.assert_allclose(found, bench.expected(), rtol=DIGITS, atol=DIGITS)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"EMPTY\n", "got 'EMPTY'"),
        (b"[1000000000,1,2]\n", "got '1 points, the first [1000000000,1,2]'"),
        (b",".join(b"[1000000000,1,2]" for _ in range(21)) + b"\n", "1000000000 Hz in place of 1010000000 Hz"),
        (b",".join(b"[%d,1]" % f for f in GRID) + b"\n", "got '21 points, the first [1000000000,1]'"),
        (b",".join(b"[%d,1,x]" % f for f in GRID) + b"\n", "could not convert"),
    ],
)
def test_an_answer_that_is_none_is_told(answer: bytes, told: str) -> None:
    bench = bench_of()
    vna = bench.ready()
    bench.wire.spoils = [lambda replies: replies, lambda _: [(0.0, answer)]]
    with pytest.raises(InstrumentError) as caught:
        vna.sweep()
    assert told in str(caught.value)
    np.testing.assert_allclose(vna.sweep(), bench.expected(), rtol=DIGITS, atol=DIGITS)


def test_frequencies_of_six_digits() -> None:
    bench = bench_of()
    vna = bench.ready()
    answer = ",".join(f"[{f:.6g},0.5,0.25]" for f in GRID)
    assert "1.01e+09" in answer
    bench.wire.spoils = [lambda replies: replies, lambda _: [(0.0, answer.encode() + b"\n")]]
    np.testing.assert_array_equal(vna.sweep(), 0.5 + 0.25j)


def test_safe_does_not_wait_for_a_late_answer() -> None:
    bench = bench_of()
    vna = bench.ready()
    bench.wire.spoils = [lambda replies: [(delay + 2.4, data) for delay, data in replies]]
    with pytest.raises(LinkTimeout):
        vna.sweep()
    assert bench.link.dirty
    bench.emulator.receive(b":VNA:ACQ:RUN\n")
    bench.wire.heard.clear()
    vna.safe()
    assert bench.wire.heard.startswith(b"\n:VNA:ACQ:STOP\n")
    assert not bench.emulator.running


def test_safe_that_is_not_confirmed_is_told() -> None:
    bench = bench_of()
    vna = bench.ready()
    bench.wire.spoils = [lambda _: []] * 20
    with pytest.raises(InstrumentError, match="told to switch RF off, but did not confirm it"):
        vna.safe()


@pytest.mark.parametrize(
    "kind", [*KINDS, {"kind": "error", "number": -222}], ids=lambda k: f"{k['kind']} {k.get('number', '')}"
)
def test_no_fault_at_any_message_gives_a_wrong_value(kind: dict[str, Any]) -> None:
    count = messages(bench_of(), DIGITS, shots=1)
    assert count > 60
    struck = [session(bench_of(faults=[Fault(at=at, **kind)]), DIGITS, shots=1) for at in range(1, count + 1)]
    assert sum(struck) >= count // 3


def test_one_that_was_only_reached_is_made_safe() -> None:
    """After a crash, by somebody who has never set it up."""
    bench = bench_of()
    bench.vna.reach()
    bench.vna.safe()
    assert not bench.emulator.running
    bench.vna.drop()

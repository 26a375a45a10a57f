"""The NanoVNA V2 driver against the emulated firmware, with and without faults."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labtrain.drivers.emulators.faults import Fault
from labtrain.drivers.fitting import drivers_for
from labtrain.drivers.vna import nano_vna_v2_protocol as v2
from labtrain.drivers.vna.calibration import Calibration
from labtrain.drivers.vna.nano_vna_v2 import NanoVnaV2
from labtrain.errors import InputError, InstrumentError, LinkDesync, LinkRefused, LinkTimeout
from tests.drivers.vna.nano import GRID, KINDS, Bench, messages, session

DIGITS = 1e-7  # of single precision


def bench_of(**config: Any) -> Bench:
    return Bench(NanoVnaV2, **config)


# -- the protocol ------------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=5))
def test_checksums_are_those_of_the_firmware(records: list[bytes]) -> None:
    expected = []
    for record in records:
        found = 0b01000110
        for byte in record[:31]:
            found = (found ^ ((found << 1) & 0xFF | 1)) ^ byte
        expected.append(found)
    assert v2.checksums(np.frombuffer(b"".join(records), dtype=v2.RECORD)).tolist() == expected


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(["0d", "00", "10f0", "1120", "1200", "183003", "20300a", "212005", "23", "28300203"])))
def test_commands_are_cut_where_they_end(commands: list[str]) -> None:
    rest = {"212005": "00", "23": "000102030405060708", "28300203": "04"}
    whole = [bytes.fromhex(command + rest.get(command, "")) for command in commands]
    data = b"".join(whole)
    for command in whole:
        assert v2.command_length(data) == len(command)
        assert all(v2.command_length(data[:n]) == 0 for n in range(len(command)))
        data = data[len(command) :]
    answers = {"0d": 1, "10f0": 1, "1120": 2, "1200": 4, "183003": 96}
    assert v2.answer_length(b"".join(whole)) == sum(answers.get(command, 0) for command in commands)


@settings(max_examples=50, deadline=None)
@given(
    st.complex_numbers(max_magnitude=1.9, allow_nan=False), st.complex_numbers(max_magnitude=1.9), st.integers(0, 1023)
)
def test_records(reflected: complex, transmitted: complex, index: int) -> None:
    (record,) = np.frombuffer(v2.packed(reflected, transmitted, [index], 1 << 30), dtype=v2.RECORD)
    assert record["index"] == index
    assert record["forward"].tolist() == [1 << 30, 0]
    for name, value in (("reflected", reflected), ("transmitted", transmitted)):
        assert abs(complex(*record[name].tolist()) / (1 << 30) - value) < 2e-9


# -- measuring ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("points", [1, 2, 21, 255, 256, 600, 1023])
def test_a_sweep_is_what_the_network_answers(points: int) -> None:
    frequencies = 1e9 + 1e6 * np.arange(points)
    bench = bench_of(s_parameters=("S21", "S11"))
    vna = bench.ready(frequencies)
    for offset in (0.0, 0.25):
        bench.network.offset = offset
        sweep = vna.sweep()
        assert sweep.shape == (2, points) and sweep.dtype == np.complex128
        np.testing.assert_allclose(sweep, bench.expected(frequencies), rtol=DIGITS, atol=DIGITS)
    np.testing.assert_array_equal(bench.network.asked[0].frequencies_hz, frequencies)
    assert {asked.power_dbm for asked in bench.network.asked} == {-10.0}
    assert vna.calibration() == Calibration(False)


def test_the_bytes_of_a_sweep() -> None:
    bench = bench_of()
    bench.ready(1e9 + 1e6 * np.arange(300)).sweep()
    assert bench.wire.heard.hex(" ") == "21 22 01 00 20 30 00 18 30 ff 18 30 2d"


def test_averages_are_means_of_values_of_one_sweep() -> None:
    bench = bench_of(averages=4)
    vna = bench.ready()
    offsets = iter([0.1, 0.2, 0.3, 0.2j])
    sweep = bench.network.sweep

    def another(*args: Any, **kwargs: Any) -> Any:
        bench.network.offset = next(offsets)
        return sweep(*args, **kwargs)

    bench.network.sweep = another  # type: ignore[method-assign]
    found = vna.sweep()
    bench.network.offset = 0.15 + 0.05j
    np.testing.assert_allclose(found, bench.expected(), rtol=1e-6)
    assert bench.wire.heard[:4] == bytes.fromhex("21 22 04 00")


def test_a_device_that_goes_on_in_mid_sweep_is_waited_for() -> None:
    """Older firmware might not begin anew; what comes before the first point is left out."""
    bench = bench_of()
    vna = bench.ready()
    bench.emulator._restart = lambda: None
    bench.emulator._restarted = False
    for shot in range(3):
        bench.network.offset = shot
        bench.emulator.receive(bytes.fromhex("18 30 05"))
        found = vna.sweep()
        np.testing.assert_allclose(found, bench.expected(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("config", "frequencies", "sentence"),
    [
        ({"s_parameters": ("S22",)}, GRID, "asked S22, it measures S11 and S21 alone; set rig.vna.s_parameters"),
        ({"if_bandwidth_hz": 100.0}, GRID,
         "asked IF bandwidth 100 Hz, it is fixed at about 1000 Hz; set rig.vna.if_bandwidth_hz to that, and "
         "rig.vna.averages for less noise"),
        ({"power_dbm": -11.5}, GRID, "asked power -11.5 dBm, the nearest it has is -10 dBm; set rig.vna.power_dbm"),
        ({"power_dbm": -3.0}, GRID, "asked power -3 dBm, allowed -20 dBm to -9 dBm; set rig.vna.power_dbm"),
        ({"power_dbm": -16.0}, [1e8, 2e8],
         "asked power -16 dBm from 100000000 Hz on, it can be lowered from 1.4e+08 Hz on alone; set rig.vna.power_dbm "
         "to -10"),
        ({"averages": 65536}, GRID, "asked averages 65536, allowed 1 to 65535; set rig.vna.averages"),
        ({}, [1e9, 4e9, 7e9], "asked frequency 7 GHz, allowed 50 kHz to 4.4 GHz; set rig.frequencies_hz"),
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


@pytest.mark.parametrize(("asked", "register"), [(-10, 3), (-13.4, 2), (-15.5, 1), (-19, 0)])
def test_powers(asked: float, register: int) -> None:
    bench = bench_of(power_dbm=asked)
    bench.ready().sweep()
    assert bench.emulator.registers[v2.POWER] == register
    assert bench.network.asked[0].power_dbm == -19 + 3 * register


# -- identity ----------------------------------------------------------------------------------------------------


def test_it_knows_itself() -> None:
    vna = bench_of().open()
    assert vna.identity == "NanoVNA V2 EMULATOR, hardware 238, firmware 1.2" and vna.emulated
    assert drivers_for("NanoVNA V2, hardware 4, firmware 1.3") == ["nanovna-v2"]
    real = bench_of(options={"hardware": 3})
    assert not real.open().emulated
    with pytest.raises(InputError, match="allowed 50 kHz to 3 GHz"):
        real.vna.configure([1e9, 4e9])
    real.wire.heard.clear()
    with pytest.raises(InstrumentError, match="asked to simulate, and 'NanoVNA V2, hardware 3, firmware 1\\.2' is not"):
        real.vna.simulate_restart(1)
    assert not real.wire.heard


def test_old_firmware_is_refused() -> None:
    with pytest.raises(InstrumentError) as caught:
        bench_of(options={"firmware": (1, 1)}).vna.open()
    assert str(caught.value) == (
        "vna (sim): 'NanoVNA V2 EMULATOR, hardware 238, firmware 1.1' answers, and firmware before 1.2 has no command "
        "for its power and spoils S21 at the first point; update its firmware"
    )


def test_another_instrument_is_told() -> None:
    console = bench_of()
    console.wire.spoils = [lambda _: [(0.0, b"\r\nch> \r\nch> ")]] * 9
    with pytest.raises(LinkRefused, match=r"no NanoVNA V2 answered .*asked which protocol it has, got"):
        console.vna.open()
    mute = bench_of()
    mute.wire.spoils = [lambda _: []] * 9
    with pytest.raises(LinkRefused, match=r"no NanoVNA V2 answered \(waited 1\.025 s for 6 bytes, got nothing\)"):
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


def test_bytes_by_hand() -> None:
    vna = bench_of().open()
    assert vna.ask("10 f0 0d 11 20") == "02 32 65 00"
    vna.tell("21 20 05 00")
    assert vna.ask("11 20") == "05 00"


# -- the source --------------------------------------------------------------------------------------------------


def parked(bench: Bench) -> bool:
    emulator = bench.emulator
    return bool(emulator.frequencies_hz.tolist() == [50_000] and emulator.registers[v2.POWER] == 0)


def test_configuring_parks_the_source_and_a_sweep_needs_it_on() -> None:
    bench = bench_of()
    vna = bench.open()
    vna.configure(GRID)
    assert parked(bench)
    with pytest.raises(InstrumentError, match="RF off"):
        vna.sweep()
    vna.rf(True)
    np.testing.assert_array_equal(bench.emulator.frequencies_hz, GRID)
    vna.close()
    assert parked(bench)
    vna.close()


def test_safe_does_not_wait_for_a_late_answer() -> None:
    bench = bench_of()
    vna = bench.ready()
    bench.wire.spoils = [lambda replies: [(delay + 1.4, data) for delay, data in replies]]
    with pytest.raises(LinkTimeout):
        vna.sweep()
    bench.wire.heard.clear()
    vna.safe()
    assert bench.wire.heard.startswith(bytes(10) + bytes.fromhex("20 42 00 23 00 50 c3 00 00 00 00 00 00"))
    assert parked(bench)


@pytest.mark.parametrize("half", ["23", "23 00", "23 00 00 ca", "21 20", "20", "18", "18 30", "10", "12"])
def test_safe_after_half_a_command(half: str) -> None:
    bench = bench_of()
    vna = bench.ready()
    bench.emulator.receive(bytes.fromhex(half))
    bench.link.dirty = True
    vna.safe()
    assert parked(bench)
    vna.configure(GRID)
    vna.rf(True)
    np.testing.assert_allclose(vna.sweep(), bench.expected(), rtol=1e-6)


def test_safe_that_is_not_confirmed_is_told() -> None:
    bench = bench_of()
    vna = bench.ready()
    bench.wire.spoils = [lambda _: []] * 20
    with pytest.raises(InstrumentError, match="told to park its source, but did not confirm it"):
        vna.safe()


# -- what goes wrong ---------------------------------------------------------------------------------------------


def test_how_long_a_sweep_takes_is_known_and_waited_for() -> None:
    bench = bench_of(timing=True, averages=20)
    vna = bench.ready()
    began_s = bench.clock.monotonic()
    vna.sweep()
    assert bench.clock.monotonic() - began_s == pytest.approx(vna.sweep_s * 0.8)


@pytest.mark.parametrize("seconds", [1.1, 1.9, 2.5, 30.0])
def test_a_late_answer_is_never_taken_for_another(seconds: float) -> None:
    bench = bench_of()
    vna = bench.ready()
    bench.wire.spoils = [lambda replies: [(delay + seconds, data) for delay, data in replies]]
    with pytest.raises(LinkTimeout):
        vna.sweep()
    for shot in range(4):
        bench.network.offset = 0.1 * shot + 0.1
        for _ in range(40):
            try:
                found = vna.sweep()
                break
            except LinkDesync:  # it is still silent
                continue
        np.testing.assert_allclose(found, bench.expected(), rtol=1e-6)


def records(indices: list[int], spoil: int | None = None) -> bytes:
    data = bytearray(b"".join(v2.packed(0.5, 0.25, [index], 1 << 30) for index in indices))
    if spoil is not None:
        data[spoil] ^= 4
    return bytes(data)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (records([*range(20), 19]), "asked 'the FIFO' for point 20, got 'point 19'"),
        (records([0, *range(20)]), "asked 'the FIFO' for point 1, got 'point 0'"),
        (records(list(range(21)), spoil=32 * 7 + 9), "got 'a record with a wrong checksum'"),
        (b"".join(v2.packed(0.5, 0.25, [index], 0) for index in range(21)), "for a forward wave, got 'nothing'"),
    ],
)
def test_records_that_are_wrong_are_told(answer: bytes, told: str) -> None:
    bench = bench_of()
    vna = bench.ready()
    bench.wire.spoils = [lambda _: [(0.0, answer)]]
    with pytest.raises(InstrumentError) as caught:
        vna.sweep()
    assert told in str(caught.value)
    np.testing.assert_allclose(vna.sweep(), bench.expected(), rtol=1e-6)


def test_firmware_that_sends_no_checksums() -> None:
    bench = bench_of()
    vna = bench.ready()
    whole = bytearray(records(list(range(21))))
    whole[31::32] = bytes(21)
    bench.wire.spoils = [lambda _: [(0.0, bytes(whole))]]
    np.testing.assert_allclose(vna.sweep(), 0.25)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind['kind']} {kind.get('number', '')}")
def test_no_fault_at_any_message_gives_a_wrong_value(kind: dict[str, Any]) -> None:
    config: dict[str, Any] = {"s_parameters": ("S11", "S21")}
    count = messages(bench_of(**config), 1e-6, shots=1)
    assert count > 50
    struck = [session(bench_of(faults=[Fault(at=at, **kind)], **config), 1e-6, shots=1) for at in range(1, count + 1)]
    assert sum(struck) >= 5


def test_registers_that_are_not_as_they_were_written_are_told() -> None:
    bench = bench_of()
    vna = bench.open()
    vna.configure(GRID)
    store = bench.emulator._written
    bench.emulator._written = lambda address: (store(address), bench.emulator._store(v2.POINTS, 20, 2))
    with pytest.raises(InstrumentError, match=r"for the registers of the sweep as they were written, got '00 ca 9a 3b"):
        vna.rf(True)
    with pytest.raises(InstrumentError, match="RF off"):
        vna.sweep()


def test_one_that_was_only_reached_is_made_safe() -> None:
    """After a crash, by somebody who has never set it up."""
    bench = bench_of()
    bench.vna.reach()
    bench.vna.safe()
    assert parked(bench)
    bench.vna.drop()

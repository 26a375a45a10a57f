"""What holds for the driver of every SCPI dialect, against the emulator of its instrument."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labtrain import registry
from labtrain.clock import SimulatedClock
from labtrain.drivers.backends.memory import MemoryLink
from labtrain.drivers.emulators.emulator import Reply
from labtrain.drivers.fitting import drivers_for
from labtrain.drivers.scpi import Identity, ScpiError
from labtrain.drivers.vna.copper_mountain import CopperMountain
from labtrain.drivers.vna.scpi_vna import ScpiVna
from labtrain.errors import InputError, InstrumentError, LinkError
from tests.drivers.emulators.networks import Network
from tests.drivers.wires import Wire, cut, late, silent

DRIVERS = {name: registry.resolve("drivers", name) for name in registry.names("drivers")}
NAMES = [name for name, driver in DRIVERS.items() if issubclass(driver, ScpiVna)]
every_dialect = pytest.mark.parametrize("name", NAMES)

GRID = np.linspace(5.15e9, 5.875e9, 21)
LISTED = np.array([5.15e9, 5.2e9, 5.31e9, 5.5e9, 5.875e9])


class Bench:
    """An analyser, a wire and its driver, not open yet."""

    def __init__(self, name: str, **config: Any) -> None:
        driver = DRIVERS[name]
        self.clock = SimulatedClock()
        self.network = Network()
        self.emulator = registry.emulator_of(driver)(self.network, self.clock)
        self.wire = Wire(self.emulator)
        self.link = MemoryLink("vna", self.wire, self.clock, timeout_s=2.0)
        self.vna: ScpiVna = driver(self.link, driver.Config(**config), self.clock)

    def ready(self, frequencies_hz: Any = GRID) -> ScpiVna:
        self.vna.open()
        self.vna.configure(frequencies_hz)
        self.vna.rf(True)
        return self.vna

    def told(self, question: str) -> str:
        """What the instrument answers to somebody else."""
        ((_, answer),) = self.emulator.receive(question.encode() + b"\n")
        return answer.decode().strip()


@every_dialect
@pytest.mark.parametrize("frequencies_hz", [GRID, LISTED, LISTED[:4], LISTED[:2]], ids=["grid", "5", "4", "2"])
def test_a_sweep_reads_what_the_network_answers(name: str, frequencies_hz: np.ndarray) -> None:
    bench = Bench(name, s_parameters=("S21", "S11"), power_dbm=-20.0, if_bandwidth_hz=300.0)
    sweep = bench.ready(frequencies_hz).sweep()
    expected = [bench.network.s(frequencies_hz, *ports) for ports in ((2, 1), (1, 1))]
    np.testing.assert_array_equal(sweep, expected)
    asked = bench.network.asked[-1]
    assert (asked.power_dbm, asked.if_bandwidth_hz) == (-20.0, 300.0)
    assert bench.told("SYST:ERR?").lstrip("+").startswith("0,")


@every_dialect
def test_each_sweep_is_a_new_one(name: str) -> None:
    bench = Bench(name)
    vna = bench.ready()
    first = vna.sweep()
    bench.network.offset = 0.25j
    np.testing.assert_allclose(vna.sweep() - first, 0.25j, atol=1e-12)


@every_dialect
def test_averages_are_those_of_one_shot(name: str) -> None:
    bench = Bench(name, averages=4)
    vna = bench.ready()
    before = sum(asked.averages for asked in bench.network.asked)
    first = vna.sweep()
    bench.network.offset = 1.0
    np.testing.assert_allclose(vna.sweep() - first, 1.0, atol=1e-12)
    assert sum(asked.averages for asked in bench.network.asked) - before == 8


@every_dialect
def test_settings_are_put_back_and_rf_stays_off(name: str) -> None:
    bench = Bench(name, power_dbm=-30.0, s_parameters=("S21", "S12"))
    bench.emulator.receive(b"SENS1:SWE:POIN 401;:SENS1:FREQ:STAR 1e9;STOP 2e9\n")
    bench.vna.open()
    found = bench.vna.settings()
    bench.vna.close()
    assert bench.told("OUTP?") == "0"
    vna = bench.ready(LISTED)
    vna.sweep()
    assert vna.settings() != found
    vna.close()
    bench.vna.open()
    assert bench.vna.settings() == found
    assert found["points"] == 401
    bench.vna.close()
    assert bench.told("OUTP?") == "0"
    assert bench.told("SYST:ERR?").lstrip("+").startswith("0,")


OF_PNA = ["SOUR1:POW:COUP 0", "SOUR1:POW2 5", "SOUR1:POW:SLOP 1;SLOP:STAT 1"]
POWERS = {
    "keysight-pna": OF_PNA,
    "keysight-e5080": OF_PNA,
    "rohde-schwarz": ["SOUR1:POW2:OFFS 20,CPAD", "SOUR1:POW2:SLOP 1"],
}
OF_NUMBERED_TRACES = ["SOUR1:POW:PORT:COUP 0", "SOUR1:POW:PORT2 5", "SOUR1:POW:SLOP 1;SLOP:STAT 1"]


@every_dialect
@pytest.mark.parametrize("frequencies_hz", [GRID, LISTED], ids=["grid", "list"])
def test_no_port_gives_more_power_than_was_checked_whatever_was_set_before(name: str, frequencies_hz: Any) -> None:
    bench = Bench(name, power_dbm=-30.0, s_parameters=("S12", "S21"))
    for order in POWERS.get(name, OF_NUMBERED_TRACES):
        bench.emulator.receive(order.encode() + b"\n")
    assert bench.told("SYST:ERR?").lstrip("+").startswith("0,")
    bench.vna.open()
    found = bench.vna.settings()
    vna = bench.ready(frequencies_hz)
    bench.network.asked.clear()
    vna.sweep()
    assert {asked.power_dbm for asked in bench.network.asked} == {-30.0}
    vna.close()
    bench.vna.open()
    assert bench.vna.settings() == found


PNA_CHANNEL = "SOUR2:POW 5;:SENS2:SWE:MODE CONT"
CHANNELS = {
    "keysight-pna": f"CALC2:PAR:DEF:EXT 'theirs','S21';:{PNA_CHANNEL}",
    "keysight-e5080": f"CALC2:MEAS7:DEF 'S21';:{PNA_CHANNEL}",
    "rohde-schwarz": "CALC2:PAR:SDEF 'theirs','S21';:SOUR2:POW 5;:INIT2:CONT 1",
}
READ = {
    "keysight-e5080": "CALC2:MEAS7:DATA:SDAT?",
    "keysight-pna": "CALC2:PAR:SEL 'theirs';:CALC2:DATA? SDATA",
    "rohde-schwarz": "CALC2:PAR:SEL 'theirs';:CALC2:DATA? SDAT",
}


@every_dialect
def test_other_channels_do_not_radiate_while_rf_is_on_and_sweep_afterwards(name: str) -> None:
    """Their frequencies and powers are those of somebody else, and were not checked."""
    bench = Bench(name, power_dbm=-30.0)
    bench.emulator.receive(CHANNELS.get(name, "SOUR2:POW 5;:INIT2:CONT 1").encode() + b"\n")
    assert bench.told("SYST:ERR?").lstrip("+").startswith("0,")
    bench.vna.open()
    found = bench.vna.settings()
    assert [number for number, _ in found["other_channels"]] == [2]
    vna = bench.ready()
    bench.network.asked.clear()
    vna.sweep()
    bench.emulator.receive(READ.get(name, "CALC2:DATA:SDAT?").encode() + b"\n")
    vna.sweep()
    assert {asked.power_dbm for asked in bench.network.asked} == {-30.0}
    vna.close()
    bench.vna.open()
    assert bench.vna.settings() == found


@every_dialect
def test_a_list_is_taken_again_and_that_of_before_goes_back(name: str) -> None:
    """As after a fault, when numbers are sent in binary already."""
    bench = Bench(name)
    bench.ready(LISTED).close()
    bench.emulator.receive(b"SENS1:SWE:TYPE SEGM\n")
    bench.vna.open()
    found = bench.vna.settings()
    vna = bench.ready(LISTED[:3])
    vna.configure(LISTED[1:])
    vna.rf(True)
    np.testing.assert_array_equal(vna.sweep()[0], bench.network.s(LISTED[1:], 2, 1))
    vna.close()
    bench.vna.open()
    assert bench.vna.settings() == found
    bench.vna.close()
    assert bench.told("SYST:ERR?").lstrip("+").startswith("0,")


def test_what_may_add_to_its_power_and_an_instrument_does_not_have_is_not_needed() -> None:
    from labtrain.drivers.emulators.vna.keysight_ena import KeysightEna as Emulator
    from labtrain.drivers.vna.keysight_ena import KeysightEna

    class WithoutSlope(Emulator):
        def receive(self, data: bytes) -> list[Reply]:
            return super().receive(data.replace(b"SLOP", b"NOPE"))

    network, clock = Network(), SimulatedClock()
    vna = KeysightEna(MemoryLink("vna", WithoutSlope(network, clock), clock), KeysightEna.Config(), clock)
    vna.open()
    vna.configure(GRID)
    vna.rf(True)
    np.testing.assert_array_equal(vna.sweep()[0], network.s(GRID, 2, 1))
    assert {"sloped", "coupled"} & vna.settings().keys() == {"coupled"}
    vna.close()


@every_dialect
def test_it_is_safe_whatever_is_under_way(name: str) -> None:
    bench = Bench(name)
    vna = bench.ready()
    bench.wire.spoils = [silent]
    with pytest.raises(LinkError):
        vna.sweep()
    vna.safe()
    assert bench.told("OUTP?") == "0"
    swept = len(bench.network.asked)
    bench.told("*OPC?")
    assert len(bench.network.asked) == swept  # it sweeps no more


@every_dialect
@pytest.mark.parametrize("spoil", [late(3.0), silent, cut(40)], ids=["late", "silent", "cut"])
def test_a_spoilt_answer_never_becomes_data(name: str, spoil: Any) -> None:
    bench = Bench(name)
    vna = bench.ready()
    for at in range(3):
        bench.network.offset = complex(at)
        bench.wire.spoils = [lambda replies: replies] * at + [spoil]
        try:
            sweep = vna.sweep()
        except InstrumentError as error:
            assert str(error).startswith("vna (sim): ")
            bench.wire.spoils = []
            vna.link.resynchronise()
            sweep = vna.sweep()
        np.testing.assert_array_equal(sweep[0], bench.network.s(GRID, 2, 1))


@every_dialect
def test_limits_hold_before_a_byte_leaves(name: str) -> None:
    wide = {"if_bandwidth_hz": 1e9}, {"averages": 65536, "power_dbm": 1.0}, {"power_dbm": 5.0}
    for config in wide:
        bench = Bench(name, **config)
        with pytest.raises(InputError, match=r"^vna \(sim\): asked .*; set rig\.vna\."):
            bench.vna.check(GRID)
        assert bench.wire.heard == []
    bench = Bench(name)
    bench.vna.open()
    bench.wire.heard.clear()
    for frequencies_hz, wrong in (([1.0, 2.0], "frequency"), (np.linspace(1e9, 2e9, 600_000), "points")):
        with pytest.raises(InputError, match=rf"^vna \(sim\): asked {wrong}"):
            bench.vna.configure(frequencies_hz)
    bench = Bench(name, s_parameters=("S21", "S31"))
    bench.vna.open()
    with pytest.raises(InputError, match="it has 2 ports"):
        bench.vna.configure(GRID)


@every_dialect
def test_its_instrument_is_found_by_its_identity_alone(name: str) -> None:
    bench = Bench(name)
    identity = bench.told("*IDN?")
    assert drivers_for(identity) == [name]
    assert drivers_for(identity.replace("EMULATOR", "MY12345678")) == [name]
    assert Identity.parse(identity).firmware


@every_dialect
def test_the_driver_of_another_dialect_says_which_would_fit(name: str) -> None:
    other = NAMES[NAMES.index(name) - 1]
    bench, driver = Bench(name), DRIVERS[other]
    vna = driver(bench.link, driver.Config(), bench.clock)
    with pytest.raises(InstrumentError, match=f"; set rig.vna.driver to {name}, or correct rig.vna.address$"):
        vna.open()
    assert bench.wire.heard == ["*IDN?"]


@every_dialect
def test_correction_is_told(name: str) -> None:
    bench = Bench(name)
    bench.vna.open()
    bench.vna.configure(GRID)
    assert not bench.vna.calibration().on


def test_binary_data_that_it_does_not_send_are_refused_unless_text_is_asked_for() -> None:
    """Over a socket, the manual says; whether it says so or goes on in text, it does not."""
    from labtrain.drivers.emulators.vna.copper_mountain import CopperMountain as Emulator

    class Deaf(Emulator):
        def receive(self, data: bytes) -> list[Reply]:
            return super().receive(data.replace(b"FORM:DATA REAL", b"FORM:DATA ASC"))

    def opened(emulator: type[Emulator] = Emulator, **config: Any) -> tuple[CopperMountain, Network]:
        network, clock = Network(), SimulatedClock()
        link = MemoryLink("vna", emulator(network, clock, binary=False), clock)
        vna = CopperMountain(link, CopperMountain.Config(**config), clock)
        vna.open()
        return vna, network

    for emulator, why in ((Emulator, ScpiError), (Deaf, type(None))):
        vna, _ = opened(emulator)
        with pytest.raises(InstrumentError) as caught:
            vna.configure(GRID)
        assert str(caught.value) == (
            "vna (sim): does not send binary data, which 23.3.1/1 may do over HiSLIP alone; set rig.vna.address to "
            "TCPIP::host::hislip0::INSTR, or rig.vna.transfer to text, which rounds"
        )
        assert isinstance(caught.value.__cause__, why)
        vna.close()

    vna, network = opened(transfer="text")
    vna.configure(LISTED)
    vna.rf(True)
    np.testing.assert_allclose(vna.sweep()[0], network.s(LISTED, 2, 1), rtol=0, atol=1e-11)
    vna.close()


def test_too_many_segments_are_refused_before_a_byte_leaves() -> None:
    bench = Bench("keysight-ena")
    bench.vna.open()
    bench.wire.heard.clear()
    uneven = 5e9 + np.cumsum(np.arange(1, 405)) * 1e3
    with pytest.raises(InputError) as caught:
        bench.vna.configure(uneven)
    assert str(caught.value) == (
        "vna (sim): asked 404 frequencies that need 202 segments, it has 201; measure at fewer "
        "(rig.frequencies_hz), or at equal distances"
    )
    assert bench.wire.heard == []


def test_a_point_count_beyond_this_very_instrument_is_refused_before_a_byte_leaves() -> None:
    from labtrain.drivers.emulators.vna.keysight_ena import KeysightE5062A
    from labtrain.drivers.vna.keysight_ena import KeysightEna

    clock = SimulatedClock()
    wire = Wire(KeysightE5062A(Network(), clock))
    vna = KeysightEna(MemoryLink("vna", wire, clock), KeysightEna.Config(), clock)
    vna.open()
    wire.heard.clear()
    with pytest.raises(InputError) as caught:
        vna.configure(np.linspace(1e9, 2e9, 1602))
    assert str(caught.value) == (
        "vna (sim): asked points 1602, allowed 2 to 1601; measure at fewer frequencies (rig.frequencies_hz)"
    )
    assert wire.heard == []


def test_a_trigger_begins_one_sweep_whatever_was_set_at_the_front_panel() -> None:
    bench = Bench("keysight-ena", averages=4)
    bench.emulator.receive(b"TRIG:AVER 1\n")
    vna = bench.ready()
    before = len(bench.network.asked)
    vna.sweep()
    assert sum(asked.averages for asked in bench.network.asked[before:]) == 4
    vna.close()
    assert bench.told("TRIG:AVER?") == "1"


def statements(cls: type) -> int:
    """Statements of a class and of the module around it; documentation and imports are none."""
    tree = ast.parse(Path(inspect.getsourcefile(cls) or "").read_text(encoding="utf-8"))
    skipped = (ast.Import, ast.ImportFrom)
    return sum(
        isinstance(node, ast.stmt)
        and not isinstance(node, skipped)
        and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        for node in ast.walk(tree)
    )


def test_a_new_dialect_takes_at_most_60_statements() -> None:
    """Driver and emulator together, on the classes that they share with their family."""
    counted = {name: (statements(DRIVERS[name]), statements(registry.emulator_of(DRIVERS[name]))) for name in NAMES}
    for name, (driver, emulator) in sorted(counted.items(), key=lambda item: sum(item[1])):
        print(f"{name:<20} driver {driver:>3}  emulator {emulator:>3}  together {driver + emulator:>3}")
    small = [name for name, parts in counted.items() if sum(parts) <= 60]
    assert {"siglent-sna", "keysight-e5080"} <= set(small)

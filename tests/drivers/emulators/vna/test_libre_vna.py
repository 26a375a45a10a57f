"""The emulated LibreVNA-GUI: its command tree, as the programming guide has it, and what is not as in IEEE 488.2."""

from __future__ import annotations

import numpy as np
import pytest

from labtrain.clock import SimulatedClock
from labtrain.drivers.emulators.vna.libre_vna import LibreVnaEmulator
from labtrain.errors import InputError
from tests.drivers.emulators.networks import Network


class Session:
    """A GUI and somebody who talks to it."""

    def __init__(self, *, timing: bool = False) -> None:
        self.network, self.clock = Network(), SimulatedClock()
        self.gui = LibreVnaEmulator(self.network, self.clock, timing=timing)

    def ask(self, line: str) -> list[str]:
        """Lines that come at once."""
        replies = self.gui.receive(line.encode() + b"\n")
        assert all(delay_s == 0.0 for delay_s, _ in replies)
        return b"".join(data or b"" for _, data in replies).decode().splitlines()

    def prepare(self) -> None:
        assert self.ask(":VNA:ACQ:STOP;POINTS 5;:VNA:FREQ:START 1000000000;STOP 2000000000") == []
        assert self.ask("*ESR?") == ["0"]


def test_each_query_is_answered_by_a_line() -> None:
    session = Session()
    session.prepare()
    assert session.ask("VNA:FREQuency:START?;STOP?;:vna:acq:points?") == ["1000000000", "2000000000", "5"]
    assert session.ask("*ESE 100;*ESE?;*ESR?") == ["100", "0"]
    assert session.ask("*IDN?") == ["LibreVNA,LibreVNA-GUI,EMULATOR,1.6.4"]
    assert session.ask("") == []


@pytest.mark.parametrize("line", ["VNA:NONSENSE?", "SYST:ERR?", "*IDN", "VNA:ACQ:STOP?", "VNA:ACQ:POINTS x", "*ESE 256",
                                  "VNA:TRAC:DATA? S33", "VNA:FREQUEN:START?", "VNA:SWEEP NOISE"])  # fmt: skip
def test_what_is_not_understood_has_no_answer_and_sets_an_event(line: str) -> None:
    session = Session()
    session.prepare()
    assert session.ask(line) == []
    assert session.ask("*ESR?;*ESR?") == ["32", "0"]
    session.ask(line)
    assert session.ask("*CLS;*ESR?") == ["0"]


@pytest.mark.parametrize("long", ["DEVice:INFo:LIMits:MINFrequency?", "DEVice:INFo:LIMits:MINIFBW?"])
def test_long_and_short_forms(long: str) -> None:
    session = Session()
    short = "".join(character for character in long if not character.islower())
    assert session.ask(long) == session.ask(long.lower()) == session.ask(f":{short}") != []
    assert session.ask("DEV:INFo:LIM:MAXPOW?") == ["0"]


def test_traces_have_six_digits() -> None:
    session = Session()
    session.prepare()
    assert session.ask("VNA:TRAC:LIST?") == ["S11,S12,S21,S22"]
    assert session.ask("VNA:TRAC:DATA? S21") == ["EMPTY"]  # it was stopped, and has other settings since
    session.ask("VNA:ACQ:RUN")
    assert session.ask("VNA:ACQ:FIN?") == ["TRUE"]
    (answer,) = session.ask("VNA:TRACe:DATA? s21")
    rows = [row.split(",") for row in answer[1:-1].split("],[")]
    assert [row[0] for row in rows] == ["1000000000", "1250000000", "1500000000", "1750000000", "2000000000"]
    values = np.array([complex(float(re), float(im)) for _, re, im in rows])
    expected = session.network.s(np.linspace(1e9, 2e9, 5), 2, 1)
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    assert np.abs(values - expected).max() > 0
    session.ask("VNA:ACQ:STOP")
    assert session.ask("VNA:TRAC:DATA? 2") == [answer]
    assert len(session.network.asked) == 1


def test_one_that_runs_on_measures_anew() -> None:
    session = Session()
    session.prepare()
    session.ask("VNA:ACQ:RUN")
    first = session.ask("VNA:TRAC:DATA? S11") + session.ask("VNA:TRAC:DATA? S21")
    assert len(session.network.asked) == 1
    session.network.offset = 1.0
    assert session.ask("VNA:TRAC:DATA? S11") != first[:1]
    session.ask("VNA:ACQ:STOP")
    stopped = session.ask("VNA:TRAC:DATA? S11")
    session.network.offset = 2.0
    assert session.ask("VNA:TRAC:DATA? S11") == stopped


def test_a_single_sweep_stops_by_itself_and_is_asked_for_again() -> None:
    session = Session()
    session.prepare()
    for offset in (1.0, 2.0):
        session.network.offset = offset
        session.ask("VNA:ACQ:SINGLE TRUE")
        assert session.ask("VNA:ACQ:FIN?;RUN?") == ["TRUE", "FALSE"]
        values = session.ask("VNA:TRAC:DATA? S21")[0][1:-1].split("],[")
        assert float(values[0].split(",")[1]) == pytest.approx(
            offset + session.network.s(1e9, 2, 1).real - offset, rel=1e-4
        )


def test_settings_are_kept_within_the_device() -> None:
    session = Session()
    session.prepare()
    for setting, asked, taken in (
        ("VNA:STIM:LVL", "10", "0"), ("VNA:STIM:LVL", "-99", "-40"), ("VNA:ACQ:IFBW", "1", "10"),
        ("VNA:ACQ:IFBW", "99999", "50000"), ("VNA:ACQ:POINTS", "1", "2"), ("VNA:ACQ:POINTS", "9999", "4501"),
        ("VNA:FREQ:STOP", "9e9", "6000000000"), ("VNA:FREQ:START", "1", "100000"),
    ):  # fmt: skip
        session.ask(f"{setting} {asked}")
        assert session.ask(f"{setting}?") == [taken]
    session.ask("VNA:FREQ:STOP 2000000;START 3000000")
    assert session.ask("VNA:FREQ:START?;STOP?") == ["3000000", "3000000"]


def test_one_that_is_stopped_has_what_it_measured_until_then() -> None:
    session = Session()
    session.prepare()
    session.ask("VNA:ACQ:RUN;STOP")
    assert session.network.asked == []  # nobody has asked for it yet
    assert session.ask("VNA:ACQ:FIN?") == ["TRUE"]
    assert len(session.network.asked) == 1


def test_a_setting_begins_the_sweep_anew() -> None:
    session = Session(timing=True)
    session.prepare()
    session.ask("VNA:ACQ:IFBW 10;RUN")
    session.clock.sleep(session.gui.duration_s + 0.01)
    assert session.ask("VNA:ACQ:FIN?") == ["TRUE"]
    session.ask("VNA:STIM:LVL -20")
    assert session.ask("VNA:ACQ:FIN?;AVGLEV?;:VNA:TRAC:DATA? S21") == ["FALSE", "0", "EMPTY"]
    session.clock.sleep(session.gui.duration_s + 0.01)
    assert session.ask("VNA:ACQ:FIN?;AVGLEV?") == ["TRUE", "1"]
    assert session.network.asked[-1].power_dbm == -20


def test_the_answer_that_waits() -> None:
    session = Session(timing=True)
    session.prepare()
    session.ask("VNA:ACQ:IFBW 10")
    ((delay_s, answer),) = session.gui.receive(b":VNA:ACQ:RUN;*OPC?\n")
    assert answer == b"1\n"
    assert delay_s == pytest.approx(session.gui.duration_s) and delay_s > 0.9


def test_traces_of_ones_own() -> None:
    session = Session()
    session.prepare()
    session.ask("VNA:TRAC:NEW mine;PARAM mine S22;:VNA:ACQ:RUN")
    assert session.ask("VNA:TRAC:PARAM? MINE;TYPE? MINE;PAUSED? MINE") == ["S22", "Overwrite", "FALSE"]
    assert session.ask("VNA:TRAC:DATA? mine") == session.ask("VNA:TRAC:DATA? S22")
    session.ask("VNA:TRAC:PAUSE mine")
    frozen = session.ask("VNA:TRAC:DATA? mine")
    session.network.offset = 1.0
    session.ask("VNA:ACQ:RUN")
    assert session.ask("VNA:TRAC:DATA? mine") == frozen != session.ask("VNA:TRAC:DATA? S22")
    session.ask("VNA:TRAC:DEL mine")
    assert session.ask("VNA:TRAC:LIST?") == ["S11,S12,S21,S22"]


def test_half_a_line_waits_for_the_other_half() -> None:
    session = Session()
    session.prepare()
    assert session.gui.receive(b"VNA:ACQ:POI") == []
    assert session.gui.receive(b"NTS?\r\n") == [(0.0, b"5\n")]
    session.gui.receive(b"VNA:ACQ:POI")
    session.gui.connected()
    assert session.ask("*ESR?") == ["0"]


def test_it_needs_two_ports() -> None:
    with pytest.raises(InputError) as caught:
        LibreVnaEmulator(Network(1), SimulatedClock())
    assert str(caught.value) == "emulated LibreVNA: it has 2 ports, the simulated network 1; simulate more"

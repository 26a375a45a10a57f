"""INSTR resources: pyvisa-py, and PyMeasure and scikit-rf on top of it, over HiSLIP and VXI-11."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import pyvisa
from numpy.typing import ArrayLike, NDArray

from labtrain.drivers.emulators.serving.hislip import HislipOutlet
from labtrain.drivers.emulators.serving.vxi11 import Vxi11Outlet
from tests.peers.conftest import Bench, MakeOutlet, Pair, Witness, bench_of

OUTLETS = {"hislip": HislipOutlet, "vxi11": Vxi11Outlet}
MAV = 16


class Noise:
    """A network of nothing but noise, ready at once however many points are asked for."""

    n_ports = 2

    def sweep(self, frequencies_hz: ArrayLike, ports: Sequence[Pair], **settings: object) -> NDArray[np.complex128]:
        shape = len(ports), len(np.asarray(frequencies_hz))
        draw = np.random.default_rng(7)
        return draw.standard_normal(shape) + 1j * draw.standard_normal(shape)

    def restart(self, seed: int) -> None: ...

    def begin_shot(self, shot: int) -> None: ...

    def disturb(self, name: str, *, at_shot: int = 0, **values: object) -> None: ...


@pytest.fixture(params=OUTLETS)
def outlet(request: pytest.FixtureRequest) -> MakeOutlet:
    return OUTLETS[request.param]


@pytest.fixture
def instr(outlet: MakeOutlet) -> Iterator[Bench]:
    with bench_of(outlet=outlet) as bench:
        assert bench.resource.endswith("::INSTR")
        yield bench


@pytest.fixture
def session(instr: Bench) -> Iterator[Any]:
    manager = pyvisa.ResourceManager("@py")
    with manager.open_resource(instr.resource) as session:
        yield session


def test_pyvisa_asks_and_clears_and_polls(session: Any, instr: Bench) -> None:
    assert session.query("*IDN?").startswith("Keysight Technologies,N5222B,EMULATOR")
    session.write_termination = ""  # END alone ends the message
    assert session.query("*OPT?").strip() == "200"
    assert session.read_stb() == 0
    session.write("*IDN?")
    while session.read_stb() != MAV:
        pass
    if isinstance(instr.outlet, HislipOutlet):
        session.read()  # pyvisa-py 0.8 does not drop an answer that is on the wire when it clears
    session.clear()
    assert session.query("*OPT?").strip() == "200"
    session.write("NOPE")
    assert session.query("*STB?").strip() == "+4"
    assert session.read_stb() & 4
    session.write("*CLS")
    assert session.query("SYST:ERR?").startswith("+0")


def test_a_question_over_an_unread_answer_is_interrupted(session: Any) -> None:
    session.write("*IDN?")
    assert session.query("*OPT?").strip() == "200"
    assert session.query("SYST:ERR?").strip() == '-410,"Query INTERRUPTED"'


def test_a_read_of_nothing_times_out(session: Any, instr: Bench) -> None:
    session.timeout = 50
    with pytest.raises(pyvisa.errors.VisaIOError) as told:
        session.read()
    assert told.value.error_code == pyvisa.constants.StatusCode.error_timeout
    session.timeout = 5000
    expected = "-420" if isinstance(instr.outlet, Vxi11Outlet) else "+0"  # over HiSLIP nobody is asked to send
    assert session.query("SYST:ERR?").startswith(expected)


@pytest.mark.parametrize("chunk", [20 * 1024, 7, 1 << 21])
def test_reads_of_any_size_make_the_same_block(session: Any, instr: Bench, chunk: int) -> None:
    session.write("FORM:BORD SWAP;:FORM REAL,64;:SENS1:SWE:POIN 51;:SENS1:SWE:MODE SING")
    assert int(session.query("*OPC?")) == 1
    session.chunk_size = chunk
    values = session.query_binary_values("CALC1:MEAS1:DATA:SDATA?", "d", container=np.array)
    np.testing.assert_array_equal(values.view(np.complex128), instr.witness.traces[1, 1])


def test_a_big_block_of_every_byte_value(outlet: MakeOutlet) -> None:
    noise = Witness(Noise())
    manager = pyvisa.ResourceManager("@py")
    with bench_of(outlet=outlet, port=noise) as bench, manager.open_resource(bench.resource) as session:
        session.timeout = 20_000
        session.write("FORM:BORD SWAP;:FORM REAL,64;:SENS1:SWE:POIN 100003;:SENS1:SWE:MODE SING")
        assert int(session.query("*OPC?")) == 1
        values = session.query_binary_values("CALC1:MEAS1:DATA:SDATA?", "d", container=np.array)
        assert session.query("SYST:ERR?").startswith("+0")
    assert len(values) == 2 * 100_003
    assert len(set(values.tobytes())) == 256
    np.testing.assert_array_equal(values.view(np.complex128), noise.traces[1, 1])


def test_pymeasure(instr: Bench) -> None:
    keysight = pytest.importorskip(
        "pymeasure.instruments.keysight", reason='PyMeasure is not installed; run: pip install -e ".[peers]"'
    )
    pna = keysight.KeysightPNA(instr.resource, visa_library="@py")
    pna.write("SENS1:FREQ:STAR 5.2 GHZ;STOP 5.6 GHZ;:SENS1:SWE:POIN 21;:SENS1:SWE:MODE HOLD")
    pna.update_channels()
    pna.data_format = "real64"
    pna.ch_1.single()
    assert int(pna.complete) == 1
    values = pna.ch_1.tr_1.y_data_complex.astype(float)
    np.testing.assert_array_equal(values[:, 0] + 1j * values[:, 1], instr.witness.traces[1, 1])
    assert pna.check_errors() == []
    pna.adapter.close()


def test_scikit_rf(instr: Bench) -> None:
    skrf = pytest.importorskip("skrf", reason='scikit-rf is not installed; run: pip install -e ".[peers]"')
    from skrf.vi.vna.keysight import PNA

    pna = PNA(instr.resource, backend="@py")
    pna.ch1.frequency = skrf.Frequency(5.2, 5.6, 21, unit="ghz")
    network = pna.ch1.get_snp_network((1, 2))
    for to in (1, 2):
        for source in (1, 2):
            np.testing.assert_array_equal(network.s[:, to - 1, source - 1], instr.witness.traces[to, source])
    pna.check_errors()
    pna._resource.close()

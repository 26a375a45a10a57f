"""PyMeasure's Keysight PNA, as it comes from PyPI, against the emulated analyser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.peers.conftest import Bench

keysight = pytest.importorskip(
    "pymeasure.instruments.keysight", reason='PyMeasure is not installed; run: pip install -e ".[peers]"'
)


@pytest.fixture
def pna(bench: Bench) -> Iterator[Any]:
    pna = keysight.KeysightPNA(bench.resource, visa_library="@py")
    pna.write("CALC1:PAR:DEF:EXT 'mine','S21'")  # it expects everything to be set up by hand
    pna.write("SENS1:FREQ:STAR 5.2 GHZ;STOP 5.6 GHZ;:SENS1:SWE:POIN 21;:SENS1:SWE:MODE HOLD")
    pna.update_channels()
    yield pna
    assert pna.check_errors() == []
    pna.adapter.close()


def test_it_finds_channels_and_traces(pna: Any) -> None:
    assert pna.id == "Keysight Technologies,N5222B,EMULATOR,A.13.95.09"
    assert pna.options == "200"
    assert list(pna.channels) == [1]
    assert list(pna.ch_1.traces) == [1, 2]
    assert pna.ch_1.number_of_points == 21
    assert (pna.ch_1.tr_2.parameter, pna.ch_1.tr_2.x_unit, pna.ch_1.tr_2.y_unit) == ("S21", "FREQ", "DB")


@pytest.mark.parametrize(("form", "digits"), [("real64", 0.0), ("real32", 1e-7), ("ascii", 1e-11)])
def test_traces_equal_the_worlds(pna: Any, bench: Bench, form: str, digits: float) -> None:
    pna.data_format = form
    assert pna.data_format == form
    pna.ch_1.single()
    assert int(pna.complete) == 1
    for trace, ports in ((pna.ch_1.tr_1, (1, 1)), (pna.ch_1.tr_2, (2, 1))):
        values = trace.y_data_complex.astype(float)
        expected = bench.witness.traces[ports]
        np.testing.assert_allclose(values[:, 0] + 1j * values[:, 1], expected, rtol=digits, atol=digits)
        shown = 20 * np.log10(np.abs(expected))
        np.testing.assert_allclose(trace.y_data.astype(float), shown, rtol=max(digits, 1e-14), atol=10 * digits)
        np.testing.assert_allclose(trace.x_data.astype(float), bench.witness.frequencies_hz, rtol=digits)
    assert len(bench.witness.sweeps) == 1


def test_manual_triggers(pna: Any, bench: Bench) -> None:
    pna.write("TRIG:SOUR MAN")
    for count in (1, 2):
        pna.ch_1.initiate()
        assert int(pna.complete) == 1
        assert len(bench.witness.sweeps) == count


def test_the_source_can_be_switched_off(pna: Any, bench: Bench) -> None:
    pna.output_enabled = False
    assert pna.output_enabled is False
    pna.ch_1.single()
    assert int(pna.complete) == 1
    assert bench.witness.sweeps[-1]["power_dbm"] is None


def test_big_endian_numbers_are_where_it_says(pna: Any, bench: Bench) -> None:
    pna.byte_order_swapped = False
    assert pna.byte_order_swapped is False
    pna.ch_1.single()
    assert int(pna.complete) == 1
    swapped = pna.ch_1.tr_2.y_data_complex.view(np.float64).byteswap()
    np.testing.assert_array_equal(swapped.reshape(-1).view(np.complex128), bench.witness.traces[2, 1])

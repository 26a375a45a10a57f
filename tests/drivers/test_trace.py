"""The trace of bytes: one line a transfer, every byte recovered, many threads, a disk that is full."""

from __future__ import annotations

import errno
import io
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labtrain.clock import SimulatedClock
from labtrain.drivers.backends.memory import MemoryLink
from labtrain.drivers.trace import Trace, Transfer, read_trace
from labtrain.errors import InputError, LinkTimeout
from tests.drivers.servers import Script

START_S = 1770113472.123456  # 2026-02-03T10:11:12.123456Z


def test_a_conversation(tmp_path):
    clock = SimulatedClock(START_S)
    script = Script({"*IDN?": [(0.0015, b"Key"), (0.002, b"sight\n")], "SYST:ERR?": []})
    path = tmp_path / "trace.txt"
    with Trace(path, clock) as trace:
        link = MemoryLink("vna", script, clock, timeout_s=1.0, trace=trace)
        with link, pytest.raises(LinkTimeout):
            link.write(b"*IDN?\n")
            link.read_until(b"\n")
            link.write(b"SYST:ERR?\n")
            link.read_until(b"\n")
    assert path.read_text().splitlines() == [
        "# labtrain trace, 2026-02-03T10:11:12.123456Z: time, instrument, direction, bytes",
        "2026-02-03T10:11:12.123456Z vna - open",
        "2026-02-03T10:11:12.123456Z vna > b'*IDN?\\n'",
        "2026-02-03T10:11:12.124956Z vna < b'Key'",
        "2026-02-03T10:11:12.125456Z vna < b'sight\\n'",
        "2026-02-03T10:11:12.125456Z vna > b'SYST:ERR?\\n'",
        "2026-02-03T10:11:13.125456Z vna - closed",
    ]


@given(transfers=st.lists(st.tuples(st.sampled_from("<>"), st.binary(max_size=300)), max_size=8))
def test_every_byte_is_recovered(transfers, tmp_path_factory):
    path, clock = tmp_path_factory.mktemp("trace") / "trace.txt", SimulatedClock(START_S)
    with Trace(path, clock) as trace:
        for direction, data in transfers:
            trace.note("vna", direction, data)
            clock.sleep(1e-6)
    found = list(read_trace(path))
    assert [(t.direction, t.data) for t in found] == transfers
    assert [t.time_s for t in found] == pytest.approx([START_S + 1e-6 * n for n in range(len(transfers))], abs=6e-7)


def test_a_long_block_stays_on_its_line(tmp_path):
    data = bytes(range(256)) * 100
    with Trace(tmp_path / "trace.txt", SimulatedClock(START_S)) as trace:
        trace.note("vna", "<", data)
    assert len((tmp_path / "trace.txt").read_text().splitlines()) == 2
    assert list(read_trace(tmp_path / "trace.txt")) == [Transfer(START_S, "vna", "<", data)]


def test_a_trace_is_written_on(tmp_path):
    for n in range(2):
        with Trace(tmp_path / "trace.txt", SimulatedClock(START_S)) as trace:
            trace.note("vna", "-", f"remark {n}".encode())
    assert [t.data for t in read_trace(tmp_path / "trace.txt")] == [b"remark 0", b"remark 1"]


def test_lines_of_threads_do_not_mix(tmp_path):
    path = tmp_path / "trace.txt"
    with Trace(path, SimulatedClock(START_S)) as trace:

        def work(who: str) -> None:
            for n in range(200):
                trace.note(who, ">", b"%d " % n * 50)

        threads = [threading.Thread(target=work, args=(who,)) for who in ("vna", "metasurface", "switch")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found = list(read_trace(path))
    for who in ("vna", "metasurface", "switch"):
        assert [t.data for t in found if t.who == who] == [b"%d " % n * 50 for n in range(200)]


def test_each_line_is_there_at_once_and_a_torn_one_does_no_harm(tmp_path):
    path = tmp_path / "trace.txt"
    with Trace(path, SimulatedClock(START_S)) as trace:
        trace.note("vna", ">", b"*IDN?\n")
        assert [t.data for t in read_trace(path)] == [b"*IDN?\n"]
    path.write_text(path.read_text() + "2026-02-03T10:11:12.123456Z vna > b'*ID")
    assert [t.data for t in read_trace(path)] == [b"*IDN?\n"]


def test_remarks_stay_on_a_line_of_ascii(tmp_path):
    with Trace(tmp_path / "trace.txt", SimulatedClock(START_S)) as trace:
        trace.note("the vna", "-", "closing failed: kaputt\nin Zürich".encode())
    assert (tmp_path / "trace.txt").read_text().endswith("Z the_vna - closing failed: kaputt in Z\\xc3\\xbcrich\n")


@pytest.mark.parametrize("line", ["hello", "2026-02-03T10:11:12Z vna > *IDN?", "yesterday-Z vna > b''"])
def test_what_is_no_trace_is_told(tmp_path, line):
    path = tmp_path / "trace.txt"
    path.write_text(f"# labtrain trace\n{line}\n")
    with pytest.raises(InputError) as told:
        list(read_trace(path))
    assert str(told.value) == f"{path}:2: not a line of a trace: {line!r}"


def test_a_file_that_cannot_be_written(tmp_path):
    with pytest.raises(InputError) as told:
        Trace(tmp_path, SimulatedClock()).open()
    assert str(told.value) == (
        f"{tmp_path}: the trace cannot be written (Is a directory); choose another file with --trace-io"
    )


class Full(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_ends_the_trace_not_the_measurement(tmp_path, caplog):
    trace = Trace(tmp_path / "trace.txt", SimulatedClock(START_S))
    trace.open()
    assert trace._file is not None
    trace._file.close()
    trace._file = Full()
    for _ in range(2):
        trace.note("vna", ">", b"RF OFF\n")
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / 'trace.txt'}: the trace ends here, it cannot be written (No space left on device)"
    ]

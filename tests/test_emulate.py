"""`labtrain emulate`: other processes use the emulated instruments as if they were there."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from labtrain import experiment
from labtrain.cli import main
from labtrain.clock import RealClock
from labtrain.config import dump, loads
from labtrain.drivers.address import make_link
from labtrain.drivers.emulators.faults import parse_fault
from labtrain.drivers.emulators.serving import server as serve
from labtrain.drivers.metasurface.open_source_ris import OpenSourceRis
from labtrain.drivers.vna.keysight_pna import KeysightPna
from labtrain.emulate import Serving, emulate
from labtrain.emulate_options import Transport
from labtrain.experiment import Experiment
from labtrain.jobs import open_rig

ROOT = Path(__file__).parents[1]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
LABTRAIN = [sys.executable, "-m", "labtrain.cli", "emulate"]
MICROWAVE = ROOT / "config" / "microwave.yaml"
FREQUENCIES_HZ = np.linspace(5.2e9, 5.8e9, 7)
ON_TCP = sys.platform != "linux"  # there are no pseudo-terminals


@contextmanager
def serving(*arguments: object) -> Iterator[tuple[dict[str, Any], subprocess.Popen[str]]]:
    """What `labtrain emulate --json` printed, and the process."""
    command = [*LABTRAIN, str(MICROWAVE), "--json", *map(str, arguments)]
    with subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None and process.stderr is not None
            line = process.stdout.readline()
            assert line, process.stderr.read()
            yield json.loads(line), process
        finally:
            process.terminate()  # kill() would leave its folder behind


def drivers(addresses: dict[str, dict[str, str]], kind: str) -> tuple[KeysightPna, OpenSourceRis]:
    """The production drivers at the addresses that were printed."""
    clock = RealClock()
    at = {
        name: found["visa"] if kind == "visa" else found.get("pty") or found["socket"]
        for name, found in addresses.items()
    }
    vna = KeysightPna(make_link("vna", at["vna"], clock), KeysightPna.Config(), clock)
    surface_config = OpenSourceRis.Config(n_pixels=40, verify="every")
    surface = OpenSourceRis(make_link("metasurface", at["metasurface"], clock), surface_config, clock)
    return vna, surface


@pytest.mark.parametrize("stop", ["SIGINT", "SIGTERM"])
def test_a_pattern_written_on_the_serial_side_changes_what_the_network_side_reads(stop: str) -> None:
    with serving() as (told, process):
        vna, surface = drivers(told["addresses"], "own")
        with vna, surface:
            vna.configure(FREQUENCIES_HZ)
            vna.rf(True)
            before = vna.sweep()
            surface.set_pattern(np.ones(40))
            on = vna.sweep()
            surface.set_pattern(np.zeros(40))
            off = vna.sweep()
        assert np.abs(on - before).max() > 20 * np.abs(off - before).max() > 0
        process.send_signal(getattr(signal, stop))
        out, err = process.communicate(timeout=10)
        assert (process.returncode, out, err) == (0, "", "")
        if not ON_TCP:
            assert not Path(told["addresses"]["metasurface"]["pty"]).parent.exists()


def test_addresses_and_config_are_ready_to_use() -> None:
    with serving("--timing", "--set", "trials.count=1") as (told, _):
        addresses = told["addresses"]
        port = int(addresses["vna"]["socket"].removeprefix("tcp://127.0.0.1:"))
        assert addresses["vna"]["visa"] == f"TCPIP::127.0.0.1::{port}::SOCKET"
        assert set(addresses["metasurface"]) == {"socket" if ON_TCP else "pty", "visa"}
        with socket.create_connection(("127.0.0.1", port)):
            pass
    served = loads(told["config"], Experiment).value.model_dump()
    given = experiment.load(MICROWAVE, ["trials.count=1", "rig.real_time=true"]).value.model_dump()
    for name, found in addresses.items():
        given["rig"][name]["address"] = found.get("pty") or found["socket"]
    assert served == given


@pytest.mark.skipif(ON_TCP, reason="needs pseudo-terminals, which Linux alone has")
def test_a_visa_client_finds_both() -> None:
    with serving() as (told, _):
        vna, surface = drivers(told["addresses"], "visa")
        with vna, surface:
            surface.set_pattern(np.ones(40))
            assert (vna.emulated, surface.emulated) == (True, True)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as chosen:
        return int(chosen.getsockname()[1])


def test_an_instrument_whose_port_is_chosen_is_served_there() -> None:
    port = free_port()
    with serving("--port", f"metasurface={port}") as (told, _):
        assert told["addresses"]["metasurface"] == {
            "socket": f"socket://127.0.0.1:{port}", "visa": f"TCPIP::127.0.0.1::{port}::SOCKET"
        }  # fmt: skip
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            client.sendall(b"?SerialNo\n")
            assert client.recv(100) == b"#SerNo: 999\n"


def refused(arguments: Sequence[object], patch: pytest.MonkeyPatch, captured: pytest.CaptureFixture[str]) -> str:
    """What a command that cannot be carried out says; nothing else is printed."""
    patch.setattr(sys, "argv", ["labtrain", "emulate", *map(str, arguments)])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    out, err = captured.readouterr()
    assert out == ""
    return err


def test_the_config_is_written_to_a_file_and_its_own_alone_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "emulated.yaml"
    for _ in range(2):
        with serving("--out", out) as (told, _):
            assert out.read_text(encoding="utf-8") == told["config"]
    out.write_text("mine\n", encoding="utf-8")
    assert refused([MICROWAVE, "--out", out], monkeypatch, capsys) == (
        f"labtrain: {out}: exists already; choose another file with --out FILE\n"
    )
    assert out.read_text(encoding="utf-8") == "mine\n"


def test_without_pseudo_terminals_serial_instruments_are_served_on_tcp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labtrain.emulate.sys", SimpleNamespace(platform="win32"))
    told: list[Serving] = []
    emulate(experiment.load(MICROWAVE), told.append, stopped=lambda: True)
    at = loads(told[0].config, Experiment).value.model_dump()["rig"]["metasurface"]["address"]
    assert told[0].addresses["metasurface"]["socket"] == at
    assert at.startswith("socket://127.0.0.1:")


def test_a_config_without_instruments_comes_back_with_them() -> None:
    told: list[Serving] = []
    emulate(experiment.load(MICROWAVE, ["rig.fidelity=physics"]), told.append, stopped=lambda: True)
    assert loads(told[0].config, Experiment).value.model_dump()["rig"]["fidelity"] == "instruments"


def stopped_at_once(*arguments: object) -> str:
    """What it prints, if Ctrl-C comes after the first line."""
    command = [*LABTRAIN, str(MICROWAVE), *map(str, arguments)]
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        told = first + process.stdout.read()
    assert process.returncode == 0
    return told


def test_what_people_read_is_a_config_with_the_addresses_on_top() -> None:
    told = stopped_at_once()
    vna, surface = told.splitlines()[:2]
    config = loads(told, Experiment).value.model_dump()
    at = config["rig"]["vna"]["address"].removeprefix("tcp://127.0.0.1:")
    assert vna == f"# vna: tcp://127.0.0.1:{at} (VISA: TCPIP::127.0.0.1::{at}::SOCKET)"
    assert surface.startswith(f"# metasurface: {config['rig']['metasurface']['address']} (VISA: ")


def test_with_a_file_people_read_the_addresses_and_what_comes_next(tmp_path: Path) -> None:
    out = tmp_path / "emulated.yaml"
    vna, surface, then = stopped_at_once("--out", out).splitlines()
    assert vna.startswith("vna: tcp://127.0.0.1:")
    assert surface.startswith("metasurface: ")
    assert then == f"{out} written; next, elsewhere: labtrain train {out}"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            [ROOT / "config" / "acoustic.yaml"],
            f"{ROOT}/config/acoustic.yaml: a rig of type 'acoustic' has no instruments that could be emulated; take a "
            "configuration whose rig has some, for instance microwave",
        ),
        ([MICROWAVE, "--port", "vna"], "--port vna: needs the form vna=5025, with a port from 1 to 65535"),
        ([MICROWAVE, "--port", "vna=0"], "--port vna=0: needs the form vna=5025, with a port from 1 to 65535"),
        ([MICROWAVE, "--port", "vna=70000"], "--port vna=70000: needs the form vna=5025, with a port from 1 to 65535"),
        (
            [MICROWAVE, "--port", "van=5025"],
            "--port van: there is no such instrument (did you mean vna?); there are: vna, metasurface",
        ),
        (
            [MICROWAVE, "--fault", "surface: reboot at 3"],
            "--fault surface: there is no such instrument (did you mean metasurface?); there are: vna, metasurface",
        ),
    ],
)
def test_mistakes_are_told_in_a_sentence(
    arguments: Sequence[object], sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(arguments, monkeypatch, capsys) == f"labtrain: {sentence}\n"


# -- the rig, in memory and through the servers ----------------------------------------------------------------------


@contextmanager
def served(config: str, *faults: str, transport: Transport = "socket") -> Iterator[str]:
    """The config that uses what is served in another thread; the transport is the analyser's."""
    told: queue.Queue[Serving | BaseException] = queue.Queue()
    stop = threading.Event()

    def work() -> None:
        try:
            emulate(
                loads(config, Experiment),
                told.put,
                transports={"vna": transport},
                faults=[parse_fault(f) for f in faults],
                stopped=stop.is_set,
            )
        except BaseException as error:
            told.put(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        serving = told.get(timeout=30)
        assert isinstance(serving, Serving), serving
        yield serving.config
    finally:
        stop.set()
        thread.join(10)


def responses(config: str, x: np.ndarray) -> np.ndarray:
    with open_rig(loads(config, Experiment).value) as rig:
        rig.commission()
        rig.restart(3)
        return rig.layers[0].forward(x)


@pytest.fixture(scope="module")
def small() -> str:
    options = [
        "rig.frequencies_hz.points=4", "rig.commission={patterns: 12, repeats: 2}", "rig.recovery.pause_s=0",
        "rig.vna.timeout_s=1", "rig.metasurface.timeout_s=0.2", "rig.metasurface.verify=every",
    ]  # fmt: skip
    return dump(experiment.load(MICROWAVE, options).value)


@pytest.fixture(scope="module")
def in_memory(small: str) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(5).random((10, 14))
    return x, responses(small, x)


@pytest.mark.parametrize("transport", ["hislip", "vxi11"])
@pytest.mark.parametrize(
    "faults",
    [
        [],
        ["vna: late 1.5 s at 20 of SDATA"],
        ["vna: no reply at 20 of SDATA"],
        ["vna: truncated at 20 of SDATA"],
        ["vna: garbage at 20 of SDATA"],
        ["vna: disconnect at 20 of SDATA"],
    ],
    ids=lambda faults: ", ".join(faults) or "undisturbed",
)
def test_the_rig_measures_the_same_through_messages_with_an_end(
    small: str,
    in_memory: tuple[np.ndarray, np.ndarray],
    faults: list[str],
    transport: Transport,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(serve, "POLL_S", 0.01)
    x, expected = in_memory
    with served(small, *faults, transport=transport) as config:
        at = loads(config, Experiment).value.model_dump()["rig"]["vna"]["address"]
        assert at.endswith("::INSTR")
        assert responses(config, x).tobytes() == expected.tobytes()
    assert len([record for record in caplog.messages if "is repeated" in record]) >= len(faults)


@pytest.mark.parametrize(
    "faults",
    [
        [],
        ["metasurface: late 0.5 s at 30", "vna: late 1.5 s at 20 of SDATA"],
        ["metasurface: no reply at 31", "vna: no reply at 20 of SDATA"],
        ["metasurface: disconnect at 32"],
        ["vna: disconnect at 20 of SDATA"],
        ["metasurface: reboot at 33"],
        ["metasurface: garbage at 35", "metasurface: truncated at 49"],
    ],
    ids=lambda faults: ", ".join(faults) or "undisturbed",
)
def test_the_rig_measures_the_same_through_the_servers_bit_for_bit_whatever_goes_wrong(
    small: str,
    in_memory: tuple[np.ndarray, np.ndarray],
    faults: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(serve, "POLL_S", 0.01)
    x, expected = in_memory
    with served(small, *faults) as config:
        assert responses(config, x).tobytes() == expected.tobytes()
    repeated = [record for record in caplog.messages if "is repeated" in record]
    assert len(repeated) >= len(faults)  # on a busy computer some answers are late by themselves

"""``labtrain safe``: from another process, whoever uses the instruments is ended and they are switched off."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import localtime, strftime
from typing import Any

import psutil
import pytest

from labtrain import jobs, stop
from labtrain.clock import RealClock
from labtrain.config import loads
from labtrain.drivers.address import parse_address
from labtrain.drivers.backends.memory import MemoryLink
from labtrain.drivers.vna.keysight_pna import KeysightPna
from labtrain.errors import InstrumentError
from labtrain.experiment import Experiment, load
from labtrain.jobs import open_rig, plan
from labtrain.riglock import InstrumentLock, about_this_process
from labtrain.safety import NotMadeSafe
from labtrain.stop import Stop
from tests.lamps import LampEmulator, LampRig, served

ROOT = Path(__file__).resolve().parents[1]
# Holds the lamps; leaves as a run does, or does not mind being told to.
CHILD = """
import json, signal, sys, time
from pathlib import Path
from labtrain.safety import Guard
from tests.lamps import LampRig
addresses, stubborn = json.loads(sys.argv[1]), sys.argv[2] == "stubborn"
with Guard(defers=False), LampRig(addresses) as rig:
    rig.serve(Path("/runs/a"))
    if stubborn:
        signal.signal(signal.SIGTERM, lambda *_: None)
    print("lit", flush=True)
    while True:
        time.sleep(0.01)
        if stubborn:
            rig.instruments["desk"].tell("ON")
"""


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a process that lights the lamps and keeps them."""
    started: list[subprocess.Popen[str]] = []

    def light(addresses: dict[str, str], manner: str = "mild") -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", CHILD, json.dumps(addresses), manner],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        assert process.stdout is not None and process.stdout.readline() == "lit\n"
        return process

    yield light
    for process in started:
        process.kill()
        process.communicate()


def make_safe(addresses: dict[str, str], **options: object) -> list[str]:
    """What is told, line by line."""
    told: list[str] = []
    Stop(LampRig(addresses), tell=lambda outcome: told.append(str(outcome)), **options).carry_out()
    return told


def named(told: str, process: subprocess.Popen[str]) -> str:
    """What is told of a process, without user and time."""
    assert told.startswith(f"process {process.pid} (-c ")
    return told.rpartition("): ")[2]


def test_the_owner_is_ended_and_everything_is_off(start: Callable[..., subprocess.Popen[str]]) -> None:
    desk, floor = LampEmulator(), LampEmulator()
    with served(desk=desk, floor=floor) as addresses:
        owner = start(addresses)
        assert desk.on and floor.on
        first, *rest = make_safe(addresses)
        assert named(first, owner) == "ended; go on with: labtrain resume /runs/a"
        assert rest == [f"floor ({addresses['floor']}): safe", f"desk ({addresses['desk']}): safe"]
        assert not desk.on and not floor.on
        owner.communicate()
        # The owner put its settings back; afterwards nothing was read or changed but what had to be.
        assert desk.heard[-5:] == ["OFF", "level 3", "sync 1", "who", "OFF"]


def test_one_that_does_not_end_by_itself_is_killed(start: Callable[..., subprocess.Popen[str]]) -> None:
    desk = LampEmulator()
    with served(desk=desk) as addresses:
        owner = start(addresses, "stubborn")
        first, second = make_safe(addresses, grace_s=0.1)
        assert named(first, owner) == ("killed, it did not end by itself in time; go on with: labtrain resume /runs/a")
        assert (second, desk.on) == (f"desk ({addresses['desk']}): safe", False)
        owner.communicate()
        assert owner.returncode == -signal.SIGKILL


def test_what_a_killed_owner_left_on_is_switched_off(start: Callable[..., subprocess.Popen[str]]) -> None:
    desk = LampEmulator()
    with served(desk=desk) as addresses:
        owner = start(addresses)
        owner.kill()
        owner.communicate()
        assert desk.on
        assert make_safe(addresses) == [f"desk ({addresses['desk']}): safe"]
        assert not desk.on


def test_nobody_needs_to_be_there() -> None:
    desk = LampEmulator()
    desk.on = True
    with served(desk=desk) as addresses:
        assert make_safe(addresses) == [f"desk ({addresses['desk']}): safe"]
    assert (desk.on, desk.heard) == (False, ["sync 1", "who", "OFF"])  # no setting is read or changed


def test_a_message_broken_off_by_a_kill_does_not_matter() -> None:
    desk = LampEmulator()
    with served(desk=desk) as addresses:
        rig = LampRig(addresses)
        lamp = rig.build_instruments()["desk"]
        desk.on = True
        desk.connected = lambda: setattr(desk, "_begun", b"\0garbage") or []  # type: ignore[method-assign]
        assert make_safe(addresses) == [f"{lamp.name}: safe"]
    assert not desk.on


def test_a_dead_instrument_does_not_spare_the_others() -> None:
    desk, floor = LampEmulator(), LampEmulator(lambda lamp, word: [])
    desk.on = floor.on = True
    told: list[str] = []
    with served(desk=desk, floor=floor) as addresses:
        stopping = Stop(LampRig(addresses), tell=lambda outcome: told.append(str(outcome)))
        with pytest.raises(NotMadeSafe) as caught:
            stopping.carry_out()
    (failure,) = caught.value.failures
    assert (desk.on, floor.on, failure.name) == (False, True, f"floor ({addresses['floor']})")
    assert str(caught.value) == f"not made safe: {failure.why}; pull its plug"
    assert told == [f"NOT SAFE: {failure.why}; pull its plug", f"desk ({addresses['desk']}): safe"]


def test_another_instrument_is_told_nothing_and_counts_as_not_safe() -> None:
    desk, motor = LampEmulator(), LampEmulator()
    desk.on, motor.is_a = True, "motor"
    with served(desk=desk, motor=motor) as addresses, pytest.raises(NotMadeSafe) as caught:
        make_safe(addresses)
    assert str(caught.value) == (
        f"not made safe: motor ({addresses['motor']}): expected a lamp, found 'motor'; see rig.motor.address; "
        "pull its plug"
    )
    assert not desk.on and set(motor.heard) == {"sync 1", "sync 2", "who"}


def test_simulated_instruments_are_left_alone() -> None:
    desk = LampEmulator()
    assert make_safe({"desk": desk}) == ["desk (sim): simulated, nothing to do"]  # type: ignore[dict-item]
    assert desk.heard == []


def test_an_owner_that_may_not_be_ended_is_named(
    start: Callable[..., subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(process: psutil.Process) -> None:
        raise psutil.AccessDenied(process.pid)

    monkeypatch.setattr(psutil.Process, "terminate", deny)
    desk = LampEmulator()
    with served(desk=desk) as addresses:
        owner = start(addresses)
        with pytest.raises(NotMadeSafe) as caught:
            make_safe(addresses)
        (failure,) = caught.value.failures
        assert failure.why.startswith(f"in use by process {owner.pid} (-c ")
        assert failure.why.endswith(", which may be ended by that user or an administrator alone")
        assert owner.poll() is None and desk.on


def test_a_process_that_has_the_number_of_a_holder_by_now_is_left_alone(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    with served(desk=LampEmulator()) as addresses:
        bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        owner = start(addresses)
        canonical = parse_address(addresses["desk"], "").canonical
        lock = InstrumentLock("desk", addresses["desk"], RealClock(), canonical=canonical)
        note = lock._lock._note
        note.write_text(json.dumps(json.loads(note.read_text()) | {"pid": bystander.pid, "created_s": 0}))
        with pytest.raises(NotMadeSafe) as caught:
            make_safe(addresses)
        assert f"in use by process {bystander.pid} (" in str(caught.value)
        assert "which is not found; end it by hand" in str(caught.value)
        assert bystander.poll() is None and owner.poll() is None
        bystander.kill()
        bystander.communicate()


def test_what_this_process_has_open_is_for_it_to_close() -> None:
    with served(desk=LampEmulator()) as addresses, LampRig(addresses), pytest.raises(NotMadeSafe) as caught:
        make_safe(addresses)
    assert str(caught.value) == (
        f"not made safe: desk ({addresses['desk']}): in use by this process; close the rig that has it open; "
        "pull its plug"
    )


def test_a_lock_that_cannot_be_had_is_no_reason_to_leave_anything_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(lock: InstrumentLock) -> None:
        raise InstrumentError("cannot be locked")

    monkeypatch.setattr(InstrumentLock, "acquire", refuse)
    desk = LampEmulator()
    desk.on = True
    with served(desk=desk) as addresses:
        make_safe(addresses)
    assert not desk.on


def test_while_it_works_nobody_else_can_have_the_instruments(monkeypatch: pytest.MonkeyPatch) -> None:
    refused: list[str] = []

    def look(instrument: object) -> None:
        with pytest.raises(InstrumentError) as caught:
            LampRig(addresses).open()
        refused.append(str(caught.value))

    monkeypatch.setattr(stop, "reach_and_make_safe", look)
    with served(desk=LampEmulator()) as addresses:
        make_safe(addresses)
    assert refused == [f"desk ({addresses['desk']}): in use by this process already; close what has it open first"]


def test_two_rigs_that_share_an_instrument_exclude_each_other(start: Callable[..., subprocess.Popen[str]]) -> None:
    desk, floor = LampEmulator(), LampEmulator()
    with served(desk=desk, floor=floor) as addresses:
        owner = start({"desk": addresses["desk"]})
        before = list(floor.heard)
        with (
            pytest.raises(InstrumentError) as caught,
            LampRig({"floor": addresses["floor"], "lamp": addresses["desk"]}),
        ):
            pass
        assert str(caught.value).startswith(f"lamp ({addresses['desk']}): in use by process {owner.pid} (-c ")
        assert str(caught.value).endswith("; wait, or stop it with: labtrain safe CONFIG")
        assert floor.heard == before and floor.connections == 0  # not a byte has left
        with LampRig({"floor": addresses["floor"]}):
            assert floor.on


# --- the command itself, and instruments as they are emulated ---------------------------------------------------------

LAB = """\
rig:
  type: microwave
  frequencies_hz: [5.2e+9, 5.5e+9]
  vna: {{driver: keysight-pna, address: "{vna}"}}
  metasurface: {{driver: open-source-ris, address: "{metasurface}", n_pixels: 8}}
dataset: {{type: csv, path: gone.csv}}
training: {{method: phyll}}
"""


def labtrain(*arguments: object, rc: int) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "labtrain", *map(str, arguments)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == rc, done.stderr
    return done


@pytest.fixture(scope="module")
def emulators() -> dict[str, Any]:
    """Of a VNA and a metasurface in front of one room."""
    rig = open_rig(load(ROOT / "config" / "microwave.yaml").value)
    return dict(rig.emulators(rig.build_world()))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def asked(emulator: Any, question: bytes) -> bytes:
    return b"".join(data for _, data in emulator.receive(question) if data)


def test_the_command_says_what_it_did(emulators: dict[str, Any], tmp_path: Path) -> None:
    vna, surface = emulators["vna"], emulators["metasurface"]
    vna.receive(b"OUTP 1\n")
    surface.receive(b"!0x" + b"F" * 64 + b"\n")
    with served(vna=vna, metasurface=surface) as addresses:
        (tmp_path / "lab.yaml").write_text(LAB.format(**addresses))
        done = labtrain("safe", tmp_path / "lab.yaml", rc=0)
        told = f"metasurface ({addresses['metasurface']}): safe\nvna ({addresses['vna']}): safe\n"
        assert (done.stdout, done.stderr) == (told, "")
    assert asked(vna, b"OUTP?\n") == b"0\n"
    assert asked(surface, b"?Pattern\n") == b"#0X" + b"0" * 64 + b"\n"


def test_what_may_still_be_on_is_named_and_leaves_with_4(emulators: dict[str, Any], tmp_path: Path) -> None:
    vna, nobody = emulators["vna"], f"tcp://127.0.0.1:{free_port()}"
    vna.receive(b"OUTP 1\n")
    with served(vna=vna) as addresses:
        config = tmp_path / "lab.yaml"
        config.write_text(LAB.format(vna=addresses["vna"], metasurface=nobody))
        done = labtrain("safe", config, rc=4)
        failed, *rest = done.stdout.splitlines()
        assert failed.startswith(f"NOT SAFE: metasurface ({nobody}): ") and failed.endswith(
            "; switch its supply off by hand"
        )
        assert rest == [f"vna ({addresses['vna']}): safe"]
        assert done.stderr == f"labtrain: not made safe: {failed.removeprefix('NOT SAFE: ')}\n"
        told = json.loads(labtrain("safe", config, "--json", rc=4).stdout)
        assert [(i["instrument"], i["safe"]) for i in told["instruments"]] == [
            (f"metasurface ({nobody})", False), (f"vna ({addresses['vna']})", True)
        ]  # fmt: skip
        assert told["ended"] == []
    assert asked(vna, b"OUTP?\n") == b"0\n"


def test_a_second_run_is_refused_with_the_name_of_the_first_and_the_way_to_stop_it(tmp_path: Path) -> None:
    config = tmp_path / "lab.yaml"
    config.write_text(SMALL.replace("pna}", "pna, address: 'tcp://127.0.0.1:9'}").replace(
        "ris,", "ris, address: 'tcp://127.0.0.1:8',"))  # fmt: skip
    script = tmp_path / "first.py"
    script.write_text(
        "import sys\nfrom labtrain.clock import SimulatedClock\nfrom labtrain.riglock import InstrumentLock\n"
        "with InstrumentLock('vna', 'TCPIP::127.0.0.1::9::SOCKET', SimulatedClock(), canonical='tcp://127.0.0.1:9'):\n"
        "    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    first = subprocess.Popen([sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None and first.stdout.readline() == "held\n"
    user, since = about_this_process()["user"], strftime("%Y-%m-%d %H:%M", localtime(0))
    assert labtrain("plan", config, rc=3).stderr == (
        f"labtrain: vna (tcp://127.0.0.1:9): in use by process {first.pid} (first.py, user {user}, since {since}); "
        f"wait, or stop it with: labtrain safe {config}\n"
    )
    first.communicate()


def test_a_mistake_elsewhere_in_the_file_keeps_nothing_on(emulators: dict[str, Any], tmp_path: Path) -> None:
    with served(vna=emulators["vna"], metasurface=emulators["metasurface"]) as addresses:
        (tmp_path / "lab.yaml").write_text(LAB.format(**addresses).replace("phyll", "half a word"))
        labtrain("safe", tmp_path / "lab.yaml", rc=0)


def test_a_simulated_rig_has_nothing_to_switch_off() -> None:
    config = ROOT / "config" / "microwave.yaml"
    done = labtrain("safe", config, rc=0)
    assert done.stdout.splitlines()[-1] == f"{config}: all of this rig is simulated, there is nothing to switch off"


# --- no energy too early, none too long -------------------------------------------------------------------------------

SMALL = """\
rig:
  type: microwave
  frequencies_hz: {start: 5.15e9, stop: 5.875e9, points: 20}
  vna: {driver: keysight-pna}
  metasurface: {driver: open-source-ris, n_pixels: 40}
  commission: {patterns: 20, repeats: 5}
dataset: {type: xor-tones, rows: 20, classes: 2, distractors: 2, speakers: 2, values: uniform}
network: {layers: 1, width: 20}
training: {method: phyll, epochs: 1}
trials: {count: 1}
ablations: []
"""


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """All that is sent to instruments in this process."""
    noted: list[bytes] = []
    send = MemoryLink._send

    def note(link: MemoryLink, data: bytes) -> None:
        noted.append(data)
        send(link, data)

    monkeypatch.setattr(MemoryLink, "_send", note)
    return noted


def test_planning_switches_nothing_on(sent: list[bytes]) -> None:
    plan(load(ROOT / "config" / "microwave.yaml"))
    assert any(b"*IDN?" in data for data in sent) and any(b"OUTP 0" in data for data in sent)
    assert not any(b"OUTP 1" in data or (data[:3] == b"!0x" and data[3:].strip(b"0\n")) for data in sent)


def test_rf_is_off_before_figures_are_drawn(sent: list[bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(jobs, "figures", lambda _: sent.append(b"OUTP figures"))
    jobs.train(loads(SMALL, Experiment), tmp_path)
    switched = [data.split(b";")[0].strip() for data in sent if b"OUTP " in data]
    drawn = switched.index(b"OUTP figures")
    assert b"OUTP 1" in switched[:drawn]
    assert switched[drawn - 1] == b"OUTP 0" and b"OUTP 1" not in switched[drawn:]


def test_ctrl_c_while_instruments_are_opened_stops_at_once(
    sent: list[bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    check = KeysightPna.check_errors

    def interrupted(vna: KeysightPna) -> None:
        check(vna)
        signal.raise_signal(signal.SIGINT)
        sent.append(b"not reached")

    monkeypatch.setattr(KeysightPna, "_prepare", interrupted)
    with pytest.raises(KeyboardInterrupt) as caught:
        jobs.train(loads(SMALL, Experiment), tmp_path)
    assert str(caught.value) == "stopped by Ctrl-C; nothing was measured"
    assert b"OUTP 0" in sent[-1] and b"not reached" not in sent
    assert not any(b"?Pattern" in data for data in sent)  # the metasurface had not been opened yet
    assert not list(tmp_path.iterdir())

"""``labtrain safe``: from another process, whoever uses the instruments is ended and they are switched off."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from labtrain import stop
from labtrain.clock import RealClock
from labtrain.drivers.address import parse_address
from labtrain.errors import InstrumentError
from labtrain.riglock import InstrumentLock
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

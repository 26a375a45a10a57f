"""One process owns an instrument: refused with the holder's name, free again however the holder ends."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import localtime, strftime

import pytest

from labtrain import riglock
from labtrain.clock import SimulatedClock
from labtrain.errors import InstrumentError
from labtrain.riglock import Holder, InstrumentLock

ROOT = Path(__file__).resolve().parents[1]
NOON_S = 1_800_000_000.0
CHILD = """
import sys, time
from pathlib import Path
from labtrain.clock import SimulatedClock
from labtrain.riglock import InstrumentLock
clock = SimulatedClock({since!r})
with InstrumentLock("analyser", "tcp://10.0.0.5:5025", clock, folder=Path({folder!r})) as lock:
    lock.serve(Path("runs/a"))
    print("held", flush=True)
    sys.stdin.read()
"""


def lock(folder: Path, address: str = "tcp://10.0.0.5:5025", **options: object) -> InstrumentLock:
    return InstrumentLock("vna", address, SimulatedClock(NOON_S + 3600), folder=folder, **options)


def refusal(folder: Path, **options: object) -> str:
    with pytest.raises(InstrumentError) as caught:
        lock(folder, **options).acquire()
    return str(caught.value)


@pytest.fixture
def hold(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a process that holds the lock until its standard input is closed."""
    started: list[subprocess.Popen[str]] = []

    def start(since_s: float = NOON_S) -> subprocess.Popen[str]:
        script = tmp_path / "hold.py"
        script.write_text(CHILD.format(since=since_s, folder=str(tmp_path / "locks")))
        process = subprocess.Popen(
            [sys.executable, script, "lab.yaml"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_the_holder_is_named(hold: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    holder = hold()
    user, since = riglock.about_this_process()["user"], strftime("%H:%M", localtime(NOON_S))
    assert refusal(tmp_path / "locks", config_file=Path("lab.yaml")) == (
        f"vna (tcp://10.0.0.5:5025): in use by process {holder.pid} (hold.py lab.yaml, user {user}, since {since}); "
        "wait, or stop it with: labtrain safe lab.yaml"
    )
    mine = lock(tmp_path / "locks")
    found = mine.holder()
    assert mine.held() and found is not None
    assert (found.pid, found.run, found.argv[-1]) == (holder.pid, str(Path("runs/a").absolute()), "lab.yaml")


def test_since_another_day_is_said_with_the_date() -> None:
    holder = Holder(7, "labtrain train lab.yaml", "anna", NOON_S)
    day = strftime("%Y-%m-%d %H:%M", localtime(NOON_S))
    assert holder.told(NOON_S + 1e6) == f"process 7 (labtrain train lab.yaml, user anna, since {day})"


@pytest.mark.parametrize("end", ["done", "killed"])
def test_it_is_free_however_the_holder_ends(
    hold: Callable[..., subprocess.Popen[str]], tmp_path: Path, end: str
) -> None:
    holder = hold()
    if end == "killed":
        holder.kill()
    holder.communicate()
    assert holder.returncode == (0 if end == "done" else -signal.SIGKILL)
    mine = lock(tmp_path / "locks")
    assert not mine.held()
    with mine:
        assert json.loads(next((tmp_path / "locks").glob("*.json")).read_text())["pid"] == os.getpid()
    assert not list((tmp_path / "locks").glob("*.json"))


def test_a_process_cannot_take_an_instrument_twice(tmp_path: Path) -> None:
    with lock(tmp_path):
        assert refusal(tmp_path) == (
            "vna (tcp://10.0.0.5:5025): in use by this process already; close what has it open first"
        )


def test_two_ways_to_write_an_address_exclude_each_other(tmp_path: Path) -> None:
    with lock(tmp_path, "TCPIP::10.0.0.5::5025::SOCKET", canonical="tcp://10.0.0.5:5025"):
        assert refusal(tmp_path, canonical="tcp://10.0.0.5:5025").startswith("vna (tcp://10.0.0.5:5025): in use by")
        with lock(tmp_path, "tcp://10.0.0.6:5025"):
            pass


@pytest.mark.parametrize("note", ["torn", "[]", '{"pid": "x"}', '{"pid": 7}', None])
def test_a_note_that_says_nothing_is_no_obstacle(tmp_path: Path, note: str | None) -> None:
    with lock(tmp_path):
        (path,) = tmp_path.glob("*.json")
        path.unlink() if note is None else path.write_text(note)
        assert refusal(tmp_path) == (
            "vna (tcp://10.0.0.5:5025): in use by another process; wait, or stop it with: labtrain safe CONFIG"
        )


def test_a_note_left_behind_does_not_count(tmp_path: Path) -> None:
    with lock(tmp_path):
        (path,) = tmp_path.glob("*.json")
        kept = path.read_bytes()
    path.write_bytes(kept)
    with lock(tmp_path) as mine:
        assert mine.held()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no such modes")
def test_other_users_can_take_what_is_free(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        with lock(tmp_path / "locks"):
            (path,) = (tmp_path / "locks").glob("*.lock")
            assert stat.S_IMODE(path.stat().st_mode) == 0o666
            # Not sticky: otherwise nobody could replace the note that a killed process left.
            assert stat.S_IMODE((tmp_path / "locks").stat().st_mode) == 0o777
    finally:
        os.umask(before)


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert refusal(tmp_path / "file" / "locks") == (
        f"vna (tcp://10.0.0.5:5025): cannot be locked against other programs ({tmp_path / 'file' / 'locks'}: "
        f"Not a directory); let all users of this computer write to {tmp_path / 'file' / 'locks'}"
    )


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        (["/usr/bin/labtrain", "train", "lab.yaml"], "labtrain train lab.yaml"),
        (["/site-packages/labtrain/__main__.py", "train", "my lab.yaml"], "labtrain train 'my lab.yaml'"),
        (["/home/anna/sweep.py"], "sweep.py"),
        ([""], "python"),
        (["a.py", "x" * 200], "a.py " + "x" * 72 + "..."),
    ],
)
def test_commands_are_told_as_they_were_typed(monkeypatch: pytest.MonkeyPatch, argv: list[str], command: str) -> None:
    monkeypatch.setattr(sys, "argv", argv)
    assert riglock.about_this_process()["command"] == command


def test_the_folder_is_the_same_for_every_user_and_process() -> None:
    code = "from labtrain.riglock import lock_folder; print(lock_folder())"
    environment = {**os.environ, "HOME": "/nowhere", "TMPDIR": "/nowhere"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(riglock.lock_folder())

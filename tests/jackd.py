"""A JACK server without hardware, and a room behind it in a process of its own. Linux alone.

PortAudio lists the clients of that server as sound devices: what is tested is the production stack in real time.
"""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from labtrain.drivers.stream import Samples

RATE_HZ = 48_000
DELAY = 37  # frames that the room takes


class Delay:
    """A SoundEmulator: each input is an output `DELAY` frames ago; it keeps the last frames that it was played."""

    rate_hz = float(RATE_HZ)

    def __init__(self, channels: int = 3, kept: int = 0) -> None:
        self.n_out = self.n_in = channels
        self.kept, self.heard = kept, np.zeros((0, channels), dtype=np.float32)
        self.connected()

    def connected(self) -> None:
        self.under_way = np.zeros((DELAY, self.n_out), dtype=np.float32)

    def process(self, out: Samples) -> Samples:
        joined = np.concatenate([self.under_way, out])
        self.under_way = joined[len(out) :]
        if self.kept:
            self.heard = np.concatenate([self.heard, out])[-self.kept :]
        return joined[: len(out)]


def missing() -> str:
    """What has to be installed for a JACK server and PortAudio to be here; or nothing."""
    if not sys.platform.startswith("linux"):
        return "a JACK server without hardware is tested on Linux alone"
    if shutil.which("jackd") is None:
        return "jackd is not installed; apt install jackd2"
    for module, package in (("sounddevice", "libportaudio2"), ("jack", "jackd2")):
        try:
            importlib.import_module(module)
        except ImportError:
            return f'{module} is not installed; pip install -e ".[dev]"'
        except OSError:
            return f"{module} finds no library; apt install {package}"
    return ""


class Server:
    """A running JACK server.

    Parameters
    ----------
    name : str
    folder : Path
        For its log, and for what rooms heard.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.rooms: list[subprocess.Popen[str]] = []
        self.start()

    def start(self) -> None:
        command = f"jackd -n {self.name} -r -S -d dummy -r {RATE_HZ} -p 256 -C 4 -P 4".split()
        with (self.folder / "jackd.log").open("w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        up = subprocess.run(["jack_wait", "-w", "-s", self.name, "-t", "10"], capture_output=True, check=False)
        assert up.returncode == 0, (self.folder / "jackd.log").read_text()

    def room(self, name: str = "labtrain-room") -> subprocess.Popen[str]:
        """A room in a process of its own; it ends with its input, and writes what it heard to its name in `folder`."""
        heard = str(self.folder / f"{name}.npy")
        room = subprocess.Popen(
            [sys.executable, __file__, self.name, name, heard],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.rooms.append(room)
        assert room.stdout is not None
        told = room.stdout.readline()
        assert told == "ready\n", told
        return room

    def heard(self, room: subprocess.Popen[str], name: str = "labtrain-room") -> Samples:
        """End a room and return the last seconds that it heard."""
        room.communicate("", timeout=10)
        found: Samples = np.load(self.folder / f"{name}.npy")
        return found

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        for room in self.rooms:
            if room.poll() is None:
                room.communicate("", timeout=10)  # a client that is killed holds up its server's end
        if self.process.poll() is not None:
            self.start()  # a killed server keeps one of eight places until one of its name ends properly
        self.process.terminate()
        self.process.wait(10)


@contextmanager
def jack_server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A JACK server that is PortAudio's while it runs; skips where there can be none."""
    if reason := missing():
        pytest.skip(reason)
    server = f"labtrain{os.getpid()}"
    for key, value in (
        ("JACK_DEFAULT_SERVER", server),
        ("JACK_NO_AUDIO_RESERVATION", "1"),
        ("JACK_NO_START_SERVER", "1"),
    ):
        monkeypatch.setenv(key, value)
    running = Server(server, folder)
    try:
        yield running
    finally:
        running.close()


def main(server: str, name: str, heard: str) -> None:
    """A room until the input ends."""
    from labtrain.drivers.emulators.serving.jack import JackRoom

    emulator = Delay(kept=2 * RATE_HZ)
    with JackRoom(emulator, name, server):
        print("ready", flush=True)
        sys.stdin.read()
    np.save(heard, emulator.heard)


if __name__ == "__main__":
    main(*sys.argv[1:])

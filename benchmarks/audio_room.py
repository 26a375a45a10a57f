"""A JACK server without hardware and the simulated room as a sound card on it, each a process of its own. Linux alone.

    with jack_room(config_file) as room:
        ...                         # labtrain, through PortAudio and JACK, in real time
    samples = room.heard()          # all that the room's speakers were told, with the time of each block

Needs the packages jackd2 and libportaudio2, and `python -m pip install -e ".[jack]"`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labtrain import experiment
from labtrain.clock import RealClock
from labtrain.drivers.emulators.serving.jack import JackRoom
from labtrain.drivers.emulators.sound import SoundFault
from labtrain.jobs import open_rig
from labtrain.rigs.acoustic import AcousticRig

DEVICE, HOST_API = "labtrain-room", "JACK Audio Connection Kit"
PERIOD = 256


class Room:
    """A running room.

    Parameters
    ----------
    process : Popen
    folder : Path
        Where it leaves what it heard.
    """

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process, self._folder = process, folder
        self._found: dict[str, Any] | None = None
        self._heard: tuple[NDArray[np.float32], NDArray[np.float64]] | None = None

    def sounded_s(self) -> float:
        """When an output last got a sample that is not 0, while it was recorded; seconds since 1970-01-01."""
        return float(np.fromfile(self._folder / "times")[0])

    def recorded_s(self) -> float:
        """Until when it was recorded."""
        return float(np.fromfile(self._folder / "times")[1])

    def end(self) -> dict[str, Any]:
        """End it; its counts: ``xruns``, ``late``, ``playbacks``."""
        if self._found is None:
            told, _ = self._process.communicate("", timeout=60)
            if self._process.returncode:
                raise SystemExit(f"the room failed; the JACK server says: {(self._folder / 'jackd.log').read_text()}")
            self._found = json.loads(told.splitlines()[-1])
            if (kept := self._folder / "heard.npz").exists():
                with np.load(kept) as found:
                    self._heard = found["samples"], found["times_s"]
        return self._found

    def heard(self) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """What the outputs got while it was recorded, (frames, outputs), and the time of each block of 256 frames."""
        self.end()
        assert self._heard is not None, "jack_room(..., keep=True) records it"
        return self._heard


@contextmanager
def jack_room(
    config: Path, faults: Sequence[SoundFault] = (), *, keep: bool = False, overrides: Sequence[str] = ()
) -> Iterator[Room]:
    """The room of a configuration behind JACK, for this process and those it starts.

    Parameters
    ----------
    config : Path
    faults : sequence of SoundFault
    keep : bool
        Whether to record what the outputs get.
    """
    name = f"labtrain{os.getpid()}"
    os.environ |= {"JACK_DEFAULT_SERVER": name, "JACK_NO_AUDIO_RESERVATION": "1", "JACK_NO_START_SERVER": "1"}
    with tempfile.TemporaryDirectory(prefix="labtrain-") as made:
        folder = Path(made)
        with (folder / "jackd.log").open("w") as log:
            server = subprocess.Popen(
                f"jackd -n {name} -r -S -d dummy -r 48000 -p {PERIOD} -C 2 -P 2".split(), stdout=log, stderr=log
            )
        subprocess.run(["jack_wait", "-w", "-s", name, "-t", "10"], capture_output=True, check=True)
        (folder / "faults.json").write_text(json.dumps([asdict(fault) for fault in faults]), encoding="utf-8")
        room = subprocess.Popen(
            [sys.executable, __file__, str(config), str(folder), name, "keep" if keep else "forget", *overrides],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert room.stdout is not None
        if room.stdout.readline() != "ready\n":
            raise SystemExit("the room did not start")
        serving = Room(room, folder)
        try:
            yield serving
        finally:
            try:
                serving.end()
            finally:
                server.terminate()
                server.wait(20)


class _Listening:
    """A SoundRoom that remembers what it was played."""

    def __init__(self, inner: Any, folder: Path) -> None:
        self._inner = inner
        self._times = np.memmap(folder / "times", np.float64, "w+", shape=(2,))
        self.n_out, self.n_in, self.rate_hz = inner.n_out, inner.n_in, inner.rate_hz
        self.samples: list[NDArray[np.float32]] = []
        self.times_s: list[float] = []

    def connected(self) -> None:
        self._inner.connected()

    def process(self, out: NDArray[np.float32]) -> NDArray[np.float32]:
        self.samples.append(out.copy())
        self.times_s.append(time.time())
        if out.any():
            self._times[0] = self.times_s[-1]
        self._times[1] = self.times_s[-1]
        came: NDArray[np.float32] = self._inner.process(out)
        return came


def main(config: Path, folder: Path, server: str, keep: bool, overrides: Sequence[str]) -> None:
    """Serve the room until the input ends."""
    rig = open_rig(experiment.load(config, overrides).value, RealClock())
    assert isinstance(rig, AcousticRig)
    emulator = rig.sound_room(rig.build_world())
    assert emulator is not None, "the configuration has no section rig.audio"
    emulator.faults = tuple(SoundFault(**fault) for fault in json.loads((folder / "faults.json").read_text()))
    played = _Listening(emulator, folder) if keep else emulator
    with JackRoom(played, DEVICE, server) as serving:
        print("ready", flush=True)
        sys.stdin.read()
    serving.check()
    if isinstance(played, _Listening):
        np.savez(folder / "heard.npz", samples=np.concatenate(played.samples), times_s=played.times_s)
    print(json.dumps({"xruns": serving.xruns, "late": serving.late, "playbacks": emulator.playbacks}), flush=True)


if __name__ == "__main__":
    file, where, named, kept, *options = sys.argv[1:]
    main(Path(file), Path(where), named, kept == "keep", options)

"""`labtrain emulate` of speakers and microphones: the emulated room is a sound card, also to other processes."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labtrain import experiment
from labtrain.cli import main
from labtrain.jobs import open_rig
from tests.jackd import Server, jack_server, missing

ROOT = Path(__file__).parents[1]
EMULATED = ROOT / "config" / "acoustic-emulated.yaml"
SHORT = ["rig.settle_periods=5", "rig.membranes=2", "rig.discs=0"]
OVERRIDES = [word for value in SHORT for word in ("--set", value)]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with jack_server(tmp_path, monkeypatch) as running:
        yield running


@contextmanager
def emulating(*arguments: object) -> Iterator[dict[str, Any]]:
    """What `labtrain emulate --json` printed, while it serves."""
    command = [sys.executable, "-m", "labtrain", "emulate", str(EMULATED), "--json", *OVERRIDES, *map(str, arguments)]
    with subprocess.Popen(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None and process.stderr is not None
            line = process.stdout.readline()
            assert line, process.stderr.read()
            yield json.loads(line)
        finally:
            process.terminate()
        assert process.wait(10) == 0


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as caught:
        sys.argv = ["labtrain", "emulate", *arguments]
        main()
    assert caught.value.code in (2, 3)
    return capsys.readouterr().err.strip()


def test_another_process_measures_through_the_sound_card(server: Server, tmp_path: Path) -> None:
    drive = np.random.default_rng(0).random((5, 20))
    rows, out = tmp_path / "rows.csv", tmp_path / "out.csv"
    np.savetxt(rows, drive, delimiter=",")
    # Playback 1 is the mark from which the latency is learned, 2 the reference shots, 3 the rows.
    shot_s = 7 * 2048 / 48_000
    fault = f"audio: dropout 40 frames at {2 * shot_s + 0.25:.3f} s of 3"
    with emulating("--out", tmp_path / "em.yaml", "--fault", fault) as told:
        assert told["addresses"] == {"audio": {"device": "labtrain-room", "host_api": "JACK Audio Connection Kit"}}
        assert "device: labtrain-room" in told["config"]
        command = [sys.executable, "-m", "labtrain", "measure", str(tmp_path / "em.yaml"), "--input", str(rows)]
        done = subprocess.run([*command, "--out", str(out)], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
    with out.open(newline="") as file:
        found = list(csv.DictReader(file))
    heard = np.array([[float(row[f"y{k + 1} (Pa)"]) for k in range(20)] for row in found])
    with open_rig(experiment.load(EMULATED, [*SHORT, "rig.fidelity=physics", "rig.noise=0"]).value) as rig:
        truth = rig.layers[0].forward(drive)
    assert np.abs(heard - truth).max() < 0.005 * np.sqrt((truth**2).mean())
    assert [int(row["attempts"]) for row in found] == [1, 1, 2, 1, 1]


def test_without_a_server_it_says_how_to_start_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if reason := missing():
        pytest.skip(reason)
    monkeypatch.setenv("JACK_DEFAULT_SERVER", "labtrain-nobody")
    assert refused(capsys, str(EMULATED)).splitlines()[-1] == (
        "labtrain: labtrain-room: no JACK server runs; start one: JACK_NO_AUDIO_RESERVATION=1 jackd -r -d dummy "
        "-r 48000 -p 256"
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--port", "audio=5025"],
            "--port audio: a sound card has no port; name one that speaks bytes, or leave it out",
        ),
        (
            ["--fault", "audio: late 2 s at 7"],
            'fault \' late 2 s at 7\': not understood; write "dropout 40 frames at 2.5 s of 3", "slip -1 frames at 1 s '
            'of 1", "hum 2048 frames at 1 s of 1"; known: dropout, clip, slip, repeat, hum, mute',
        ),
        (
            ["--fault", "vna: late 2 s at 7"],
            "--fault vna: there is no such instrument; there are: audio",
        ),
    ],
)
def test_what_a_sound_card_has_not_is_refused(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(capsys, str(EMULATED), *arguments) == f"labtrain: {sentence}"

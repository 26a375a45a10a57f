"""One of the ways out that benchmarks/audio_exits.py counts: a run through PortAudio and JACK, in real time."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from tests.jackd import missing

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.mark.skipif(bool(missing()), reason=missing() or "-")
def test_ctrl_c_fades_out_what_sounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    exits, audio_room = importlib.import_module("audio_exits"), importlib.import_module("audio_room")
    for key in ("JACK_DEFAULT_SERVER", "JACK_NO_AUDIO_RESERVATION", "JACK_NO_START_SERVER"):
        monkeypatch.setenv(key, "")  # the room sets them: they are put back
    for moment_s in (4.0, 6.0, 9.0):  # on a busy machine the first ones may fall before any speaker plays
        with audio_room.jack_room(exits.CONFIG, keep=True) as room:
            outcome = exits.run("Ctrl-C", exits.WHAT[0], moment_s, room, tmp_path)
        exits.listen([outcome], room)
        if outcome.sounding == "speakers":
            break
    assert (outcome.sounding, outcome.status) == ("speakers", 130)
    # The benchmark allows 0.1 s; here other tests may run beside.
    assert 0 < outcome.silent_s < 1.0
    assert outcome.click < 10 ** (exits.CLICK_DB / 20) < outcome.peak

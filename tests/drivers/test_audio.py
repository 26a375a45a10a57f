"""AudioInterface: devices by name, and the production stack in real time in front of a room on a JACK server."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labtrain.clock import RealClock
from labtrain.config import loads
from labtrain.drivers.audio import AudioInterface
from labtrain.drivers.backends.audio_devices import full_host_api
from labtrain.drivers.emulators.serving.jack import JackRoom
from labtrain.drivers.stream import FADE_S, Samples
from labtrain.errors import (
    ConfigError,
    InputError,
    InstrumentError,
    LabtrainError,
    LinkClosed,
    LinkRefused,
    MissingExtra,
)
from tests.jackd import DELAY, RATE_HZ, Delay, Server, jack_server

HOST_APIS = ["MME", "ASIO", "Windows WASAPI"]
DEVICES = [  # name, host API, inputs, outputs, default rate
    ("Line (Scarlett 4i4 USB)", 0, 2, 0, 44_100.0),
    ("Speakers (Scarlett 4i4 USB)", 0, 0, 2, 44_100.0),
    ("Focusrite USB ASIO", 1, 6, 4, 48_000.0),
    ("Line (Scarlett 4i4 USB)", 2, 4, 0, 48_000.0),
    ("Speakers (Scarlett 4i4 USB)", 2, 0, 4, 96_000.0),
    ("Speakers (Realtek Audio)", 2, 0, 2, 48_000.0),
    ("labtrain room", 2, 4, 4, 48_000.0),
]


class PortAudioError(Exception):
    pass


class FakeStream:
    """Calls back for every buffer at once, as soon as it is started."""

    opened: dict[str, Any]

    def __init__(self, **options: Any) -> None:
        FakeStream.opened = options
        self.options, self.samplerate = options, FakeSoundDevice.runs_at or options["samplerate"]
        self.active = self.closed = False

    def start(self) -> None:
        if FakeSoundDevice.stands:
            return
        self.active = True
        for _ in range(16):
            self.move(1024)

    def move(self, frames: int, status: object = None) -> Samples:
        inputs, outputs = self.options["channels"]
        came = np.tile(np.arange(inputs, dtype=np.float32) / 10, (frames, 1))
        out = np.full((frames, outputs), np.nan, dtype=np.float32)
        self.options["callback"](came, out, frames, None, status)
        return out

    def stop(self) -> None:
        self.active = False
        self.options["finished_callback"]()

    def close(self) -> None:
        self.closed = True


class FakeSoundDevice:
    """sounddevice, with the devices above."""

    PortAudioError = PortAudioError
    CallbackAbort = type("CallbackAbort", (Exception,), {})
    Stream = FakeStream
    runs_at: float | None = None
    stands = False

    def __init__(self) -> None:
        self._initialized = 1
        self.exclusive = False

    def _initialize(self) -> None:
        self._initialized += 1

    def _terminate(self) -> None:
        assert self._initialized == 1
        self._initialized -= 1

    def query_hostapis(self) -> tuple[dict[str, Any], ...]:
        return tuple({"name": name} for name in HOST_APIS)

    def query_devices(self) -> list[dict[str, Any]]:
        keys = ("name", "hostapi", "max_input_channels", "max_output_channels", "default_samplerate")
        return [{"index": k, **dict(zip(keys, device, strict=True))} for k, device in enumerate(DEVICES)]

    def check_output_settings(self, device: int, samplerate: float, **options: Any) -> None:
        if samplerate != DEVICES[device][4]:
            raise PortAudioError("Invalid sample rate", -9997)

    check_input_settings = check_output_settings

    def WasapiSettings(self, exclusive: bool) -> str:
        return f"exclusive: {exclusive}"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSoundDevice]:
    found = FakeSoundDevice()
    monkeypatch.setitem(sys.modules, "sounddevice", found)
    monkeypatch.setattr(FakeSoundDevice, "runs_at", None)
    monkeypatch.setattr(FakeSoundDevice, "stands", False)
    yield found


def audio(device: str, **keys: Any) -> AudioInterface:
    keys = {"speakers": (1, 2), "microphones": (1, 2), "max_peak": 1.0, "max_rms": 1.0} | keys
    return AudioInterface.make("audio", AudioInterface.Config(device=device, **keys), RealClock())


def refused(device: str, error: type[LabtrainError] = LinkRefused, **keys: Any) -> str:
    """The sentence, after the name."""
    interface = audio(device, **keys)
    with pytest.raises(error) as caught:
        interface.open()
    assert not interface.is_open
    return str(caught.value).removeprefix(f"{interface.name}: ")


# -- which device ----------------------------------------------------------------------------------------------------


def test_no_such_device(fake: FakeSoundDevice) -> None:
    assert refused("Focusrit USB Asio 2") == (
        "no sound device is called Focusrit USB Asio 2; near are Focusrite USB ASIO (ASIO); host APIs: MME, ASIO, "
        "Windows WASAPI; plug it in and switch it on, or correct rig.audio.device"
    )
    assert refused("zzz", host_api="ASIO") == (
        "no sound device is called zzz; there are Focusrite USB ASIO (ASIO); host APIs: MME, ASIO, Windows WASAPI; "
        "plug it in and switch it on, or correct rig.audio.device"
    )
    assert fake._initialized == 0


def test_no_such_host_api(fake: FakeSoundDevice) -> None:
    assert refused("Scarlett", host_api="JACK") == (
        "PortAudio has no host API JACK here; set rig.audio.host_api to one of MME, ASIO, Windows WASAPI"
    )
    assert refused("Scarlett", InputError, host_api="A") == (
        "2 host APIs fit A: ASIO, Windows WASAPI; set rig.audio.host_api to one of MME, ASIO, Windows WASAPI"
    )


def test_asio_is_asked_for_before_the_import(fake: FakeSoundDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SD_ENABLE_ASIO", "")
    monkeypatch.setitem(globals(), "HOST_APIS", ["MME", "DirectSound", "Windows WASAPI"])
    assert refused("Focusrite", host_api="asio") == (
        "PortAudio has no host API asio here; set rig.audio.host_api to one of MME, DirectSound, Windows WASAPI; ASIO "
        "is on Windows alone, and SD_ENABLE_ASIO=1 must be set before sounddevice is imported"
    )
    import os

    assert os.environ["SD_ENABLE_ASIO"] == "1"


def test_several_devices(fake: FakeSoundDevice) -> None:
    assert refused("scarlett", InputError) == (
        "2 devices with outputs fit rig.audio.device scarlett: Speakers (Scarlett 4i4 USB) (MME), Speakers (Scarlett "
        "4i4 USB) (Windows WASAPI); set rig.audio.host_api"
    )
    assert refused("Speakers", InputError, host_api="WASAPI") == (
        "2 devices with outputs fit rig.audio.device Speakers: Speakers (Scarlett 4i4 USB) (Windows WASAPI), Speakers "
        "(Realtek Audio) (Windows WASAPI); set more of the name"
    )


def test_too_few_channels(fake: FakeSoundDevice) -> None:
    assert refused("Focusrite", InputError, speakers=(1, 5)) == (
        "asked output channel 5, Focusrite USB ASIO (ASIO) has 4 outputs; set rig.audio.speakers and rig.audio.loopback"
    )
    assert refused("Realtek", InputError) == (
        "asked input channel 2, Speakers (Realtek Audio) (Windows WASAPI) has 0 inputs; set rig.audio.microphones and "
        "rig.audio.loopback"
    )


def test_another_sample_rate(fake: FakeSoundDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused("Focusrite", InputError, rate_hz=44_100.0) == (
        "asked 44.1 kHz of Focusrite USB ASIO (ASIO), its default is 48 kHz; set it in the device's own control panel, "
        "or set rig.audio.rate_hz"
    )
    monkeypatch.setattr(FakeSoundDevice, "runs_at", 47_999.9)
    assert refused("Focusrite", InputError) == (
        "asked 48 kHz of Focusrite USB ASIO (ASIO), it runs at 47.9999 kHz; set it in the device's own control panel, "
        "or set rig.audio.rate_hz"
    )
    assert fake._initialized == 0


def test_a_device_that_does_not_run(fake: FakeSoundDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeSoundDevice, "stands", True)
    assert refused("Focusrite", open_timeout_s=0.1) == (
        "Focusrite USB ASIO (ASIO) was opened, but within 0.1 s only 0 frames came; close other programs that use it"
    )


def test_inputs_and_outputs_of_one_box_with_two_names(fake: FakeSoundDevice) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "DEVICES", [(*d[:4], 48_000.0) for d in DEVICES])
        keys = {"speakers": (2, 1), "microphones": (3, 1), "host_api": "wasapi", "exclusive": True}
        with audio("Scarlett 4i4", **keys) as device:
            opened = FakeStream.opened
            assert (opened["device"], opened["channels"]) == ((3, 4), (4, 4))  # all channels, as the mixer has them
            assert opened["extra_settings"] == "exclusive: True"
            assert device.identity == "Windows WASAPI: Speakers (Scarlett 4i4 USB) / Line (Scarlett 4i4 USB)"
            assert not device.emulated
            assert device.canonical == "audio:windows wasapi/scarlett 4i4"
            device.play(np.tile([0.25, 0.5], (100, 1)))
            stream: Any = device.stream
            assert stream._stream.move(200, "output underflow")[[0, 99, 100]].tolist() == [
                [0.5, 0.25, 0, 0],
                [0.5, 0.25, 0, 0],
                [0, 0, 0, 0],
            ]
            assert stream.late == 1
            came = device.record(stream.now - 200, 200)
            assert np.allclose(came, [0.2, 0.0])
    assert fake._initialized == 0


def test_emulated_devices_say_so(fake: FakeSoundDevice) -> None:
    with audio("Labtrain") as device:
        assert device.emulated


def test_a_failure_within_the_callback_ends_the_stream(fake: FakeSoundDevice) -> None:
    device = audio("labtrain room")
    device.open()
    stream: Any = device.stream

    def broken(samples: Samples) -> str | None:
        raise ZeroDivisionError("by nothing")

    device.play(np.ones((1000, 2)))
    stream.watch = broken
    with pytest.raises(FakeSoundDevice.CallbackAbort):
        stream._stream.move(100)
    with pytest.raises(LinkClosed, match=r"handling its samples failed \(ZeroDivisionError: by nothing\)"):
        device.record(0, 10**6)
    device.close()


def test_a_device_that_stops(fake: FakeSoundDevice) -> None:
    sentence = (
        r"^audio \(labtrain room\): the device stopped by itself; check its power and cable, and that its driver or "
        r"server still runs$"
    )
    for how in ("finished", "inactive"):
        with audio("labtrain room") as device:
            stream: Any = device.stream
            if how == "finished":
                stream._stream.stop()
            else:
                stream._stream.active = False
            with pytest.raises(LinkClosed, match=sentence):
                device.transfer(np.zeros((10, 2)))


def test_two_clocks_are_asked_for() -> None:
    def told(text: str) -> str:
        with pytest.raises(ConfigError) as caught:
            loads(text, AudioInterface.Config)
        return str(caught.value)

    assert (
        "input_device B has another clock than device A; use one device (part of its name, where outputs and inputs of "
        "one box have two names), or set two_clocks and a loopback"
    ) in told("{device: A, input_device: B}")
    assert "two_clocks needs a loopback: without it nobody would notice that the clocks drift" in told(
        "{device: A, input_device: B, two_clocks: true}"
    )
    assert "exclusive needs host_api: Windows WASAPI" in told("{device: A, exclusive: true}")
    text = "{device: A, input_device: B, two_clocks: true, loopback: {output: 5, input: 5}}"
    config = loads(text, AudioInterface.Config).value
    assert AudioInterface.make("audio", config, RealClock()).canonical == "audio:/a+b"


def test_two_host_apis(fake: FakeSoundDevice) -> None:
    keys = {"input_device": "Line", "two_clocks": True, "loopback": {"output": 3, "input": 3}, "host_api": None}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "DEVICES", [d for k, d in enumerate(DEVICES) if k != 0])
        assert refused("Focusrite", InputError, **keys) == (
            "Focusrite USB ASIO (ASIO) and Line (Scarlett 4i4 USB) (Windows WASAPI) have two host APIs, needed is one "
            "for both; set rig.audio.host_api"
        )


def test_names_of_host_apis() -> None:
    told = [full_host_api(name) for name in ("asio", "JACK", "WASAPI", "Windows", "PipeWire", "")]
    assert told == ["ASIO", "JACK Audio Connection Kit", "Windows WASAPI", "Windows", "PipeWire", ""]


def test_what_is_to_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(MissingExtra, match=r"^audio \(x\): needs the package sounddevice .*pip install sounddevice$"):
        audio("x").open()

    def no_library(name: str) -> Any:
        raise OSError("PortAudio library not found")

    monkeypatch.setattr("importlib.import_module", no_library)
    with pytest.raises(MissingExtra, match=r"the library PortAudio is missing; install it: apt install libportaudio2"):
        audio("x").open()


def test_nothing_is_simulated_by_itself() -> None:
    with pytest.raises(InputError, match=r"^audio \(sim\): nothing is simulated here; set rig\.audio\.device to "):
        AudioInterface.make("audio", AudioInterface.Config(), RealClock())


# -- in real time, through JACK --------------------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with jack_server(tmp_path, monkeypatch) as running:
        yield running


def room_interface(name: str = "labtrain-room", **keys: Any) -> AudioInterface:
    return audio(name, **{"speakers": (1, 3), "microphones": (1, 3), "host_api": "jack", "timeout_s": 2.0} | keys)


def noise(frames: int, seed: int = 0) -> Samples:
    return np.random.default_rng(seed).uniform(-0.9, 0.9, (frames, 2)).astype(np.float32)


SOUND, SILENCE = 800, 1600


def latency(device: AudioInterface, seed: int) -> int:
    """Play noise, then silence; the delay after which the very same samples come back."""
    sound = noise(SOUND, seed)
    came = device.transfer(np.concatenate([sound, np.zeros((SILENCE, 2))]))
    for start in np.flatnonzero(came[: SILENCE + 1, 0] == sound[0, 0]):
        if np.array_equal(came[start : start + SOUND], sound):
            return int(start)
    raise AssertionError(f"playback {seed} did not come back bit for bit")


def test_a_hundred_playbacks_bit_for_bit_and_silence_at_the_end(server: Server) -> None:
    room = server.room()
    with room_interface() as device:
        assert device.identity == "JACK Audio Connection Kit: labtrain-room"
        assert device.emulated
        assert device.stream.now >= 8192, "what a converter may lose at its start is behind"
        (delay,) = {latency(device, seed) for seed in range(110)}
        assert delay > DELAY
        device.play(np.full((10 * RATE_HZ, 2), 0.5))
        device.record(device.stream.now, RATE_HZ // 5)
    heard = server.heard(room)
    assert heard.shape == (2 * RATE_HZ, 3)
    assert not heard[:, 1].any()
    tone = heard[int(np.flatnonzero(heard[:, 0] > 0.5)[-1]) + 1 :, 0]  # after the last noise
    last = int(np.flatnonzero(tone)[-1])
    assert tone.max() == 0.5
    assert last - int(np.flatnonzero(tone == 0.5)[-1]) <= FADE_S * RATE_HZ
    assert np.abs(np.diff(tone[last - 2000 :])).max() < 0.5 * np.pi / 2 / (FADE_S * RATE_HZ) * 1.1


def test_two_streams_and_a_room_that_appears_later(server: Server) -> None:
    server.room("labtrain-one")
    with room_interface("labtrain-one") as one:
        first = latency(one, 0)
    server.room("labtrain-two")
    with room_interface("labtrain-two", blocksize=256) as two, room_interface("labtrain-one") as one:
        assert latency(two, 1) < first
        assert {latency(one, 2), latency(one, 3)} == {first}
        assert two.identity == "JACK Audio Connection Kit: labtrain-two"


def test_errors_of_a_real_portaudio(server: Server) -> None:
    server.room()
    assert "asked 44.1 kHz of labtrain-room (JACK Audio Connection Kit), its default is 48 kHz" in refused(
        "labtrain-room", InputError, rate_hz=44_100.0, host_api="jack"
    )
    assert "asked output channel 4, labtrain-room (JACK Audio Connection Kit) has 3 outputs" in refused(
        "labtrain-room", InputError, speakers=(4,)
    )
    assert "no sound device is called labtrain-rom; near are labtrain-room (JACK Audio Connection Kit)" in refused(
        "labtrain-rom"
    )


KILLED = """
import sys, threading, time
import numpy as np
from pathlib import Path
from labtrain.clock import RealClock
from labtrain.drivers.audio import AudioInterface
from labtrain.errors import LinkError

config = AudioInterface.Config(device="labtrain-room", speakers=(1,), microphones=(1,), timeout_s=2.0)
device = AudioInterface.make("audio", config, RealClock())
for turn in range(2):
    try:
        with device:
            start = device.play(np.zeros((20 * 48_000, 1)))
            print("playing", flush=True)
            device.record(start, 20 * 48_000)
    except LinkError as error:
        print(f"{type(error).__name__}: {error}", flush=True)
"""


def test_a_server_that_is_killed(server: Server) -> None:
    import subprocess

    server.room()
    program = subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    assert program.stdout.readline() == "playing\n"
    server.kill()
    told, _ = program.communicate(timeout=8)
    assert program.returncode == 0
    assert told.splitlines() == [
        "LinkClosed: audio (labtrain-room): the device stopped by itself; check its power and cable, and that its "
        "driver or server still runs",
        "LinkRefused: audio (labtrain-room): PortAudio waits in vain for a device that is gone; end this program and "
        "start it again (labtrain resume goes on with a run)",
    ]


# -- the room on the server ------------------------------------------------------------------------------------------


def test_a_room_without_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("jack", reason='JACK-Client is not installed; pip install -e ".[dev]"')
    with pytest.raises(LinkRefused) as caught:
        JackRoom(Delay(), server="labtrain-nowhere").__enter__()
    assert str(caught.value) == (
        "labtrain-room: no JACK server labtrain-nowhere runs; start one: JACK_NO_AUDIO_RESERVATION=1 jackd -n "
        "labtrain-nowhere -r -d dummy -r 48000 -p 256"
    )


def test_rooms_that_are_refused(server: Server) -> None:
    slow = Delay()
    slow.rate_hz = 44_100.0
    with pytest.raises(InputError) as caught:
        JackRoom(slow, server=server.name).__enter__()
    assert str(caught.value) == (
        "labtrain-room: the JACK server runs at 48 kHz, the emulator at 44.1 kHz; start the server anew: "
        f"JACK_NO_AUDIO_RESERVATION=1 jackd -n {server.name} -r -d dummy -r 44100 -p 256"
    )
    with (
        JackRoom(Delay(), server=server.name),
        pytest.raises(LinkRefused, match=r"^labtrain-room: the JACK server refuses it; end the client of this name"),
    ):
        JackRoom(Delay(), server=server.name).__enter__()


def test_a_room_that_fails_falls_silent_and_says_so(server: Server) -> None:
    class Broken(Delay):
        def process(self, out: Samples) -> Samples:
            if out.any():
                raise RuntimeError("the roof came down")
            return out + np.float32(0.25)

    with JackRoom(Broken(), server=server.name) as room, room_interface() as device:
        room.check()
        assert (device.record(device.stream.now, 1000) == 0.25).all()
        came = device.transfer(np.full((9600, 2), 0.5))
        assert not came[-1000:].any()
        with pytest.raises(
            InstrumentError, match=r"^labtrain-room: the emulator failed \(RuntimeError: the roof came "
        ):
            room.check()
        assert room.late >= 0
        assert room.xruns >= 0


def test_a_room_whose_server_ends(server: Server) -> None:
    with JackRoom(Delay(), server=server.name) as room:
        server.kill()
        ended = threading.Event()
        for _ in range(100):
            if room.ended or ended.wait(0.05):
                break
        with pytest.raises(
            InstrumentError, match=r"^labtrain-room: the JACK server let go of it \(.+\); start it anew$"
        ):
            room.check()

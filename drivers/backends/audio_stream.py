"""A sample stream to a sound card through PortAudio: ASIO, WASAPI, Core Audio, ALSA, JACK.

PortAudio lists its devices once, when it is initialised. So it is initialised when the first stream is opened, which
finds what was plugged in since, and ended with the last one: where a JACK server has ended meanwhile, PortAudio would
abort the whole process at its own end.
"""

from __future__ import annotations

import atexit
import importlib
import os
import threading
from contextlib import suppress
from typing import Any, Literal

from labtrain.clock import Clock
from labtrain.drivers.backends.audio_devices import AudioDevice, Direction, Wanted, find, listed
from labtrain.drivers.backends.opening import first_line, within
from labtrain.drivers.stream import Samples, SampleStream
from labtrain.errors import InputError, LinkRefused, MissingExtra
from labtrain.limits import shown

SETTLE_FRAMES = 8192  # before a stream counts as open: the first hundreds to thousands may be lost in the drivers
CLOSE_S = 2.0  # for letting go of a device that is gone
INVALID_RATE = -9997  # PortAudio's paInvalidSampleRate
STOPPED = "the device stopped by itself; check its power and cable, and that its driver or server still runs"

# PortAudio is one for the whole process.
_lock = threading.Lock()
_in_use: set[Any] = set()  # sounddevice's streams
_stuck: set[Any] = set()  # those of them that are being closed and may never be


class AudioStream(SampleStream):
    """A stream to a sound device, or to two.

    Parameters
    ----------
    who, clock, options
        As of SampleStream.
    device : str
        Name, or part of it, of the device to play to, and to record from too.
    outputs, inputs : tuple of int
        Channels in use, from 1.
    input_device : str, optional
        Another device to record from.
    host_api : str, optional
        Name, or part of it.
    blocksize : int
        Frames per buffer; 0: as the driver likes.
    latency : float or "low" or "high"
        Asked for, in seconds.
    exclusive : bool
        Take the device from all other programs and from the system's mixer (WASAPI alone).

    Attributes
    ----------
    device : str
        What was opened: ``Windows WASAPI: Speakers (X) / Microphone (X)``; empty before.
    devices : tuple of AudioDevice
        Likewise: output and input.
    """

    def __init__(
        self,
        who: str,
        device: str,
        clock: Clock,
        *,
        outputs: tuple[int, ...],
        inputs: tuple[int, ...],
        input_device: str | None = None,
        host_api: str | None = None,
        blocksize: int = 512,
        latency: Literal["low", "high"] | float = "high",
        exclusive: bool = False,
        **options: Any,
    ) -> None:
        both = device if input_device is None else f"{device} / {input_device}"
        super().__init__(who, both, clock, n_out=len(outputs), n_in=len(inputs), **options)
        self.device = ""
        self.devices: tuple[AudioDevice, ...] = ()
        self._device, self._input_device, self._host_api = device, input_device, host_api
        self._channels: dict[Direction, tuple[int, ...]] = {"output": outputs, "input": inputs}
        self._outputs, self._inputs = [c - 1 for c in outputs], [c - 1 for c in inputs]
        self._buffers: dict[str, Any] = {"blocksize": blocksize, "latency": latency}
        self._exclusive = exclusive
        self._library: Any = None  # sounddevice
        self._stream: Any = None

    def _open(self) -> None:
        self._library = _sounddevice(self.name, self._host_api)
        with _lock:
            if _stuck:
                raise LinkRefused(
                    f"{self.name}: PortAudio waits in vain for a device that is gone; end this program and start it "
                    "again (labtrain resume goes on with a run)"
                )
            if not _in_use:
                if self._library._initialized:  # by its import
                    self._library._terminate()
                self._library._initialize()
            try:
                self.devices = self._find()
                self._stream = self._make()
                _in_use.add(self._stream)
            finally:
                if not _in_use:
                    self._library._terminate()
        try:
            self._begin()
        except BaseException:
            self._close()
            raise

    def _find(self) -> tuple[AudioDevice, AudioDevice]:
        devices, host_apis = listed(self._library)
        section = f"rig.{self.who}"
        wanted = Wanted(self._device, self._host_api, self.name, section)
        output = find(wanted, "output", self._channels["output"], devices, host_apis)
        if self._input_device is not None:
            wanted = Wanted(self._input_device, self._host_api, self.name, section, "input_device")
        came = find(wanted, "input", self._channels["input"], devices, host_apis)
        if came.host_api != output.host_api:
            raise InputError(
                f"{self.name}: {output} and {came} have two host APIs, needed is one for both; set {section}.host_api"
            )
        self.device = f"{output.host_api}: {output.name}"
        if came.name != output.name:
            self.device += f" / {came.name}"
        return output, came

    def _make(self) -> Any:
        sounddevice, (output, came) = self._library, self.devices
        channels = self._opened(came, "input"), self._opened(output, "output")  # PortAudio's order
        common: dict[str, Any] = {"samplerate": self.rate_hz, "dtype": "float32"}
        if self._exclusive:
            common["extra_settings"] = sounddevice.WasapiSettings(exclusive=True)
        device = came
        try:
            sounddevice.check_input_settings(device=came.number, channels=channels[0], **common)
            device = output
            sounddevice.check_output_settings(device=output.number, channels=channels[1], **common)
            return sounddevice.Stream(
                device=(came.number, output.number),
                channels=channels,
                callback=self._callback,
                finished_callback=self._finished,
                **common,
                **self._buffers,
            )
        except sounddevice.PortAudioError as error:
            if INVALID_RATE in error.args:
                raise self._wrong_rate(device, device.rate_hz, "its default is") from None
            raise self._refused(error) from None

    def _opened(self, device: AudioDevice, direction: Direction) -> int:
        """How many channels to open: those up to the last one in use, of which some are picked."""
        if "WASAPI" in device.host_api:
            return device.channels(direction)  # the system's mixer takes its own format alone
        return max(self._channels[direction])

    def _begin(self) -> None:
        if self._stream.samplerate != self.rate_hz:
            raise self._wrong_rate(self.devices[0], self._stream.samplerate, "it runs at")
        try:
            self._stream.start()
        except self._library.PortAudioError as error:
            raise self._refused(error) from None
        with self._arrival:
            self._arrival.wait_for(lambda: self._now >= SETTLE_FRAMES or self._ended, self.open_timeout_s)
            if self._now < SETTLE_FRAMES:
                raise LinkRefused(
                    f"{self.name}: {self.devices[0]} was opened, but within {self.open_timeout_s:g} s only {self._now} "
                    f"frames came{f' ({self._ended})' if self._ended else ''}; close other programs that use it"
                )

    def _wrong_rate(self, device: AudioDevice, rate_hz: float, what: str) -> InputError:
        return InputError(
            f"{self.name}: asked {shown(self.rate_hz, 'Hz')} of {device}, {what} {shown(rate_hz, 'Hz')}; set it in the "
            f"device's own control panel, or set rig.{self.who}.rate_hz"
        )

    def _refused(self, error: Exception) -> LinkRefused:
        return LinkRefused(
            f"{self.name}: {self.device} does not open ({first_line(error)}); close other programs that use it, and "
            f"check rig.{self.who}"
        )

    def _close(self) -> None:
        stream, self._stream = self._stream, None
        if _active(stream):
            with suppress(self._library.PortAudioError):  # silent it is, and more cannot be done
                stream.stop()  # returns when all that was handed over has been played
            self._release(stream)
            return
        _stuck.add(stream)
        try:
            if "JACK" in self.devices[0].host_api:
                raise TimeoutError  # its server is gone, which PortAudio waits for: ten minutes
            within(CLOSE_S, lambda: self._release(stream), lambda _: None)
        except TimeoutError:
            atexit.unregister(self._library._exit_handler)  # or the program would wait at its end

    def _release(self, stream: Any) -> None:
        stream.close()  # errors are ignored
        with _lock:
            _in_use.discard(stream)
            _stuck.discard(stream)
            if not _in_use:
                self._library._terminate()

    def _lost(self) -> str:
        return "" if _active(self._stream) else STOPPED

    # -- called by PortAudio's thread ----------------------------------------------------------------------------

    def _callback(self, came: Samples, out: Samples, frames: int, time: Any, status: Any) -> None:  # noqa: ARG002
        try:
            if status:
                self.late += 1
            out.fill(0.0)
            out[:, self._outputs] = self._next(frames)
            self._arrived(came[:, self._inputs])  # a copy, as indexing with a list is
        except Exception as error:
            out.fill(0.0)
            self._end(f"handling its samples failed ({type(error).__name__}: {error}); please report it")
            raise self._library.CallbackAbort from None

    def _finished(self) -> None:
        if not self._closing:
            self._end(STOPPED)


def _active(stream: Any) -> bool:
    """Whether PortAudio calls back; that of a server that died does not say so by itself."""
    try:
        return stream is not None and bool(stream.active)
    except Exception:  # closed meanwhile by another thread
        return False


def _sounddevice(who: str, host_api: str | None) -> Any:
    """The package; it loads PortAudio when it is imported, which is not before a stream is opened."""
    if host_api is not None and "asio" in host_api.casefold():
        os.environ["SD_ENABLE_ASIO"] = "1"  # chooses which PortAudio is loaded
    try:
        return importlib.import_module("sounddevice")
    except OSError:
        raise MissingExtra(
            f"{who}: the library PortAudio is missing; install it: apt install libportaudio2 (Debian, Ubuntu), dnf "
            "install portaudio (Fedora), brew install portaudio (macOS); on Windows python -m pip install "
            "--force-reinstall sounddevice brings it"
        ) from None
    except ImportError as error:
        raise MissingExtra(
            f"{who}: needs the package sounddevice ({error}); python -m pip install sounddevice"
        ) from None

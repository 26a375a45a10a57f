"""JackRoom, an emulated converter and its room as a client of a JACK server: to PortAudio a sound card like any other.

So a whole run goes through the production stack - driver, PortAudio, an audio server, real time - without a sound card.
A server without hardware (Linux; packages jackd2 and libportaudio2):

    JACK_NO_AUDIO_RESERVATION=1 jackd -r -d dummy -r 48000 -p 256
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np

from labtrain.drivers.backends.memory_stream import SoundEmulator
from labtrain.errors import InputError, InstrumentError, LinkRefused, MissingExtra
from labtrain.limits import shown

NAME = "labtrain-room"


class RatedSoundEmulator(SoundEmulator, Protocol):
    """A SoundEmulator that knows its sample rate."""

    @property
    def rate_hz(self) -> float:
        """Frames a second."""


class JackRoom:
    """An emulator on a JACK server, from ``with`` to its end.

    Parameters
    ----------
    emulator : RatedSoundEmulator
        Used by JACK's thread alone while this is open.
    name : str
        Of the client, and so of PortAudio's device.
    server : str, optional
        Of the JACK server; default: JACK's own.

    Attributes
    ----------
    xruns : int
        Times at which the server says that some client came too late.
    late : int
        Periods for which the emulator took longer than they last.
    failure : Exception or None
        What the emulator raised; since then all inputs are silent.
    ended : str
        Why the server let go of this client; empty while it has not.
    """

    def __init__(self, emulator: RatedSoundEmulator, name: str = NAME, server: str | None = None) -> None:
        self.emulator, self.name, self.server = emulator, name, server
        self.xruns = self.late = 0
        self.failure: Exception | None = None
        self.ended = ""
        self._client: Any = None

    def __enter__(self) -> Self:
        """Register with the server.

        Raises
        ------
        MissingExtra
            If the package JACK-Client or the JACK library is not installed.
        LinkRefused
            If no server runs, or it refuses, for instance because it has a client of this name.
        InputError
            If the server has another sample rate.
        """
        jack = _jack()
        try:
            client = jack.Client(self.name, use_exact_name=True, no_start_server=True, servername=self.server)
        except jack.JackOpenError as error:
            if error.status.server_failed:
                raise LinkRefused(
                    f"{self.name}: no JACK server {f'{self.server} ' if self.server else ''}runs; start one: "
                    f"{self._start}"
                ) from None
            raise LinkRefused(  # JACK does not say which
                f"{self.name}: the JACK server refuses it; end the client of this name that it may have, or start it "
                f"anew: {self._start}"
            ) from None
        try:
            if client.samplerate != self.emulator.rate_hz:
                raise InputError(
                    f"{self.name}: the JACK server runs at {shown(client.samplerate, 'Hz')}, the emulator at "
                    f"{shown(self.emulator.rate_hz, 'Hz')}; start the server anew: {self._start}"
                )
            self.emulator.connected()
            for k in range(self.emulator.n_out):
                client.inports.register(f"playback_{k + 1}")
            for k in range(self.emulator.n_in):
                client.outports.register(f"capture_{k + 1}")
            client.set_process_callback(self._process)
            client.set_xrun_callback(self._xrun)
            client.set_shutdown_callback(self._shut_down)
            self._client = client
            client.activate()
        except BaseException:
            client.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.ended:
            self._client.deactivate()
        self._client.close()

    def check(self) -> None:
        """Raise InstrumentError if the emulator failed or the server is gone."""
        if self.failure is not None:
            raise InstrumentError(
                f"{self.name}: the emulator failed ({type(self.failure).__name__}: {self.failure}); please report it"
            ) from self.failure
        if self.ended:
            raise InstrumentError(f"{self.name}: the JACK server let go of it ({self.ended}); start it anew")

    @property
    def _start(self) -> str:
        named = f"-n {self.server} " if self.server else ""
        return f"JACK_NO_AUDIO_RESERVATION=1 jackd {named}-r -d dummy -r {self.emulator.rate_hz:.0f} -p 256"

    # -- called by JACK's threads --------------------------------------------------------------------------------

    def _process(self, frames: int) -> None:
        client = self._client
        came = np.zeros((frames, self.emulator.n_in), dtype=np.float32)
        if self.failure is None:
            try:
                out = np.stack([port.get_array() for port in client.inports], axis=1)
                came[:] = self.emulator.process(out)
            except Exception as error:  # must not reach JACK, whose other clients would wait
                self.failure = error
                came[:] = 0.0
        for port, samples in zip(client.outports, came.T, strict=True):
            port.get_array()[:] = samples
        self.late += client.frames_since_cycle_start > frames

    def _xrun(self, delayed_us: float) -> None:  # noqa: ARG002 (0 on most servers)
        self.xruns += 1

    def _shut_down(self, status: Any, reason: str) -> None:  # noqa: ARG002
        self.ended = reason or "shut down"


def _jack() -> Any:
    try:
        import jack  # type: ignore[import-untyped]
    except ImportError:
        raise MissingExtra(
            'a JACK client needs JACK-Client, which is not installed; run: pip install "labtrain[jack]"'
        ) from None
    except OSError:
        raise MissingExtra("a JACK client needs JACK's library; run: apt install jackd2 (Debian, Ubuntu)") from None
    # The library writes to the terminal what is told here in a sentence.
    jack.set_error_function(lambda _: None)
    jack.set_info_function(lambda _: None)
    return jack

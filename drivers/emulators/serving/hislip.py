"""Emulated instruments behind HiSLIP, as VISA clients open them: ``TCPIP::host::hislip0,port::INSTR``.

One client at a time, with its two connections to one port: a second client is told that there are too many.
"""

from __future__ import annotations

import logging
import socket

from labtrain.clock import Clock
from labtrain.drivers.emulators.emulator import Emulator
from labtrain.drivers.emulators.serving.channel import Channel
from labtrain.drivers.emulators.serving.hislip_messages import Decoder, Fatal, Kind, Message, NotHislip
from labtrain.drivers.emulators.serving.hislip_session import HislipSession
from labtrain.drivers.emulators.serving.instr import InstrOutlet

DEVICE = "hislip0"

log = logging.getLogger("labtrain")


class HislipOutlet(InstrOutlet):
    """An emulator behind HiSLIP.

    Parameters
    ----------
    name, emulator, clock
        As of Outlet.
    host, port
        As of Listener.
    """

    kind = "hislip"

    def __init__(self, name: str, emulator: Emulator, clock: Clock, *, host: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__(name, emulator, clock, host=host, port=port)
        self._channels: dict[Channel, Decoder] = {}
        self._session: HislipSession | None = None
        self._sync: Channel | None = None  # of the session, as the next
        self._async: Channel | None = None
        self._sessions = 0

    @property
    def visa(self) -> str:
        return f"TCPIP::{self.listener.reached_at}::{DEVICE},{self.port}::INSTR"

    def close(self) -> None:
        for channel in list(self._channels):
            channel.close()
        self.listener.close()

    @property
    def due_s(self) -> float | None:
        return self.exchange.due_s if self._session is not None else None

    def flush(self) -> None:
        if self._session is not None and not self._session.flush() and self._sync is not None:
            self._sync.finish()  # and with it the other one

    # -- connections ---------------------------------------------------------------------------------------------

    def _accepted(self, peer: socket.socket) -> None:
        assert self._selector is not None
        self._channels[Channel(peer, self._selector, self._heard, self._gone)] = Decoder()

    def _gone(self, channel: Channel) -> None:
        del self._channels[channel]
        if channel in (self._sync, self._async):  # one of them is nothing without the other
            others = self._sync, self._async
            self._session = self._sync = self._async = None
            for other in others:
                if other is not None:
                    other.close()

    def _heard(self, channel: Channel, data: bytes) -> None:
        try:
            for message in self._channels[channel].feed(data):
                self._obey(channel, message)
                self.flush()
                if channel not in self._channels:
                    return
        except NotHislip:
            self._refuse(channel, Fatal.POORLY_FORMED_HEADER, "this is no HiSLIP message")

    def _obey(self, channel: Channel, message: Message) -> None:
        if channel is self._async and self._sync is not None and self._session is not None:
            if message.kind == Kind.ASYNC_STATUS_QUERY:
                self._sync.catch_up()  # what was sent before it on the other channel counts
            if channel.open:
                self._session.heard_async(message)
        elif channel is self._sync and self._session is not None:
            if self._session.ready:
                self._session.heard_sync(message)
            else:
                self._refuse(channel, Fatal.WITHOUT_BOTH_CHANNELS, "open the asynchronous channel first")
        elif message.kind == Kind.INITIALIZE:
            self._begin(channel, message)
        elif message.kind == Kind.ASYNC_INITIALIZE:
            self._complete(channel, message)
        else:
            self._refuse(channel, Fatal.INVALID_INITIALIZATION, "a connection begins with Initialize")

    def _begin(self, channel: Channel, message: Message) -> None:
        device = message.payload.decode("latin-1")
        if device.lower() not in ("", DEVICE):
            self._refuse(channel, Fatal.INVALID_INITIALIZATION, f"no {device} here, {DEVICE} alone")
            return
        for present in (self._sync, self._async):
            if present is not None:
                present.catch_up()
        if self._session is not None:
            log.warning("emulated %s: a second connection was refused, it has one at a time", self.name)
            self._refuse(channel, Fatal.TOO_MANY_CLIENTS, "one client at a time")
            return
        self._sessions = self._sessions % 0xFFFF + 1
        self._sync = channel
        self._session = HislipSession(self.exchange, self._sessions, channel.send)
        self._session.initialized(message.parameter >> 16)

    def _complete(self, channel: Channel, message: Message) -> None:
        session = self._session
        if session is None or session.ready or message.parameter != session.number:
            self._refuse(channel, Fatal.INVALID_INITIALIZATION, f"no session {message.parameter} waits for it")
            return
        self._async = channel
        session.both_channels(channel.send)

    def _refuse(self, channel: Channel, code: Fatal, text: str) -> None:
        channel.send(Message(Kind.FATAL_ERROR, code, 0, text.encode()).packed())
        channel.finish()

"""Emulated instruments behind VXI-11, as VISA clients open them: ``TCPIP::host,port::inst0::INSTR``.

A client that names no port asks a portmapper for it, which is not here; pyvisa-py and python-vxi11 take a port. One
link at a time: whoever asks for a second one is told that there are no resources left.
"""

from __future__ import annotations

import logging
import selectors
import socket

from labtrain.clock import Clock
from labtrain.drivers.emulators.emulator import Emulator
from labtrain.drivers.emulators.serving.channel import Channel
from labtrain.drivers.emulators.serving.instr import InstrOutlet
from labtrain.drivers.emulators.serving.listener import Listener
from labtrain.drivers.emulators.serving.onc_rpc import Call, NotRpc, Records, answered, marked, parse_call
from labtrain.drivers.emulators.serving.vxi11_session import ABORT, DEVICE, Error, Vxi11Session
from labtrain.drivers.emulators.serving.xdr import uints

log = logging.getLogger("labtrain")


class Vxi11Outlet(InstrOutlet):
    """An emulator behind VXI-11.

    Parameters
    ----------
    name, emulator, clock
        As of Outlet.
    host, port
        As of Listener; of the core channel. The abort channel gets a port of its own.
    """

    kind = "vxi11"

    def __init__(self, name: str, emulator: Emulator, clock: Clock, *, host: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__(name, emulator, clock, host=host, port=port)
        self.abort_listener = Listener(name, host)
        self._records: dict[Channel, Records] = {}
        self._sessions: dict[Channel, Vxi11Session] = {}  # of connections to the core channel
        self._holder: Channel | None = None  # whose session has the link

    @property
    def visa(self) -> str:
        return f"TCPIP::{self.listener.reached_at},{self.port}::{DEVICE}::INSTR"

    def open(self, selector: selectors.BaseSelector) -> None:
        """Listen.

        Raises
        ------
        InputError
            If the port cannot be had.
        """
        super().open(selector)
        self.abort_listener.open(selector, self._abort_accepted)

    def close(self) -> None:
        for channel in list(self._records):
            channel.close()
        self.listener.close()
        self.abort_listener.close()

    @property
    def due_s(self) -> float | None:
        return None if self._holder is None else self._sessions[self._holder].due_s

    def flush(self) -> None:
        if self._holder is not None and not self._sessions[self._holder].flush():
            self._holder.finish()

    # -- the core channel ----------------------------------------------------------------------------------------

    def _accepted(self, peer: socket.socket) -> None:
        assert self._selector is not None
        channel = Channel(peer, self._selector, self._heard, self._gone)
        self._records[channel] = Records()
        self._sessions[channel] = Vxi11Session(
            self.exchange,
            self.clock,
            lambda record: channel.send(marked(record)),
            lambda: self._acquire(channel),
            lambda: self._release(channel),
            lambda: self.abort_listener.port,
        )

    def _heard(self, channel: Channel, data: bytes) -> None:
        try:
            for record in self._records[channel].feed(data):
                self._sessions[channel].heard(record)
                self.flush()
                if channel not in self._records:
                    return
        except NotRpc:
            channel.close()

    def _gone(self, channel: Channel) -> None:
        del self._records[channel]
        if self._sessions.pop(channel, None) is not None:
            self._release(channel)

    def _acquire(self, channel: Channel) -> bool:
        if self._holder is not None and self._holder is not channel:
            self._holder.catch_up()
        if self._holder is not None:
            log.warning("emulated %s: a second connection was refused, it has one at a time", self.name)
            return False
        self._holder = channel
        return True

    def _release(self, channel: Channel) -> None:
        if self._holder is channel:
            self._holder = None

    # -- the abort channel ---------------------------------------------------------------------------------------

    def _abort_accepted(self, peer: socket.socket) -> None:
        assert self._selector is not None
        channel = Channel(peer, self._selector, self._abort_heard, self._gone)
        self._records[channel] = Records()

    def _abort_heard(self, channel: Channel, data: bytes) -> None:
        try:
            for record in self._records[channel].feed(data):
                call = parse_call(record, *ABORT)
                answer = call if isinstance(call, bytes) else answered(call, {1: self._abort})
                if answer is not None:
                    channel.send(marked(answer))
        except NotRpc:
            channel.close()

    def _abort(self, call: Call) -> bytes:
        link = call.arguments.signed()
        return uints(Error.INVALID_LINK if self._holder is None else self._sessions[self._holder].abort(link))

"""The emulators of a configuration's rig, served to other programs: ``labtrain emulate CONFIG``.

Instruments that speak bytes listen on TCP, plain or as HiSLIP or VXI-11, or on a pseudo-terminal; an emulated converter
becomes a sound card, as a client of a JACK server.

All of them stand in front of one world, so that what one instrument does is seen by the others: a pattern written to
the metasurface's serial port changes what the network analyser's socket reads.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labtrain.clock import Clock, RealClock
from labtrain.config import Loaded
from labtrain.drivers.emulators.emulator import Emulator
from labtrain.drivers.emulators.faults import Fault, Faulty
from labtrain.drivers.emulators.serving.hislip import HislipOutlet
from labtrain.drivers.emulators.serving.jack import NAME, JackRoom
from labtrain.drivers.emulators.serving.outlet import Outlet
from labtrain.drivers.emulators.serving.pty import PtyOutlet
from labtrain.drivers.emulators.serving.server import POLL_S, Server
from labtrain.drivers.emulators.serving.tcp import TcpOutlet
from labtrain.drivers.emulators.serving.vxi11 import Vxi11Outlet
from labtrain.drivers.emulators.sound import SoundFault, SoundRoom
from labtrain.drivers.scpi import ScpiInstrument
from labtrain.emulate_options import Transport, check_options
from labtrain.errors import InputError, Interrupted
from labtrain.experiment import Experiment
from labtrain.jobs import open_rig
from labtrain.registry import resolve
from labtrain.safety import Guard
from labtrain.threads import blas_threads
from labtrain.yaml_lines import dump_yaml

JACK = "JACK Audio Connection Kit"  # as PortAudio calls it
HEADER = "# Written by labtrain emulate; good as long as it runs.\n"


@dataclass(frozen=True)
class Serving:
    """Emulators that listen.

    Parameters
    ----------
    addresses : dict of dict
        Instrument -> kind -> address: the transport's for labtrain, ``visa`` for clients of VISA; ``device`` and
        ``host_api`` of a sound card.
    config : str
        YAML, all effective values of the configuration with these addresses.
    """

    addresses: dict[str, dict[str, str]]
    config: str

    def listing(self) -> list[str]:
        """A line an address: ``vna: tcp://127.0.0.1:5025 (VISA: TCPIP::127.0.0.1::5025::SOCKET)``."""
        return [f"{name}: {_listed(kinds)}" for name, kinds in self.addresses.items()]

    def write(self, path: Path) -> None:
        """Write the configuration to a file; one that was written so before is replaced, no other.

        Raises
        ------
        InputError
        """
        try:
            if path.exists() and not path.read_bytes().startswith(HEADER.encode()):
                raise InputError(f"{path}: exists already; choose another file with --out FILE")
            path.write_text(self.config, encoding="utf-8")
        except OSError as error:
            raise InputError(
                f"{path}: cannot be written ({error.strerror}); choose another place with --out FILE"
            ) from None


def emulate(
    loaded: Loaded[Experiment],
    ready: Callable[[Serving], None],
    *,
    host: str = "127.0.0.1",
    ports: Mapping[str, int] | None = None,
    transports: Mapping[str, Transport] | None = None,
    faults: Sequence[tuple[str, Fault | SoundFault]] = (),
    stopped: Callable[[], bool] | None = None,
    clock: Clock | None = None,
) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Unless `transports` says otherwise, serial instruments are served on a pseudo-terminal where there are any (Linux)
    and `ports` does not name them, else on TCP; all others on TCP.

    Parameters
    ----------
    loaded : Loaded[Experiment]
    ready : callable
        Called once, as soon as all listen.
    host : str
        Address to listen on.
    ports : mapping of instrument to int, optional
        TCP ports; otherwise any that are free.
    transports : mapping of instrument to str, optional
        ``socket``, ``pty`` for serial instruments, ``hislip`` and ``vxi11`` for those that speak SCPI.
    faults : sequence of (instrument, Fault)
        As :func:`labtrain.emulate_options.parse_faults` gives them.
    stopped : callable, optional
        Asked several times a second whether to end.

    Raises
    ------
    InputError
        If the rig has no instruments, an option names one that it does not have or a transport that it cannot have,
        a port cannot be had, or an emulator stands in for a vendor's library instead of bytes.
    InstrumentError
        If a sound card is wanted and no JACK server runs, or it ends.
    """
    clock, ports, transports = clock or RealClock(), ports or {}, transports or {}
    rig = open_rig(loaded.value, clock)
    world = rig.build_world()
    if (room := rig.sound_room(world)) is not None:
        check_options({"audio": room}, ports, transports, faults)
        if ports or transports:
            option = "--port" if ports else "--transport"
            raise InputError(f"{option} audio: a sound card has no port; name one that speaks bytes, or leave it out")
        room.faults = tuple(fault for _, fault in faults if isinstance(fault, SoundFault))
        _serve_room(loaded, room, ready, stopped, clock)
        return
    emulators = rig.emulators(world)
    if not emulators:
        kind = loaded.value.rig.model_dump()["type"]
        raise InputError(
            f"{loaded.source}: a rig of type {kind!r} has no instruments that could be emulated; take a configuration "
            "whose rig has some, for instance microwave"
        )
    check_options(emulators, ports, transports, faults)
    for name, emulator in emulators.items():
        if not hasattr(emulator, "receive"):
            raise InputError(
                f"rig.{name}.driver: what stands in for the library of {_driver_name(loaded, name)} is in this process "
                f"alone and cannot be served; take a driver that speaks bytes, with --dialect {name}=DRIVER"
            )
    for name in {name for name, _ in faults}:
        emulators[name] = Faulty(
            emulators[name], [fault for of, fault in faults if of == name and isinstance(fault, Fault)], name
        )
    with tempfile.TemporaryDirectory(prefix="labtrain-", ignore_cleanup_errors=True) as folder:
        outlets = [
            _outlet(loaded, name, emulator, clock, host, ports.get(name), transports.get(name), Path(folder) / name)
            for name, emulator in emulators.items()
        ]
        try:
            with blas_threads(1), Guard() as guard, Server(outlets, clock) as server:
                ready(_serving(loaded, outlets))
                server.run(lambda: guard.interrupted or (stopped is not None and stopped()))
        except Interrupted:
            pass  # as it is meant to end


def _serve_room(
    loaded: Loaded[Experiment],
    room: SoundRoom,
    ready: Callable[[Serving], None],
    stopped: Callable[[], bool] | None,
    clock: Clock,
) -> None:
    values: dict[str, Any] = loaded.value.model_dump(mode="json", by_alias=True)
    card = {"device": NAME, "host_api": JACK}
    values["rig"]["audio"] |= {**card, "driver": "audio"}
    values["rig"]["fidelity"] = "instruments"
    try:
        with blas_threads(1), Guard() as guard, JackRoom(room) as serving:
            ready(Serving({"audio": card}, HEADER + dump_yaml(values)))
            while not guard.interrupted and not (stopped is not None and stopped()):
                serving.check()
                clock.sleep(POLL_S)
    except Interrupted:
        pass  # as it is meant to end


def _listed(kinds: Mapping[str, str]) -> str:
    if "device" in kinds:
        return f"{kinds['device']} ({kinds['host_api']})"
    own = next(iter(kinds.values()))
    return own if own == kinds["visa"] else f"{own} (VISA: {kinds['visa']})"


def _driver_name(loaded: Loaded[Experiment], name: str) -> str:
    return str(getattr(loaded.value.rig, name).driver)


def _outlet(
    loaded: Loaded[Experiment],
    name: str,
    emulator: Emulator,
    clock: Clock,
    host: str,
    port: int | None,
    asked: Transport | None,
    link: Path,
) -> Outlet:
    driver = resolve("drivers", _driver_name(loaded, name))
    possible: tuple[Transport, ...] = ("socket",)
    if driver.serial:
        possible = ("pty", "socket") if sys.platform == "linux" else ("socket",)
    elif issubclass(driver, ScpiInstrument):
        possible = ("socket", "hislip", "vxi11")
    if asked is not None and asked not in possible:
        raise InputError(
            f"--transport {name}={asked}: the emulator of {_driver_name(loaded, name)} cannot be served so; "
            f"it can be by: {', '.join(possible)}"
        )
    if asked == "pty" and port is not None:
        raise InputError(
            f"--port {name}={port}: a pseudo-terminal has no port; leave it out, or --transport {name}=pty"
        )
    if asked in ("hislip", "vxi11") and ":" in host:
        raise InputError(f"--host {host}: VISA resources of {asked} have no IPv6 addresses; give one of IPv4")
    kind = asked or (possible[0] if port is None else "socket")
    if kind == "pty":
        return PtyOutlet(name, emulator, clock, link)
    if kind == "socket":
        return TcpOutlet(name, emulator, clock, host=host, port=port or 0, scheme="socket" if driver.serial else "tcp")
    return (HislipOutlet if kind == "hislip" else Vxi11Outlet)(name, emulator, clock, host=host, port=port or 0)


def _serving(loaded: Loaded[Experiment], outlets: list[Outlet]) -> Serving:
    values: dict[str, Any] = loaded.value.model_dump(mode="json", by_alias=True)
    addresses = {}
    for outlet in outlets:
        addresses[outlet.name] = {outlet.kind: outlet.address, "visa": outlet.visa}
        values["rig"][outlet.name]["address"] = outlet.address
    if "fidelity" in values["rig"]:
        values["rig"]["fidelity"] = "instruments"
    return Serving(addresses, HEADER + dump_yaml(values))

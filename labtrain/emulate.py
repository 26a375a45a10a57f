"""The emulators of a configuration's rig, served to other programs: ``labtrain emulate CONFIG``.

Instruments that speak bytes listen on TCP or a pseudo-terminal; an emulated converter becomes a sound card, as a client
of a JACK server.

All of them stand in front of one world, so that what one instrument does is seen by the others: a pattern written to
the metasurface's serial port changes what the network analyser's socket reads.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labtrain.clock import Clock, RealClock
from labtrain.config import Loaded
from labtrain.drivers.emulators.emulator import Emulator
from labtrain.drivers.emulators.faults import Fault, Faulty, parse_fault
from labtrain.drivers.emulators.serving.jack import NAME, JackRoom
from labtrain.drivers.emulators.serving.outlet import Outlet
from labtrain.drivers.emulators.serving.pty import PtyOutlet
from labtrain.drivers.emulators.serving.server import POLL_S, Server
from labtrain.drivers.emulators.serving.tcp import TcpOutlet
from labtrain.drivers.emulators.sound import SoundFault, SoundRoom, parse_sound_fault
from labtrain.errors import InputError, Interrupted
from labtrain.experiment import Experiment
from labtrain.jobs import open_rig
from labtrain.limits import did_you_mean
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
        Instrument -> kind -> address: ``socket`` or ``pty`` for labtrain, ``visa`` for clients of VISA; ``device`` and
        ``host_api`` of a sound card.
    config : str
        YAML, all effective values of the configuration with these addresses.
    """

    addresses: dict[str, dict[str, str]]
    config: str

    def listing(self) -> list[str]:
        """A line an address: ``vna: tcp://127.0.0.1:5025 (VISA: TCPIP::127.0.0.1::5025::SOCKET)``."""
        return [
            f"{name}: {kinds['device']} ({kinds['host_api']})"
            if "device" in kinds
            else f"{name}: {kinds.get('pty') or kinds['socket']} (VISA: {kinds['visa']})"
            for name, kinds in self.addresses.items()
        ]

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
    faults: Sequence[tuple[str, Fault | SoundFault]] = (),
    stopped: Callable[[], bool] | None = None,
    clock: Clock | None = None,
) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Serial instruments are served on a pseudo-terminal where there are any (Linux) unless `ports` names them, else on
    TCP; all others on TCP.

    Parameters
    ----------
    loaded : Loaded[Experiment]
    ready : callable
        Called once, as soon as all listen.
    host : str
        Address to listen on.
    ports : mapping of instrument to int, optional
        TCP ports; otherwise any that are free.
    faults : sequence of (instrument, Fault)
        As :func:`parse_faults` gives them.
    stopped : callable, optional
        Asked several times a second whether to end.

    Raises
    ------
    InputError
        If the rig has no instruments, an option names one that it does not have, or a port cannot be had.
    InstrumentError
        If a sound card is wanted and no JACK server runs, or it ends.
    """
    clock, ports = clock or RealClock(), ports or {}
    rig = open_rig(loaded.value, clock)
    world = rig.build_world()
    if (room := rig.sound_room(world)) is not None:
        _check_names([*ports, *(name for name, _ in faults)], {"audio": room}, "--port or --fault")
        if ports:
            raise InputError("--port audio: a sound card has no port; name one that speaks bytes, or leave it out")
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
    for option, names in (("--port", ports), ("--fault", [name for name, _ in faults])):
        _check_names(names, emulators, option)
    for name in {name for name, _ in faults}:
        emulators[name] = Faulty(
            emulators[name], [fault for of, fault in faults if of == name and isinstance(fault, Fault)], name
        )
    with tempfile.TemporaryDirectory(prefix="labtrain-", ignore_cleanup_errors=True) as folder:
        outlets = [
            _outlet(loaded, name, emulator, clock, host, ports.get(name), Path(folder) / name)
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


def parse_faults(loaded: Loaded[Experiment], options: Sequence[str]) -> list[tuple[str, Fault | SoundFault]]:
    """``--fault`` options: ``vna: late 2.5 s at 7``, and of a converter ``audio: dropout 40 frames at 2.5 s of 3``.

    Raises
    ------
    InputError
    """
    found: list[tuple[str, Fault | SoundFault]] = []
    for option in options:
        name, _, rest = option.partition(":")
        if name.strip() == "audio" and (rate_hz := getattr(loaded.value.rig, "rate_hz", None)) is not None:
            found.append(("audio", parse_sound_fault(rest, rate_hz)))
        else:
            found.append(parse_fault(option))
    return found


def parse_ports(options: Sequence[str]) -> dict[str, int]:
    """``vna=5025`` options to ports by instrument.

    Raises
    ------
    InputError
    """
    ports = {}
    for option in options:
        name, _, number = option.partition("=")
        if not number.isdecimal() or not 0 < int(number) < 1 << 16:
            raise InputError(f"--port {option}: needs the form vna=5025, with a port from 1 to 65535")
        ports[name] = int(number)
    return ports


def _check_names(names: Iterable[str], emulators: Mapping[str, object], option: str) -> None:
    for name in names:
        if name not in emulators:
            raise InputError(
                f"{option} {name}: there is no such instrument{did_you_mean(name, emulators)}; "
                f"there are: {', '.join(emulators)}"
            )


def _outlet(
    loaded: Loaded[Experiment], name: str, emulator: Emulator, clock: Clock, host: str, port: int | None, link: Path
) -> Outlet:
    serial = resolve("drivers", getattr(loaded.value.rig, name).driver).serial
    if serial and port is None and sys.platform == "linux":
        return PtyOutlet(name, emulator, clock, link)
    return TcpOutlet(name, emulator, clock, host=host, port=port or 0, scheme="socket" if serial else "tcp")


def _serving(loaded: Loaded[Experiment], outlets: list[Outlet]) -> Serving:
    values: dict[str, Any] = loaded.value.model_dump(mode="json", by_alias=True)
    addresses = {}
    for outlet in outlets:
        kind = "socket" if isinstance(outlet, TcpOutlet) else "pty"
        addresses[outlet.name] = {kind: outlet.address, "visa": outlet.visa}
        values["rig"][outlet.name]["address"] = outlet.address
    if "fidelity" in values["rig"]:
        values["rig"]["fidelity"] = "instruments"
    return Serving(addresses, HEADER + dump_yaml(values))

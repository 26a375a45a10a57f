"""``labtrain discover``: who is connected, which driver fits each, and how that is written in a configuration.

VISA resources, and addresses that the user gives, are asked ``*IDN?``, after the device clear that VISA resources are
opened with. A serial port is asked only if the user wants that: opening it resets some boards, and to a device without
``*IDN?`` those bytes may mean anything. Nothing is set, and nothing radiates. An instrument that another labtrain
process has is left alone. No device is chosen: the lines to copy are for a person to copy.
"""

from __future__ import annotations

import queue
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from labtrain import devices, registry, riglock
from labtrain.clock import Clock, RealClock
from labtrain.devices import Found
from labtrain.drivers.address import make_link, parse_address
from labtrain.drivers.fitting import drivers_for
from labtrain.drivers.instrument import Instrument
from labtrain.drivers.link import Link
from labtrain.errors import InputError, LabtrainError, LinkDesync, LinkTimeout
from labtrain.riglock import InstrumentLock

T = TypeVar("T")
Tell = Callable[[str, int, int], object]

LIST_S = 15.0  # longest wait for a library that lists what there is
MARGIN_S = 2.0  # beyond the timeouts of everything that is said to one address
TURN_S = 0.1  # after which progress is told again

# Where instruments listen for lines of text: a host that is named without a port is tried at each, and through VISA.
PORTS = {5025: "most SCPI instruments", 5001: "Copper Mountain", 5555: "Rigol", 19542: "LibreVNA"}
VISA_FORMS = ("TCPIP::{}::hislip0::INSTR", "TCPIP::{}::INSTR")

_HOST = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9A-Fa-f:]+\])(?::(\d{1,5}))?")
_IDENTITY = re.compile(r"[^\\,]+,[^\\]*")  # manufacturer and model at least, and no byte that is no text
_WHO = "it"  # in errors, taken off again: the address stands beside them
_WHERE = "the address"


@dataclass(frozen=True)
class Asking:
    """What to ask, and how.

    Parameters
    ----------
    visa : str
        VISA library: ``@py``, ``@ivi`` or the path of one.
    hosts : sequence of str
        Addresses of any form, or hosts with or without a port.
    serial : bool
        Ask serial ports too.
    trying : sequence of str
        Drivers that may ask serial ports in their own way.
    baud : int
        For ``*IDN?`` on serial ports.
    timeout_s : float
        For each address: to open it, and then to answer.
    """

    visa: str = "@py"
    hosts: Sequence[str] = ()
    serial: bool = False
    trying: Sequence[str] = ()
    baud: int = 115_200
    timeout_s: float = 2.0


def discover(asking: Asking, tell: Tell = lambda *_: None) -> tuple[list[Found], list[str]]:
    """Devices that are there, in a fixed order, and remarks on what could not be looked at.

    Parameters
    ----------
    asking : Asking
    tell : callable (what, done, of), optional
        Hears several times a second how far it is.

    Raises
    ------
    InputError
        If a host is no address, or a driver is unknown or for no serial port.
    """
    named = {address: host for host in asking.hosts for address in addresses_of(host)}
    tried = [_serial_driver(name) for name in asking.trying]
    found, remarks = _listed(asking, tell)
    here = {_canonical(device): device.address for device in found if device.kind in ("VISA", "serial")}
    users = list(dict.fromkeys(here.get(parse_address(address, _WHERE).canonical, address) for address in named))
    found += [Found("network", address) for address in users if address not in here.values()]
    jobs = {str(i): partial(ask, f, asking, tried, f.address in users) for i, f in enumerate(found)}
    deadline_s = (len(tried) + len(devices.instrument_drivers()) + 1) * 2 * asking.timeout_s + MARGIN_S
    answers = together(jobs, deadline_s, partial(tell, "asking"))
    for i, device in enumerate(found):
        answer = answers[str(i)]
        found[i] = answer if isinstance(answer, Found) else replace(device, note=str(answer))
    return _without_closed_ports(found, named), remarks


def _listed(asking: Asking, tell: Tell) -> tuple[list[Found], list[str]]:
    """All devices that are listed, serial ports once; and why others may be missing."""
    listings: dict[str, Callable[[], list[Found]]] = {
        "VISA": partial(devices.visa_resources, asking.visa),
        "serial": devices.serial_ports,
        "sound": devices.sound_devices,
        "NI": devices.ni_devices,
    }
    lists = together(listings, LIST_S, partial(tell, "looking"))
    library = {"@py": "pyvisa-py", "@ivi": "the system's VISA library"}.get(asking.visa, asking.visa)
    listing = {"VISA": library, "serial": "the operating system", "sound": "PortAudio", "NI": "NI-DAQmx"}
    remarks = [
        _unlisted(kind, listing[kind], answer) for kind, answer in lists.items() if isinstance(answer, BaseException)
    ]
    found = [device for answer in lists.values() if not isinstance(answer, BaseException) for device in answer]
    ports = {_canonical(device) for device in found if device.kind == "serial"}
    return [f for f in found if f.kind != "VISA" or _canonical(f) not in ports], remarks


def _unlisted(kind: str, by: str, error: BaseException) -> str:
    if isinstance(error, LabtrainError):
        return str(error)
    why = f"{by} did not answer within {LIST_S:g} s" if isinstance(error, Late) else repr(error)
    return f"{kind} devices are not listed: {why}"


def _canonical(device: Found) -> str:
    return parse_address(device.address, _WHERE).canonical


def _without_closed_ports(found: list[Found], named: Mapping[str, str]) -> list[Found]:
    """Of a host that was tried in several ways, those who answered; one entry if nobody did."""
    kept = []
    for device in found:
        host = named.get(device.address)
        ways = [address for address in named if named[address] == host]
        if device.kind != "network" or device.answered or len(ways) < 2:
            kept.append(device)
        elif device.address == ways[0] and not any(f.answered for f in found if f.address in ways):
            kept.append(Found("network", str(host), note=f"nobody answers at {', '.join(ways)}"))
    return kept


def addresses_of(host: str) -> list[str]:
    """The address itself, or where a host might be asked.

    Raises
    ------
    InputError
        If it is neither.
    """
    host = host.strip()
    match = _HOST.fullmatch(host)
    try:
        found = parse_address(host, "--host")
    except InputError:
        if match is None:
            raise
    else:
        if found.real:
            return [host]
        raise InputError(
            "--host sim: that emulator is in no other process; labtrain emulate starts one that can be asked"
        )
    name, port = match.groups()
    if port is not None:
        parse_address(f"tcp://{name}:{port}", "--host")
        return [f"tcp://{name}:{port}"]
    return [*(f"tcp://{name}:{number}" for number in PORTS), *(form.format(name) for form in VISA_FORMS)]


# -- asking ------------------------------------------------------------------------------------------------------


def ask(
    device: Found,
    asking: Asking,
    tried: Sequence[type[Instrument]] = (),
    named: bool = False,
    clock: Clock | None = None,
) -> Found:
    """The same device with what it says of itself, or with a note why that is not known.

    Parameters
    ----------
    device : Found
    asking : Asking
    tried : sequence of drivers
        That may ask a serial port in their own way.
    named : bool
        Whether the user gave its address, which allows to ask a serial port.
    clock : Clock, optional
    """
    clock = clock or RealClock()
    if device.kind in ("sound", "NI"):
        return replace(device, note=_in_use(device.address, clock))
    address = parse_address(device.address, _WHERE)
    lock = InstrumentLock(_WHO, device.address, clock, canonical=address.canonical)
    if lock.held():
        holder = lock.holder()
        return replace(device, note=f"in use by {holder.told(clock.now()) if holder else 'another process'}; not asked")
    serial = address.transport == "serial" or address.text.startswith("ASRL")
    wanted = asking.serial or named
    if serial and not (wanted or tried):
        return replace(device, note="not asked; --ask-serial does, which may reset or move what is connected")
    known = devices.instrument_drivers()
    by_usb = [known[name] for name in device.drivers if wanted and name in known]
    candidates = dict.fromkeys([*tried, *by_usb] if serial else ())
    try:
        with lock:
            for driver in candidates:
                if identity := identity_by(driver, device.address, asking, clock):
                    name = str(driver.Config.model_fields["driver"].default)
                    return replace(device, told=_joined(device.told, identity), drivers=(name,), answered=True)
            if serial and not wanted:
                return replace(device, note=f"no answer to {' or '.join(asking.trying)}; --ask-serial asks *IDN? too")
            identity = identify(device.address, asking, clock)
    except LabtrainError as error:
        unheard = serial and isinstance(error, LinkTimeout | LinkDesync)
        note = re.sub(rf"^{_WHO} \(.*?\): ", "", str(error))
        return replace(device, note=_joined(note, _next_step(asking) if unheard else ""))
    fitting = tuple(drivers_for(identity)) or device.drivers
    strange = serial and not fitting and not _IDENTITY.fullmatch(identity)
    note = _joined("no answer to *IDN?", _next_step(asking)) if strange else ""
    return replace(device, told=_joined(device.told, identity), drivers=fitting, note=note, answered=True)


def _next_step(asking: Asking) -> str:
    return (
        f"--baud N asks at another speed than {asking.baud}, --try DRIVER lets a driver ask in its own way (labtrain "
        "drivers lists them)"
    )


def identify(address: str, asking: Asking, clock: Clock) -> str:
    """The answer to ``*IDN?``; nothing else is said.

    Raises
    ------
    LabtrainError
    """
    link = make_link(
        _WHO, address, clock, visa=asking.visa, baud=asking.baud, timeout_s=asking.timeout_s,
        open_timeout_s=asking.timeout_s, where=_WHERE,
    )  # fmt: skip
    with link:
        return _asked(link)


def _asked(link: Link) -> str:
    with link.exchange():
        link.write(b"*IDN?\n")
        try:
            answer = link.read_until(b"\n")
        except LinkTimeout:
            answer = link.drain()  # a message that ends without a line feed
            if not answer.strip():
                raise
    return answer.decode("ascii", "backslashreplace").strip()


def identity_by(driver: type[Instrument], address: str, asking: Asking, clock: Clock) -> str:
    """Who answers, if that is an instrument of this driver; else nothing."""
    keys = {"address": address, "visa": asking.visa}
    times = {"timeout_s": asking.timeout_s, "open_timeout_s": asking.timeout_s}
    instrument = driver.make(_WHO, driver.Config.model_validate(keys | times), clock)
    try:
        instrument.reach()
    except LabtrainError:
        return ""
    finally:
        instrument.drop()
    return instrument.identity


def _in_use(name: str, clock: Clock) -> str:
    """Who has a device that is known by its name, or by part of it."""
    for address, holder in riglock.in_use():
        if address and address.casefold() in name.casefold():
            return f"in use by {holder.told(clock.now()) if holder else 'another process'}"
    return ""


def _serial_driver(name: str) -> type[Instrument]:
    driver = registry.resolve("drivers", name)
    if isinstance(driver, type) and issubclass(driver, Instrument) and driver.serial:
        return driver
    ports = ", ".join(known for known, cls in devices.instrument_drivers().items() if cls.serial)
    raise InputError(f"--try {name}: that driver is for no serial port; those that are: {ports}")


def _joined(*parts: str) -> str:
    return "; ".join(filter(None, parts))


class Late(TimeoutError):
    """A job was given up: it hangs, or takes too long."""


def together(
    jobs: Mapping[str, Callable[[], T]], deadline_s: float, tell: Callable[[int, int], object]
) -> dict[str, T | BaseException]:
    """Do all jobs at once, each in a thread of its own: what it returned or raised, Late for one that hangs."""
    ended: queue.SimpleQueue[tuple[str, T | BaseException]] = queue.SimpleQueue()

    def work(name: str) -> None:
        try:
            ended.put((name, jobs[name]()))
        except BaseException as error:
            ended.put((name, error))

    for name in jobs:
        threading.Thread(target=work, args=(name,), name="labtrain discover", daemon=True).start()
    clock, results = RealClock(), dict[str, T | BaseException]()
    until = clock.monotonic() + deadline_s
    while len(results) < len(jobs) and clock.monotonic() < until:
        tell(len(results), len(jobs))
        try:
            name, result = ended.get(timeout=min(TURN_S, deadline_s))
        except queue.Empty:
            continue
        results[name] = result
    late = Late(f"not done within {deadline_s:g} s")
    return {name: results.get(name, late) for name in jobs}

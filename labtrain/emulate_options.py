"""Options of ``labtrain emulate``: which driver, transport, port and faults each instrument has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

from labtrain import experiment
from labtrain.config import Loaded
from labtrain.drivers.device import DeviceConfig
from labtrain.drivers.emulators.faults import Fault, parse_fault
from labtrain.drivers.emulators.sound import SoundFault, parse_sound_fault
from labtrain.drivers.instrument import InstrumentConfig
from labtrain.errors import ConfigError, InputError
from labtrain.experiment import Experiment
from labtrain.limits import did_you_mean
from labtrain.registry import emulator_of, resolve
from labtrain.registry import names as registered_names

Transport = Literal["socket", "hislip", "vxi11", "pty"]


def load(config: str | Path, overrides: Sequence[str] = (), dialects: Sequence[str] = ()) -> Loaded[Experiment]:
    """A configuration with other drivers, and so other emulators: ``--dialect vna=keysight-ena``.

    Parameters
    ----------
    config : str or Path
    overrides : sequence of str
        ``section.key=value``
    dialects : sequence of str
        ``instrument=driver``

    Raises
    ------
    ConfigError
        Also if the configuration has keys that the other driver does not know.
    InputError
        If the rig has no such instrument, or there is no emulator for a driver.
    """
    loaded = experiment.load(config, overrides)
    instead = {}
    for option in dialects:
        name, driver = _dialect(loaded, option)
        instead[f"--set rig.{name}.driver={driver}"] = f"--dialect {option}"
    if not instead:
        return loaded
    try:
        return experiment.load(config, [*overrides, *(option.removeprefix("--set ") for option in instead)])
    except ConfigError as error:
        told = str(error)
        for option, written in instead.items():
            told = told.replace(option, written)
        raise ConfigError(told) from None


def _dialect(loaded: Loaded[Experiment], option: str) -> tuple[str, str]:
    """Instrument and driver of ``vna=keysight-ena``, whose emulator can take the place of the present one."""
    name, equals, driver = option.partition("=")
    if not (equals and name and driver):
        raise InputError(f"--dialect {option}: needs the form vna=keysight-pna, the name of a driver")
    rig = loaded.value.rig
    sections = {key: getattr(rig, key) for key in type(rig).model_fields}
    drivers = {key: str(getattr(s, "driver", "")) for key, s in sections.items() if isinstance(s, DeviceConfig)}
    if not drivers:
        raise InputError(f"--dialect {option}: the rig of {loaded.source} has no instruments with a driver to replace")
    check_names([name], drivers, "--dialect")
    kind, known = _kind(drivers[name]), registered_names("drivers")
    fit = [other for other in known if kind & _kind(other) and _served(other)]
    if driver not in fit:
        wrong = f"there is no emulator for {driver}"
        if driver not in known:
            wrong = f"there is no driver {driver!r}{did_you_mean(driver, known)}"
        elif not kind & _kind(driver):
            wrong = f"{driver} is for another kind of instrument than {drivers[name]}"
        elif resolve("drivers", driver).EMULATOR:
            wrong = f"what stands in for the library of {driver} cannot be served to other programs"
        raise InputError(f"--dialect {option}: {wrong}; there are: {', '.join(fit)}")
    return name, driver


def _served(driver: str) -> bool:
    """Whether the emulator of a driver speaks bytes, which can be served."""
    return hasattr(emulator_of(resolve("drivers", driver)), "receive")


def _kind(driver: str) -> set[type]:
    """What the settings of a driver share with those of others for the same kind of instrument."""
    try:
        return {*resolve("drivers", driver).Config.__mro__} - {*InstrumentConfig.__mro__}
    except InputError:  # a package of somebody else that cannot be imported
        return set()


def parse_transports(options: Sequence[str]) -> dict[str, Transport]:
    """``vna=hislip`` options to transports by instrument.

    Raises
    ------
    InputError
    """
    transports: dict[str, Transport] = {}
    for option in options:
        name, _, kind = option.partition("=")
        known = get_args(Transport)
        if kind not in known:
            raise InputError(
                f"--transport {option}: needs the form vna=hislip{did_you_mean(kind, known)}; there are: "
                f"{', '.join(known)}"
            )
        transports[name] = kind  # type: ignore[assignment]
    return transports


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


def check_options(
    emulators: Mapping[str, object],
    ports: Mapping[str, int],
    transports: Mapping[str, Transport],
    faults: Sequence[tuple[str, object]],
) -> None:
    """Raise InputError if an option names an instrument that there is not."""
    check_names(ports, emulators, "--port")
    check_names(transports, emulators, "--transport")
    check_names([name for name, _ in faults], emulators, "--fault")


def check_names(names: Iterable[str], emulators: Mapping[str, object], option: str) -> None:
    """Raise InputError if `option` names an instrument that there is not."""
    for name in names:
        if name not in emulators:
            raise InputError(
                f"{option} {name}: there is no such instrument{did_you_mean(name, emulators)}; "
                f"there are: {', '.join(emulators)}"
            )

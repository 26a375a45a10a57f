"""Rigs, drivers, methods and data sets by name.

Built-in names map to ``"module:attribute"`` and are imported only when used; other packages add theirs with
entry points in the groups ``labtrain.rigs``, ``labtrain.drivers``, ``labtrain.methods`` and ``labtrain.datasets``.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from labtrain.errors import InputError
from labtrain.limits import did_you_mean

BUILT_IN: dict[str, dict[str, str]] = {
    "rigs": {
        "acoustic": "labtrain.rigs.acoustic:AcousticRig",
        "microwave": "labtrain.rigs.microwave:MicrowaveRig",
        "optical": "labtrain.rigs.optical:OpticalRig",
        "recorded": "labtrain.rigs.recorded:RecordedRig",
    },
    "drivers": {
        "arduino-shift-register": "labtrain.drivers.metasurface.arduino_shift_register:ArduinoShiftRegister",
        "audio": "labtrain.drivers.audio:AudioInterface",
        "copper-mountain": "labtrain.drivers.vna.copper_mountain:CopperMountain",
        "keysight-e5080": "labtrain.drivers.vna.keysight_e5080:KeysightE5080",
        "keysight-ena": "labtrain.drivers.vna.keysight_ena:KeysightEna",
        "keysight-pna": "labtrain.drivers.vna.keysight_pna:KeysightPna",
        "latched-board": "labtrain.drivers.metasurface.latched_board:LatchedBoard",
        "librevna": "labtrain.drivers.vna.libre_vna:LibreVna",
        "nanovna": "labtrain.drivers.vna.nano_vna:NanoVna",
        "nanovna-v2": "labtrain.drivers.vna.nano_vna_v2:NanoVnaV2",
        "nidaqmx": "labtrain.drivers.daq:NiDaq",
        "open-source-ris": "labtrain.drivers.metasurface.open_source_ris:OpenSourceRis",
        "openris": "labtrain.drivers.metasurface.openris:OpenRis",
        "python-switch": "labtrain.drivers.illumination:PythonSwitch",
        "rohde-schwarz": "labtrain.drivers.vna.rohde_schwarz:RohdeSchwarz",
        "scpi-power-meter": "labtrain.drivers.sensors.scpi_power_meter:ScpiPowerMeter",
        "scpi-sensor": "labtrain.drivers.sensors.scpi_sensor:ScpiSensor",
        "siglent-sna": "labtrain.drivers.vna.siglent_sna:SiglentSna",
        "slmsuite-camera": "labtrain.drivers.optics:SlmsuiteCamera",
        "slmsuite-slm": "labtrain.drivers.optics:SlmsuiteSlm",
        "teensy-codebook": "labtrain.drivers.metasurface.teensy_codebook:TeensyCodebook",
        "vendor-example": "labtrain.drivers.metasurface.vendor_example:VendorExample",
    },
    "methods": {
        "augmented-dfa": "labtrain.methods.direct_feedback:DirectFeedback",
        "backpropagation": "labtrain.methods.backpropagation:Backpropagation",
        "coordinate-descent": "labtrain.methods.coordinate_descent:CoordinateDescent",
        "forward-forward": "labtrain.methods.forward_forward:ForwardForward",
        "in-silico": "labtrain.methods.in_silico:InSilico",
        "mono-forward": "labtrain.methods.mono_forward:MonoForward",
        "multiplexed-gradient-descent": "labtrain.methods.mgd:MGD",
        "phyll": "labtrain.methods.phyll:PhyLL",
        "phyll-unsupervised": "labtrain.methods.phyll_unsupervised:UnsupervisedPhyLL",
        "physical-spsa": "labtrain.methods.physical_spsa:PhysicalSPSA",
        "physics-aware-training": "labtrain.methods.physics_aware:PhysicsAware",
        "ridge": "labtrain.methods.ridge:Ridge",
        "spsa": "labtrain.methods.spsa:SPSA",
    },
    "datasets": {
        "csv": "labtrain.datasets:CsvTable",
        "digits": "labtrain.datasets:Digits",
        "idx": "labtrain.datasets:Idx",
        "image-folder": "labtrain.datasets:ImageFolder",
        "mnist-subset": "labtrain.datasets:MnistSubset",
        "npz": "labtrain.datasets:Npz",
        "parity": "labtrain.datasets:Parity",
        "peterson-barney": "labtrain.datasets:PetersonBarney",
        "vowels": "labtrain.datasets:Vowels",
        "xor-tones": "labtrain.datasets:XorTones",
    },
}


def _plugins(kind: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=f"labtrain.{kind}")}


def names(kind: str) -> list[str]:
    """Sorted names registered under `kind` (``rigs``, ``drivers``, ``methods`` or ``datasets``)."""
    return sorted({*BUILT_IN[kind], *_plugins(kind)})


def resolve(kind: str, name: str) -> Any:
    """Import and return what is registered as `name`.

    Raises
    ------
    InputError
        If nothing is registered under that name, or a plugin cannot be imported.
    """
    if name in BUILT_IN[kind]:
        return _imported(BUILT_IN[kind][name])
    plugin = _plugins(kind).get(name)
    if plugin is None:
        known = names(kind)
        raise InputError(
            f"unknown {kind.removesuffix('s')} {name!r}{did_you_mean(name, known)}; known: {', '.join(known) or 'none'}"
        )
    try:
        return plugin.load()
    except Exception as error:  # a foreign package may raise anything at import
        raise InputError(f"{kind.removesuffix('s')} {name!r} ({plugin.value}) cannot be imported: {error}") from error


def origin(kind: str, name: str) -> str:
    """The package that provides it, with its version: ``labtrain 1.2``; empty for one that does not tell."""
    if name in BUILT_IN[kind]:
        from labtrain import __version__

        return f"labtrain {__version__}"
    plugin = _plugins(kind).get(name)
    package = None if plugin is None else plugin.dist
    return "" if package is None else f"{package.name} {package.version}"


def emulator_of(driver: Any) -> Any | None:
    """The class that stands in for a driver's instrument at ``sim``, or None: what the driver's ``EMULATOR`` names.

    Made as ``emulator(port, clock, timing=...)``, where the port is a simulated world as that kind of instrument
    meets it.
    """
    return _imported(driver.EMULATOR) if driver.EMULATOR else None


def _imported(name: str) -> Any:
    """What ``module:attribute`` names."""
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)

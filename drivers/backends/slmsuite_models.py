"""Classes of modulators and cameras: slmsuite's own by short names, any other one as ``module:Class``; their arguments.

slmsuite (MIT licence) is imported when a device is looked at, and not before.
"""

from __future__ import annotations

import inspect
import json
import logging
import sys
import warnings
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, Literal

from labtrain.errors import InputError, MissingExtra
from labtrain.limits import did_you_mean

Kind = Literal["slm", "camera"]

_SLMS, _CAMERAS = "slmsuite.hardware.slms", "slmsuite.hardware.cameras"

KNOWN: dict[Kind, dict[str, str]] = {
    "slm": {
        "hamamatsu": f"{_SLMS}.hamamatsu:Hamamatsu",
        "holoeye": f"{_SLMS}.holoeye:Holoeye",
        "meadowlark": f"{_SLMS}.meadowlark:Meadowlark",
        "remote": f"{_SLMS}.remote:RemoteSLM",
        "santec": f"{_SLMS}.santec:Santec",
        "screen": f"{_SLMS}.screenmirrored:ScreenMirrored",
    },
    "camera": {
        "alliedvision": f"{_CAMERAS}.alliedvision:AlliedVision",
        "basler": f"{_CAMERAS}.basler:Basler",
        "flir": f"{_CAMERAS}.flir:FLIR",
        "imagingsource": f"{_CAMERAS}.imagingsource:ImagingSource",
        "instrumental": f"{_CAMERAS}.instrumental:Instrumental",
        "mindvision": f"{_CAMERAS}.mindvision:MindVision",
        "mmcore": f"{_CAMERAS}.mmcore:MMCore",
        "pylablib": f"{_CAMERAS}.pylablib:PyLabLib",
        "remote": f"{_CAMERAS}.remote:RemoteCamera",
        "thorlabs": f"{_CAMERAS}.thorlabs:ThorCam",
        "webcam": f"{_CAMERAS}.webcam:Webcam",
        "xenics": f"{_CAMERAS}.xenics:Cheetah640",
    },
}
"""Short names of slmsuite's own classes."""

OURS: dict[Kind, dict[str, str]] = {
    "slm": {"settle_time_s": "the rig waits (rig.settle_s)"},
    "camera": {
        "averaging": "frames are averaged by the rig (rig.camera.frames)",
        "hdr": "one exposure makes a reading",
        "capture_attempts": "readings are repeated by the rig, and told (rig.recovery)",
    },
}
"""Arguments that are not the user's, and why."""

# What tells one device from another of its kind; a display or a number, where there is no serial number. A name does
# so on a server alone: elsewhere it is what somebody calls it.
_WHICH = (
    "serial", "serial_number", "preselect", "slm_number", "display_number", "identifier", "cam", "config", "host",
    "port",
)  # fmt: skip

# The same, of those who do not say.
_WHICH_DEFAULT: dict[str, dict[str, Any]] = {
    "meadowlark": {"slm_number": 1},
    "remote": {"host": "localhost", "port": 5025},
    "santec": {"slm_number": 1, "display_number": 2},
    "webcam": {"identifier": 0},
}

_BASES: dict[Kind, tuple[str, str]] = {"slm": (f"{_SLMS}.slm", "SLM"), "camera": (f"{_CAMERAS}.camera", "Camera")}
_SIMULATED = {"slmsuite.hardware.slms.simulated", "slmsuite.hardware.cameras.simulated"}


def refuse_unknown(kind: Kind, model: str) -> None:
    """Refuse what is neither a short name nor ``module:Class``.

    Raises
    ------
    ValueError
    """
    module, colon, name = model.partition(":")
    if model in KNOWN[kind] or (colon and name.isidentifier() and all(map(str.isidentifier, module.split(".")))):
        return
    known = ["sim", *KNOWN[kind]]
    raise ValueError(
        f"model {model!r} is not known{did_you_mean(model.lower(), known)}; known: {', '.join(known)}, or any class "
        "as module:Class"
    )


def key_of(kind: Kind, model: str, options: Mapping[str, Any]) -> str:
    """One spelling for the device, for locks: its class, and what tells it from others of that class."""
    known = KNOWN[kind]
    short = next((name for name, path in known.items() if path == model), model)
    told = _WHICH_DEFAULT.get(short, {}) | {name: value for name, value in options.items() if value not in (None, "")}
    which = {name: told[name] for name in (*_WHICH, *(["name"] if short == "remote" else [])) if name in told}
    return f"{kind}:{known.get(model, model)}{json.dumps(which, sort_keys=True, default=str)}".lower()


def find_class(kind: Kind, model: str, name: str, where: str) -> type[Any]:
    """The class that a model names.

    Parameters
    ----------
    name : str
        Of the device, for errors: ``slm (holoeye)``.
    where : str
        Key of the configuration that holds the model.

    Raises
    ------
    MissingExtra
        If slmsuite is not installed.
    InputError
        If there is no such class, or it is none of slmsuite's kind.
    """
    base = _base(kind, name)
    module, _, attribute = KNOWN[kind].get(model, model).partition(":")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of packages that other models need; opening tells what this one lacks
            found = getattr(import_module(module), attribute)
    except AttributeError:
        raise InputError(
            f"{name}: module {module} has no {attribute}{did_you_mean(attribute, dir(import_module(module)))}; correct "
            f"{where}"
        ) from None
    except Exception as error:  # a maker's package may raise anything at import
        raise InputError(
            f"{name}: {module} cannot be imported ({ending(error)}); install what it needs, or correct {where}"
        ) from None
    if not (isinstance(found, type) and issubclass(found, base)):
        raise InputError(
            f"{name}: {attribute} of {module} is not derived from slmsuite's {base.__name__}; correct {where}"
        )
    return found


def check_options(kind: Kind, cls: type[Any], options: Mapping[str, Any], name: str, where: str) -> None:
    """Compare options with the arguments of a class's constructor, and of those it hands on to.

    Raises
    ------
    InputError
        For one that it does not take, one that it cannot do without, or one that is not the user's.
    """
    accepted, required = arguments(cls)
    for option in options:
        if option in OURS[kind]:
            raise InputError(f"{name}: {where}.{option} is not set here: {OURS[kind][option]}; leave it out")
        if option not in accepted:
            known = [argument for argument in accepted if argument not in OURS[kind]]
            raise InputError(
                f"{name}: {cls.__name__} takes no {option}{did_you_mean(option, known)}; it takes {', '.join(known)}; "
                f"correct {where}.{option}"
            )
    for argument in required:
        if argument not in options:
            raise InputError(f"{name}: {cls.__name__} needs {argument}; set {where}.{argument}")


def arguments(cls: type[Any]) -> tuple[list[str], list[str]]:
    """Names of a constructor's arguments, those it hands on to its bases included, and those it needs."""
    accepted: dict[str, None] = {}
    required: list[str] = []
    for number, own in enumerate(_constructors(cls)):
        _, *parameters = inspect.signature(own).parameters.values()
        named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        # What a base needs its subclass gives; it is offered all the same if it has a default.
        accepted |= {p.name: None for p in named if number == 0 or p.default is not p.empty}
        if number == 0:
            required = [p.name for p in named if p.default is p.empty]
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return list(accepted), required


def simulated(cls: type[Any]) -> bool:
    """Whether a class is one of slmsuite's simulated ones, or derived from it."""
    return any(base.__module__ in _SIMULATED for base in cls.__mro__)


def ending(error: BaseException) -> str:
    """What an exception of others says, on one line, to stand within a sentence."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return text.rstrip(".")


def _constructors(cls: type[Any]) -> Iterator[Any]:
    for base in cls.__mro__:
        if "__init__" in vars(base) and base is not object:
            yield vars(base)["__init__"]


def _base(kind: Kind, name: str) -> type[Any]:
    module, attribute = _BASES[kind]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            slmsuite = import_module("slmsuite")
            found: type[Any] = getattr(import_module(module), attribute)
    except ImportError as error:
        if error.name == "slmsuite":
            raise MissingExtra(
                f"{name}: modulators and cameras need slmsuite, which is not installed; run: pip install "
                '"labtrain[optics]"'
            ) from None
        raise MissingExtra(  # a library of the system, of OpenCV: libGL
            f"{name}: slmsuite cannot be imported ({ending(error)}); install what it needs, or all of it again: pip "
            'install --force-reinstall "labtrain[optics]"'
        ) from None
    # By itself it tells all attributes of each device, on stdout, where results of commands belong.
    slmsuite.configure_logging(logging.WARNING, sys.stderr)
    return found

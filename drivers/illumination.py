"""Illumination, what lets light into an optical rig or keeps it out: a laser, a lamp, a shutter.

It is the one part of an optical rig that emits: off once it is opened, on with the first pattern, off for dark frames
and when the rig is made safe.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from importlib import import_module
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator

from labtrain.clock import Clock
from labtrain.drivers.address import SIM
from labtrain.drivers.device import Device, DeviceConfig
from labtrain.errors import InputError, LabtrainError, LinkClosed

Switch = Callable[[bool], object]


class IlluminationConfig(DeviceConfig):
    """Keys of every driver of an illumination."""

    timeout_s: float = Field(5.0, gt=0, le=3600, description="what making it safe may take")
    open_timeout_s: float = Field(5.0, gt=0, le=3600, description="what finding it may take, where it is made safe")
    wait_s: float = Field(0.1, ge=0, le=3600, description="after switching, until the light is steady or gone")


class Illumination(Device):
    """A light that can be switched."""

    by_hand: ClassVar[str] = "switch the laser off, or block it, by hand"

    config: IlluminationConfig

    def __init__(self, config: IlluminationConfig, clock: Clock) -> None:
        super().__init__(config, clock)
        self._on: bool | None = None  # None: nobody knows

    @property
    def on(self) -> bool:
        """Whether it was switched on since it was opened."""
        return self._on is True

    def check(self) -> None:
        """Find out what can be known to be wrong before anything is opened.

        Raises
        ------
        InputError
        """

    def switch(self, on: bool) -> None:
        """Switch it, unless it is so already, and wait until it is.

        Raises
        ------
        LinkError
            If it fails; nobody knows then what it is.
        """
        if on is self._on:
            return
        self._on = None
        self._switch(on)
        self._on = on
        self.clock.sleep(self.config.wait_s)

    @abstractmethod
    def _switch(self, on: bool) -> None:
        """Switch it on or off, or raise LinkError."""

    def safe(self) -> None:
        """Switch it off, whatever it is taken to be."""
        if self.is_open:
            self._on = None
            self.switch(False)


class PythonSwitch(Illumination):
    """A function of yours in Python, called with True for on and False for off."""

    class Config(IlluminationConfig):
        """Keys of `driver: python-switch`."""

        driver: Literal["python-switch"] = "python-switch"
        call: str = Field(
            SIM, min_length=1, description="sim, or the function as module:function; an error of it is one of the light"
        )

        @field_validator("call")
        @classmethod
        def _is_a_name(cls, value: str) -> str:
            module, colon, name = value.partition(":")
            if value != SIM and not (colon and name.isidentifier() and all(map(str.isidentifier, module.split(".")))):
                raise ValueError(f"{value!r} names no function; write module:function, or sim")
            return value

    MODELS_TOLD = "lasers, lamps and shutters, by a function of yours in Python"
    TRIED_ON = "functions of its tests"

    config: PythonSwitch.Config

    def __init__(self, who: str, config: PythonSwitch.Config, clock: Clock, simulated: Switch | None = None) -> None:
        super().__init__(config, clock)
        self._who, self._simulated = who, simulated
        self._function: Switch | None = None

    @classmethod
    def make(cls, who: str, config: Any, clock: Clock, simulated: Switch | None = None) -> Self:
        """The driver, unopened.

        Parameters
        ----------
        who : str
            Section of the configuration: ``illumination``.
        simulated : callable (bool), optional
            What is switched at ``sim``.

        Raises
        ------
        InputError
            If it is ``sim`` and nothing is simulated.
        """
        if config.call == SIM and simulated is None:
            raise InputError(f"{who} (sim): nothing is simulated here; set rig.{who}.call")
        return cls(who, config, clock, simulated)

    @property
    def name(self) -> str:
        return f"{self._who} ({self.config.call})"

    @property
    def who(self) -> str:
        return self._who

    @property
    def address(self) -> str:
        return self.config.call

    @property
    def where(self) -> str:
        return f"rig.{self._who}.call"

    @property
    def canonical(self) -> str | None:
        return None if self.config.call == SIM else f"switch:{self.config.call}"

    @property
    def is_open(self) -> bool:
        return self._function is not None

    @property
    def emulated(self) -> bool:
        """Whether it is simulated, or the function has an attribute ``emulated`` that is true."""
        return self.config.call == SIM or bool(getattr(self._function, "emulated", False))

    def check(self) -> None:
        self._found()

    def open(self) -> None:
        """Find the function, and switch it off."""
        if self._function is None:
            self._function, self._on = self._found(), None
            self.identity = "labtrain simulated light" if self.config.call == SIM else self.config.call
            self.switch(False)

    def reach(self) -> None:
        self.open()

    def close(self) -> None:
        self._function = None

    def drop(self) -> None:
        self._function = None

    def settings(self) -> dict[str, Any]:
        """How long is waited."""
        return {"wait_s": self.config.wait_s}

    def _found(self) -> Switch:
        if self.config.call == SIM:
            assert self._simulated is not None  # make() has seen to that
            return self._simulated
        module, _, name = self.config.call.partition(":")
        try:
            found = getattr(import_module(module), name)
        except Exception as error:  # a module of somebody else may raise anything
            told = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
            raise InputError(f"{self.name}: cannot be found ({told}); correct {self.where}") from None
        if not callable(found):
            raise InputError(f"{self.name}: is no function, but {found!r}; correct {self.where}")
        switch: Switch = found
        return switch

    def _switch(self, on: bool) -> None:
        if self._function is None:
            raise LinkClosed(f"{self.name}: is not open; call open() or use it in a with statement")
        try:
            self._function(on)
        except LabtrainError:
            raise
        except Exception as error:
            told = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
            raise LinkClosed(
                f"{self.name}: switching it {'on' if on else 'off'} failed, it says: {told}; check it, and {self.where}"
            ) from error

"""The command table: patterns as manuals write them, and the entry that belongs to a header as it was sent.

``SENSe#:BANDwidth|BWIDth[:RESolution]``: capital letters are the short form, ``[:KEYword]`` may be left out, ``#``
takes a number, 1 if none is given, ``A|B`` are two names of one node. Queries end in ``?``.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Concatenate, ParamSpec, TypeVar

from labtrain.drivers.emulators.scpi.status import ScpiError
from labtrain.drivers.emulators.scpi.syntax import Datum
from labtrain.drivers.emulators.scpi.values import Number, Parameter, Rest, forms

Answer = str | bytes | float | None
Method = Callable[..., Any]
P = ParamSpec("P")
S = TypeVar("S")
R = TypeVar("R")

_LARGEST_SUFFIX = 10**6
_SPLIT_PATTERN = re.compile(r"(\[)?:?([A-Za-z#|*]+)(\])?")
_SPLIT_MNEMONIC = re.compile(r"(\*?[A-Z][A-Z_]*)(\d*)")
DECLARED = "_scpi_"


@dataclass(frozen=True)
class Entry:
    """One line of the command table."""

    pattern: str
    parameters: tuple[Parameter, ...]
    needs: int
    method: Method
    indefinite: bool = False  # its answer ends only with the message, so nothing may be asked after it (-440)

    def bind(self, emulator: type) -> Entry:
        """The same in a class of emulators."""
        return replace(self, parameters=tuple(parameter.bind(emulator) for parameter in self.parameters))

    def values(self, data: tuple[Datum, ...]) -> tuple[Any, ...]:
        """The parameters that are given.

        Raises
        ------
        ScpiError
        """
        parameters = list(self.parameters)
        if parameters and isinstance(parameters[-1], Rest):
            parameters += parameters[-1:] * max(0, len(data) - len(parameters))
        if len(data) > len(parameters):
            raise ScpiError(-108)
        if len(data) < self.needs:
            raise ScpiError(-109)
        return tuple(parameter.parse(datum) for parameter, datum in zip(parameters, data, strict=False))


def command(
    pattern: str, *parameters: Parameter, needs: int | None = None
) -> Callable[[Callable[Concatenate[S, P], None]], Callable[Concatenate[S, P], None]]:
    """Declare a method as a command; `needs`: how many parameters must be given, default all."""
    return _declare(pattern, parameters, needs, indefinite=False)


def query(
    pattern: str, *parameters: Parameter, needs: int | None = None, indefinite: bool = False
) -> Callable[[Callable[Concatenate[S, P], Answer]], Callable[Concatenate[S, P], Answer]]:
    """Declare a method as a query, whose pattern ends in ``?``; it returns the answer, or None for silence."""
    return _declare(pattern, parameters, needs, indefinite=indefinite)


def _declare(
    pattern: str, parameters: tuple[Parameter, ...], needs: int | None, *, indefinite: bool
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    def note(method: Callable[P, R]) -> Callable[P, R]:
        needed = len([p for p in parameters if not isinstance(p, Rest)]) if needs is None else needs
        entries = [*getattr(method, DECLARED, ()), Entry(pattern, parameters, needed, method, indefinite)]
        setattr(method, DECLARED, entries)
        return method

    return note


@dataclass(frozen=True)
class Setting:
    """A value that a command stores and a query tells; numbers also tell their limits, asked with ``MIN`` or ``MAX``.

    Parameters
    ----------
    pattern : str
    parameter : Parameter
    owner : callable (emulator, *numbers) -> object
        What has the value as an attribute; raises ScpiError where there is no such thing.
    attribute : str
    """

    pattern: str
    parameter: Parameter
    owner: Callable[..., object]
    attribute: str

    def entries(self, emulator: type) -> tuple[Entry, Entry]:
        """The command and the query, in a class of emulators."""
        numbers, parameter = self.pattern.count("#"), self.parameter.bind(emulator)
        limits = (_Limit(parameter),) if isinstance(parameter, Number) else ()

        def store(emulator: object, *given: Any) -> None:
            setattr(self.owner(emulator, *given[:numbers]), self.attribute, given[numbers])

        def tell(emulator: object, *given: Any) -> Answer:
            value = getattr(self.owner(emulator, *given[:numbers]), self.attribute)
            return parameter.show(given[numbers] if len(given) > numbers else value)

        return Entry(self.pattern, (parameter,), 1, store), Entry(f"{self.pattern}?", limits, 0, tell)


class _Limit(Parameter):
    """``MIN``, ``MAX`` or ``DEF`` of a number, by the value they stand for."""

    def __init__(self, number: Number) -> None:
        self.words = number.words

    def parse(self, datum: Datum) -> float:
        if datum.kind != "plain" or datum.text.upper() not in self.words:
            raise ScpiError(-141)
        return self.words[datum.text.upper()]


@dataclass
class _Node:
    """A place in the tree of headers; what ends here, and which of its keywords take a number."""

    children: dict[str, _Node] = field(default_factory=dict)
    entries: dict[bool, tuple[Entry, tuple[int | None, ...]]] = field(default_factory=dict)  # by query or not


def _variants(pattern: str) -> Iterator[list[tuple[str, bool]]]:
    """All ways to write a pattern: lists of (keyword, given), in order."""
    parts = [(bool(left), keyword) for left, keyword, _ in _SPLIT_PATTERN.findall(pattern)]
    for given in itertools.product(*[(True, False) if optional else (True,) for optional, _ in parts]):
        yield [(keyword, here) for (_, keyword), here in zip(parts, given, strict=True)]


class Table:
    """The commands of an instrument, found by header."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._root = _Node()
        for entry in entries:
            for variant in _variants(entry.pattern.removesuffix("?")):
                self._add(entry, variant)

    def _add(self, entry: Entry, variant: list[tuple[str, bool]]) -> None:
        node, depth, numbered = self._root, 0, list[int | None]()
        for keyword, given in variant:
            if keyword.endswith("#"):
                numbered.append(depth if given else None)
            if given:
                depth += 1
                node = _child(node, keyword.removesuffix("#"))
        node.entries[entry.pattern.endswith("?")] = (entry, tuple(numbered))

    def find(self, header: str, *, query: bool) -> tuple[Entry, tuple[int, ...]]:
        """The entry of a header, and its numbers.

        Raises
        ------
        ScpiError
            -113 or -114.
        """
        node, suffixes = self._root, list[str]()
        for written in header.split(":"):
            match = _SPLIT_MNEMONIC.fullmatch(written)
            child = node.children.get(match.group(1)) if match else None
            if match is None or child is None:
                raise ScpiError(-113)
            node = child
            suffixes.append(match.group(2))
        entry, numbered = node.entries.get(query, (None, ()))
        if entry is None or any(suffix and at not in numbered for at, suffix in enumerate(suffixes)):
            raise ScpiError(-113)
        numbers = tuple(1 if at is None else int(suffixes[at][:7] or 1) for at in numbered)
        if not all(0 < number < _LARGEST_SUFFIX for number in numbers):
            raise ScpiError(-114)
        return entry, numbers


def _child(node: _Node, keywords: str) -> _Node:
    names = {form for keyword in keywords.split("|") for form in forms(keyword)}
    child = next((node.children[name] for name in names if name in node.children), None) or _Node()
    node.children |= dict.fromkeys(names, child)
    return child

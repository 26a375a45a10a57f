"""YAML with a memory: plain values, and for each the line of the file or the ``--set`` option it came from.

Scalars follow the YAML 1.2 core schema, not the 1.1 habits of PyYAML: ``1e-3``, ``1e3`` and ``.5e3`` are numbers,
``010`` is ten, only ``true`` and ``false`` are booleans; ``yes``, ``on``, ``1_000``, ``12:30:00`` and dates stay text.
Keys are always text. Anchors and aliases work; merge keys (``<<``) and foreign tags are refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import yaml
from yaml.reader import ReaderError

KeyPath = tuple[str, ...]

_TAG = "tag:yaml.org,2002:"
_SCALARS: dict[str, tuple[re.Pattern[str], Callable[[str], Any]]] = {
    f"{_TAG}null": (re.compile(r"^(?:~|null|Null|NULL|)$"), lambda _: None),
    f"{_TAG}bool": (re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), lambda text: text.lower() == "true"),
    f"{_TAG}int": (re.compile(r"^(?:[-+]?[0-9]+|0x[0-9a-fA-F]+)$"), lambda text: int(text, 16 if "x" in text else 10)),
    f"{_TAG}float": (
        re.compile(
            r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
            r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
        ),
        lambda text: float(text.replace(".inf", "inf").replace(".nan", "nan") if text[-1] in "fn" else text),
    ),
}


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = {}  # noqa: RUF012 - PyYAML's own attribute, emptied of the 1.1 rules


class _Dumper(yaml.SafeDumper):
    """Quotes what either version of YAML could take for something else than text."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - signature is PyYAML's
        return True


def _represent_list(dumper: _Dumper, data: list[Any]) -> yaml.Node:
    scalars = not any(isinstance(item, list | dict) for item in data)
    return dumper.represent_sequence(f"{_TAG}seq", data, flow_style=scalars)


def _represent_str(dumper: _Dumper, data: str) -> yaml.Node:
    # PyYAML folds these line separators away unless they are escaped, which only double quotes do.
    style = '"' if re.search("[\x85\u2028\u2029\ufeff]", data) else None
    return dumper.represent_scalar(f"{_TAG}str", data, style=style)


for _tag, (_pattern, _) in _SCALARS.items():
    _Loader.add_implicit_resolver(_tag, _pattern, None)
    _Dumper.add_implicit_resolver(_tag, _pattern, None)
_Dumper.add_representer(list, _represent_list)
_Dumper.add_representer(str, _represent_str)


class Origin(NamedTuple):
    """Where a value was written: sorts by line, options of the command line last."""

    order: int
    where: str
    value: str = ""


Locate = Callable[[yaml.Node], Origin]


class Written(str):
    """A ``key=value`` option that does not come from the command line, but from `where`, as errors name it."""

    __slots__ = ("where",)
    where: str

    def __new__(cls, option: str, where: str) -> Written:
        written = super().__new__(cls, option)
        written.where = where
        return written


class Problem(NamedTuple):
    """One line of a ConfigError."""

    origin: Origin
    path: KeyPath
    text: str

    def __str__(self) -> str:
        key = ".".join(self.path)
        told = not key or self.origin.where == f"--set {key}"
        return f"{self.origin.where}{self.origin.value}: {'' if told else f'{key}: '}{self.text}"


class Tree:
    """Values read from a YAML text and changed by ``--set`` options; problems are collected, never raised.

    Parameters
    ----------
    name : str
        File name shown in front of line numbers.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.data: Any = None
        self.origins: dict[KeyPath, Origin] = {}
        self.problems: list[Problem] = []

    def origin(self, path: KeyPath) -> Origin:
        """Where `path`, or else the nearest section around it, was written."""
        while path and path not in self.origins:
            path = path[:-1]
        return self.origins.get(path, Origin(0, self.name))

    def read(self, text: str) -> None:
        """Fill the tree from a YAML text."""
        try:
            node = yaml.compose(text, Loader=_Loader)
        except yaml.YAMLError as error:
            line, column, why = _explain(error, text)
            self.problems.append(Problem(Origin(line, f"{self.name}:{line}:{column}"), (), f"not valid YAML: {why}"))
            return
        if node is not None:
            self.data = self._build(node, (), self._locate(node), self._locate)

    def _locate(self, node: yaml.Node) -> Origin:
        line = node.start_mark.line + 1
        return Origin(line, f"{self.name}:{line}")

    def override(self, option: str, number: int) -> None:
        """Apply one ``key=value`` option, the `number`-th of the command line; missing sections are created."""
        key, equals, text = option.partition("=")
        key = key.strip()
        path = tuple(key.split("."))
        # Options sort behind every line of the file, in the order given.
        origin = Origin(10**9 + number, f"--set {key}", f"={text}" if equals else "")
        if isinstance(option, Written):
            origin = Origin(10**9 + number, option.where)
        if not equals or not all(path):
            self._problem(origin, path, "needs the form section.key=value, for example training.epochs=50")
            return
        try:
            node = yaml.compose(text, Loader=_Loader)
        except yaml.YAMLError as error:
            self._problem(origin, path, f"not valid YAML: {_explain(error, text)[2]}")
            return
        if node is None:  # as a shell variable that is not set leaves it
            self._problem(origin, path, "needs a value; null stands for none")
            return
        target = self.data
        for depth, part in enumerate(path):
            section = ".".join(path[:depth])
            slot: Any = part
            if isinstance(target, list):
                if not part.isdecimal() or int(part) >= len(target):
                    self._problem(origin, path, f"{section} has {len(target)} entries, numbered from 0")
                    return
                slot = int(part)
            elif not isinstance(target, dict):
                self._problem(origin, path, f"{section} is {shown(target)}, not a section")
                return
            if depth < len(path) - 1:
                child = target.get(slot) if isinstance(target, dict) else target[slot]
                if child is None:
                    child = target[slot] = {}
                    self.origins.setdefault(path[: depth + 1], origin)
                target = child
        for old in [known for known in self.origins if known[: len(path)] == path]:
            del self.origins[old]
        self.origins[path] = origin
        target[slot] = self._build(node, path, origin, lambda _: origin)

    def _problem(self, origin: Origin, path: KeyPath, text: str) -> None:
        self.problems.append(Problem(origin, path, text))

    def _build(
        self, node: yaml.Node, path: KeyPath, origin: Origin, locate: Locate, inside: tuple[yaml.Node, ...] = ()
    ) -> Any:
        """Construct `node`, noting the origin of every value; `inside` holds the nodes around it."""
        self.origins[path] = origin
        if node in inside:
            self._problem(origin, path, "an alias cannot contain itself")
            return None
        inside = (*inside, node)
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
            return {
                key: self._build(value, (*path, key), origin, locate, inside)
                for key, value, origin in self._entries(node, path, locate)
            }
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
            return [
                self._build(item, (*path, str(i)), locate(item), locate, inside) for i, item in enumerate(node.value)
            ]
        if isinstance(node, yaml.ScalarNode) and node.tag == f"{_TAG}str":
            return node.value
        pattern, convert = _SCALARS.get(node.tag, (None, str))
        if pattern is None or not isinstance(node, yaml.ScalarNode) or not pattern.match(node.value):
            self._problem(origin, path, f"the tag {node.tag.replace(_TAG, '!!')} cannot be used here; write plain YAML")
            return None
        value = convert(node.value)
        if isinstance(value, float) and not math.isfinite(value):
            self._problem(origin, path, f"{shown(value)} is not allowed, must be a finite number")
        return value

    def _entries(
        self, node: yaml.MappingNode, path: KeyPath, locate: Locate
    ) -> Iterator[tuple[str, yaml.Node, Origin]]:
        """Key, value and origin of each entry of a mapping; of duplicate keys the first."""
        first: dict[str, int] = {}
        for key, value in node.value:
            origin = locate(key)
            if not isinstance(key, yaml.ScalarNode):
                self._problem(origin, path, "a list or a mapping cannot be a key")
            elif key.value == "<<" and key.style is None:
                self._problem(origin, path, "merge keys (<<) are not supported; write the keys out")
            elif key.value in first:
                self._problem(origin, (*path, key.value), f"duplicate key, first set in line {first[key.value]}")
            else:
                first[key.value] = key.start_mark.line + 1
                yield key.value, value, origin


def _explain(error: yaml.YAMLError, text: str) -> tuple[int, int, str]:
    """Line, column (both from 1) and reason of a syntax error, in one line."""
    if isinstance(error, ReaderError):
        before = text[: error.position]
        column = error.position - (before.rfind("\n") + 1) + 1
        return before.count("\n") + 1, column, f"the character #x{ord(text[error.position]):04x} is not allowed"
    assert isinstance(error, yaml.MarkedYAMLError)  # PyYAML raises nothing else while composing
    mark = error.problem_mark or error.context_mark
    assert mark is not None
    reason = error.problem or "cannot be read"
    if "'\\t'" in reason:
        reason = "a tab; indent with spaces"
    elif error.context:
        start = error.context_mark
        reason = f"{error.context}{f' (line {start.line + 1})' if start and start.line != mark.line else ''}, {reason}"
    return mark.line + 1, mark.column + 1, reason


def shown(value: object) -> str:
    """A value as an error message names it: ``'abc'``, ``true``, ``-1``, ``a list``, ``an empty value``."""
    if value is None:
        return "an empty value"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a mapping"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def dump_yaml(data: dict[str, Any]) -> str:
    """YAML text in the order given, lists of scalars on one line, that reads back to equal `data`."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)

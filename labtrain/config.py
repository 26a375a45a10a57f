"""YAML to checked values: every error at once, each with file and line.

Every rig, method and data set carries a nested ``Config``, a :class:`Section`. A section that names one of them by a
tag (``type: acoustic``) is declared ``Annotated[Section, Registered("rigs")]``. Nothing is converted on the quiet: text
is never a number, ``true`` is not 1; a whole number serves as a float, and 3.0 as a whole number.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from labtrain import registry
from labtrain.config_errors import problems
from labtrain.errors import ConfigError, InputError
from labtrain.limits import did_you_mean
from labtrain.ready import remedy
from labtrain.yaml_lines import KeyPath, Origin, Problem, Tree, dump_yaml


@dataclass(frozen=True)
class _Context:
    """What validators must know of the file: its folder; and what they note down by ``id(mapping)``: its keys, those
    that belong elsewhere, and what its tag names.
    """

    folder: Path
    keys: dict[int, set[str]] = field(default_factory=dict)
    elsewhere: dict[int, Mapping[str, str]] = field(default_factory=dict)
    tagged: dict[int, tuple[Registered, str]] = field(default_factory=dict)

    def foreign(self, mapping: Any, key: str) -> str:
        """What to say of an unknown key that belongs elsewhere, or to what another tag would name; else empty."""
        if key in (said := self.elsewhere.get(id(mapping), {})):
            return said[key]
        registered, name = self.tagged.get(id(mapping), (None, ""))
        owners = [] if registered is None else registered.owners(key)
        if not owners:
            return ""
        *first, last = owners
        return f"a key of {', '.join(first)}{' and ' if first else ''}{last}, not of {name}; delete it"


def _exact(node: Any) -> Any:
    """Make numbers and booleans anywhere in a core schema accept their own kind alone.

    Pydantic's strict mode would do that, but would also refuse a list for a tuple and text for a path.
    """
    if isinstance(node, list | tuple):
        return type(node)(_exact(item) for item in node)
    if not isinstance(node, dict):
        return node
    kind = node.get("type")
    opaque = ("default", "metadata") if isinstance(kind, str) else ()
    node = {key: value if key in opaque else _exact(value) for key, value in node.items()}
    if kind in ("bool", "float"):
        node["strict"] = True
    elif kind == "int" and not node.get("strict"):
        return core_schema.no_info_before_validator_function(_integral, {**node, "strict": True})
    return node


def _integral(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


class Section(BaseModel):
    """Base of every configuration section: unknown keys are errors, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    ELSEWHERE: ClassVar[Mapping[str, str]] = {}
    """What to say of keys that are unknown here and known in other files."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema: CoreSchema = _exact(handler(source))
        return schema

    @model_validator(mode="before")
    @classmethod
    def _note_keys(cls, data: Any, info: ValidationInfo) -> Any:
        if isinstance(info.context, _Context):
            info.context.keys.setdefault(id(data), set()).update(_keys_of(cls))
            if cls.ELSEWHERE:
                info.context.elsewhere[id(data)] = cls.ELSEWHERE
        return data


def _keys_of(config: type[Section]) -> set[str]:
    """Keys as a file writes them."""
    return {model_field.alias or name for name, model_field in config.model_fields.items()}


@dataclass(frozen=True)
class Registered:
    """Annotation of a section whose tag names something in the registry.

    ``Annotated[Section, Registered("rigs")]`` reads the key ``type``, looks it up with
    :func:`labtrain.registry.resolve` and validates with the nested ``Config`` of what it finds; that Config declares
    the tag as a ``Literal`` field.

    Parameters
    ----------
    kind : str
        ``rigs``, ``methods``, ``datasets`` or ``drivers``.
    tag : str
        Key that holds the name.
    base : type
        From which whatever is named must be derived: not every driver is that of a network analyser.
    told : str
        What that drives, in words: ``a network analyser``.
    """

    kind: str
    tag: str = "type"
    base: type = object
    told: str = ""

    @property
    def one(self) -> str:
        """The kind in the singular."""
        return self.kind.removesuffix("s")

    def config(self, name: str) -> type[Section]:
        """The Config registered as `name`.

        Raises
        ------
        InputError
            If nothing is registered under that name, or it carries no Config.
        """
        found = getattr(registry.resolve(self.kind, name), "Config", None)
        if not (isinstance(found, type) and issubclass(found, Section)):
            raise InputError(f"{self.one} {name!r} has no Config that is a labtrain.config.Section")
        return found

    def owners(self, key: str) -> list[str]:
        """Names whose Config has this key, among those that may stand here."""
        return [name for name in self._fitting() if key in _keys_of(self.config(name))]

    def _fitting(self) -> list[str]:
        """Names that may stand here; what cannot be imported may not."""
        return [name for name in registry.names(self.kind) if self._fits(name)]

    def _fits(self, name: str) -> bool:
        try:
            self.config(name)
            return issubclass(registry.resolve(self.kind, name), self.base)
        except (InputError, TypeError):  # TypeError: it is not a class
            return False

    def _checked(self, name: str) -> type[Section]:
        config = self.config(name)
        if not self._fits(name):
            known = ", ".join(self._fitting()) or "none"
            raise InputError(f"{name} is no {self.one} of {self.told}; take one of {known}")
        return config

    def _validate(self, value: Any, info: ValidationInfo) -> Section:
        if isinstance(value, Section):
            if self.base is not object:
                self._checked(str(getattr(value, self.tag)))
            return value
        if not isinstance(value, dict):
            raise PydanticCustomError("mapping", "", {"expected": f"a mapping with a key {self.tag}"})
        if self.tag not in value:
            known = ", ".join(registry.names(self.kind)) or "none"
            raise self._about_tag(value, PydanticCustomError("missing", "", {"known": known}))
        name = value[self.tag]
        if not isinstance(name, str):
            raise self._about_tag(name, PydanticCustomError("name", "", {"expected": "the name of a " + self.one}))
        try:
            config = self._checked(name)
        except InputError as error:
            raise self._about_tag(name, PydanticCustomError("value_error", "{error}", {"error": str(error)})) from None
        if isinstance(info.context, _Context):
            info.context.tagged[id(value)] = (self, name)
        return config.model_validate(value, context=info.context)

    def _about_tag(self, value: Any, error: PydanticCustomError) -> ValidationError:
        return ValidationError.from_exception_data(self.kind, [{"type": error, "loc": (self.tag,), "input": value}])

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        tag_first = core_schema.wrap_serializer_function_ser_schema(self._tag_first, schema=core_schema.any_schema())
        return core_schema.with_info_plain_validator_function(self._validate, serialization=tag_first)

    def _tag_first(self, value: Any, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A Config that inherits fields declares its tag last; a reader wants it first.
        data = handler(value)
        return {key: data[key] for key in sorted(data, key=lambda key: key != self.tag)}

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        choices: list[dict[str, Any]] = []
        for name in registry.names(self.kind):
            config = self.config(name)
            if not self._fits(name):
                continue
            choice = handler(config.__pydantic_core_schema__)
            # The tag has a default for use from Python; in a file it is what tells the choices apart.
            choices.append({**choice, "title": name, "required": sorted({*choice.get("required", ()), self.tag})})
        return {"oneOf": choices}


_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


def _input_path(value: Any, info: ValidationInfo) -> Any:
    if not isinstance(value, str):
        return value
    if not value:
        raise PydanticCustomError("path", "", {"expected": "a path"})

    def expand(match: re.Match[str]) -> str:
        name, default = match.groups()
        found = os.environ.get(name)
        # As in a shell, a default also stands in for a variable that is set but empty.
        if default is not None and not found:
            return str(default)
        if found is None:
            raise ValueError(f"environment variable {name} is not set; set it, or give a default: ${{{name}:-folder}}")
        return found

    path = Path(_VARIABLE.sub(expand, value))
    if not isinstance(info.context, _Context):
        return path
    # Not resolve(): that turns a mapped drive into the network share behind it.
    return Path(os.path.abspath(info.context.folder / path))  # noqa: PTH100


InputPath = Annotated[Path, BeforeValidator(_input_path)]
"""A path written in a YAML file: relative ones start at the file's own folder, ``${NAME}`` and ``${NAME:-default}``
are taken from the environment. Whether it exists is for its user to check."""

S = TypeVar("S", bound=Section)


@dataclass(frozen=True)
class Loaded(Generic[S]):
    """A configuration with its sources.

    Parameters
    ----------
    value : Section
        Validated values.
    source : Path
        File they came from.
    text : str
        Its text, line ends as ``\\n``.
    overrides : tuple of str
        ``key=value`` options applied on top, in order.
    """

    value: S
    source: Path
    text: str
    overrides: tuple[str, ...]
    _origins: Mapping[KeyPath, Origin] = field(default_factory=dict, repr=False, compare=False)

    def where(self, dotted: str) -> str:
        """Where a key was set: ``"lab.yaml:14"``, ``"--set training.theta"``, or the file alone for a default."""
        origin = self._origins.get(tuple(dotted.split(".")))
        return origin.where if origin else self.source.name

    def remedy(self, dotted: str) -> str:
        """Where to change a key that an error is about; :meth:`where` it was set, if it has no better place."""
        return self.where(dotted)


def load(path: str | Path, schema: type[S], overrides: Sequence[str] = ()) -> Loaded[S]:
    """Read and check a configuration file.

    Parameters
    ----------
    path : str or Path
    schema : type
        Section at the top of the file.
    overrides : sequence of str
        ``section.key=value`` options applied on top; the value is YAML, entries of lists are numbered from 0.

    Raises
    ------
    ConfigError
        With one line for each error in the file and the overrides, or if the file cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        raise ConfigError(f"config file {path} is a folder, needs a YAML file")
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        beside = [neighbour.name for neighbour in path.parent.glob("*.y*ml")]
        hint = "" if f"{path.name}.yaml" in beside else remedy(path)
        raise ConfigError(f"config file {path} does not exist{hint or did_you_mean(path.name, beside)}") from None
    except OSError as error:
        raise ConfigError(f"config file {path} cannot be read: {error.strerror}") from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        byte = error.object[error.start]
        raise ConfigError(f"{path.name}:{line}: byte 0x{byte:02x} is not UTF-8; save the file as UTF-8") from None
    return loads(text.replace("\r\n", "\n"), schema, path, overrides)


def loads(text: str, schema: type[S], source: str | Path = "config", overrides: Sequence[str] = ()) -> Loaded[S]:
    """Check a configuration given as text; `source` names it in errors and is where relative paths start.

    Raises
    ------
    ConfigError
        With one line for each error, sorted by line.
    """
    source = Path(source)
    tree = Tree(source.name)
    tree.read(text)
    if not tree.problems and tree.data is None:
        raise ConfigError(f"config file {source} is empty; `labtrain init NAME` writes a complete one")
    found = list(tree.problems)
    value: S | None = None
    if isinstance(tree.data, dict):
        for number, option in enumerate(overrides):
            tree.override(option, number)
        found = list(tree.problems)
        context = _Context(source.absolute().parent)
        try:
            value = schema.model_validate(tree.data, context=context)
        except ValidationError as error:
            found += problems(error, tree, context.keys, context.foreign)
        except InputError as error:  # from a validator that checks a Limit
            found.append(Problem(tree.origin(()), (), str(error)))
    elif not found:
        raise ConfigError(f"{tree.origin(()).where}: the file must be a mapping of sections (key: value)")
    if found or value is None:
        ordered = sorted(found, key=lambda problem: problem.origin.order)
        raise ConfigError("\n".join(dict.fromkeys(map(str, ordered))))
    return Loaded(value, source, text, tuple(overrides), tree.origins)


def schema_json(schema: type[Section]) -> dict[str, Any]:
    """JSON schema for editors; a registered section is one of all registered Configs.

    Raises
    ------
    InputError
        If something registered cannot be imported.
    """
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema.model_json_schema()}


def dump(value: Section) -> str:
    """All effective values as YAML: defaults included, tags first, else as declared; loads back to an equal value."""
    return dump_yaml(value.model_dump(mode="json", by_alias=True))

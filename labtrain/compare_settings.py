"""The section ``compare`` of a configuration file, and what it makes of the experiment for each method."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from labtrain import config as configuration
from labtrain import registry
from labtrain.config import Loaded, Section
from labtrain.errors import ConfigError, InputError
from labtrain.experiment import Experiment

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+$")]


class Overlay(Section):
    """What one method has of its own, over the sections of the file."""

    training: dict[str, Any] = Field(default_factory=dict, description="settings; method: NAME where the name is free")
    network: dict[str, Any] = Field(default_factory=dict)
    encoding: dict[str, Any] = Field(default_factory=dict)


class CompareOptions(Section):
    """Settings of the methods that are compared."""

    methods: dict[Name, Overlay] = Field(default_factory=dict, description="by name, as --methods has it")


class Comparison(Experiment):
    """An experiment, and what other methods would have in the place of its own."""

    compare: CompareOptions = CompareOptions()


def load(path: str | Path, overrides: Sequence[str] = ()) -> Loaded[Comparison]:
    """Read a configuration file that may have a section ``compare``.

    Raises
    ------
    ConfigError
        With one line for each error.
    """
    return configuration.load(path, Comparison, overrides)


def of_method(loaded: Loaded[Comparison], name: str, trials: int | None = None) -> Loaded[Experiment]:
    """The experiment of one method: that of the file with its own settings, same data, splits, seeds and rig.

    Parameters
    ----------
    name : str
        A registered method, or an entry of ``compare.methods`` that says which it is.
    trials : int, optional
        Instead of ``trials.count``.

    Raises
    ------
    InputError
        If there is no such method, or what stands under its name is wrong.
    """
    own = loaded.value.compare.methods.get(name, Overlay())
    method = str(own.training.get("method", name))
    try:
        has = registry.resolve("methods", method).ablations
    except InputError as error:
        raise InputError(f"--methods {name}: {error}") from None
    options = [*loaded.overrides, f"run.name={name}"]
    if method == getattr(loaded.value.training, "method", None):
        options += _leaves("training", own.training)
    else:
        options.append(f"training={json.dumps({'method': method, **own.training})}")
    options += [*_leaves("network", own.network), *_leaves("encoding", own.encoding)]
    if loaded.value.ablations is not None:
        options.append(f"ablations={json.dumps([one for one in loaded.value.ablations if one in has])}")
    if trials is not None:
        options.append(f"trials.count={trials}")
    try:
        found = configuration.loads(loaded.text, Comparison, loaded.source, options)
    except ConfigError as error:
        own_place = rf"\1compare.methods.{name}.\2"
        raise ConfigError(re.sub(r"(^|\n)--set (training|network|encoding)\b", own_place, str(error))) from None
    sections = {key: getattr(found.value, key) for key in Experiment.model_fields}
    return Loaded(Experiment(**sections), found.source, found.text, found.overrides, found._origins)


def _leaves(section: str, values: Mapping[str, Any]) -> list[str]:
    """Overrides that set every value of a nested mapping and leave what stands beside it."""
    options = []
    for key, value in values.items():
        path = f"{section}.{key}"
        options += _leaves(path, value) if isinstance(value, dict) and value else [f"{path}={json.dumps(value)}"]
    return options

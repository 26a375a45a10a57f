"""The section ``compare`` of a configuration file, and what it makes of the experiment for each method."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, StringConstraints, model_validator

from labtrain import config as configuration
from labtrain import registry
from labtrain.config import Loaded, Section
from labtrain.disturbances import ChangeConfig, refuse_unknown
from labtrain.errors import ConfigError, InputError
from labtrain.experiment import Experiment

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+$")]


class Overlay(Section):
    """What one method has of its own, over the sections of the file."""

    training: dict[str, Any] = Field(default_factory=dict, description="settings; method: NAME where the name is free")
    network: dict[str, Any] = Field(default_factory=dict)
    encoding: dict[str, Any] = Field(default_factory=dict)


class Entry(Overlay):
    """What one method has of its own, and what else is tried for it."""

    candidates: tuple[Overlay, ...] = Field((), description="tried in tuning, each on top of what the method has here")


class TuningOptions(Section):
    """Splits on which candidates are tried: of other seeds than those of the comparison."""

    trials: int = Field(3, ge=1, description="of each candidate")
    first_seed: int = Field(100, ge=0, description="trials use first_seed, first_seed + 1, ...")


class CompareOptions(Section):
    """Settings of the methods that are compared."""

    tuning: TuningOptions | None = Field(None, description="when left out, no candidates are tried")
    methods: dict[Name, Entry] = Field(default_factory=dict, description="by name, as --methods has it")
    disturb: tuple[ChangeConfig, ...] = Field((), description="what --disturb does to the simulated world")

    @model_validator(mode="after")
    def _candidates_are_tried(self) -> CompareOptions:
        if self.tuning is None and (names := [name for name, own in self.methods.items() if own.candidates]):
            raise ValueError(
                f"candidates of {', '.join(names)} need splits to be tried on; add a section compare.tuning, as in "
                "tuning: {trials: 3, first_seed: 100}"
            )
        return self


class Comparison(Experiment):
    """An experiment, and what other methods would have in the place of its own."""

    compare: CompareOptions = CompareOptions()

    @model_validator(mode="after")
    def _world_knows_changes(self) -> Comparison:
        refuse_unknown(self.compare.disturb, self.rig, ("compare", "disturb"))
        return self


def load(path: str | Path, overrides: Sequence[str] = ()) -> Loaded[Comparison]:
    """Read a configuration file that may have a section ``compare``.

    Raises
    ------
    ConfigError
        With one line for each error.
    """
    return configuration.load(path, Comparison, overrides)


def method_named(loaded: Loaded[Comparison], name: str) -> str:
    """The registered method that a name of --methods stands for.

    Raises
    ------
    InputError
        If there is none.
    """
    method = str(loaded.value.compare.methods.get(name, Entry()).training.get("method", name))
    try:
        registry.resolve("methods", method)
    except InputError as error:
        raise InputError(f"--methods {name}: {error}") from None
    return method


def of_method(
    loaded: Loaded[Comparison], name: str, trials: int | None = None, candidate: int | None = None
) -> Loaded[Experiment]:
    """The experiment of one method: that of the file with its own settings, same data, splits, seeds and rig.

    Parameters
    ----------
    name : str
        A registered method, or an entry of ``compare.methods`` that says which it is.
    trials : int, optional
        Instead of ``trials.count``.
    candidate : int, optional
        Number, from 1, of the candidate whose settings come on top.

    Raises
    ------
    InputError
        If there is no such method, or what stands under its name is wrong.
    """
    more = [] if trials is None else [f"trials.count={trials}"]
    return _experiment(loaded, name, candidate, [f"run.name={name}", *more])


def of_candidate(loaded: Loaded[Comparison], name: str, candidate: int) -> Loaded[Experiment]:
    """The experiment in which a candidate is tried: on the splits of ``compare.tuning``, without ablations.

    Parameters and errors as of :func:`of_method`.
    """
    tuning = loaded.value.compare.tuning or TuningOptions()
    more = [f"trials.count={tuning.trials}", f"trials.first_seed={tuning.first_seed}", "ablations=[]"]
    return _experiment(loaded, name, candidate, [f"run.name={name}-{candidate}", *more])


def of_disturbed(
    loaded: Loaded[Comparison],
    name: str,
    suffix: str,
    trials: int | None = None,
    candidate: int | None = None,
    start_from: Path | None = None,
) -> Loaded[Experiment]:
    """The experiment of one method in the world that ``compare.disturb`` makes, from the first shot on; no ablations.

    Parameters
    ----------
    suffix : str
        Of the run's name.
    start_from : path, optional
        Run whose trials these begin from; None: fresh weights, whatever the file says.
    Others and errors as of :func:`of_method`.
    """
    changes = [{"at_shot": 0, "do": one.do, **one.values} for one in loaded.value.compare.disturb]
    later = [one.model_dump(mode="json", exclude_none=True) for one in loaded.value.disturbances]
    more = [f"run.name={name}-{suffix}", "ablations=[]", f"disturbances={json.dumps([*changes, *later])}"]
    if trials is not None:
        more.append(f"trials.count={trials}")
    more.append(f"trials.start_from={json.dumps(None if start_from is None else str(start_from.absolute()))}")
    return _experiment(loaded, name, candidate, more)


def _experiment(
    loaded: Loaded[Comparison], name: str, candidate: int | None, more: Sequence[str]
) -> Loaded[Experiment]:
    own, method = loaded.value.compare.methods.get(name, Entry()), method_named(loaded, name)
    has = registry.resolve("methods", method).ablations
    place, tried = f"compare.methods.{name}.", Overlay()
    if candidate is not None:
        place, tried = f"compare.methods.{name}, candidate {candidate}: ", own.candidates[candidate - 1]
    if (other := tried.training.get("method", method)) != method:
        raise InputError(f"{place}training.method {other} is not {method}; give it an entry of its own")
    options = list(loaded.overrides)
    if method == getattr(loaded.value.training, "method", None):
        options += _leaves("training", own.training)
    else:
        options.append(f"training={json.dumps({'method': method, **own.training})}")
    options += [*_leaves("network", own.network), *_leaves("encoding", own.encoding), *leaves(tried)]
    if loaded.value.ablations is not None:
        options.append(f"ablations={json.dumps([one for one in loaded.value.ablations if one in has])}")
    try:
        found = configuration.loads(loaded.text, Comparison, loaded.source, [*options, *more])
    except ConfigError as error:
        own_place = rf"\1{place}\2"
        raise ConfigError(re.sub(r"(^|\n)--set (training|network|encoding)\b", own_place, str(error))) from None
    sections = {key: getattr(found.value, key) for key in Experiment.model_fields}
    return Loaded(Experiment(**sections), found.source, found.text, found.overrides, found._origins)


def leaves(overlay: Overlay) -> list[str]:
    """What an overlay sets, as overrides: ``training.theta=12``."""
    sections = {"training": overlay.training, "network": overlay.network, "encoding": overlay.encoding}
    return [option for section, values in sections.items() for option in _leaves(section, values)]


def _leaves(section: str, values: Mapping[str, Any]) -> list[str]:
    """Overrides that set every value of a nested mapping and leave what stands beside it."""
    options = []
    for key, value in values.items():
        path = f"{section}.{key}"
        options += _leaves(path, value) if isinstance(value, dict) and value else [f"{path}={json.dumps(value)}"]
    return options

"""The section ``compare`` of a configuration file, and what it makes of the experiment for each method."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, StringConstraints, model_validator

from labtrain import config as configuration
from labtrain import registry
from labtrain.config import Loaded, Section
from labtrain.disturbances import ChangeConfig, refuse_unknown
from labtrain.errors import ConfigError, InputError
from labtrain.experiment import Experiment
from labtrain.yaml_lines import Written

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


@dataclass(frozen=True)
class OfMethod(Loaded[Experiment]):
    """The experiment of one method.

    Parameters
    ----------
    entry : str
        Where the method has settings of its own, or could have: ``lab.yaml:14: compare.methods.ridge``.
    """

    entry: str = ""

    def remedy(self, dotted: str) -> str:
        """The method's entry, for what it may set there: a line that all methods share is not to be changed for one."""
        place, section = self.where(dotted), dotted.partition(".")[0]
        if section not in Overlay.model_fields or "compare.methods." in place:
            return place
        if place == self.source.name:  # nobody has set it
            return self.entry
        return place if section == "training" else f"{self.entry}; {place} is for all methods"


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
    entry = loaded.value.compare.methods.get(name)
    own = {} if entry is None else entry.training
    method = str(own.get("method", name))
    try:
        registry.resolve("methods", method)
    except InputError as error:
        place = f"--methods {name}"
        if entry is not None:
            said = ".training.method" if "method" in own else " has no training.method"
            place = f"{_place(loaded, name, 'training', 'method')}{said}"
        raise InputError(f"{place}: {error}") from None
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
    return _experiment(loaded, name, candidate, [f"run.name={name}", *_count(trials)])


def of_candidate(loaded: Loaded[Comparison], name: str, candidate: int) -> Loaded[Experiment]:
    """The experiment in which a candidate is tried: on the splits of ``compare.tuning``, without ablations.

    Parameters and errors as of :func:`of_method`.
    """
    tuning, place = loaded.value.compare.tuning or TuningOptions(), loaded.where("compare.tuning")
    seeds = {"count": tuning.trials, "first_seed": tuning.first_seed}
    more = [Written(f"trials.{key}={number}", f"{place}: compare.tuning") for key, number in seeds.items()]
    return _experiment(loaded, name, candidate, [f"run.name={name}-{candidate}", *more, "ablations=[]"])


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
    start = json.dumps(None if start_from is None else str(start_from.absolute()))
    more = [
        f"run.name={name}-{suffix}",
        "ablations=[]",
        Written(
            f"disturbances={json.dumps([*changes, *later])}", f"{loaded.where('compare.disturb')}: compare.disturb"
        ),
        Written(f"trials.start_from={start}", f"--methods {name}"),
        *_count(trials),
    ]
    return _experiment(loaded, name, candidate, more)


def _count(trials: int | None) -> list[str]:
    return [] if trials is None else [Written(f"trials.count={trials}", "--trials")]


def _experiment(
    loaded: Loaded[Comparison], name: str, candidate: int | None, more: Sequence[str]
) -> Loaded[Experiment]:
    own, method = loaded.value.compare.methods.get(name, Entry()), method_named(loaded, name)
    has = registry.resolve("methods", method).ablations
    options = list(loaded.overrides)
    if method != getattr(loaded.value.training, "method", None):
        options.append(Written(f"training={json.dumps({'method': method})}", _place(loaded, name, "training")))
    options += _placed(loaded, name, own)
    if candidate is not None:
        tried = own.candidates[candidate - 1]
        if (other := tried.training.get("method", method)) != method:
            place = _place(loaded, name, "candidates", str(candidate - 1), "training", "method")
            raise InputError(
                f"{place}, candidate {candidate}: training.method {other} is not {method}; give it an entry of its own"
            )
        options += _placed(loaded, name, tried, candidate)
    if loaded.value.ablations is not None:
        options.append(f"ablations={json.dumps([one for one in loaded.value.ablations if one in has])}")
    entry = _place(loaded, name)
    try:
        found = configuration.loads(loaded.text, Comparison, loaded.source, [*options, *more])
    except ConfigError as error:  # also of what only goes wrong together with what the file sets
        raise ConfigError("\n".join(_naming(entry, line) for line in str(error).splitlines())) from None
    sections = {key: getattr(found.value, key) for key in Experiment.model_fields}
    return OfMethod(Experiment(**sections), found.source, found.text, found.overrides, found._origins, entry)


def _place(loaded: Loaded[Comparison], name: str, *keys: str) -> str:
    """Where something of an entry stands, or else what is around it: ``lab.yaml:14: compare.methods.ridge``."""
    entry = f"compare.methods.{name}"
    around = (".".join((entry, *keys[:depth])) for depth in range(len(keys), -1, -1))
    where = next((place for key in around if (place := loaded.where(key)) != loaded.source.name), loaded.source.name)
    return f"{where}: {entry}"


def _naming(entry: str, line: str) -> str:
    """A line of an error about what a method's entry may set, with that entry."""
    told = "compare.methods." in line or not re.search(rf": (?:{'|'.join(Overlay.model_fields)})\b", line)
    return line if told else f"{line} ({entry})"


def _placed(loaded: Loaded[Comparison], name: str, overlay: Overlay, candidate: int | None = None) -> list[str]:
    """What an overlay sets, as overrides that know where it stands."""
    inside = () if candidate is None else ("candidates", str(candidate - 1))
    told = "" if candidate is None else f", candidate {candidate}"
    return [
        Written(option, _place(loaded, name, *inside, *option.partition("=")[0].split(".")) + told)
        for option in leaves(overlay)
    ]


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

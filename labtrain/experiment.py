"""Experiment, the schema of a configuration file: a rig, a data set, a network, a training method, trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from labtrain import config
from labtrain.config import InputPath, Loaded, Registered, Section
from labtrain.datasets.table import SplitOptions
from labtrain.disturbances import DisturbanceConfig, refuse_unknown
from labtrain.network import EncodingConfig, NetworkConfig
from labtrain.registry import resolve
from labtrain.rigs.rig_config import RigConfig

Ablation = Literal["off", "random", "shuffled", "no_skip", "ridge"]


class Trials(Section):
    """How often the experiment is repeated; a trial is one seed for split, weights and noise."""

    count: int = Field(5, ge=1)
    first_seed: int = Field(0, ge=0, description="trials use first_seed, first_seed + 1, ...")
    start_from: InputPath | None = Field(
        None, description="folder of a finished run; each trial begins with what the same trial of it has learned"
    )


class RunOptions(Section):
    """What is kept of a run, and how often."""

    name: str | None = Field(None, pattern=r"^[A-Za-z0-9_.-]+$", description="of the run folder; default: the file's")
    checkpoint_s: float = Field(5.0, ge=0, description="seconds between checkpoints; 0: after every step")
    threads: int = Field(1, ge=1, description="of the linear algebra; more help only very wide networks")
    computer_watts: float | None = Field(
        None, gt=0, le=1e9, description="that the computer draws, for joules of the digital work, estimated"
    )
    notes: dict[str, str] = Field(default_factory=dict, description="operator, gain knobs, serial numbers, ...")


class Experiment(Section):
    """Everything that defines a run."""

    ELSEWHERE: ClassVar[Mapping[str, str]] = {
        "compare": "a section of labtrain compare (labtrain compare FILE --methods A,B); delete it for other commands"
    }

    rig: Annotated[RigConfig, Registered("rigs")]
    dataset: Annotated[SplitOptions, Registered("datasets")]
    encoding: EncodingConfig = EncodingConfig()
    network: NetworkConfig = NetworkConfig()
    training: Annotated[Section, Registered("methods", tag="method")]
    trials: Trials = Trials()
    ablations: tuple[Ablation, ...] | None = Field(None, description="all that the method has when left out")
    disturbances: tuple[DisturbanceConfig, ...] = Field(
        (), description="what happens to the simulated world in each trial"
    )
    run: RunOptions = RunOptions()

    @model_validator(mode="after")
    def _world_knows_disturbances(self) -> Experiment:
        refuse_unknown(self.disturbances, self.rig)
        return self

    @model_validator(mode="after")
    def _method_has_ablations(self) -> Experiment:
        has = self.method_ablations
        unfit = [name for name in self.ablations or () if name not in has]
        if unfit:
            raise ValueError(f"ablation {unfit[0]} does not exist for this method, which has {', '.join(has)}")
        return self

    @property
    def method_ablations(self) -> tuple[Ablation, ...]:
        """Ablations that make sense for the training method."""
        has: tuple[Ablation, ...] = registered("methods", self.training, "method").ablations
        return has

    @property
    def chosen_ablations(self) -> tuple[Ablation, ...]:
        """Ablations to compute after each trial."""
        return self.method_ablations if self.ablations is None else self.ablations


def load(path: str | Path, overrides: Sequence[str] = ()) -> Loaded[Experiment]:
    """Read and check a configuration file.

    Parameters
    ----------
    path : path of a YAML file
    overrides : sequence of ``"section.key=value"``

    Raises
    ------
    ConfigError
        With one line for every error, each naming file and line.
    """
    return config.load(path, Experiment, overrides)


def registered(kind: str, section: Section, tag: str = "type") -> Any:
    """The class that a section of an experiment configures: a rig, a data set or a method."""
    return resolve(kind, getattr(section, tag))

"""A rig that answers as a measured one did: a twin, fitted here or read, with the twin's own errors as noise."""

from __future__ import annotations

import hashlib
import json
import logging
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field, model_validator

from labtrain.clock import Clock
from labtrain.config import InputPath
from labtrain.errors import DataError
from labtrain.layer import Array, Layer, LayerInfo, Shots, check_drive
from labtrain.rigs.rig import Rig, RigConfig
from labtrain.sim.channels import Channels, known
from labtrain.sim.disturbances import Known
from labtrain.sim.noise import philox
from labtrain.sim.vectors import check_vectors
from labtrain.twin import Twin, WaveTwin, check_pairs, judge, load_twin

_BLOCK = 256  # shots that share one counter of the noise; also the largest chunk handed out
_OF_THE_FIT = ("held_out_rows", "ridge", "half_life_rows")  # say how pairs become a twin
_LOG = logging.getLogger("labtrain")


class RecordedRig(Rig):
    """One layer: a wave twin fitted to recorded pairs when the rig is opened, or one that ``labtrain twin fit`` wrote.

    Drives anywhere in [0, 1] are accepted; where nothing was recorded the twin extrapolates.
    """

    class Config(RigConfig):
        """Settings of the recorded rig."""

        type: Literal["recorded"]
        pairs: InputPath | None = Field(
            None, description="npz file: drives x (rows, n_in), responses y (rows, n_out), as measured; or else twin"
        )
        twin: InputPath | None = Field(None, description="npz file that labtrain twin fit wrote; or else pairs")
        held_out_rows: int = Field(
            800, ge=1, description="latest rows, kept out of the fit: they judge it and are its noise"
        )
        ridge: float = Field(1e-8, gt=0, description="penalty on the quadratic form, as a share of its mean diagonal")
        half_life_rows: float | None = Field(
            None, gt=0, description="rows after which a pair counts half, for a rig that drifted; never when left out"
        )
        noise: Literal["none", "residuals"] = Field("residuals", description="residuals: the twin's errors, replayed")
        noise_scale: float = Field(1.0, ge=0, description="factor on the replayed errors")
        seed: int = Field(0, description="of the noise until a trial restarts the rig with its own")
        seconds_per_shot: float = Field(0.25, gt=0, description="what one shot took on the rig that was recorded")
        y_unit: str = Field("arb. unit", description="unit of the recorded responses")

        def disturbances(self) -> Known:
            """What can happen to inputs and outputs; how many there are, only the file knows."""
            return known()

        @model_validator(mode="after")
        def _one_source(self) -> RecordedRig.Config:
            if (self.pairs is None) == (self.twin is None):
                raise ValueError("pairs or twin: exactly one of them says what answers")
            given = [key for key in _OF_THE_FIT if self.twin is not None and key in self.model_fields_set]
            if given and any(getattr(self, key) != type(self).model_fields[key].default for key in given):
                raise ValueError(f"{given[0]}: the twin is fitted already; leave it out, or give pairs instead of twin")
            return self

    config: Config

    def __init__(self, config: Config, clock: Clock) -> None:
        super().__init__(config, clock)
        self._layer: RecordedLayer | None = None
        self._found: dict[str, Any] = {}

    def open(self) -> None:
        """Fit the twin to the pairs and judge it on the latest rows, or read it; name the inputs that reach nothing.

        Raises
        ------
        DataError
            If the file cannot be read, does not hold fitting arrays x and y of finite numbers, or no twin.
        """
        config = self.config
        twin, content = self._fitted(config.pairs) if config.pairs is not None else self._loaded()
        if twin.dead_inputs:
            dead = ", ".join(map(str, twin.dead_inputs))
            _LOG.info(
                "recorded rig: inputs %s reach no output; use the other %d (network.drive.inputs)",
                *(dead, twin.n_in - len(twin.dead_inputs)),
            )
        self._found["dead_inputs"] = list(twin.dead_inputs)
        options = config.model_dump(include={*_OF_THE_FIT, "noise", "noise_scale"})
        digest = hashlib.sha256(content)
        digest.update(json.dumps(options, sort_keys=True).encode())
        info = LayerInfo(
            n_in=twin.n_in,
            n_out=twin.n_out,
            seconds_per_shot=config.seconds_per_shot,
            max_batch=_BLOCK,
            y_unit=config.y_unit,
            fingerprint=f"recorded:{digest.hexdigest()[:16]}",
            simulated=True,
            dead_inputs=twin.dead_inputs,
        )
        self._layer = RecordedLayer(twin, self._noise(twin), info, config.seed, self.clock)
        self.layers = (self._layer,)

    def _fitted(self, path: Path) -> tuple[Twin, bytes]:
        """The twin of the pairs in a file, with its errors on the rows held out, and the content of the file."""
        config, content = self.config, _read(path)
        x, y = _arrays(content, path)
        fitted = len(x) - config.held_out_rows
        if fitted <= 0:
            raise DataError(
                f"recorded rig: {path} has {len(x)} rows and {config.held_out_rows} are held out; "
                "set a smaller rig.held_out_rows"
            )
        twin = WaveTwin().fit(x[:fitted], y[:fitted], ridge=config.ridge, half_life=config.half_life_rows)
        twin.errors = twin.residuals(x[fitted:], y[fitted:])
        found = judge(twin, x[fitted:], y[fitted:])
        self._found = {
            "pairs": str(path),
            "pairs_sha256": hashlib.sha256(content).hexdigest(),
            "fitted_rows": fitted,
            "held_out": found,
        }
        _LOG.info(
            "recorded rig: fitted to %d pairs of %s, RMSE %.4f on the %d after them",
            *(fitted, path.name, found["rmse"], found["rows"]),
        )
        return twin, content

    def _loaded(self) -> tuple[Twin, bytes]:
        """The twin of a file, and its content."""
        path = self.config.twin
        assert path is not None  # one of both is given
        twin, content = load_twin(path), path.read_bytes()
        self._found = {
            "twin": str(path),
            "twin_sha256": hashlib.sha256(content).hexdigest(),
            "twin_kind": twin.kind,
            "twin_of": twin.fingerprint,
        }
        return twin, content

    def _noise(self, twin: Twin) -> Array | None:
        config = self.config
        if config.noise == "none":
            return None
        if twin.errors is None or not len(twin.errors):
            raise DataError(
                f"recorded rig: {config.twin} holds no errors to replay; fit it with labtrain twin fit, "
                "or set rig.noise: none"
            )
        return config.noise_scale * twin.errors

    def restart(self, seed: int) -> None:
        """Shot 0 of a trial with its own noise; disturbances are undone."""
        self._opened().restart(seed)

    @property
    def next_shot(self) -> int:
        return self._opened().shot

    def disturbances(self) -> Known:
        info = self._opened().info
        return known(info.n_in, info.n_out)

    def _disturb(self, shot: int, name: str, values: dict[str, Any]) -> None:
        self._opened().channels.disturb(name, at_shot=shot, **values)

    def _opened(self) -> RecordedLayer:
        self.check_owner()
        assert self._layer is not None  # open() sets it before it makes this thread the owner
        return self._layer

    def provenance(self) -> dict[str, Any]:
        return {
            "instruments": {"recording": "simulated"},
            **self._found,
        }


class RecordedLayer(Layer):
    """Answers of a fitted twin plus replayed errors.

    Parameters
    ----------
    twin : Twin
    errors : ndarray, (rows, n_out), or None
        Scaled residuals of pairs that the twin was not fitted to. A shot carries one whole row of them, which one
        follows from seed and shot number alone. None: no noise.
    info : LayerInfo
    seed : int
    clock : Clock
    """

    name = "recorded"

    def __init__(self, twin: Twin, errors: Array | None, info: LayerInfo, seed: int, clock: Clock) -> None:
        self._twin = twin
        self._errors = errors
        self._info = info
        self._clock = clock
        self.channels = Channels(info.n_in, info.n_out, twin.rms, _BLOCK)
        self.restart(seed)

    @property
    def info(self) -> LayerInfo:
        return self._info

    def restart(self, seed: int) -> None:
        """Shot 0 of a trial with its own noise; disturbances are undone."""
        self._seed, self.shot = seed, 0
        self.channels.clear()

    def _measure(self, x: Array) -> Iterator[Shots]:
        done = 0
        while done < len(x):
            # Chunks end where blocks of the noise end, and where something happens.
            first = self.shot % _BLOCK
            part = x[done : done + int(min(_BLOCK - first, self.channels.steady(self.shot)))]
            started_s = self._clock.now()
            y = self._twin.predict(self.channels.drives(part, self.shot))
            if self._errors is not None:
                drawn = philox(self._seed, 0, self.shot // _BLOCK).integers(len(self._errors), size=_BLOCK)
                # An amplitude is never negative, and one about an offset never below that.
                y = np.maximum(y + self._errors[drawn[first : first + len(part)]], self._twin.least)
            y = self.channels.responses(y, self._seed, self.shot)
            self.shot += len(part)
            done += len(part)
            yield Shots(part, y, None, np.ones(len(part), dtype=np.int64), started_s)

    def vjp(self, x: ArrayLike, dy: ArrayLike) -> Array:
        """That of the twin, through what disturbances have made of drives and responses."""
        to_inputs, to_outputs = self.channels.matrices(self.shot)
        drive = check_drive(x, self._info.n_in, self.name) @ to_inputs
        vectors = check_vectors(dy, len(drive), self._info.n_out, self.name)
        back: Array = self._twin.vjp(drive, vectors @ to_outputs.T) @ to_inputs.T
        return back

    def state(self) -> dict[str, Any]:
        return {"seed": self._seed, "shot": self.shot, "disturbances": self.channels.state()}

    def restore(self, state: dict[str, Any]) -> None:
        self._seed, self.shot = int(state["seed"]), int(state["shot"])
        self.channels.restore(state.get("disturbances", []))  # older runs had none


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(
            f"recorded rig: cannot read {path} ({error.strerror}); set rig.pairs to an .npz file with arrays x and y"
        ) from None


def _arrays(content: bytes, path: Path) -> tuple[Array, Array]:
    try:
        with np.load(BytesIO(content), allow_pickle=False) as archive:
            names = list(archive.files)
            found = {name: archive[name] for name in ("x", "y") if name in names}
    except (AttributeError, EOFError, TypeError, ValueError, zipfile.BadZipFile):
        # AttributeError and TypeError: a single .npy array is no archive.
        raise DataError(f"recorded rig: {path} is not an .npz file of numbers; write it with numpy.savez") from None
    for name in ("x", "y"):
        if name not in found:
            raise DataError(
                f"recorded rig: {path} has no array {name!r}, it has {', '.join(names) or 'none'}; "
                "write it with numpy.savez(file, x=drives, y=responses)"
            )
    return check_pairs(found["x"], found["y"], f"recorded rig: {path}")

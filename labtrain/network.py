"""PhysicalNetwork: blocks of (drive, physical layer, trainable linear map) behind one encoder."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from labtrain.compact import Rows, parts
from labtrain.config import Section
from labtrain.encoding import Drive, Encoder, FeatureScaler
from labtrain.errors import ConfigError, Diverged, RunError
from labtrain.layer import Integers, PhysicalLayer
from labtrain.storage import pack, unpack, write_arrays

Array = NDArray[np.float64]


class EncodingConfig(Section):
    """How features and labels become the first activations."""

    scaling: Literal["minmax", "standard", "none"] = Field("minmax", description="learned on training rows")
    label: Literal["slots", "overlay", "border", "behind"] = Field(
        "slots",
        description="label in its own inputs, added to the features, in the place of the first ones, or behind the "
        "physics: in the linear maps alone",
    )
    amplitude: float = Field(
        1.0, gt=0, description="size of the label, in units of the scaled features; behind: of the scaled responses"
    )
    margin: float = Field(0.5, ge=0, description="how far a feature may leave its training range, as a share of it")


class DriveConfig(Section):
    """How activations become drives in [0, 1]."""

    map: Literal["row_norm", "row_minmax", "affine"] = "affine"
    inputs: tuple[int, ...] | None = Field(None, min_length=1, description="physical inputs in use; all when left out")
    mix: bool = Field(False, description="send the activations through a fixed random matrix first")
    clip: float = Field(
        0.0, ge=0, lt=0.5, description="affine: share of each column's training values cut off at either end"
    )

    @field_validator("inputs")
    @classmethod
    def _distinct(cls, inputs: tuple[int, ...] | None) -> tuple[int, ...] | None:
        for i in inputs or ():
            if (inputs or ()).count(i) > 1:
                raise ValueError(f"input {i} is named twice; name each once")
        return inputs


class NetworkConfig(Section):
    """Shape of the network."""

    layers: int = Field(2, ge=1, description="blocks; the rig's layers are used in turn")
    width: int = Field(20, ge=1, description="outputs of each trainable linear map")
    skip: bool = Field(True, description="the linear map sees the activations beside the response")
    skip_carries: Literal["activations", "drive"] = Field(
        "activations", description="drive: the skip path sees no more than the rig is really told, after its rounding"
    )
    response: Literal["standard", "raw"] = Field(
        "standard", description="fixed scaling of each output, learned on training rows (never per shot)"
    )
    drive: DriveConfig = DriveConfig()


class Block:
    """One trainable layer: z = W [physical(drive(x)), x, label] + b, x with a skip path, a label where it enters here.

    Parameters
    ----------
    drive : Drive
    layer : PhysicalLayer
    width_in, width_out : int
        Number of activations before and after.
    skip : bool
        Whether the linear map sees x beside the response.
    skip_carries : "activations" or "drive"
        Whether it sees x itself, or of x only what the layer is told once x is mapped and rounded.
    response : "standard" or "raw"
    rng : numpy.random.Generator
        Draws W and b uniformly from +-1/sqrt(inputs), as the usual linear layer does.
    beside : int
        Columns of h for a label behind the physics, the last ones; 0 until :meth:`labelled` fills them.
    """

    def __init__(
        self,
        drive: Drive,
        layer: PhysicalLayer,
        width_in: int,
        width_out: int,
        skip: bool,
        skip_carries: Literal["activations", "drive"],
        response: Literal["standard", "raw"],
        rng: np.random.Generator,
        beside: int = 0,
    ) -> None:
        self.drive = drive
        self.layer = layer
        self.skip = skip
        self.skip_carries = skip_carries
        self.response = response
        n_out = layer.info.n_out
        self.beside = beside
        carried = width_in if skip_carries == "activations" else drive.carriers(width_in).size
        self.fan_in = n_out + (carried if skip else 0) + beside
        reach = 1.0 / np.sqrt(max(1, self.fan_in))
        # W and b side by side, b as the weight of a constant 1: methods update them as one array.
        self.parameters: Array = rng.uniform(-reach, reach, (width_out, self.fan_in + 1))
        self.learned = False
        self.y_mean: Array = np.zeros(n_out)
        self.y_scale: Array = np.ones(n_out)
        # Trained physical parameters, which the layer gets before each measurement: several blocks may share it.
        self.physical: Integers | None = None

    @property
    def W(self) -> Array:
        """Weights, (width_out, fan_in): a view of `parameters`."""
        return self.parameters[:, :-1]

    @property
    def b(self) -> Array:
        """Biases, (width_out,): a view of `parameters`."""
        return self.parameters[:, -1]

    def measure(self, x: Array, rng: np.random.Generator) -> Array:
        """Responses (n, m, n_out) to n samples with m candidate labels each, x (n, m, width).

        The candidates of a sample are measured next to one another in random order: a fixed order would tie the
        label to drift and carry-over.

        Raises
        ------
        Diverged
            For an activation that is no number, as a learning rate too large makes them.
        """
        if self.physical is not None:
            self.layer.set_parameters(self.physical)
        n, m, width = x.shape
        cuts = list(parts(n, m * max(width, self.layer.info.n_in)))
        if len(cuts) < 2:
            return self._measure(x, rng)
        y = np.empty((n, m, self.layer.info.n_out))
        for cut in cuts:
            y[cut] = self._measure(x[cut], rng)
        return y

    def _measure(self, x: Array, rng: np.random.Generator) -> Array:
        n, m, width = x.shape
        if not np.isfinite(x).all():
            raise Diverged(
                "diverged: activations in front of a block are no numbers any more; set a smaller learning rate in the "
                "section training"
            )
        order = rng.permuted(np.tile(np.arange(m), (n, 1)), axis=1)[:, :, None]
        shuffled = np.take_along_axis(x, order, axis=1)
        y = self.layer.forward(self.drive(shuffled.reshape(n * m, width))).reshape(n, m, self.layer.info.n_out)
        back = np.empty_like(y)
        np.put_along_axis(back, order, y, axis=1)
        return back

    def learn(self, x: Array, rng: np.random.Generator) -> Array:
        """Measure training activations (n, m, width); the first time, learn the drive's and the responses' ranges."""
        cuts = list(parts(len(x), math.prod(x.shape[1:]))) or [slice(0, 0)]
        return self.learn_in_parts(lambda part: x[part], cuts, rng)

    def learn_in_parts(self, make: Callable[[slice], Array], cuts: Sequence[slice], rng: np.random.Generator) -> Array:
        """As :meth:`learn`, of activations (n, m, width) that are made part by part, because all are much at once.

        Parameters
        ----------
        make : callable (slice of the n) -> ndarray (rows, m, width)
            Called twice for each part if the drive has ranges to learn.
        cuts : sequence of slice
            The parts, one behind the other.
        """
        if self.drive.needs_fit:
            made = (make(cut) for cut in cuts)
            self.drive.fit_in_parts(x.reshape(-1, x.shape[-1]) for x in made)
        first = self.measure(make(cuts[0]), rng)
        y = first if len(cuts) == 1 else np.empty((cuts[-1].stop, *first.shape[1:]))
        y[cuts[0]] = first
        for cut in cuts[1:]:
            y[cut] = self.measure(make(cut), rng)
        if not self.learned:
            self.learn_scale(y)
        self.learned = True
        return y

    def learn_scale(self, y: Array) -> None:
        """Learn the responses' scale from y (n, m, n_out), where they are scaled at all."""
        if self.response == "standard":
            scale = y.std(axis=(0, 1))
            self.y_mean, self.y_scale = y.mean(axis=(0, 1)), np.where(scale > 0, scale, 1.0)

    def inputs(self, y: Array, x: Array) -> Array:
        """Inputs h of the linear map, (..., fan_in), from responses (..., n_out) and activations (..., width)."""
        scaled = (y - self.y_mean) / self.y_scale
        label = np.zeros((*y.shape[:-1], self.beside))
        if not self.skip:
            return np.concatenate([scaled, label], axis=-1) if self.beside else scaled
        if self.skip_carries == "drive":
            rows = x.reshape(-1, x.shape[-1])
            told = self.layer.quantise(self.drive.map(rows))[:, self.drive.carriers(rows.shape[1])]
            x = told.reshape(*x.shape[:-1], told.shape[1])
        return np.concatenate([scaled, x, label], axis=-1)

    def labelled(self, h: Array, label: Array) -> Array:
        """Inputs h (n, 1, fan_in) with what is seen of m labels behind the physics, (n, m, columns): (n, m, fan_in)."""
        result = np.repeat(h, label.shape[1], axis=1)
        result[..., self.fan_in - self.beside :] = label
        return result

    def shifts(self, labels: Array) -> Array:
        """What labels behind the physics, (m, columns), add to z: (m, width_out)."""
        result: Array = labels @ self.W[:, self.fan_in - self.beside :].T
        return result

    def linear(self, h: Array) -> Array:
        """z = h W^T + b, (..., width_out)."""
        rows = math.prod(h.shape[:-1])  # -1 would be ambiguous for a block without inputs
        result: Array = (h.reshape(rows, self.fan_in) @ self.W.T + self.b).reshape(*h.shape[:-1], len(self.b))
        return result

    def state(self) -> dict[str, Any]:
        return {
            "W": self.W.copy(),
            "b": self.b.copy(),
            "learned": self.learned,
            "y_mean": self.y_mean,
            "y_scale": self.y_scale,
            "physical": None if self.physical is None else self.physical.copy(),
            "drive": self.drive.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.parameters = np.column_stack([state["W"], state["b"]])
        self.learned, self.y_mean, self.y_scale = bool(state["learned"]), state["y_mean"], state["y_scale"]
        self.physical = state.get("physical")  # what was saved before there were any has none
        self.drive.restore(state["drive"])


class PhysicalNetwork:
    """An encoder and a chain of blocks; training methods look inside, users call a method's ``scores``.

    Parameters
    ----------
    encoder : Encoder
    blocks : sequence of Block
    """

    def __init__(self, encoder: Encoder, blocks: Sequence[Block]) -> None:
        self.encoder = encoder
        self.blocks = tuple(blocks)

    @property
    def parameters(self) -> int:
        """Number of trainable parameters."""
        return sum(block.parameters.size for block in self.blocks)

    def state(self) -> dict[str, Any]:
        """Everything learned: scaler, weights, frozen scales; nested dict of arrays."""
        return {"scaler": self.encoder.scaler.state(), "blocks": [block.state() for block in self.blocks]}

    def restore(self, state: dict[str, Any]) -> None:
        """Return to a state that :meth:`state` gave.

        Raises
        ------
        RunError
            If the shapes do not fit this network.
        """
        mine = [block.W.shape for block in self.blocks]
        theirs = [np.shape(block["W"]) for block in state["blocks"]]
        if mine != theirs:
            raise RunError(f"saved weights have shapes {theirs}, this network {mine}; build it from the same config")
        self.encoder.scaler.restore(state["scaler"])
        for block, saved in zip(self.blocks, state["blocks"], strict=True):
            block.restore(saved)

    def inherit(self, state: dict[str, Any]) -> None:
        """Begin with what another network had learned when its :meth:`state` gave this; nothing is clipped yet.

        Raises
        ------
        RunError
            If the shapes do not fit this network.
        """
        self.restore(state)
        for number, block in enumerate(self.blocks, start=1):
            size, mine = np.size(() if block.physical is None else block.physical), block.layer.parameters.size
            if size not in (0, mine):
                raise RunError(f"block {number}: {size} physical parameters were saved, its layer has {mine}")
            block.drive.clipped = block.drive.mapped = 0

    def save(self, path: str | Path) -> None:
        """Write everything learned to an .npz file (no pickles inside)."""
        text, arrays = pack(self.state())
        write_arrays(Path(path), {"tree": np.array(text), **arrays})

    def load(self, path: str | Path) -> None:
        """Read what :meth:`save` wrote into this network, which must have been built alike.

        Raises
        ------
        RunError
            If the file is missing, is not a saved network, or has other shapes.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            state = unpack(str(arrays.pop("tree")), arrays)
        except FileNotFoundError:
            raise RunError(f"{path}: no such file; save a network there first") from None
        except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
            raise RunError(f"{path}: not a saved network ({error}); save it again") from None
        self.restore(state)


def build(
    network: NetworkConfig,
    encoding: EncodingConfig,
    layers: Sequence[PhysicalLayer],
    *,
    rows: Rows,
    classes: Sequence[str],
    feature_names: Sequence[str],
    seed: int,
    inputs: Sequence[int] | None = None,
) -> PhysicalNetwork:
    """A network with freshly drawn weights for a data set and the layers of an opened rig.

    Parameters
    ----------
    rows : ndarray (n, d) or CompactRows
        Training rows: feature scaling is learned here.
    inputs : sequence of int, optional
        Physical input of each feature, for a data set whose features belong to certain inputs.
    seed : int
        Of weights, label codes and mixing matrices.

    Raises
    ------
    ConfigError
        If the activations do not fit on the inputs, or the labels not on the features.
    """
    if encoding.label == "border" and rows.shape[1] <= len(classes):
        raise ConfigError(
            f"encoding.label: border puts {len(classes)} classes in the place of the first of {rows.shape[1]} "
            "features, which leaves none; set encoding.label: slots"
        )
    rng = np.random.default_rng([seed, 1])
    scaler = FeatureScaler(encoding.scaling, encoding.margin).fit(rows)
    codes = rng.choice([-1.0, 1.0], (len(classes), rows.shape[1])) if encoding.label == "overlay" else None
    encoder = Encoder(classes, feature_names, scaler, encoding.label, encoding.amplitude, codes)
    blocks = []
    width = encoder.width
    for index in range(network.layers):
        layer = layers[index % len(layers)]
        chosen = network.drive.inputs or tuple(range(layer.info.n_in))
        if index == 0 and inputs is not None:  # features stay where the data set wires them, label slots take the rest
            free = [i for i in chosen if i not in set(inputs)]
            chosen = (*(free[: width - len(inputs)] if encoding.label == "slots" else ()), *inputs)
        if not network.drive.mix and width > len(chosen):
            raise ConfigError(
                f"network: block {index + 1} has {width} activations for {len(chosen)} driven inputs; "
                + _narrower(index, rows.shape[1], len(chosen))
            )
        drive = _drive(network.drive, layer, chosen, width, rng)
        carries, response = network.skip_carries, network.response
        beside = encoder.beside.shape[1]
        blocks.append(Block(drive, layer, width, network.width, network.skip, carries, response, rng, beside))
        width = network.width
    return PhysicalNetwork(encoder, blocks)


def _narrower(index: int, features: int, driven: int) -> str:
    """What to do about a block that has more activations than inputs are driven."""
    if index > 0:
        return f"set network.width to {driven} or less, or network.drive.mix: true"
    if features <= driven:
        return "set encoding.label: behind, or overlay, or network.drive.mix: true"
    return (
        f"they are {features} features: take fewer (dataset.size, if they are images), drive more inputs, or set "
        "network.drive.mix: true"
    )


def _drive(
    config: DriveConfig, layer: PhysicalLayer, inputs: Sequence[int], width: int, rng: np.random.Generator
) -> Drive:
    n_in = layer.info.n_in
    beyond = [i for i in inputs if not 0 <= i < n_in]
    if beyond:
        raise ConfigError(f"network.drive.inputs: {beyond[0]} does not exist, this rig has inputs 0 to {n_in - 1}")
    mix = rng.standard_normal((width, len(inputs))) / np.sqrt(width) if config.mix else None
    return Drive(config.map, n_in, inputs, mix, config.clip)

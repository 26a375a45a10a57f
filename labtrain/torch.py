"""A rig as a PyTorch module: forward through the physics, backward through its digital twin.

Physics-aware training (L. G. Wright et al., Nature 601, 549 (2022)) as one ``torch.nn.Module`` among others:

    y = physics(u),   dL/du = (d twin / du)^T dL/dy,   u what the rig was really told

What u is rounded to is taken for u itself. The loss is that of the rig, with its noise and whatever the twin misses;
the twin has to be good enough for the direction of a step alone. Needs the extra ``torch``.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from labtrain.errors import InputError, MissingExtra
from labtrain.layer import Array, PhysicalLayer, check_drive
from labtrain.twin import Twin, bounded_vjp, check_layer


def _torch() -> Any:
    """PyTorch, imported by name: who has no use for it needs no types of it either."""
    try:
        return import_module("torch")
    except ImportError:
        raise MissingExtra(
            'labtrain.torch needs PyTorch, which is not installed; run: pip install "labtrain[torch]"'
        ) from None


torch = _torch()
Module: Any = torch.nn.Module
Function: Any = torch.autograd.Function
Tensor = Any  # torch.Tensor


class PhysicalModule(Module):  # type: ignore[misc]  # PyTorch has no types here
    """One physical layer in a PyTorch network, such as ``nn.Sequential(nn.Linear(4, 20), nn.Sigmoid(), physics)``.

    Every call of it costs one shot for each drive: so does a batch that is looked at twice, a closure of
    ``torch.optim.LBFGS``, and activation checkpointing. A backward pass costs none. It goes through the twin, and only
    where the drives ask for a gradient: not under ``torch.no_grad()``, and not for a module that sees data alone. It
    can be done once, a gradient of the gradient is refused. The module has no parameters and stays where the rig is;
    tensors of another device are copied to the CPU and their responses back.

    Parameters
    ----------
    layer : PhysicalLayer
        Of an opened rig.
    twin : Twin
        Fitted to recorded shots of this layer (``labtrain.twin``).
    steepest : float
        Bound of the twin's gradient, in root mean squares of the responses per full drive: a row of dL/du is no longer
        than this times its dL/dy, in which each response counts in units of its ``twin.rms``.

    Attributes
    ----------
    shots : int
        Drives measured by this module so far; where `rig.repeats` is set, the rig spends so many shots on each.

    Raises
    ------
    InputError
        If the twin has other widths or was fitted to another rig, or `steepest` is not above 0.
    """

    def __init__(self, layer: PhysicalLayer, twin: Twin, steepest: float = 30.0) -> None:
        super().__init__()
        if not steepest > 0:
            raise InputError(f"PhysicalModule: asked steepest {steepest:g}, allowed above 0")
        check_layer(twin, layer.info, "PhysicalModule: the twin", "this module")
        self.layer = layer
        self.twin = twin
        self.steepest = steepest
        self.shots = 0

    def forward(self, u: Tensor) -> Tensor:
        """Responses (..., n_out) of the rig to drives (..., n_in), of the same type and on the same device.

        Raises
        ------
        InputError
            Before anything moves: if `u` is no tensor of float32 or float64, has another width, or a drive is outside
            [0, 1].
        MeasurementError
            If a shot stays bad; `shots` counts those before it.
        """
        drive = self._drive(u)
        y = self._measure(drive).reshape(*u.shape[:-1], self.layer.info.n_out)
        if not (torch.is_grad_enabled() and u.requires_grad):
            return _like(y, u)
        return _Measured.apply(u, y, self, self.layer.quantise(drive))

    def vjp(self, told: Array, dy: Array) -> Array:
        """dL/du (shots, n_in) by the twin, for drives as the rig was told them and dL/dy (shots, n_out)."""
        scale = np.where(self.twin.rms > 0, self.twin.rms, 1.0)
        return bounded_vjp(self.twin, told, dy * scale, scale, self.steepest)

    def extra_repr(self) -> str:
        return f"{self.layer.info.n_in}, {self.layer.info.n_out}, twin={self.twin.kind}, shots={self.shots}"

    def _drive(self, u: Tensor) -> Array:
        """Checked drives (shots, n_in); a copy, which later changes of the tensor leave alone."""
        if not isinstance(u, torch.Tensor) or u.dtype not in (torch.float32, torch.float64):
            kind = u.dtype if isinstance(u, torch.Tensor) else type(u).__name__
            raise InputError(f"PhysicalModule: drive is {kind}, needed a tensor of torch.float32 or torch.float64")
        n_in = self.layer.info.n_in
        if u.ndim == 0 or u.shape[-1] != n_in:
            raise InputError(
                f"PhysicalModule: drive has shape {tuple(u.shape)}, needed (..., {n_in}); put a torch.nn.Linear of "
                f"{n_in} outputs in front"
            )
        rows = np.array(_array(u).reshape(u.shape[:-1].numel(), n_in))
        return check_drive(rows, n_in, "PhysicalModule", "put a torch.nn.Sigmoid in front")

    def _measure(self, drive: Array) -> Array:
        """Responses (shots, n_out); chunk by chunk, so that those before a failure are counted."""
        found = [np.empty((0, self.layer.info.n_out))]
        for chunk in self.layer.measure(drive) if len(drive) else ():
            self.shots += len(chunk)
            found.append(chunk.y)
        return np.concatenate(found)


class _Measured(Function):  # type: ignore[misc]
    """What was measured, with the twin's product in the place of its derivative."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, y: Array, module: PhysicalModule, told: Array) -> Tensor:
        ctx.module, ctx.told = module, told
        return _like(y, u)

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None, None, None]:
        du = ctx.module.vjp(ctx.told, _array(dy).reshape(len(ctx.told), dy.shape[-1]))
        return _like(du.reshape(*dy.shape[:-1], du.shape[1]), dy), None, None, None


def _array(tensor: Tensor) -> Array:
    """A tensor of any device as float64."""
    array: Array = tensor.detach().cpu().to(torch.float64).numpy()
    return array


def _like(array: Array, tensor: Tensor) -> Tensor:
    """An array as a tensor of another one's type and device; type first, for devices that know no float64."""
    return torch.from_numpy(array).to(tensor.dtype).to(tensor.device)

"""Adam (Kingma & Ba, ICLR 2015), for a handful of arrays updated together."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Adam:
    """First and second moments of the gradients of some arrays; updates them in place.

    Parameters
    ----------
    shapes : shapes of the arrays, in the order in which :meth:`update` gets them
    beta1, beta2, epsilon : as in the paper
    """

    def __init__(
        self, *shapes: tuple[int, ...], beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8
    ) -> None:
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon
        self.t = 0
        self.m = [np.zeros(shape) for shape in shapes]
        self.v = [np.zeros(shape) for shape in shapes]

    def update(self, rate: float, parameters: list[Array], gradients: list[Array]) -> None:
        """theta -= rate * m_hat / (sqrt(v_hat) + epsilon), in place."""
        self.t += 1
        step = rate * np.sqrt(1.0 - self.beta2**self.t) / (1.0 - self.beta1**self.t)
        # Folding both bias corrections into the rate scales epsilon likewise, so that this equals the paper's form.
        epsilon = self.epsilon * np.sqrt(1.0 - self.beta2**self.t)
        for p, g, m, v in zip(parameters, gradients, self.m, self.v, strict=True):
            m += (1.0 - self.beta1) * (g - m)
            v += (1.0 - self.beta2) * (g * g - v)
            p -= step * m / (np.sqrt(v) + epsilon)

    def state(self) -> dict[str, Any]:
        return {"t": self.t, "m": [m.copy() for m in self.m], "v": [v.copy() for v in self.v]}

    def restore(self, state: dict[str, Any]) -> None:
        self.t = int(state["t"])
        self.m = [np.array(m) for m in state["m"]]
        self.v = [np.array(v) for v in state["v"]]

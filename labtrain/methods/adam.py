"""Adam (Kingma & Ba, ICLR 2015)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Adam:
    """First and second moments of the gradient of one array, which is updated in place.

    Parameters
    ----------
    shape : shape of the array
    beta1, beta2, epsilon : as in the paper
    """

    def __init__(self, shape: tuple[int, ...], beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8) -> None:
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon
        self.t = 0
        self.m, self.v = np.zeros(shape), np.zeros(shape)

    def update(self, rate: float, parameters: Array, gradient: Array) -> None:
        """theta -= rate * m_hat / (sqrt(v_hat) + epsilon), in place."""
        self.t += 1
        # Folding both bias corrections into rate and epsilon equals the paper's form.
        correction = math.sqrt(1.0 - self.beta2**self.t)
        step = rate * correction / (1.0 - self.beta1**self.t)
        self.m += (1.0 - self.beta1) * (gradient - self.m)
        self.v += (1.0 - self.beta2) * (gradient * gradient - self.v)
        parameters -= step * self.m / (np.sqrt(self.v) + self.epsilon * correction)

    def state(self) -> dict[str, Any]:
        return {"t": self.t, "m": self.m.copy(), "v": self.v.copy()}

    def restore(self, state: dict[str, Any]) -> None:
        self.t, self.m, self.v = int(state["t"]), np.array(state["m"]), np.array(state["v"])

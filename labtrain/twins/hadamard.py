"""Hadamard matrices: rows of +-1, all perpendicular, with which many unknowns are weighed at once.

Those of R. Paley, J. Math. Phys. 12, 311 (1933), of order q + 1 for primes q of the form 4 k + 3, and their doublings
(J. J. Sylvester, 1867): close to any size, while powers of 2 alone may be twice too large.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Signs = NDArray[np.int8]


def hadamard(least: int) -> Signs:
    """The smallest such matrix of at least this order, (order, order); its first column is all +1.

    Raises
    ------
    ValueError
        If the order asked is below 1.
    """
    if least < 1:
        raise ValueError(f"a Hadamard matrix of order {least}: needs 1 or more")
    order = least
    while True:
        doublings = 0
        while order % 2**doublings == 0:
            if (core := _core(order >> doublings)) is not None:
                for _ in range(doublings):
                    core = np.block([[core, core], [core, -core]])
                return core * core[:, :1]
            doublings += 1
        order += 1


def _core(order: int) -> Signs | None:
    """Paley's matrix of an order, or that of order 1; None if there is none."""
    q = order - 1
    if q == 0:
        return np.ones((1, 1), dtype=np.int8)
    if q % 4 != 3 or any(q % k == 0 for k in range(2, int(q**0.5) + 1)):
        return None
    residue = np.full(q, -1, dtype=np.int8)  # Legendre's symbol: +1 for squares modulo q
    residue[np.arange(1, q) ** 2 % q] = 1
    residue[0] = 0
    matrix = np.eye(order, dtype=np.int8)
    matrix[0, 1:], matrix[1:, 0] = 1, -1
    matrix[1:, 1:] += residue[(np.arange(q)[:, None] - np.arange(q)) % q]
    return matrix

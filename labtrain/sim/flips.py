"""The S-matrix of a room for many pixel patterns, each as a few flips from a reference pattern.

A reference pattern has all pixels in the same state r. A pattern differs from the nearest reference in k pixels, where
it changes the diagonal of W by d = W(state) - W(r). With G = W^-1 of the reference (Woodbury)

    W^-1 = G - G_:k (diag(1/d) + G_kk)^-1 G_k:                                                                     (4)

so a pattern costs one k x k solve per frequency; k is at most half of the pixels when these have one bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]
States = NDArray[np.int64]

CHUNK = 16  # patterns solved together: enough to hide the cost of a call, few enough for the cache


@dataclass(frozen=True)
class Reference:
    """All pixels in one state.

    Parameters
    ----------
    s : ndarray, (points, 1, ports, ports), complex
        S-matrix of the reference pattern.
    coupling : ndarray, (points, pixels, ports), complex
        sqrt(2 j g) G between pixels and ports.
    green : ndarray, (points, pixels * pixels), complex
        G among pixels.
    inverse_change : ndarray, (states,)
        1 / d of a flip to each state; 0 for the reference's own.
    """

    s: Complex
    coupling: Complex
    green: Complex
    inverse_change: Array


class Flips:
    """S-matrices of patterns at fixed frequencies, while nothing but the pixels moves.

    Every pattern takes the same arithmetic steps whatever its batch-mates are, and whichever S-parameters are asked, so
    its answer is the same bit for bit.

    Parameters
    ----------
    reduced : ndarray, (points, ports + pixels, ports + pixels), complex
        W with the ports first, all pixels in state 0.
    ports : int
    change : ndarray, (states,)
        W_ii of a pixel in each state less that in state 0: real, the same at all frequencies.
    share : ndarray, (points,)
        g, each port's share of Im W_ii.
    gain : float
        By which S is multiplied.
    """

    def __init__(self, reduced: Complex, ports: int, change: Array, share: Array, gain: float) -> None:
        self.points, self.ports, self.pixels = len(reduced), ports, reduced.shape[1] - ports
        self.change = change
        self.references = [_reference(reduced, ports, change, share, gain, state) for state in range(len(change))]

    def s_parameters(self, patterns: States, pairs: Sequence[tuple[int, int]]) -> Complex:
        """S-parameters (n, len(pairs), points) of patterns (n, pixels) for pairs (to, from), counted from 1."""
        to, source = np.array(pairs, dtype=np.int64).reshape(-1, 2).T - 1
        out = np.empty((self.points, len(patterns), len(pairs)), dtype=np.complex128)
        for members, state, count in self.alike(patterns):
            out[:, members] = self._s(patterns[members], state, count)[:, :, to, source]
        return np.ascontiguousarray(out.transpose(1, 2, 0))

    def alike(self, patterns: States, chunk: int = CHUNK) -> list[tuple[slice | States, int, int]]:
        """Patterns with equally many flips from the same reference: their rows, its state, the number of flips."""
        states = len(self.references)
        if len(patterns) == 1:  # shot by shot every microsecond counts
            counts = np.bincount(patterns[0], minlength=states)
            state = int(counts.argmax())
            return [(slice(0, 1), state, self.pixels - int(counts[state]))]
        table = (patterns[:, :, None] == np.arange(states)).sum(axis=1)
        nearest = table.argmax(axis=1)
        kind = (self.pixels - table.max(axis=1)) * states + nearest
        found: list[tuple[slice | States, int, int]] = []
        for each in np.unique(kind):
            count, state = divmod(int(each), states)
            rows = np.flatnonzero(kind == each)
            found += [(rows[start : start + chunk], state, count) for start in range(0, len(rows), chunk)]
        return found

    def _s(self, patterns: States, state: int, count: int) -> Complex:
        """S (points, n, ports, ports) of patterns that all have `count` flips from one reference."""
        reference, n = self.references[state], len(patterns)
        if count == 0:
            return np.repeat(reference.s, n, axis=1)
        _, matrix, coupling = self.flipped(patterns, state, count)
        moved = np.linalg.solve(matrix, coupling)
        return np.asarray(reference.s + np.ascontiguousarray(coupling.swapaxes(-1, -2)) @ moved)

    def flipped(self, patterns: States, state: int, count: int) -> tuple[States, Complex, Complex]:
        """Of patterns that all have `count` flips from one reference, what equation (4) needs.

        Flipped pixels (n, k), diag(1/d) + G_kk (points, n, k, k), and their coupling (points, n, k, ports).
        """
        reference, n = self.references[state], len(patterns)
        row, column = np.nonzero(patterns != state)
        flipped = column.reshape(n, count)
        square = (flipped[:, :, None] * self.pixels + flipped[:, None, :]).ravel()
        matrix = reference.green.take(square, axis=1).reshape(self.points, n, count * count)
        matrix[:, :, :: count + 1] += reference.inverse_change[patterns[row, column]].reshape(n, count)
        return flipped, matrix.reshape(self.points, n, count, count), reference.coupling.take(flipped, axis=1)


def _reference(reduced: Complex, ports: int, change: Array, share: Array, gain: float, state: int) -> Reference:
    w = reduced.copy()
    pixel = np.arange(ports, w.shape[1])
    w[:, pixel, pixel] += change[state]
    inverse = np.linalg.inv(w)
    green = np.asarray(0.5 * (inverse + inverse.transpose(0, 2, 1)), dtype=np.complex128)  # S is as symmetric as this
    root = np.sqrt(2j * gain * share)[:, None, None]
    step = change - change[state]
    return Reference(
        s=(gain * np.eye(ports) - root**2 * green[:, :ports, :ports])[:, None],
        coupling=np.ascontiguousarray(root * green[:, ports:, :ports]),
        green=np.ascontiguousarray(green[:, ports:, ports:]).reshape(len(w), -1),
        inverse_change=np.divide(1.0, step, out=np.zeros_like(step), where=step != 0),
    )

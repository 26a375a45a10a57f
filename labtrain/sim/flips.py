"""The S-matrix of a room for many pixel patterns, each as a few flips from a reference pattern.

The reference patterns have all pixels in the same state r. A pattern differs from the nearest of them in k pixels, and
changes the diagonal of W there by d = W(state) - W(r). With G = W^-1 of the reference (Woodbury)

    W^-1 = G - G_:k (diag(1/d) + G_kk)^-1 G_k:                                                                     (4)

so a pattern costs one k x k solve per frequency; k is at most half of the pixels when they have one bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]
States = NDArray[np.int64]

CHUNK = 64  # patterns solved together: enough to hide the cost of a call, few enough to stay in the cache


@dataclass(frozen=True)
class Reference:
    """All pixels in one state.

    Parameters
    ----------
    s : ndarray, (points, ports, ports), complex
        S-matrix of the reference pattern.
    coupling : ndarray, (points, ports, pixels), complex
        sqrt(2 j g) G between ports and pixels.
    green : ndarray, (points, pixels * pixels), complex
        G among pixels.
    inverse_change : ndarray, (states,), complex
        1 / d of a flip to each state; 0 at the reference's own.
    """

    s: Complex
    coupling: Complex
    green: Complex
    inverse_change: Array


class Flips:
    """S-matrices of patterns at fixed frequencies, while nothing but the pixels moves.

    Every pattern takes the same arithmetic steps whatever its batch-mates are, so its answer is the same bit for bit.

    Parameters
    ----------
    reduced : ndarray, (points, ports + pixels, ports + pixels), complex
        W with the ports first, all pixels in state 0.
    ports : int
    change : ndarray, (states,)
        W_ii of a pixel in each state less that in state 0: real, the same at all frequencies.
    share : ndarray, (points,)
        g, each port's share of Im W_ii.
    """

    def __init__(self, reduced: Complex, ports: int, change: Array, share: Array) -> None:
        self.points, self.ports, self.pixels = len(reduced), ports, reduced.shape[1] - ports
        self._references = [_reference(reduced, ports, change, share, state) for state in range(len(change))]

    def s_parameters(self, patterns: States, pairs: Sequence[tuple[int, int]]) -> Complex:
        """S-parameters (n, len(pairs), points) of patterns (n, pixels) for pairs (to, from), counted from 1."""
        out = np.empty((len(patterns), len(pairs), self.points), dtype=np.complex128)
        to, source = sorted({pair[0] - 1 for pair in pairs}), sorted({pair[1] - 1 for pair in pairs})
        rows, columns = [to.index(pair[0] - 1) for pair in pairs], [source.index(pair[1] - 1) for pair in pairs]
        states = len(self._references)
        counts = (patterns[:, :, None] == np.arange(states)).sum(axis=1)
        nearest = counts.argmax(axis=1)
        flips = self.pixels - counts.max(axis=1)
        for kind in np.unique(flips * states + nearest):
            count, state = divmod(int(kind), states)
            members = np.flatnonzero((flips == count) & (nearest == state))
            for start in range(0, len(members), CHUNK):
                some = members[start : start + CHUNK]
                s = self._flipped(patterns[some], state, count, to, source)
                out[some] = s[:, :, rows, columns].transpose(1, 2, 0)
        return out

    def _flipped(self, patterns: States, state: int, count: int, to: list[int], source: list[int]) -> Complex:
        """S (points, n, to, source) of patterns that all have `count` flips from one reference."""
        reference, n = self._references[state], len(patterns)
        base = reference.s[:, to][:, :, source][:, None]
        if count == 0:
            return np.repeat(base, n, axis=1)
        flipped = np.nonzero(patterns != state)[1].reshape(n, count)
        square = (flipped[:, :, None] * self.pixels + flipped[:, None, :]).ravel()
        matrix = reference.green[:, square].reshape(self.points, n, count, count)
        diagonal = np.arange(count)
        matrix[:, :, diagonal, diagonal] += reference.inverse_change[np.take_along_axis(patterns, flipped, axis=1)]
        into = reference.coupling[:, source][:, :, flipped].transpose(0, 2, 3, 1)
        out_of = reference.coupling[:, to][:, :, flipped].transpose(0, 2, 1, 3)
        return np.asarray(base + np.ascontiguousarray(out_of) @ np.linalg.solve(matrix, into))


def _reference(reduced: Complex, ports: int, change: Array, share: Array, state: int) -> Reference:
    w = reduced.copy()
    pixel = np.arange(ports, w.shape[1])
    w[:, pixel, pixel] += change[state]
    inverse = np.linalg.inv(w)
    green = 0.5 * (inverse + inverse.transpose(0, 2, 1))  # symmetric to the last bit: so is S
    root = np.sqrt(2j * share)[:, None, None]
    step = change - change[state]
    return Reference(
        s=np.eye(ports) - root**2 * green[:, :ports, :ports],
        coupling=np.ascontiguousarray(root * green[:, :ports, ports:]),
        green=np.ascontiguousarray(green[:, ports:, ports:]).reshape(len(w), -1),
        inverse_change=np.divide(1.0, step, out=np.zeros_like(step), where=step != 0),
    )

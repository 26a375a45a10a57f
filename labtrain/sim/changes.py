"""What a pattern's S-parameters become when a pixel or a few change their state: all such changes from one inverse.

A pattern is k flips from a reference (:mod:`labtrain.sim.flips`), so that what the reference's G and coupling c are for
the pixels U that are to change, follows from the inverse of the same k x k matrix M that the pattern itself needs:

    G'_UU = G_UU - G_Uk M^-1 G_kU,    c'_U = c_U - G_Uk M^-1 c_k,    M = diag(1/d) + G_kk                           (5)

One more change of W_ii by e moves S by a matrix of rank one (Sherman and Morrison, Ann. Math. Stat. 21:124, 1950):

    S' - S = l c'_i c'_i^T,    l = e / (1 + e G'_ii)                                                                (6)

and of the pixels that change after it, c'_j falls by G'_ji l c'_i and G'_jh by G'_ji l G'_ih. The answers are exact.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from labtrain.sim.flips import Flips

Complex = NDArray[np.complex128]
States = NDArray[np.int64]

CHUNK = 2  # patterns at a time: their columns of G fill the cache


def differences(
    room: Flips, patterns: States, pixels: States, states: States, pairs: Sequence[tuple[int, int]]
) -> tuple[Complex, Complex]:
    """S-parameters of patterns, and by how much each of some changes moves them.

    Parameters
    ----------
    room : Flips
    patterns : ndarray, (n, n_pixels)
    pixels : ndarray, (n, changes, together)
        Pixels that change together, no pixel twice; -1 where there are fewer.
    states : ndarray, (n, changes, together)
        Their new states, which may be those that they have.
    pairs : sequence of (to, from)
        Counted from 1.

    Returns
    -------
    s : ndarray, (n, len(pairs), points), complex128
    moved : ndarray, (n, changes, len(pairs), points), complex128
        S-parameters after the change, less s.
    """
    to, source = np.array(pairs, dtype=np.int64).reshape(-1, 2).T - 1
    n, changes = pixels.shape[:2]
    s = np.empty((room.points, n, len(pairs)), dtype=np.complex128)
    moved = np.empty((room.points, n, changes, len(pairs)), dtype=np.complex128)
    present = np.take_along_axis(patterns, pixels.reshape(n, -1), axis=1).reshape(pixels.shape)
    step = np.where(pixels >= 0, room.change[states] - room.change[present], 0.0)
    pixels = np.maximum(pixels, 0)  # whichever stands for none: nothing changes there
    for members, state, count in room.alike(patterns, CHUNK):
        matrix, green, coupling = _pattern(room, patterns[members], pixels[members], state, count)
        s[:, members] = matrix[:, :, to, source]
        moved[:, members] = _one_by_one(green, coupling, step[members], to, source)
    return np.ascontiguousarray(s.transpose(1, 2, 0)), np.ascontiguousarray(moved.transpose(1, 2, 3, 0))


def _pattern(room: Flips, patterns: States, pixels: States, state: int, count: int) -> tuple[Complex, Complex, Complex]:
    """Equation (5) for patterns with `count` flips from one reference.

    S (points, n, ports, ports), G' (points, n, changes, together, together), c' (points, n, changes, together, ports).
    """
    reference, n = room.references[state], len(patterns)
    green = reference.green.take(pixels[..., :, None] * room.pixels + pixels[..., None, :], axis=1)
    coupling = reference.coupling.take(pixels, axis=1)
    if count == 0:
        return np.repeat(reference.s, n, axis=1), green, coupling
    flipped, matrix, ports = room.flipped(patterns, state, count)
    inverse = np.linalg.inv(matrix)
    from_ports = np.ascontiguousarray(ports.swapaxes(-1, -2))
    s = reference.s + from_ports @ (inverse @ ports)
    alone = pixels.shape[-1] == 1
    chosen = pixels.reshape(n, 1, -1) if alone else np.broadcast_to(np.arange(room.pixels), (n, 1, room.pixels))
    rows = reference.green.take(flipped[:, :, None] * room.pixels + chosen, axis=1)
    solved = inverse @ rows
    fall = (from_ports @ solved).swapaxes(-1, -2)
    if alone:
        green -= np.einsum("pnku,pnku->pnu", rows, solved).reshape(green.shape)
        coupling -= fall.reshape(coupling.shape)
    else:  # of all pixels at once: a product of matrices is so much faster than its parts
        among = (np.ascontiguousarray(rows.swapaxes(-1, -2)) @ solved).reshape(room.points, -1)
        place = room.pixels * np.arange(n)[:, None, None] + pixels
        green -= among.take(room.pixels * place[..., :, None] + pixels[..., None, :], axis=1)
        coupling -= fall.reshape(room.points, -1, room.ports).take(place, axis=1)
    return s, green, coupling


def _one_by_one(green: Complex, coupling: Complex, step: NDArray[np.float64], to: States, source: States) -> Complex:
    """Equation (6), pixel after pixel of each change: (points, n, changes, pairs)."""
    together = step.shape[-1]
    moved = np.zeros((*green.shape[:3], len(to)), dtype=np.complex128)
    for i in range(together):
        lever = step[..., i] / (1.0 + step[..., i] * green[..., i, i])
        moved += lever[..., None] * coupling[..., i, to] * coupling[..., i, source]
        if i + 1 < together:
            fall = green[..., i + 1 :, i] * lever[..., None]
            coupling[..., i + 1 :, :] -= fall[..., None] * coupling[..., i, None, :]
            green[..., i + 1 :, i + 1 :] -= fall[..., None] * green[..., i, None, i + 1 :]
    return moved

"""Which tones to use: away from hum, noise, resonances and nodes, and so that none is a product of others.

Of a set of tones no third-order product of others falls on a tone if all sums of two are different (a Sidon set;
Babcock, Bell Syst. Tech. J. 32:63, 1953). Among the sets that qualify, the one of the calmest bins is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from labtrain.errors import MeasurementError
from labtrain.rigs.survey.idle import MAINS_HZ, Idle
from labtrain.rigs.survey.steepness import PER_KELVIN, Feature, Response, badness, steep_features

Array = NDArray[np.float64]

CLEAR_HZ = 5.0  # from hum and other lines
STEEP = 90.0  # a resonance of Q 45
DEEP_DB = 20.0  # below its neighbourhood: a node
KELVIN = 0.1  # by which a room's temperature changes between two calibrations
RESOLUTION_HZ = 2.0  # of the response: what lies half a bin away may seem so much nearer or further
GAP_BINS = 2
TRIES = 20_000  # sets looked at before another bin is admitted


@dataclass(frozen=True)
class Candidate:
    """A bin that could be a tone.

    Parameters
    ----------
    bin : int
        Cycles per period.
    hz : float
    steepness : float
        The largest within half a bin, of any microphone.
    level_db : float
        At the weakest microphone, against its neighbourhood.
    error : float
        Expected relative error of one period: 0.1 K and noise.
    against : tuple of str
        Why it is no tone; empty for one that could be.
    """

    bin: int
    hz: float
    steepness: float
    level_db: float
    error: float
    against: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tones:
    """Proposed tones, and what was thought of all others.

    Parameters
    ----------
    bins : tuple of int
        Rising.
    reasons : tuple of str
        One for each tone.
    candidates : tuple of Candidate
    features : tuple of Feature
        Resonances and nodes that were avoided.
    notes : tuple of str
        What had to be given up, if anything.
    """

    bins: tuple[int, ...]
    reasons: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    features: tuple[Feature, ...]
    notes: tuple[str, ...] = field(default=())


def candidates(
    response: Response, idle: Idle, bin_hz: float, band_hz: tuple[float, float], level: float
) -> tuple[list[Candidate], list[Feature]]:
    """Judge every bin of a band.

    Parameters
    ----------
    response : Response
        Of live speakers and microphones alone; so must `idle` be.
    bin_hz : float
    band_hz : (float, float)
    level : float
        Amplitude of a tone in fractions of full scale, for the share of noise.
    """
    bad = badness(response, STEEP, DEEP_DB)
    features = steep_features(response, STEEP, DEEP_DB, bin_hz / 2.0)
    found = []
    for number in range(int(np.ceil(band_hz[0] / bin_hz)), int(np.floor(band_hz[1] / bin_hz)) + 1):
        hz = number * bin_hz
        near = response.within(hz, bin_hz / 2.0 + RESOLUTION_HZ)
        steep = float(response.steepness[near].max())
        own = response.within(hz, 0.0)
        heard = level * np.sqrt((np.abs(response.values[own]) ** 2).mean(axis=(0, 2)))
        noise = float((idle.bin_noise[number] / np.maximum(heard, 1e-30)).max())
        against = _lines(hz, idle)
        if bad[near].max() >= 1.0:
            feature = min(features, key=lambda f: abs(f.hz - hz))
            against.append(f"{_distance(hz, feature.hz)} from a {feature}")
        error = float(np.hypot(KELVIN * PER_KELVIN * steep, noise))
        found.append(Candidate(number, hz, steep, float(response.level_db[own].min()), error, tuple(against)))
    return found, features


def _lines(hz: float, idle: Idle) -> list[str]:
    told = []
    for mains in MAINS_HZ:
        harmonic = mains * max(1, round(hz / mains))
        if abs(hz - harmonic) < CLEAR_HZ:
            told.append(f"{_distance(hz, harmonic)} from {harmonic:g} Hz, a harmonic of {mains:g} Hz mains")
    hum = {line.hz for line in idle.hum}
    told += [
        f"{_distance(hz, line.hz)} from a line in silence at {line.hz:.1f} Hz"
        for line in idle.lines
        if line.hz not in hum and abs(line.hz - hz) < CLEAR_HZ
    ]
    return told


def _distance(hz: float, other: float) -> str:
    return f"{abs(hz - other):.1f} Hz"


def choose(found: Sequence[Candidate], features: Sequence[Feature], count: int, who: str) -> Tones:
    """The calmest set of tones.

    Raises
    ------
    MeasurementError
        If there is none.
    """
    clear = [c for c in found if not c.against]
    calm = sorted(clear, key=lambda c: c.error)
    notes: list[str] = []
    for strict in (True, False):
        picked = _search(calm, count, strict)
        if picked is not None:
            break
    else:
        raise MeasurementError(
            f"{who}: {len(clear)} of {len(found)} bins are clear of hum, noise, resonances and nodes, and no "
            f"{count} of them keep their products apart; ask for fewer with --tones, or widen --band"
        )
    if not strict:
        notes.append("products 2a, a + b or 3a of some tones fall on others: no set of clear bins is free of them")
    rank = {c.bin: place for place, c in enumerate(calm, start=1)}
    reasons = tuple(
        f"{c.hz:.1f} Hz: {c.steepness * PER_KELVIN * KELVIN * 100:.1f} % per {KELVIN:g} K or less around it, "
        f"place {rank[c.bin]} of {len(calm)} clear bins, weakest microphone {c.level_db:+.0f} dB"
        for c in picked
    )
    return Tones(tuple(c.bin for c in picked), reasons, tuple(found), tuple(features), tuple(notes))


def _search(calm: Sequence[Candidate], count: int, strict: bool) -> list[Candidate] | None:
    """The set whose worst tone is the calmest: a bin more is looked at only when those before it give no set."""

    tries = 0

    def extend(chosen: list[Candidate], rest: Sequence[Candidate]) -> list[Candidate] | None:
        nonlocal tries
        if len(chosen) == count:
            return chosen
        for k, candidate in enumerate(rest):
            tries += 1
            if tries > TRIES:
                return None
            if products_apart([*(c.bin for c in chosen), candidate.bin], strict):
                found = extend([*chosen, candidate], rest[k + 1 :])
                if found is not None:
                    return found
        return None

    for last in range(count - 1, len(calm)):
        tries = 0
        picked = extend([calm[last]], calm[:last])
        if picked is not None:
            return sorted(picked, key=lambda c: c.bin)
    return None


def products_apart(bins: Sequence[int], strict: bool = False) -> bool:
    """Whether no third-order product of other tones falls on a tone; strict: nor a second-order one, nor 3a."""
    tones, members = sorted(bins), set(bins)
    if any(b - a < GAP_BINS for a, b in pairwise(tones)):
        return False
    sums = [a + b for i, a in enumerate(tones) for b in tones[i:]]
    if len(set(sums)) < len(sums):
        return False
    return not (strict and (members & set(sums) or members & {3 * a for a in tones}))

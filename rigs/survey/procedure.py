"""The survey itself: silence, quiet sweeps, long sweeps, shots; then what follows from them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labtrain.drivers.sound import SoundInterface
from labtrain.errors import MeasurementError
from labtrain.rigs.multitone import Multitone
from labtrain.rigs.survey.decay import Decay, decay, settle_times
from labtrain.rigs.survey.hum import without_hum
from labtrain.rigs.survey.idle import Idle, analyse_idle
from labtrain.rigs.survey.levels import (
    floor_digits,
    highest_good,
    level_limit,
    single_limit,
    spl_full_scale,
    sweep_limit,
    told_products,
)
from labtrain.rigs.survey.player import Player
from labtrain.rigs.survey.responses import Distortion, long_sweep, measure_responses
from labtrain.rigs.survey.shots import Linearity, Rank, Repeatability, linearity, rank, repeatability, spectra_of
from labtrain.rigs.survey.steepness import Response, fine_response
from labtrain.rigs.survey.sweep import LEAD_S
from labtrain.rigs.survey.tones import Tones, candidates, choose
from labtrain.rigs.survey.wiring import Wiring, check_wiring

Array = NDArray[np.float64]

IDLE_S = 3.0
QUIET = 0.5  # of the level of shots: what membranes' cubic springs leave in a sweep is a quarter then
STEPS_DB = (-24.0, -18.0, -12.0, -6.0, 0.0)
PERIODS = 4  # of a shot of the survey
REPEATS = 12
AVERAGES = (2, 32)

Told = Callable[[str, int, int], object]


@dataclass(frozen=True)
class Request:
    """What is asked of a survey.

    Parameters
    ----------
    tones : int
    band_hz : (float, float)
        In which they may lie.
    period_frames : int
        Of the grid.
    level : float
        Amplitude of a tone at drive 1 as configured, as a fraction of full scale: nothing is played louder than such
        a shot.
    ramp_s : float
        Of a change of amplitudes.
    target : float
        Relative error that settling and averaging aim at.
    """

    tones: int = 5
    band_hz: tuple[float, float] = (150.0, 1100.0)
    period_frames: int = 2048
    level: float = 0.15
    ramp_s: float = 0.005
    target: float = 0.002


@dataclass(frozen=True)
class Survey:
    """All that was found, and what is proposed; microphones and speakers from 0, arrays without the dead ones."""

    request: Request
    rate_hz: float
    unit: str
    latency: int
    has_loopback: bool
    seconds: float
    idle: Idle
    wiring: Wiring
    speakers: tuple[int, ...]
    microphones: tuple[int, ...]
    impulse: Array
    response: Response
    distortion: tuple[Distortion, ...]
    decay: Decay
    tones: Tones
    settle_s: Array
    linearity: Linearity
    repeatability: Repeatability
    rank: Rank
    level: float
    level_reason: tuple[str, ...]
    settle_periods: int
    average_periods: int
    average_reason: tuple[str, ...]
    spl_full_scale_db: tuple[float, ...] | None

    @property
    def bin_hz(self) -> float:
        return self.rate_hz / self.request.period_frames

    @property
    def tones_hz(self) -> Array:
        return self.bin_hz * np.array(self.tones.bins)


def survey(
    sound: SoundInterface,
    request: Request,
    check: Callable[[], object] = lambda: None,
    tell: Told = lambda *_: None,
    two_clocks: bool = False,
) -> Survey:
    """Survey an opened converter and the room behind it.

    Parameters
    ----------
    sound : SoundInterface
    request : Request
    check : callable
        Called while waiting; what it raises ends the survey.
    tell : callable (stage, done, planned)

    Raises
    ------
    InstrumentError
        If the loopback is dead, a microphone saturated, nothing heard, or no set of tones good enough.
    UnsafeError
        If a limit stops the output.
    """
    player, rate = Player(sound, check, two_clocks), sound.rate_hz
    # The RMS of a sweep is that of a shot with all tones at drive 1, at most.
    most = min(single_limit(sound.config), request.level * math.sqrt(request.tones))
    planned = 4 + 2 * sound.n_speakers
    tell("silence", 0, planned)
    player.begin()
    silence = player.play(np.zeros((round(IDLE_S * rate), sound.n_speakers)))
    player.refuse_clipping("in silence")
    tell("wiring", 1, planned)
    wide = (request.band_hz[0] / 2.0, min(2.0 * request.band_hz[1], 0.4 * rate))
    wiring = check_wiring(player, silence, wide, most)
    speakers = [s for s in range(sound.n_speakers) if s not in wiring.dead_speakers]
    microphones = [m for m in range(sound.n_microphones) if m not in wiring.dead_microphones]
    if not speakers or not microphones:
        raise MeasurementError(
            f"{sound.name}: no microphone hears any speaker, at {20 * np.log10(wiring.amplitude.max()):.0f} dBFS; "
            f"switch the amplifiers on, and check gains, cables and the channels in {sound.key}"
        )
    idle = analyse_idle(silence[:, microphones], rate, request.period_frames, 2.0 * request.band_hz[1])
    live = np.ix_(range(len(wiring.impulse)), microphones, speakers)
    amplitude = min(most, QUIET * request.level, sweep_limit(sound.config, wiring.peak, player.pascal))
    sweep = long_sweep(wide, decay(wiring.impulse[live], rate).t60_s, rate)
    impulse, distortion = measure_responses(
        player, sweep, amplitude, speakers, microphones, idle,
        lambda number: tell(f"sweep of speaker {speakers[number] + 1}", 2 + number, planned),
    )  # fmt: skip
    bin_hz = rate / request.period_frames
    margin = bin_hz / 2.0 + 1.0
    seen = (max(wide[0], request.band_hz[0] - 4.0 * margin), min(wide[1], request.band_hz[1] + 4.0 * margin))
    response = fine_response(impulse, rate, bin_hz, seen, sweep.before)
    found, features = candidates(response, idle, bin_hz, request.band_hz, request.level)
    tones = choose(found, features, request.tones, sound.name)
    tones_hz = bin_hz * np.array(tones.bins)
    settle_s = settle_times(impulse, rate, tones_hz, request.target, sweep.before)
    settle = max(1, math.ceil((float(settle_s.max()) + request.ramp_s) * bin_hz))

    # From here on, shots as a run takes them.
    at_tones = response.at(tones_hz)
    loudest = _full_scale(player, response, request.band_hz, speakers)
    pascal = None if player.pascal is None else player.pascal[microphones]
    top, why = level_limit(sound.config, at_tones, pascal, loudest or sound.config.spl_full_scale_db)
    tone = Multitone(request.period_frames, tones.bins, settle, PERIODS, 0, max(1, round(request.ramp_s * rate)))
    drive = np.zeros((sound.n_speakers, len(tones.bins)))
    drive[speakers] = np.random.default_rng(0).uniform(0.3, 1.0, (len(speakers), len(tones.bins)))
    tell("linearity", planned - 2, planned)
    if request.level <= top:
        top, why = request.level, f"rig.shot.level, which a survey never exceeds; {why}: up to {floor_digits(top):g}"
    levels = floor_digits(top) * 10.0 ** (np.array(STEPS_DB) / 20.0)
    _, heard = _shots(player, tone, levels[:, None, None] * drive, idle, microphones)
    spectra, peaks = spectra_of(tone, heard, len(levels))
    linear_range = linearity(spectra, tones.bins, levels, peaks / (1.0 if pascal is None else pascal))
    level, level_reason = highest_good(linear_range, why)
    tell("repeatability", planned - 1, planned)
    same = np.broadcast_to(level * drive, (REPEATS, *drive.shape))
    heard, hushed = _shots(player, tone, same, idle, microphones)
    repeated = repeatability(spectra_of(tone, heard, REPEATS)[0], tones.bins)
    spectra, peaks = spectra_of(tone, hushed, REPEATS)
    together = spectra.reshape(1, -1, *spectra.shape[2:])
    made = linearity(together, tones.bins, np.array([level]), peaks[:1])
    average, average_reason = _average(repeated, request.target)
    noise = idle.bin_noise[list(tones.bins)] / math.sqrt(average)
    tell("done", planned, planned)
    return Survey(
        request, rate, player.unit, player.latency, sound.has_loopback, player.seconds, idle, wiring, tuple(speakers),
        tuple(microphones), impulse, response, distortion, decay(impulse, rate, sweep.before), tones, settle_s,
        linear_range, repeated, rank(at_tones, level, noise), level, (level_reason, told_products(made)), settle,
        average, average_reason, loudest,
    )  # fmt: skip


def _shots(
    player: Player, tone: Multitone, amplitudes: Array, idle: Idle, microphones: list[int]
) -> tuple[Array, Array]:
    """Play shots between two silences; what live microphones heard, as it came and without hum."""
    lead = round(LEAD_S * player.sound.rate_hz)
    out = np.pad(tone.play(amplitudes), ((lead, lead + tone.settle_periods * tone.period_frames), (0, 0)))
    heard = player.play(out)[:, microphones]
    hushed = without_hum(heard, (slice(0, lead), slice(-lead, None)), idle, player.sound.rate_hz)
    return heard[lead:], hushed[lead:]


def _average(repeated: Repeatability, target: float) -> tuple[int, tuple[str, ...]]:
    one, drift = float(np.median(repeated.per_period)), float(np.median(repeated.drift))
    wanted = math.ceil((one / target) ** 2)
    average = int(np.clip(wanted, *AVERAGES))
    told = [f"noise of one period is {100 * one:.2g} % of the amplitude (median), target {100 * target:.2g} %"]
    if wanted > AVERAGES[1]:
        told.append(f"which {average} do not reach: play louder, or turn the gains of the microphones up")
    elif wanted < AVERAGES[0]:
        told.append("at least two, which show what differs between periods")
    if drift > target:
        told.append(f"drift between shots is {100 * drift:.2g} %, which averaging does not help against")
    return average, tuple(told)


def _full_scale(
    player: Player, response: Response, band_hz: tuple[float, float], speakers: list[int]
) -> tuple[float, ...] | None:
    """Sound level of every speaker at full scale; a dead one may come to life as loud as the loudest. None: unknown."""
    if player.pascal is None:
        return None
    inside = (response.hz >= band_hz[0]) & (response.hz <= band_hz[1])
    heard = spl_full_scale(response.values[inside])
    found = np.full(player.sound.n_speakers, heard.max())
    found[speakers] = heard
    return tuple(round(float(level), 1) for level in found)

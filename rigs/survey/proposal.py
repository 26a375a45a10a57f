"""What follows from a survey for the configuration: a value for each key and its reasons, and what looked odd."""

from __future__ import annotations

import math

import numpy as np

from labtrain.rigs.acoustic_config import AcousticConfig
from labtrain.rigs.survey.procedure import Survey
from labtrain.rigs.survey.proposed import Proposal


def propose(rig: AcousticConfig, found: Survey) -> tuple[Proposal, ...]:
    """What the survey proposes for each key, with reasons."""
    tones = found.tones
    settle_s = math.ceil(1000.0 * float(found.settle_s.max())) / 1000.0
    slowest = float(found.tones_hz[int(found.settle_s.argmax())])
    kept = 100.0 * found.request.target
    settled = (
        f"after {settle_s:g} s no tone is more than {kept:g} % of a step from its end, {slowest:.1f} Hz is the last",
        f"reverberation time {found.decay.t60_s:.2f} s",
    )
    proposed = [
        Proposal("rig.tone_bins", list(rig.tones), list(tones.bins), tones.reasons),
        Proposal(
            "rig.settle_periods",
            rig.settle_periods,
            found.settle_periods,
            (*settled, f"and the ramp takes {rig.shot.ramp_s:g} s"),
        ),
        Proposal("rig.average_periods", rig.average_periods, found.average_periods, found.average_reason),
        Proposal("rig.shot.level", rig.shot.level, found.level, found.level_reason),
        Proposal("rig.shot.decay_s", rig.shot.decay_s, settle_s, settled),
    ]
    if rig.shot.guard_periods:
        guards = max(rig.shot.guard_periods, found.settle_periods)
        proposed.append(
            Proposal("rig.shot.guard_periods", rig.shot.guard_periods, guards, ("silence as long as the settling",))
        )
    if found.spl_full_scale_db is not None:
        before = rig.sound.spl_full_scale_db
        proposed.append(
            Proposal(
                "rig.audio.spl_full_scale_db",
                None if before is None else list(before),
                list(found.spl_full_scale_db),
                (
                    f"from {found.request.band_hz[0]:g} to {found.request.band_hz[1]:g} Hz, each speaker at the "
                    "microphone and frequency where it is loudest",
                ),
            )
        )
    return tuple(proposed)


def notice(rig: AcousticConfig, found: Survey) -> tuple[str, ...]:
    """What somebody who stands at the rig should know, a sentence each."""
    wiring, sound = found.wiring, rig.sound
    told = [
        f"speaker {s + 1} (output {sound.speakers[s]}) is heard by no microphone: amplifier, cable or channel; "
        "it was left in, and is silent"
        for s in wiring.dead_speakers
    ]
    told += [
        f"microphone {m + 1} (input {sound.microphones[m]}) hears no speaker: cable, phantom power or gain; "
        "it was left in, and hears nothing"
        for m in wiring.dead_microphones
    ]
    told += wiring.notes()
    if not found.has_loopback:
        told.append("no loopback: the latency was taken from the first sound that arrives")
    if found.idle.mains_hz is not None:
        loudest = max(found.idle.hum, key=lambda line: float(line.amplitude.max()))
        told.append(
            f"{found.idle.mains_hz:g} Hz mains hum: {len(found.idle.hum)} harmonics, the loudest at {loudest.hz:.1f} Hz"
        )
    full, total = min(len(found.speakers), len(found.microphones)) * len(found.tones.bins), found.rank.total
    if total < full:
        told.append(f"rank {total} of {full}: some combinations of drives hardly reach the microphones")
    if np.isnan(found.decay.t60_s):
        told.append("too noisy for a reverberation time: play louder, or turn the gains of the microphones up")
    return (*told, *found.tones.notes)

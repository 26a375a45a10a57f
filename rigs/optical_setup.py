"""What the optical rig makes of its settings on instruments: emulator, arrangement, what a layer says of itself."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict

import numpy as np

from labtrain.clock import Clock
from labtrain.drivers.emulators.optics import EmulatedOptics
from labtrain.drivers.image_camera import ImageCamera
from labtrain.drivers.light_modulator import LightModulator
from labtrain.errors import InputError
from labtrain.layer import LayerInfo
from labtrain.rigs.optical_config import OpticalConfig
from labtrain.rigs.optical_instruments import CHUNK_S
from labtrain.rigs.optical_layer import MAX_BATCH, UNITS
from labtrain.sim.optical import OpticalParameters, OpticalWorld

# Of OpticalParameters, what instruments have in use too.
GEOMETRY = frozenset({
    "slm_shape", "input_region", "input_cells", "modulation", "levels", "phase_range_rad", "camera_shape", "pool_size",
    "pool_stride", "pool_padding", "readout", "bits", "offset_counts",
})  # fmt: skip


def emulated_optics(config: OpticalConfig, world: OpticalWorld, clock: Clock) -> EmulatedOptics:
    """Modulator and camera in front of a world."""
    p, section = world.parameters, config.modulator
    return EmulatedOptics(
        world,
        clock,
        config.timing,
        cells=p.slm_shape,
        cell_pixels=section.cell_pixels,
        corner=(section.top or 0, section.left or 0),
        levels=p.levels,
        radians=p.phase_range_rad if p.modulation == "phase" else 0.0,
        camera_shape=p.camera_shape,
        top_count=p.top_count,
        exposure_s=p.exposure_s,
    )


def arrange(config: OpticalConfig, slm: LightModulator, camera: ImageCamera) -> None:
    """Refuse an opened modulator or camera that is not as the config says; set what can be set.

    Raises
    ------
    InputError
    """
    p = config.benches[0]
    slm.arrange(p.slm_shape, p.levels, p.phase_range_rad if p.modulation == "phase" else None)
    rows, columns = camera.shape
    if camera.shape != p.camera_shape:
        high, wide = p.camera_shape
        middle = [(rows - high) // 2, (columns - wide) // 2, high, wide]
        remedy = f"set rig.world.camera_shape to {[rows, columns]}"
        if min(middle) >= 0 and config.imager.region is None:
            remedy += f", or rig.camera.region to such a part of it: {middle}"
        raise InputError(
            f"{camera.name}: it reads {rows} x {columns} pixels, rig.world.camera_shape is {high} x {wide}; {remedy}"
        )
    if camera.top_count != p.top_count:
        raise InputError(
            f"{camera.name}: a full pixel reads {camera.top_count}, with rig.world.bits {p.bits} it would be "
            f"{p.top_count}; set rig.world.bits to {camera.top_count.bit_length()}"
        )
    camera.expose(p.exposure_s)


def layer_info(config: OpticalConfig, slm: LightModulator, camera: ImageCamera, p: OpticalParameters) -> LayerInfo:
    """What a layer of these inputs and outputs says of itself, on arranged instruments."""
    reads = config.imager.frames + config.imager.stale_frames
    shot_s = config.settle_s + reads * (camera.exposure_s + config.readout_s)
    return LayerInfo(
        n_in=int(np.prod(p.input_shape)),
        n_out=int(np.prod(p.output_shape)),
        seconds_per_shot=shot_s,
        max_batch=max(1, min(MAX_BATCH, int(CHUNK_S / shot_s))),
        y_unit=UNITS[p.readout],
        fingerprint=_fingerprint(config, slm, camera, p),
        simulated=config.simulated or slm.emulated,
        settle_s=config.settle_s,
        integration_s=config.imager.frames * camera.exposure_s,
        samples_per_shot=reads * p.pixels,
    )


def _fingerprint(config: OpticalConfig, slm: LightModulator, camera: ImageCamera, p: OpticalParameters) -> str:
    """Changes when the same drive can no longer be expected to give the same answer."""
    told = {
        "bench": {key: value for key, value in asdict(p).items() if config.simulated or key in GEOMETRY},
        "instruments": {device.who: [device.identity, device.settings()] for device in (slm, camera)},
        "levels": hashlib.sha256(slm.levels_of_steps.tobytes()).hexdigest(),
        "settle_s": config.settle_s,
    }
    return "optical:" + hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
